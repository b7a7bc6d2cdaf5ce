"""From pixels to the coefficients that they were decoded from.

Found is what the exact decoder turns into the same pixels, not necessarily what the file had: several coefficients can
give one block. What is not found differs in a few samples, and is left to exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from . import colour, grid, quantisation, search
from .chroma import Triangle
from .layout import Layout
from .transform import samples, to_blocks, to_plane

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_SAMPLE = 4096
_ON_LATTICE = 0.97
"""Share of colours that must come from JFIF's conversion: pasted parts may not."""
_FEWEST = 8
"""Blocks without limited samples that steps can be read from."""
_TABLE_BLOCKS = 2048
_TRIED = 96
_BETTER = 0.05
_ENOUGH = 0.5
"""Share of luma blocks that must be found, of the few that are tried first and of all."""
_ROUNDS = 3


@dataclass
class Recovered:
    """``coefficients`` quantised, int64 (8, 8, n) for each component, ``tables`` int64 (8, 8) for each; ``decoded``
    uint8 (H, W, B), the pixels that they give."""

    layout: Layout
    tables: list[Ints]
    coefficients: list[Ints]
    decoded: npt.NDArray[np.uint8]


def recover(pixels: npt.NDArray[np.uint8]) -> Recovered | None:
    """What a JPEG file had of pixels (H, W, 1 or 3); ``None`` where they do not seem to come from one."""
    height, width, bands = pixels.shape
    if bands == 3 and not _may_be_colours(pixels):
        return None
    task = _Task(pixels)
    layout = Layout(height, width, bands)
    down, right = grid.phase(task.planes[0], task.known)
    layout = replace(layout, top=-down % 8, left=-right % 8)
    steps = _luma_steps(task, layout)
    if steps is None:
        return None
    for candidate in _samplings(task, layout):
        found = _Solver(task, candidate).solve(steps)
        if found is not None:
            return found
    return None


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

    def bounds(self, layout: Layout, component: int) -> tuple[Ints, Ints, Ints]:
        """Lowest, highest and likeliest samples of a component that was not halved, as blocks (64, n)."""
        plane = self.planes[component]
        low = np.where(self.known & (plane > 0), plane, -colour.OPEN)
        high = np.where(self.known & (plane < 255), plane, 255 + colour.OPEN)
        return (
            _blocks(low, layout, component, -colour.OPEN),
            _blocks(high, layout, component, 255 + colour.OPEN),
            _blocks(plane, layout, component, None),
        )


def _blocks(plane: Ints, layout: Layout, component: int, fill: int | None) -> Ints:
    """A plane from the image's corner on as blocks (64, n); what lies outside is ``fill``, or repeats the edge."""
    v, h = layout.factors(component)
    top, left = layout.top // v, layout.left // h
    rows, columns = layout.blocks(component)
    pad = ((top, 8 * rows - top - plane.shape[0]), (left, 8 * columns - left - plane.shape[1]))
    padded = np.pad(plane, pad, mode="edge") if fill is None else np.pad(plane, pad, constant_values=fill)
    return to_blocks(padded).reshape(64, -1)


def _luma_steps(task: _Task, layout: Layout) -> Ints | None:
    """The steps of luma, int64 (64,), if they give some of its blocks; the better of two guesses."""
    low, high, start = task.bounds(layout, 0)
    whole = np.flatnonzero((low == high).all(axis=0))
    if len(whole) < _FEWEST:
        return None
    tables = quantisation.find(_some(start, whole), quantisation.NOISE, quantisation.LUMA)
    chosen = whole[:: len(whole) // _TRIED + 1]
    found = [search.search(low[:, chosen], high[:, chosen], start[:, chosen], table, stages=2) for table in tables]
    shares = [float(one.exact.mean()) for one in found]
    best = int(shares[1] > shares[0] + _BETTER)
    return tables[best] if shares[best] >= _ENOUGH else None


def _some(start: Ints, whole: Ints) -> npt.NDArray[np.float32]:
    """Real coefficients of blocks (64, n), of some that are ``whole``."""
    return search.forward(start[:, whole[:: len(whole) // _TABLE_BLOCKS + 1]])


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
            out.append(replace(layout, vertical=1 + v, horizontal=1 + h, fancy=is_fancy))
    return [*out, layout]


class _Solver:
    """Coefficients for one layout, component by component."""

    def __init__(self, task: _Task, layout: Layout) -> None:
        self._task, self._layout = task, layout
        self._found: list[Ints] = []

    def solve(self, steps: Ints) -> Recovered | None:
        """All components, and again where limited colours did not come out."""
        layout, task = self._layout, self._task
        halved = layout.vertical * layout.horizontal > 1
        bounds = [task.bounds(layout, c) for c in range(1 if halved else layout.components)]
        triangles: list[Triangle] = []
        if halved:
            layout = self._layout = self._with_phase()
            bounds = [task.bounds(layout, 0)]
            triangles = [self._triangle(c) for c in (1, 2)]
            for c, triangle in zip((1, 2), triangles, strict=True):
                near = triangle.near()
                start = _grid_blocks(near, layout, c, None)
                speaks = _grid_blocks(triangle.speaks.astype(np.int64), layout, c, 0) > 0
                bounds.append((np.where(speaks, start, -colour.OPEN), np.where(speaks, start, 255 + colour.OPEN), start))
        tables = [steps, *([self._chroma_steps(bounds[1:], halved)] * (layout.components - 1))]
        found = search.search(*bounds[0], tables[0])
        if found.exact.mean() < _ENOUGH:
            return None
        self._found = [found.coefficients]
        for c in range(1, layout.components):
            if halved:
                self._found.append(self._halved(triangles[c - 1], c, bounds[c], tables[c]))
            else:
                self._found.append(search.search(*bounds[c], tables[c]).coefficients)
        if layout.components == 3:
            for _ in range(_ROUNDS):
                if not self._again(tables):
                    break
        coefficients = [part.reshape(8, 8, -1) for part in self._found]
        shaped = [table.reshape(8, 8) for table in tables]
        return Recovered(layout, shaped, coefficients, layout.pixels(coefficients, shaped))

    def _with_phase(self) -> Layout:
        return self._layout

    def _chroma_steps(self, bounds: list[tuple[Ints, Ints, Ints]], halved: bool) -> Ints:
        """The likeliest steps of chroma; what least squares give is as good as samples rounded twice."""
        if not bounds:
            return quantisation.CHROMA
        parts = [_some(start, np.flatnonzero((low == high).all(axis=0))) for low, high, start in bounds]
        noise = quantisation.NOISE * (1.5 if halved else 1)
        return quantisation.find(np.concatenate(parts, axis=1), noise, quantisation.CHROMA)[0]

    def _triangle(self, component: int) -> Triangle:
        """The outputs of a halved component, padded to whole samples of the grid."""
        layout = self._layout
        rows, columns = layout.samples(component)
        v, h = layout.factors(component)
        pad = [
            (layout.top, v * rows - layout.top - layout.height),
            (layout.left, h * columns - layout.left - layout.width),
        ]
        return Triangle(np.pad(self._task.planes[component], pad, mode="edge"), np.pad(self._task.known, pad), v, h)

    def _halved(self, triangle: Triangle, component: int, bounds: tuple[Ints, Ints, Ints], table: Ints) -> Ints:
        """Coefficients of a halved component."""
        layout = self._layout
        low, high, start = bounds
        coefficients = search.search(low, high, start, table, stages=0).coefficients
        values = None
        for _ in range(4):
            plane = to_plane(samples((coefficients * table[:, None]).reshape(8, 8, -1)), *layout.blocks(component))
            rows, columns = layout.samples(component)
            plane = plane[:rows, :columns]
            wrong = triangle.wrong(plane)
            bad = np.flatnonzero(_grid_blocks(wrong.astype(np.int64), layout, component, 0).any(axis=0))
            if not len(bad):
                break
            free = np.zeros(coefficients.shape[1], bool)
            free[bad] = True
            mask = to_plane(np.broadcast_to(free, (8, 8, len(free))), *layout.blocks(component))[:rows, :columns]
            values = triangle.near() if values is None else values
            values = np.where(mask & triangle.speaks, values, plane)
            refined = triangle.refine(values, mask & triangle.speaks)
            values = refined.values
            fills = (-colour.OPEN, 255 + colour.OPEN, None)
            keep = triangle.speaks
            parts = [
                _grid_blocks(np.where(keep, part, fill) if fill is not None else part, layout, component, fill)[:, bad]
                for part, fill in zip((refined.low, refined.high, refined.values), fills, strict=True)
            ]
            low_, high_ = parts[0], parts[1]
            low_[low_ <= 0] = -colour.OPEN
            high_[high_ >= 255] = 255 + colour.OPEN
            coefficients[:, bad] = search.search(low_, high_, parts[2], table, stages=3).coefficients
        return coefficients

    def _again(self, tables: list[Ints]) -> bool:
        """Blocks whose limited colours came out wrong, with bounds by the other components; whether there were any."""
        layout, task = self._layout, self._task
        any_ = False
        for c in range(1 if layout.vertical * layout.horizontal > 1 else 3):
            coefficients = [part.reshape(8, 8, -1) for part in self._found]
            steps = [table.reshape(8, 8) for table in tables]
            planes = [layout.enlarge(k, plane) for k, plane in enumerate(layout.planes(coefficients, steps))]
            from .transform import to_rgb

            wrong = (to_rgb(*planes) != task.pixels).any(axis=2) & ~task.known
            bad = np.flatnonzero(_blocks(wrong.astype(np.int64), layout, c, 0).any(axis=0))
            if not len(bad):
                return any_
            any_ = True
            low, high, start = task.bounds(layout, c)
            mask = np.zeros(low.shape[1], bool)
            mask[bad] = True
            rows, columns = layout.blocks(c)
            inside = to_plane(np.broadcast_to(mask, (8, 8, len(mask))), rows, columns)
            inside = inside[layout.top : layout.top + layout.height, layout.left : layout.left + layout.width]
            open_ = inside & ~task.known
            guess = np.stack(planes)[:, open_]
            lows, highs = colour.bounds(task.pixels[open_], guess, c)
            low_plane = np.where(task.known & (task.planes[c] > 0), task.planes[c], -colour.OPEN)
            high_plane = np.where(task.known & (task.planes[c] < 255), task.planes[c], 255 + colour.OPEN)
            low_plane[open_], high_plane[open_] = lows, highs
            start_plane = np.where(task.known, task.planes[c], planes[c])
            parts = [
                _blocks(low_plane, layout, c, -colour.OPEN)[:, bad],
                _blocks(high_plane, layout, c, 255 + colour.OPEN)[:, bad],
                _blocks(start_plane, layout, c, None)[:, bad],
            ]
            found = search.search(parts[0], parts[1], parts[2], tables[c])
            self._found[c][:, bad] = np.where(found.exact, found.coefficients, self._found[c][:, bad])
        return any_


def _grid_blocks(plane: Ints, layout: Layout, component: int, fill: int | None) -> Ints:
    """A plane from the grid's corner on as blocks (64, n); what lies outside is ``fill``, or repeats the edge."""
    rows, columns = layout.blocks(component)
    pad = ((0, 8 * rows - plane.shape[0]), (0, 8 * columns - plane.shape[1]))
    padded = np.pad(plane, pad, mode="edge") if fill is None else np.pad(plane, pad, constant_values=fill)
    return to_blocks(padded).reshape(64, -1)
