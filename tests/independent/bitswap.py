"""Latent layers by bits-back. Page: Bit-Swap."""

from __future__ import annotations

from collections.abc import Iterator

from .chain import Chain, Shape, pixels_of
from .container import PREDICTOR, RAW
from .direct import decode_direct
from .logistic import Mixture, pop_values, push_values, weights_of
from .network import Map, Model, repeated
from .numbers import Fields, check
from .photo import TRANSFORMS, TileBands, decode_level
from .pyramid import EightBits, Member, Plane
from .streams import Lanes

Area = tuple[int, int, int, int]
"""Top, left, height, width."""
Channels = list[Plane]
CUT, NETWORK = 0, 1


def decode_bitswap(chain: Chain, shape: Shape, model: Model) -> list[list[list[int]]]:
    """Pixels of the planes."""
    height, width, bands = shape
    widenings, ordering = chain.fields.varint(), chain.fields.varint()
    check(widenings <= 2 and ordering < 2, "the ordering is not known")
    tile_height, tile_width = _tile(height), _tile(width)
    leaves: list[tuple[Area, int]] = []
    for top in range(0, height, tile_height):
        for left in range(0, width, tile_width):
            area = top, left, min(tile_height, height - top), min(tile_width, width - left)
            leaves += _leaves(chain.fields, area)
    chain.read_lanes(widenings)
    out: list[list[list[int]]] = [[[] for _ in range(width)] for _ in range(height)]
    borrowing = sum(node == NETWORK for _, node in leaves)
    for (top, left, rows, columns), node in reversed(leaves):
        if node == NETWORK:
            block = _Block(chain.lanes, model, (rows, columns), bands)
            pixels = pixels_of(block.decode(ordering == 1))
            borrowing -= 1
            while not borrowing and len(chain.lanes.heads) > 1:
                chain.lanes.narrow()
        else:
            pixels = _direct(chain.pop_bytes(node // 2), RAW if node % 2 else PREDICTOR, (rows, columns, bands))
        for y, line in enumerate(pixels, top):
            out[y][left : left + columns] = line
    return out


def _tile(side: int) -> int:
    count = -(-side // 512)
    return side if count == 1 else -(-side // (32 * count)) * 32


def _leaves(fields: Fields, area: Area) -> Iterator[tuple[Area, int]]:
    top, left, height, width = area
    node = fields.varint()
    if node != CUT:
        yield area, node
        return
    check(height * width > 4096 and max(height, width) > 16, "a block is cut that must not be")
    half = -(-max(height, width) // 32) * 16
    if height > width:
        parts = (top, left, half, width), (top + half, left, height - half, width)
    else:
        parts = (top, left, height, half), (top, left + half, height, width - half)
    for part in parts:
        yield from _leaves(fields, part)


def _direct(payload: bytes, method: int, shape: Shape) -> list[list[list[int]]]:
    width, bands = shape[1:]
    samples = decode_direct(method, payload, shape, 1)
    pixels = [samples[at : at + bands] for at in range(0, len(samples), bands)]
    return [pixels[at : at + width] for at in range(0, len(pixels), width)]


class _Block:
    """A block by the network. Layer 0 is the image, bands in coding order."""

    def __init__(self, lanes: Lanes, model: Model, sides: tuple[int, int], bands: int) -> None:
        self.lanes, self.model, self.sides, self.bands = lanes, model, sides, bands
        self.architecture = model.architecture
        self.levels = len(self.architecture["blocks"])
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
        step = 1 << self.levels + layer - 1
        return -(-self.sides[0] // step), -(-self.sides[1] // step)

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
        side = 2
        if number == 1:
            side = 1 << self.levels
            below = [[[value - 128 for value in line] for line in plane] for plane in below]
            below = below if len(below) == 3 else below * 3
        height, width = self._size(number)
        rows, columns = len(below[0]), len(below[0][0])
        squares = [
            [
                [
                    plane[min(side * y + i, rows - 1)][min(side * x + j, columns - 1)]
                    for i in range(side)
                    for j in range(side)
                    for plane in below
                ]
                for x in range(width)
            ]
            for y in range(height)
        ]
        name = f"q{number}"
        head = self.model.conv(f"{name}.head", self._trunk(name, self.model.conv(f"{name}.embed", squares)))
        linear = self.model.conv(f"{name}.linear", squares)
        count = len(layer)
        places = [(c, y, x) for c in range(count) for y in range(height) for x in range(width)]
        mixtures = [
            Mixture([1 << 16], [128 * 64 + head[y][x][c] + linear[y][x][c]], [_limited(head[y][x][count + c])])
            for c, y, x in places
        ]
        push_values(self.lanes, mixtures, [layer[c][y][x] + 128 for c, y, x in places])

    def _prior(self, number: int, layer: Channels) -> Channels:
        """p of a layer: the layer below."""
        name, conv = f"p{number}", self.model.conv
        pixels = _positions(layer)
        height, width = self._size(number - 1)
        features = repeated(self._trunk(name, conv(f"{name}.embed", pixels)), height, width)
        head = conv(f"{name}.head", self._trunk(f"{name}.fine", features))
        linear = conv(f"{name}.linear", pixels)
        count, k = self.latents[number - 2], self.architecture["mixtures"]
        mixtures = []
        for c in range(count):
            for y in range(height):
                for x in range(width):
                    logits, means, scales = (head[y][x][(part * count + c) * k :][:k] for part in range(3))
                    shift = 128 * 64 + linear[y // 2][x // 2][(y % 2 * 2 + x % 2) * count + c]
                    mixtures.append(
                        Mixture(weights_of(logits), [mean + shift for mean in means], list(map(_limited, scales)))
                    )
        return self._channels(pop_values(self.lanes, mixtures), number - 1)

    def _image(self, layer: Channels) -> list[Plane]:
        """p of the first layer: the image."""
        pixels, conv = _positions(layer), self.model.conv
        features = self._trunk("p1", conv("p1.embed", pixels))
        planes = self._coarsest(conv("p1.head", features), conv("p1.linear", pixels))
        limits, coder = EightBits(), TileBands(self.lanes, EightBits())
        for level in reversed(range(self.levels)):
            finer = -(-self.sides[0] >> level), -(-self.sides[1] >> level)
            member = Member.above(self.model, self.architecture, level, limits, features, planes)
            (planes,) = decode_level([[member]], TRANSFORMS[:1], [planes], finer, coder.decode)
            assert member.features is not None
            features = member.features
        return planes

    def _coarsest(self, head: Map, linear: Map) -> list[Plane]:
        k, height, width = self.architecture["mixtures"], len(head), len(head[0])
        planes: list[Plane] = []
        base = [
            [[min(max(128 + (out[band] + 32 >> 6), 0), 255) for out in line] for line in linear] for band in range(3)
        ]
        for band in range(self.bands):
            mixtures = []
            for y in range(height):
                for x in range(width):
                    out = head[y][x]
                    logits, means, scales = (out[(part * 3 + band) * k :][:k] for part in range(3))
                    chain = out[9 * k :]
                    used: tuple[list[int], ...] = [], chain[:1], chain[1:]
                    moved = sum(
                        c * (plane[y][x] - base[o][y][x])
                        for o, (c, plane) in enumerate(zip(used[band], planes, strict=True))
                    )
                    shift = 128 * 64 + linear[y][x][band] + moved
                    mixtures.append(
                        Mixture(weights_of(logits), [mean + shift for mean in means], list(map(_limited, scales)))
                    )
            values = iter(pop_values(self.lanes, mixtures))
            planes.append([[next(values) for _ in range(width)] for _ in range(height)])
        return planes


def _limited(scale: int) -> int:
    return min(max(scale, -80), 128)


def _positions(layer: Channels) -> Map:
    """Channels side by side at each position."""
    return [[list(channels) for channels in zip(*lines, strict=True)] for lines in zip(*layer, strict=True)]
