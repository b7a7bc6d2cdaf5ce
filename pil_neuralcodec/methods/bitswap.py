"""Bit-Swap as a method: an image as one chain of blocks.

The image's tiles are cut in halves, again and again, wherever the stack cannot lend what a block borrows, and the
smallest blocks go to the stack as bytes that a method without a network makes of them. So blocks grow with the stack:
one direct block, one as large beside it, one twice as large, and so on to whole tiles.

What the payload of a chain (see ``bitsback``) says of the blocks: how many times lanes are widened for the first block
that borrows, and the number of the ordering (varints); then the trees of all tiles, a varint for each node, the first
half of a cut before the second: 0 for a cut, 1 for a block of the network; for a direct block twice its bytes, plus 1
where they are of RAW and not of PREDICTOR.
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
from ..flow.planes import from_planes, to_planes
from ..flow.tile import tile_size
from ..flow.tiles import tile_areas
from ..models import Model
from ..nets.backends import Network
from . import bitsback, choice, direct
from .base import Coded, Pixels, Request, Shape
from .bitsback import MAX_BYTES, ChainReader, ChainWriter, numbers

CUT, NETWORK = 0, 1
_DIRECT = (Method.PREDICTOR, Method.RAW)
_CUT_AREA = 4096
"""Blocks of at most so many pixels are not cut."""
_CUT_ALIGN = 16
_SEEDS = 4
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
    steps, nodes = 0, [ORDERINGS.index(ordering)]

    def put(area: Area) -> None:
        nonlocal steps
        top, left, height, width = area
        block = pixels[top : top + height, left : left + width]
        more = 0 if NETWORK in nodes[1:] else _steps(chain.lanes.stack.size)

        def push(lanes: Lanes) -> None:
            widen_by_steps(lanes, more)
            coder.push(lanes, to_planes(block[None])[0], ordering)

        if chain.push(push):
            nodes.append(NETWORK)
            steps += more
        elif halves := cut(area):
            nodes.append(CUT)
            for half in halves:
                put(half)
        else:
            found = choice.smallest(block, methods=_DIRECT)
            assert found is not None  # raw holds everything
            chain.push_bytes(found[1])
            nodes.append(2 * len(found[1]) + _DIRECT.index(found[0]))

    for area in _tiles(*pixels.shape[:2]):
        put(area)
    return chain.payload(numbers(steps, *nodes))


def decode_chain(payload: bytes, shape: Shape, network: Network[Any], architecture: BitswapArchitecture) -> Pixels:
    """Decode an image of ``encode_chain``: uint8 of ``shape``.

    Raises ``FormatError`` for malformed data and ``ChecksumError`` where pixels differ from what was encoded.
    """
    chain, bands = ChainReader(payload), shape[2]
    steps, ordering, blocks = read_blocks(chain, *shape[:2])
    chain.read_lanes(steps)
    coder = BlockCoder(architecture, network)
    out = np.empty(shape, np.uint8)
    first = next((number for number, (_, node) in enumerate(blocks) if node == NETWORK), None)
    for number, ((top, left, height, width), node) in reversed(list(enumerate(blocks))):
        if node == NETWORK:
            block = from_planes(coder.pop(chain.lanes, bands, height, width, ordering)[None])[0]
        else:
            block = direct.decode(_DIRECT[node % 2], chain.pop_bytes(node // 2), (height, width, bands), np.uint8)
        out[top : top + height, left : left + width] = block
        if number == first:
            narrow_to_one(chain.lanes)
    chain.close(out)
    return out


def read_blocks(chain: ChainReader, height: int, width: int) -> tuple[int, str, list[tuple[Area, int]]]:
    """How many times lanes are widened, the ordering, and the blocks in coding order with their nodes' numbers."""
    steps = chain.number("number of lanes", 0, MOST_STEPS)
    ordering = ORDERINGS[chain.number("ordering", 0, len(ORDERINGS) - 1)]

    def leaves(area: Area) -> Iterator[tuple[Area, int]]:
        node = chain.number("block", 0, 2 * MAX_BYTES + 1)
        if node != CUT:
            yield area, node
            return
        halves = cut(area)
        if halves is None:
            raise FormatError("a block is cut that is too small: the file is damaged")
        for half in halves:
            yield from leaves(half)

    return steps, ordering, [leaf for area in _tiles(height, width) for leaf in leaves(area)]


def _steps(words: int) -> int:
    """How many times the lanes of a stack of so many words are widened."""
    steps = 0
    while steps < MOST_STEPS and _SEEDS * words_to_widen(FACTOR**steps) <= words:
        steps += 1
    return steps


def cut(area: Area) -> tuple[Area, Area] | None:
    """A block's halves, cut across its longer side at a multiple of ``_CUT_ALIGN``, or None for one too small."""
    top, left, height, width = area
    side = max(height, width)
    if height * width <= _CUT_AREA or side <= _CUT_ALIGN:
        return None
    half = -(-side // (2 * _CUT_ALIGN)) * _CUT_ALIGN
    if width == side:
        return (top, left, height, half), (top, left + half, height, width - half)
    return (top, left, half, width), (top + half, left, height - half, width)


def _tiles(height: int, width: int) -> list[Area]:
    return tile_areas(height, width, tile_size(height), tile_size(width))
