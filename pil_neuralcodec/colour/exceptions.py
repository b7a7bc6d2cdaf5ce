"""Pixels that are not what a conversion makes of their planes.

Most lie where a channel was clipped, and so pixels are told apart by whether one is: two classes. In each the gaps
between exceptions are coded, of a walk that takes coarse levels first, as previews decode: those of every 2**5-th row
and column, then what every 2**4-th adds, and so on to the image. What RGB differs by is a symbol where it is by one at
most, else three digits.

Layout: a varint for each class, how many exceptions it has; then a symbol stream (``coders.stream``), empty where there
are none: for each class its gaps, then the differences of all exceptions.
"""

from __future__ import annotations

import numpy as np

from ..coders.static import get_numbers, get_symbols, put_numbers, put_symbols
from ..coders.stream import SymbolReader, SymbolWriter
from ..errors import FormatError
from ..varint import read_varint, write_varint

_TOP = 5
"""The level that the walk begins with."""
_CLASSES = 2
_OCTAVES = 32
_KINDS = np.array([9, 3, 1])
"""Differences of -1, 0, 1 in each channel are one symbol."""
_OTHER = int(_KINDS.sum())
"""The symbol of no difference at all, which stands for all others."""


def pack_exceptions(rgb: np.ndarray, made: np.ndarray) -> bytes:
    """What ``apply_exceptions`` needs to turn ``made`` into ``rgb``, both uint8 (h, w, 3): b"" where they are equal."""
    missed = _any(rgb != made)
    if not missed.any():
        return b""
    writer, found = SymbolWriter(), []
    for walk in _walks(made, 0):
        places = np.flatnonzero(missed[walk])
        put_numbers(writer, np.diff(places, prepend=-1) - 1, _OCTAVES)
        found.append(walk[places])
    at = np.concatenate(found)
    differences = (rgb.reshape(-1, 3)[at] - made.reshape(-1, 3)[at]).view(np.int8).astype(np.int64)
    near = (abs(differences) <= 1).all(axis=1)
    put_symbols(writer, np.where(near, (differences + 1) @ _KINDS, _OTHER), 2 * _OTHER + 1)
    writer.put_uniform(differences[~near].reshape(-1) & 255, 256)
    return b"".join(write_varint(len(one)) for one in found) + writer.finish()


def apply_exceptions(data: memoryview | bytes, made: np.ndarray, level: int = 0) -> None:
    """Put right ``made``, uint8 (h, w, 3), where it is what a conversion makes of planes at a level (every 2**level-th
    row and column). Raises ``FormatError`` for what ``pack_exceptions`` does not write."""
    if not len(data):
        return
    counts, at = [], 0
    for _ in range(_CLASSES):
        count, at = read_varint(data, at)
        counts.append(count)
    if sum(counts) > made.size << 2 * level:
        raise FormatError("more exceptions to a colour conversion than pixels: the file is damaged")
    reader = SymbolReader(memoryview(data)[at:])
    found = []
    for count, walk in zip(counts, _walks(made, level), strict=True):
        places = np.cumsum(get_numbers(reader, count, _OCTAVES) + 1) - 1
        inside = places < len(walk)
        if level == 0 and not inside.all():
            raise FormatError("an exception to a colour conversion lies outside of the image: the file is damaged")
        found.append((walk[places[inside]], inside))
    kinds = get_symbols(reader, sum(counts), 2 * _OTHER + 1)
    differences = kinds[:, None] // _KINDS % 3 - 1
    other = kinds == _OTHER
    differences[other] = reader.get_uniform(3 * int(other.sum()), 256).reshape(-1, 3)
    reader.close()
    pixels, inside = (np.concatenate(parts) for parts in zip(*found, strict=True))
    made.reshape(-1, 3)[pixels] += differences[inside].astype(np.uint8)


def _walks(made: np.ndarray, level: int) -> list[np.ndarray]:
    """For each class its pixels' numbers (row by row) in the order of the walk."""
    height, width = made.shape[:2]
    rows, columns = (_levels(side, _TOP - level) for side in (height, width))
    walk = np.argsort(-np.minimum(rows[:, None], columns).reshape(-1), kind="stable")
    clipped = _any(made + np.uint8(1) < 2)[walk]  # 255 + 1 is 0
    return [walk[~clipped], walk[clipped]]


def _any(flags: np.ndarray) -> np.ndarray:
    """Which pixels have a flag, of flags (h, w, 3): bool (h * w,)."""
    found: np.ndarray = flags[..., 0] | flags[..., 1] | flags[..., 2]  # much faster than any(axis=2)
    return found.reshape(-1)


def _levels(side: int, top: int) -> np.ndarray:
    """Of each row the coarsest level that has it, at most ``top``: int8 (side,)."""
    rows = np.arange(side)
    steps = (rows % (1 << level) == 0 for level in range(1, top + 1))
    return sum((step.astype(np.int8) for step in steps), np.zeros(side, np.int8))
