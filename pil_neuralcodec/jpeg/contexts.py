"""What is known of a coefficient before it is coded: sizes of others near it, and what edges of blocks say.

Coefficients are coded frequency by frequency in zigzag order, for all blocks of a component at once, in two sets: the
blocks of one colour of a chessboard, then those of the other, which know their four neighbours. DC comes first, as a
pyramid: a grid of blocks that is refined by halves.

Sizes are dequantised, so that frequencies and tables compare. An expected size is a weighted sum of ``FEATURES``
numbers, an expected value one of ``EDGES`` differences: what a block, as far as it is known, lacks at each of its
four edges to meet the neighbour there (Stirner and Seelmann 2007 and lepton predict by edges too).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]

ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8, -(i // 8))[(i // 8 + i % 8) % 2 == 0]))
"""Row-major frequencies in the order in which they are coded."""
FEATURES = 18
EDGES = 4
_RANK = {frequency: rank for rank, frequency in enumerate(ZIGZAG)}
_EDGE = np.array([181] + [256] * 7, np.int64)
"""What a frequency adds to a block's edge, in 1/256: a DCT's basis at its end, times a constant."""


class Context(NamedTuple):
    """Of ``n`` coefficients: ``sizes`` int64 (FEATURES, n), ``edges`` int64 (EDGES, n)."""

    sizes: Ints
    edges: Ints


class Component:
    """Coefficients of one component, as far as they are known.

    Parameters
    ----------
    rows, columns : of blocks.
    table : steps, int64 (64,).
    """

    def __init__(self, rows: int, columns: int, table: Ints) -> None:
        self.shape, self.table = (rows, columns), table
        self.values = np.zeros((64, rows, columns), np.int16)
        """Dequantised."""
        self._sizes = np.zeros((64, rows + 2, columns + 2), np.int32)
        # The sums of what is known at the edges left, right, top and bottom, by the frequency along the edge.
        self._ends = [np.zeros((8, rows + 2, columns + 2), np.int32) for _ in range(4)]
        i, j = np.mgrid[:rows, :columns]
        self.sets = [np.nonzero((i + j) % 2 == part) for part in (0, 1)]
        self._places = [(i + 1) * (columns + 2) + j + 1 for i, j in self.sets]
        inside = np.zeros((rows + 2, columns + 2), np.int32)
        inside[1:-1, 1:-1] = 1
        self._inside = inside.reshape(-1)
        self._bends: list[Ints] = []

    def put(self, frequency: int, where: tuple[Ints, ...], quantised: Ints) -> None:
        """Coefficients of a frequency become known, in some blocks."""
        values = quantised * self.table[frequency]
        rows, columns = where
        self.values[frequency, rows, columns] = values
        self._sizes[frequency, rows + 1, columns + 1] = np.abs(values)
        u, v = divmod(frequency, 8)
        across, down = values * _EDGE[v] >> 8, values * _EDGE[u] >> 8
        for end, line, amount, odd in zip(
            self._ends, (u, u, v, v), (across, across, down, down), (0, v, 0, u), strict=True
        ):
            end[line, rows + 1, columns + 1] += -amount if odd % 2 else amount

    def context(self, frequency: int, part: int, others: list[Component]) -> Context:
        """Of a frequency in a set of blocks. ``others`` are components whose coefficients of it are known."""
        u, v = divmod(frequency, 8)
        at = self._places[part]
        sizes = np.zeros((FEATURES, len(at)), np.int64)
        sizes[0] = self.table[frequency]

        def near(i: int, j: int, *offsets: int) -> Ints | int:
            """Sizes of a frequency that is known, summed over the block or blocks near it."""
            known = 0 <= i < 8 and 0 <= j < 8 and 0 < _RANK[8 * i + j] < _RANK[frequency]
            plane = self._sizes[8 * i + j].reshape(-1) if known else None
            return 0 if plane is None else sum(plane.take(at + offset) for offset in offsets)

        line = self.shape[1] + 2
        crossed, diagonal = (-1, 1, -line, line), (-line - 1, -line + 1, line - 1, line + 1)
        sizes[1], sizes[2], sizes[3] = near(u - 1, v, 0), near(u, v - 1, 0), near(u - 1, v - 1, 0)
        sizes[4] = near(u - 2, v, 0) + near(u, v - 2, 0)
        sizes[5] = near(u + 1, v - 1, 0) + near(u - 1, v + 1, 0)
        for before in ZIGZAG[max(1, _RANK[frequency] - 6) : _RANK[frequency]]:
            sizes[6] += near(*divmod(before, 8), 0)
        if part:
            plane = self._sizes[frequency].reshape(-1)
            sizes[7] = plane.take(at - 1) + plane.take(at + 1)
            sizes[8] = plane.take(at - line) + plane.take(at + line)
        sizes[9], sizes[10] = near(u - 1, v, *crossed), near(u, v - 1, *crossed)
        sizes[11] = near(u, v - 1, *diagonal) if v and u + v > 1 else near(u - 1, v, *diagonal)
        for row, other in enumerate(others, 12):
            sizes[row] = other.sizes_at(frequency, self.shape)[self.sets[part]]
        edges = self._edges(u, v, part)
        sizes[14] = np.abs(edges[0]) + np.abs(edges[1])
        sizes[15] = np.abs(edges[2]) + np.abs(edges[3])
        sizes[16:18] = self._slopes(part)
        return Context(sizes, edges)

    def sizes_at(self, frequency: int, shape: tuple[int, int]) -> Ints:
        """Sizes for the blocks of another component, which may be coarser: (rows, columns) of it."""
        plane = self._sizes[frequency, 1:-1, 1:-1]
        if shape == self.shape:
            return plane.astype(np.int64)
        v, h = (1 if mine == theirs else 2 for mine, theirs in zip(self.shape, shape, strict=True))
        padded = np.zeros((v * shape[0], h * shape[1]), np.int64)
        padded[: plane.shape[0], : plane.shape[1]] = plane
        pooled: Ints = padded.reshape(shape[0], v, shape[1], h).sum(axis=(1, 3)) // (v * h)
        return pooled

    def _edges(self, u: int, v: int, part: int) -> Ints:
        """What blocks lack at the left, right, top and bottom edge; 0 where there is no neighbour."""
        at, line = self._places[part], self.shape[1] + 2
        left, right, top, bottom = self._ends
        out = np.empty((EDGES, len(at)), np.int64)
        for row, (along, own, theirs, offset) in enumerate(
            ((u, left, right, -1), (u, right, left, 1), (v, top, bottom, -line), (v, bottom, top, line))
        ):
            out[row] = theirs[along].reshape(-1).take(at + offset)
            out[row] -= own[along].reshape(-1).take(at)
            out[row] *= self._inside.take(at + offset)
        return out

    def _slopes(self, part: int) -> Ints:
        """How DC bends across and down, int64 (2, n)."""
        if not self._bends:
            mean = self.values[0].astype(np.int64)
            padded = np.pad(mean, 1, mode="edge")
            across = np.abs(2 * mean - padded[1:-1, :-2] - padded[1:-1, 2:])
            down = np.abs(2 * mean - padded[:-2, 1:-1] - padded[2:, 1:-1])
            self._bends += [np.stack([across[where], down[where]]) for where in self.sets]
        return self._bends[part]

    def pyramid(self) -> Iterator[tuple[int, tuple[Ints, ...], Context]]:
        """The DC of all blocks in the order in which it is coded: (kind, blocks, context), kind 0 for the corner, 1
        for blocks between four diagonal ones, 2 for those between four at their sides. What is yielded must have been
        `put` before the next is asked for."""
        rows, columns = self.shape
        first = np.zeros(1, np.int64)
        sizes = np.zeros((FEATURES, 1), np.int64)
        sizes[0] = 8 * 128  # as much as DC can be
        yield 0, (first, first), Context(sizes, np.zeros((EDGES, 1), np.int64))
        step = 1
        while 2 * step < max(rows, columns):
            step *= 2
        while step:
            i, j = (axis.reshape(-1) for axis in np.mgrid[0:rows:step, 0:columns:step])
            odd_row, odd_column = (i // step) % 2 == 1, (j // step) % 2 == 1
            for kind, chosen in ((1, odd_row & odd_column), (2, odd_row ^ odd_column)):
                if chosen.any():
                    where = i[chosen], j[chosen]
                    yield kind, where, self._between(kind, where, step)
            step //= 2

    def _between(self, kind: int, where: tuple[Ints, ...], step: int) -> Context:
        rows, columns = self.shape
        offsets = ((-1, -1), (1, 1), (-1, 1), (1, -1)) if kind == 1 else ((0, -1), (0, 1), (-1, 0), (1, 0))
        plane = self.values[0]
        values, inside = [], []
        for i, j in offsets:
            row, column = where[0] + i * step, where[1] + j * step
            inside.append((row >= 0) & (row < rows) & (column >= 0) & (column < columns))
            values.append(plane[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)])
        known, four = np.stack(inside), np.stack(values).astype(np.int64)
        count = known.sum(axis=0)
        mean = (four * known).sum(axis=0) // count
        four = np.where(known, four, mean)
        sizes = np.zeros((FEATURES, len(mean)), np.int64)
        sizes[0] = self.table[0]
        sizes[1] = np.abs(four[0] - four[1]) + np.abs(four[2] - four[3])
        sizes[2] = np.abs(four[0] + four[1] - four[2] - four[3])
        sizes[3] = np.abs(four - mean).max(axis=0)
        edges = np.zeros((EDGES, len(mean)), np.int64)
        edges[0] = four.sum(axis=0)
        edges[1] = np.where(np.abs(four[0] - four[1]) < np.abs(four[2] - four[3]), four[0] + four[1], four[2] + four[3])
        return Context(sizes, edges)
