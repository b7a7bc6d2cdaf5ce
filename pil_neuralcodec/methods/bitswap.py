"""Bit-Swap as a method: an image as chains of blocks, which are decoded side by side.

Each tile of an image is a chain, whose start costs little beside it; a set of small images is one chain. A chain is cut
into tiles of its own, each a block of the network. Where the stack cannot lend what a block borrows, as at the start,
the last rows of its tile go to the stack before it, as bytes that a method without a network makes of them: the last,
so that levels lie as those of a tile of the photo flow.

What the payload of a chain (see ``bitsback``) says of the blocks, in varints: how many times lanes are widened for the
first block of the network, the number of the ordering, and the JPEG block phase of the image; then for each tile how
many rows are coded directly, and if there are any twice their bytes, plus 1 where they are of RAW and not of PREDICTOR.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ..bitswap.architecture import BitswapArchitecture
from ..bitswap.coder import ORDERINGS, BlockCoder
from ..coders.lanes import Lanes
from ..coders.widths import FACTOR, MOST_STEPS, narrow_to_one, widen_by_steps, words_to_widen
from ..colour.conversions import Past
from ..colour.past import ColourHeader
from ..container import Method
from ..flow.block_phase import BlockPhase
from ..flow.cells import Cells, find_cells, pack_cells, unpack_cells
from ..flow.lattice import has_prior
from ..flow.planes import from_planes, to_planes
from ..flow.tile import TileCoder, tile_size
from ..models import Model
from ..nets.backends import Network
from . import bitsback, choice, direct
from .base import Coded, Pixels, Request, Shape
from .bitsback import MAX_BYTES, ChainReader, ChainWriter, numbers, push_bytes
from .tiles import encode_tiles, tile_areas

_DIRECT = (Method.PREDICTOR, Method.RAW)
_SEEDS = 2
"""One word in so many seeds lanes at most: seeds cannot be borrowed."""
_SMALL = 128 * 128
"""Pixels of each image of a set, up to which the set is one chain."""

Area = tuple[int, int, int, int]
"""(top, left, height, width)."""
Block = tuple[Area, int | None]
"""Where a block lies, and what is told of its bytes if it is coded directly; None for one of the network."""


def encode_segment(
    pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str, past: bool
) -> Coded | None:
    """Code uint8 pixels as a chunk for each chain; see ``base.Encoder``."""
    assert isinstance(model.architecture, BitswapArchitecture)
    if pixels.dtype != np.uint8:
        return None
    rows, columns = pixels.shape[:2]
    chain = (rows, columns) if height * columns <= _SMALL else (tile_size(height), tile_size(columns))
    network, architecture = model.network(device), model.architecture
    cells = find_cells(pixels) if past else None

    def encode(planes: Pixels, colour: ColourHeader) -> bytes:
        return encode_chain(planes, network, architecture, ordering, colour.lattice, cells if colour.is_plain else None)

    def chunk(pixels: Pixels) -> bytes:
        return bitsback.encode_chunk(pixels, past, encode, has_prior((pixels.shape[0], pixels.shape[1])))

    chunks = encode_tiles(pixels, chain, lambda parts: [chunk(part) for part in parts])
    return Coded(Method.BITSWAP, tuple(chunks), chain[::-1], cells=pack_cells(cells))


def decode_segment(request: Request) -> None:
    """Decode the chains that are wanted; see ``base.Decoder``."""
    cells = unpack_cells(request.segment.cells)

    def decode(
        payload: bytes, shape: Shape, network: Network[Any], architecture: BitswapArchitecture, colour: ColourHeader
    ) -> Pixels:
        return decode_chain(payload, shape, network, architecture, colour.lattice, cells if colour.is_plain else None)

    bitsback.decode_segment(request, "bitswap", decode, lattices=True)


def encode_chain(
    pixels: Pixels,
    network: Network[Any],
    architecture: BitswapArchitecture,
    ordering: str = ORDERINGS[0],
    lattice: Past = Past.NONE,
    cells: Cells | None = None,
) -> bytes:
    """Code an image uint8 (H, W, bands), bands 1 or 3; ``ordering`` is one of ``ORDERINGS``, ``lattice`` that of a
    conversion that is a prior, ``cells`` those of the bands, if they are unequal."""
    coder, chain = BlockCoder(architecture, network, lattice, cells), ChainWriter(pixels)
    phase = TileCoder(architecture.likelihood, network).phase_of(to_planes(pixels[None])[0])

    def push(lanes: Lanes, last: bytes, block: Pixels, at: tuple[int, int], steps: int) -> None:
        if last:
            push_bytes(lanes, last)
        if block.size:
            widen_by_steps(lanes, steps)
            coder.push(lanes, to_planes(block[None])[0], ordering, phase.moved(*at))

    steps: int | None = None
    told: list[int] = []
    for top, left, height, width in _tiles(*pixels.shape[:2]):
        tile = pixels[top : top + height, left : left + width]
        for rows in _direct_rows(height, is_start=not told):
            found = choice.smallest(tile[height - rows :], methods=_DIRECT) if rows else None
            method, last = found or (_DIRECT[0], b"")
            more = _steps(chain.lanes.stack.size + (len(last) + 1) // 2) if steps is None else 0
            if chain.push(partial(push, last=last, block=tile[: height - rows], at=(top, left), steps=more)):
                break
        if rows < height and steps is None:
            steps = more
        told += [rows, 2 * len(last) + _DIRECT.index(method)] if rows else [0]
    return chain.payload(numbers(steps or 0, ORDERINGS.index(ordering), phase.number, *told))


def decode_chain(
    payload: bytes,
    shape: Shape,
    network: Network[Any],
    architecture: BitswapArchitecture,
    lattice: Past = Past.NONE,
    cells: Cells | None = None,
) -> Pixels:
    """Decode an image of ``encode_chain``: uint8 of ``shape``.

    Raises ``FormatError`` for malformed data and ``ChecksumError`` where pixels differ from what was encoded.
    """
    chain, bands = ChainReader(payload), shape[2]
    steps, ordering, phase, blocks = read_blocks(chain, *shape[:2])
    chain.read_lanes(steps)
    coder = BlockCoder(architecture, network, lattice, cells)
    out = np.empty(shape, np.uint8)
    first = next((number for number, (_, told) in enumerate(blocks) if told is None), None)
    for number, ((top, left, height, width), told) in reversed(list(enumerate(blocks))):
        if told is None:
            found = coder.pop(chain.lanes, (bands, height, width), ordering, phase.moved(top, left))
            block = from_planes(found[None])[0]
        else:
            block = direct.decode(_DIRECT[told % 2], chain.pop_bytes(told // 2), (height, width, bands), np.uint8)
        out[top : top + height, left : left + width] = block
        if number == first:
            narrow_to_one(chain.lanes)
    chain.close(out)
    return out


def read_blocks(chain: ChainReader, rows: int, columns: int) -> tuple[int, str, BlockPhase, list[Block]]:
    """How many times lanes are widened, the ordering, the JPEG block phase, and the blocks in coding order."""
    steps = chain.number("number of lanes", 0, MOST_STEPS)
    ordering = ORDERINGS[chain.number("ordering", 0, len(ORDERINGS) - 1)]
    phase = BlockPhase.numbered(chain.number("JPEG block phase", 0, MAX_BYTES))
    blocks: list[Block] = []
    for top, left, height, width in _tiles(rows, columns):
        last = chain.number("number of rows", 0, height)
        if last:
            told = chain.number("size of rows", 0, 2 * MAX_BYTES + 1)
            blocks.append(((top + height - last, left, last, width), told))
        if last < height:
            blocks.append(((top, left, height - last, width), None))
    return steps, ordering, phase, blocks


def _steps(words: int) -> int:
    """How many times the lanes of a stack of so many words are widened."""
    steps = 0
    while steps < MOST_STEPS and _SEEDS * words_to_widen(FACTOR**steps) <= words:
        steps += 1
    return steps


def _direct_rows(height: int, *, is_start: bool) -> Iterator[int]:
    """How many rows of a tile may be coded directly, to try them in turn; all of them need no lender."""
    rows = int(is_start)
    while rows < height:
        yield rows
        rows += max(1, rows // 4)
    yield height


def _tiles(height: int, width: int) -> list[Area]:
    return tile_areas(height, width, tile_size(height), tile_size(width))
