"""One output layer for all bands: how Bit-Swap's model predicts the image at the resolution of the first latents."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..coders.logistic import CENTRE_FRAC
from ..flow.architecture import CHANNELS
from ..flow.bands import Mixture, Parameters
from ..flow.outputs import band_rows, plane_weights
from ..flow.polyphase import extend


class JointParameters(NamedTuple):
    """Of one band: int64 (K, h, w) each. Bands depend on each other through the chain alone."""

    logits: np.ndarray
    centres: np.ndarray
    scales: np.ndarray

    def coded(self) -> Mixture:
        """The mixture that codes the band."""
        return Mixture(plane_weights(self.logits), self.centres, self.scales).limited()


class JointBands:
    """``flow.bands.Bands`` of one image, by one output layer: ``outputs`` int32 (h, w, outputs), the baseline int32 (3,
    h, w)."""

    def __init__(self, outputs: np.ndarray, base: np.ndarray, mixtures: int) -> None:
        self._rows, self._base, self._mixtures = band_rows(outputs[None]), base, mixtures
        self._residuals: list[np.ndarray] = []

    def parameters(self, band: int) -> list[Parameters]:
        """Of one band, given those that were accepted."""
        k, n = self._mixtures, self._mixtures * CHANNELS
        logits, means, scales = (self._rows[part * n + band * k : part * n + (band + 1) * k] for part in range(3))
        centres = means + (self._base[band].astype(np.int64) << CENTRE_FRAC)
        # chain[0]: R given G; chain[1], chain[2]: B given G and R
        chain = self._rows[3 * n + band * (band - 1) // 2 :]
        for coefficients, residual in zip(chain, self._residuals, strict=False):
            centres += coefficients * residual
        return [JointParameters(logits, centres, scales)]

    def accept(self, band: int, values: np.ndarray) -> None:
        """Take a band's samples, int32 (1, h, w)."""
        base = self._base[band]
        self._residuals.append(extend(values[0], base).astype(np.int64) - base)
