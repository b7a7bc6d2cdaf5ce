"""From pixels to the coefficients that they were decoded from.

Found is what the exact decoder turns into the same pixels, not necessarily what the file had: several coefficients can
give one block. What is not found differs in a few samples, and is left to exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import colour, grid, quantisation, search
from .chroma import Triangle
from .layout import Layout
from .polish import polish
from .search import Bounds
from .transform import samples, to_blocks, to_plane, to_rgb

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_SMALLEST = 64 * 64
_SAMPLE = 4096
_ON_LATTICE = 0.97
"""Share of colours that must come from JFIF's conversion: pasted parts may not."""
_FEWEST = 8
"""Blocks without limited samples that steps can be read from."""
_TABLE_BLOCKS = 2048
_TRIED = 48
_FLAT = 6
"""Grey levels that samples of a block at least span, if steps are read from it."""
_BETTER = 0.05
_SURE = 0.93
_ENOUGH = 0.5
"""Share of luma blocks that must be found, of the few that are tried first and of all."""
_EXCERPT = 256
_STRIP = 48
"""Rows and columns of an image that say where chroma's blocks lie, and those that say what lies beyond an edge."""
_ROUNDS = 1
_TURNS = 4
_FINE = 10
"""A layout is right where less than a tenth of the pixels differ."""
_LOWEST, _HIGHEST = -colour.OPEN, 255 + colour.OPEN


@dataclass
class Recovered:
    """``coefficients`` quantised, int64 (8, 8, n) for each component, ``tables`` int64 (8, 8) for each; ``decoded``
    uint8 (H, W, B), the pixels that they give."""

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


def recover(pixels: npt.NDArray[np.uint8]) -> Recovered | None:
    """What a JPEG file had of pixels (H, W, 1 or 3); ``None`` where they do not seem to come from one."""
    height, width, bands = pixels.shape
    if height * width < _SMALLEST or (bands == 3 and not _may_be_colours(pixels)):
        return None
    task = _Task(pixels)
    layout = Layout(height, width, bands)
    down, right, is_clear = grid.phase(task.planes[0], task.known)
    if not is_clear and (task.planes[1:] == 128).all():
        return None  # gray: nothing else speaks for a JPEG file
    layout = replace(layout, top=-down % 8, left=-right % 8)
    steps = _luma_steps(task, layout)
    if steps is None:
        return None
    best: Recovered | None = None
    for candidate in _samplings(task, layout):
        if best is not None and (best.is_near(pixels) or candidate.fancy < best.layout.fancy):
            break
        found = _Solver(task, candidate, steps).solve()
        if found is not None and (best is None or found.wrong(pixels) < best.wrong(pixels)):
            best = found
    if best is not None and best.is_near(pixels):
        best.polish(pixels)
    return best


def _may_be_colours(pixels: npt.NDArray[np.uint8]) -> bool:
    flat = pixels.reshape(-1, 3)
    return colour.share(flat[:: len(flat) // _SAMPLE + 1]) > _ON_LATTICE


class _Task:
    """Pixels, the samples that they came from, int64 (B, H, W), and which of these are ``known``."""

    def __init__(self, pixels: npt.NDArray[np.uint8]) -> None:
        self.pixels = pixels
        if pixels.shape[2] == 3:
            self.planes, self.known, _ = colour.origin(pixels)
        else:
            self.planes = np.moveaxis(pixels, 2, 0).astype(np.int64)
            self.known = np.ones(pixels.shape[:2], bool)

    def bounds(self, component: int, guess: Ints | None) -> Bounds:
        """What each sample of a component can be before chroma is taken together; ``guess`` int64 (B, H, W) of all
        components says more where colours were limited."""
        plane, low, high = (
            self.planes[component],
            np.empty(self.known.shape, np.int64),
            np.empty(self.known.shape, np.int64),
        )
        low[...] = np.where(self.known & (plane > 0), plane, _LOWEST)
        high[...] = np.where(self.known & (plane < 255), plane, _HIGHEST)
        likely = plane
        if guess is not None:
            limited = ~self.known
            low[limited], high[limited] = colour.bounds(self.pixels[limited], guess[:, limited], component)
            likely = np.where(self.known, plane, np.clip(guess[component], low, high))
        return Bounds(low, high, likely)


def _pad(bounds: Bounds, layout: Layout, component: int) -> Bounds:
    """Planes over the image as planes over all samples that it has on the grid; nothing is known outside."""
    v, h = layout.factors(component)
    rows, columns = layout.samples(component)
    pad = (
        (layout.top, rows * v - layout.top - layout.height),
        (layout.left, columns * h - layout.left - layout.width),
    )
    return _filled(bounds, pad)


def _blocks(bounds: Bounds, layout: Layout, component: int) -> Bounds:
    """Planes of samples as blocks (64, n)."""
    rows, columns = layout.blocks(component)
    pad = ((0, 8 * rows - bounds.low.shape[0]), (0, 8 * columns - bounds.low.shape[1]))
    return Bounds(*(to_blocks(part).reshape(64, -1) for part in _filled(bounds, pad)))


def _filled(bounds: Bounds, pad: tuple[tuple[int, int], tuple[int, int]]) -> Bounds:
    low = np.pad(bounds.low, pad, constant_values=_LOWEST)
    high = np.pad(bounds.high, pad, constant_values=_HIGHEST)
    return Bounds(low, high, np.pad(bounds.likely, pad, mode="edge"))


def _pool(bounds: Bounds, vertical: int, horizontal: int) -> Bounds:
    """Samples that are repeated to give these."""
    rows, columns = (n // f for n, f in zip(bounds.low.shape, (vertical, horizontal), strict=True))
    low, high, likely = (part.reshape(rows, vertical, columns, horizontal) for part in bounds)
    lowest, highest = low.max(axis=(1, 3)), high.min(axis=(1, 3))
    return Bounds(np.minimum(lowest, highest), np.maximum(lowest, highest), likely[:, 0, :, 0])


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


def _luma_steps(task: _Task, layout: Layout) -> Ints | None:
    """The steps of luma, int64 (64,), if they give some of its blocks."""
    bounds = _blocks(_pad(task.bounds(0, None), layout, 0), layout, 0)
    whole = bounds.whole()
    if len(whole) < _FEWEST:
        return None
    real = _some(bounds, whole)
    tables = quantisation.find(real, quantisation.NOISE, quantisation.LUMA)
    shares = [_share(bounds, whole, table) for table in tables]
    best = int(shares[1] > shares[0] + _BETTER)
    table, most = tables[best], shares[best]
    is_scaled = quantisation.is_scaled(table, quantisation.LUMA)
    if most < _SURE or not is_scaled:
        # A file that was made from another one has the combs of both: steps of 1 do not show where those of 4 do.
        for other in quantisation.possible(real, quantisation.NOISE, quantisation.LUMA):
            share = _share(bounds, whole, other)
            if share > most + (_BETTER if is_scaled else -_BETTER):
                table, most, is_scaled = other, share, True
            if is_scaled and most >= _SURE:
                break
    return table if most >= _ENOUGH else None


def _share(bounds: Bounds, whole: Ints, table: Ints) -> float:
    """The share of some of the ``whole`` blocks that steps can give."""
    chosen = whole[:: len(whole) // _TRIED + 1]
    found = search.search(bounds.some(chosen), table, stages=2)
    return float(found.exact.mean())


def _some(bounds: Bounds, whole: Ints) -> npt.NDArray[Any]:
    """Real coefficients (64, n) of some ``whole`` blocks; in flat ones the samples' roundings add up."""
    blocks = bounds.likely[:, whole]
    rough = whole[np.ptp(blocks, axis=0) > _FLAT]
    return search.forward(bounds.likely[:, rough[:: len(rough) // _TABLE_BLOCKS + 1]])


def _samplings(task: _Task, layout: Layout) -> list[Layout]:
    """Layouts that chroma may have had, the likeliest first."""
    if layout.components == 1:
        return [layout]
    planes = list(task.planes[1:])
    (rows, rows_plain), (columns, columns_plain) = (
        grid.halved(planes, task.known, offset % 2, axis) for axis, offset in ((0, layout.top), (1, layout.left))
    )
    out = []
    for is_fancy, v, h in ((False, rows_plain, columns_plain), (True, rows, columns)):
        if v or h:
            halved = replace(layout, vertical=1 + v, horizontal=1 + h, fancy=is_fancy)
            out.append(_with_chroma_grid(task, halved))
    return [*out, layout]


def _with_chroma_grid(task: _Task, layout: Layout) -> Layout:
    """A layout with its blocks of chroma in place: on each halved axis, luma's grid leaves two."""
    places = [
        replace(layout, top=layout.top + down, left=layout.left + right)
        for down in range(0, 8 * layout.vertical, 8)
        for right in range(0, 8 * layout.horizontal, 8)
    ]
    chroma = [task.bounds(c, None) for c in (1, 2)]
    (rows, columns), (height, width) = (range(layout.height), range(layout.width)), (layout.height, layout.width)
    middle = tuple(
        range(max(0, n - _EXCERPT) // 2, min(n, max(0, n - _EXCERPT) // 2 + _EXCERPT)) for n in (height, width)
    )
    scores = []
    for place in places:
        score = 0
        for bounds in chroma:
            some, full = _excerpt(bounds, place, *middle)
            factors = place.factors(1)
            plane = Triangle(full, *factors).near() if place.fancy else _pool(full, *factors).likely
            blocks = _blocks(Bounds(plane, plane, plane), some, 1).likely
            score += int(search.spread(blocks).sum()) // blocks.shape[1]
        scores.append(score)
    best = places[int(np.argmin(scores))]
    if not best.fancy:
        return best
    # Where chroma went on beyond the image, the filter has seen other samples at the edge than those repeated there.
    return replace(
        best,
        below=_goes_on(chroma, best, rows[-_STRIP:], columns, 0),
        right=_goes_on(chroma, best, rows, columns[-_STRIP:], 1),
    )


def _goes_on(chroma: list[Bounds], layout: Layout, rows: range, columns: range, axis: int) -> bool:
    if layout.factors(1)[axis] == 1:
        return False
    full = (_excerpt(bounds, layout, rows, columns)[1] for bounds in chroma)
    return any(Triangle(one, *layout.factors(1)).misses_edge(axis) for one in full)


def _excerpt(bounds: Bounds, layout: Layout, rows: range, columns: range) -> tuple[Layout, Bounds]:
    """A part of an image, with about these rows and columns, on its grid."""
    top, left = rows.start // 16 * 16, columns.start // 16 * 16
    part = replace(layout, height=rows.stop - top, width=columns.stop - left)
    return part, _pad(Bounds(*(one[top : rows.stop, left : columns.stop] for one in bounds)), part, 1)


class _Solver:
    """Coefficients for one layout, component by component."""

    def __init__(self, task: _Task, layout: Layout, steps: Ints) -> None:
        self._task, self._layout = task, layout
        self._tables, self._found = [steps], list[Ints]()

    def solve(self) -> Recovered | None:
        """All components, and again where limited colours did not come out."""
        layout = self._layout
        luma = search.search(self._bounds(0), self._tables[0])
        if luma.exact.mean() < _ENOUGH:
            return None
        self._found.append(luma.coefficients)
        for c in range(1, layout.components):
            self._chroma(c)
        best = self._result()
        if layout.components == 3 and best.is_near(self._task.pixels):
            for _ in range(_ROUNDS):
                if not self._again():
                    break
                again = self._result()
                if again.wrong(self._task.pixels) < best.wrong(self._task.pixels):
                    best = again
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
        """All components at the image's size: decoded ones as far as they are found."""
        decoded = [self._layout.enlarge(c, self._plane(c)) for c in range(len(self._found))]
        return np.stack([*decoded, *self._task.planes[len(decoded) :]])

    def _full(self, component: int) -> Bounds:
        """Bounds at the image's size, on the grid; once all is found, limited colours are told more of."""
        is_complete = len(self._found) == self._layout.components == 3
        guess = self._guess() if is_complete else None
        return _pad(self._task.bounds(component, guess), self._layout, component)

    def _bounds(self, component: int) -> Bounds:
        """Bounds of a component that libjpeg does not filter, as blocks."""
        layout = self._layout
        full, factors = self._full(component), layout.factors(component)
        return _blocks(full if factors == (1, 1) else _pool(full, *factors), layout, component)

    def _is_filtered(self, component: int) -> bool:
        return self._layout.fancy and self._layout.factors(component) != (1, 1)

    def _chroma(self, component: int) -> None:
        layout = self._layout
        if self._is_filtered(component):
            triangle = self._triangle(component)
            near = triangle.near()
            open_ = [np.where(triangle.speaks, near, limit) for limit in (_LOWEST, _HIGHEST)]
            bounds = _blocks(Bounds(open_[0], open_[1], near), layout, component)
            self._add_chroma_steps(bounds, 1.5)
            self._found.append(search.search(bounds, self._tables[component], stages=0).coefficients)
            self._refine(component, triangle, near)
        else:
            bounds = self._bounds(component)
            self._add_chroma_steps(bounds, 1)
            self._found.append(search.search(bounds, self._tables[component]).coefficients)

    def _add_chroma_steps(self, bounds: Bounds, noise: float) -> None:
        """The likeliest steps; what least squares give is as good as samples rounded twice."""
        if len(self._tables) == 1:
            found = _some(bounds, bounds.whole())
            self._tables += [quantisation.chroma(found, quantisation.NOISE * noise, self._tables[0])] * 2

    def _triangle(self, component: int) -> Triangle:
        full = self._full(component)
        return Triangle(full, *self._layout.factors(component))

    def _refine(self, component: int, triangle: Triangle, values: Ints) -> None:
        """Samples and coefficients of filtered chroma in turn, in blocks that do not give their outputs."""
        layout = self._layout
        for turn in range(_TURNS):
            plane = self._plane(component)
            bad = _marked(triangle.wrong(plane), layout, component, by_sample=True)
            if not len(bad) or (turn > 1 and len(bad) > _ENOUGH * self._found[component].shape[1]):
                break
            is_bad = np.zeros(self._found[component].shape[1], bool)
            is_bad[bad] = True
            mask = to_plane(np.broadcast_to(is_bad, (8, 8, len(is_bad))), *layout.blocks(component))
            mask = mask[: plane.shape[0], : plane.shape[1]] & triangle.speaks
            refined = triangle.refine(np.where(mask, values, plane), mask)
            values = refined.values
            low = np.where(triangle.speaks & (refined.low > 0), refined.low, _LOWEST)
            high = np.where(triangle.speaks & (refined.high < 255), refined.high, _HIGHEST)
            parts = _blocks(Bounds(low, high, values), layout, component).some(bad)
            self._found[component][:, bad] = search.search(parts, self._tables[component], stages=3).coefficients

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
                triangle = self._triangle(c)
                self._refine(c, triangle, triangle.near())
                continue
            bad = _marked(wrong, layout, c, by_sample=False)
            parts = self._bounds(c).some(bad)
            found = search.search(parts, self._tables[c])
            self._found[c][:, bad] = np.where(found.exact, found.coefficients, self._found[c][:, bad])
        return some
