"""Surprises of a tile's samples: how far they are from the network's means, for what is coded after them."""

from __future__ import annotations

import numpy as np

from .learners import Learned
from .level_planes import LevelPlanes
from .pyramid import Stage


class Surprises(LevelPlanes):
    """The surprises of a tile of ``sides`` (h, w), in 1/64 of a grey level; 0 where there are none."""

    def __init__(self, sides: tuple[int, int]) -> None:
        super().__init__(sides)
        self._learned: dict[int, Learned] = {}

    def earlier(self, stage: Stage, band: int) -> list[np.ndarray]:
        """Those of the stage's component of the bands before: int32 (h, w) each."""
        return [self.of(stage, before) for before in range(band)]

    def learned(self, band: int) -> Learned:
        """What the components of a band have taught so far."""
        return self._learned.setdefault(band, Learned())
