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
_PRIOR_SHARE = 3, 8
"""How many have to be for the lattice to be a prior. By chance it is a quarter at most."""
_LATTICE = 8
"""Added to the number of a conversion whose lattice is a prior."""
_MARGIN = 2
"""How many times the price of exceptions has to be gained, for what is gained is an estimate."""
_ROWS = 8
"""Of so many rows two tell what is gained."""


class ColourHeader(NamedTuple):
    """What is told of a tile's colours, or of a whole image's: the conversion that was undone, and its exceptions as of
    ``pack_exceptions``; or one that was not, but whose ``lattice`` is a prior of the pixels.

    Layout: u8 number of the conversion; if it is not 0, a varint, the exceptions' bytes, and they. Of a lattice: u8
    number of the conversion plus 8.
    """

    past: Past = Past.NONE
    exceptions: bytes = b""
    lattice: Past = Past.NONE

    @property
    def is_plain(self) -> bool:
        """Whether colours are neither converted nor weighed by a lattice."""
        return self.past is Past.NONE and self.lattice is Past.NONE

    def pack(self) -> bytes:
        """For ``unpack``."""
        if self.lattice is not Past.NONE:
            return bytes([_LATTICE + self.lattice])
        if self.past is Past.NONE:
            return bytes([self.past])
        return bytes([self.past]) + write_varint(len(self.exceptions)) + self.exceptions

    @staticmethod
    def unpack(view: memoryview, lattices: bool = False) -> tuple[ColourHeader, memoryview]:
        """What ``pack`` wrote at the beginning, and what follows; ``lattices``: there may be one. Raises
        ``FormatError``."""
        number, at = read_varint(view, 0)
        if lattices and number - _LATTICE in tuple(Past)[1:]:
            return ColourHeader(lattice=Past(number - _LATTICE)), view[at:]
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


def undo(rgb: np.ndarray, lattices: bool = False) -> tuple[ColourHeader, np.ndarray]:
    """Undo the conversion that an image, uint8 (h, w, 3), has been through, if there is one and it is worth it: what
    has to be told, and the planes (h, w, 3).

    ``lattices``: where nothing is undone, the lattice that more pixels lie on than by chance is told."""
    likeliest = _likeliest(rgb)
    past = likeliest.past
    if likeliest.has(_SHARE):
        planes = conversion(past).to_planes(rgb)
        header = ColourHeader(past, pack_exceptions(rgb, conversion(past).to_rgb(planes)))
        if _MARGIN * len(header.exceptions) < gain(rgb, planes):
            return header, planes
    return ColourHeader(lattice=past if lattices and likeliest.has(_PRIOR_SHARE) else Past.NONE), rgb


def find_past(rgb: np.ndarray) -> Past:
    """The conversion on whose lattice a sample of an image's pixels, uint8 (h, w, 3), lies."""
    likeliest = _likeliest(rgb)
    return likeliest.past if likeliest.has(_SHARE) else Past.NONE


def has_lattice(rgb: np.ndarray) -> bool:
    """Whether more of a sample of an image's pixels, uint8 (h, w, 3), than by chance lie on a conversion's lattice."""
    return _likeliest(rgb).has(_PRIOR_SHARE)


class _Likeliest(NamedTuple):
    """A conversion, and how many of so many pixels asked are on its lattice."""

    past: Past
    on: int
    asked: int

    def has(self, share: tuple[int, int]) -> bool:
        """Whether it is a share of them, (numerator, denominator)."""
        return self.past is not Past.NONE and self.on * share[1] >= self.asked * share[0]


def _likeliest(rgb: np.ndarray) -> _Likeliest:
    pixels = rgb.reshape(-1, 3)
    pixels = pixels[:: -(-len(pixels) // _LOOKED_AT) | 1]
    lowest, highest = pixels.min(axis=1), pixels.max(axis=1)
    telling = pixels[(lowest > 0) & (highest < 255) & (lowest < highest)]
    telling = telling[:: max(1, len(telling) // _ASKED)]
    if len(telling) < _ENOUGH:
        return _Likeliest(Past.NONE, 0, len(telling))
    found = {past: int(conversion(past).covers(telling).sum()) for past in Past if past is not Past.NONE}
    best = max(found, key=found.__getitem__)
    return _Likeliest(best, found[best], len(telling))


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
