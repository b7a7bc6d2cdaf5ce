"""Many blocks of pixels as one chain on one stack: what a segment of the patch flow holds.

Bits-back borrows from the stack before it pushes, and random bits to begin with would be paid for in the file. So the
first few blocks are coded without it, by the same networks, as a symbol stream whose bytes are put on the stack and
seed its lanes. The batches after that are as large as the stack can lend to, and each leaves it taller.

Payload: CRC-32 of the pixels (u32, little-endian); varints: sides of a block, bytes of the side information, blocks in
the symbol stream, its bytes, lanes (none where all blocks are in the stream) and how many were seeded, number of
batches, and the blocks of each batch in coding order; the side information, a symbol stream too; the heads, as in one;
the words, bottom of the stack first.

Blocks of one shape go together: whole ones, those cut by the right border, by the lower border, and by both.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..coders.lanes import ExhaustedError, Lanes, read_stack, write_stack
from ..coders.stack import Stack, height
from ..coders.stream import MAX_LANES, SymbolReader, SymbolWriter, lane_count
from ..errors import ChecksumError, FormatError
from ..nets.backends import Network
from ..varint import read_varint, write_varint
from .adaptation import SideInformation, offsets_of
from .architecture import PatchArchitecture
from .patch import PatchFlow, Place, adapted_places
from .planes import from_planes, to_planes
from .tiles import tile_areas

MAX_BLOCK = 128
"""Largest side of a block: networks see no further, and batches need memory."""
_BATCH_PIXELS = 2**17
_DIRECT_SHARE = 128
"""One block in so many is coded without bits-back, one at least."""
_SAMPLES_PER_SYMBOL = 4
"""Lanes are a quarter of those of a symbol stream: the heads at the end are all that a chain wastes."""
_MARGIN = 6
"""Bits that a sample of a batch may need of the stack besides its fractional bits. A guess: where it is too small, the
batch is made smaller."""

_ADAPTED_BLOCKS = 64
_ADAPTED_PIXELS = 2**14
"""Blocks to which the mixtures are adapted, taken from everywhere, and the pixels from which on it is worth it."""

Box = tuple[int, int, int, int]
"""(top, left, height, width)."""


class Batch(NamedTuple):
    """Blocks of one shape that are coded together."""

    boxes: list[Box]

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The blocks of an image (H, W, bands): (N, h, w, bands)."""
        return np.stack([image[top : top + h, left : left + w] for top, left, h, w in self.boxes])

    def paste(self, blocks: np.ndarray, image: np.ndarray) -> None:
        """The inverse of ``cut``."""
        for (top, left, h, w), block in zip(self.boxes, blocks, strict=True):
            image[top : top + h, left : left + w] = block


def encode_chain(
    pixels: np.ndarray, block: tuple[int, int], network: Network[Any], architecture: PatchArchitecture
) -> bytes:
    """Code an image uint8 (H, W, bands), bands 1 or 3, in blocks of ``block`` (h, w)."""
    shapes = _shapes(pixels.shape[0], pixels.shape[1], *block)
    flows = Flows(network, architecture, pixels.shape[2]).adapted(pixels, block)
    total = sum(map(len, shapes))
    direct = max(1, total // _DIRECT_SHARE)
    while True:
        writer = SymbolWriter()
        first, rest = _split(shapes, min(direct, total))
        lanes_wanted = lane_count(pixels.size // _SAMPLES_PER_SYMBOL) if rest else 0
        for batch in first:
            flows.of(batch).put(to_planes(batch.cut(pixels)), writer)
        stream = writer.finish()
        lanes = Lanes(0)
        lanes.stack.push(np.frombuffer(stream + bytes(len(stream) % 2), "<u2"))
        seeded = lanes.widen(lanes_wanted)
        found = _push_all(pixels, rest, flows, lanes)
        if found is not None:
            break
        direct *= 2
    lanes, sizes = found
    side = flows.write()
    out = bytearray(struct.pack("<I", zlib.crc32(np.ascontiguousarray(pixels).data)))
    for number in (*block, len(side), min(direct, total), len(stream), lanes_wanted, seeded, len(sizes), *sizes):
        out += write_varint(number)
    return bytes(out + side + write_stack(lanes))


@dataclass(frozen=True)
class Flows:
    """What codes batches: one model, with side information once for all of them."""

    network: Network[Any]
    architecture: PatchArchitecture
    bands: int
    side: Mapping[Place, SideInformation] = field(default_factory=dict)

    def adapted(self, pixels: np.ndarray, block: tuple[int, int]) -> Flows:
        """Adapted to an image, as ``encode_chain`` takes it, unless it is too small to be worth it."""
        if pixels.shape[0] * pixels.shape[1] < _ADAPTED_PIXELS:
            return self
        boxes = _shapes(pixels.shape[0], pixels.shape[1], *block)[0]
        sample = Batch(boxes[:: -(-len(boxes) // _ADAPTED_BLOCKS)])
        return replace(self, side=self.of(sample).adapted(to_planes(sample.cut(pixels))))

    def of(self, batch: Batch) -> PatchFlow:
        """For one of them."""
        shape = len(batch.boxes), self.bands, batch.boxes[0][2], batch.boxes[0][3]
        return PatchFlow(self.architecture, self.network, shape, self.side)

    def write(self) -> bytes:
        """The side information, b"" where there is none."""
        if not self.side:
            return b""
        writer = SymbolWriter()
        for place in adapted_places(self.bands):
            self.side.get(place, SideInformation()).put(writer)
        return writer.finish()

    def read(self, data: bytes) -> Flows:
        """With the side information that ``write`` wrote."""
        if not data:
            return self
        reader = SymbolReader(data)
        found = {place: SideInformation.get(reader, 1, offsets_of(place[2])) for place in adapted_places(self.bands)}
        reader.close()
        return replace(self, side=found)


def _push_all(
    pixels: np.ndarray, shapes: list[list[Box]], flows: Flows, lanes: Lanes
) -> tuple[Lanes, list[int]] | None:
    """Push all blocks in batches: the lanes after that and the batches' sizes, or None where the stack cannot lend to
    a single block."""
    sizes: list[int] = []
    for boxes in shapes:
        at = 0
        while at < len(boxes):
            # One component is dequantised at a time, the largest a quarter of the block.
            area = -(-boxes[at][2] // 2) * -(-boxes[at][3] // 2)
            need = area * flows.bands * (flows.architecture.frac + _MARGIN)
            size = max(1, min(len(boxes) - at, int(height(lanes)) // need, _limit(boxes[at])))
            while True:
                trial, batch = lanes.copy(), Batch(boxes[at : at + size])
                try:
                    flows.of(batch).forward(to_planes(batch.cut(pixels)), Stack(trial))
                    break
                except ExhaustedError:
                    if size == 1:
                        return None
                    size = max(1, size * 3 // 4)
            lanes = trial
            sizes.append(size)
            at += size
    return lanes, sizes


def decode_chain(
    payload: bytes, height: int, width: int, bands: int, network: Network[Any], architecture: PatchArchitecture
) -> np.ndarray:
    """Decode an image of ``encode_chain``: uint8 (H, W, bands).

    Raises ``FormatError`` for malformed data and ``ChecksumError`` where pixels differ from what was encoded.
    """
    view = memoryview(payload)
    if len(view) < 4:
        raise FormatError("the image data ends before its checksum: the file is damaged or truncated")
    crc, at = struct.unpack_from("<I", view)[0], 4
    numbers = []
    for _ in range(8):
        number, at = read_varint(view, at)
        numbers.append(number)
    block_h, block_w, side, direct, size, count, seeded, batches = numbers
    if not (1 <= block_h <= MAX_BLOCK and 1 <= block_w <= MAX_BLOCK and count <= MAX_LANES):
        raise FormatError("the compressed data has impossible blocks or lanes: the file is damaged")
    shapes = _shapes(height, width, block_h, block_w)
    total = sum(map(len, shapes))
    if not 1 <= direct <= total or (count == 0) != (direct == total):
        raise FormatError("the image's blocks are inconsistent: the file is damaged")
    first, rest = _split(shapes, direct)
    sizes = []
    for _ in range(min(batches, len(view))):
        number, at = read_varint(view, at)
        sizes.append(number)
    later = list(_batches(rest, sizes))
    flows = Flows(network, architecture, bands).read(bytes(view[at : at + side]))
    at += side
    lanes = read_stack(view, at, count)
    out = np.empty((height, width, bands), np.uint8)
    for batch in reversed(later):
        batch.paste(from_planes(flows.of(batch).inverse(np.empty(0, np.int32), Stack(lanes))), out)
    lanes.narrow(0, seeded)
    words = lanes.stack.to_array().astype("<u2").tobytes()
    if len(words) != size + size % 2 or any(words[size:]):
        raise FormatError("the compressed data does not end where it should: the file is damaged")
    reader = SymbolReader(words[:size])
    for batch in first:
        batch.paste(from_planes(flows.of(batch).get(reader)), out)
    reader.close()
    if zlib.crc32(out.data) != crc:
        raise ChecksumError("the pixels differ from their checksum: the file is damaged")
    return out


def block_size(side: int) -> int:
    """Side of the blocks of an image side: near-equal, at most ``MAX_BLOCK``."""
    return -(-side // -(-side // MAX_BLOCK))


def _limit(box: Box) -> int:
    """Most blocks of a batch."""
    return max(1, _BATCH_PIXELS // (box[2] * box[3]))


def _shapes(height: int, width: int, block_h: int, block_w: int) -> list[list[Box]]:
    """Blocks by their shape, in coding order."""
    shapes: dict[tuple[int, int], list[Box]] = {}
    for box in tile_areas(height, width, block_h, block_w):
        shapes.setdefault(box[2:], []).append(box)
    return list(shapes.values())


def _split(shapes: list[list[Box]], direct: int) -> tuple[list[Batch], list[list[Box]]]:
    """Batches of the first ``direct`` blocks, and the rest by their shape."""
    first, rest = [], []
    for boxes in shapes:
        head, tail = boxes[:direct], boxes[direct:]
        direct -= len(head)
        if head:
            limit = _limit(head[0])
            first += [Batch(head[low : low + limit]) for low in range(0, len(head), limit)]
        if tail:
            rest.append(tail)
    return first, rest


def _batches(shapes: list[list[Box]], sizes: list[int]) -> Iterator[Batch]:
    """The batches of the blocks after the first ones. Raises ``FormatError`` for sizes that do not fit."""
    left = iter(sizes)
    for boxes in shapes:
        at = 0
        while at < len(boxes):
            size = next(left, 0)
            if not 1 <= size <= min(len(boxes) - at, _limit(boxes[at])):
                raise FormatError("the image's batches are inconsistent: the file is damaged")
            yield Batch(boxes[at : at + size])
            at += size
    if next(left, None) is not None:
        raise FormatError("the image's batches are inconsistent: the file is damaged")
