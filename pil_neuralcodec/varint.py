"""Integers of variable length in bytes, as headers and tile payloads hold them."""

from __future__ import annotations

from .errors import FormatError


def write_varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits per byte, lowest first, the high bit set on all but the last.

    Raises ``ValueError`` outside 0 .. 2**63 - 1.
    """
    if not 0 <= value < 2**63:
        raise ValueError(f"{value} is not between 0 and 2**63 - 1")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(view: memoryview, at: int) -> tuple[int, int]:
    """Unsigned LEB128 of at most 9 bytes at ``at``: (value, position behind it). Raises ``FormatError``."""
    value = shift = 0
    while True:
        if at >= len(view) or shift > 56:
            raise FormatError("the compressed data ends too early: the file is damaged or truncated")
        byte = view[at]
        value |= (byte & 127) << shift
        shift += 7
        at += 1
        if byte < 128:
            if byte == 0 and shift > 7:
                raise FormatError("the compressed data has an overlong number: the file is damaged")
            return value, at
