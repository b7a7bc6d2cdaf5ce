"""Outputs of a network for a band, as numbers of mixtures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..coders.logistic import CENTRE_FRAC, DISTANT, mixture_weights
from .architecture import TAPS
from .range_mapping import GAIN_FRAC, RangeMapping

_BLOCK = 1024
"""Positions that are transposed at once: they fit the cache, which makes it three times as fast."""


class Outputs(NamedTuple):
    """Outputs of a network for a band: (K, h, w) each, (band, h, w) and (TAPS, h, w), all int32."""

    weights: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    chain: np.ndarray
    filters: np.ndarray

    @staticmethod
    def of(rows: np.ndarray, mixtures: int) -> Outputs:
        """From integers (outputs, h, w)."""
        logits, means, scales, chain, filters = np.split(rows, [*(np.arange(1, 4) * mixtures), len(rows) - TAPS])
        return Outputs(*(part.astype(np.int32) for part in (plane_weights(logits), means, scales, chain, filters)))

    def unmapped(self, total: np.ndarray, mapping: RangeMapping | None) -> Outputs:
        """With the means and log-scales of coded samples, from those of mapped ones."""
        if mapping is None:
            return self
        means = self.means.astype(np.int64) * mapping.gain >> GAIN_FRAC
        # If all neighbours are at one end of the range, the sample most likely is clipped there too.
        clipped = (total == 4 * mapping.top).astype(np.int64) - (total == 0)
        means += (clipped * mapping.gain << CENTRE_FRAC) >> (GAIN_FRAC + 2)
        return self._replace(means=as_centres(means), scales=self.scales + np.int32(mapping.log_gain))


def as_centres(numbers: np.ndarray) -> np.ndarray:
    """Centres, int32, of integers."""
    limited: np.ndarray = np.minimum(np.maximum(numbers, -DISTANT), DISTANT).astype(np.int32)
    return limited


def band_rows(outputs: np.ndarray) -> np.ndarray:
    """Outputs of an output layer, (n, h, w, outputs), as int64 (outputs, n * h, w)."""
    n, height, width, count = outputs.shape
    positions = outputs.reshape(-1, count)
    rows = np.empty((count, len(positions)), np.int64)
    for at in range(0, len(positions), _BLOCK):
        rows[:, at : at + _BLOCK] = positions[at : at + _BLOCK].T
    return rows.reshape(count, n * height, width)


def plane_weights(logits: np.ndarray) -> np.ndarray:
    """``coders.logistic.mixture_weights`` for logits int64 (K, h, w)."""
    return mixture_weights(logits.reshape(len(logits), -1)).reshape(logits.shape)
