"""Whether an image has been through a colour conversion, and the image with it undone.

Asked first are a few hundred pixels, of which an image that has not been through a conversion has a quarter at most on
its lattice by chance. Then all pixels are converted, and what is gained is compared with what exceptions cost.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import FormatError
from ..varint import read_varint, write_varint
from .conversions import Past, conversion
from .exceptions import apply_exceptions, pack_exceptions

_LOOKED_AT = 4096
_ASKED = 512
"""Pixels that are looked at, and how many of those that are neither gray nor clipped are asked."""
_ENOUGH = 64
_SHARE = 7, 8
"""Of the pixels asked, how many have to be on a lattice. Where fewer are, exceptions cost more than is gained."""
_MARGIN = 2
"""How many times the price of exceptions has to be gained, for what is gained is an estimate."""
_ROWS = 8
"""Of so many rows two tell what is gained."""


class ColourHeader(NamedTuple):
    """What is told of a tile's colours, or of a whole image's: the conversion that was undone, and its exceptions as of
    ``pack_exceptions``.

    Layout: u8 number of the conversion; if it is not 0, a varint, the exceptions' bytes, and they.
    """

    past: Past = Past.NONE
    exceptions: bytes = b""

    def pack(self) -> bytes:
        """For ``unpack``."""
        if self.past is Past.NONE:
            return bytes([self.past])
        return bytes([self.past]) + write_varint(len(self.exceptions)) + self.exceptions

    @staticmethod
    def unpack(view: memoryview) -> tuple[ColourHeader, memoryview]:
        """What ``pack`` wrote at the beginning, and what follows. Raises ``FormatError``."""
        number, at = read_varint(view, 0)
        if number not in tuple(Past):
            raise FormatError(f"an impossible colour conversion {number}: the file is damaged")
        if number == Past.NONE:
            return ColourHeader(), view[at:]
        size, at = read_varint(view, at)
        if len(view) < at + size:
            raise FormatError("the exceptions to a colour conversion end too early: the file is damaged or truncated")
        return ColourHeader(Past(number), bytes(view[at : at + size])), view[at + size :]

    def rgb(self, planes: np.ndarray, level: int = 0) -> np.ndarray:
        """The pixels, uint8 (h, w, 3), whose planes ``undo`` gave, at a level. Raises ``FormatError``."""
        if self.past is Past.NONE:
            return planes
        made = conversion(self.past).to_rgb(planes)
        apply_exceptions(self.exceptions, made, level)
        return made


def undo(rgb: np.ndarray) -> tuple[ColourHeader, np.ndarray]:
    """Undo the conversion that an image, uint8 (h, w, 3), has been through, if there is one and it is worth it: what
    has to be told, and the planes (h, w, 3)."""
    past = find_past(rgb)
    if past is not Past.NONE:
        planes = conversion(past).to_planes(rgb)
        header = ColourHeader(past, pack_exceptions(rgb, conversion(past).to_rgb(planes)))
        if _MARGIN * len(header.exceptions) < gain(rgb, planes):
            return header, planes
    return ColourHeader(), rgb


def find_past(rgb: np.ndarray) -> Past:
    """The conversion on whose lattice a sample of an image's pixels, uint8 (h, w, 3), lies."""
    pixels = rgb.reshape(-1, 3)
    pixels = pixels[:: -(-len(pixels) // _LOOKED_AT) | 1]
    lowest, highest = pixels.min(axis=1), pixels.max(axis=1)
    telling = pixels[(lowest > 0) & (highest < 255) & (lowest < highest)]
    telling = telling[:: max(1, len(telling) // _ASKED)]
    if len(telling) < _ENOUGH:
        return Past.NONE
    found = {past: int(conversion(past).covers(telling).sum()) for past in Past if past is not Past.NONE}
    best = max(found, key=found.__getitem__)
    return best if found[best] * _SHARE[1] >= len(telling) * _SHARE[0] else Past.NONE


def gain(rgb: np.ndarray, planes: np.ndarray) -> int:
    """About how many bytes planes save, both uint8 (h, w, 3), by the entropy of what a simple prediction misses."""
    height = len(rgb) // _ROWS * _ROWS
    if not height:
        return 0
    return (_sixteenths(rgb) - _sixteenths(planes)) * _ROWS // (16 * 8)


def _sixteenths(pixels: np.ndarray) -> int:
    """Bits, in 1/16, of two of ``_ROWS`` rows as differences to their neighbours."""
    height = len(pixels) // _ROWS * _ROWS
    above, rows = (pixels[first:height:_ROWS].astype(np.int16) for first in (0, 1))
    total = 0
    for part in (1, 0, 2):
        a, b = (side[..., part] if part == 1 else side[..., part] - side[..., 1] for side in (above, rows))
        missed = b[:, 1:] - b[:, :-1] - a[:, 1:] + a[:, :-1]
        counts = np.bincount(missed.reshape(-1) + 1024)
        total += _log(missed.size) * missed.size - sum(int(count) * _log(int(count)) for count in counts[counts > 0])
    return total


def _log(number: int) -> int:
    """16 log2 of a number, rounded down."""
    return (number**16).bit_length() - 1
