"""The coefficients of an image whose layout and steps of luma are known, component by component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import quantisation, search, steps
from .bounds import HIGHEST, LOWEST, Bounds, Mask, Task, pad, pool, split
from .chroma import Triangle
from .layout import Layout
from .polish import polish
from .transform import samples, to_blocks, to_plane, to_rgb

Ints = npt.NDArray[np.signedinteger[Any]]

ENOUGH = 0.5
"""Share of luma blocks that must be found, of the few that are tried first and of all."""
_TURNS = 4
_FINE = 3
"""A layout is right where less than a third of the pixels differ."""


@dataclass
class Recovered:
    """``coefficients`` quantised, int64 (or int16, of large images) (8, 8, n) for each component, ``tables`` int64
    (8, 8) for each; ``decoded`` uint8 (H, W, B), the pixels that they give."""

    layout: Layout
    tables: list[Ints]
    coefficients: list[Ints]
    decoded: npt.NDArray[np.uint8]

    def wrong(self, pixels: npt.NDArray[np.uint8]) -> int:
        """How many pixels differ."""
        return int(np.count_nonzero((self.decoded != pixels).any(axis=2)))

    def is_near(self, pixels: npt.NDArray[np.uint8]) -> bool:
        """Whether so few differ that the layout is right, and more work may be worth it."""
        return bool(self.wrong(pixels) * _FINE < pixels.shape[0] * pixels.shape[1])

    def polish(self, pixels: npt.NDArray[np.uint8]) -> None:
        """Mend what is left."""
        parts = [part.reshape(64, -1) for part in self.coefficients]
        polish(pixels, self.layout, [table.reshape(64) for table in self.tables], parts)
        self.coefficients = [part.reshape(8, 8, -1) for part in parts]
        self.decoded = self.layout.pixels(self.coefficients, self.tables)


class Solver:
    """Coefficients for one layout, component by component: first those of `luma`, then `complete`. The steps of
    ``chroma`` are found where they are not given."""

    def __init__(self, task: Task, layout: Layout, luma: Ints, chroma: Ints | None = None) -> None:
        self._task, self._layout = task, layout
        self._tables, self._found = [luma, *([] if chroma is None else [chroma] * 2)], list[Ints]()

    def luma(self) -> float:
        """Luma, of which the share of blocks that were found is returned."""
        luma = search.search(self._bounds(0), self._tables[0])
        self._found.append(luma.coefficients)
        return float(luma.exact.mean())

    def complete(self) -> Recovered:
        """All components, and again where limited colours did not come out."""
        layout = self._layout
        for c in range(1, layout.components):
            self._chroma(c)
        best = self._result()
        if layout.components == 3 and best.is_near(self._task.pixels) and self._again():
            again = self._result()
            if again.wrong(self._task.pixels) < best.wrong(self._task.pixels):
                return again
        return best

    def _result(self) -> Recovered:
        coefficients = [part.reshape(8, 8, -1).copy() for part in self._found]
        tables = [table.reshape(8, 8) for table in self._tables]
        return Recovered(self._layout, tables, coefficients, self._layout.pixels(coefficients, tables))

    def _plane(self, component: int) -> Ints:
        """Samples of a component as decoded."""
        rows, columns = self._layout.samples(component)
        values = self._found[component] * self._tables[component][:, None]
        plane = to_plane(samples(values.reshape(8, 8, -1)), *self._layout.blocks(component))
        return plane[:rows, :columns]

    def _guess(self) -> Ints:
        """All components at the image's size, decoded."""
        return np.stack([self._layout.enlarge(c, self._plane(c)) for c in range(3)])

    def _full(self, component: int, guess: Ints | None) -> Bounds:
        """Bounds at the image's size, on the grid; a ``guess`` at all components says more of limited colours."""
        return pad(self._task.bounds(component, guess), self._layout, component)

    def _bounds(self, component: int, guess: Ints | None = None) -> Bounds:
        """Bounds of a component that libjpeg does not filter, as blocks."""
        layout = self._layout
        full, factors = self._full(component, guess), layout.factors(component)
        return split(full if factors == (1, 1) else pool(full, *factors), layout, component)

    def _is_filtered(self, component: int) -> bool:
        return self._layout.fancy and self._layout.factors(component) != (1, 1)

    def _chroma(self, component: int) -> None:
        layout = self._layout
        if self._is_filtered(component):
            triangle = self._triangle(component)
            near = triangle.near()
            open_ = [np.where(triangle.speaks, near, limit) for limit in (LOWEST, HIGHEST)]
            bounds = split(Bounds(open_[0], open_[1], near), layout, component)
            if len(self._tables) == 1:  # what least squares give is as good as samples rounded twice
                found = steps.rough(bounds, bounds.whole())
                self._tables += [quantisation.chroma(found, 1.5 * quantisation.NOISE, self._tables[0])] * 2
            self._found.append(search.search(bounds, self._tables[component], stages=0).coefficients)
            self._refine(component, triangle, near)
        else:
            bounds = self._bounds(component)
            if len(self._tables) == 1:
                first = quantisation.of_quality(self._tables[0])
                self._tables += [steps.find(bounds, quantisation.CHROMA, first)[0]] * 2
            self._found.append(search.search(bounds, self._tables[component]).coefficients)

    def _triangle(self, component: int, guess: Ints | None = None) -> Triangle:
        full = self._full(component, guess)
        return Triangle(full, *self._layout.factors(component))

    def _refine(self, component: int, triangle: Triangle, values: Ints) -> None:
        """Samples and coefficients of filtered chroma in turn, in blocks that do not give their outputs."""
        layout = self._layout
        for turn in range(_TURNS):
            plane = self._plane(component)
            bad = _marked(triangle.wrong(plane), layout, component, by_sample=True)
            if not len(bad) or (turn > 1 and len(bad) > ENOUGH * self._found[component].shape[1]):
                break
            is_bad = np.zeros(self._found[component].shape[1], bool)
            is_bad[bad] = True
            mask = to_plane(np.broadcast_to(is_bad, (8, 8, len(is_bad))), *layout.blocks(component))
            mask = mask[: plane.shape[0], : plane.shape[1]] & triangle.speaks
            refined = triangle.refine(np.where(mask, values, plane), mask)
            values = refined.values
            low = np.where(triangle.speaks & (refined.low > 0), refined.low, LOWEST)
            high = np.where(triangle.speaks & (refined.high < 255), refined.high, HIGHEST)
            parts = split(Bounds(low, high, values), layout, component).some(bad)
            known = search.variances(self._found[component])
            found = search.search(parts, self._tables[component], stages=3, sizes=known)
            self._found[component][:, bad] = found.coefficients

    def _again(self) -> bool:
        """Blocks in which limited colours came out wrong, by what the other components are; whether there were any."""
        layout, task = self._layout, self._task
        some = False
        for c in range(3):
            guess = self._guess()
            wrong = (to_rgb(*guess) != task.pixels).any(axis=2) & ~task.known
            if not wrong.any():
                break
            some = True
            if self._is_filtered(c):
                triangle = self._triangle(c, guess)
                self._refine(c, triangle, triangle.near())
                continue
            bad = _marked(wrong, layout, c, by_sample=False)
            parts = self._bounds(c, guess).some(bad)
            found = search.search(parts, self._tables[c])
            self._found[c][:, bad] = np.where(found.exact, found.coefficients, self._found[c][:, bad])
        return some


def _marked(marks: Mask, layout: Layout, component: int, *, by_sample: bool) -> Ints:
    """Blocks of a component with a marked pixel, or a marked sample of its own: int (n,)."""
    v, h = layout.factors(component)
    plane = marks.astype(np.int64)
    if not by_sample:
        rows, columns = layout.samples(component)
        down, right = v * rows - layout.top - layout.height, h * columns - layout.left - layout.width
        plane = np.pad(plane, ((layout.top, down), (layout.left, right)))
        plane = plane.reshape(rows, v, columns, h).max(axis=(1, 3))
    full = tuple(8 * n for n in layout.blocks(component))
    plane = np.pad(plane, [(0, whole - n) for whole, n in zip(full, plane.shape, strict=True)])
    found: Ints = np.flatnonzero(to_blocks(plane).reshape(64, -1).any(axis=0))
    return found
