"""Where the blocks of an image lie, and what a decoder makes of all their coefficients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import native
from . import transform

Ints = npt.NDArray[np.signedinteger[Any]]

_MCU = 16
"""Rows after which blocks of all components begin again."""
_FEWEST = 4 * _MCU
_DECODED = 1 << 18
"""Pixels that are decoded at once."""


@dataclass(frozen=True)
class Layout:
    """The blocks of an image that was, or was cut out of, a JPEG file.

    Parameters
    ----------
    height, width : of the image, in pixels.
    components : 1 for gray, 3 for colour.
    top, left : pixels of the grid above and left of the image, below 8 times the sampling factor.
    vertical, horizontal : luma samples for each sample of chroma, 1 or 2.
    fancy : chroma is enlarged by the triangle filter.
    below, right : the file went on there, so that the triangle filter saw one more row or column of samples.
    """

    height: int
    width: int
    components: int = 3
    top: int = 0
    left: int = 0
    vertical: int = 1
    horizontal: int = 1
    fancy: bool = True
    below: bool = False
    right: bool = False

    def factors(self, component: int) -> tuple[int, int]:
        """Vertical and horizontal sampling factor of a component: pixels for each sample."""
        return (self.vertical, self.horizontal) if component else (1, 1)

    def samples(self, component: int) -> tuple[int, int]:
        """Rows and columns of samples that the image needs of a component, from the grid's corner on."""
        v, h = self.factors(component)
        rows, columns = -(-(self.top + self.height) // v), -(-(self.left + self.width) // h)
        return rows + (self.below and self.fancy and v == 2), columns + (self.right and self.fancy and h == 2)

    def blocks(self, component: int) -> tuple[int, int]:
        """Rows and columns of blocks of a component."""
        rows, columns = self.samples(component)
        return -(-rows // 8), -(-columns // 8)

    def planes(self, coefficients: list[Ints], tables: list[Ints]) -> list[Ints]:
        """Samples of each component, int64 of shape ``8 * blocks(component)``.

        ``coefficients`` : quantised, int (8, 8, n) for each component; ``tables`` : steps, int (8, 8) for each.
        """
        return [
            transform.to_plane(transform.samples(quantised * table[:, :, None]), *self.blocks(component))
            for component, (quantised, table) in enumerate(zip(coefficients, tables, strict=True))
        ]

    def enlarge(self, component: int, plane: Ints) -> Ints:
        """The part (height, width) of a component's samples that lies under the image, enlarged to its size."""
        v, h = self.factors(component)
        rows, columns = self.samples(component)
        full = transform.upsample(plane[:rows, :columns], v, h, fancy=self.fancy)
        return full[self.top : self.top + self.height, self.left : self.left + self.width]

    def strips(self, pixels: int) -> list[Strip]:
        """The image as strips of rows with about so many pixels."""
        rows = max(_FEWEST, pixels // self.width // _MCU * _MCU)
        end = self.top + self.height
        count = -(-end // rows)
        edges = [*(end * k // count // _MCU * _MCU for k in range(count)), end]
        return [Strip(self, *pair) for pair in pairwise(edges)]

    def pixels(self, coefficients: list[Ints], tables: list[Ints]) -> npt.NDArray[np.uint8]:
        """The image (height, width, components), as libjpeg decodes it; arguments as of `planes`."""
        out = np.empty((self.height, self.width, self.components), np.uint8)
        for strip in self.strips(_DECODED):
            parts = [part[:, :, strip.blocks(c)] for c, part in enumerate(coefficients)]
            out[strip.kept] = strip.layout._decoded(parts, tables)[strip.within(strip.kept)]
        return out

    def _decoded(self, coefficients: list[Ints], tables: list[Ints]) -> npt.NDArray[np.uint8]:
        core = native.core()
        if core is not None:
            return self._compiled_pixels(core, coefficients, tables)
        planes = [self.enlarge(c, plane) for c, plane in enumerate(self.planes(coefficients, tables))]
        if self.components == 1:
            return planes[0][:, :, None].astype(np.uint8)
        return transform.to_rgb(*planes)

    def _compiled_pixels(self, core: ModuleType, coefficients: list[Ints], tables: list[Ints]) -> npt.NDArray[np.uint8]:
        planes = []
        for c, (quantised, table) in enumerate(zip(coefficients, tables, strict=True)):
            blocks = np.ascontiguousarray(quantised, np.int64).reshape(64, *self.blocks(c))
            samples = core.jpeg_samples(blocks, np.ascontiguousarray(table, np.int64).reshape(64))
            part = self.top, self.left, self.height, self.width
            planes.append(core.jpeg_enlarge(samples, *self.samples(c), *self.factors(c), self.fancy, *part))
        pixels: npt.NDArray[np.uint8] = planes[0][:, :, None] if self.components == 1 else core.jpeg_rgb(*planes)
        return pixels

    def reduced(
        self, coefficients: list[Ints], tables: list[Ints], level: int
    ) -> tuple[npt.NDArray[np.uint8], tuple[float, float]]:
        """The image at 1 / 2**level of its size, ``level`` 1 to 3, of the lowest frequencies alone.

        Returns pixels uint8 (h, w, components), and how far left of and above the image, in such pixels, they begin.
        """
        planes = []
        for component, (quantised, table) in enumerate(zip(coefficients, tables, strict=True)):
            sides = [8 * f >> level for f in self.factors(component)]
            lowest = slice(sides[0]), slice(sides[1])
            blocks = transform.reduced(quantised[lowest] * table[lowest][:, :, None], *sides)
            planes.append(transform.to_plane(blocks, *self.blocks(component)))
        corner, scale = (self.top, self.left), 1 << level
        first = [at // scale for at in corner]
        last = [-(-(at + n) // scale) for at, n in zip(corner, (self.height, self.width), strict=True)]
        window = slice(first[0], last[0]), slice(first[1], last[1])
        cut = [plane[window] for plane in planes]
        pixels = cut[0][:, :, None] if self.components == 1 else transform.to_rgb(*cut)
        return pixels, (self.left / scale - first[1], self.top / scale - first[0])


class Strip:
    """Some rows of an image, and of those next to them as many as tell of their blocks.

    The triangle filter sees beyond a block. So a strip goes on for a block of chroma above and below, less the last
    row, which comes from samples that the strip does not have.

    Parameters
    ----------
    whole : the image.
    first, stop : rows of the grid, multiples of 16 but at the image's end.

    Attributes
    ----------
    layout : of the strip alone.
    rows, kept : rows of the image, all those of the strip and those that it is there for.
    """

    def __init__(self, whole: Layout, first: int, stop: int) -> None:
        end = whole.top + whole.height
        is_filtered = whole.fancy and whole.vertical == 2
        reach = _MCU * is_filtered
        self._whole, self._first, self._is_last = whole, first, stop == end
        self._stop, self._begin = stop, max(0, first - reach)
        begin = max(self._begin + (is_filtered and self._begin > 0), whole.top)
        stop_seen = min(stop + reach - is_filtered, end)
        self.layout = replace(
            whole, top=begin - self._begin, height=stop_seen - begin, below=whole.below and stop_seen == end
        )
        self.rows = slice(begin - whole.top, stop_seen - whole.top)
        self.kept = slice(max(first, whole.top) - whole.top, stop - whole.top)

    def within(self, rows: slice) -> slice:
        """Rows of the image as rows of the strip."""
        return slice(rows.start - self.rows.start, rows.stop - self.rows.start)

    def blocks(self, component: int) -> slice:
        """All its blocks of a component, among the image's."""
        rows, columns = self.layout.blocks(component)
        begin = self._begin // (8 * self._whole.factors(component)[0])
        return slice(begin * columns, (begin + rows) * columns)

    def kept_blocks(self, component: int) -> tuple[slice, slice]:
        """The blocks of a component that it is there for, among the image's and among its own."""
        side = 8 * self._whole.factors(component)[0]
        rows, columns = self._whole.blocks(component)
        first, stop = self._first // side * columns, (rows if self._is_last else self._stop // side) * columns
        begin = self.blocks(component).start
        return slice(first, stop), slice(first - begin, stop - begin)
