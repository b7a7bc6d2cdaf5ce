"""What networks predict of the bands of a component. Page: Pyramid of networks.

A plane is a list of rows. A component has three planes, in coding order; those of a single band are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import mul
from typing import Any, Protocol

from .logistic import weights_of
from .network import Map, Model, repeated

Plane = list[list[int]]
OFFSETS = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Rows and columns of a, d, b, c."""
STAGES = 3
LIMIT = 1 << 30
REACH = 2

# Each tap: the samples (component, rows down, columns right).
_D = (
    ((0, 0, 0),),
    ((0, 0, 1),),
    ((0, 1, 0),),
    ((0, 1, 1),),
    ((0, -1, 0), (0, -1, 1)),
    ((0, 2, 0), (0, 2, 1)),
    ((0, 0, -1), (0, 1, -1)),
    ((0, 0, 2), (0, 1, 2)),
    ((0, -1, -1),),
    ((0, -1, 2),),
    ((0, 2, -1),),
    ((0, 2, 2),),
)
_B = (
    ((0, 0, 0),),
    ((0, 0, 1),),
    ((1, -1, 0),),
    ((1, 0, 0),),
    ((0, -1, 0), (0, -1, 1)),
    ((0, 1, 0), (0, 1, 1)),
    ((1, -1, -1), (1, 0, -1)),
    ((1, -1, 1), (1, 0, 1)),
    ((0, 0, -1),),
    ((0, 0, 2),),
    ((1, -2, 0),),
    ((1, 1, 0),),
)
_C = (
    ((0, 0, 0),),
    ((0, 1, 0),),
    ((1, 0, -1),),
    ((1, 0, 0),),
    ((2, 0, -1),),
    ((2, 0, 0),),
    ((2, 1, -1),),
    ((2, 1, 0),),
    ((0, 0, -1), (0, 1, -1)),
    ((0, 0, 1), (0, 1, 1)),
    ((1, -1, -1), (1, -1, 0)),
    ((1, 1, -1), (1, 1, 0)),
)
TAPS: tuple[tuple[tuple[tuple[int, int, int], ...], ...], ...] = (_D, _B, _C)


def component_shape(height: int, width: int, index: int) -> tuple[int, int]:
    """Rows and columns of a component."""
    row, column = OFFSETS[index]
    return (height + 1 - row) // 2, (width + 1 - column) // 2


def extended(part: Plane, like: Plane) -> Plane:
    """A component in the size of ``a``: the last row and column repeated, or ``a`` itself where it is empty."""
    if not part or not part[0]:
        return like
    lines = [line + line[-1:] * (len(like[0]) - len(line)) for line in part]
    return lines + lines[-1:] * (len(like) - len(lines))


def padded(plane: Plane) -> Plane:
    """With its edges repeated by ``REACH``."""
    lines = [line[:1] * REACH + line + line[-1:] * REACH for line in plane]
    return lines[:1] * REACH + lines + lines[-1:] * REACH


def tap(known: Sequence[Plane], places: Sequence[tuple[int, int, int]], row: int, column: int) -> int:
    """The sum of a tap's samples, of planes that are ``padded``."""
    return sum([known[index][row + down + REACH][column + right + REACH] for index, down, right in places])


def clipped(number: int) -> int:
    """As networks see it."""
    return min(max(number, -128), 127)


class Range(Protocol):
    """How coded numbers 0 .. top are related to what networks see."""

    top: int
    log_gain: int
    clipped: bool

    def mapped(self, value: int) -> int:
        """What networks see of a coded number."""

    def mean(self, output: int, total: int) -> int:
        """A mean in 1/64 of coded numbers, from a network's."""

    def offset(self, offset: int) -> int:
        """An offset of means."""

    def seen_distance(self, value: int, mean: int) -> int:
        """What networks see of a value less a mean in 1/64."""


class EightBits:
    """The ``Range`` of samples of 8 bits."""

    top, log_gain, clipped = 255, 0, False

    def mapped(self, value: int) -> int:
        """As it is."""
        return value

    def mean(self, output: int, total: int) -> int:
        """As it is."""
        return output

    def offset(self, offset: int) -> int:
        """As it is."""
        return offset

    def seen_distance(self, value: int, mean: int) -> int:
        """In whole values."""
        return (64 * value - mean + 32) >> 6


@dataclass
class Position:
    """What is predicted of a band at a position: outputs of the network, and what the means are made of."""

    weights: list[int]
    means: list[int]
    scales: list[int]
    chain: list[int]
    filters: list[int]
    total: int
    taps: list[int]
    before: list[tuple[int, list[int]]]
    """Of each band before: its distance from the baseline, and its taps."""

    def __post_init__(self) -> None:
        self.plain = self.centres([0] * (len(self.chain) + len(self.filters)), 0)
        """Centres without side information."""

    def centres(self, moves: Sequence[int], mean_offset: int) -> list[int]:
        """Of the logistics, with offsets of coefficients and of the means."""
        coefficients = [min(max(c + move, -255), 255) for c, move in zip(self.chain + self.filters, moves, strict=True)]
        chain, filters = coefficients[: len(self.chain)], coefficients[len(self.chain) :]
        moved = 64 * _dot(filters, self.taps)
        for c, (distance, taps) in zip(chain, self.before, strict=True):
            moved += c * (64 * distance - _dot(filters, taps))
        shift = 16 * self.total + (moved >> 8) + mean_offset
        return [min(max(mean + shift, -LIMIT), LIMIT) for mean in self.means]

    def mean(self) -> int:
        """The mixture's, without side information."""
        return _dot(self.weights, self.plain) >> 16


def _dot(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(map(mul, a, b))


@dataclass
class Member:
    """The run of a pyramid over a level, of an image or of one of its mirror images.

    ``side`` are the channels after the components, of each position.
    """

    model: Model
    pyramid: dict[str, Any]
    level: int
    range: Range
    features: Map | None
    side: list[list[list[int]]] | None = None
    known: list[list[Plane]] = field(default_factory=list)

    @staticmethod
    def above(
        model: Model, pyramid: dict[str, Any], level: int, range: Range, coarser: Map | None, planes: list[Plane]
    ) -> Member:
        """Of an image itself, from the features of the next coarser level and its planes there."""
        features = None if coarser is None else repeated(coarser, len(planes[0]), len(planes[0][0]))
        return Member(model, pyramid, level, range, features)

    def add(self, part: list[Plane]) -> None:
        """A component is known, of three planes in the size of ``a``."""
        self.known.append(part)

    def predict(self) -> None:
        """The features of the next stage."""
        stage, net = len(self.known) - 1, min(self.level, len(self.pyramid["blocks"]) - 1)
        self.stage_name = f"{net}.{stage}"
        height, width = len(self.known[0][0]), len(self.known[0][0][0])
        self._mapped = [
            [[[self.range.mapped(value) for value in line] for line in plane] for plane in part] for part in self.known
        ]
        self._base: list[Plane] = []
        for band in range(3):
            known = [padded(part[band]) for part in self._mapped]
            nearest = [place for (place,) in TAPS[stage][:4]]
            self._base.append([[(tap(known, nearest, y, x) + 2) >> 2 for x in range(width)] for y in range(height)])
        pixels: Map = []
        for y in range(height):
            pixels.append([])
            for x in range(width):
                channels = [self._base[band][y][x] - 128 for band in range(3)]
                for part in self._mapped:
                    channels += [clipped(part[band][y][x] - self._base[band][y][x]) for band in range(3)]
                pixels[-1].append(channels + (self.side[y][x] if self.side else []))
        conv = self.model.conv
        h = conv(f"{self.stage_name}.inject", conv(f"{self.stage_name}.embed", pixels), self.features)
        for block in range(self.pyramid["blocks"][net][stage]):
            h = conv(f"{self.stage_name}.{block}.b", conv(f"{self.stage_name}.{block}.a", h), h)
        self.features = self._of_band = h
        self._seen: Map = [[[] for _ in range(width)] for _ in range(height)]
        self._before: list[list[list[tuple[int, list[int]]]]] = [[[] for _ in range(width)] for _ in range(height)]

    def positions(self, band: int) -> list[list[Position]]:
        """What is predicted of a band."""
        name, conv = f"{self.stage_name}.band{band}", self.model.conv
        if band:
            h = conv(f"{name}.inject", conv(f"{name}.embed", self._seen), self._of_band)
            self._of_band = conv(f"{name}.mix", h, h)
        outputs = conv(f"{name}.head", self._of_band)
        known, stage = [padded(part[band]) for part in self.known], len(self.known) - 1
        self._positions: list[list[Position]] = []
        for y in range(len(outputs)):
            self._positions.append([])
            for x in range(len(outputs[0])):
                sums = [tap(known, places, y, x) for places in TAPS[stage]]
                total = sum(sums[:4])
                taps = [4 // len(places) * s - total for places, s in zip(TAPS[stage], sums, strict=True)]
                self._positions[-1].append(self._position(outputs[y][x], band, total, taps, self._before[y][x]))
        return self._positions

    def _position(
        self, outputs: list[int], band: int, total: int, taps: list[int], before: list[tuple[int, list[int]]]
    ) -> Position:
        k = self.pyramid["mixtures"]
        means = [self.range.mean(mean, total) for mean in outputs[k : 2 * k]]
        scales = [scale + self.range.log_gain for scale in outputs[2 * k : 3 * k]]
        chain, filters = outputs[3 * k : 3 * k + band], outputs[3 * k + band :]
        return Position(weights_of(outputs[:k]), means, scales, chain, filters, total, taps, list(before))

    def accept(self, band: int, plane: Plane) -> None:
        """The samples of a band are known, in the size of ``a``."""
        for y, line in enumerate(plane):
            for x, value in enumerate(line):
                position = self._positions[y][x]
                self._before[y][x].append((4 * value - position.total, position.taps))
                self._seen[y][x] += [
                    clipped(self.range.mapped(value) - self._base[band][y][x]),
                    clipped(self.range.seen_distance(value, position.mean())),
                ]
