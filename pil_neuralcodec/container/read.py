"""Read the header and chunks of an open file and verify their checksums."""

from __future__ import annotations

import io
import zlib
from typing import Final

from ..errors import ChecksumError, FormatError, TruncatedError
from .layout import CRC_SIZE, MAX_PIXELS, ChunkRef, Header, ReadableFile
from .parse import header_size, parse_header

_FIRST_READ: Final = 64
_PIECE: Final = 2**20


def read_header(
    fp: ReadableFile, *, max_pixels: int | None = MAX_PIXELS, allow_truncated: bool = False
) -> Header[ChunkRef]:
    """Read the header of the file that starts at the present position of ``fp`` and ends where ``fp`` ends.

    Parameters
    ----------
    fp
        The open file. 64 bytes are read, then the rest of a longer header.
    max_pixels
        Limit on width x height of every frame, and on a quarter of its samples; None: no limit.
    allow_truncated
        Accept a file that ends after its header. ``read_chunk`` then raises for the chunks that are missing.

    Raises
    ------
    FormatError
        If it is not such a file, or damaged (``ChecksumError``), or incomplete (``TruncatedError``).
    LimitError
        If a size exceeds its limit.
    UnsupportedError
        If a newer version wrote the file.
    """
    start = fp.tell()
    data = _read(fp, _FIRST_READ)
    size = header_size(data)
    if size > len(data):
        data += _read(fp, size - len(data))
        if size > len(data):
            raise TruncatedError(f"the file is truncated in its header, at byte {len(data)} of {size}")
    header = parse_header(data[:size], start, max_pixels)
    fp.seek(0, io.SEEK_END)
    actual = fp.tell() - start
    if actual > header.file_size:
        raise FormatError(f"{actual - header.file_size} trailing bytes after the end of the file at {header.file_size}")
    if actual < header.file_size and not allow_truncated:
        raise TruncatedError(
            f"the file is truncated: it has {actual} of {header.file_size} bytes "
            "(Pillow's ImageFile.LOAD_TRUNCATED_IMAGES loads the tiles that survive)"
        )
    return header


def read_chunk(fp: ReadableFile, ref: ChunkRef) -> bytes:
    """The payload of a chunk. Raises ``TruncatedError`` if the file ends in it, ``ChecksumError`` if it is damaged."""
    fp.seek(ref.offset)
    data = _read(fp, ref.length)
    if len(data) < ref.length:
        raise _truncated(ref, len(data))
    _check_chunk(fp, ref, ref.crc(data))
    return data


def verify(fp: ReadableFile) -> Header[ChunkRef]:
    """Verify every checksum of the file that starts at the present position of ``fp``, in bounded memory.

    Returns the header. Raises as ``read_header`` and ``read_chunk``.
    """
    header = read_header(fp, max_pixels=None)
    for ref in header.chunks():
        fp.seek(ref.offset)
        crc, left = ref.crc(b""), ref.length
        while left:
            piece = _read(fp, min(left, _PIECE))
            if not piece:
                raise _truncated(ref, ref.length - left)
            crc, left = zlib.crc32(piece, crc), left - len(piece)
        _check_chunk(fp, ref, crc)
    return header


def _read(fp: ReadableFile, size: int) -> bytes:
    """``size`` bytes, or fewer at the end of the file; 1 MiB at a time, because a damaged length may be huge."""
    pieces = []
    while size > 0:
        piece = fp.read(min(size, _PIECE))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _truncated(ref: ChunkRef, got: int) -> TruncatedError:
    return TruncatedError(
        f"the file is truncated in chunk {ref.number} (at byte {ref.offset}), after {got} of {ref.length} bytes"
    )


def _check_chunk(fp: ReadableFile, ref: ChunkRef, crc: int) -> None:
    """Compare ``crc`` with the CRC stored at the present position of ``fp``."""
    stored = _read(fp, CRC_SIZE)
    if len(stored) < CRC_SIZE:
        raise TruncatedError(f"the file is truncated in the checksum of chunk {ref.number} (at byte {ref.offset})")
    if crc != int.from_bytes(stored, "little"):
        raise ChecksumError(f"chunk {ref.number} (at byte {ref.offset}, {ref.length} bytes) is damaged: wrong checksum")
