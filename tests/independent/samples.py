"""From stored samples to values. Page: Samples.

Stored samples are unsigned numbers of 8, 16 or 32 bits, row by row, the bands of a pixel side by side.
"""

from __future__ import annotations

import struct
import zlib

from .container import FLOAT, SIGNED, Image
from .numbers import check

_CODES = {1: "B", 2: "H", 4: "I"}


def pack(samples: list[int], size: int) -> bytes:
    """Samples as they lie in memory, little-endian."""
    return struct.pack(f"<{len(samples)}{_CODES[size]}", *samples)


def unpack(data: bytes, size: int) -> list[int]:
    """Inverse of ``pack``."""
    return list(struct.unpack(f"<{len(data) // size}{_CODES[size]}", data))


def crc_of(samples: list[int], size: int = 1) -> int:
    """The checksum of samples."""
    return zlib.crc32(pack(samples, size))


def values(stored: list[int], image: Image) -> list[int] | list[float]:
    """What stored samples mean."""
    if image.bits < 8:
        check(max(stored) >> image.bits == 0, "a sample has too many bits")
    size = -(-image.bits // 8)
    data = pack(stored, image.word_size)  # of 64 bits: the two words side by side, the low one first
    code = {1: "bB", 2: "hH", 4: "iI", 8: "qQ"}[size][image.kind != SIGNED]
    if image.kind == FLOAT:
        code = {2: "e", 4: "f", 8: "d"}[size]
    return list(struct.unpack(f"<{len(data) // size}{code}", data))


def from_sheet(sheet: list[int] | list[float], letters: str, sizes: tuple[int, ...]) -> list[int] | list[float]:
    """An array's values in C order of its own axes, from those of its sheet."""
    order = [letter for letter in letters if letter not in "YXC"] + ["Y", "X"] + ["C"] * ("C" in letters)
    strides, stride = {}, 1
    for letter in reversed(order):
        strides[letter] = stride
        stride *= sizes[letters.index(letter)]
    check(stride == len(sheet), "the axes do not fit the image")
    places = [0]
    for letter, size in zip(letters, sizes, strict=True):
        places = [place + index * strides[letter] for place in places for index in range(size)]
    return [sheet[place] for place in places]
