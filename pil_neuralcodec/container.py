"""The byte layout of ``.ifl`` and ``.bsw`` files: header, metadata and tile chunks, checksums, limits.

Specification on one page: ``docs/format.md``. This module moves bytes only: it knows which chunk holds which tile of
which bands, made by which method, and nothing of what a payload means.

A file is described by one `Header`, of type ``Header[bytes]`` (every chunk is its payload) for writing, and
``Header[ChunkRef]`` (every chunk is a place in the file) after reading::

    spec = ImageSpec.of("L", 3, 2)
    segment = Segment(Method.RAW, bands=(0, 1), chunks=(b"abcdef",))
    data = write(Header(frames=(Frame(spec, (segment,)),)))

    header = read_header(io.BytesIO(data))
    payload = read_chunk(io.BytesIO(data), header.frames[0].segments[0].chunks[0])
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate, chain, repeat
from typing import Final, Generic, NamedTuple, NoReturn, Protocol, TypeVar

from .errors import ChecksumError, FormatError, LimitError, TruncatedError, UnsupportedError
from .varint import write_varint

C = TypeVar("C")
D = TypeVar("D")

MAGIC: Final[Mapping[str, bytes]] = {"ifl": b"\x89IFL\r\n\x1a\n", "bsw": b"\x89BSW\r\n\x1a\n"}
"""First eight bytes of each format. As in PNG they show a transfer that changed line ends or stripped the high bit."""
VERSION: Final = 1

MAX_PIXELS: Final = 178_956_970
"""Default limit on width x height: where Pillow refuses an image (twice its default ``MAX_IMAGE_PIXELS``)."""
MAX_SIDE: Final = 2**31 - 1
MAX_BODY: Final = 2**20
"""Limit on the header in bytes. About 350 000 tiles; it also bounds what a hostile header can make us allocate."""
MAX_METADATA: Final = 16 * 2**20
"""Limit on one metadata chunk in bytes."""
MAX_FILE: Final = 2**63 - 1
MODEL_ID_SIZE: Final = 8
CRC_SIZE: Final = 4

_FIRST_READ: Final = 64
_PIECE: Final = 2**20
_NEWER: Final = "the file was made by a newer version of pil_neuralcodec (or is damaged): upgrade to read it"


class SampleKind(IntEnum):
    """What the bits of a sample mean."""

    UNSIGNED = 0
    SIGNED = 1
    FLOAT = 2


class Method(IntEnum):
    """How the chunks of a segment are coded. Methods from 16 on need the model that the header names."""

    RAW = 0
    FILTERED = 1
    WEBP = 2
    PREDICTOR = 3
    NETWORK = 16
    BITSWAP = 17
    PATCH = 18

    @property
    def needs_model(self) -> bool:
        """Whether chunks of this method can only be decoded with the header's model."""
        return self >= 16


class MetadataType(IntEnum):
    """What a metadata chunk holds. In one table each type occurs at most once."""

    ICC = 1
    """An ICC profile."""
    EXIF = 2
    """An Exif block, as passed to ``save``."""
    XMP = 3
    """An XMP packet, as passed to ``save``."""
    PALETTE = 4
    """u8 length of the palette's mode, the mode in ASCII ("RGB", "RGBA", ...), the entries in that mode."""
    TRANSPARENCY = 5
    """Pillow's ``info["transparency"]``: u8 0 and one varint (an index or level), u8 1 and bytes (alpha by index), or
    u8 2 and varints (a colour)."""
    DPI = 6
    """Two little-endian float64: dots per inch across and down."""
    LOOP = 7
    """One varint: how often an animation is played, 0 for ever."""
    AXES = 8
    """Of an array with named axes: u8 1 if it lies in memory in Fortran order, plus 2 if its samples are big-endian; u8
    number of axes, their letters in ASCII, a varint size of each. The frame is a sheet with the images one below the
    other, in C order of the axes that are not Y, X and C."""
    TEXT = 9
    """Texts with a keyword each, as in PNG: for each a varint length and the keyword in UTF-8, a varint length and the
    text in UTF-8."""
    COMMENT = 10
    """A comment, as in JPEG and GIF: any bytes."""


_METHOD_CODES: Final = frozenset(map(int, Method))
_METADATA_CODES: Final = frozenset(map(int, MetadataType))


class _Mode(NamedTuple):
    code: int
    bands: int
    kind: SampleKind
    bit_depth: int


_U, _S, _F = SampleKind
_MODES: Final[Mapping[str, _Mode]] = {
    "1": _Mode(1, 1, _U, 1),
    "L": _Mode(2, 1, _U, 8),
    "LA": _Mode(3, 2, _U, 8),
    "La": _Mode(4, 2, _U, 8),
    "P": _Mode(5, 1, _U, 8),
    "PA": _Mode(6, 2, _U, 8),
    "RGB": _Mode(7, 3, _U, 8),
    "RGBA": _Mode(8, 4, _U, 8),
    "RGBX": _Mode(9, 4, _U, 8),
    "RGBa": _Mode(10, 4, _U, 8),
    "CMYK": _Mode(11, 4, _U, 8),
    "YCbCr": _Mode(12, 3, _U, 8),
    "LAB": _Mode(13, 3, _U, 8),
    "HSV": _Mode(14, 3, _U, 8),
    "I;16": _Mode(15, 1, _U, 16),
    "I;16L": _Mode(16, 1, _U, 16),
    "I;16B": _Mode(17, 1, _U, 16),
    "I;16N": _Mode(18, 1, _U, 16),
    "I": _Mode(19, 1, _S, 32),
    "F": _Mode(20, 1, _F, 32),
}
_MODE_BY_CODE: Final = {0: ""} | {mode.code: name for name, mode in _MODES.items()}
MODES: Final = tuple(_MODES)
"""Pillow modes that a file can name. Besides these there is "", an array that is no Pillow image."""


class ReadableFile(Protocol):
    """What this module needs of a file to read."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; may be fewer, but none only at the end."""

    def seek(self, offset: int, whence: int = ..., /) -> object:
        """As of any Python file; the result is not used."""

    def tell(self) -> int:
        """The position in bytes."""


class WritableFile(Protocol):
    """What this module needs of a file to write."""

    def write(self, data: bytes, /) -> object:
        """Write all of ``data``; the result is not used."""


class ChunkRef(NamedTuple):
    """Where a chunk lies. ``number`` counts the file's chunks from 0, ``offset`` is the payload's place in the file
    object (bytes from its position 0), ``length`` the payload's size in bytes without the CRC, ``header_crc`` the
    header's CRC-32."""

    number: int
    offset: int
    length: int
    header_crc: int

    def crc(self, payload: bytes) -> int:
        """CRC-32 of the chunk. It goes on from the header's and includes the number, so that a chunk that is sound
        but in the wrong place, or from another file, is noticed."""
        return zlib.crc32(payload, zlib.crc32(self.number.to_bytes(4, "little"), self.header_crc))


@dataclass(frozen=True)
class ImageSpec:
    """Geometry and sample type of a frame.

    ``mode`` is one of `MODES`, or "" for an array of any number of bands; ``width`` and ``height`` are in pixels
    (1 .. 2**31 - 1). A sample has ``bit_depth`` bits (1 .. 64) and is of ``kind``; in a mode of unsigned samples
    ``bit_depth`` may be less than the mode has.
    """

    mode: str
    width: int
    height: int
    bit_depth: int = 8
    kind: SampleKind = SampleKind.UNSIGNED

    @classmethod
    def of(cls, mode: str, width: int, height: int) -> ImageSpec:
        """The specification of a Pillow image. Raises `UnsupportedError` for a mode that has no code."""
        if mode not in _MODES:
            raise UnsupportedError(f"cannot write mode {mode} as IFL")
        return cls(mode, width, height, _MODES[mode].bit_depth, _MODES[mode].kind)


@dataclass(frozen=True)
class Segment(Generic[C]):
    """Some bands of a frame, coded by one method, one chunk per tile.

    ``bands`` is (first, count); the segments of a frame follow each other without gap from band 0 to the last.
    ``tile_w`` and ``tile_h`` are in pixels, both 0 for one chunk that holds the whole frame. ``chunks`` go row by row.
    """

    method: Method
    bands: tuple[int, int]
    chunks: tuple[C, ...]
    tile_w: int = 0
    tile_h: int = 0

    def grid(self, spec: ImageSpec) -> tuple[int, int]:
        """(columns, rows) of tiles."""
        if self.tile_w == 0:
            return 1, 1
        return -(-spec.width // self.tile_w), -(-spec.height // self.tile_h)

    def boxes(self, spec: ImageSpec) -> Iterator[tuple[int, int, int, int]]:
        """(left, top, right, bottom) in pixels of every tile, in the order of ``chunks``."""
        columns, rows = self.grid(spec)
        tile_w, tile_h = self.tile_w or spec.width, self.tile_h or spec.height
        for top in range(0, rows * tile_h, tile_h):
            for left in range(0, columns * tile_w, tile_w):
                yield left, top, min(left + tile_w, spec.width), min(top + tile_h, spec.height)


@dataclass(frozen=True)
class Frame(Generic[C]):
    """One image of the file. ``duration`` in milliseconds or None; ``metadata`` is for this frame alone and goes before
    the file's own of the same type."""

    spec: ImageSpec
    segments: tuple[Segment[C], ...]
    duration: int | None = None
    metadata: Mapping[MetadataType, C] = field(default_factory=dict)


@dataclass(frozen=True)
class Header(Generic[C]):
    """A whole file. ``format`` is a key of `MAGIC`, ``model`` the id (8 bytes) of the model that methods from 16 on
    need, ``metadata`` is for all frames. ``size`` and ``file_size`` in bytes are set by reading."""

    frames: tuple[Frame[C], ...]
    model: bytes | None = None
    metadata: Mapping[MetadataType, C] = field(default_factory=dict)
    format: str = "ifl"
    size: int = field(default=0, compare=False)
    file_size: int = field(default=0, compare=False)

    @property
    def spec(self) -> ImageSpec:
        """That of the first frame."""
        return self.frames[0].spec

    def frame_metadata(self, frame: int) -> dict[MetadataType, C]:
        """The file's metadata with those of one frame put over them."""
        return {**self.metadata, **self.frames[frame].metadata}

    def chunks(self) -> Iterator[C]:
        """All chunks in the order of the file."""
        yield from _by_type(self.metadata).values()
        for frame in self.frames:
            yield from _by_type(frame.metadata).values()
            yield from chain.from_iterable(segment.chunks for segment in frame.segments)


def write(header: Header[bytes]) -> bytes:
    """The bytes of a file. Errors as `write_to`."""
    out = io.BytesIO()
    write_to(out, header)
    return out.getvalue()


def write_to(fp: WritableFile, header: Header[bytes]) -> int:
    """Write a file to ``fp``, which need not be seekable, and return its size in bytes.

    Nothing is written unless the header is one that `read_header` accepts (the pixel limit aside). Raises `LimitError`
    for metadata of more than 16 MiB and too many tiles, `UnsupportedError` for a mode without a code, `FormatError` and
    ``ValueError`` for a description that contradicts itself.
    """
    head = _header_bytes(header)
    # One set of rules: what would not be read back is not written.
    parsed = _parse_header(head, 0, None)
    if _map(parsed, lambda ref: ref.length) != _map(header, len):
        raise ValueError("the segments of a frame must cover its bands in order")
    fp.write(head)
    for ref, payload in zip(parsed.chunks(), header.chunks(), strict=True):
        fp.write(payload)
        fp.write(ref.crc(payload).to_bytes(CRC_SIZE, "little"))
    return parsed.file_size


def read_header(
    fp: ReadableFile, *, max_pixels: int | None = MAX_PIXELS, allow_truncated: bool = False
) -> Header[ChunkRef]:
    """Read the header of the file that starts at the present position of ``fp`` and ends where ``fp`` ends.

    Reads 64 bytes, and the rest of the header when it is longer. ``max_pixels`` bounds width x height of every frame,
    and a quarter of its samples; None is no limit. With ``allow_truncated`` a file that ends early is accepted as long
    as its header is whole; `read_chunk` then tells which chunks survive.

    Raises `FormatError` (`TruncatedError`, `ChecksumError`) for what is no such file or a damaged one, `LimitError`
    for a size over a limit, `UnsupportedError` for what a newer version wrote.
    """
    start = fp.tell()
    data = _read(fp, _FIRST_READ)
    size = _header_size(data)
    if size > len(data):
        data += _read(fp, size - len(data))
        if size > len(data):
            raise TruncatedError(f"the file is truncated in its header, at byte {len(data)} of {size}")
    header = _parse_header(data[:size], start, max_pixels)
    fp.seek(0, io.SEEK_END)
    actual = fp.tell() - start
    if actual > header.file_size:
        raise FormatError(f"{actual - header.file_size} trailing bytes after the end of the file at {header.file_size}")
    if actual < header.file_size and not allow_truncated:
        raise TruncatedError(
            f"the file is truncated: it has {actual} of {header.file_size} bytes "
            "(Pillow's ImageFile.LOAD_TRUNCATED_IMAGES loads the tiles that survive)"
        )
    return header


def read_chunk(fp: ReadableFile, ref: ChunkRef) -> bytes:
    """The payload of a chunk.

    Raises `TruncatedError` when the file ends within the chunk, `ChecksumError` when the chunk is damaged.
    """
    data = read_chunk_prefix(fp, ref, ref.length)
    _check_chunk(fp, ref, ref.crc(data))
    return data


def read_chunk_prefix(fp: ReadableFile, ref: ChunkRef, size: int) -> bytes:
    """The first ``size`` bytes of a payload, or all of a shorter one, **not** checked against the chunk's CRC.

    Raises `TruncatedError` when the file ends before them.
    """
    size = min(size, ref.length)
    fp.seek(ref.offset)
    data = _read(fp, size)
    if len(data) < size:
        raise _truncated(ref, len(data))
    return data


def verify(fp: ReadableFile) -> Header[ChunkRef]:
    """Check every byte of the file that starts at the present position of ``fp``, in bounded memory, decoding nothing.

    Returns the header; raises as `read_header` and `read_chunk`.
    """
    header = read_header(fp, max_pixels=None)
    for ref in header.chunks():
        fp.seek(ref.offset)
        crc, left = ref.crc(b""), ref.length
        while left:
            piece = _read(fp, min(left, _PIECE))
            if not piece:
                raise _truncated(ref, ref.length - left)
            crc, left = zlib.crc32(piece, crc), left - len(piece)
        _check_chunk(fp, ref, crc)
    return header


# --- writing ---


def _by_type(metadata: Mapping[MetadataType, C]) -> dict[MetadataType, C]:
    return dict(sorted(metadata.items()))


def _spec_bytes(spec: ImageSpec, format: str) -> bytes:
    if spec.mode not in _MODES and spec.mode != "":
        raise UnsupportedError(f"cannot write mode {spec.mode} as {format.upper()}")
    if not 1 <= spec.bit_depth <= 64:
        raise ValueError(f"bit depth {spec.bit_depth} is not between 1 and 64")
    code = _MODES[spec.mode].code if spec.mode else 0
    sample = SampleKind(spec.kind) << 6 | spec.bit_depth - 1
    return write_varint(code) + bytes([sample]) + write_varint(spec.width) + write_varint(spec.height)


def _table_bytes(metadata: Mapping[MetadataType, bytes]) -> bytes:
    rows = (write_varint(kind) + write_varint(len(payload)) for kind, payload in _by_type(metadata).items())
    return write_varint(len(metadata)) + b"".join(rows)


def _header_bytes(header: Header[bytes]) -> bytes:
    """Everything before the first chunk."""
    if header.format not in MAGIC:
        raise ValueError(f"format {header.format!r} is none of {', '.join(MAGIC)}")
    if not header.frames:
        raise ValueError("a file needs at least one frame")
    if header.model is not None and len(header.model) != MODEL_ID_SIZE:
        raise ValueError(f"a model id has {MODEL_ID_SIZE} bytes, not {len(header.model)}")
    body = bytearray([header.model is not None])
    body += header.model or b""
    body += _spec_bytes(header.spec, header.format)
    body += _table_bytes(header.metadata)
    body += write_varint(len(header.frames))
    spec = header.spec
    for frame in header.frames:
        body.append((frame.duration is not None) | (frame.spec != spec) << 1 | bool(frame.metadata) << 2)
        if frame.duration is not None:
            body += write_varint(frame.duration)
        if frame.spec != spec:
            body += _spec_bytes(frame.spec, header.format)
        if frame.metadata:
            body += _table_bytes(frame.metadata)
        spec = frame.spec
        body += write_varint(len(frame.segments))
        for segment in frame.segments:
            for value in (segment.method, segment.bands[1], segment.tile_w, segment.tile_h):
                body += write_varint(value)
            for payload in segment.chunks:
                body += write_varint(len(payload))
    if len(body) > MAX_BODY:
        raise LimitError(f"the header would have {len(body)} bytes, the limit is {MAX_BODY}: use larger tiles")
    head = MAGIC[header.format] + bytes([VERSION]) + write_varint(len(body)) + body
    return head + zlib.crc32(head).to_bytes(CRC_SIZE, "little")


def _map(header: Header[C], function: Callable[[C], D]) -> Header[D]:
    """The same header with ``function`` of every chunk."""

    def table(metadata: Mapping[MetadataType, C]) -> dict[MetadataType, D]:
        return {kind: function(chunk) for kind, chunk in metadata.items()}

    def segment(old: Segment[C]) -> Segment[D]:
        first, count = old.bands
        return Segment(old.method, (first, count), tuple(map(function, old.chunks)), old.tile_w, old.tile_h)

    frames = (Frame(f.spec, tuple(map(segment, f.segments)), f.duration, table(f.metadata)) for f in header.frames)
    return Header(tuple(frames), header.model, table(header.metadata), header.format)


# --- reading ---


def _read(fp: ReadableFile, size: int) -> bytes:
    """``size`` bytes, or fewer where the file ends. Never asks for more than 1 MiB at once: a length may be a lie."""
    pieces = []
    while size > 0:
        piece = fp.read(min(size, _PIECE))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _truncated(ref: ChunkRef, got: int) -> TruncatedError:
    return TruncatedError(
        f"the file is truncated in chunk {ref.number} (at byte {ref.offset}), after {got} of {ref.length} bytes"
    )


def _check_chunk(fp: ReadableFile, ref: ChunkRef, crc: int) -> None:
    """Compare ``crc`` with that stored at the present position of ``fp``."""
    stored = _read(fp, CRC_SIZE)
    if len(stored) < CRC_SIZE:
        raise TruncatedError(f"the file is truncated in the checksum of chunk {ref.number} (at byte {ref.offset})")
    if crc != int.from_bytes(stored, "little"):
        raise ChecksumError(f"chunk {ref.number} (at byte {ref.offset}, {ref.length} bytes) is damaged: wrong checksum")


class _Cursor:
    """Reads a byte string from the left; ``ended`` makes the error to raise where it is too short."""

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
        value = 0
        for shift in range(0, 63, 7):
            byte = self.byte(what)
            value |= (byte & 127) << shift
            if byte < 128:
                if byte == 0 and shift:
                    raise FormatError(f"the header is malformed: overlong varint for the {what}")
                return value
        raise FormatError(f"the header is malformed: varint of more than 63 bits for the {what}")

    def varints(self, count: int, what: str) -> list[int]:
        """``count`` of them; short ones by a short way, for a header may hold a million."""
        values = []
        for _ in range(count):
            if self.position < len(self.data) and (byte := self.data[self.position]) < 128:
                self.position += 1
                values.append(byte)
            else:
                values.append(self.varint(what))
        return values


def _header_size(data: bytes) -> int:
    """Size in bytes of the header that starts with ``data``, from magic to CRC."""
    _format(data)

    def ended(what: str) -> TruncatedError:
        return TruncatedError(f"the file is truncated: it ends in the {what}")

    cursor = _Cursor(data, 8, ended)
    version = cursor.byte("version")
    if version != VERSION:
        raise UnsupportedError(f"format version {version} is not known: {_NEWER}")
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


def _parse_header(data: bytes, start: int, max_pixels: int | None) -> Header[ChunkRef]:
    """The header whose bytes, from magic to CRC, are ``data`` and which starts at ``start`` of the file object."""
    crc = zlib.crc32(data[:-CRC_SIZE])
    if crc != int.from_bytes(data[-CRC_SIZE:], "little"):
        raise ChecksumError("the header is damaged: wrong checksum")
    return _Parser(data, start, crc, max_pixels).header()


class _Parser:
    """Takes to pieces a header whose checksum was right: what it refuses was written wrongly, or by a newer version."""

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
        raise UnsupportedError(f"{what} is not known: {_NEWER}")

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
        return Header(tuple(frames), model, metadata, self._format, self._size, self._offset - self._start)

    def _count(self, what: str) -> int:
        """A number of things that are at least one, and that each take at least a byte."""
        number = self._cursor.varint(f"{what} count")
        left = len(self._cursor.data) - self._cursor.position
        if not 1 <= number <= left:
            raise self._bad(f"{what} count {number}, with {left} bytes left")
        return number

    def _chunks(self, lengths: list[int]) -> tuple[ChunkRef, ...]:
        """The next chunks of the file, by the lengths of their payloads."""
        offsets = list(accumulate((length + CRC_SIZE for length in lengths), initial=self._offset))
        self._offset = offsets[-1]
        if self._offset > MAX_FILE:
            raise LimitError(f"the header claims chunks of more than {MAX_FILE} bytes")
        first, self._number = self._number, self._number + len(lengths)
        return tuple(map(ChunkRef, range(first, self._number), offsets, lengths, repeat(self._crc)))

    def _spec(self) -> ImageSpec:
        cursor = self._cursor
        code = cursor.varint("mode")
        if code not in _MODE_BY_CODE:
            self._newer(f"mode {code}")
        name = _MODE_BY_CODE[code]
        sample = cursor.byte("sample type")
        if sample >> 6 > max(SampleKind):
            self._newer(f"sample kind {sample >> 6}")
        kind, bit_depth = SampleKind(sample >> 6), (sample & 63) + 1
        fits = kind != SampleKind.FLOAT or bit_depth in (16, 32, 64)
        if name:
            mode = _MODES[name]
            fits = kind == mode.kind and (bit_depth == mode.bit_depth or (kind == _U and bit_depth < mode.bit_depth))
        if not fits:
            raise self._bad(f"{bit_depth}-bit {kind.name.lower()} samples in mode {name or 'array'}")
        width, height = cursor.varint("width"), cursor.varint("height")
        if width == 0 or height == 0:
            raise self._bad(f"an image of {width} x {height} pixels")
        self._limit(width, height, 1)
        return ImageSpec(name, width, height, bit_depth, kind)

    def _limit(self, width: int, height: int, bands: int) -> None:
        if max(width, height) > MAX_SIDE:
            raise LimitError(f"an image of {width} x {height} pixels: the limit is {MAX_SIDE} a side")
        # Bands in fours: pixels of up to four samples are what the limit is about in Pillow.
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
        if spec.mode and bands != _MODES[spec.mode].bands:
            raise self._bad(f"{bands} bands in mode {spec.mode}")
        return Frame(spec, tuple(segments), duration, metadata)

    def _segment(self, spec: ImageSpec, first: int, model: bytes | None) -> Segment[ChunkRef]:
        cursor = self._cursor
        code = cursor.varint("method")
        if code not in _METHOD_CODES:
            self._newer(f"method {code}")
        method = Method(code)
        if method.needs_model and model is None:
            raise self._bad(f"method {method.name} without a model id")
        bands = cursor.varint("band count")
        if bands == 0:
            raise self._bad("a segment of no bands")
        tile_w, tile_h = cursor.varint("tile width"), cursor.varint("tile height")
        if (tile_w == 0) != (tile_h == 0):
            raise self._bad(f"tiles of {tile_w} x {tile_h} pixels")
        segment: Segment[ChunkRef] = Segment(method, (first, bands), (), tile_w, tile_h)
        columns, rows = segment.grid(spec)
        left = len(cursor.data) - cursor.position
        if columns * rows > left:
            raise self._bad(f"{columns} x {rows} tiles, with {left} bytes left")
        chunks = self._chunks(cursor.varints(columns * rows, "length of a tile"))
        return Segment(method, (first, bands), chunks, tile_w, tile_h)
