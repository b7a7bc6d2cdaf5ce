"""Bytes read one field after the other."""

from __future__ import annotations

import struct


class DamagedError(Exception):
    """The file breaks a rule of the page."""


def check(condition: bool, rule: str) -> None:
    """Raise ``DamagedError`` where a rule does not hold."""
    if not condition:
        raise DamagedError(rule)


class Fields:
    """A cursor over bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        check(self.at + size <= len(self.data), "the data end too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def rest(self) -> bytes:
        """All that follows."""
        return self.take(len(self.data) - self.at)

    def done(self) -> bool:
        """Whether nothing follows."""
        return self.at == len(self.data)

    def u8(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def u16(self) -> int:
        """Two bytes, little-endian."""
        return int(struct.unpack("<H", self.take(2))[0])

    def u32(self) -> int:
        """Four bytes, little-endian."""
        return int(struct.unpack("<I", self.take(4))[0])

    def varint(self) -> int:
        """Unsigned LEB128."""
        value = shift = 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        check(value < 1 << 63 and (byte > 0 or shift == 7), "a varint is longer than needed")
        return value
