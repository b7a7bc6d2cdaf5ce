"""Latent layers by bits-back. Page: Bit-Swap."""

from __future__ import annotations

from .chain import Chain, Shape, pixels_of
from .container import PREDICTOR, RAW
from .direct import decode_direct
from .logistic import Mixture, pop_values, push_values, weights_of
from .network import Map, Model, repeated
from .numbers import check
from .photo import Cells, decode_planes, in_coding_order
from .pyramid import EightBits, Plane
from .streams import Lanes

Area = tuple[int, int, int, int]
"""Top, left, height, width."""
Channels = list[Plane]
TILE, ALIGN = 512, 32


def decode_bitswap(chain: Chain, shape: Shape, model: Model, cells: Cells) -> list[list[list[int]]]:
    """Pixels of the planes; ``cells``: of each band, or none."""
    height, width, bands = shape
    cells = in_coding_order(cells) if chain.is_plain else []
    widenings, ordering = chain.fields.varint(), chain.fields.varint()
    check(widenings <= 2 and ordering < 2, "the ordering is not known")
    phase = divmod(chain.fields.varint(), 25)
    check(max(phase) <= 24, "the block phase is impossible")
    tile_height, tile_width = _tile(height), _tile(width)
    blocks: list[tuple[Area, int | None]] = []
    for top in range(0, height, tile_height):
        for left in range(0, width, tile_width):
            rows, columns = min(tile_height, height - top), min(tile_width, width - left)
            last = chain.fields.varint()
            check(last <= rows, "there are not so many rows")
            if last:
                blocks.append(((top + rows - last, left, last, columns), chain.fields.varint()))
            if last < rows:
                blocks.append(((top, left, rows - last, columns), None))
    chain.read_lanes(widenings)
    out: list[list[list[int]]] = [[[] for _ in range(width)] for _ in range(height)]
    borrowing = sum(size is None for _, size in blocks)
    for (top, left, rows, columns), size in reversed(blocks):
        if size is None:
            codes = _moved(phase[0], top), _moved(phase[1], left)
            block = _Block(chain.lanes, model, (rows, columns), bands, codes, chain.lattice, cells)
            pixels = pixels_of(block.decode(ordering == 1))
            borrowing -= 1
            while not borrowing and len(chain.lanes.heads) > 1:
                chain.lanes.narrow()
        else:
            pixels = _direct(chain.pop_bytes(size // 2), RAW if size % 2 else PREDICTOR, (rows, columns, bands))
        for y, line in enumerate(pixels, top):
            out[y][left : left + columns] = line
    return out


def _moved(code: int, by: int) -> int:
    """The code of a row or column so many further on."""
    if code == 0:
        return 0
    return 1 + (code - 1 + by) % 8 if code < 9 else 9 + (code - 9 + by) % 16


def _tile(side: int) -> int:
    count = -(-side // TILE)
    return side if count == 1 else -(-side // (ALIGN * count)) * ALIGN


def _direct(payload: bytes, method: int, shape: Shape) -> list[list[list[int]]]:
    width, bands = shape[1:]
    samples = decode_direct(method, payload, shape, 1)
    pixels = [samples[at : at + bands] for at in range(0, len(samples), bands)]
    return [pixels[at : at + width] for at in range(0, len(pixels), width)]


class _Block:
    """A block by the network. Layer 0 is the image, bands in coding order."""

    def __init__(
        self,
        lanes: Lanes,
        model: Model,
        sides: tuple[int, int],
        bands: int,
        phase: tuple[int, int],
        lattice: int,
        cells: Cells,
    ) -> None:
        self.lanes, self.model, self.sides, self.bands, self.phase = lanes, model, sides, bands, phase
        self.lattice, self.cells = lattice, cells
        self.architecture = model.architecture
        self.nets = len(self.architecture["likelihood"]["blocks"])
        self.latents: list[int] = self.architecture["latents"]

    def decode(self, all_at_once: bool) -> list[Plane]:
        """The image."""
        last = len(self.latents)
        height, width = self._size(last)
        prior = Mixture([1 << 16], [128 * 64], [56])
        layer = self._channels(pop_values(self.lanes, [prior] * (self.latents[-1] * height * width)), last)
        above = []
        for number in range(last, 0, -1):
            below = self._prior(number, layer) if number > 1 else self._image(layer)
            if all_at_once:
                above.append((number, layer, below))
            else:
                self._push(number, layer, below)
            layer = below
        for move in above:
            self._push(*move)
        return layer

    def _size(self, layer: int) -> tuple[int, int]:
        step = 1 << self.nets + 2 + layer
        return -(-self.sides[0] // step), -(-self.sides[1] // step)

    def _doubled(self, x: Map, halvings: int) -> Map:
        """A map repeated to the size of the image after so many."""
        height, width = (-(-side >> halvings) for side in self.sides)
        return repeated(x, height, width)

    def _channels(self, values: list[int], layer: int) -> Channels:
        height, width = self._size(layer)
        each = iter(values)
        return [
            [[next(each) - 128 for _ in range(width)] for _ in range(height)] for _ in range(self.latents[layer - 1])
        ]

    def _trunk(self, name: str, x: Map) -> Map:
        for block in range(self.architecture["depth"]):
            x = self.model.conv(f"{name}.{block}.b", self.model.conv(f"{name}.{block}.a", x), x)
        return x

    def _push(self, number: int, layer: Channels, below: Channels) -> None:
        """q of a layer."""
        side = 4 if number == 1 else 2
        if number == 1:
            below = [[[value - 128 for value in line] for line in plane] for plane in below]
            below = below if len(below) == 3 else below * 3
        rows, columns = len(below[0]), len(below[0][0])
        squares = [
            [
                [
                    plane[min(side * y + i, rows - 1)][min(side * x + j, columns - 1)]
                    for i in range(side)
                    for j in range(side)
                    for plane in below
                ]
                for x in range(-(-columns // side))
            ]
            for y in range(-(-rows // side))
        ]
        name = f"q{number}"
        h = self.model.conv(f"{name}.embed", squares)
        for halving in range(self.nets + 1 if number == 1 else 0):
            h = [line[::2] for line in self.model.conv(f"{name}.halve.{halving}", h)[::2]]
        head = self.model.conv(f"{name}.head", self._trunk(name, h))
        count, (height, width) = len(layer), self._size(number)
        places = [(c, y, x) for c in range(count) for y in range(height) for x in range(width)]
        mixtures = [
            Mixture([1 << 16], [128 * 64 + head[y][x][c]], [_limited(head[y][x][count + c])]) for c, y, x in places
        ]
        push_values(self.lanes, mixtures, [layer[c][y][x] + 128 for c, y, x in places])

    def _prior(self, number: int, layer: Channels) -> Channels:
        """p of a layer: the layer below."""
        name, conv = f"p{number}", self.model.conv
        pixels = _positions(layer)
        height, width = self._size(number - 1)
        features = repeated(self._trunk(name, conv(f"{name}.embed", pixels)), height, width)
        head = conv(f"{name}.head", self._trunk(f"{name}.fine", features))
        count, k = self.latents[number - 2], self.architecture["likelihood"]["mixtures"]
        mixtures = []
        for c in range(count):
            for y in range(height):
                for x in range(width):
                    logits, means, scales = (head[y][x][(part * count + c) * k :][:k] for part in range(3))
                    centres = [mean + 128 * 64 for mean in means]
                    mixtures.append(Mixture(weights_of(logits), centres, list(map(_limited, scales))))
        return self._channels(pop_values(self.lanes, mixtures), number - 1)

    def _image(self, layer: Channels) -> list[Plane]:
        """p of the first layer: the image."""
        conv = self.model.conv
        told = self._trunk("p1", conv("p1.embed", _positions(layer)))
        for i in range(2):
            told = conv(f"p1.double.{i}", self._doubled(told, self.nets + 2 - i))

        def led(level: int, features: Map | None) -> Map:
            x = told
            for halvings in range(self.nets, level + 1, -1):
                x = self._doubled(x, halvings)
            return conv(f"p1.into.{level}", x, features)

        architecture = self.architecture["likelihood"]
        return decode_planes(
            self.lanes,
            self.model,
            architecture,
            self.sides,
            self.bands,
            EightBits(),
            self.phase,
            led,
            self.lattice,
            self.cells,
        )


def _limited(scale: int) -> int:
    return min(max(scale, -80), 128)


def _positions(layer: Channels) -> Map:
    """Channels side by side at each position."""
    return [[list(channels) for channels in zip(*lines, strict=True)] for lines in zip(*layer, strict=True)]
