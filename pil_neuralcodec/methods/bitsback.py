"""What the methods with bits-back share: a chunk is a chain of blocks on one stack, decoded as a whole.

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
from ..errors import FormatError, TruncatedError
from ..flow.architecture import CHANNELS
from ..nets.backends import Network
from ..varint import read_varint, write_varint
from .base import Pixels, Request, Shape, check, checksum
from .tiles import Decode

MAX_BYTES = 2**32
"""No block is of more bytes."""


def numbers(*values: int) -> bytes:
    """Varints, for ``ChainReader.number``."""
    return b"".join(map(write_varint, values))


def push_bytes(lanes: Lanes, data: bytes) -> None:
    """Push what borrows nothing, as words."""
    lanes.stack.push(np.frombuffer(data + bytes(len(data) % 2), "<u2"))


class ChainWriter:
    """Puts blocks of an image's pixels on a stack, which are pushed on ``lanes`` or by ``push``."""

    def __init__(self, pixels: Pixels) -> None:
        self.lanes = first_lane(checksum(pixels))

    def push(self, push: Callable[[Lanes], object]) -> bool:
        """Push by bits-back; False, and nothing is changed, where the stack holds less than is borrowed."""
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
        """Undo ``push_bytes``."""
        words = self.lanes.stack.pop((size + 1) // 2).astype("<u2").tobytes()
        if any(words[size:]):
            raise FormatError("the compressed data has non-zero padding: the file is damaged")
        return words[:size]

    def close(self, pixels: Pixels) -> None:
        """Check that everything was consumed, and that the pixels are those that were encoded."""
        check(pixels, last_told(self.lanes))


def encode_chunk(
    pixels: Pixels, past: bool, encode: Callable[[Pixels, ColourHeader], bytes], lattices: bool = False
) -> bytes:
    """The chunk of pixels uint8 (H, W, bands).

    ``encode`` makes the payload of planes of the same shape, whose colours are as it is told; ``lattices``: that of a
    conversion may be a prior."""
    if pixels.shape[2] != CHANNELS:
        return encode(pixels, ColourHeader())
    colour, planes = undo(pixels, lattices) if past else (ColourHeader(), pixels)
    start = colour.pack()
    if colour.past is not Past.NONE:
        start += struct.pack("<I", checksum(pixels))
    return start + encode(planes, colour)


def decode_chunk(
    chunk: bytes, shape: Shape, decode: Callable[[bytes, Shape, ColourHeader], Pixels], lattices: bool = False
) -> Pixels:
    """The inverse of ``encode_chunk``; ``lattices``: there may be one. Raises ``FormatError``."""
    if shape[2] != CHANNELS:
        return decode(chunk, shape, ColourHeader())
    colour, rest = ColourHeader.unpack(memoryview(chunk), lattices)
    if colour.past is Past.NONE:
        return decode(bytes(rest), shape, colour)
    found = colour.rgb(decode(bytes(rest[4:]), shape, colour))
    check(found, int.from_bytes(rest[:4], "little"))
    return found


def decode_segment(
    request: Request,
    kind: str,
    decode: Callable[[bytes, Shape, Network[Any], Any, ColourHeader], Pixels],
    lattices: bool = False,
) -> None:
    """Decode the chunks that are wanted of a segment with a model of a kind.

    ``decode(payload, (height, width, bands), network, architecture, colour)`` gives planes uint8.
    """
    request.check(np.uint8)
    model, bands = request.model(kind), request.segment.bands[1]

    def decoder(network: Network[Any]) -> Decode:
        def planes(payload: bytes, shape: Shape, colour: ColourHeader) -> Pixels:
            return decode(payload, shape, network, model.architecture, colour)

        return lambda chunks, sides: [decode_chunk(chunk, (*sides, bands), planes, lattices) for chunk in chunks]

    request.paste_tiles(model, decoder)
