"""Coefficients moved by one where the decoded pixels are wrong, as long as that brings them nearer.

What the search leaves are mostly blocks with limited colours, whose components were looked for one by one: a few
coefficients of them are off by one. Here all components are judged together, by the pixels that they give.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .layout import Layout
from .search import GRAIN, forward
from .transform import LEVEL, samples, to_plane, to_rgb, upsample

Ints = npt.NDArray[np.signedinteger[Any]]

_ROUNDS = 8
_ALWAYS = (0, 1, 8)
"""Frequencies that are always tried, up and down."""
_TRIED = 6
"""Frequencies that are tried besides: those that what is wrong points to."""
_FAR = 16
"""A band of a pixel that is off by more is as bad as one that is off by so much."""
_BATCH = 32


def polish(pixels: npt.NDArray[np.uint8], layout: Layout, tables: list[Ints], coefficients: list[Ints]) -> None:
    """Change ``coefficients``, quantised, int64 (64, n) for each component, for the better.

    ``pixels`` (H, W, B) are those that they should give with the steps of ``tables``, (64,) for each.
    """
    parts = [_Part(layout, c, *pair) for c, pair in enumerate(zip(tables, coefficients, strict=True))]
    target = _Target(pixels, layout)
    for part in parts:
        part.enlarge(target.size)
    for _ in range(_ROUNDS):
        if not sum(_improve(target, parts, c) for c in range(len(parts))):
            break


class _Target:
    """The wanted pixels on the grid, with a border of one: the triangle filter reaches so far beyond a block."""

    def __init__(self, pixels: npt.NDArray[np.uint8], layout: Layout) -> None:
        components = range(layout.components)
        sides = [[8 * f * n for f, n in zip(layout.factors(c), layout.blocks(c), strict=True)] for c in components]
        self.size = tuple(max(lengths) for lengths in zip(*sides, strict=True))
        place = (
            slice(1 + layout.top, 1 + layout.top + layout.height),
            slice(1 + layout.left, 1 + layout.left + layout.width),
        )
        self.pixels = np.zeros((self.size[0] + 2, self.size[1] + 2, layout.components), np.int16)
        self.pixels[place] = pixels
        self.inside = np.zeros((*self.pixels.shape[:2], 1), bool)
        self.inside[place] = True
        self._whole: tuple[int, npt.NDArray[np.int16]] | None = None

    def whole(self, parts: list[_Part]) -> npt.NDArray[np.int16]:
        """`rest` of all pixels but the border."""
        changes = sum(part.changes for part in parts)
        if self._whole is None or self._whole[0] != changes:
            where = slice(1, -1), slice(1, -1)
            self._whole = changes, self.rest([part.full[where] for part in parts], where)
        return self._whole[1]

    def rest(self, planes: list[Ints], where: tuple[Any, ...]) -> npt.NDArray[np.int16]:
        """What pixels at ``where`` are above those that samples there, int (...) of each component, give: (..., B)."""
        decoded = to_rgb(*planes) if len(planes) == 3 else planes[0][..., None]
        rest: npt.NDArray[np.int16] = (self.pixels[where] - decoded) * self.inside[where]
        return rest


class _Part:
    """A component: its samples on its own grid, and ``full``, at the image's size with a border."""

    def __init__(self, layout: Layout, component: int, table: Ints, coefficients: Ints) -> None:
        self.layout, self.component, self.table, self.coefficients = layout, component, table[:, None], coefficients
        self.factors, self.blocks = layout.factors(component), layout.blocks(component)
        self.samples = layout.samples(component)
        self.reach = [int(layout.fancy and f == 2) for f in self.factors]
        """Pixels beyond a block that its samples change."""
        self.full = np.zeros((0, 0), np.int64)
        self.changes = 0
        """How often ``full`` was made."""
        self.open = np.ones(coefficients.shape[1], bool)
        """Blocks that were not tried since a pixel changed that they change: the others would stay as they are."""

    def enlarge(self, size: tuple[int, ...]) -> None:
        """Make ``full`` of the coefficients."""
        self.changes += 1
        self.plane = to_plane(samples((self.coefficients * self.table).reshape(8, 8, -1)), *self.blocks)
        rows, columns = self.samples
        full = upsample(self.plane[:rows, :columns], *self.factors, fancy=self.layout.fancy)[: size[0], : size[1]]
        pad = [(1, 1 + whole - n) for whole, n in zip(size, full.shape, strict=True)]
        self.full = np.pad(full, pad, mode="edge")

    def places(self, blocks: Ints) -> tuple[Ints, Ints]:
        """Rows (n, h, 1) and columns (n, 1, w) of the pixels that blocks (n,) change, in ``full``."""
        rows, columns = (
            1 + 8 * f * index[:, None] + np.arange(-reach, 8 * f + reach)
            for f, index, reach in zip(self.factors, np.divmod(blocks, self.blocks[1]), self.reach, strict=True)
        )
        return rows[:, :, None], columns[:, None, :]

    def reopen(self, changed: npt.NDArray[np.bool_]) -> None:
        """Have blocks tried that change a pixel which is ``changed``, bool of the size of ``full``."""
        near = changed[1:-1, 1:-1].copy()
        for axis, reach in enumerate(self.reach):
            if reach:
                wide, near = np.moveaxis(near, axis, 0), np.moveaxis(near.copy(), axis, 0)
                near[1:] |= wide[:-1]
                near[:-1] |= wide[1:]
                near = np.moveaxis(near, 0, axis)
        (v, h), (rows, columns) = self.factors, self.blocks
        cells = near[: 8 * rows * v, : 8 * columns * h].reshape(rows, 8 * v, columns, 8 * h)
        self.open |= cells.any(axis=(1, 3)).reshape(-1)

    def trial(self, blocks: Ints, tried: Ints) -> Ints:
        """What ``full`` would be at `places` of blocks (n,), int (n, k, h, w), by coefficients ``tried`` (64, n, k)."""
        count, each = tried.shape[1:]
        own = samples((tried.reshape(64, -1) * self.table).reshape(8, 8, -1)).reshape(8, 8, count, each)
        patch = np.empty((10, 10, count, each), np.int64)
        begin = [8 * at for at in np.divmod(blocks, self.blocks[1])]
        index = [
            np.clip(at + np.arange(-1, 9)[:, None], 0, limit - 1)  # (10, n)
            for at, limit in zip(begin, self.samples, strict=True)
        ]
        patch[...] = self.plane[index[0][:, None], index[1][None]][..., None]
        patch[1:9, 1:9] = own
        for axis, at in enumerate(index):  # edges are repeated
            within = at - begin[axis] + 1
            moved = np.flatnonzero((within != np.arange(10)[:, None]).any(axis=0))
            if len(moved):
                part = patch[:, :, moved]
                shape = [1, 1, len(moved), 1]
                shape[axis] = 10
                take = np.broadcast_to(within[:, moved].reshape(shape), part.shape)
                patch[:, :, moved] = np.take_along_axis(part, take, axis=axis)
        stacked = patch.transpose(2, 3, 0, 1).reshape(-1, 10)
        v, h = self.factors
        enlarged = upsample(stacked, v, h, fancy=self.layout.fancy).reshape(count, each, 10 * v, 10 * h)
        (down, right) = self.reach
        return enlarged[:, :, v - down : 9 * v + down, h - right : 9 * h + right]


def _improve(target: _Target, parts: list[_Part], c: int) -> int:
    """Move coefficients of a component where that helps; how many blocks were changed."""
    part = parts[c]
    bad, own = _wrong(target, parts, c)
    part.open[bad] = False
    total, changed = 0, np.zeros(target.inside.shape[:2], bool)
    rows, columns = np.divmod(bad, part.blocks[1])
    kind = (rows % 2 * 2 + columns % 2) * any(part.reach)  # blocks that share no pixel
    for k in range(4 if any(part.reach) else 1):
        chosen, moved = np.flatnonzero(kind == k), 0
        for at in range(0, len(chosen), _BATCH):
            some = chosen[at : at + _BATCH]
            blocks = bad[some]
            tried = part.coefficients[:, blocks][:, :, None] + _changes(own[:, some], part.table)
            where = part.places(blocks)
            planes = [one.full[where][:, None] for one in parts]
            planes[c] = part.trial(blocks, tried)
            planes = list(np.broadcast_arrays(*planes))
            rest = np.abs(target.rest(planes, tuple(index[:, None] for index in where)))
            cost = np.minimum(rest, _FAR).sum(axis=(2, 3, 4), dtype=np.int64)
            best = cost.argmin(axis=1)
            better = np.flatnonzero(np.take_along_axis(cost, best[:, None], axis=1)[:, 0] < cost[:, 0])
            part.coefficients[:, blocks[better]] = tried[:, better, best[better]]
            changed[part.places(blocks[better])] = True
            moved += len(better)
        if moved:
            part.enlarge(target.size)
            total += moved
    if total:
        for one in parts:
            one.reopen(changed)
    return total


def _wrong(target: _Target, parts: list[_Part], c: int) -> tuple[Ints, npt.NDArray[Any]]:
    """Open blocks (n,) of a component that have a wrong pixel, and its coefficients (64, n) of what is wrong."""
    part = parts[c]
    (v, h), (rows, columns) = part.factors, part.blocks
    rest = target.whole(parts)[: 8 * rows * v, : 8 * columns * h].reshape(rows, 8 * v, columns, 8 * h, -1)
    bad = np.flatnonzero((rest != 0).any(axis=(1, 3, 4)).reshape(-1) & part.open)
    i, j = np.divmod(bad, columns)
    bands = np.moveaxis(rest[i, :, j].astype(np.int64) * int(GRAIN), 3, 0)  # (B, n, 8 v, 8 h)
    own = bands[2 if c == 1 else 0] - bands[1] // 2 if c else bands.sum(axis=0) // len(bands)
    own = own.reshape(-1, 8, v, 8, h).sum(axis=(2, 4)) // (v * h)
    return bad, forward(own.reshape(-1, 64).T / GRAIN + LEVEL)


def _changes(wrong: npt.NDArray[Any], table: Ints) -> Ints:
    """Changes to try, int (64, n, k): none, the lowest frequencies up and down, and those that are wrong by most."""
    count = wrong.shape[1]
    out = np.zeros((64, count, 1 + 2 * len(_ALWAYS) + _TRIED), np.int64)
    at = 1
    for frequency in _ALWAYS:
        out[frequency, :, at], out[frequency, :, at + 1] = 1, -1
        at += 2
    order = np.argsort(-np.abs(wrong) / table, axis=0, kind="stable")[:_TRIED]
    for row in order:
        out[row, np.arange(count), at] = np.where(wrong[row, np.arange(count)] < 0, -1, 1)
        at += 1
    return out
