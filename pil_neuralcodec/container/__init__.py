"""The byte layout of ``.ifl`` and ``.bsw`` files: header, metadata and tile chunks, checksums, limits.

The specification is ``docs/format.md``. This package knows which chunk holds which tile of which bands, and by which
method it is coded. It does not interpret payloads::

    spec = ImageSpec.of("L", 3, 2)
    segment = Segment(Method.RAW, bands=(0, 1), chunks=(b"abcdef",))
    data = write(Header(frames=(Frame(spec, (segment,)),)))

    header = read_header(io.BytesIO(data))
    payload = read_chunk(io.BytesIO(data), header.frames[0].segments[0].chunks[0])
"""

from .layout import (
    CRC_SIZE,
    MAGIC,
    MAX_BODY,
    MAX_METADATA,
    MAX_PIXELS,
    MODES,
    Box,
    ChunkRef,
    Frame,
    Header,
    ImageSpec,
    MetadataType,
    Method,
    ReadableFile,
    SampleKind,
    Segment,
)
from .read import read_chunk, read_header, verify
from .write import write, write_to

__all__ = [
    "CRC_SIZE",
    "MAGIC",
    "MAX_BODY",
    "MAX_METADATA",
    "MAX_PIXELS",
    "MODES",
    "Box",
    "ChunkRef",
    "Frame",
    "Header",
    "ImageSpec",
    "MetadataType",
    "Method",
    "ReadableFile",
    "SampleKind",
    "Segment",
    "read_chunk",
    "read_header",
    "verify",
    "write",
    "write_to",
]
