"""What is wanted of a frame, and where decoded parts of it go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .container import Box


class Canvas:
    """Boxes of a frame that are wanted, all of one size, at a level of resolution.

    Parameters
    ----------
    boxes : (left, top, right, bottom) in pixels of the frame.
    bands : how many stored bands the frame has.
    dtype : stored type of the samples.
    level : k for every ``2**k``-th pixel of both axes; above 0 there is one box, the whole frame.

    ``pixels`` (N, ceil(h / 2**level), ceil(w / 2**level), bands) begin as zeros: only what is wanted is allocated.
    """

    def __init__(self, boxes: Sequence[Box], bands: int, dtype: np.dtype[Any], level: int = 0) -> None:
        self._boxes = np.array(boxes, np.int64).reshape(-1, 4)
        self.level = level
        left, top, right, bottom = boxes[0]
        step = 1 << level
        shape = (len(boxes), -(-(bottom - top) // step), -(-(right - left) // step), bands)
        self.pixels: npt.NDArray[Any] = np.zeros(shape, dtype)

    def _touched(self, tile: Box) -> npt.NDArray[np.int64]:
        left, top, right, bottom = self._boxes.T
        across = (left < tile[2]) & (tile[0] < right)
        return np.flatnonzero(across & (top < tile[3]) & (tile[1] < bottom))

    def wants(self, tile: Box) -> bool:
        """Whether a part of the frame is wanted."""
        return len(self._touched(tile)) > 0

    def paste(self, tile: Box, bands: tuple[int, int], pixels: npt.NDArray[Any]) -> None:
        """Put a decoded part of the frame where it is wanted.

        ``tile`` says where it lies in the frame, ``bands`` (first, count) which bands it has; ``pixels`` (h, w, count)
        are those at the canvas's level.
        """
        first, count = bands
        step = 1 << self.level
        for number in self._touched(tile).tolist():
            box = self._boxes[number].tolist()
            rows, columns = ((max(tile[i], box[i]), min(tile[i + 2], box[i + 2])) for i in (1, 0))
            source = _span(rows, tile[1], step), _span(columns, tile[0], step)
            target = _span(rows, box[1], step), _span(columns, box[0], step)
            self.pixels[number, target[0], target[1], first : first + count] = pixels[source]


def _span(part: tuple[int, int], origin: int, step: int) -> slice:
    """Where (begin, end) lies along an axis that starts at ``origin`` and has every ``step``-th pixel."""
    begin, end = part
    first = (begin - origin) // step
    return slice(first, first + -(-(end - begin) // step))
