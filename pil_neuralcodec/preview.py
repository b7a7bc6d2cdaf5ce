"""Which coarse level of an image makes a good thumbnail, and that level ready for resampling.

A level is the image decimated, which aliases. How much cannot be told from the size alone: one that serves a smooth
photograph well ruins foliage. The next coarser level aliases more, so a level is taken only where both of them give
nearly the same thumbnail.

What was a JPEG file has its lowest frequencies instead, which are means and do not alias.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from .reader import Reader
from .samples import Pixels

OVERSAMPLING: Final = 3.5
"""A thumbnail is made from a level at least about 4 times its size: 1000 pixels do for 256."""
REDUCED_OVERSAMPLING: Final = 2
"""One that is made of means, as from a JPEG file's coefficients, need not be as large."""
DRAFT_GAP: Final = 2
"""``Image.thumbnail`` asks ``draft`` for twice its size (``reducing_gap=2.0``)."""
AGREEMENT: Final = 36.0
"""Least PSNR in dB between the thumbnails of a level and the next coarser one. On the 24 Kodak images, at six sizes,
every level that was worse than 38 dB against the thumbnail of the whole image had 35.7 dB or less here."""


class Preview(NamedTuple):
    """``pixels`` uint8 (h, w, B), and the ``box`` (left, top, right, bottom) of the whole frame in them."""

    pixels: Pixels
    box: tuple[float, float, float, float]


def preview(reader: Reader, frame: int, size: tuple[int, int]) -> Preview | None:
    """A coarse version of a frame that is good for a thumbnail half as large as ``size`` (width, height), or None where
    only the whole frame will do."""
    spec = reader.header.frames[frame].spec
    ratio = max(spec.width / size[0], spec.height / size[1]) * DRAFT_GAP
    target = max(1, round(spec.width / ratio)), max(1, round(spec.height / ratio))
    level = sum(ratio >= REDUCED_OVERSAMPLING * 2**k for k in (1, 2, 3))
    found = reader.reduced(frame, level) if level else None
    if found is not None:
        pixels, (left, top) = found
        return Preview(pixels, (left, top, left + spec.width / 2**level, top + spec.height / 2**level))
    level = reader.max_level(frame)
    while level and ratio < OVERSAMPLING * 2**level:
        level -= 1
    for k in range(level, 0, -1):
        pixels = reader.frame(frame, level=k)
        ready = _centred(pixels, k)
        if _agreement(_resized(ready, target), _resized(_centred(pixels[::2, ::2], k + 1), target)) >= AGREEMENT:
            return Preview(ready, (0, 0, spec.width / 2**k, spec.height / 2**k))
    return None


def _centred(pixels: Pixels, level: int) -> Pixels:
    """Decimated pixels are the upper left ones: move them half a step less half a pixel, by linear interpolation."""
    whole, part = 2 ** (level + 1), 2**level - 1
    for axis in (0, 1):
        following = np.minimum(np.arange(pixels.shape[axis]) + 1, pixels.shape[axis] - 1)
        mixed = pixels.astype(np.int32) * (whole - part) + np.take(pixels, following, axis).astype(np.int32) * part
        pixels = ((mixed + whole // 2) // whole).astype(np.uint8)
    return pixels


def _resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    images = (Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(pixels, 2, 0))
    resized = [image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0) for image in images]
    return np.stack([np.asarray(image, np.float64) for image in resized])


def _agreement(a: Pixels, b: Pixels) -> float:
    """PSNR in dB."""
    return float(10 * np.log10(255**2 / max(float(np.mean((a - b) ** 2)), 1e-9)))
