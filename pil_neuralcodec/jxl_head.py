"""What the header of a JPEG XL file says of its samples: ISO/IEC 18181-1, image headers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

CODESTREAM, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"


class Head(NamedTuple):
    """Bits of a sample, whether samples are floats, whether there are several frames, and bands besides the colours."""

    bits: int = 8
    is_float: bool = False
    is_animated: bool = False
    extra: int = 0


def read(head: bytes) -> Head | None:
    """The header in the first bytes of a file; None where it is not there, or goes on behind them."""
    start = _codestream(head)
    if start is None:
        return None
    bits = _Bits(head[start + 2 : start + 66])
    try:
        return _read(bits)
    except ValueError:
        return None


def _codestream(head: bytes) -> int | None:
    """Where the codestream begins: in a container, in its first box of that."""
    if head.startswith(CODESTREAM):
        return 0
    at = 0
    while head.startswith(CONTAINER) and at + 8 <= len(head):
        size, kind = struct.unpack_from(">I4s", head, at)
        begin = at + 8
        if size == 1 and at + 16 <= len(head):
            (size,) = struct.unpack_from(">Q", head, begin)
            begin += 8
        if kind in (b"jxlc", b"jxlp"):
            begin += 4 * (kind == b"jxlp")
            return begin if head[begin : begin + 2] == CODESTREAM else None
        if size < begin - at:
            return None
        at += size
    return None


class _Bits:
    """Bits of bytes, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """One of four (offset, bits)."""
        offset, bits = choices[self.take(2)]
        return offset + self.take(bits)


def _read(bits: _Bits) -> Head:
    _skip_size(bits, ((1, 9), (1, 13), (1, 18), (1, 30)), lambda: 1 + bits.take(5))
    if bits.take(1):
        return Head()
    is_animated = False
    if bits.take(1):
        bits.take(3)
        if bits.take(1):
            _skip_size(bits, ((1, 9), (1, 13), (1, 18), (1, 30)), lambda: 1 + bits.take(5))
        if bits.take(1):  # a preview
            eighths = (16, 0), (32, 0), (1, 5), (33, 9)
            _skip_size(bits, ((1, 6), (65, 8), (321, 10), (1345, 12)), lambda: bits.choose(*eighths))
        if bits.take(1):
            is_animated = True
            bits.choose((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.choose((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.choose((0, 0), (0, 3), (0, 16), (0, 32))
            bits.take(1)
    is_float = bool(bits.take(1))
    if is_float:
        depth = bits.choose((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
    else:
        depth = bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
    bits.take(1)
    return Head(depth, is_float, is_animated, bits.choose((0, 0), (1, 0), (2, 4), (1, 12)))


def _skip_size(bits: _Bits, sides: tuple[tuple[int, int], ...], eighths: Callable[[], int]) -> None:
    """A height and a width: multiples of 8, or anything; the width may be told as a ratio."""
    small = bits.take(1)
    side = eighths if small else lambda: bits.choose(*sides)
    side()
    if not bits.take(3):
        side()
