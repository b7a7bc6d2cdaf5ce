"""What is fitted to the samples of a band. Page: Backward adaptation."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import isnan, sqrt
from operator import mul

from .logistic import Mixture

BLOCK = 8
CLASSES, ENTRIES = 8, 17


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
                row[b] += dot(columns[a], columns[b]) - (row[b] >> self.k)


class Local:
    """Local least squares: the sums of each block of columns."""

    def __init__(self, features: int, columns: int, k: int, f: int, bits: int, every: int) -> None:
        self.every = every
        self.solved = [[0] * features] * -(-columns // BLOCK)
        self.blocks = [Squares(features, k) for _ in range(-(-columns // BLOCK))]
        self.f, self.bits = f, bits

    def predictions(self, features: list[list[int]], row: int) -> list[int]:
        """Of each column of a half row."""
        if row % self.every == 1 % self.every:
            self.solved = [solve(sums, 4096) for sums in self.around()]
        return [within(dot(self.solved[i // BLOCK], each) >> 10, 256) for i, each in enumerate(features)]

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


def trusted(shift: int, table: Table, octave: int) -> int:
    """A shift, as far as it is trusted."""
    return shift * min(max(1024 + table.offsets[octave], 0), 1536) >> 10


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
    trust: Table = field(default_factory=Table)
    calibrations: list[Calibration] = field(default_factory=lambda: [Calibration() for _ in range(CLASSES)])
    stacking: list[list[Squares]] = field(
        default_factory=lambda: [[Squares(4, 6) for _ in range(CLASSES // 2)] for _ in range(2)]
    )
    """Of even and of odd columns."""


def dot(a: Sequence[int], b: Sequence[int]) -> int:
    """The sum of products."""
    return sum(map(mul, a, b))
