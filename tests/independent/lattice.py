"""A lattice as a prior of the last band. Page: Colours."""

from __future__ import annotations

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
WINDOW = 15


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


def weigh(mixture: Mixture, on: bytearray, weight: int) -> int:
    """Move the intervals of a mixture with m = 0. ``on``: whether each value is on the lattice; ``weight``: of those
    that are not. Returns P, what share of 2**16 the lattice has."""
    near = [min(max(centre, -(1 << 30)), 1 << 30) + 32 for centre in mixture.centres]
    low = min(max((dot(mixture.weights, near) >> 22) - WINDOW // 2, 0), 256 - WINDOW)
    starts = [mixture.lower(value) for value in range(low, low + WINDOW + 1)]
    sums, inside = [0], 0
    for k in range(WINDOW):
        frequency = starts[k + 1] - starts[k]
        sums.append(sums[-1] + frequency * (256 if on[low + k] else weight))
        inside += frequency if on[low + k] else 0
    share = (starts[-1] - starts[0] - WINDOW) / sums[-1]
    mixture.moved = {low + k: starts[0] + k + int(sums[k] * share) for k in range(1, WINDOW)}
    return (256 * inside << 16) // sums[-1]


@dataclass
class Prior:
    """Of the last band of a component, whose R and G are known."""

    conversion: int
    red: Plane
    green: Plane
    near: Plane
    """How many of the nearest samples' pixels are on the lattice."""
    weights: list[int]
    """Of values off the lattice, by ``near``."""
    shares: Plane

    def weigh(self, mixture: Mixture, y: int, x: int) -> None:
        """The mixture of a position, with m = 0."""
        green = self.green[y][x]
        on = with_red(self.conversion, self.red[y][x])[green << 8 : (green + 1) << 8]
        self.shares[y][x] = weigh(mixture, on, self.weights[self.near[y][x]])


@dataclass
class Lattice:
    """Which known pixels of a tile are on the lattice of a conversion, and what is learned."""

    conversion: int
    on: set[tuple[int, int]] = field(default_factory=set)
    """By row and column in the tile."""
    logs: list[int] = field(default_factory=lambda: [148, 591, 1182, 1773, 2659])
    """l, by how many of the nearest samples' pixels are on the lattice."""
    curvatures: list[int] = field(default_factory=lambda: [0] * 5)
    """h, likewise."""

    def prior(self, grid: Grid, green: Plane, red: Plane) -> Prior | None:
        """Of the last band, if it has one."""
        height, width = len(green), len(green[0])
        if grid.level >= LEVELS or height * width < SMALLEST:
            return None
        near = [[self._near(grid, y, x) for x in range(width)] for y in range(height)]
        weights = [round(2.0 ** (8 - (log + 32 >> 6) / 16)) for log in self.logs]
        return Prior(self.conversion, red, green, near, weights, [[0] * width for _ in range(height)])

    def _near(self, grid: Grid, y: int, x: int) -> int:
        row, column = grid.place(y, x)
        return sum(
            (row + (down << grid.level), column + (right << grid.level)) in self.on
            for down, right in NEAREST[grid.stage]
        )

    def accept(self, grid: Grid, planes: list[Plane], prior: Prior | None) -> None:
        """A component is known; ``prior`` is what its last band had."""
        sums = [[0, 0] for _ in range(5)]
        for y, lines in enumerate(zip(*planes, strict=True)):
            for x, (green, red, blue) in enumerate(zip(*lines, strict=True)):
                on = with_red(self.conversion, red)[green << 8 | blue]
                if on:
                    self.on.add(grid.place(y, x))
                if prior is not None:
                    share, of = prior.shares[y][x], sums[prior.near[y][x]]
                    of[0] += (on << 16) - share
                    of[1] += share * ((1 << 16) - share) >> 16
        if prior is not None:
            for n, (g, c) in enumerate(sums):
                self.curvatures[n] = (self.curvatures[n] >> 2) + c + (20 << 16)
                self.logs[n] = min(max(self.logs[n] + 1477 * g // self.curvatures[n], 0), 8192)
