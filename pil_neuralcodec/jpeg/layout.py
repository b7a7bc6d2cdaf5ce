"""Where the blocks of an image lie, and what a decoder makes of all their coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from .. import native
from . import transform


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

    def planes(
        self, coefficients: list[npt.NDArray[np.int64]], tables: list[npt.NDArray[np.int64]]
    ) -> list[npt.NDArray[np.int64]]:
        """Samples of each component, int64 of shape ``8 * blocks(component)``.

        ``coefficients`` : quantised, int (8, 8, n) for each component; ``tables`` : steps, int (8, 8) for each.
        """
        return [
            transform.to_plane(transform.samples(quantised * table[:, :, None]), *self.blocks(component))
            for component, (quantised, table) in enumerate(zip(coefficients, tables, strict=True))
        ]

    def enlarge(self, component: int, plane: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The part (height, width) of a component's samples that lies under the image, enlarged to its size."""
        v, h = self.factors(component)
        rows, columns = self.samples(component)
        full = transform.upsample(plane[:rows, :columns], v, h, fancy=self.fancy)
        return full[self.top : self.top + self.height, self.left : self.left + self.width]

    def pixels(
        self, coefficients: list[npt.NDArray[np.int64]], tables: list[npt.NDArray[np.int64]]
    ) -> npt.NDArray[np.uint8]:
        """The image (height, width, components), as libjpeg decodes it."""
        core = native.core()
        if core is not None:
            return self._compiled_pixels(core, coefficients, tables)
        planes = [self.enlarge(c, plane) for c, plane in enumerate(self.planes(coefficients, tables))]
        if self.components == 1:
            return planes[0][:, :, None].astype(np.uint8)
        return transform.to_rgb(*planes)

    def _compiled_pixels(
        self, core: ModuleType, coefficients: list[npt.NDArray[np.int64]], tables: list[npt.NDArray[np.int64]]
    ) -> npt.NDArray[np.uint8]:
        planes = []
        for c, (quantised, table) in enumerate(zip(coefficients, tables, strict=True)):
            blocks = np.ascontiguousarray(quantised, np.int64).reshape(64, *self.blocks(c))
            samples = core.jpeg_samples(blocks, np.ascontiguousarray(table, np.int64).reshape(64))
            part = self.top, self.left, self.height, self.width
            planes.append(core.jpeg_enlarge(samples, *self.samples(c), *self.factors(c), self.fancy, *part))
        pixels: npt.NDArray[np.uint8] = planes[0][:, :, None] if self.components == 1 else core.jpeg_rgb(*planes)
        return pixels

    def reduced(
        self, coefficients: list[npt.NDArray[np.int64]], tables: list[npt.NDArray[np.int64]], level: int
    ) -> tuple[npt.NDArray[np.uint8], tuple[float, float]]:
        """The image at 1 / 2**level of its size, ``level`` 1 to 3, of the lowest frequencies alone.

        Returns pixels uint8 (h, w, components), and how far left of and above the image, in such pixels, they begin.
        """
        planes = []
        for component, (quantised, table) in enumerate(zip(coefficients, tables, strict=True)):
            sides = [8 * f >> level for f in self.factors(component)]
            blocks = transform.reduced(quantised * table[:, :, None], *sides)
            planes.append(transform.to_plane(blocks, *self.blocks(component)))
        corner, scale = (self.top, self.left), 1 << level
        first = [at // scale for at in corner]
        last = [-(-(at + n) // scale) for at, n in zip(corner, (self.height, self.width), strict=True)]
        window = slice(first[0], last[0]), slice(first[1], last[1])
        cut = [plane[window] for plane in planes]
        pixels = cut[0][:, :, None] if self.components == 1 else transform.to_rgb(*cut)
        return pixels, (self.left / scale - first[1], self.top / scale - first[0])
