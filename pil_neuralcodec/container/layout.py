"""What a file consists of: formats, limits, modes, methods, metadata, and the header as data.

A file is described by one `Header`, of type ``Header[bytes]`` (every chunk is its payload) for writing, and
``Header[ChunkRef]`` (every chunk is a place in the file) after reading.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from ..errors import UnsupportedError

C = TypeVar("C")
Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels."""

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


class SampleKind(IntEnum):
    """What the bits of a sample mean."""

    UNSIGNED = 0
    SIGNED = 1
    FLOAT = 2


class Method(IntEnum):
    """How the chunks of a segment are coded. The numbers stand in files and are never used again for another method."""

    RAW = 0
    FILTERED = 1
    WEBP = 2
    PREDICTOR = 3
    JPEG = 4
    PHOTO = 16
    BITSWAP = 17
    PATCH = 18

    @property
    def needs_model(self) -> bool:
        """Whether chunks of this method can only be decoded with the header's model."""
        return self >= 16

    @property
    def is_tiled(self) -> bool:
        """Whether a segment of this method has a chunk for each tile; if not, it has one chunk."""
        return self is Method.PHOTO


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
    """Texts with a key each: of each four strings, key, value, language, translated key, as a varint of their bytes and
    UTF-8."""
    COMMENT = 10
    """A comment, as in JPEG and GIF files."""


class Mode(NamedTuple):
    """What a Pillow mode is in a file: its code, its number of bands, and the kind and bits of its samples."""

    code: int
    bands: int
    kind: SampleKind
    bit_depth: int


_U, _S, _F = SampleKind
MODES: Final[Mapping[str, Mode]] = {
    "1": Mode(1, 1, _U, 1),
    "L": Mode(2, 1, _U, 8),
    "LA": Mode(3, 2, _U, 8),
    "La": Mode(4, 2, _U, 8),
    "P": Mode(5, 1, _U, 8),
    "PA": Mode(6, 2, _U, 8),
    "RGB": Mode(7, 3, _U, 8),
    "RGBA": Mode(8, 4, _U, 8),
    "RGBX": Mode(9, 4, _U, 8),
    "RGBa": Mode(10, 4, _U, 8),
    "CMYK": Mode(11, 4, _U, 8),
    "YCbCr": Mode(12, 3, _U, 8),
    "LAB": Mode(13, 3, _U, 8),
    "HSV": Mode(14, 3, _U, 8),
    "I;16": Mode(15, 1, _U, 16),
    "I;16L": Mode(16, 1, _U, 16),
    "I;16B": Mode(17, 1, _U, 16),
    "I;16N": Mode(18, 1, _U, 16),
    "I": Mode(19, 1, _S, 32),
    "F": Mode(20, 1, _F, 32),
}
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
    (1 .. 2**31 - 1). A sample has ``bit_depth`` bits (1 .. 64) and is of ``kind``; a mode says both.
    """

    mode: str
    width: int
    height: int
    bit_depth: int = 8
    kind: SampleKind = SampleKind.UNSIGNED

    @classmethod
    def of(cls, mode: str, width: int, height: int) -> ImageSpec:
        """The specification of a Pillow image. Raises `UnsupportedError` for a mode that has no code."""
        if mode not in MODES:
            raise UnsupportedError(f"cannot write mode {mode} as IFL")
        return cls(mode, width, height, MODES[mode].bit_depth, MODES[mode].kind)


@dataclass(frozen=True)
class Segment(Generic[C]):
    """Some bands of a frame, coded by one method.

    ``bands`` is (first, count); the segments of a frame follow each other without gap from band 0 to the last.
    ``tile_w`` and ``tile_h`` are in pixels where the method ``is_tiled``: there is a chunk for each tile, row by row.
    Other methods have both 0 and one chunk that holds the whole frame.
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

    def tiles(self, spec: ImageSpec) -> Iterator[Box]:
        """Where every tile lies, in the order of ``chunks``."""
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
        yield from by_type(self.metadata).values()
        for frame in self.frames:
            yield from by_type(frame.metadata).values()
            yield from chain.from_iterable(segment.chunks for segment in frame.segments)


def by_type(metadata: Mapping[MetadataType, C]) -> dict[MetadataType, C]:
    """Metadata in the order of the file."""
    return dict(sorted(metadata.items()))
