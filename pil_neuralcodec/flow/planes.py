"""Planes: images as flows see them, int32 (N, bands, h, w), with bands in coding order G, R, B, or a single one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .architecture import CHANNELS

BAND_ORDER = (1, 0, 2)
"""G is coded first, then R given G, then B given both."""


def to_planes(pixels: np.ndarray) -> np.ndarray:
    """Planes of images' pixels (N, h, w, bands), bands 1 or 3."""
    order = list(BAND_ORDER) if pixels.shape[3] == CHANNELS else [0]
    return np.ascontiguousarray(pixels[..., order].transpose(0, 3, 1, 2).astype(np.int32))


def from_planes(planes: np.ndarray, dtype: npt.DTypeLike = np.uint8) -> np.ndarray:
    """Inverse of ``to_planes``, as ``dtype``."""
    order = np.argsort(BAND_ORDER) if planes.shape[1] == CHANNELS else [0]
    return np.ascontiguousarray(planes[:, order].transpose(0, 2, 3, 1).astype(dtype))


def three_bands(planes: np.ndarray) -> np.ndarray:
    """Planes of a single band thrice, for networks that look at three bands."""
    return planes if planes.shape[1] == CHANNELS else np.repeat(planes, CHANNELS, axis=1)
