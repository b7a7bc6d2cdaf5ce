"""The predictor's predictions: seven simple ones from causal neighbours, blended by their errors nearby.

See ``predictor`` for the whole. All arithmetic is on integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import isqrt

import numpy as np

# Neighbours as (wavefronts back, rows up); the pixel neighbours come first, in the order of ``predictors``.
W, N, NW, NE, WW, NN, NNE, NWW = (1, 0), (2, 1), (3, 1), (1, 1), (2, 0), (4, 2), (3, 2), (4, 1)
PIXELS = (W, N, NW, NE, WW, NN)
PREDICTORS = 7
LEVELS = 31
"""Levels of activity."""


def predictors(
    w: np.ndarray, n: np.ndarray, nw: np.ndarray, ne: np.ndarray, ww: np.ndarray, nn: np.ndarray
) -> np.ndarray:
    """The simple predictors, int32 (7, n), from the neighbours, int32 (n,)."""
    return np.stack([w, n, w + n - nw, ne, 2 * n - nn, w + ne - n, 2 * w - ww])


def blended(predictions: np.ndarray, misses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blend predictions, int32 (P, n), by the sums of errors that they made nearby, (P, n) from ``miss_sums``.

    Returns the blend, int32 (n,) in 0..255, and the disagreement of the predictions in eighths of a grey level.
    """
    weights = weight_table()[misses]
    total = weights.sum(axis=0)
    blend = (2 * np.einsum("pn,pn->n", weights, predictions) + total) // (2 * total)
    blend = np.minimum(np.maximum(blend, 0), 255).astype(np.int32)
    return blend, np.abs(predictions - blend).sum(axis=0) * 8 // len(predictions)


@cache
def weight_table() -> np.ndarray:
    """Weight of a predictor by its ``miss_sums`` s: 2**22 / (s / 2 + 2)**1.5, int64."""
    return np.array([isqrt((1 << 47) // (s + 4) ** 3) for s in range(14 * 255 + 1)], np.int64)


def miss_sums(
    w: np.ndarray,
    n: np.ndarray,
    nw: np.ndarray,
    ne: np.ndarray,
    ww: np.ndarray,
    nn: np.ndarray,
    nne: np.ndarray,
    nww: np.ndarray,
) -> np.ndarray:
    """Weighted sums, uint16 (P, n), of what the predictors missed by at the neighbours (uint16, at most 255)."""
    sums: np.ndarray = 2 * (w + n + nw + ne + ww + nn) + nne + nww
    return sums


def activity_level(finals: Iterable[np.ndarray], before: list[np.ndarray], disagreement: np.ndarray) -> np.ndarray:
    """The activity level, uint8 (n,): from final errors at the neighbours (in the order of ``PIXELS``), and at the
    same place in the bands before."""
    w, n, nw, ne, ww, nn = finals
    activity = 2 * (w + n) + nw + ne + ww + nn + disagreement * 3 // 8
    if len(before) == 1:
        activity = activity + 3 * before[0]
    elif before:
        activity = activity + 2 * before[-1] + before[-2]
    levels: np.ndarray = level_table()[np.minimum(activity, len(level_table()) - 1)]
    return levels


@cache
def level_table() -> np.ndarray:
    """Level of an activity: three for each octave of activity + 4."""
    thresholds = [next(a for a in range(1 << 13) if (a + 4) ** 3 >= 64 << j) for j in range(1, 31)]
    return np.searchsorted(np.array(thresholds), np.arange(thresholds[-1] + 1), side="right").astype(np.uint8)
