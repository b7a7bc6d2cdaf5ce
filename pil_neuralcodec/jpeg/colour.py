"""The luma and chroma that a colour came from.

JFIF's conversion adds to luma a number that depends on Cr alone (red), on Cb alone (blue), and on both (green). Where
nothing was limited to 0..255, a colour comes from one triple at most: one step of luma up takes one step down of both
Cr and Cb to keep red and blue, and green then rises by two or three. A quarter of all colours come from none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .transform import BLUE, RED, green_shift

Ints = npt.NDArray[np.int64]

_REACH = 512
_NONE = -1
OPEN = 1 << 12
"""How far beyond 0 or 255 a sample may lie that was limited."""


def _inverse(table: npt.NDArray[Any]) -> Ints:
    """Index of each value of an increasing table, by value + 512; -1 where there is none."""
    out = np.full(2 * _REACH, _NONE, np.int64)
    out[table + _REACH] = np.arange(len(table))
    return out


_CR, _CB = _inverse(RED), _inverse(BLUE)


class Origin(NamedTuple):
    """``planes`` int64 (3, ...): luma, Cb, Cr, exact where ``known``, bool (...), and near elsewhere."""

    planes: Ints
    known: npt.NDArray[np.bool_]


def origin(pixels: npt.NDArray[np.uint8]) -> Origin:
    """Where the colours (..., 3) came from."""
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    limited = ((pixels == 0) | (pixels == 255)).any(axis=-1)
    # Red, green and blue each err by at most half a step, so their weighted mean errs by at most one after rounding.
    middle = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    near = [
        middle,
        np.clip((-11059 * red - 21709 * green + 32768 * blue + 32768 >> 16) + 128, 0, 255),
        np.clip((32768 * red - 27439 * green - 5329 * blue + 32768 >> 16) + 128, 0, 255),
    ]
    planes, known = np.stack(near), np.zeros(middle.shape, bool)
    for luma in (middle, middle - 1, middle + 1):
        cr, cb = _CR[red - luma + _REACH], _CB[blue - luma + _REACH]
        fits = (cr >= 0) & (cb >= 0) & (luma >= 0) & (luma <= 255)
        fits &= luma + green_shift(np.maximum(cb, 0), np.maximum(cr, 0)) == green
        fits &= ~limited
        for plane, found in zip(planes, (luma, cb, cr), strict=True):
            np.copyto(plane, found, where=fits)
        known |= fits
    return Origin(planes, known)


def bounds(pixels: npt.NDArray[np.uint8], guess: Ints, component: int) -> tuple[Ints, Ints]:
    """What a component can be where the other two are as guessed, pixel by pixel.

    Parameters
    ----------
    pixels : uint8 (n, 3).
    guess : int (3, n), samples of all components.
    component : 0 luma, 1 Cb, 2 Cr.

    Returns
    -------
    The lowest and the highest sample, int64 (n,) each, beyond 0 and 255 by `OPEN` where the sample was limited itself.
    Where nothing fits, both are the guess as it would have to be for the bands on average.
    """
    values = np.arange(256)
    if component == 0:
        shifts = np.stack([RED[guess[2]], green_shift(guess[1], guess[2]), BLUE[guess[1]]], axis=-1)
        target = pixels.astype(np.int64) - shifts
        low = np.where(pixels == 0, -OPEN, target).max(axis=-1)
        high = np.where(pixels == 255, OPEN, target).min(axis=-1)
        wrong = low > high
        middle = (low + high) >> 1
        low, high = np.where(wrong, middle, low), np.where(wrong, middle, high)
    else:
        # Limited pixels are often of one colour, as white paper is.
        told = (guess[0], guess[3 - component], *pixels.T.astype(np.int64))
        keys = sum(value << 8 * place for place, value in enumerate(told))
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        pixels, guess = pixels[first], guess[:, first]
        low = np.empty(len(pixels), np.int64)
        high = np.empty(len(pixels), np.int64)
        for at in range(0, len(pixels), 4096):
            part = slice(at, at + 4096)
            luma, other = guess[0, part, None], guess[3 - component, part, None]
            band = luma + (BLUE if component == 1 else RED)[values]
            green = luma + (green_shift(values, other) if component == 1 else green_shift(other, values))
            seen = pixels[part].astype(np.int64)
            # The band that depends on this component alone says more than green.
            miss = 4 * np.abs(np.clip(band, 0, 255) - (seen[:, 2:] if component == 1 else seen[:, :1]))
            miss = miss + np.abs(np.clip(green, 0, 255) - seen[:, 1:2])
            best = miss == miss.min(axis=1, keepdims=True)
            low[part], high[part] = best.argmax(axis=1), 255 - best[:, ::-1].argmax(axis=1)
        low, high = low[inverse], high[inverse]
    low = np.where(low <= 0, -OPEN, low)
    high = np.where(high >= 255, OPEN, high)
    return np.minimum(low, 255), np.maximum(high, 0)
