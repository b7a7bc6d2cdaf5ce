"""Classes of positions, whose log-scales side information may move: by brightness, and by predicted noise."""

from __future__ import annotations

import numpy as np

from ..coders.logistic import SCALE_MAX, SCALE_MIN
from .compiled import compiled
from .range_mapping import RangeMapping, numbers_of

CLASSES = 8
"""Classes of positions along an axis; see ``adaptation``."""


def classes(total: np.ndarray, weights: np.ndarray, scales: np.ndarray, mapping: RangeMapping | None) -> np.ndarray:
    """The class of every position, uint8 (1, h, w) of samples that are mapped, and (2, h, w) of others.

    ``total``, int32 (h, w), is the sum of the four nearest samples; ``weights`` and ``scales`` are those of mixtures,
    int32 (K, h, w).
    """
    work = compiled()
    if work is not None:
        total, weights, scales = (np.ascontiguousarray(part, np.int32) for part in (total, weights, scales))
        return work.classes(total, weights, scales, numbers_of(mapping))
    if mapping is not None:
        return mapping.brightness(total)[None]
    scale = (weights.astype(np.int64) * scales).sum(axis=0) >> 16
    noise = np.minimum(np.maximum(scale, SCALE_MIN), SCALE_MAX) - SCALE_MIN
    return np.stack([_ranked(total), _ranked(noise)])


def limited(
    scales: np.ndarray, least: int, largest: int, of: np.ndarray | None = None, offsets: np.ndarray | None = None
) -> np.ndarray:
    """Log-scales (K, h, w) clamped to ``least`` .. ``largest``, and then moved by ``offsets``, int (axes, CLASSES), of
    the classes ``of`` positions, uint8 (axes, h, w): int32 (K, h, w)."""
    work = compiled()
    if work is not None:
        given = np.ascontiguousarray(scales, np.int32)
        if of is None or offsets is None:
            return work.limited(given, least, largest, None, None)
        return work.limited(given, least, largest, np.ascontiguousarray(of), np.ascontiguousarray(offsets, np.int32))
    clamped: np.ndarray = np.minimum(np.maximum(scales, least), largest).astype(np.int32)
    if of is not None and offsets is not None:
        clamped += sum(table[of_class] for table, of_class in zip(offsets.astype(np.int32), of, strict=True))
    return clamped


def _ranked(numbers: np.ndarray) -> np.ndarray:
    """For each position the share of positions with smaller numbers, in 1/CLASSES: uint8 (h, w), from small numbers
    that are not negative."""
    counts = np.bincount(numbers.reshape(-1))
    ranked: np.ndarray = ((np.cumsum(counts) - counts) * CLASSES // numbers.size).astype(np.uint8)[numbers]
    return ranked
