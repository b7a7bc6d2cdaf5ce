"""Where the blocks of a JPEG file lie in an image, and how its chroma was enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .search import spread

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_WINDOWS = 64
_LOOKED = 512
_ROUGH = 4
_CLEAR = 4  # standard deviations that the best phase lies apart from the others
_SPAN = 15
_STEPS = 2654435769, 1640531527
"""Multiples of these, modulo 2**32, spread evenly."""
_ALL = 0.999


def phase(plane: Ints, known: Mask) -> tuple[int, int, bool]:
    """The row and the column, 0..7, at which the first whole block begins, and whether that shows.

    ``plane`` int (h, w) of samples, of which some are ``known``. At the grid's own phase coefficients are multiples of
    their steps, most of them zero; at others they are not. Where that does not show, (0, 0) is as good as any.
    """
    height, width = plane.shape
    if height < _SPAN or width < _SPAN:
        return 0, 0, False
    number = np.arange(1, _LOOKED + 1, dtype=np.int64)
    rows, columns = (
        number * step % (1 << 32) * (n - _SPAN + 1) >> 32 for step, n in zip(_STEPS, plane.shape, strict=True)
    )
    at = rows[:, None, None] + np.arange(_SPAN)[:, None], columns[:, None, None] + np.arange(_SPAN)
    windows = plane[at].astype(np.int64)
    span = np.where(known[at].all(axis=(1, 2)), np.ptp(windows, axis=(1, 2)), 0)
    use = np.flatnonzero(span > _ROUGH)[:_WINDOWS]
    if len(use) < _WINDOWS:  # all the windows that are not flat
        use = np.argsort(-span, kind="stable")[:_WINDOWS]
        use = use[span[use] > 1]
    if len(use) < 8:
        return 0, 0, False
    rows, columns = rows[use], columns[use]
    blocks = np.lib.stride_tricks.sliding_window_view(windows[use], (8, 8), axis=(1, 2))
    sizes = spread(blocks.reshape(-1, 64).T)[1:].sum(axis=0).reshape(-1, 8, 8)
    # The block at (i, j) of a window lies at row + i: gather by place on the grid.
    scores = np.zeros((8, 8), np.int64)
    for i in range(8):
        for j in range(8):
            np.add.at(scores, ((rows + i) % 8, (columns + j) % 8), sizes[:, i, j])
    row, column = _clearest(scores.sum(axis=1)), _clearest(scores.sum(axis=0))
    return (0, 0, False) if row is None or column is None else (row, column, True)


def _clearest(scores: Ints) -> int | None:
    """The least of eight scores, if it lies far below the others."""
    best = int(scores.argmin())
    others = [int(score) for score in np.delete(scores, best)]
    count, total, squares = len(others), sum(others), sum(score * score for score in others)
    apart = total - count * int(scores[best])
    return best if apart * apart > _CLEAR * _CLEAR * (count * squares - total * total) else None


def halved(planes: list[Ints], known: Mask, parity: int, axis: int) -> tuple[bool, bool]:
    """Whether planes (h, w) can have been enlarged to twice the size on an axis, by the triangle filter and by
    repetition, where the first pair of outputs begins at ``parity``."""
    known = np.moveaxis(known, axis, 0)[parity:]
    count = (len(known) - 3) // 2
    if count < 2:
        return False, False

    def runs(array: npt.NDArray[Any], length: int) -> list[npt.NDArray[Any]]:
        """Outputs next to each other: two of a pair, or these between their neighbours."""
        first = 2 if length == 2 else 1
        return [array[k : k + 2 * count : 2] for k in range(first, first + length)]

    four = np.logical_and.reduce(runs(known, 4))
    two = np.logical_and.reduce(runs(known, 2))
    fancy, plain = bool(four.any()), bool(two.any())
    for plane in planes:
        a, b, c, d = runs(np.moveaxis(plane, axis, 0)[parity:], 4)
        # From the left, a sample is (3 b - a) / 2; from the right (3 c - d) / 2; each output errs by half a step.
        fancy = fancy and bool((np.abs(3 * (b - c) - (a - d))[four] <= 4).mean() > _ALL)
        plain = plain and bool((b == c)[two].mean() > _ALL)
    return fancy, plain
