"""Integers of variable length in bytes, as headers, metadata and payloads hold them."""

from __future__ import annotations

from .errors import FormatError, TruncatedError

MAX_VALUE = 2**63 - 1


def write_varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits per byte, lowest first, the high bit set on all but the last.

    Raises ``ValueError`` outside 0 .. 2**63 - 1.
    """
    if not 0 <= value <= MAX_VALUE:
        raise ValueError(f"{value} is not between 0 and 2**63 - 1")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Unsigned LEB128 of at most 9 bytes at ``at``: (value, position behind it).

    Raises ``TruncatedError`` where the data end within it, ``FormatError`` for one that no writer makes.
    """
    value = shift = 0
    while True:
        if at >= len(data):
            raise TruncatedError("the compressed data ends too early: the file is damaged or truncated")
        if shift > 56:
            raise FormatError("a number of more than 63 bits: the file is damaged")
        byte = data[at]
        value |= (byte & 127) << shift
        shift += 7
        at += 1
        if byte < 128:
            if byte == 0 and shift > 7:
                raise FormatError("an overlong number: the file is damaged")
            return value, at
