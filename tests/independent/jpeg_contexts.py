"""What is known of a JPEG file's coefficient before it is decoded. Page: Contexts of coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

ZIGZAG = sorted(range(64), key=lambda f: (f // 8 + f % 8, f // 8 if (f // 8 + f % 8) % 2 else -(f // 8)))
RANK = {frequency: rank for rank, frequency in enumerate(ZIGZAG)}
_EDGE = [181] + [256] * 7

Context = tuple[list[int], list[int]]
"""18 sizes and 4 edges."""


@cache
def neighbours(rows: int, columns: int, block: int, places: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """The blocks at some places (down, right) of a block that there are."""
    row, column = divmod(block, columns)
    return tuple(
        (row + down) * columns + column + right
        for down, right in places
        if 0 <= row + down < rows and 0 <= column + right < columns
    )


class Blocks:
    """A component's coefficients as far as they are known, dequantised: ``values[frequency][block]``.

    Blocks are numbered row by row; those outside have no number.
    """

    def __init__(self, rows: int, columns: int, steps: list[int]) -> None:
        self.rows, self.columns, self.steps = rows, columns, steps
        count = rows * columns
        self.values = [[0] * count for _ in range(64)]
        # What is known at the left, right, top and bottom edge, by the frequency along it.
        self._ends = [[[0] * count for _ in range(8)] for _ in range(4)]
        self.sets = [[b for b in range(count) if (b // columns + b % columns) % 2 == part] for part in (0, 1)]

    def _neighbour(self, block: int, down: int, right: int) -> int | None:
        (near,) = neighbours(self.rows, self.columns, block, ((down, right),)) or (None,)
        return near

    def put(self, frequency: int, block: int, coefficient: int) -> None:
        """A coefficient, quantised, becomes known."""
        value = coefficient * self.steps[frequency]
        self.values[frequency][block] = value
        u, v = divmod(frequency, 8)
        across, down = value * _EDGE[v] >> 8, value * _EDGE[u] >> 8
        left, right, top, bottom = self._ends
        left[u][block] += across
        right[u][block] += -across if v % 2 else across
        top[v][block] += down
        bottom[v][block] += -down if u % 2 else down

    def context(self, frequency: int, part: int, block: int, before: list[Blocks]) -> Context:
        """Of a frequency above 0. ``before`` are the components that have it already."""
        u, v = divmod(frequency, 8)
        own, line, diagonal = ((0, 0),), ((0, -1), (0, 1), (-1, 0), (1, 0)), ((-1, -1), (-1, 1), (1, -1), (1, 1))

        def size(i: int, j: int, places: tuple[tuple[int, int], ...] = own) -> int:
            if not (0 <= i < 8 and 0 <= j < 8 and 0 < RANK[8 * i + j] < RANK[frequency]):
                return 0
            return self._sum(8 * i + j, block, places)

        edges = self._lacks(u, v, block)
        last = ZIGZAG[max(1, RANK[frequency] - 6) : RANK[frequency]]
        around = size(u, v - 1, diagonal) if v and u + v > 1 else size(u - 1, v, diagonal)
        others = [other.size_for(frequency, block, self) for other in before]
        mean = self.values[0]
        bends = []
        for places in (line[:2], line[2:]):
            two = [self._neighbour(block, *place) for place in places]
            bends.append(abs(2 * mean[block] - sum(mean[block if b is None else b] for b in two)))
        return [
            self.steps[frequency],
            size(u - 1, v),
            size(u, v - 1),
            size(u - 1, v - 1),
            size(u - 2, v) + size(u, v - 2),
            size(u + 1, v - 1) + size(u - 1, v + 1),
            sum(abs(self.values[f][block]) for f in last),
            self._sum(frequency, block, line[:2]) if part else 0,
            self._sum(frequency, block, line[2:]) if part else 0,
            size(u - 1, v, line),
            size(u, v - 1, line),
            around,
            *(others + [0, 0])[:2],
            abs(edges[0]) + abs(edges[1]),
            abs(edges[2]) + abs(edges[3]),
            *bends,
        ], edges

    def _sum(self, frequency: int, block: int, places: tuple[tuple[int, int], ...]) -> int:
        values = self.values[frequency]
        return sum([abs(values[near]) for near in neighbours(self.rows, self.columns, block, places)])

    def size_for(self, frequency: int, block: int, of: Blocks) -> int:
        """Where a block of another component, which may be coarser, lies here."""
        v, h = 1 if self.rows == of.rows else 2, 1 if self.columns == of.columns else 2
        row, column = block // of.columns * v, block % of.columns * h
        total = 0
        for i in range(row, min(row + v, self.rows)):
            for j in range(column, min(column + h, self.columns)):
                total += abs(self.values[frequency][i * self.columns + j])
        return total // (v * h)

    def _lacks(self, u: int, v: int, block: int) -> list[int]:
        left, right, top, bottom = self._ends
        out = []
        for own, theirs, along, place in (
            (left, right, u, (0, -1)),
            (right, left, u, (0, 1)),
            (top, bottom, v, (-1, 0)),
            (bottom, top, v, (1, 0)),
        ):
            other = self._neighbour(block, *place)
            out.append(0 if other is None else theirs[along][other] - own[along][block])
        return out

    def pyramid(self) -> Iterator[tuple[int, list[int], int]]:
        """The DC of all blocks as groups: (kind, blocks, step)."""
        yield 0, [0], 0
        step = 1
        while 2 * step < max(self.rows, self.columns):
            step *= 2
        while step:
            for kind in (1, 2):
                group = [
                    i * self.columns + j
                    for i in range(0, self.rows, step)
                    for j in range(0, self.columns, step)
                    if i // step % 2 + j // step % 2 == 3 - kind
                ]
                if group:
                    yield kind, group, step
            step //= 2

    def mean_context(self, kind: int, block: int, step: int) -> Context:
        """Of a block's DC."""
        if kind == 0:
            return [1024] + [0] * 17, [0] * 4
        places = ((-1, -1), (1, 1), (-1, 1), (1, -1)) if kind == 1 else ((0, -1), (0, 1), (-1, 0), (1, 0))
        blocks = [self._neighbour(block, down * step, right * step) for down, right in places]
        known = [self.values[0][b] for b in blocks if b is not None]
        mean = sum(known) // len(known)
        a, b, c, d = (mean if one is None else self.values[0][one] for one in blocks)
        first, second = abs(a - b), abs(c - d)
        sizes = [self.steps[0], first + second, abs(a + b - c - d), max(abs(each - mean) for each in (a, b, c, d))]
        return sizes + [0] * 14, [a + b + c + d, a + b if first < second else c + d, 0, 0]
