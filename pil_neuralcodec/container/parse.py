"""Parse a header. Each defect, and anything that a newer version may have written, has an error of its own."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, pairwise, repeat
from typing import Final, NoReturn

from ..errors import NEWER, ChecksumError, FormatError, LimitError, TruncatedError, UnsupportedError
from ..varint import read_varint
from .layout import (
    BIT_DEPTHS,
    CELLS_SIZE,
    CRC_SIZE,
    MAGIC,
    MAX_BODY,
    MAX_FILE,
    MAX_METADATA,
    MAX_SIDE,
    MODEL_ID_SIZE,
    MODES,
    RANKED,
    RANKS_SIZE,
    UNEVEN,
    VERSION,
    ChunkRef,
    Frame,
    Header,
    ImageSpec,
    MetadataType,
    Method,
    SampleKind,
    Segment,
)

_METHODS: Final = {
    method + RANKED * ranked + UNEVEN * uneven: (method, ranked, uneven)
    for method in Method
    for ranked in (False, True)[: 1 + method.may_rank]
    for uneven in (False, True)[: 1 + method.may_have_cells]
}
"""By code: the method, whether it codes ranks, and whether cells have unequal widths."""
_METADATA_CODES: Final = frozenset(map(int, MetadataType))
_MODE_NAMES: Final = {0: ""} | {mode.code: name for name, mode in MODES.items()}


class _Cursor:
    """Reads a byte string from the left; ``ended`` makes the error for a string that is too short."""

    def __init__(self, data: bytes, position: int, ended: Callable[[str], FormatError]) -> None:
        self.data, self.position, self._ended = data, position, ended

    def take(self, size: int, what: str) -> bytes:
        piece = self.data[self.position : self.position + size]
        if len(piece) < size:
            raise self._ended(what)
        self.position += size
        return piece

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def varint(self, what: str) -> int:
        try:
            value, self.position = read_varint(self.data, self.position)
        except TruncatedError:
            raise self._ended(what) from None
        except FormatError as error:
            raise FormatError(f"the header is malformed: {what}: {error}") from None
        return value

    def varints(self, count: int, what: str) -> list[int]:
        """``count`` varints. A header may hold a million, so those of one byte are read without a call."""
        values = []
        for _ in range(count):
            if self.position < len(self.data) and (byte := self.data[self.position]) < 128:
                self.position += 1
                values.append(byte)
            else:
                values.append(self.varint(what))
        return values


def header_size(data: bytes) -> int:
    """Size in bytes of the header that starts with ``data``, from the magic number to the CRC."""
    _format(data)

    def ended(what: str) -> TruncatedError:
        return TruncatedError(f"the file is truncated: it ends in the {what}")

    cursor = _Cursor(data, 8, ended)
    version = cursor.byte("version")
    if version != VERSION:
        raise UnsupportedError(f"format version {version} is not known: the file was {NEWER}")
    length = cursor.varint("header length")
    if length > MAX_BODY:
        raise LimitError(f"the header claims {length} bytes, the limit is {MAX_BODY}")
    return cursor.position + length + CRC_SIZE


def _format(data: bytes) -> str:
    for name, magic in MAGIC.items():
        if data[:8] == magic:
            return name
        if len(data) < 8 and magic.startswith(data):
            raise TruncatedError(f"the file is truncated: it ends in its magic number, after {len(data)} bytes")
        if data[:4] == magic[:4]:
            raise FormatError(f"the magic number of an .{name} file is damaged: was it transferred as text?")
    raise FormatError("not an .ifl or .bsw file: wrong magic number")


def parse_header(data: bytes, start: int, max_pixels: int | None) -> Header[ChunkRef]:
    """Parse a header.

    Parameters
    ----------
    data
        The header's bytes, from the magic number to the CRC.
    start
        Position of the header in the file object.
    max_pixels
        Limit as in ``read_header``.
    """
    crc = zlib.crc32(data[:-CRC_SIZE])
    if crc != int.from_bytes(data[-CRC_SIZE:], "little"):
        raise ChecksumError("the header is damaged: wrong checksum")
    return _Parser(data, start, crc, max_pixels).header()


class _Parser:
    """Parses a header whose checksum is right: what it refuses was written wrongly, or by a newer version."""

    def __init__(self, data: bytes, start: int, crc: int, max_pixels: int | None) -> None:
        self._format, self._size = _format(data), len(data)
        self._start, self._crc, self._max_pixels = start, crc, max_pixels
        self._number, self._offset = 0, start + len(data)
        self._cursor = _Cursor(data[:-CRC_SIZE], 9, lambda what: self._bad(f"it ends in the {what}"))
        self._cursor.varint("header length")

    @staticmethod
    def _bad(why: str) -> FormatError:
        return FormatError(f"the header is malformed: {why}")

    @staticmethod
    def _newer(what: str) -> NoReturn:
        raise UnsupportedError(f"{what} is not known: the file was {NEWER}")

    def header(self) -> Header[ChunkRef]:
        cursor = self._cursor
        flags = cursor.byte("flags")
        if flags & ~1:
            self._newer(f"header flags {flags:#04x}")
        model = cursor.take(MODEL_ID_SIZE, "model id") if flags else None
        spec = self._spec()
        metadata = self._table()
        frames: list[Frame[ChunkRef]] = []
        for _ in range(self._count("frame")):
            frames.append(self._frame(spec, model))
            spec = frames[-1].spec
        if cursor.position != len(cursor.data):
            raise self._bad(f"{len(cursor.data) - cursor.position} bytes are left over")
        if model is not None and not any(segment.method.needs_model for frame in frames for segment in frame.segments):
            raise self._bad("a model id that no method needs")
        return Header(tuple(frames), model, metadata, self._format, self._size, self._offset - self._start)

    def _count(self, what: str) -> int:
        """A number of at least 1, of items that take at least a byte each."""
        number = self._cursor.varint(f"{what} count")
        left = len(self._cursor.data) - self._cursor.position
        if not 1 <= number <= left:
            raise self._bad(f"{what} count {number}, with {left} bytes left")
        return number

    def _chunks(self, lengths: list[int]) -> tuple[ChunkRef, ...]:
        """The next chunks of the file, from the lengths of their payloads."""
        offsets = list(accumulate((length + CRC_SIZE for length in lengths), initial=self._offset))
        self._offset = offsets[-1]
        if self._offset > MAX_FILE:
            raise LimitError(f"the header claims chunks of more than {MAX_FILE} bytes")
        first, self._number = self._number, self._number + len(lengths)
        return tuple(map(ChunkRef, range(first, self._number), offsets, lengths, repeat(self._crc)))

    def _spec(self) -> ImageSpec:
        cursor = self._cursor
        code = cursor.varint("mode")
        if code not in _MODE_NAMES:
            self._newer(f"mode {code}")
        name = _MODE_NAMES[code]
        if name:
            kind, bit_depth = MODES[name].kind, MODES[name].bit_depth
        else:
            sample = cursor.byte("sample type")
            if sample >> 6 > max(SampleKind):
                self._newer(f"sample kind {sample >> 6}")
            kind, bit_depth = SampleKind(sample >> 6), (sample & 63) + 1
            if bit_depth not in BIT_DEPTHS[kind]:
                self._newer(f"a type of {bit_depth}-bit {kind.name.lower()} samples")
        width, height = cursor.varint("width"), cursor.varint("height")
        if width == 0 or height == 0:
            raise self._bad(f"an image of {width} x {height} pixels")
        self._limit(width, height, 1)
        return ImageSpec(name, width, height, bit_depth, kind)

    def _limit(self, width: int, height: int, bands: int) -> None:
        if max(width, height) > MAX_SIDE:
            raise LimitError(f"an image of {width} x {height} pixels: the limit is {MAX_SIDE} a side")
        # Pillow's limit is on pixels of up to four samples, so four bands count as one image.
        if self._max_pixels is not None and width * height * -(-bands // 4) > self._max_pixels:
            bands_text = f" x {bands} bands" if bands > 4 else ""
            raise LimitError(
                f"an image of {width} x {height} pixels{bands_text} exceeds the limit of {self._max_pixels} pixels: "
                "if you trust the file, raise max_pixels (with Pillow, Image.MAX_IMAGE_PIXELS)"
            )

    def _table(self) -> dict[MetadataType, ChunkRef]:
        cursor = self._cursor
        table: dict[MetadataType, ChunkRef] = {}
        last = 0
        for _ in range(cursor.varint("metadata count")):
            code = cursor.varint("metadata type")
            if code <= last:
                raise self._bad(f"metadata type {code} after {last}")
            if code not in _METADATA_CODES:
                self._newer(f"metadata type {code}")
            kind, last = MetadataType(code), code
            length = cursor.varint("length of a metadata chunk")
            if length > MAX_METADATA:
                raise LimitError(f"{kind.name} metadata of {length} bytes: the limit is {MAX_METADATA}")
            (table[kind],) = self._chunks([length])
        return table

    def _frame(self, spec: ImageSpec, model: bytes | None) -> Frame[ChunkRef]:
        cursor = self._cursor
        flags = cursor.byte("frame flags")
        if flags & ~7:
            self._newer(f"frame flags {flags:#04x}")
        duration = cursor.varint("duration") if flags & 1 else None
        if flags & 2:
            own = self._spec()
            if own == spec:
                raise self._bad("a frame repeats the image description of the frame before")
            spec = own
        metadata = self._table() if flags & 4 else {}
        if flags & 4 and not metadata:
            raise self._bad("an empty metadata table of a frame")
        bands = 0
        segments = []
        for _ in range(self._count("segment")):
            segments.append(self._segment(spec, bands, model))
            bands += segments[-1].bands[1]
            self._limit(spec.width, spec.height, bands)
        if spec.mode and bands != MODES[spec.mode].bands:
            raise self._bad(f"{bands} bands in mode {spec.mode}")
        return Frame(spec, tuple(segments), duration, metadata)

    def _segment(self, spec: ImageSpec, first: int, model: bytes | None) -> Segment[ChunkRef]:
        cursor = self._cursor
        code = cursor.varint("method")
        if code not in _METHODS:
            self._newer(f"method {code}")
        method, ranked, uneven = _METHODS[code]
        if method.needs_model and model is None:
            raise self._bad(f"method {method.name} without a model id")
        bands = cursor.varint("band count")
        if bands == 0:
            raise self._bad("a segment of no bands")
        tile_w = tile_h = 0
        if method.is_tiled:
            tile_w, tile_h = cursor.varint("tile width"), cursor.varint("tile height")
            if not (tile_w and tile_h):
                raise self._bad(f"tiles of {tile_w} x {tile_h} pixels")
        ranks = self._ranks(spec, bands) if ranked else ()
        cells = self._cells(spec, bands) if uneven else ()
        segment: Segment[ChunkRef] = Segment(method, (first, bands), (), tile_w, tile_h, ranks, cells)
        columns, rows = segment.tile_counts(spec)
        left = len(cursor.data) - cursor.position
        if columns * rows > left:
            raise self._bad(f"{columns} x {rows} tiles, with {left} bytes left")
        chunks = self._chunks(cursor.varints(columns * rows, "length of a tile"))
        return replace(segment, chunks=chunks)

    def _tables(self, of: str, spec: ImageSpec, bands: int, size: int, what: str) -> tuple[bytes, ...]:
        """``size`` bytes for each band of samples of 8 bits."""
        if spec.bit_depth != 8:
            raise self._bad(f"{of} of samples of {spec.bit_depth} bits")
        data = self._cursor.take(bands * size, what)
        return tuple(data[i : i + size] for i in range(0, len(data), size))

    def _cells(self, spec: ImageSpec, bands: int) -> tuple[bytes, ...]:
        """The edges between cells in each band of a segment."""
        tables = self._tables("cells", spec, bands, CELLS_SIZE, "edges of cells")
        for table in tables:
            moves = [0, *memoryview(table).cast("b"), 0]
            if max(map(abs, moves)) > 63 or any(low >= high + 64 for low, high in pairwise(moves)):
                raise self._bad("edges of cells that do not rise")
        return tables

    def _ranks(self, spec: ImageSpec, bands: int) -> tuple[bytes, ...]:
        """The ranks of samples in each band of a segment."""
        tables = self._tables("ranks", spec, bands, RANKS_SIZE, "samples that occur")
        counts = [int.from_bytes(table[1:], "little").bit_count() for table in tables]
        if min(counts) == 0 or min(counts) == 256:
            raise self._bad("ranks where no samples occur, or all")
        if any(table[0] + count > 256 for table, count in zip(tables, counts, strict=True)):
            raise self._bad("ranks beyond 255")
        return tables
