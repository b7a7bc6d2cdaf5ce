"""A lattice as a prior. Page: Colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from .backward import NEAREST, Grid
from .colours import CONVERSIONS
from .learners import dot
from .logistic import Mixture
from .pyramid import Plane

LEVELS = 3
SMALLEST = 1024
"""Positions of a component from which on it has a prior."""
WINDOW = 7


@cache
def _blues(conversion: int, y: int) -> list[int]:
    """B by q."""
    made = CONVERSIONS[conversion]
    return [made.limited(made.luma(y) + made.blue(q - y)) for q in range(256)]


@cache
def _by_red(conversion: int) -> list[list[tuple[int, int]]]:
    """All (p, y) by the R that they give."""
    made = CONVERSIONS[conversion]
    found: list[list[tuple[int, int]]] = [[] for _ in range(256)]
    for y in range(256):
        for p in range(256):
            found[made.limited(made.luma(y) + made.red(p - y))].append((p, y))
    return found


@cache
def with_red(conversion: int, red: int) -> bytearray:
    """Whether colours of this R are on the lattice, at 256 G + B."""
    made = CONVERSIONS[conversion]
    unit, green_cb = made.unit, [made.green_cb(cb) for cb in range(-255, 256)]
    found = bytearray(1 << 16)
    for p, y in _by_red(conversion)[red]:
        fixed = made.luma(y) + made.green_cr(p - y)
        for moved, blue in zip(green_cb[255 - y : 511 - y], _blues(conversion, y), strict=True):
            found[min(max((fixed + moved) // unit, 0), 255) << 8 | blue] = 1
    return found


def weigh(mixture: Mixture, likely: bytearray, weight: int) -> int:
    """Move the intervals of a mixture with m = 0. ``likely``: whether each value is; ``weight``: of those that are not.
    Returns P, what share of 2**16 the others have."""
    near = [min(max(centre, -(1 << 30)), 1 << 30) + 32 for centre in mixture.centres]
    low = min(max((dot(mixture.weights, near) >> 22) - WINDOW // 2, 0), 256 - WINDOW)
    starts = [mixture.lower(value) for value in range(low, low + WINDOW + 1)]
    sums, inside = [0], 0
    for k in range(WINDOW):
        frequency = starts[k + 1] - starts[k]
        sums.append(sums[-1] + frequency * (256 if likely[low + k] else weight))
        inside += frequency if likely[low + k] else 0
    share = (starts[-1] - starts[0] - WINDOW) / sums[-1]
    mixture.moved = {low + k: starts[0] + k + int(sums[k] * share) for k in range(1, WINDOW)}
    return (256 * inside << 16) // sums[-1]


@dataclass
class Learned:
    """Of a band, by how many of the nearest pixels are on the lattice."""

    logs: list[int] = field(default_factory=lambda: [148, 591, 1182, 1773, 2659])
    """l."""
    curvatures: list[int] = field(default_factory=lambda: [0] * 5)
    """h."""

    def weights(self) -> list[int]:
        """W."""
        return [round(2.0 ** (8 - (log + 32 >> 6) / 16)) for log in self.logs]

    def learn(self, prior: Prior, plane: Plane) -> None:
        """The band of a component is known."""
        sums = [[0, 0] for _ in self.logs]
        for y, line in enumerate(plane):
            for x, value in enumerate(line):
                share, of = prior.shares[y][x], sums[prior.near[y][x]]
                of[0] += (prior.likely(y, x)[value] << 16) - share
                of[1] += share * ((1 << 16) - share) >> 16
        for n, (g, c) in enumerate(sums):
            self.curvatures[n] = (self.curvatures[n] >> 2) + c + (20 << 16)
            self.logs[n] = min(max(self.logs[n] + 1477 * g // self.curvatures[n], 0), 8192)


@dataclass
class Prior:
    """Of a band of a component, those before which are known."""

    likely: Callable[[int, int], bytearray]
    """Whether each value is likely at a position."""
    near: Plane
    """How many of the nearest pixels are on the lattice."""
    weights: list[int]
    """Of values that are not likely, by ``near``."""
    shares: Plane

    def weigh(self, mixture: Mixture, y: int, x: int) -> None:
        """The mixture of a position, with m = 0."""
        self.shares[y][x] = weigh(mixture, self.likely(y, x), self.weights[self.near[y][x]])


@dataclass
class Lattice:
    """Which known pixels of a tile are on the lattice of a conversion, and what is learned."""

    conversion: int
    on: set[tuple[int, int]] = field(default_factory=set)
    """By row and column in the tile."""
    differences: dict[tuple[int, int], int] = field(default_factory=dict)
    """R - G, likewise."""
    learned: list[Learned] = field(default_factory=lambda: [Learned(), Learned()])
    """Of R and B."""

    def prior(self, grid: Grid, planes: list[Plane]) -> Prior | None:
        """Of the band after ``planes``, if it has one."""
        if not planes or grid.level >= LEVELS or len(planes[0]) * len(planes[0][0]) < SMALLEST:
            return None
        rows, columns = range(len(planes[0])), range(len(planes[0][0]))
        near = [[sum(place in self.on for place in _nearest(grid, y, x)) for x in columns] for y in rows]

        def reds(y: int, x: int) -> bytearray:
            found = bytearray(256)
            for place in _nearest(grid, y, x):
                value = planes[0][y][x] + self.differences.get(place, 0)
                if 0 <= value < 256:
                    found[value] = 1
            return found

        def blues(y: int, x: int) -> bytearray:
            green = planes[0][y][x]
            return with_red(self.conversion, planes[1][y][x])[green << 8 : (green + 1) << 8]

        band = len(planes)
        weights = self.learned[band - 1].weights()
        return Prior(reds if band == 1 else blues, near, weights, [[0 for _ in columns] for _ in rows])

    def accept(self, grid: Grid, planes: list[Plane], priors: list[Prior | None]) -> None:
        """A component is known; ``priors`` are what its bands had."""
        for learned, plane, prior in zip(self.learned, planes[1:], priors[1:], strict=True):
            if prior is not None:
                learned.learn(prior, plane)
        for y, lines in enumerate(zip(*planes, strict=True)):
            for x, (green, red, blue) in enumerate(zip(*lines, strict=True)):
                if with_red(self.conversion, red)[green << 8 | blue]:
                    self.on.add(grid.place(y, x))
                self.differences[grid.place(y, x)] = red - green


def _nearest(grid: Grid, y: int, x: int) -> list[tuple[int, int]]:
    """Places of the four nearest samples in the tile, or outside of it."""
    row, column = grid.place(y, x)
    return [(row + (down << grid.level), column + (right << grid.level)) for down, right in NEAREST[grid.stage]]
