"""The patch flow as a method: blocks of pixels, most often whole small images, as one chain.

The first few blocks are coded without bits-back, by the same networks, as a symbol stream that starts the stack.
The batches after that are as large as the stack can lend to, and each leaves it taller. A batch has blocks of one
shape: whole ones, those cut by the right border, by the lower border, and by both.

What the payload of a chain (see ``bitsback``) says of the blocks, in varints: where the symbol stream narrows its
lanes; sides of a block; bytes of the side information; blocks in the symbol stream; the blocks of each batch in coding
order. The side information follows, a symbol stream too.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple, overload

import numpy as np

from ..coders.stack import Stack, height
from ..coders.stream import NarrowingSource, SymbolReader, SymbolWriter, write_narrowings
from ..container import Method
from ..flow.adaptation import SideInformation, offsets_of
from ..flow.architecture import PatchArchitecture
from ..flow.patch import MixtureKey, PatchFlow, adapted_mixtures
from ..flow.planes import from_planes, to_planes
from ..models import Model
from ..nets.backends import Network
from . import bitsback
from .base import Coded, Pixels, Request, Shape
from .bitsback import MAX_BYTES, ChainReader, ChainWriter, numbers

MAX_BLOCK = 128
"""Largest side of a block: networks see no further, and batches need memory."""
_BATCH_PIXELS = 2**17
_DIRECT_SHARE = 128
"""One block in so many is coded without bits-back, one at least."""
_MARGIN = 6
"""Bits that a sample of a batch may need of the stack besides its fractional bits. A guess: where it is too small, the
batch is made smaller."""
_ADAPTED_BLOCKS = 32
_ADAPTED_PIXELS = 2**14
"""Blocks to which the mixtures are adapted, taken from everywhere, and the pixels from which on it is worth it."""

Area = tuple[int, int, int, int]
"""(top, left, height, width)."""


class Areas(Sequence[Area]):
    """The blocks of an image in coding order: those of one shape together, shapes in the order in which they appear,
    row by row.

    ``grids`` are (top, left, rows, columns, height, width) of the blocks of a shape. Areas are made when they are asked
    for, since a hostile file may claim as many as there are pixels.
    """

    def __init__(self, grids: Sequence[tuple[int, ...]], bounds: range | None = None) -> None:
        self._grids = grids
        self._ends = list(accumulate(rows * columns for _, _, rows, columns, _, _ in grids))
        self._bounds = range(self._ends[-1]) if bounds is None else bounds

    def __len__(self) -> int:
        return len(self._bounds)

    @overload
    def __getitem__(self, at: int) -> Area: ...
    @overload
    def __getitem__(self, at: slice) -> Areas: ...
    def __getitem__(self, at: int | slice) -> Area | Areas:
        if isinstance(at, slice):
            return Areas(self._grids, self._bounds[at])
        number = self._bounds[at]
        grid = bisect(self._ends, number)
        top, left, rows, columns, h, w = self._grids[grid]
        row, column = divmod(number - self._ends[grid] + rows * columns, columns)
        return top + row * h, left + column * w, h, w

    def alike(self, at: int) -> int:
        """How many from ``at`` on are of one shape."""
        number = self._bounds[at]
        return min(self._ends[bisect(self._ends, number)], self._bounds.stop) - number


Side = Mapping[MixtureKey, SideInformation]


def encode_segment(
    pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str, past: bool
) -> Coded | None:
    """Code uint8 pixels as one chunk; see ``base.Encoder``."""
    assert isinstance(model.architecture, PatchArchitecture)
    if pixels.dtype != np.uint8:
        return None
    block = block_size(height), block_size(pixels.shape[1])
    network, architecture = model.network(device), model.architecture
    chunk = bitsback.encode_chunk(pixels, past, lambda planes, _: encode_chain(planes, block, network, architecture))
    return Coded(Method.PATCH, (chunk,))


def decode_segment(request: Request) -> None:
    """Decode a segment; see ``base.Decoder``."""
    bitsback.decode_segment(request, "patch", lambda *args: decode_chain(*args[:-1]))  # whatever the colours


def encode_chain(
    pixels: Pixels, block: tuple[int, int], network: Network[Any], architecture: PatchArchitecture
) -> bytes:
    """Code an image uint8 (H, W, bands), bands 1 or 3, in blocks of ``block`` (h, w)."""
    bands = pixels.shape[2]
    areas = block_areas(pixels.shape[0], pixels.shape[1], *block)
    side = side_information(pixels, areas, network, architecture)
    flow_of = partial(_flow, architecture, network, bands, side)
    direct = max(1, len(areas) // _DIRECT_SHARE)
    while True:
        writer, chain = SymbolWriter(), ChainWriter(pixels)
        for batch in _batches(areas[:direct]):
            flow_of(batch).put(_cut(pixels, batch), writer)
        narrowings = writer.push(chain.lanes)
        sizes = _push_all(chain, pixels, areas[direct:], flow_of)
        if sizes is not None:
            break
        direct = min(2 * direct, len(areas))
    packed = _pack_side(side, bands)
    start = write_narrowings(narrowings)
    return chain.payload(start + numbers(*block, len(packed), direct, *sizes) + packed)


def _push_all(
    chain: ChainWriter, pixels: Pixels, areas: Areas, flow_of: Callable[[Areas], PatchFlow]
) -> list[int] | None:
    """Push blocks in batches: the batches' sizes, or None where the stack cannot lend to a single block."""
    sizes: list[int] = []
    at = 0
    while at < len(areas):
        most = _most(areas, at)
        # One component is dequantised at a time, the largest a quarter of the block.
        flow = flow_of(areas[at : at + 1])
        need = math.prod(-(-side // 2) for side in flow.sides) * flow.shape[1] * (flow.architecture.frac + _MARGIN)
        size = max(1, min(most, height(chain.lanes) // need))
        while not _push(chain, pixels, areas[at : at + size], flow_of):
            if size == 1:
                return None
            size = max(1, size * 3 // 4)
        sizes.append(size)
        at += size
    return sizes


def _push(chain: ChainWriter, pixels: Pixels, batch: Areas, flow_of: Callable[[Areas], PatchFlow]) -> bool:
    flow, planes = flow_of(batch), _cut(pixels, batch)
    return chain.push(lambda lanes: flow.forward(planes, Stack(lanes)))


def decode_chain(payload: bytes, shape: Shape, network: Network[Any], architecture: PatchArchitecture) -> Pixels:
    """Decode an image of ``encode_chain``: uint8 of ``shape``.

    Raises ``FormatError`` for malformed data and ``ChecksumError`` where pixels differ from what was encoded.
    """
    chain = ChainReader(payload)
    blocks = read_blocks(chain, *shape)
    chain.read_lanes(len(blocks.narrowings))
    flow_of = partial(_flow, architecture, network, shape[2], blocks.side)
    out = np.empty(shape, np.uint8)
    for batch in reversed(blocks.batches):
        _paste(flow_of(batch).inverse(np.empty(0, np.int32), Stack(chain.lanes)), batch, out)
    reader = NarrowingSource(chain.lanes, blocks.narrowings)
    for batch in _batches(blocks.direct):
        _paste(flow_of(batch).get(reader), batch, out)
    chain.close(out)
    return out


class Blocks(NamedTuple):
    """What a payload says of its blocks: those in the symbol stream, and where that narrows; the batches after that."""

    direct: Areas
    narrowings: list[int]
    batches: list[Areas]
    side: Side


def read_blocks(chain: ChainReader, rows: int, columns: int, bands: int) -> Blocks:
    """The description of the blocks of an image. Raises ``FormatError``."""
    narrowings = chain.narrowings()
    block_h, block_w = (chain.number("side of blocks", 1, MAX_BLOCK) for _ in range(2))
    areas = block_areas(rows, columns, block_h, block_w)
    packed = chain.number("size of side information", 0, MAX_BYTES)
    direct = chain.number("number of first blocks", 1, len(areas))
    batches, at = [], direct
    while at < len(areas):
        size = chain.number("batch", 1, _most(areas, at))
        batches.append(areas[at : at + size])
        at += size
    return Blocks(areas[:direct], narrowings, batches, _unpack_side(chain.take(packed), bands))


def block_size(side: int) -> int:
    """Side of the blocks of an image side: near-equal, at most ``MAX_BLOCK``."""
    return -(-side // -(-side // MAX_BLOCK))


def block_areas(rows: int, columns: int, block_h: int, block_w: int) -> Areas:
    """The blocks of an image, of (block_h, block_w) but for those at its right and lower border."""

    def parts(side: int, block: int) -> list[tuple[int, int, int]]:
        """(first pixel, how many, side) of the blocks along a side."""
        whole, rest = divmod(side, block)
        return [(0, whole, block)] * (whole > 0) + [(whole * block, 1, rest)] * (rest > 0)

    return Areas([(top, left, down, across, h, w) for top, down, h in parts(rows, block_h)
                  for left, across, w in parts(columns, block_w)])  # fmt: skip


def side_information(pixels: Pixels, areas: Areas, network: Network[Any], architecture: PatchArchitecture) -> Side:
    """What suits an image in blocks ``areas``; none where it is too small to be worth it."""
    if pixels.shape[0] * pixels.shape[1] < _ADAPTED_PIXELS:
        return {}
    whole = areas[: areas.alike(0)]
    sample = whole[:: -(-len(whole) // _ADAPTED_BLOCKS)]
    return _flow(architecture, network, pixels.shape[2], {}, sample).adapted(_cut(pixels, sample))


def _pack_side(side: Side, bands: int) -> bytes:
    if not side:
        return b""
    writer = SymbolWriter()
    for key in adapted_mixtures(bands):
        side.get(key, SideInformation()).put(writer)
    return writer.finish()


def _unpack_side(data: bytes, bands: int) -> Side:
    if not data:
        return {}
    reader = SymbolReader(data)
    side = {key: SideInformation.get(reader, 1, offsets_of(key[2])) for key in adapted_mixtures(bands)}
    reader.close()
    return side


def _flow(architecture: PatchArchitecture, network: Network[Any], bands: int, side: Side, batch: Areas) -> PatchFlow:
    return PatchFlow(architecture, network, (len(batch), bands, *batch[0][2:]), side)


def _batches(areas: Areas) -> Iterator[Areas]:
    """All blocks in batches as large as may be."""
    at = 0
    while at < len(areas):
        size = _most(areas, at)
        yield areas[at : at + size]
        at += size


def _most(areas: Areas, at: int) -> int:
    """How many blocks from ``at`` on may make a batch: of one shape, and as many as memory allows."""
    _, _, h, w = areas[at]
    return min(areas.alike(at), max(1, _BATCH_PIXELS // (h * w)))


def _cut(pixels: Pixels, batch: Areas) -> np.ndarray:
    """Planes int32 (N, bands, h, w) of the blocks of an image."""
    return to_planes(np.stack([pixels[top : top + h, left : left + w] for top, left, h, w in batch]))


def _paste(planes: np.ndarray, batch: Areas, pixels: Pixels) -> None:
    """The inverse of ``_cut``."""
    for (top, left, h, w), block in zip(batch, from_planes(planes), strict=True):
        pixels[top : top + h, left : left + w] = block
