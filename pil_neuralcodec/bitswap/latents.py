"""Latents: integers -128..127, (C, h, w), and their distributions: logistics and mixtures of them."""

from __future__ import annotations

import numpy as np

from ..coders.logistic import CENTRE_FRAC
from ..flow.bands import Mixture
from ..flow.outputs import plane_weights

LATENT_MIN = -128
PRIOR_SCALE = 56
"""Log-scale of the last layer's prior, a logistic around 0, in 1/16 octave."""

_MIDDLE = -LATENT_MIN << CENTRE_FRAC


# A layer of latents is one plane: all channels one below the other, (K, C * h, w). Its values are 0..255, latents less
# ``LATENT_MIN``.


def posterior(outputs: np.ndarray) -> Mixture:
    """From ``BitswapArchitecture.posterior``: int32 (h, w, 2 * C)."""
    means, scales = np.split(_channels_first(outputs), 2)
    centres = means + _MIDDLE
    return Mixture(_plane(np.full_like(centres, 1 << 16)[None]), _plane(centres[None]), _plane(scales[None])).limited()


def prior(outputs: np.ndarray, channels: int) -> Mixture:
    """From ``BitswapArchitecture.prior``: int32 (h, w, 3 * C * K), of so many ``channels`` C."""
    height, width = outputs.shape[:2]
    rows = _channels_first(outputs)
    logits, means, scales = rows.reshape(3, channels, -1, height, width).swapaxes(1, 2)
    return Mixture(plane_weights(_plane(logits)), _plane(means + _MIDDLE), _plane(scales)).limited()


def top_prior(channels: int, height: int, width: int) -> Mixture:
    """Of the last layer."""
    shape = (1, channels * height, width)
    weights, centres, scales = (np.full(shape, n, np.int64) for n in (1 << 16, _MIDDLE, PRIOR_SCALE))
    return Mixture(weights, centres, scales).limited()


def gathered(values: np.ndarray, side: int) -> np.ndarray:
    """Squares of ``side`` x ``side`` samples side by side, row by row: integers -128..127, (C, H, W), to int8 (1, h, w,
    side**2 * C). What is missing to whole squares repeats the last row and column."""
    channels, height, width = values.shape
    values = np.pad(values, ((0, 0), (0, -height % side), (0, -width % side)), mode="edge").astype(np.int8)
    h, w = values.shape[1] // side, values.shape[2] // side
    squares = values.reshape(channels, h, side, w, side).transpose(1, 3, 2, 4, 0)
    return np.ascontiguousarray(squares.reshape(1, h, w, side * side * channels))


def _channels_first(rows: np.ndarray) -> np.ndarray:
    return rows.transpose(2, 0, 1).astype(np.int64)


def _plane(parts: np.ndarray) -> np.ndarray:
    """(K, C, h, w) to (K, C * h, w)."""
    k, c, h, w = parts.shape
    return np.ascontiguousarray(parts).reshape(k, c * h, w)
