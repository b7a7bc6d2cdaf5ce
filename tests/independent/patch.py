"""Small images by bits-back. Page: Patch flow."""

from __future__ import annotations

from collections.abc import Sequence

from .chain import Chain, Shape, pixels_of
from .logistic import Mixture, logarithm, pop_values
from .network import Map, Model
from .numbers import check
from .photo import TRANSFORMS, Component, Predicted, SideInformation, coded_mixture, decode_level, read_side_information
from .pyramid import STAGES, EightBits, Member, Plane
from .streams import Lanes, NarrowingLanes, SymbolStream, read_narrowings

PIXELS = 1 << 17
Area = tuple[int, int, int, int]
"""Top, left, height, width."""
Side = dict[tuple[int, int, int], SideInformation]
ENSEMBLE = TRANSFORMS[:1]
LIMITS = EightBits()


def decode_patch(chain: Chain, shape: Shape, model: Model) -> list[list[list[int]]]:
    """Pixels of the planes."""
    height, width, bands = shape
    fields = chain.fields
    narrowings = read_narrowings(fields)
    block_height, block_width = fields.varint(), fields.varint()
    side_size, direct = fields.varint(), fields.varint()
    check(0 < min(block_height, block_width) <= max(block_height, block_width) <= 128, "an impossible block")
    areas = _areas(height, width, block_height, block_width)
    check(1 <= direct <= len(areas), "an impossible number of blocks")
    sizes, at = [], direct
    while at < len(areas):
        sizes.append(fields.varint())
        _, _, rows, columns = areas[at]
        check(sizes[-1] == 1 or 1 < sizes[-1] * rows * columns <= PIXELS, "a batch is too large")
        at += sizes[-1]
    side = _side(fields.take(side_size), bands)
    chain.read_lanes(len(narrowings))
    check(at == len(areas), "the batches do not add up")
    out: list[list[list[int]]] = [[[] for _ in range(width)] for _ in range(height)]
    end = len(areas)
    for size in reversed(sizes):
        batch = areas[end - size : end]
        check(len({area[2:] for area in batch}) == 1, "a batch of several shapes")
        _paste(_Batch(chain.lanes, model, side).images(batch, bands), batch, out)
        end -= size
    stream = chain.lanes = NarrowingLanes(chain.lanes, narrowings)
    for run in _runs(areas[:direct]):
        _paste(_Run(stream, model, side).images(run, bands), run, out)
    return out


def _areas(height: int, width: int, block_height: int, block_width: int) -> list[Area]:
    """Blocks in coding order."""
    areas = [
        (top, left, min(block_height, height - top), min(block_width, width - left))
        for top in range(0, height, block_height)
        for left in range(0, width, block_width)
    ]
    shapes = list(dict.fromkeys(area[2:] for area in areas))
    return sorted(areas, key=lambda area: shapes.index(area[2:]))


def _runs(areas: list[Area]) -> list[list[Area]]:
    """Blocks of one shape, as many as may be."""
    runs: list[list[Area]] = []
    for area in areas:
        if runs and runs[-1][0][2:] == area[2:] and (len(runs[-1]) + 1) * area[2] * area[3] <= PIXELS:
            runs[-1].append(area)
        else:
            runs.append([area])
    return runs


def _paste(images: list[list[Plane]], areas: list[Area], out: list[list[list[int]]]) -> None:
    for planes, (top, left, _, _) in zip(images, areas, strict=True):
        for y, line in enumerate(pixels_of(planes), top):
            out[y][left : left + len(line)] = line


def _side(data: bytes, bands: int) -> Side:
    if not data:
        return {}
    stream = SymbolStream(data)
    side = {
        (level, stage, band): read_side_information(stream, 1, 12 + band)
        for level in (0, 1)
        for stage in range(STAGES)
        for band in range(bands)
    }
    check(stream.told() == 0, "a number is told")
    return side


class _Run:
    """Blocks of one shape, value by value."""

    def __init__(self, lanes: Lanes, model: Model, side: Side) -> None:
        self.lanes, self.model, self.side = lanes, model, side

    def images(self, areas: list[Area], bands: int) -> list[list[Plane]]:
        """The planes of each block."""
        top = iter(self.lanes.pop_digits([256] * (bands * len(areas))))
        images = [[[[next(top)]] for _ in range(bands)] for _ in areas]
        sides = areas[0][2:]
        pyramid = self.model.architecture["pyramid"]
        features: list[Map | None] = [None] * len(areas)
        for level in reversed(range(max(side - 1 for side in sides).bit_length())):
            if level >= len(pyramid["blocks"]) - 1:
                features = [None] * len(areas)
            finer = -(-sides[0] >> level), -(-sides[1] >> level)
            members = [
                Member.above(self.model, pyramid, level, LIMITS, f, planes)
                for f, planes in zip(features, images, strict=True)
            ]
            images = decode_level([[member] for member in members], ENSEMBLE, images, finer, self.component)
            features = [member.features for member in members]
        return images

    def mixtures(self, component: Component, band: int) -> list[list[Mixture]]:
        """Of each block those of a band's positions, row by row."""
        side = self.side.get((component.level, component.stage, band))
        height, width = component.shape

        def mixture(position: Predicted) -> Mixture:
            return coded_mixture(position, side, [0], LIMITS)

        return [
            [mixture(position) for line in grid[:height] for position in line[:width]]
            for grid in component.predicted(band)
        ]

    def component(self, component: Component) -> list[list[Plane]]:
        """The bands of each block."""
        count = len(component.images)
        out: list[list[Plane]] = [[] for _ in range(count)]
        for band in range(len(component.first[0])):
            mixtures = [mixture for block in self.mixtures(component, band) for mixture in block]
            planes = _planes(pop_values(self.lanes, mixtures), count, component.shape)
            component.accept(band, planes)
            for block, plane in zip(out, planes, strict=True):
                block.append(plane)
        return out


def _planes(values: Sequence[int], count: int, shape: tuple[int, int]) -> list[Plane]:
    """Values block by block as planes."""
    height, width = shape
    each = iter(values)
    return [[[next(each) for _ in range(width)] for _ in range(height)] for _ in range(count)]


def scaled_back(lanes: Lanes, values: Sequence[int], up: Sequence[int], down: Sequence[int]) -> list[int]:
    """Undo an MST with R = ``up`` and S = ``down``."""
    digits = lanes.pop_digits(down)
    both = [divmod(value * s + digit, r) for value, s, digit, r in zip(values, down, digits, up, strict=True)]
    lanes.push_digits([rest for _, rest in both], up)
    return [value for value, _ in both]


class _Batch(_Run):
    """Blocks of one shape, by bits-back."""

    def component(self, component: Component) -> list[list[Plane]]:
        """The bands of each block."""
        count, bands = len(component.images), len(component.first[0])
        noise = self._noise(component, bands)
        out: list[list[Plane]] = [[] for _ in range(count)]
        for band in range(bands):
            mixtures = [mixture for block in self.mixtures(component, band) for mixture in block]
            knots = [Knots(mixture, self.model.architecture["frac"]) for mixture in mixtures]
            flat = [z for block in noise for line in block[band] for z in line]
            lines = [knot.line(z) for knot, z in zip(knots, flat, strict=True)]
            starts = [knot.image(m) for knot, m in zip(knots, lines, strict=True)]
            up = [knot.image(m + 1) - start for knot, m, start in zip(knots, lines, starts, strict=True)]
            down = [1 << knot.s for knot in knots]
            inside = scaled_back(self.lanes, [z - start for z, start in zip(flat, starts, strict=True)], up, down)
            places = [(m << knot.s) + u for knot, m, u in zip(knots, lines, inside, strict=True)]
            planes = _planes(self._values(knots, places), count, component.shape)
            component.accept(band, planes)
            for block, plane in zip(out, planes, strict=True):
                block.append(plane)
        return out

    def _values(self, knots: list[Knots], places: list[int]) -> list[int]:
        """Of places in cells the cells' values; what was popped is pushed."""
        self.lanes.push_digits(
            [place & ((1 << knot.s) - 1) for knot, place in zip(knots, places, strict=True)],
            [1 << knot.s for knot in knots],
        )
        cells = [knot.cell(place) for knot, place in zip(knots, places, strict=True)]
        rests = self.lanes.pop_digits([width for _, _, width, _ in cells])
        self.lanes.push_digits(
            [low + rest for (_, low, _, _), rest in zip(cells, rests, strict=True)], [total for *_, total in cells]
        )
        return [value for value, *_ in cells]

    def _noise(self, component: Component, bands: int) -> list[list[Plane]]:
        """What the map made of the bands of each block."""
        k: int = self.model.architecture["frac"]
        count, (height, width) = len(component.images), component.shape
        flat = iter(self._factored(count * bands * height * width, k))
        z = [[[[next(flat) for _ in range(width)] for _ in range(height)] for _ in range(bands)] for _ in range(count)]
        lattice = self.model.architecture["lattice"]
        for number in range(max(max(row) for row in lattice), 0, -1):
            places = [(y, x) for y in range(height) for x in range(width) if lattice[y % 2][x % 2] == number]
            outputs = [
                self._coupling(members[0], number, block, lattice, k)
                for members, block in zip(component.images, z, strict=True)
            ]
            at = [(n, band, y, x) for n in range(count) for band in range(bands) for y, x in places]
            octaves = [min(max(outputs[n][y][x][3 + band], -32), 32) for n, band, y, x in at]
            up = [round(2 ** (10 + octave / 16)) for octave in octaves]
            back = scaled_back(self.lanes, [z[n][band][y][x] for n, band, y, x in at], up, [1 << 10] * len(at))
            for (n, band, y, x), value in zip(at, back, strict=True):
                shift = outputs[n][y][x][band]
                z[n][band][y][x] = value + (shift << k - 8 if k >= 8 else shift >> 8 - k)
        self._unmatrix(component, z, bands)
        return z

    def _factored(self, count: int, k: int) -> list[int]:
        g = max(k - 3, 0)
        prior = Mixture([1 << 16], [(4096 << 6) - 32], [16 * (k - g)], 8191)
        buckets = pop_values(self.lanes, [prior] * count)
        values = [
            (bucket - 4096 << g) + low
            for bucket, low in zip(buckets, self.lanes.pop_digits([1 << g] * count), strict=True)
        ]
        ends = [i for i, bucket in enumerate(buckets) if bucket in (0, 8191)]
        high, middle, low = (self.lanes.pop_digits([1 << 16] * len(ends)) for _ in range(3))
        for i, digits in zip(ends, zip(high, middle, low, strict=True), strict=True):
            values[i] = (digits[0] << 32) + (digits[1] << 16) + digits[2] - (1 << 47)
        return values

    def _coupling(self, member: Member, number: int, z: list[Plane], lattice: list[list[int]], k: int) -> Map:
        """The coupling's outputs at each position of ``a``."""
        features = member.features
        assert features is not None
        height, width = len(z[0]), len(z[0][0])

        def seen(band: int, y: int, x: int) -> int:
            if band >= len(z) or y >= height or x >= width or lattice[y % 2][x % 2] >= number:
                return 0
            value = z[band][y][x] + (1 << k - 1 >> 4)
            return min(max(value >> k - 4 if k >= 4 else value << 4 - k, -128), 127)

        pixels = [
            [[seen(band, y, x) for band in range(3)] for x in range(len(features[0]))] for y in range(len(features))
        ]
        name, conv = f"{member.stage_name}.coupling{number}", self.model.conv
        h = conv(f"{name}.inject", conv(f"{name}.embed", pixels), features)
        return conv(f"{name}.head", conv(f"{name}.mix", h, h))

    def _unmatrix(self, component: Component, z: list[list[Plane]], bands: int) -> None:
        weights, shifts = self.model.numbers(f"{component.images[0][0].stage_name}.matrix")
        q = max(shifts) - 4
        w = [[weights[3 * row + o] << q + 4 - shifts[row] for o in range(3)] for row in range(3)]
        height, width = component.shape
        at = [(n, y, x) for n in range(len(z)) for y in range(height) for x in range(width)]

        def lift(c: int, others: range) -> None:
            for n, y, x in at:
                z[n][c][y][x] -= sum(w[c][o] * z[n][o][y][x] for o in others) >> q

        for c in range(bands):
            lift(c, range(c))
        for c in reversed(range(bands)):
            values = [z[n][c][y][x] for n, y, x in at]
            back = scaled_back(self.lanes, values, [w[c][c]] * len(at), [1 << q] * len(at))
            for (n, y, x), value in zip(at, back, strict=True):
                z[n][c][y][x] = value
        for c in reversed(range(bands)):
            lift(c, range(c + 1, bands))


class Knots:
    """A mixture as a curve between knots."""

    def __init__(self, mixture: Mixture, k: int) -> None:
        n = min(max(min(mixture.scales), -80), 256) >> 4
        self.mixture, self.k = mixture, k
        self.s = max(0, min(k, k + n - 3))
        self.v = k - self.s
        tail = min(256 << self.v, 1 << 14)
        self.first, self.last = -tail, (256 << self.v) + tail
        mean = sum(w * c for w, c in zip(mixture.weights, mixture.centres, strict=True)) >> 16
        self._mid = (mean + 32 << self.v) >> 6

    def image(self, m: int) -> int:
        """Z(m)."""
        f = min(max(self.mixture.below(m, self.v), 1), (1 << 24) - 1)
        return (logarithm(f) - logarithm((1 << 24) - f) >> 20 - self.k) + m - self._mid

    def line(self, z: int) -> int:
        """The knot at or before which noise lies."""
        low, high = self.first, self.last
        check(self.image(low) <= z < self.image(high), "noise lies outside")
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.image(middle) <= z else (low, middle)
        return low

    def cell(self, place: int) -> tuple[int, int, int, int]:
        """Of the cell in which a place lies: value, c(m), c(m + 1) - c(m), total."""
        value = min(max(place >> self.k, 0), 255)
        begin = self.first if value == 0 else value << self.v
        end = self.last if value == 255 else value + 1 << self.v
        m = place >> self.s
        below = self.mixture.below(begin, self.v)
        mass = self.mixture.below(end, self.v) - below
        h = max(0, mass.bit_length() - 15)

        def c(knot: int) -> int:
            return (self.mixture.below(knot, self.v) - below >> h) + (knot > begin)

        return value, c(m), c(m + 1) - c(m), (mass >> h) + 1
