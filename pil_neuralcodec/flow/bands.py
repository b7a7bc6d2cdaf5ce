"""What heads say of a component: for each band its mixture of logistics, given the bands before it.

Centres are in 1/64 of a grey level, filters and chains in integers of 1/64. With ``total`` the sum of the four nearest
samples, ``t`` how far a tap lies from their mean and ``r`` how far a band before lies from its own, both in quarters
of a level, ``f`` the filter's coefficients and ``c`` the chain's:

    centre = mean + 16 total + (64 (sum_j f_j t_j + sum_i c_i r_i) - sum_i c_i sum_j f_j t_ij) >> 8

so the filter sees what the chain leaves of the band, its difference from the bands before, which is smoother.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from ..coders.logistic import CENTRE_FRAC, mixture_weights
from ..nets.backends import Network
from .architecture import CHAIN_FRAC, CHANNELS, COEFFICIENT_MAX, MEAN_FRAC, TAPS, PhotoArchitecture
from .polyphase import extend, taps

assert MEAN_FRAC - 2 == CENTRE_FRAC  # a mean's unit is 4 grey levels, so its integers count 1/64 levels
assert CHAIN_FRAC == CENTRE_FRAC

_LIMIT = round(COEFFICIENT_MAX * 2**CHAIN_FRAC)


class Mixture(NamedTuple):
    """Parameters of ``coders.logistic.LogisticMixture`` on a plane of positions: int64 (K, h, w) each."""

    weights: np.ndarray
    centres: np.ndarray
    scales: np.ndarray


class Bands(Protocol):
    """The bands of a component in coding order: ask for a band's mixtures, say what it is, go on with the next."""

    def mixtures(self, band: int) -> list[Mixture]:
        """Of each tile, on the planes that networks see."""

    def accept(self, band: int, values: np.ndarray) -> None:
        """The band's samples, int32 (N, h, w), perhaps smaller than the planes that networks see."""


def open_bands(network: Network[Any], architecture: PhotoArchitecture, net: int, stage: int, features: Any,
               known: list[np.ndarray], base: np.ndarray) -> Bands:
    """The bands that a stage's ``features`` describe; ``known`` components and baseline int32 (N, 3, h, w)."""
    if architecture.bandwise:
        return _BandwiseHeads(network, architecture, net, stage, features, known, base)
    return _JointHead(network.to_numpy(architecture.joint_head(network, net, stage, features)), base,
                      architecture.mixtures)


class _JointHead:
    """All parameters at once; bands depend on each other through the chain alone."""

    def __init__(self, outputs: np.ndarray, base: np.ndarray, mixtures: int) -> None:
        self._outputs, self._base, self._mixtures = outputs, base, mixtures
        self._residuals: list[np.ndarray] = []

    def mixtures(self, band: int) -> list[Mixture]:
        return [self._mixture(tile, band) for tile in range(len(self._outputs))]

    def _mixture(self, tile: int, band: int) -> Mixture:
        k, n = self._mixtures, self._mixtures * CHANNELS
        rows = _rows(self._outputs[tile])
        logits, means, scales = (rows[part * n + band * k:part * n + (band + 1) * k] for part in range(3))
        centres = means + (self._base[tile, band].astype(np.int64) << CENTRE_FRAC)
        # chain[0]: R given G; chain[1], chain[2]: B given G and R
        chain = rows[3 * n + band * (band - 1) // 2:]
        for coefficients, residuals in zip(chain, self._residuals, strict=False):
            centres += coefficients * residuals[tile]
        return Mixture(_weights(logits), centres, scales)

    def accept(self, band: int, values: np.ndarray) -> None:
        base = self._base[:, band]
        self._residuals.append(extend(values, base).astype(np.int64) - base)


class _BandwiseHeads:
    """A head for each band, which sees the bands before; centres by filters of the neighbours."""

    def __init__(self, network: Network[Any], architecture: PhotoArchitecture, net: int, stage: int, features: Any,
                 known: list[np.ndarray], base: np.ndarray) -> None:
        self._network, self._architecture = network, architecture
        self._net, self._stage = net, stage
        self._features, self._known, self._base = features, known, base
        self._values: list[np.ndarray] = []
        self._seen: list[np.ndarray] = []
        self._means: list[np.ndarray] = []

    def mixtures(self, band: int) -> list[Mixture]:
        pixels = None
        if band:
            pixels = self._network.from_pixels(np.ascontiguousarray(np.stack(self._seen, axis=-1)))
        self._features, out = self._architecture.band_head(self._network, self._net, self._stage, band,
                                                           self._features, pixels)
        found = [self._mixture(_rows(outputs), tile, band) for tile, outputs in enumerate(self._network.to_numpy(out))]
        self._means = [(m.weights * m.centres).sum(axis=0) >> 16 for m in found]
        return found

    def _mixture(self, rows: np.ndarray, tile: int, band: int) -> Mixture:
        k = self._architecture.mixtures
        logits, means, scales = rows[:k], rows[k:2 * k], rows[2 * k:3 * k]
        coefficients = np.minimum(np.maximum(rows[3 * k:], -_LIMIT), _LIMIT)
        chain, filters = coefficients[:band], coefficients[band:band + TAPS].astype(np.int32)
        total, filtered = self._filtered(filters, tile, band)
        moved = filtered << CHAIN_FRAC
        for i, chained in enumerate(chain):
            total_before, filtered_before = self._filtered(filters, tile, i)
            moved += chained * (((4 * self._values[i][tile] - total_before) << CHAIN_FRAC) - filtered_before)
        return Mixture(_weights(logits), means + ((total << 4) + (moved >> 8)), scales)

    def _filtered(self, filters: np.ndarray, tile: int, band: int) -> tuple[np.ndarray, np.ndarray]:
        """Sum of the four nearest samples of a band, and the filter of its taps, int64 (h, w)."""
        total, deviations = taps([plane[tile, band] for plane in self._known])
        # In int32: 12 taps of at most 4 * 255 quarters times 255 are far below 2**31.
        return total.astype(np.int64), np.einsum("thw,thw->hw", filters, deviations).astype(np.int64)

    def accept(self, band: int, values: np.ndarray) -> None:
        base = self._base[:, band]
        values = extend(values, base)
        surprise = ((values.astype(np.int64) << CENTRE_FRAC) - np.stack(self._means) + 32) >> CENTRE_FRAC
        self._values.append(values.astype(np.int64))
        self._seen += [np.clip(x, -128, 127).astype(np.int8) for x in (values - base, surprise)]


def _rows(outputs: np.ndarray) -> np.ndarray:
    """A head's outputs (h, w, outputs) as int64 (outputs, h, w)."""
    return np.ascontiguousarray(outputs.transpose(2, 0, 1)).astype(np.int64)


def _weights(logits: np.ndarray) -> np.ndarray:
    """``mixture_weights`` of planes (K, h, w)."""
    return mixture_weights(logits.reshape(len(logits), -1)).reshape(logits.shape)
