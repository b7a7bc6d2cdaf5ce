"""Bands whose predictions are corrected by what has just been decoded. Page: Backward adaptation."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import isnan, log2, sqrt
from operator import mul

from .logistic import Mixture, inverse_scale, pop_values, sigmoid
from .pyramid import Plane, Position
from .streams import Lanes

NEIGHBOURS = (
    ((-1, 0), (-1, -1), (-1, 1), (-2, 0)),
    ((-1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (-2, 0)),
)
WEIGHT = {1: 5, 2: 3, 4: 2}
"""By squared distance."""
BLOCK = 8


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
        inverse.append(single(1 / max(u[a][a], ridge / 2)))
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
    """Sums of products of features and of what they predict, for each block of so many columns."""

    def __init__(self, features: int, columns: int, block: int, k: int) -> None:
        self.block, self.k = block, k
        self.sums = [[[0] * (features + 1) for _ in range(features)] for _ in range(-(-columns // block))]

    def learn(self, columns: list[list[int]], targets: list[int]) -> None:
        """After a half row: the features of its columns."""
        for number, block in enumerate(self.sums):
            part = slice(number * self.block, (number + 1) * self.block)
            by_feature = [*map(list, zip(*columns[part], strict=True)), targets[part]]
            for a, row in enumerate(block):
                for b in range(a, len(row)):
                    row[b] += _dot(by_feature[a], by_feature[b]) - (row[b] >> self.k)

    def around(self, f: int, bits: int) -> list[list[list[int]]]:
        """Of each block, what lies beside it too."""
        out = [[list(row) for row in block] for block in self.sums]
        features = range(len(self.sums[0]))
        for a in features:
            for b in range(a, len(features) + 1):
                left = right = 0
                for number in range(len(self.sums)):
                    left = (left * f >> bits) + self.sums[number][a][b]
                    out[number][a][b] = left
                for number in reversed(range(len(self.sums))):
                    out[number][a][b] += right
                    right = (right + self.sums[number][a][b]) * f >> bits
        return out


@dataclass
class Half:
    """What is fitted for the even or the odd columns."""

    short: Squares
    long: Squares
    stacking: Squares
    table: list[int] = field(default_factory=lambda: [0] * (8 * 17))
    squares: list[int] = field(default_factory=lambda: [1 << 30] * (8 * 17))


class Known:
    """A band that is being decoded."""

    def __init__(
        self, mixtures: list[list[Mixture]], positions: list[list[Position]], earlier: Sequence[Plane]
    ) -> None:
        self.mixtures, self.positions, self.earlier = mixtures, positions, earlier
        self.height, self.width = len(mixtures), len(mixtures[0])
        self.mu = [[_mean(m.weights, m.centres) for m in line] for line in mixtures]
        self.scale = [[min(max(_mean(m.weights, m.scales), -80), 128) for m in line] for line in mixtures]
        self.surprises: Plane = [[0] * self.width for _ in range(self.height)]
        self.energy: Plane = [[0] * self.width for _ in range(self.height)]

    def near(self, plane: Plane, y: int, x: int) -> int:
        """A number of a plane, 0 outside."""
        return plane[y][x] if 0 <= y < self.height and 0 <= x < self.width else 0

    def features(self, y: int, x: int) -> list[int]:
        """Of a position."""
        inv, own = deviation(self.scale[y][x])[0], self.positions[y][x]
        out = [within((16 * (t + own.total) - self.mu[y][x]) * inv >> 16, 127) for t in own.taps[:8]]
        for surprises, (r, taps) in zip(self.earlier, own.before, strict=True):
            out += [within(self.near(surprises, y, x + right) * inv >> 16, 64) for right in (0, 1, -1)]
            out += [within(16 * (t - r) * inv >> 16, 127) for t in taps[:3]]
        return out + self.around(y, x)

    def around(self, y: int, x: int) -> list[int]:
        """The features of neighbours."""
        inv = deviation(self.scale[y][x])[0]
        places = NEIGHBOURS[x % 2]
        return [within(self.near(self.surprises, y + down, x + right) * inv >> 16, 64) for down, right in places]

    def entry(self, y: int, x: int) -> tuple[int, int]:
        """The entry of the table of offsets, and how far it is from the next."""
        n = m = 896
        for down, right in NEIGHBOURS[x % 2]:
            if 0 <= y + down < self.height and 0 <= x + right < self.width:
                weight = WEIGHT[down * down + right * right]
                n += weight * self.energy[y + down][x + right]
                m += 256 * weight
        t = min(max((_log2(n) - _log2(m) >> 9) + 512, 0), 1023)
        of_class = min(max(self.scale[y][x] + 16 >> 3, 0), 7)
        return 17 * of_class + (t >> 6), t & 63


def decode_adapted(
    lanes: Lanes, mixtures: list[list[Mixture]], positions: list[list[Position]], earlier: Sequence[Plane]
) -> tuple[Plane, Plane]:
    """A band, and its surprises; ``earlier`` are those of the bands before."""
    band = Known(mixtures, positions, earlier)
    values: Plane = [[0] * band.width for _ in range(band.height)]
    halves = []
    for half in range(min(2, band.width)):
        columns = (band.width + 1 - half) // 2
        count = len(band.features(0, half))
        short, long = (Squares(count, columns, BLOCK, k) for k in (3, 5))
        halves.append(Half(short, long, Squares(3, columns, columns, 4)))
    for y in range(band.height):
        for half, fitted in enumerate(halves):
            _half_row(lanes, band, fitted, y, range(half, band.width, 2), values)
    return values, band.surprises


def _half_row(lanes: Lanes, band: Known, fitted: Half, y: int, columns: range, values: Plane) -> None:
    features = [band.features(y, x) for x in columns]
    solved = [
        [solve(block, 4096) for block in squares.around(f, bits)]
        for squares, f, bits in ((fitted.short, 7, 4), (fitted.long, 25, 5))
    ]
    stacked = []
    for i, x in enumerate(columns):
        both = [within(_dot(of_block[i // BLOCK], features[i]) >> 10, 256) for of_block in solved]
        near = band.around(y, x)
        stacked.append([*both, within(2 * (near[0] + near[1]), 256)])
    trust = solve(fitted.stacking.sums[0], 16384)
    shifts, entries, coded = [], [], []
    for i, x in enumerate(columns):
        shifts.append(within(_dot(trust, stacked[i]) >> 12, 256) * deviation(band.scale[y][x])[1] + 128 >> 8)
        e, p = band.entry(y, x)
        entries.append((e, p))
        offset = fitted.table[e] * (64 - p) + fitted.table[e + 1] * p + 2048 >> 12
        m = band.mixtures[y][x]
        centres, scales = [c + shifts[i] for c in m.centres], [s + offset for s in m.scales]
        coded.append(Mixture(m.weights, centres, scales, whole=True))
    found = pop_values(lanes, coded)
    targets = []
    for x, value, shift in zip(columns, found, shifts, strict=True):
        inv = deviation(band.scale[y][x])[0]
        surprise = 64 * value - band.mu[y][x]
        values[y][x], band.surprises[y][x] = value, surprise
        band.energy[y][x] = min(abs(surprise - shift) * inv >> 16, 64) ** 2
        targets.append(within(surprise * inv >> 16, 48))
    fitted.short.learn(features, targets)
    fitted.long.learn(features, targets)
    fitted.stacking.learn(stacked, [4 * target for target in targets])
    _learn_scales(fitted, entries, [slope(mixture, value) for mixture, value in zip(coded, found, strict=True)])


def _learn_scales(fitted: Half, entries: list[tuple[int, int]], slopes: list[int]) -> None:
    totals = [0] * len(fitted.table)
    for (e, p), d in zip(entries, slopes, strict=True):
        for at, share in ((e, 64 - p), (e + 1, p)):
            totals[at] += d * share
            fitted.squares[at] += (d * share) ** 2
    for at, total in enumerate(totals):
        moved = fitted.table[at] + round(256.0 * total / sqrt(float(fitted.squares[at])))
        fitted.table[at] = within(moved, 3072)


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
