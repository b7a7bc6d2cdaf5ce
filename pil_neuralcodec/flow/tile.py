"""The photo flow on tiles: iFlow (Zhang, Kang, Ryder, Li 2021) on integers without fractional bits.

At every level of a tile the polyphase components ``d``, ``b``, ``c`` are factored out, each by a mixture of logistics
that an exact integer network predicts from the known components: squeeze layers and conditional priors, in the terms of
``layers``. The coarsest level is one pixel, coded uniformly. Nothing is borrowed by bits-back, so there is no initial
cost, and coarse levels decode first.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coders.stream import SymbolReader, SymbolWriter
from ..coders.symbols import SymbolSink, SymbolSource
from ..colour.conversions import Past
from ..colour.past import ColourHeader, undo
from ..errors import ChecksumError, FormatError
from ..nets.backends import Network
from ..varint import read_varint, write_varint
from .architecture import CHANNELS, PhotoArchitecture
from .band_coder import BandByBand, BandDecoder, BandEncoder
from .block_phase import NO_PHASE, BlockPhase, find_phase
from .cells import Cells
from .lattice import has_prior
from .planes import from_planes, to_planes
from .polyphase import level_shape
from .pyramid import Walk
from .range_mapping import RangeMapping

TILE = 512
"""Largest side of a tile in pixels. Smaller tiles make larger files (0.2 % at 256), larger ones need more memory."""
TILE_ALIGN = 32
"""Tiles begin at multiples of this, so that the samples of levels up to 5 continue across tile borders."""
MAX_PREVIEW_LEVEL = 5
_SAMPLE = 128
"""Side in pixels of the middle of a tile that is coded to decide on a block phase."""


class TileHeader(NamedTuple):
    """The beginning of a tile's payload.

    It holds the CRC-32 of the samples at each checked level but the finest, whose checksum the symbol stream tells (u32
    each, finest first, little-endian), then for samples of 8 bits the JPEG block phase (a varint) and, where there are
    three bands, the colour header, or for samples of 16 bits the dynamic-range mapping.
    """

    checksums: tuple[int, ...]
    phase: BlockPhase = NO_PHASE
    mapping: RangeMapping | None = None
    colour: ColourHeader | None = None

    @staticmethod
    def of(pixels: np.ndarray, checked: int, phase: BlockPhase, colour: ColourHeader | None) -> TileHeader:
        """The header of a tile's pixels, uint8 or uint16 (h, w, bands), with checksums of ``checked`` levels."""
        checksums = tuple(_checksum(pixels[:: 1 << k, :: 1 << k]) for k in range(1, checked))
        return TileHeader(checksums, phase, RangeMapping.of(pixels) if pixels.dtype == np.uint16 else None, colour)

    def pack(self) -> bytes:
        """The header as bytes, for ``unpack``."""
        told = self.mapping.pack() if self.mapping is not None else write_varint(self.phase.number)
        if self.colour is not None:
            told += self.colour.pack()
        return struct.pack(f"<{len(self.checksums)}I", *self.checksums) + told

    @staticmethod
    def unpack(payload: bytes, checked: int, bands: int, dtype: np.dtype[Any]) -> tuple[TileHeader, memoryview]:
        """The header at the beginning of a payload, and the bytes after it. Raises ``FormatError``."""
        view = memoryview(payload)
        size = 4 * (checked - 1)
        if len(view) < size:
            raise FormatError("a tile ends in its header: the file is damaged or truncated")
        checksums, view = struct.unpack_from(f"<{checked - 1}I", view), view[size:]
        if dtype == np.uint16:
            mapping, at = RangeMapping.unpack(view)
            return TileHeader(checksums, mapping=mapping), view[at:]
        number, at = read_varint(view, 0)
        phase = BlockPhase.numbered(number)
        if bands != CHANNELS:
            return TileHeader(checksums, phase), view[at:]
        colour, view = ColourHeader.unpack(view[at:], lattices=True)
        return TileHeader(checksums, phase, colour=colour), view


class PhotoFlow(NamedTuple):
    """A ``layers.Layer`` for planes int32 (N, bands, h, w) of tiles of one size. Stateless and thread-safe.

    ``forward`` pops nothing, so each tile has a sink of its own instead of a stack.

    Parameters
    ----------
    sides
        (h, w) of the tiles.
    level
        Level at which ``inverse`` ends: its result has every 2**level-th sample.
    mappings, phases
        As in ``pyramid.Walk``.
    lattices, cells
        As in ``band_coder.BandEncoder``.
    """

    architecture: PhotoArchitecture
    network: Network[Any]
    sides: tuple[int, int]
    level: int = 0
    mappings: Sequence[RangeMapping] | None = None
    phases: Sequence[BlockPhase] | None = None
    lattices: Sequence[Past] | None = None
    cells: Sequence[Cells | None] | None = None

    def forward(self, planes: np.ndarray, stack: Sequence[SymbolSink]) -> np.ndarray:
        """See ``Layer``. All values are factored out: the result is empty."""
        for tile, sink, count in zip(planes, stack, self._counts(len(planes)), strict=True):
            sink.put_uniform(tile[:, 0, 0], count)
        with BandEncoder(planes, stack, self.architecture.backward_adaptation, self.lattices, self.cells) as coder:
            self._walk().whole(planes[..., :1, :1], BandByBand(coder, planes.shape[1]))
        return planes[:0]

    def inverse(self, values: np.ndarray, stack: Sequence[SymbolSource]) -> np.ndarray:
        """See ``Layer``; ``values`` is empty, (0, bands, ...)."""
        bands = values.shape[1]
        counts = self._counts(len(stack))
        top = np.stack([source.get_uniform(bands, count) for source, count in zip(stack, counts, strict=True)])
        decoder = BandDecoder(self.sides, stack, self.architecture.backward_adaptation, self.lattices, self.cells)
        return self._walk().whole(top.astype(np.int32)[:, :, None, None], BandByBand(decoder, bands), self.level)

    def _walk(self) -> Walk:
        return Walk(self.network, self.architecture, self.sides, mappings=self.mappings, phases=self.phases)

    def _counts(self, tiles: int) -> list[int]:
        """Number of values of a sample in each tile."""
        return [256] * tiles if self.mappings is None else [mapping.top + 1 for mapping in self.mappings]


class TileCoder(NamedTuple):
    """Codes tiles with one network. The payload of a tile is its header and a symbol stream of ``PhotoFlow``."""

    architecture: PhotoArchitecture
    network: Network[Any]
    cells: Cells | None = None
    """Of the bands of tiles whose colours are as they are."""

    def encode(self, pixels: np.ndarray, checked: int = 1, *, past: bool = True) -> list[bytes]:
        """Payloads of tiles uint8 or uint16 (N, h, w, bands), bands 1 or 3, with checksums of the ``checked`` finest
        levels. They do not depend on the other tiles of the batch.

        ``past``: undo the conversion that a tile's colours have been through, or take its lattice as a prior, if there
        is one."""
        colours: list[ColourHeader | None] = [None] * len(pixels)
        coded, has_phase = pixels, pixels.dtype == np.uint8
        if has_phase and pixels.shape[3] == CHANNELS:
            lattices = has_prior((pixels.shape[1], pixels.shape[2]))
            undone = [undo(tile, lattices) if past else (ColourHeader(), tile) for tile in pixels]
            colours, coded = [colour for colour, _ in undone], np.stack([tile for _, tile in undone])
        planes = to_planes(coded)
        phases = [self.phase_of(tile) if has_phase else NO_PHASE for tile in planes]
        told = zip(pixels, phases, colours, strict=True)
        headers = [TileHeader.of(tile, checked, phase, colour) for tile, phase, colour in told]
        mappings = [header.mapping for header in headers if header.mapping is not None] or None
        if mappings is not None:
            planes = np.stack([mapping.indices(tile) for mapping, tile in zip(mappings, planes, strict=True)])
        writers = [SymbolWriter() for _ in planes]
        sides = pixels.shape[1], pixels.shape[2]
        flow = PhotoFlow(
            self.architecture,
            self.network,
            sides,
            mappings=mappings,
            phases=phases,
            lattices=_lattices(headers),
            cells=self._cells(headers),
        )
        flow.forward(planes, writers)
        coded_tiles = zip(pixels, headers, writers, strict=True)
        return [header.pack() + writer.finish(_checksum(tile)) for tile, header, writer in coded_tiles]

    def decode(
        self,
        payloads: list[bytes],
        shape: tuple[int, int, int],
        checked: int = 1,
        level: int = 0,
        dtype: npt.DTypeLike = np.uint8,
    ) -> np.ndarray:
        """Pixels (N, h, w, bands) from the payloads of tiles of the same size.

        Parameters
        ----------
        payloads
            Results of ``encode``.
        shape
            (h, w, bands) of a whole tile.
        checked
            As in ``encode``.
        level
            Decode every ``2**level``-th pixel only, for a fraction of the work; less than ``checked``.
        dtype
            uint8 or uint16.

        Raises
        ------
        FormatError
            For malformed data.
        ChecksumError
            If the pixels are not those that were encoded.
        """
        if not 0 <= level < checked:
            raise ValueError(f"level {level} has no checksum, so it cannot be decoded")
        dtype = np.dtype(dtype)
        headers, streams = zip(*(TileHeader.unpack(one, checked, shape[2], dtype) for one in payloads), strict=True)
        readers = [SymbolReader(stream) for stream in streams]
        mappings = [header.mapping for header in headers if header.mapping is not None] or None
        phases = [header.phase for header in headers]
        lattices, cells = _lattices(headers), self._cells(headers)
        flow = PhotoFlow(self.architecture, self.network, shape[:2], level, mappings, phases, lattices, cells)
        planes = flow.inverse(np.empty((0, shape[2]), np.int32), readers)
        if mappings is not None:
            planes = np.stack([mapping.samples(tile) for mapping, tile in zip(mappings, planes, strict=True)])
        pixels = from_planes(planes, dtype)
        for tile, header, reader in zip(pixels, headers, readers, strict=True):
            checksum = header.checksums[level - 1] if level else reader.told()
            if header.colour is not None:
                tile[...] = header.colour.rgb(tile, level)
            if checksum != _checksum(tile):
                raise ChecksumError("the pixels of a tile differ from their checksum: the file is damaged")
        return pixels

    def _cells(self, headers: Sequence[TileHeader]) -> list[Cells | None]:
        """Those of tiles whose colours are neither converted nor weighed by a lattice."""
        return [self.cells if header.colour is None or header.colour.is_plain else None for header in headers]

    def phase_of(self, planes: np.ndarray) -> BlockPhase:
        """The JPEG block phase to signal for the planes of a tile, int32 (bands, h, w).

        ``find_phase`` may be wrong: unless a block begins at the first pixel, the middle of the tile must take fewer
        bits with the phase than without.
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


def _lattices(headers: Sequence[TileHeader]) -> list[Past]:
    return [Past.NONE if header.colour is None else header.colour.lattice for header in headers]


def checked_levels(height: int, width: int) -> int:
    """Number of levels with a checksum, which can be decoded without finer ones, in tiles of this size: the finest, and
    coarser ones of at least 32 pixels a side."""
    return 1 + sum(min(level_shape(height, width, k)) >= 32 for k in range(1, MAX_PREVIEW_LEVEL + 1))


def tile_size(side: int) -> int:
    """Side of the near-equal tiles into which ``side`` pixels are cut: at most ``TILE``, a multiple of ``TILE_ALIGN``
    if there are several."""
    count = -(-side // TILE)
    if count == 1:
        return side
    return -(-side // (count * TILE_ALIGN)) * TILE_ALIGN


def _checksum(pixels: np.ndarray) -> int:
    """CRC-32 of pixels (h, w, bands), band by band in coding order and row by row, little-endian."""
    planes = to_planes(pixels[None]).astype(pixels.dtype.newbyteorder("<"))
    return zlib.crc32(np.ascontiguousarray(planes).tobytes())
