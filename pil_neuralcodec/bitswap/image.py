"""A whole image as one chain of blocks on one stack: what a ``.bsw`` file holds of it.

Bits-back borrows from the stack before it pushes, so the stack must not be empty. Random bits to begin with would be
paid for in the file. Instead, the image's tiles are cut in halves, again and again, wherever the stack cannot lend what
a block asks for, and the smallest blocks go to the stack as bytes that a direct coder makes of them. So blocks grow
with the stack: one direct block, one as large beside it, one twice as large, and so on to whole tiles.

Payload: CRC-32 of the pixels (u32, little endian); u8 number of the ordering; varints number of lanes and of heads
seeded; varint number of nodes, and all tiles' trees of cuts, in coding order, the first half of a cut before the
second, two bits a node: cut, network, direct by the predictor, direct and raw; a varint for each direct block's bytes;
the heads, as in a symbol stream; the words, bottom of the stack first.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from ..coders.lanes import ExhaustedError, Lanes, read_stack, write_stack
from ..coders.stream import MAX_LANES, lane_count
from ..container import Method
from ..errors import ChecksumError, FormatError
from ..flow.planes import from_planes, to_planes
from ..flow.tile import tile_size
from ..flow.tiles import tile_areas
from ..methods import choice, direct
from ..nets.backends import Network
from ..varint import read_varint, write_varint
from .architecture import BitswapArchitecture
from .coder import ORDERINGS, BlockCoder

_CUT_AREA = 4096
"""Blocks of at most so many pixels are not cut."""
_CUT_ALIGN = 16

Box = tuple[int, int, int, int]
"""(top, left, height, width)."""


class Node(IntEnum):
    """What is done with a block: by these numbers in files."""

    CUT = 0
    NETWORK = 1
    PREDICTOR = 2
    RAW = 3


_DIRECT = {Node.PREDICTOR: Method.PREDICTOR, Node.RAW: Method.RAW}
_NODE = {method: node for node, method in _DIRECT.items()}


@dataclass
class Report:
    """How an image was coded: the blocks that the direct coder made and their bytes, and the blocks of the network."""

    direct: list[Box] = field(default_factory=list)
    direct_bytes: int = 0
    network: list[Box] = field(default_factory=list)

    @property
    def direct_pixels(self) -> int:
        """Pixels of the direct blocks."""
        return sum(height * width for _, _, height, width in self.direct)


def encode_image(
    pixels: np.ndarray,
    network: Network[Any],
    architecture: BitswapArchitecture,
    ordering: str = ORDERINGS[0],
    report: Report | None = None,
) -> bytes:
    """Code an image uint8 (H, W, bands), bands 1 or 3. ``report`` is filled in where given."""
    chain = _Encoder(pixels, BlockCoder(architecture, network), ordering, report or Report())
    for box in _tiles(*pixels.shape[:2]):
        chain.place(box)
    return chain.payload()


class _Encoder:
    def __init__(self, pixels: np.ndarray, coder: BlockCoder, ordering: str, report: Report) -> None:
        self._pixels, self._coder, self._ordering, self._report = pixels, coder, ordering, report
        self._nodes: list[Node] = []
        self._sizes: list[int] = []
        self._lanes = Lanes(0)
        self._count = lane_count(pixels.size)
        self._seeded = 0

    def place(self, box: Box) -> None:
        """Code a block, or cut it."""
        top, left, height, width = box
        block = self._pixels[top : top + height, left : left + width]
        if self._push(block):
            self._nodes.append(Node.NETWORK)
            self._report.network.append(box)
        elif halves := cut(box):
            self._nodes.append(Node.CUT)
            for half in halves:
                self.place(half)
        else:
            self._report.direct.append(box)
            self._direct(np.ascontiguousarray(block))

    def _push(self, block: np.ndarray) -> bool:
        if not len(self._lanes.heads):
            return False
        trial = self._lanes.copy()
        try:
            self._coder.push(trial, to_planes(block[None])[0], self._ordering)
        except ExhaustedError:
            return False
        self._lanes = trial
        return True

    def _direct(self, block: np.ndarray) -> None:
        found = choice.smallest(block, methods=_NODE)
        assert found is not None  # raw holds everything
        method, payload = found
        self._nodes.append(_NODE[method])
        self._sizes.append(len(payload))
        self._report.direct_bytes += len(payload)
        self._lanes.stack.push(np.frombuffer(payload + bytes(len(payload) % 2), "<u2"))
        if not len(self._lanes.heads):
            self._seeded = self._lanes.widen(self._count)

    def payload(self) -> bytes:
        """All of it."""
        lanes, nodes = self._lanes, self._nodes
        codes = np.array([*nodes, *[0] * (-len(nodes) % 4)], np.uint8).reshape(-1, 4)
        out = bytearray(struct.pack("<IB", _checksum(self._pixels), ORDERINGS.index(self._ordering)))
        for number in (self._count, self._seeded, len(nodes)):
            out += write_varint(number)
        out += (codes << np.arange(0, 8, 2, dtype=np.uint8)).sum(axis=1, dtype=np.uint8).tobytes()
        for size in self._sizes:
            out += write_varint(size)
        return bytes(out + write_stack(lanes))


def decode_image(
    payload: bytes, height: int, width: int, bands: int, network: Network[Any], architecture: BitswapArchitecture
) -> np.ndarray:
    """Decode an image of ``encode_image``: uint8 (H, W, bands).

    Raises ``FormatError`` for malformed data and ``ChecksumError`` where pixels differ from what was encoded.
    """
    view = memoryview(payload)
    if len(view) < 5:
        raise FormatError("the image data ends before its checksum: the file is damaged or truncated")
    crc, number = struct.unpack_from("<IB", view)
    if number >= len(ORDERINGS):
        raise FormatError(f"unknown ordering {number}: the file is damaged, or was made by a newer version")
    ordering = ORDERINGS[number]
    count, at = read_varint(view, 5)
    seeded, at = read_varint(view, at)
    if not 1 <= count <= MAX_LANES:
        raise FormatError("the compressed data has an impossible number of lanes: the file is damaged")
    blocks, at = _read_blocks(view, at, height, width)
    lanes = read_stack(view, at, count)
    coder = BlockCoder(architecture, network)
    out = np.empty((height, width, bands), np.uint8)
    for position, (node, (top, left, h, w), size) in reversed(list(enumerate(blocks))):
        if position == 0:
            lanes.narrow(0, seeded)
        if node == Node.NETWORK:
            block = from_planes(coder.pop(lanes, bands, h, w, ordering)[None])[0]
        else:
            words = lanes.stack.pop((size + 1) // 2).astype("<u2").tobytes()
            if any(words[size:]):
                raise FormatError("the compressed data has non-zero padding: the file is damaged")
            block = direct.decode(_DIRECT[node], words[:size], (h, w, bands), np.uint8)
        out[top : top + h, left : left + w] = block
    if lanes.stack.size:
        raise FormatError("the compressed data does not end where it should: the file is damaged")
    if _checksum(out) != crc:
        raise ChecksumError("the pixels differ from their checksum: the file is damaged")
    return out


def cut(box: Box) -> tuple[Box, Box] | None:
    """A block's halves, cut across its longer side at a multiple of ``_CUT_ALIGN``, or None for one too small."""
    top, left, height, width = box
    side = max(height, width)
    if height * width <= _CUT_AREA or side <= _CUT_ALIGN:
        return None
    half = -(-side // (2 * _CUT_ALIGN)) * _CUT_ALIGN
    if width == side:
        return (top, left, height, half), (top, left + half, height, width - half)
    return (top, left, half, width), (top + half, left, height - half, width)


def _tiles(height: int, width: int) -> list[Box]:
    return tile_areas(height, width, tile_size(height), tile_size(width))


def _read_blocks(view: memoryview, at: int, height: int, width: int) -> tuple[list[tuple[Node, Box, int]], int]:
    """Blocks in coding order, with the bytes of direct ones, and where their description ends."""
    count, at = read_varint(view, at)
    size = -(-count // 4)
    packed = np.frombuffer(view[at : at + size], np.uint8)
    if len(packed) < size:
        raise FormatError("the compressed data ends too early: the file is damaged or truncated")
    codes = ((packed[:, None] >> np.arange(0, 8, 2, dtype=np.uint8)) & 3).reshape(-1)
    nodes = iter(codes[:count].tolist())
    leaves = list(_leaves(_tiles(height, width), nodes))
    if next(nodes, None) is not None or codes[count:].any() or leaves[0][0] == Node.NETWORK:
        raise FormatError("the image's blocks are inconsistent: the file is damaged")
    at += size
    blocks = []
    for node, box in leaves:
        length = 0
        if node != Node.NETWORK:
            length, at = read_varint(view, at)
        blocks.append((node, box, length))
    return blocks, at


def _leaves(tiles: list[Box], nodes: Iterator[int]) -> Iterator[tuple[Node, Box]]:
    waiting = tiles[::-1]
    while waiting:
        box = waiting.pop()
        node = Node(next(nodes, Node.CUT))
        if node != Node.CUT:
            yield node, box
            continue
        halves = cut(box)
        if halves is None:
            raise FormatError("the image's blocks are inconsistent: the file is damaged")
        waiting += halves[::-1]


def _checksum(pixels: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(pixels).data)
