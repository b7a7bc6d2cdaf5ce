"""Planes: the samples of images as int32 (N, bands, h, w), with bands in the coding order G, R, B, or a single band."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .architecture import CHANNELS

BAND_ORDER = (1, 0, 2)
"""G is coded first, then R given G, then B given both."""


def coding_order(bands: int) -> list[int]:
    """Which of 1 or 3 bands is coded first, and so on."""
    return list(BAND_ORDER) if bands == CHANNELS else [0]


def to_planes(pixels: np.ndarray) -> np.ndarray:
    """Planes of pixels (N, h, w, bands), bands 1 or 3."""
    return np.ascontiguousarray(pixels[..., coding_order(pixels.shape[3])].transpose(0, 3, 1, 2).astype(np.int32))


def from_planes(planes: np.ndarray, dtype: npt.DTypeLike = np.uint8) -> np.ndarray:
    """Pixels (N, h, w, bands) of ``dtype`` from planes: the inverse of ``to_planes``."""
    order = np.argsort(BAND_ORDER) if planes.shape[1] == CHANNELS else [0]
    return np.ascontiguousarray(planes[:, order].transpose(0, 2, 3, 1).astype(dtype))


def three_bands(planes: np.ndarray) -> np.ndarray:
    """Planes with three bands, for the input of networks: a single band is repeated."""
    return planes if planes.shape[1] == CHANNELS else np.repeat(planes, CHANNELS, axis=1)
