"""Colour conversions that images have been through, in integers, and their inverses.

RGB that a JPEG decoder, a video tool or a PhotoCD reader made of luma and chroma takes a small part of all triples: the
image of an integer conversion. Coded are the planes before it. A pixel of luma ``y`` and chroma ``cr``, ``cb`` (0 is
neutral) is held by the samples (y + cr, y, y + cb) in place of (R, G, B): so all three planes look like an image, and
gray stays gray. Where a channel was not clipped these sums are within 0 .. 255.

A conversion is defined for all planes, 2**24 of them. Of RGB that several planes give an encoder takes any; for RGB
that none gives it takes near ones, and the file says what differs (``exceptions``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from ..lazy import cached_property

_SAMPLES = np.arange(256)
_CHROMA = np.arange(-255, 256)
"""Differences of two samples; the index of chroma c in a table is 255 + c."""
_CHUNK = 1 << 14
"""Pixels at a time: what lies between fits into caches."""
_NEAR = (0, 1, -1)
"""Where luma may be, from what weights say of an RGB triple that was not clipped."""
_FAR = tuple(
    tuple(sign * step for step in range(*steps) for sign in (1, -1)) for steps in ((0, 2), (2, 5), (5, 12), (12, 33))
)
"""Where it is looked for if it was, until it is found."""


class Past(IntEnum):
    """The conversions of the format, by number."""

    NONE = 0
    JPEG = 1
    PHOTOCD = 2
    BT601 = 3
    BT709 = 4
    FULL601 = 5
    OPENCV601 = 6


@dataclass(frozen=True, eq=False)
class Conversion:
    """With ``x // unit`` rounded down and limited to 0 .. 255 a pixel's

        R = (luma[y] + red[cr]) // unit
        G = (luma[y] + green_cb[cb] + green_cr[cr]) // unit
        B = (luma[y] + blue[cb]) // unit

    Parameters
    ----------
    unit : what a step of RGB is in the tables.
    luma : int64 (256,).
    red, blue, green_cb, green_cr : int64 (511,), of chroma -255 .. 255. ``red`` and ``blue`` rise, the others fall.
    weights : what luma is of RGB in 1/65536, four integers: of R, G, B, and a constant.
    """

    unit: int
    luma: np.ndarray
    red: np.ndarray
    blue: np.ndarray
    green_cb: np.ndarray
    green_cr: np.ndarray
    weights: tuple[int, int, int, int]

    def to_rgb(self, planes: np.ndarray) -> np.ndarray:
        """RGB of planes, both uint8 (..., 3)."""
        flat = planes.reshape(-1, 3)
        rgb = np.empty_like(flat)
        for low in range(0, len(flat), _CHUNK):
            part, out = flat[low : low + _CHUNK], rgb[low : low + _CHUNK]
            row = part[:, 1].astype(np.intp) << 8
            at_red, at_blue = row | part[:, 0], row | part[:, 2]
            out[:, 0], out[:, 2] = self._red[at_red], self._blue[at_blue]
            out[:, 1] = self._limited(self._green_red[at_red] + self._green_blue[at_blue])
        return rgb.reshape(planes.shape)

    def to_planes(self, rgb: np.ndarray) -> np.ndarray:
        """Planes of RGB, both uint8 (..., 3): such that ``to_rgb`` gives it back, or something near where no planes
        do."""
        flat = rgb.reshape(-1, 3)
        planes, missed = np.empty_like(flat), []
        for low in range(0, len(flat), _CHUNK):
            part, out = flat[low : low + _CHUNK], planes[low : low + _CHUNK]
            at = np.flatnonzero(self._guess(part, out, 0))
            missed.append(at + low)
        lost = np.concatenate(missed)
        # Few colours are not found at once, each of many pixels where it is clipped.
        packed = flat[lost].astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
        colours, where = np.unique(packed, return_inverse=True)
        planes[lost] = self._search((colours[:, None] >> (16, 8, 0)).astype(np.uint8))[where]
        return planes.reshape(rgb.shape)

    def covers(self, rgb: np.ndarray) -> np.ndarray:
        """Which pixels, uint8 (n, 3), no channel 0 or 255, come out of the conversion: bool (n,).

        Without tables of two samples, which take longer to make than a few pixels to ask."""
        red, green, blue = rgb.astype(np.int64).T
        found = np.zeros(len(rgb), bool)
        for step in _NEAR:
            luma = self.luma[self._weighed(red, green, blue, step)]
            cr = np.minimum(np.searchsorted(self.red, red * self.unit - luma), len(_CHROMA) - 1)
            cb = np.minimum(np.searchsorted(self.blue, blue * self.unit - luma), len(_CHROMA) - 1)
            made = np.stack([self.red[cr], self.green_cb[cb] + self.green_cr[cr], self.blue[cb]])
            found |= ((luma + made) // self.unit == (red, green, blue)).all(axis=0)
        return found

    def _guess(self, rgb: np.ndarray, planes: np.ndarray, step: np.ndarray | int) -> np.ndarray:
        """Fill in ``planes`` (n, 3) of pixels (n, 3) with luma ``step`` from what weights say, and chroma that gives R
        and B: by how much RGB is missed, int32 (n,), the sum of three absolute values."""
        red, green, blue = (rgb[:, band].astype(np.int32) for band in range(3))
        luma = self._weighed(red, green, blue, step)
        row = luma << 8
        at_red = row | self._to_red[row | red]
        at_blue = row | self._to_blue[row | blue]
        planes[:, 0], planes[:, 1], planes[:, 2] = at_red & 255, luma, at_blue & 255
        made = self._limited(self._green_red[at_red] + self._green_blue[at_blue])
        missed: np.ndarray = abs(made - green) + abs(self._red[at_red] - red) + abs(self._blue[at_blue] - blue)
        return missed

    def _weighed(self, red: np.ndarray, green: np.ndarray, blue: np.ndarray, step: np.ndarray | int) -> np.ndarray:
        """Luma, ``step`` from what the weights say of RGB."""
        of_red, of_green, of_blue, constant = self.weights
        luma = (of_red * red + of_green * green + of_blue * blue + constant >> 16) + step
        return _limited(luma)

    def _search(self, colours: np.ndarray) -> np.ndarray:
        """Planes (n, 3) of colours (n, 3), of the nearest RGB there is."""
        planes = np.empty_like(colours)
        missed = self._guess(colours, planes, 0)
        clipped = ((colours == 0) | (colours == 255)).any(axis=1)
        for steps, wanted in ((_NEAR, ~clipped), *((steps, clipped) for steps in _FAR)):
            left = np.flatnonzero((missed > 0) & wanted)
            if not len(left):
                continue
            tried, error = self._candidates(colours[left], steps, wanted is clipped)
            best = error.argmin(axis=0), np.arange(len(left))
            better = error[best] < missed[left]
            planes[left[better]], missed[left[better]] = tried[best][better], error[best][better]
        return planes

    def _candidates(self, colours: np.ndarray, steps: tuple[int, ...], by_green: bool) -> tuple[np.ndarray, np.ndarray]:
        """Planes (c, n, 3) for colours (n, 3), the more likely first, and by how much they miss RGB, (c, n).

        ``by_green``: chroma may also be what gives G, where R or B is clipped."""
        count = len(colours)
        colours = np.tile(colours, (len(steps), 1))
        tried = np.empty_like(colours)
        errors, found = [self._guess(colours, tried, np.repeat(steps, count))], [tried]
        for part in (0, 2) if by_green else ():
            found.append(self._by_green(colours, tried, part))
            errors.append(abs(self.to_rgb(found[-1]).astype(np.int32) - colours).sum(axis=1))
        return (
            np.stack(found).reshape(-1, len(steps), count, 3).swapaxes(0, 1).reshape(-1, count, 3),
            np.stack(errors).reshape(-1, len(steps), count).swapaxes(0, 1).reshape(-1, count),
        )

    def _by_green(self, colours: np.ndarray, planes: np.ndarray, part: int) -> np.ndarray:
        """Planes (n, 3) with the chroma of one part, 0 or 2, such that it gives G."""
        luma, other = planes[:, 1].astype(np.int64), planes[:, 2 - part]
        falling, fixed = (self.green_cr, self.green_cb) if part == 0 else (self.green_cb, self.green_cr)
        # Of the chroma that gives G the greatest where the channel is 255, else the least.
        high = colours[:, part] == 255
        green = colours[:, 1].astype(np.int64) + 1 - high
        wanted = green * self.unit - 1 - self.luma[luma] - fixed[other - luma + 255]
        chroma = 256 - np.searchsorted(falling[::-1], wanted, side="right") - high
        changed = planes.copy()
        changed[:, part] = np.clip(luma + chroma, 0, 255)
        return changed

    def _by_sample(self, by_chroma: np.ndarray) -> np.ndarray:
        """A table of chroma as one of luma and the sample luma + chroma, (256, 256)."""
        table: np.ndarray = by_chroma[255 + _SAMPLES - _SAMPLES[:, None]]
        return table

    @cached_property
    def _red(self) -> np.ndarray:
        return _flat(self._limited(self.luma[:, None] + self._by_sample(self.red)), np.uint8)

    @cached_property
    def _blue(self) -> np.ndarray:
        return _flat(self._limited(self.luma[:, None] + self._by_sample(self.blue)), np.uint8)

    def _limited(self, sums: np.ndarray) -> np.ndarray:
        return _limited(sums // self.unit)

    @cached_property
    def _green_red(self) -> np.ndarray:
        return _flat(self.luma[:, None] + self._by_sample(self.green_cr), np.int32)

    @cached_property
    def _green_blue(self) -> np.ndarray:
        return _flat(self._by_sample(self.green_cb), np.int32)

    @cached_property
    def _to_red(self) -> np.ndarray:
        return self._inverse(self.red)

    @cached_property
    def _to_blue(self) -> np.ndarray:
        return self._inverse(self.blue)

    def _inverse(self, rising: np.ndarray) -> np.ndarray:
        """Of luma y and a channel's value the sample y + c whose chroma gives the nearest value, that of least chroma
        where several do: uint8 (65536,)."""
        sums = _SAMPLES * self.unit - self.luma[:, None]
        # Of the first chroma that gives at least the value, and the one before it, whichever is nearer.
        above = np.clip(np.searchsorted(rising, sums), 1, len(rising) - 1)
        more, less = (rising[above] - sums) // self.unit, (sums - rising[above - 1] - 1) // self.unit + 1
        chroma = np.where(less < more, _CHROMA[above - 1], _CHROMA[above])
        # At the ends of the range the value may be beyond them.
        chroma[:, 255] = np.maximum(_CHROMA[above[:, 255]], 0)
        chroma[:, 0] = np.minimum(_CHROMA[above[:, 1] - 1], 0)
        return _flat(_limited(_SAMPLES[:, None] + chroma), np.uint8)


def _limited(numbers: np.ndarray) -> np.ndarray:
    limited: np.ndarray = np.minimum(np.maximum(numbers, 0), 255)  # twice as fast as np.clip
    return limited


def _flat(table: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    flat: np.ndarray = table.astype(dtype).reshape(-1)
    return flat


def _jpeg() -> Conversion:
    """libjpeg's: JFIF, full range, 16 fractional bits (jdcolor.c)."""
    return Conversion(
        1 << 16,
        (_SAMPLES << 16) + (1 << 15),
        91881 * _CHROMA,
        116130 * _CHROMA,
        -22554 * _CHROMA,
        -46802 * _CHROMA,
        (19595, 38470, 7471, 1 << 15),
    )


def _photocd() -> Conversion:
    """PhotoCD's YCC, neutral at chroma 156 and 137 and so here at 0, as the Kodak suite was made."""
    red, blue = 18215 * _CHROMA, 22179 * _CHROMA
    return Conversion(
        10000,
        13584 * _SAMPLES,
        red,
        blue,
        -1940 * (blue // 10000),
        -5090 * (red // 10000),
        (14418, 28329, 5496, 47055),
    )


def _swscale(luma: int, chroma: tuple[int, int, int, int], weights: tuple[int, int, int, int]) -> Conversion:
    """ffmpeg's libswscale from 4:2:0 and 4:2:2 without scaling: every product is rounded down alone, in 13 bits.

    ``luma``, ``chroma``: slopes, the latter of red, blue, green_cb and green_cr. Full range has a slope of 1."""
    black = 16 if luma > 1 << 13 else 0
    red, blue, green_cb, green_cr = (_CHROMA * slope >> 13 for slope in chroma)
    return Conversion(1, (_SAMPLES - black) * luma >> 13, red, blue, green_cb, green_cr, weights)


def _opencv() -> Conversion:
    """OpenCV's from I420, NV12 and their like: limited range BT.601, 20 bits."""
    return Conversion(
        1 << 20,
        np.maximum(_SAMPLES - 16, 0) * 1220542 + (1 << 19),
        1673527 * _CHROMA,
        2116026 * _CHROMA,
        -409993 * _CHROMA,
        -852492 * _CHROMA,
        (16829, 33039, 6416, (16 << 16) + (1 << 15)),
    )


@cache
def conversion(past: Past) -> Conversion:
    """By number, other than ``Past.NONE``."""
    return _MAKERS[past]()


_MAKERS: Final[dict[Past, Callable[[], Conversion]]] = {
    Past.JPEG: _jpeg,
    Past.PHOTOCD: _photocd,
    Past.BT601: lambda: _swscale(9539, (13075, 16525, -3209, -6660), (16829, 33039, 6416, 1152565)),
    Past.BT709: lambda: _swscale(9539, (14686, 17305, -1747, -4366), (11966, 40254, 4064, 1156714)),
    Past.FULL601: lambda: _swscale(8192, (11485, 14516, -2819, -5850), (19595, 38470, 7471, 84735)),
    Past.OPENCV601: _opencv,
}
