"""Mixtures of logistics in integers. Page: Mixtures of logistics."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import exp, log

from .numbers import check
from .streams import TOTAL, Interval, Lanes

REACH = 18432
SIGMOID = [
    0,
    *((1 << 24) - int((1 << 24) / (1 + exp(-z / 1024)) + 0.5) for z in range(REACH - 1, 0, -1)),
    *(int((1 << 24) / (1 + exp(-z / 1024)) + 0.5) for z in range(REACH)),
    1 << 24,
]
"""At z + 18432."""


LOGARITHM = [round(2**20 * log(1 + i / 4096)) for i in range(4097)]


@cache
def logarithm(number: int) -> int:
    """L: the natural logarithm of 1 .. 2**24, in 2**-20."""
    exponent = number.bit_length() - 1
    mantissa = (number << 24 >> exponent) - (1 << 24)
    index, rest = mantissa >> 12, mantissa >> 1 & 2047
    low, high = LOGARITHM[index : index + 2]
    return exponent * LOGARITHM[4096] + low + ((high - low) * rest >> 11)


@cache
def inverse_scale(scale: int) -> int:
    """Of a log-scale."""
    rounded: int = round(2.0 ** (24 - min(max(scale, -80), 256) / 16))
    return rounded


@cache
def weight(below: int) -> int:
    """Of how much a logit lies below the largest."""
    rounded: int = round(2.0 ** (16 - min(below, 256) / 16))
    return rounded


def weights_of(logits: Sequence[int]) -> list[int]:
    """Weights of total 2**16."""
    largest = max(logits)
    raw = [weight(largest - logit) for logit in logits]
    weights = [(each << 16) // sum(raw) for each in raw]
    weights[logits.index(largest)] += (1 << 16) - sum(weights)
    return weights


def sigmoid(z: int) -> int:
    """S(z)."""
    return SIGMOID[min(max(z + REACH, 0), 2 * REACH)]


class Mixture:
    """A mixture of K logistics: weights out of 2**16, centres in 1/64, log-scales in 1/16.

    ``top`` is the largest value; where ``clipped``, the ends are symbols of their own; ``whole``: m is 0.
    """

    def __init__(
        self,
        weights: Sequence[int],
        centres: Sequence[int],
        scales: Sequence[int],
        top: int = 255,
        *,
        clipped: bool = False,
        whole: bool = False,
    ) -> None:
        self.weights, self.centres, self.scales, self.top = weights, centres, scales, top
        self.inverses = [inverse_scale(scale) for scale in scales]
        self.origins = [
            (centre + 32) * inverse - (REACH << 20) for centre, inverse in zip(centres, self.inverses, strict=True)
        ]
        self.clipped = clipped and top > 1
        self.m = 0 if whole else max(0, (min(max(min(scales), -80), 256) >> 4) - 3)
        self.count = ((top - 2) >> self.m) + 3 if self.clipped else (top >> self.m) + 1
        self.moved: dict[int, int] = {}
        """Lower ends of symbols' intervals that are elsewhere."""
        self.cells: list[int] | None = None
        """How much higher the lower edges of values are, in 1/64."""

    def below(self, position: int, v: int = 0) -> int:
        """F at ``position / 2**v``."""
        total = 0
        for share, inverse, origin in zip(self.weights, self.inverses, self.origins, strict=True):
            z = ((position * inverse << 6 >> v) - origin) >> 20
            total += share * SIGMOID[min(max(z, 0), 2 * REACH)]
        return total >> 16

    def first(self, symbol: int) -> int:
        """The smallest value of a symbol."""
        if not self.clipped:
            return symbol << self.m
        return 0 if symbol == 0 else min(self.top, 1 + ((symbol - 1) << self.m))

    def lower(self, symbol: int) -> int:
        """The lower end of a symbol's interval."""
        if symbol in self.moved:
            return self.moved[symbol]
        if symbol <= 0 or symbol >= self.count:
            return 0 if symbol <= 0 else 1 << TOTAL
        value = self.first(symbol)
        below = self.below(value) if self.cells is None else self.below(64 * value + self.cells[value], 6)
        return symbol + (below * ((1 << TOTAL) - self.count) >> TOTAL)

    def find(self, slot: int) -> Interval:
        """The symbol whose interval holds a slot."""
        low, high, start, end = 0, self.count, 0, 1 << TOTAL
        while high - low > 1:
            middle = (low + high) // 2
            edge = self.lower(middle)
            if edge <= slot:
                low, start = middle, edge
            else:
                high, end = middle, edge
        return low, start, end - start

    def radix(self, symbol: int) -> int:
        """Of the digit that follows a symbol; 0 where none does."""
        inner = not self.clipped or 0 < symbol < self.count - 1
        return 1 << self.m if self.m and inner else 0

    def interval(self, symbol: int) -> tuple[int, int]:
        """Start and frequency."""
        start = self.lower(symbol)
        return start, self.lower(symbol + 1) - start


def pop_values(lanes: Lanes, mixtures: Sequence[Mixture]) -> list[int]:
    """A value of each mixture: all symbols, then the digits."""
    symbols = lanes.pop(len(mixtures), lambda item, slot: mixtures[item].find(slot))
    radices = [mixture.radix(symbol) for mixture, symbol in zip(mixtures, symbols, strict=True)]
    digits = iter(lanes.pop_digits([radix for radix in radices if radix]))
    values = [
        mixture.first(symbol) + (next(digits) if radix else 0)
        for mixture, symbol, radix in zip(mixtures, symbols, radices, strict=True)
    ]
    for mixture, value, radix in zip(mixtures, values, radices, strict=True):
        check(not radix or value <= mixture.top - mixture.clipped, "a value is above the largest one")
    return values


def push_values(lanes: Lanes, mixtures: Sequence[Mixture], values: Sequence[int]) -> None:
    """Undo ``pop_values``, of mixtures whose ends are no symbols of their own."""
    split = [(value, mixture.m) for mixture, value in zip(mixtures, values, strict=True) if mixture.m]
    lanes.push_digits([value & ((1 << m) - 1) for value, m in split], [1 << m for _, m in split])
    lanes.push([mixture.interval(value >> mixture.m) for mixture, value in zip(mixtures, values, strict=True)])
