"""Pixels that a JPEG file was decoded to, as its coefficients.

Layout: u8 mode (1: rows of chroma are halved, 2: columns are, 4: by the triangle filter, 8: there are exceptions, 16:
chroma goes on below the image, where 1 and 4 are set, 32: right of it, where 2 and 4 are);
u8 rows and u8 columns of the grid above and left of the image; for luma and, in three bands, for chroma a table: u8
quality of the scaled table of Annex K, or 0 and a varint for each step in zigzag order; where there are exceptions,
their header; then a symbol stream of coefficients and exceptions, which tells the CRC-32 of the pixels. See `jpeg` for
what they are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..coders.stream import SymbolReader, SymbolWriter
from ..errors import FormatError, TruncatedError
from ..jpeg import coefficients, exceptions, quantisation
from ..jpeg.contexts import ZIGZAG
from ..jpeg.layout import Layout
from ..jpeg.recover import recover
from ..varint import read_varint, write_varint
from .base import check, checksum

_ROWS, _COLUMNS, _FANCY, _EXCEPTIONS, _BELOW, _RIGHT = 1, 2, 4, 8, 16, 32
_BASES = quantisation.LUMA, quantisation.CHROMA
_WORTH = 2
"""Exceptions may be half of a payload: beyond that an image is no JPEG's."""
_SURE = 10
"""One tile of so many may be wrong where a JPEG file shows."""
_PASTED = 64
"""Tiles, out of 2**16, that may be wrong in a version made without exceptions."""


def encode(pixels: np.ndarray, *, ones: bool = True) -> bytes | None:
    """The body for ``pixels`` (H, W, 1 or 3) uint8 that came from a JPEG file; ``None`` for all others, and for files
    of quality 100 unless ``ones``."""
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3):
        return None
    found = recover(pixels, ones=ones)
    if found is None:
        return None
    left = exceptions.Exceptions(pixels, found.decoded)
    layout, tables, known = found.layout, found.tables, found.coefficients
    del found  # the decoded pixels, which large images have no room for
    writer = SymbolWriter()
    coefficients.transfer(coefficients.Writer(writer), layout, tables, known)
    header = b""
    if left:
        numbers = left.header()
        header = numbers.pack()
        left.put(writer, numbers)
    stream = writer.finish(checksum(pixels))
    if left and left.bits(numbers) * _WORTH > 8 * len(stream):
        return None
    return _head(layout, tables, bool(left)) + header + stream


def is_sure(body: bytes, shape: tuple[int, int, int]) -> bool:
    """Whether a body for pixels of this shape shows a JPEG file: steps beyond 1, and few exceptions. No other method
    then makes less of it."""
    _, tables, numbers, _ = _opened(memoryview(body), shape, np.dtype(np.uint8))
    few = numbers is None or numbers.shares[0, 1:].sum() * _SURE < 1 << 16
    return bool(few and tables[0].max() > 1)


def _head(layout: Layout, tables: list[npt.NDArray[np.int64]], has_exceptions: bool) -> bytes:
    mode = _ROWS * (layout.vertical == 2) | _COLUMNS * (layout.horizontal == 2)
    mode |= _FANCY * (mode > 0 and layout.fancy) | _EXCEPTIONS * has_exceptions
    mode |= _BELOW * layout.below | _RIGHT * layout.right
    out = bytearray([mode, layout.top, layout.left])
    for table, base in zip(tables[:2], _BASES, strict=False):
        steps = table.reshape(64)
        quality = next((q for q in range(1, 101) if (quantisation.scaled(base, q) == steps).all()), 0)
        out.append(quality)
        if not quality:
            out += b"".join(write_varint(int(steps[frequency])) for frequency in ZIGZAG)
    return bytes(out)


def decode(body: memoryview, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Inverse of ``encode``. Raises ``FormatError`` for damage."""
    layout, tables, numbers, symbols = _opened(body, shape, dtype)
    reader = SymbolReader(symbols)
    found = coefficients.transfer(coefficients.Reader(reader), layout, tables, None)
    decoded = layout.pixels(found, tables)
    if numbers is not None:
        decoded = exceptions.get(reader, numbers, decoded)
    check(decoded, reader.told())
    return decoded


def reduced(body: memoryview, shape: tuple[int, int, int], level: int) -> tuple[np.ndarray, tuple[float, float]] | None:
    """A smaller version, as of ``Layout.reduced``, for a fraction of the cost; ``None`` where something was pasted in,
    which coefficients do not say. Raises ``FormatError`` for damage."""
    layout, tables, numbers, symbols = _opened(body, shape, np.dtype(np.uint8))
    if numbers is not None and numbers.shares[0, -1] > _PASTED:
        return None
    side = 8 >> level
    count = 1 + ZIGZAG.index(9 * (side - 1))  # up to the highest frequency, of both directions, that is needed
    found = coefficients.transfer(coefficients.Reader(SymbolReader(symbols)), layout, tables, None, count)
    return layout.reduced(found, tables, level)


def _opened(
    body: memoryview, shape: tuple[int, int, int], dtype: np.dtype
) -> tuple[Layout, list[npt.NDArray[np.int64]], exceptions.Header | None, memoryview]:
    """What stands before the symbols, and these."""
    height, width, bands = shape
    if dtype != np.uint8 or bands not in (1, 3):
        raise FormatError("coefficients of a JPEG file can only give 1 or 3 bands of 8 bits")
    if len(body) < 3:
        raise TruncatedError("coefficients of a JPEG file: the data ends too early")
    mode, top, left = body[0], body[1], body[2]
    v, h = 1 + (mode & _ROWS), 1 + (mode & _COLUMNS) // _COLUMNS
    fancy, below, right = (bool(mode & flag) for flag in (_FANCY, _BELOW, _RIGHT))
    valid = mode < 64 and (bands == 3 or not mode & ~_EXCEPTIONS) and top < 8 * v and left < 8 * h
    valid &= fancy <= (v * h > 1) and below <= (fancy and v > 1) and right <= (fancy and h > 1)
    if not valid:
        raise FormatError("an impossible layout of a JPEG file: the file is damaged")
    layout = Layout(height, width, bands, top, left, v, h, fancy, below, right)
    tables, at = [], 3
    for base in _BASES[: 1 if bands == 1 else 2]:
        table, at = _table(body, at, base)
        tables.append(table.reshape(8, 8))
    if bands == 3:
        tables.append(tables[1])
    numbers = None
    if mode & _EXCEPTIONS:
        if len(body) < at + exceptions.SIZE:
            raise TruncatedError("coefficients of a JPEG file: the data ends too early")
        numbers = exceptions.Header.unpack(body[at : at + exceptions.SIZE])
        at += exceptions.SIZE
    return layout, tables, numbers, body[at:]


def _table(body: memoryview, at: int, base: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], int]:
    if at >= len(body):
        raise TruncatedError("coefficients of a JPEG file: the data ends too early")
    quality, at = body[at], at + 1
    if quality > 100:
        raise FormatError("a JPEG quality above 100: the file is damaged")
    if quality:
        return quantisation.scaled(base, quality), at
    table = np.zeros(64, np.int64)
    for frequency in ZIGZAG:
        step, at = read_varint(body, at)
        if not 1 <= step <= quantisation.MAX_STEP:
            raise FormatError("an impossible quantisation step: the file is damaged")
        table[frequency] = step
    return table, at
