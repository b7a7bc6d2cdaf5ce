"""What the methods with bits-back share: a segment is one chain of blocks on one stack, decoded as a whole.

Bits-back borrows from the stack before it pushes, so the stack must not be empty. Random bits to begin with would be
paid for in the file. Instead, the first blocks go to the stack by a coder that borrows nothing, and what they leave
there seeds the lanes on which the others are coded. What the first lane starts with is the CRC-32 of the pixels.

A chunk is the colour header (see ``colour.past``) where there are three bands, and the CRC-32 of the pixels if a
conversion was undone; then the payload of a chain of planes.

Payload: what the method says of its blocks; then the lanes, as of a symbol stream.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from ..coders.lanes import ExhaustedError, Lanes
from ..coders.stream import first_lane, last_told, read_narrowings
from ..coders.widths import read_lanes, write_lanes
from ..colour.conversions import Past
from ..colour.past import ColourHeader, undo
from ..container import Method
from ..errors import FormatError, TruncatedError
from ..flow.architecture import CHANNELS
from ..flow.tile import TILE
from ..nets.backends import Network
from ..varint import read_varint, write_varint
from .base import Coded, Pixels, Request, Shape, check, checksum

MAX_BYTES = 2**32
"""No block is of more bytes."""


def numbers(*values: int) -> bytes:
    """Varints, for ``ChainReader.number``."""
    return b"".join(map(write_varint, values))


class ChainWriter:
    """Puts blocks of an image's pixels on a stack, which are pushed on ``lanes`` or by a method below."""

    def __init__(self, pixels: Pixels) -> None:
        self.lanes = first_lane(checksum(pixels))

    def push_bytes(self, data: bytes) -> None:
        """Push a block that borrows nothing, as words."""
        self.lanes.stack.push(np.frombuffer(data + bytes(len(data) % 2), "<u2"))

    def push(self, push: Callable[[Lanes], object]) -> bool:
        """Push a block by bits-back; False, and nothing is changed, where the stack holds less than it borrows."""
        lanes = self.lanes.copy()
        try:
            push(lanes)
        except ExhaustedError:
            return False
        self.lanes = lanes
        return True

    def payload(self, blocks: bytes) -> bytes:
        """The chain's bytes; ``blocks`` is what the method says of its blocks."""
        return blocks + write_lanes(self.lanes)


class ChainReader:
    """Reads what ``ChainWriter`` wrote: what the method says of its blocks, then the stack, then the end.

    All of it raises ``FormatError`` for damage.
    """

    def __init__(self, payload: bytes) -> None:
        self._view, self._at = memoryview(payload), 0
        self.lanes = Lanes(1)

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

    def narrowings(self) -> list[int]:
        """Where the lanes of a symbol stream narrow."""
        found, self._at = read_narrowings(self._view, self._at)
        return found

    def read_lanes(self, steps: int) -> None:
        """Read the lanes, widened ``steps`` times, which follow the description of the blocks."""
        self.lanes = read_lanes(self._view[self._at :], steps)

    def pop_bytes(self, size: int) -> bytes:
        """Pop a block that borrows nothing."""
        words = self.lanes.stack.pop((size + 1) // 2).astype("<u2").tobytes()
        if any(words[size:]):
            raise FormatError("the compressed data has non-zero padding: the file is damaged")
        return words[:size]

    def close(self, pixels: Pixels) -> None:
        """Check that everything was consumed, and that the pixels are those that were encoded."""
        check(pixels, last_told(self.lanes))


def encode_segment(method: Method, pixels: Pixels, past: bool, encode: Callable[[Pixels], bytes]) -> Coded:
    """Code pixels uint8 (H, W, bands) by ``encode``, which makes the payload of planes of the same shape."""
    if pixels.shape[2] != CHANNELS:
        return Coded(method, (encode(pixels),))
    colour, planes = undo(pixels) if past else (ColourHeader(), pixels)
    start = colour.pack()
    if colour.past is not Past.NONE:
        start += struct.pack("<I", checksum(pixels))
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
        check(found, int.from_bytes(rest[:4], "little"))
        return found

    request.paste_whole(pixels)
