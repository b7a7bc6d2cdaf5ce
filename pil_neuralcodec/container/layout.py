"""The parts of a file as data: formats, limits, modes, methods, metadata types, and the header.

One ``Header`` describes a file. For writing it is a ``Header[bytes]``, with the payloads of all chunks; reading returns
a ``Header[ChunkRef]``, with their positions in the file.
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
"""First eight bytes of each format. As in PNG, they reveal a transfer that changed line ends or cut the eighth bit."""
VERSION: Final = 1

MAX_PIXELS: Final = 178_956_970
"""Default limit on width x height: twice Pillow's default ``MAX_IMAGE_PIXELS``, as in Pillow."""
MAX_SIDE: Final = 2**31 - 1
MAX_BODY: Final = 2**20
"""Limit on the header's body in bytes: about 350,000 tiles. It bounds the memory that a hostile file can claim."""
MAX_METADATA: Final = 16 * 2**20
"""Limit on one metadata chunk in bytes."""
MAX_FILE: Final = 2**63 - 1
MODEL_ID_SIZE: Final = 8
RANKED: Final = 64
"""Added to the method of a segment that codes ranks."""
RANKS_SIZE: Final = 33
"""Bytes that tell the ranks of samples in a band."""
UNEVEN: Final = 128
"""Added to the method of a segment whose samples have cells of unequal widths."""
CELLS_SIZE: Final = 255
"""Bytes that tell the edges between a band's cells."""
CRC_SIZE: Final = 4


class SampleKind(IntEnum):
    """Numeric type of samples."""

    UNSIGNED = 0
    SIGNED = 1
    FLOAT = 2


class Method(IntEnum):
    """How the chunks of a segment are coded. Files contain these numbers: a number is never used for another method."""

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
        """Whether its chunks need the header's model to be decoded."""
        return self >= 16

    @property
    def may_rank(self) -> bool:
        """Whether it may code ranks in place of samples."""
        return self.needs_model or self is Method.JPEG

    @property
    def may_have_cells(self) -> bool:
        """Whether values of its samples may have cells of unequal widths."""
        return self in (Method.PHOTO, Method.BITSWAP)

    @property
    def is_tiled(self) -> bool:
        """Whether its segments have a chunk for each tile, instead of a single chunk."""
        return self in (Method.PHOTO, Method.BITSWAP)


class MetadataType(IntEnum):
    """Type of a metadata chunk; payloads are specified in ``docs/format.md``, section Metadata."""

    ICC = 1
    EXIF = 2
    XMP = 3
    PALETTE = 4
    TRANSPARENCY = 5
    DPI = 6
    LOOP = 7
    AXES = 8
    TEXT = 9
    COMMENT = 10


_U, _S, _F = SampleKind
BIT_DEPTHS: Final[Mapping[SampleKind, tuple[int, ...]]] = {
    _U: (1, 8, 16, 32, 64),
    _S: (8, 16, 32, 64),
    _F: (16, 32, 64),
}
"""Bits that samples may have; samples of one bit are booleans."""


class Mode(NamedTuple):
    """A Pillow mode in a file: its code, the number of bands, and the type of samples."""

    code: int
    bands: int
    kind: SampleKind
    bit_depth: int


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
"""Pillow modes that a file can name. The mode "" is an array without a Pillow mode."""


class ReadableFile(Protocol):
    """The methods of a Python file that reading needs."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; b"" only at the end of the file."""

    def seek(self, offset: int, whence: int = ..., /) -> object:
        """Change the position; the result is not used."""

    def tell(self) -> int:
        """The position in bytes."""


class WritableFile(Protocol):
    """The method of a Python file that writing needs."""

    def write(self, data: bytes, /) -> object:
        """Write all of ``data``; the result is not used."""


class ChunkRef(NamedTuple):
    """Position of a chunk in a file.

    Parameters
    ----------
    number
        Number of the chunk in the file, from 0.
    offset, length
        Position of the payload in the file object and its size without the CRC, in bytes.
    header_crc
        CRC-32 of the header.
    """

    number: int
    offset: int
    length: int
    header_crc: int

    def crc(self, payload: bytes) -> int:
        """CRC-32 of the chunk. It continues the header's and includes the number, so it also detects an intact chunk in
        the wrong position or from another file."""
        return zlib.crc32(payload, zlib.crc32(self.number.to_bytes(4, "little"), self.header_crc))


@dataclass(frozen=True)
class ImageSpec:
    """Size and sample type of a frame.

    Parameters
    ----------
    mode
        A key of ``MODES``, or "" for an array of any number of bands.
    width, height
        Pixels, 1 .. 2**31 - 1.
    bit_depth, kind
        Bits of a sample and their meaning, of ``BIT_DEPTHS``; a mode determines both.
    """

    mode: str
    width: int
    height: int
    bit_depth: int = 8
    kind: SampleKind = SampleKind.UNSIGNED

    @classmethod
    def of(cls, mode: str, width: int, height: int) -> ImageSpec:
        """The specification of a Pillow image. Raises ``UnsupportedError`` for a mode that is not in ``MODES``."""
        if mode not in MODES:
            raise UnsupportedError(f"cannot write mode {mode} as IFL")
        return cls(mode, width, height, MODES[mode].bit_depth, MODES[mode].kind)


@dataclass(frozen=True)
class Segment(Generic[C]):
    """Some bands of a frame, coded by one method.

    Parameters
    ----------
    bands
        (first, count). The segments of a frame have all its bands in order.
    chunks
        A chunk for each tile, row by row, or a single one if the method is not tiled.
    tile_w, tile_h
        Size of a tile in pixels; 0 if the method is not tiled.
    ranks
        Where the method codes ranks in place of samples of 8 bits: for each band the rank of the lowest sample that
        occurs, a byte, and which do, 32 bytes with a bit for each sample, the lowest first.
    cells
        Where samples of 8 bits have cells of unequal widths: for each band 255 signed bytes, by how much each edge
        between two cells is moved up, in 1/64.
    """

    method: Method
    bands: tuple[int, int]
    chunks: tuple[C, ...]
    tile_w: int = 0
    tile_h: int = 0
    ranks: tuple[bytes, ...] = ()
    cells: tuple[bytes, ...] = ()

    def tile_counts(self, spec: ImageSpec) -> tuple[int, int]:
        """Number of tiles, (columns, rows)."""
        return -(-spec.width // (self.tile_w or spec.width)), -(-spec.height // (self.tile_h or spec.height))

    def tiles(self, spec: ImageSpec) -> Iterator[Box]:
        """The box of each tile, in the order of ``chunks``."""
        tile_w, tile_h = self.tile_w or spec.width, self.tile_h or spec.height
        for top in range(0, spec.height, tile_h):
            for left in range(0, spec.width, tile_w):
                yield left, top, min(left + tile_w, spec.width), min(top + tile_h, spec.height)


@dataclass(frozen=True)
class Frame(Generic[C]):
    """One image of a file.

    Parameters
    ----------
    spec, segments
        Size and type of the image, and its bands.
    duration
        Milliseconds, or None.
    metadata
        Metadata of this frame alone; they replace the file's of the same type.
    """

    spec: ImageSpec
    segments: tuple[Segment[C], ...]
    duration: int | None = None
    metadata: Mapping[MetadataType, C] = field(default_factory=dict)


@dataclass(frozen=True)
class Header(Generic[C]):
    """The description of a whole file.

    Parameters
    ----------
    frames
        At least one.
    model
        Id (8 bytes) of the model that some methods need, or None.
    metadata
        Metadata of all frames.
    format
        A key of ``MAGIC``.
    size, file_size
        Size of the header and of the file in bytes; set by reading.
    """

    frames: tuple[Frame[C], ...]
    model: bytes | None = None
    metadata: Mapping[MetadataType, C] = field(default_factory=dict)
    format: str = "ifl"
    size: int = field(default=0, compare=False)
    file_size: int = field(default=0, compare=False)

    @property
    def spec(self) -> ImageSpec:
        """The specification of the first frame."""
        return self.frames[0].spec

    def frame_metadata(self, frame: int) -> dict[MetadataType, C]:
        """The metadata that apply to a frame: its own and those of the file."""
        return {**self.metadata, **self.frames[frame].metadata}

    def chunks(self) -> Iterator[C]:
        """All chunks, in the order of the file."""
        yield from by_type(self.metadata).values()
        for frame in self.frames:
            yield from by_type(frame.metadata).values()
            yield from chain.from_iterable(segment.chunks for segment in frame.segments)


def by_type(metadata: Mapping[MetadataType, C]) -> dict[MetadataType, C]:
    """Metadata sorted by type, as in the file."""
    return dict(sorted(metadata.items()))
