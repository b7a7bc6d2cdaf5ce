"""Bit-Swap as a method: an image as one chain of blocks.

Where the stack cannot lend what a tile of the image borrows, a strip is cut off, which borrows less, and from a strip a
small block, which goes to the stack as bytes that a method without a network makes of it. So a photograph begins with
one direct block, the rest of its strip, and the rest of the tile; further tiles are whole.

What the payload of a chain (see ``bitsback``) says of the blocks: how many times lanes are widened for the first block
that borrows, the number of the ordering, and the JPEG block phase of the image (varints); then the trees of all tiles,
a varint for each node, the first part of a cut before the second: 0 for a cut, 1 for a block of the network; for a
direct block twice its bytes, plus 1 where they are of RAW and not of PREDICTOR.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..bitswap.architecture import BitswapArchitecture
from ..bitswap.coder import ORDERINGS, BlockCoder
from ..coders.lanes import Lanes
from ..coders.widths import FACTOR, MOST_STEPS, narrow_to_one, widen_by_steps, words_to_widen
from ..container import Method
from ..errors import FormatError
from ..flow.block_phase import BlockPhase
from ..flow.planes import from_planes, to_planes
from ..flow.tile import TileCoder, tile_size
from ..flow.tiles import tile_areas
from ..models import Model
from ..nets.backends import Network
from . import bitsback, choice, direct
from .base import Coded, Pixels, Request, Shape
from .bitsback import MAX_BYTES, ChainReader, ChainWriter, numbers

CUT, NETWORK = 0, 1
_DIRECT = (Method.PREDICTOR, Method.RAW)
_CUT = 16
"""Rows or columns that are cut off; blocks of no more are not cut."""
_STRIP, _LITTLE = 8192, 256
"""Blocks of at most so many pixels, which take so few bytes directly, are not cut: parts of them would lend nothing."""
_SEEDS = 2
"""One word in so many seeds lanes at most: seeds cannot be borrowed."""

Area = tuple[int, int, int, int]
"""(top, left, height, width)."""


def encode_segment(
    pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str, past: bool
) -> Coded | None:
    """Code uint8 pixels as one chunk; see ``base.Encoder``."""
    assert isinstance(model.architecture, BitswapArchitecture)
    if pixels.dtype != np.uint8:
        return None
    network, architecture = model.network(device), model.architecture
    return bitsback.encode_segment(
        Method.BITSWAP, pixels, past, lambda planes: encode_chain(planes, network, architecture, ordering)
    )


def decode_segment(request: Request) -> None:
    """Decode a segment; see ``base.Decoder``."""
    bitsback.decode_segment(request, "bitswap", decode_chain)


def encode_chain(
    pixels: Pixels, network: Network[Any], architecture: BitswapArchitecture, ordering: str = ORDERINGS[0]
) -> bytes:
    """Code an image uint8 (H, W, bands), bands 1 or 3; ``ordering`` is one of ``ORDERINGS``."""
    coder, chain = BlockCoder(architecture, network), ChainWriter(pixels)
    phase = TileCoder(architecture.likelihood, network).phase_of(to_planes(pixels[None])[0])
    steps, nodes = 0, list[int]()

    def put(area: Area) -> None:
        nonlocal steps
        top, left, height, width = area
        block = pixels[top : top + height, left : left + width]
        more = 0 if NETWORK in nodes else _steps(chain.lanes.stack.size)

        def push(lanes: Lanes) -> None:
            widen_by_steps(lanes, more)
            coder.push(lanes, to_planes(block[None])[0], ordering, phase.moved(top, left))

        if chain.push(push):
            nodes.append(NETWORK)
            steps += more
            return
        parts = cut(area)
        found = None if parts and height * width > _STRIP else choice.smallest(block, methods=_DIRECT)
        if parts and (found is None or len(found[1]) > _LITTLE):
            nodes.append(CUT)
            for part in parts:
                put(part)
        else:
            assert found is not None  # raw holds everything
            chain.push_bytes(found[1])
            nodes.append(2 * len(found[1]) + _DIRECT.index(found[0]))

    for area in _tiles(*pixels.shape[:2]):
        put(area)
    return chain.payload(numbers(steps, ORDERINGS.index(ordering), phase.number, *nodes))


def decode_chain(payload: bytes, shape: Shape, network: Network[Any], architecture: BitswapArchitecture) -> Pixels:
    """Decode an image of ``encode_chain``: uint8 of ``shape``.

    Raises ``FormatError`` for malformed data and ``ChecksumError`` where pixels differ from what was encoded.
    """
    chain, bands = ChainReader(payload), shape[2]
    steps, ordering, phase, blocks = read_blocks(chain, *shape[:2])
    chain.read_lanes(steps)
    coder = BlockCoder(architecture, network)
    out = np.empty(shape, np.uint8)
    first = next((number for number, (_, node) in enumerate(blocks) if node == NETWORK), None)
    for number, ((top, left, height, width), node) in reversed(list(enumerate(blocks))):
        if node == NETWORK:
            found = coder.pop(chain.lanes, (bands, height, width), ordering, phase.moved(top, left))
            block = from_planes(found[None])[0]
        else:
            block = direct.decode(_DIRECT[node % 2], chain.pop_bytes(node // 2), (height, width, bands), np.uint8)
        out[top : top + height, left : left + width] = block
        if number == first:
            narrow_to_one(chain.lanes)
    chain.close(out)
    return out


def read_blocks(chain: ChainReader, height: int, width: int) -> tuple[int, str, BlockPhase, list[tuple[Area, int]]]:
    """How many times lanes are widened, the ordering, the JPEG block phase, and the blocks in coding order with their
    nodes' numbers."""
    steps = chain.number("number of lanes", 0, MOST_STEPS)
    ordering = ORDERINGS[chain.number("ordering", 0, len(ORDERINGS) - 1)]
    phase = BlockPhase.numbered(chain.number("JPEG block phase", 0, MAX_BYTES))

    def leaves(area: Area) -> Iterator[tuple[Area, int]]:
        node = chain.number("block", 0, 2 * MAX_BYTES + 1)
        if node != CUT:
            yield area, node
            return
        parts = cut(area)
        if parts is None:
            raise FormatError("a block is cut that is too small: the file is damaged")
        for part in parts:
            yield from leaves(part)

    return steps, ordering, phase, [leaf for area in _tiles(height, width) for leaf in leaves(area)]


def _steps(words: int) -> int:
    """How many times the lanes of a stack of so many words are widened."""
    steps = 0
    while steps < MOST_STEPS and _SEEDS * words_to_widen(FACTOR**steps) <= words:
        steps += 1
    return steps


def cut(area: Area) -> tuple[Area, Area] | None:
    """A block's parts: its first rows, or if it is wider than high its first columns, and the rest; None for one too
    small."""
    top, left, height, width = area
    if max(height, width) <= _CUT:
        return None
    if width > height:
        return (top, left, height, _CUT), (top, left + _CUT, height, width - _CUT)
    return (top, left, _CUT, width), (top + _CUT, left, height - _CUT, width)


def _tiles(height: int, width: int) -> list[Area]:
    return tile_areas(height, width, tile_size(height), tile_size(width))
