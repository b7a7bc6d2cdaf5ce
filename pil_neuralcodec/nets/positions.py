"""Position channels: inputs of a layer that depend on the row, or on the column, of a position alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Positions(NamedTuple):
    """The position channels of some images, as many of rows as of columns.

    Parameters
    ----------
    rows
        int8 (N, C, h), the same for all positions of a row.
    columns
        int8 (N, C, w).
    """

    rows: npt.NDArray[np.int8]
    columns: npt.NDArray[np.int8]

    def appended(self, pixels: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
        """What a layer sees: pixels (N, h, w, P), and behind them the channels of rows, then those of columns, int8
        (N, h, w, P + 2 C)."""
        n, height, width, count = pixels.shape
        channels = self.rows.shape[1]
        seen = np.empty((n, height, width, count + 2 * channels), np.int8)
        seen[..., :count] = pixels
        seen[..., count : count + channels] = self.rows.transpose(0, 2, 1)[:, :, None]
        seen[..., count + channels :] = self.columns.transpose(0, 2, 1)[:, None]
        return seen
