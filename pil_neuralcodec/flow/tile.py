"""The photo flow on one tile: an integer lifting flow over polyphase components (iFlow with k = 0).

In a tile every level's components ``d``, ``b``, ``c`` are factored out with a mixture of logistics each, whose
parameters an exact integer network computes from what is known already (a squeeze and conditional priors, in the terms
of ``layers``); the coarsest level is one pixel, coded uniformly. There is no bits-back, so no start-up cost, and coarse
levels decode first.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coders.stream import SymbolReader, SymbolWriter
from ..coders.symbols import SymbolSink, SymbolSource
from ..colour.past import ColourHeader, undo
from ..errors import ChecksumError, FormatError
from ..nets.backends import Network
from .architecture import CHANNELS, PhotoArchitecture
from .band_coder import BandByBand, BandDecoder, BandEncoder
from .block_phase import NO_PHASE, BlockPhase, find_phase
from .planes import from_planes, to_planes
from .polyphase import level_shape
from .pyramid import Walk
from .range_mapping import RangeMapping

TILE = 512
"""Largest side of a tile: smaller ones cost bits (0.2 % at 256), larger ones memory."""
TILE_ALIGN = 32
"""Tiles begin at multiples of this, so that levels up to 5 fit together over tile borders."""
MAX_PREVIEW_LEVEL = 5
_SAMPLE = 128
"""Side of the middle of a tile by which a block phase is judged."""


class TileHeader(NamedTuple):
    """What a tile's payload begins with.

    Layout: CRC-32 of the pixels at each checked level (u32 each, finest first, little-endian); of samples of 8 bits the
    JPEG block phase (two bytes) and, where there are three bands, what is told of colours; of 16 bits the
    dynamic-range mapping.
    """

    checksums: tuple[int, ...]
    phase: BlockPhase = NO_PHASE
    mapping: RangeMapping | None = None
    colour: ColourHeader | None = None

    @staticmethod
    def of(pixels: np.ndarray, checked: int, phase: BlockPhase, colour: ColourHeader | None) -> TileHeader:
        """For a tile's pixels, uint8 or uint16 (h, w, bands), of which so many levels are checked."""
        checksums = tuple(_checksum(pixels[:: 1 << k, :: 1 << k]) for k in range(checked))
        return TileHeader(checksums, phase, RangeMapping.of(pixels) if pixels.dtype == np.uint16 else None, colour)

    def pack(self) -> bytes:
        """For ``unpack``."""
        told = self.mapping.pack() if self.mapping is not None else bytes(self.phase)
        if self.colour is not None:
            told += self.colour.pack()
        return struct.pack(f"<{len(self.checksums)}I", *self.checksums) + told

    @staticmethod
    def unpack(payload: bytes, checked: int, bands: int, dtype: np.dtype[Any]) -> tuple[TileHeader, memoryview]:
        """The header that ``pack`` wrote at the beginning, and what follows. Raises ``FormatError``."""
        view = memoryview(payload)
        if len(view) < 4 * checked + 2:
            raise FormatError("a tile ends in its header: the file is damaged or truncated")
        checksums, view = struct.unpack_from(f"<{checked}I", view), view[4 * checked :]
        if dtype == np.uint16:
            mapping, at = RangeMapping.unpack(view)
            return TileHeader(checksums, mapping=mapping), view[at:]
        phase = BlockPhase(*view[:2])
        if not phase.sound:
            raise FormatError("a tile's JPEG block phase is none: the file is damaged")
        if bands != CHANNELS:
            return TileHeader(checksums, phase), view[2:]
        colour, view = ColourHeader.unpack(view[2:])
        return TileHeader(checksums, phase, colour=colour), view

    def check(self, pixels: np.ndarray, level: int) -> None:
        """Raise ``ChecksumError`` unless these are the tile's pixels (h, w, bands) at a level."""
        if self.checksums[level] != _checksum(pixels):
            raise ChecksumError("the pixels of a tile differ from their checksum: the file is damaged")


@dataclass(frozen=True)
class PhotoFlow:
    """A ``layers.Layer`` for tiles of one size, ``sides`` (h, w): int32 (N, bands, h, w), bands 1 or 3 in coding order.

    Nothing is popped on the way forward, so every tile has a sink of its own. The way back ends at ``level``: there the
    tiles are every 2**level-th sample. ``mappings`` and ``phases`` as of ``pyramid.Walk``. Holds no state between
    calls; safe to use from several threads.
    """

    architecture: PhotoArchitecture
    network: Network[Any]
    sides: tuple[int, int]
    level: int = 0
    mappings: Sequence[RangeMapping] | None = None
    phases: Sequence[BlockPhase] | None = None

    def forward(self, planes: np.ndarray, stack: Sequence[SymbolSink]) -> np.ndarray:
        """As of ``Layer``; nothing remains."""
        for tile, sink, count in zip(planes, stack, self._counts(len(planes)), strict=True):
            sink.put_uniform(tile[:, 0, 0], count)
        with BandEncoder(planes, stack) as coder:
            self._walk().whole(planes[..., :1, :1], BandByBand(coder, planes.shape[1]))
        return planes[:0]

    def inverse(self, values: np.ndarray, stack: Sequence[SymbolSource]) -> np.ndarray:
        """As of ``Layer``; ``values`` (0, bands, ...) tells the bands."""
        bands = values.shape[1]
        counts = self._counts(len(stack))
        top = np.stack([source.get_uniform(bands, count) for source, count in zip(stack, counts, strict=True)])
        coder = BandByBand(BandDecoder(self.sides, stack), bands)
        return self._walk().whole(top.astype(np.int32)[:, :, None, None], coder, self.level)

    def _walk(self) -> Walk:
        return Walk(self.network, self.architecture, self.sides, mappings=self.mappings, phases=self.phases)

    def _counts(self, tiles: int) -> list[int]:
        """How many values there are in each tile."""
        return [256] * tiles if self.mappings is None else [one.top + 1 for one in self.mappings]


@dataclass(frozen=True)
class TileCoder:
    """Codes tiles with one network, by ``PhotoFlow`` on a symbol stream each: header, then symbols."""

    architecture: PhotoArchitecture
    network: Network[Any]

    def encode(self, pixels: np.ndarray, checked: int = 1, *, past: bool = True) -> list[bytes]:
        """Payloads of same-sized tiles, uint8 or uint16 (N, h, w, bands), bands 1 or 3; the ``checked`` finest levels
        get a checksum. ``past``: undo the conversion that a tile's colours have been through, if there is one. What a
        tile becomes does not depend on its neighbours in the batch."""
        colours: list[ColourHeader | None] = [None] * len(pixels)
        coded, has_phase = pixels, pixels.dtype == np.uint8
        if has_phase and pixels.shape[3] == CHANNELS:
            undone = [undo(tile) if past else (ColourHeader(), tile) for tile in pixels]
            colours, coded = [colour for colour, _ in undone], np.stack([tile for _, tile in undone])
        planes = to_planes(coded)
        phases = [self.phase_of(tile) if has_phase else NO_PHASE for tile in planes]
        told = zip(pixels, phases, colours, strict=True)
        headers = [TileHeader.of(tile, checked, phase, colour) for tile, phase, colour in told]
        mappings = [header.mapping for header in headers if header.mapping is not None] or None
        if mappings is not None:
            planes = np.stack([one.numbers(tile) for one, tile in zip(mappings, planes, strict=True)])
        writers = [SymbolWriter() for _ in planes]
        sides = pixels.shape[1], pixels.shape[2]
        PhotoFlow(self.architecture, self.network, sides, mappings=mappings, phases=phases).forward(planes, writers)
        return [header.pack() + writer.finish() for header, writer in zip(headers, writers, strict=True)]

    def decode(
        self,
        payloads: list[bytes],
        shape: tuple[int, int, int],
        checked: int = 1,
        level: int = 0,
        dtype: npt.DTypeLike = np.uint8,
    ) -> np.ndarray:
        """Pixels of same-sized tiles of ``shape`` (h, w, bands) from their payloads, of ``dtype`` uint8 or uint16, (N,
        h, w, bands).

        ``level`` k < ``checked`` gives every 2**k-th pixel for a fraction of the cost. Raises ``FormatError`` for
        malformed data and ``ChecksumError`` where pixels differ from what was encoded.
        """
        if not 0 <= level < checked:
            raise ValueError(f"level {level} has no checksum, and so cannot be decoded alone")
        dtype = np.dtype(dtype)
        headers, streams = zip(*(TileHeader.unpack(one, checked, shape[2], dtype) for one in payloads), strict=True)
        readers = [SymbolReader(stream) for stream in streams]
        mappings = [header.mapping for header in headers if header.mapping is not None] or None
        phases = [header.phase for header in headers]
        flow = PhotoFlow(self.architecture, self.network, shape[:2], level, mappings, phases)
        planes = flow.inverse(np.empty((0, shape[2]), np.int32), readers)
        if mappings is not None:
            planes = np.stack([one.samples(tile) for one, tile in zip(mappings, planes, strict=True)])
        pixels = from_planes(planes, dtype)
        for tile, header, reader in zip(pixels, headers, readers, strict=True):
            if level == 0:
                reader.close()
            if header.colour is not None:
                tile[...] = header.colour.rgb(tile, level)
            header.check(tile, level)
        return pixels

    def phase_of(self, planes: np.ndarray) -> BlockPhase:
        """The JPEG block phase to tell of a tile, int32 (bands, h, w).

        What is found may be no blocks: unless one begins at the first pixel, the middle of the tile must take fewer
        bits with it than without.
        """
        phase = find_phase(planes)
        if phase == NO_PHASE or phase.first:
            return phase
        top, left = (max(0, n - _SAMPLE) // 2 for n in planes.shape[1:])
        middle = planes[:, top : top + _SAMPLE, left : left + _SAMPLE]
        writers = [SymbolWriter(), SymbolWriter()]
        sides = middle.shape[1], middle.shape[2]
        flow = PhotoFlow(self.architecture, self.network, sides, phases=[phase.moved(top, left), NO_PHASE])
        flow.forward(np.stack([middle, middle]), writers)
        with_it, without = (len(writer.finish()) for writer in writers)
        return phase if with_it < without else NO_PHASE


def checked_levels(height: int, width: int) -> int:
    """How many levels of an image's tiles have a checksum, and so can be decoded alone: the finest, and coarser ones
    down to 32 pixels."""
    return 1 + sum(min(level_shape(height, width, k)) >= 32 for k in range(1, MAX_PREVIEW_LEVEL + 1))


def tile_size(side: int) -> int:
    """Side of the tiles of an image side: at most ``TILE``, near-equal, a multiple of ``TILE_ALIGN`` where cut."""
    count = -(-side // TILE)
    if count == 1:
        return side
    return -(-side // (count * TILE_ALIGN)) * TILE_ALIGN


def _checksum(pixels: np.ndarray) -> int:
    """CRC-32 of pixels (h, w, bands), band by band in coding order and row by row, little-endian."""
    planes = to_planes(pixels[None]).astype(pixels.dtype.newbyteorder("<"))
    return zlib.crc32(np.ascontiguousarray(planes).tobytes())
