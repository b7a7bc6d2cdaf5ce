"""Numbers of a tile's known samples, by level: for what is coded after them."""

from __future__ import annotations

import numpy as np

from .polyphase import OFFSETS, component, level_shape
from .pyramid import Stage

_NEAREST = (
    ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    ((0, -1), (0, 1), (-1, 0), (1, 0)),
    ((-1, 0), (1, 0), (0, -1), (0, 1)),
)
"""The four nearest known samples of each stage: rows down, columns right."""


class LevelPlanes:
    """Planes of numbers of a tile of ``sides`` (h, w), one for each band; 0 where there are none."""

    def __init__(self, sides: tuple[int, int]) -> None:
        self._sides = sides
        self._level = -1
        self._planes: dict[int, np.ndarray] = {}
        self._coarser: dict[int, np.ndarray] = {}

    def of(self, stage: Stage, band: int) -> np.ndarray:
        """Those of a stage's component: int32 (h, w)."""
        return component(self._bordered(stage, band)[1:-1, 1:-1], stage.number + 1)

    def nearest(self, stage: Stage, band: int) -> np.ndarray:
        """Those of the four nearest samples of a component's positions, int32 (4, h, w); 0 outside of the tile."""
        plane = self._bordered(stage, band)
        row, column = OFFSETS[stage.number + 1]
        h, w = stage.shape(self._sides)
        found = np.empty((len(_NEAREST[stage.number]), h, w), np.int32)
        for out, (down, right) in zip(found, _NEAREST[stage.number], strict=True):
            out[...] = plane[1 + row + down :: 2, 1 + column + right :: 2][:h, :w]
        return found

    def put(self, stage: Stage, band: int, numbers: np.ndarray) -> None:
        """Those of a component that has been coded, (h, w)."""
        self.of(stage, band)[...] = numbers

    def _bordered(self, stage: Stage, band: int) -> np.ndarray:
        """A plane of zeros around those of a level."""
        if stage.level != self._level:
            self._coarser, self._planes, self._level = self._planes, {}, stage.level
        if band not in self._planes:
            height, width = level_shape(*self._sides, stage.level)
            self._planes[band] = plane = np.zeros((height + 2, width + 2), np.int32)
            if band in self._coarser:
                plane[1:-1:2, 1:-1:2] = self._coarser[band][1:-1, 1:-1]
        return self._planes[band]
