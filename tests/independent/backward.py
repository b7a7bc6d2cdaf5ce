"""Bands whose predictions are corrected by what has just been decoded. Page: Backward adaptation."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from math import isnan, log2, sqrt
from operator import mul

from .logistic import Mixture, inverse_scale, pop_values, sigmoid
from .pyramid import OFFSETS, Plane, Position
from .streams import Lanes

Surprises = dict[tuple[int, int], int]
"""Of a band's samples, by row and column in the tile."""
NEAREST = (
    ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    ((0, -1), (0, 1), (-1, 0), (1, 0)),
    ((-1, 0), (1, 0), (0, -1), (0, 1)),
)
"""Of each stage, in pixels of the level."""
NEIGHBOURS = (
    ((-1, 0), (-1, -1), (-1, 1), (-2, 0)),
    ((-1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (-2, 0)),
)
"""Of even and odd columns."""
WEIGHT = {1: 5, 2: 3, 4: 2}
"""By squared distance."""
BLOCK = 8
CLASSES, ENTRIES = 8, 17


@cache
def deviation(s: int) -> tuple[int, int]:
    """INV and SD."""
    sd = sqrt(3.29 * 4 ** (s / 16) + 1 / 12)
    return round(2**14 / sd), round(2**8 * sd)


def single(number: float) -> float:
    """A number in single precision: of two as near, the even one. Products, sums and quotients of such numbers in
    double precision lose nothing by being rounded twice."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        rounded = float("inf") if number > 0 else float("-inf")
    return rounded


def singles(numbers: list[float]) -> list[float]:
    """``single`` of each."""
    try:
        return list(struct.unpack(f"<{len(numbers)}f", struct.pack(f"<{len(numbers)}f", *numbers)))
    except OverflowError:
        return [single(number) for number in numbers]


def within(number: int, limit: int) -> int:
    """Clipped to -limit .. limit."""
    return min(max(number, -limit), limit)


def solve(sums: list[list[int]], ridge: int) -> list[int]:
    """Coefficients in 1/4096, of sums [a][b] for b from a on, the last being what is predicted."""
    n = len(sums)
    u = [singles([float(number) for number in row]) for row in sums]
    inverse = []
    more = 1 + 1 / 512
    for a in range(n):
        u[a][a] = single(single(u[a][a] * more) + ridge)
    for a in range(n):
        inverse.append(single(1 / (u[a][a] if u[a][a] > ridge / 2 else ridge / 2)))
        for c in range(a + 1, n):
            factor = single(u[a][c] * inverse[a])
            products = singles([factor * number for number in u[a][c:]])
            u[c][c:] = singles([number - product for number, product in zip(u[c][c:], products, strict=True)])
    found = [0.0] * n
    for a in reversed(range(n)):
        found[a] = single(u[a][n] * inverse[a])
        for c in range(a):
            u[c][n] = single(u[c][n] - single(u[c][a] * found[a]))
    scaled = [single(4096 * x) for x in found]
    return [round(32767.0 if isnan(x) else min(max(x, -32767.0), 32767.0)) for x in scaled]


class Squares:
    """Sums of products of features and of what they predict."""

    def __init__(self, features: int, k: int) -> None:
        self.k = k
        self.sums = [[0] * (features + 1) for _ in range(features)]

    def learn(self, features: list[list[int]], targets: list[int]) -> None:
        """After a half row: the features of each column."""
        columns = [[line[a] for line in features] for a in range(len(self.sums))] + [targets]
        for a, row in enumerate(self.sums):
            for b in range(a, len(row)):
                row[b] += _dot(columns[a], columns[b]) - (row[b] >> self.k)


class Local:
    """Local least squares: the sums of each block of columns."""

    def __init__(self, features: int, columns: int, k: int, f: int, bits: int) -> None:
        self.blocks = [Squares(features, k) for _ in range(-(-columns // BLOCK))]
        self.f, self.bits = f, bits

    def predictions(self, features: list[list[int]]) -> list[int]:
        """Of each column of a half row."""
        solved = [solve(sums, 4096) for sums in self.around()]
        return [within(_dot(solved[i // BLOCK], each) >> 10, 256) for i, each in enumerate(features)]

    def around(self) -> list[list[list[int]]]:
        """Sums of each block and of what lies beside it."""
        out = [[list(row) for row in block.sums] for block in self.blocks]
        for a, row in enumerate(self.blocks[0].sums):
            for b in range(a, len(row)):
                left = right = 0
                for number, block in enumerate(self.blocks):
                    left = (left * self.f >> self.bits) + block.sums[a][b]
                    out[number][a][b] = left
                for number in reversed(range(len(self.blocks))):
                    out[number][a][b] += right
                    right = (right + self.blocks[number].sums[a][b]) * self.f >> self.bits
        return out

    def learn(self, features: list[list[int]], targets: list[int]) -> None:
        """After a half row."""
        for number, block in enumerate(self.blocks):
            part = slice(number * BLOCK, (number + 1) * BLOCK)
            block.learn(features[part], targets[part])


class Table:
    """A table of offsets."""

    def __init__(self) -> None:
        self.offsets = [0] * (CLASSES * ENTRIES)
        self.squares = [1 << 30] * (CLASSES * ENTRIES)

    def offset(self, e: int, p: int) -> int:
        """Between an entry and the next."""
        return self.offsets[e] * (64 - p) + self.offsets[e + 1] * p

    def begin(self) -> None:
        """A component begins."""
        self.squares = [(1 << 30) + (square - (1 << 30) >> 2) for square in self.squares]

    def learn(self, entries: list[tuple[int, int]], slopes: list[int]) -> None:
        """After a half row."""
        totals = [0] * len(self.offsets)
        for (e, p), d in zip(entries, slopes, strict=True):
            for at, share in ((e, 64 - p), (e + 1, p)):
                totals[at] += d * share
                self.squares[at] += (d * share) ** 2
        for at, total in enumerate(totals):
            moved = self.offsets[at] + round(61.0 * total / sqrt(float(self.squares[at])))
            self.offsets[at] = within(moved, 3072)


class Calibration:
    """The calibration of a class."""

    def __init__(self) -> None:
        self.counts = [25600] * 32

    @property
    def ends(self) -> list[int]:
        """At the ends of the parts."""
        sums = list(accumulate(self.counts, initial=0))
        return [(each << 24) // sums[-1] for each in sums]

    def learn(self, samples: list[tuple[int, int]]) -> None:
        """After a half row: F at both edges of each sample of the class."""
        for low, high in samples:
            share = single(4096 / max(high - low, 1))
            for i in range(32):
                inside = max(min(high, (i + 1) << 19) - max(low, i << 19), 0)
                self.counts[i] += round(single(inside * share))
        if samples and sum(self.counts) >= 1 << 25:
            self.counts = [count + 4096 >> 1 for count in self.counts]


class Calibrated(Mixture):
    """A mixture that is calibrated, in which m is 0."""

    ends: list[int]

    def below(self, position: int, v: int = 0) -> int:
        """F calibrated."""
        plain = super().below(position, v)
        i, rest = plain >> 19, plain & 0x7FFFF
        return self.ends[i] + ((self.ends[i + 1] - self.ends[i]) * rest >> 19) if i < 32 else 1 << 24


@dataclass
class Learned:
    """What the components of a band hand on."""

    tables: list[Table] = field(default_factory=lambda: [Table() for _ in range(3)])
    calibrations: list[Calibration] = field(default_factory=lambda: [Calibration() for _ in range(CLASSES)])
    stacking: list[list[Squares]] = field(
        default_factory=lambda: [[Squares(4, 6) for _ in range(CLASSES // 2)] for _ in range(2)]
    )
    """Of even and of odd columns."""


class Half:
    """What is fitted for the even or the odd columns of a component."""

    def __init__(self, features: int, columns: int, stacking: list[Squares]) -> None:
        self.local = [Local(features, columns, 3, 7, 4), Local(features, columns, 5, 25, 5)]
        self.stacking = stacking


@dataclass
class Grid:
    """Where the positions of a component lie in the tile."""

    level: int
    stage: int

    def place(self, y: int, x: int) -> tuple[int, int]:
        """Row and column of a position."""
        down, right = OFFSETS[self.stage + 1]
        return (2 * y + down) << self.level, (2 * x + right) << self.level


class Known:
    """A band that is being decoded. ``surprises``: of the bands before, and its own."""

    def __init__(
        self, mixtures: list[list[Mixture]], positions: list[list[Position]], grid: Grid, surprises: list[Surprises]
    ) -> None:
        self.mixtures, self.positions, self.grid = mixtures, positions, grid
        *self.earlier, self.own = surprises
        self.height, self.width = len(mixtures), len(mixtures[0])
        self.mu = [[_mean(m.weights, m.centres) for m in line] for line in mixtures]
        self.scale = [[min(max(_mean(m.weights, m.scales), -80), 128) for m in line] for line in mixtures]
        self.energy = self._plane(0)
        self.errors = [self._plane(0) for _ in range(3)]
        """e0, e1 and e2."""
        self.inside = self._plane(256)

    def _plane(self, number: int) -> Plane:
        return [[number] * self.width for _ in range(self.height)]

    def z(self, distance: int, y: int, x: int) -> int:
        """A distance in the terms of a position."""
        return distance * deviation(self.scale[y][x])[0] >> 16

    def nearest(self, y: int, x: int) -> list[int]:
        """The features of the four nearest samples."""
        row, column = self.grid.place(y, x)
        step = 1 << self.grid.level
        places = [(row + down * step, column + right * step) for down, right in NEAREST[self.grid.stage]]
        return [within(self.z(self.own.get(place, 0), y, x), 64) for place in places]

    def around(self, y: int, x: int) -> list[int]:
        """The features of neighbours."""
        places = [self.grid.place(y + down, x + right) for down, right in NEIGHBOURS[x % 2]]
        return [within(self.z(self.own.get(place, 0), y, x), 64) for place in places]

    def features(self, y: int, x: int) -> list[int]:
        """Of a position."""
        own = self.positions[y][x]
        out = [within(self.z(16 * (t + own.total) - self.mu[y][x], y, x), 127) for t in own.taps[:8]]
        out += self.nearest(y, x)
        for surprises, (r, taps) in zip(self.earlier, own.before, strict=True):
            places = [self.grid.place(y, x + right) for right in (0, 1, -1)]
            out += [within(self.z(surprises.get(place, 0), y, x), 64) for place in places]
            out += [within(self.z(16 * (t - r), y, x), 127) for t in taps[:3]]
        return out + self.around(y, x)

    def sum(self, plane: Plane, y: int, x: int) -> int:
        """A of a plane."""
        total = 896
        for down, right in NEIGHBOURS[x % 2]:
            if 0 <= y + down and 0 <= x + right < self.width:
                total += WEIGHT[down * down + right * right] * plane[y + down][x + right]
        return total

    def blend(self, predictions: list[int], y: int, x: int) -> int:
        """Of the short and the long prediction."""
        r = [single(1 / self.sum(plane, y, x)) for plane in self.errors]
        for _ in range(2):
            r = [single(each * each) for each in r]
        above = single(single(r[1] * predictions[0]) + single(r[2] * predictions[1]))
        return round(single(above / single(single(r[0] + r[1]) + r[2])))

    def class_of(self, y: int, x: int) -> int:
        """Of the scale."""
        return min(max(self.scale[y][x] + 16 >> 3, 0), CLASSES - 1)

    def entries(self, y: int, x: int) -> list[tuple[int, int]]:
        """The entry of each table of offsets, and how far it is from the next."""
        near = self.nearest(y, x)
        quotients = [(self.sum(self.energy, y, x), self.sum(self.inside, y, x)), (192 + _dot(near, near), 1216)]
        if self.earlier:
            place = self.grid.place(y, x)
            before = [within(self.z(surprises.get(place, 0), y, x), 64) for surprises in self.earlier]
            quotients.append((192 + 4 * _dot(before, before), 192 + 1024 * len(before)))
        out = []
        for n, m in quotients:
            t = min(max((_log2(n) - _log2(m) >> 9) + 512, 0), 1023)
            out.append((ENTRIES * self.class_of(y, x) + (t >> 6), t & 63))
        return out

    def accept(self, y: int, x: int, value: int, shift: int, predictions: list[int]) -> int:
        """A sample is known. Returns what its features were to predict."""
        surprise = 64 * value - self.mu[y][x]
        self.own[self.grid.place(y, x)] = surprise
        self.energy[y][x] = min(self.z(abs(surprise - shift), y, x), 64) ** 2
        target = within(self.z(surprise, y, x), 48)
        for plane, error in zip(self.errors, [target, *(4 * target - p >> 2 for p in predictions)], strict=True):
            plane[y][x] = error**2
        return target


def decode_adapted(
    lanes: Lanes,
    mixtures: list[list[Mixture]],
    positions: list[list[Position]],
    grid: Grid,
    surprises: list[Surprises],
    learned: Learned,
) -> Plane:
    """A band, whose surprises are added to the last of ``surprises``; the others are those of the bands before.
    ``learned``: by the components of the band before, and by this one."""
    band = Known(mixtures, positions, grid, surprises)
    values = [[0] * band.width for _ in range(band.height)]
    for table in learned.tables:
        table.begin()
    halves = [
        Half(len(band.features(0, x)), (band.width + 1 - x) // 2, learned.stacking[x])
        for x in range(min(2, band.width))
    ]
    for y in range(band.height):
        for half, fitted in enumerate(halves):
            values[y][half::2] = _half_row(lanes, band, fitted, learned, y, range(half, band.width, 2))
    return values


def _half_row(lanes: Lanes, band: Known, fitted: Half, learned: Learned, y: int, columns: range) -> list[int]:
    features = [band.features(y, x) for x in columns]
    local = [list(pair) for pair in zip(*(local.predictions(features) for local in fitted.local), strict=True)]
    trust = [solve(squares.sums, 16384) for squares in fitted.stacking]
    pairs = [band.class_of(y, x) // 2 for x in columns]
    stacked, shifts, entries = [], [], []
    coded: list[Mixture] = []
    ends = [calibration.ends for calibration in learned.calibrations]
    for x, predictions, pair in zip(columns, local, pairs, strict=True):
        first, second = band.around(y, x)[:2]
        stacked.append([*predictions, within(2 * (first + second), 256), band.blend(predictions, y, x)])
        shift = within(_dot(trust[pair], stacked[-1]) >> 12, 256) * deviation(band.scale[y][x])[1] + 128 >> 8
        shifts.append(shift)
        entries.append(band.entries(y, x))
        offset = (
            sum(table.offset(e, p) for table, (e, p) in zip(learned.tables, entries[-1], strict=False)) + 2048 >> 12
        )
        m = band.mixtures[y][x]
        mixture = Calibrated(m.weights, [c + shift for c in m.centres], [s + offset for s in m.scales], whole=True)
        mixture.ends = ends[band.class_of(y, x)]
        coded.append(mixture)
    found = pop_values(lanes, coded)
    known = zip(columns, found, shifts, local, strict=True)
    targets = [band.accept(y, x, value, shift, predictions) for x, value, shift, predictions in known]
    for each in fitted.local:
        each.learn(features, targets)
    for pair, squares in enumerate(fitted.stacking):
        of_pair = [i for i, other in enumerate(pairs) if other == pair]
        squares.learn([stacked[i] for i in of_pair], [4 * targets[i] for i in of_pair])
    slopes = [slope(mixture, value) for mixture, value in zip(coded, found, strict=True)]
    for table, of_table in zip(learned.tables, zip(*entries, strict=True), strict=False):
        table.learn(list(of_table), slopes)
    for number, calibration in enumerate(learned.calibrations):
        inside = [i for i, x in enumerate(columns) if band.class_of(y, x) == number]
        calibration.learn([_edges(coded[i], found[i]) for i in inside])
    return found


def _edges(mixture: Mixture, value: int) -> tuple[int, int]:
    """F at both edges of a value, not calibrated."""
    low = Mixture.below(mixture, value) if value > 0 else 0
    return low, Mixture.below(mixture, value + 1) if value < 255 else 1 << 24


def slope(mixture: Mixture, value: int) -> int:
    """The derivative of a value's log likelihood by the log-scales."""
    p = d = 0.0
    for weight, centre, scale in zip(mixture.weights, mixture.centres, mixture.scales, strict=True):
        parts = []
        for edge in (value + 1, value):
            z = within((64 * edge - 32 - centre) * inverse_scale(scale) >> 20, 18432)
            below = single(sigmoid(z) * 2.0**-24)
            parts.append((below, single(single(z / 1024 * below) * single(1 - below))))
        (high, upper), (low, lower) = parts
        p = single(p + single(weight * single(high - low)))
        d = single(d + single(weight * single(lower - upper)))
    each = single(single(d / single(p + 2.0**-8)) * single(256 * 0.6931))
    return round(min(max(each, -768.0), 768.0))


def _mean(weights: Sequence[int], numbers: Sequence[int]) -> int:
    return _dot(weights, numbers) >> 16


def _dot(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(map(mul, a, b))


@cache
def _log2(number: int) -> int:
    """In 1/65536, by the 12 bits below the leading one."""
    exponent = number.bit_length() - 1
    bits = (number << 12 >> exponent) - 4096
    return (exponent << 16) + int(65536 * log2((8193 + 2 * bits) / 8192))
