"""Which coarse level of an image makes a good thumbnail, and that level ready for resampling.

A level is the image decimated, which aliases. How much cannot be told from the size alone: one that serves a smooth
photograph well ruins foliage. Photographs look alike at all scales, so a level aliases in a thumbnail about as much as
the next coarser one in a thumbnail of half the size, and that is measured with the level alone.

What was a JPEG file has its lowest frequencies instead, which are means and do not alias.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from .reader import Reader
from .samples import Pixels

OVERSAMPLING: Final = 2
"""``Image.thumbnail`` asks ``draft`` for twice its size (``reducing_gap=2.0``), and a level has to have about that."""
SLACK: Final = 1.05
"""What a level may lack: a quarter of 4032 pixels, as telephones have them, is to do for a thumbnail of 512."""
AGREEMENT: Final = 32.0
"""Least PSNR in dB between the two thumbnails of half the size for levels but the finest of them. See below."""
LEAST_AGREEMENT: Final = 24.0
"""The same for level 1, which spares three quarters of the work. Of 111 photographs (CID22 and CLIC), thumbnails of a
quarter of the size all came from level 1, with 30.5 dB or more against those of the whole image and 42.5 dB in the
middle; of an eighth from level 1 or 2, with 33.7 and 40.4 dB."""


class Preview(NamedTuple):
    """``pixels`` uint8 (h, w, B), and the ``box`` (left, top, right, bottom) of the whole frame in them."""

    pixels: Pixels
    box: tuple[float, float, float, float]


def preview(reader: Reader, frame: int, size: tuple[int, int]) -> Preview | None:
    """A coarse version of a frame of about ``size`` or more (width, height), its aspect ratio kept, that is good for a
    thumbnail half as large; None where only the whole frame will do."""
    spec = reader.header.frames[frame].spec
    ratio = max(spec.width / size[0], spec.height / size[1])
    level = sum(SLACK * ratio >= 2**k for k in (1, 2, 3))
    found = reader.reduced(frame, level) if level else None
    if found is not None:
        pixels, (left, top) = found
        return Preview(pixels, (left, top, left + spec.width / 2**level, top + spec.height / 2**level))
    half = 2 * OVERSAMPLING * ratio
    target = max(1, round(spec.width / half)), max(1, round(spec.height / half))
    level = reader.max_level(frame)
    while level and SLACK * ratio < 2**level:
        level -= 1
    for k in range(level, 0, -1):
        pixels = reader.frame(frame, level=k)
        ready = _centred(pixels, k)
        agreement = _agreement(_resized(ready, target), _resized(_centred(pixels[::2, ::2], k + 1), target))
        if agreement >= (AGREEMENT if k > 1 else LEAST_AGREEMENT):
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
