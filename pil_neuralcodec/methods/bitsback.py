"""What the methods with bits-back share: a segment is one chain of blocks on one stack, decoded as a whole.

Bits-back borrows from the stack before it pushes, so the stack must not be empty. Random bits to begin with would be
paid for in the file. Instead, the first blocks go to the stack as bytes of a coder that borrows nothing, and lanes are
seeded from these bytes when the first block borrows.

A chunk is the colour header (see ``colour.past``) where there are three bands, and the CRC-32 of the pixels if a
conversion was undone; then the payload of a chain of planes.

Payload: CRC-32 of the pixels (u32, little-endian); varints: lanes (0 where no block borrows), and how many of them are
seeded; what the method says of its blocks; heads and words, as of a symbol stream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..coders.lanes import ExhaustedError, Lanes, read_stack, write_stack
from ..coders.stream import MAX_LANES
from ..colour.conversions import Past
from ..colour.past import ColourHeader, undo
from ..container import Method
from ..errors import ChecksumError, FormatError, TruncatedError
from ..flow.architecture import CHANNELS
from ..flow.tile import TILE
from ..nets.backends import Network
from ..varint import read_varint, write_varint
from .base import Coded, Pixels, Request, Shape

MAX_BYTES = 2**32
"""No block is of more bytes."""


def numbers(*values: int) -> bytes:
    """Varints, for ``ChainReader.number``."""
    return b"".join(map(write_varint, values))


class ChainWriter:
    """Puts blocks on a stack; ``count`` is the number of lanes."""

    def __init__(self, count: int) -> None:
        self.lanes = Lanes(0)
        self._count, self._seeded = count, 0

    def push_bytes(self, data: bytes) -> None:
        """Push a block that borrows nothing, as words."""
        self.lanes.stack.push(np.frombuffer(data + bytes(len(data) % 2), "<u2"))

    def push(self, push: Callable[[Lanes], object]) -> bool:
        """Push a block by bits-back; False, and nothing is changed, where the stack holds less than it borrows."""
        if not self.lanes.stack.size:
            return False
        lanes, seeded = self.lanes.copy(), self._seeded
        if not len(lanes.heads):
            seeded = lanes.widen(self._count)
        try:
            push(lanes)
        except ExhaustedError:
            return False
        self.lanes, self._seeded = lanes, seeded
        return True

    def payload(self, pixels: Pixels, blocks: bytes) -> bytes:
        """The chain's bytes; ``blocks`` is what the method says of its blocks."""
        start = struct.pack("<I", _checksum(pixels)) + numbers(len(self.lanes.heads), self._seeded)
        return start + blocks + write_stack(self.lanes)


class ChainReader:
    """Reads what ``ChainWriter`` wrote: what the method says of its blocks, then the stack, then the end.

    All of it raises ``FormatError`` for damage.
    """

    def __init__(self, payload: bytes) -> None:
        self._view, self._at = memoryview(payload), 0
        self._crc = struct.unpack("<I", self.take(4))[0]
        self._count = self.number("number of lanes", 0, MAX_LANES)
        self._seeded = self.number("number of seeds", 0, self._count)
        self._lanes = Lanes(0)

    def number(self, what: str, low: int, high: int) -> int:
        """A varint within ``low`` .. ``high``; ``what`` names it in the error."""
        value, self._at = read_varint(self._view, self._at)
        if not low <= value <= high:
            raise FormatError(f"the compressed data has an impossible {what}: the file is damaged")
        return value

    def take(self, size: int) -> bytes:
        """So many bytes of the description."""
        self._at += size
        if self._at > len(self._view):
            raise TruncatedError("the compressed data ends too early: the file is damaged or truncated")
        return bytes(self._view[self._at - size : self._at])

    def read_stack(self) -> None:
        """Read heads and words, which follow the description of the blocks."""
        self._lanes = read_stack(self._view, self._at, self._count)

    @property
    def lanes(self) -> Lanes:
        """For a block that borrows."""
        if not len(self._lanes.heads):
            raise FormatError("a block borrows bits where there are no lanes: the file is damaged")
        return self._lanes

    def narrow(self) -> None:
        """Give the lanes back, once the first block that borrowed is decoded."""
        self._lanes.narrow(0, self._seeded)

    def pop_bytes(self, size: int) -> bytes:
        """Pop a block that borrows nothing."""
        words = self._lanes.stack.pop((size + 1) // 2).astype("<u2").tobytes()
        if any(words[size:]):
            raise FormatError("the compressed data has non-zero padding: the file is damaged")
        return words[:size]

    def close(self, pixels: Pixels) -> None:
        """Check that everything was consumed, and that the pixels are those that were encoded."""
        if self._lanes.stack.size or len(self._lanes.heads):
            raise FormatError("the compressed data does not end where it should: the file is damaged")
        if _checksum(pixels) != self._crc:
            raise ChecksumError("the pixels differ from their checksum: the file is damaged")


def encode_segment(method: Method, pixels: Pixels, past: bool, encode: Callable[[Pixels], bytes]) -> Coded:
    """Code pixels uint8 (H, W, bands) by ``encode``, which makes the payload of planes of the same shape."""
    if pixels.shape[2] != CHANNELS:
        return Coded(method, (encode(pixels),))
    colour, planes = undo(pixels) if past else (ColourHeader(), pixels)
    start = colour.pack()
    if colour.past is not Past.NONE:
        start += struct.pack("<I", _checksum(pixels))
    return Coded(method, (start + encode(planes),))


def decode_segment(request: Request, kind: str, decode: Callable[[bytes, Shape, Network[Any], Any], Pixels]) -> None:
    """Decode a segment with a model of a kind.

    ``decode(payload, (height, width, bands), network, architecture)`` gives planes uint8.
    """
    request.check(np.uint8)
    model = request.model(kind)
    network, reference = request.network(model)
    architecture = model.architecture

    def twice(payload: bytes) -> Pixels:
        try:
            return decode(payload, request.shape, network, architecture)
        except FormatError:
            # The bytes are those that were written. If the device computed wrongly, the reference does better; that is
            # tried for what is no larger than a tile, so that a hostile file cannot make us decode megapixels twice.
            if reference is None or request.spec.height * request.spec.width > TILE * TILE:
                raise
            return decode(payload, request.shape, reference(), architecture)

    def pixels(chunk: bytes) -> Pixels:
        if request.shape[2] != CHANNELS:
            return twice(chunk)
        colour, rest = ColourHeader.unpack(memoryview(chunk))
        if colour.past is Past.NONE:
            return twice(bytes(rest))
        found = colour.rgb(twice(bytes(rest[4:])))
        if struct.pack("<I", _checksum(found)) != rest[:4]:
            raise ChecksumError("the pixels differ from their checksum: the file is damaged")
        return found

    request.paste_whole(pixels)


def _checksum(pixels: Pixels) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)
