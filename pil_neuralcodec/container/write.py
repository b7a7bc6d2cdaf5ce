"""Write a header and its chunks as a file."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from ..errors import LimitError, UnsupportedError
from ..varint import write_varint
from .layout import (
    BIT_DEPTHS,
    CRC_SIZE,
    MAGIC,
    MAX_BODY,
    MODEL_ID_SIZE,
    MODES,
    RANKED,
    UNEVEN,
    VERSION,
    Frame,
    Header,
    ImageSpec,
    MetadataType,
    SampleKind,
    Segment,
    WritableFile,
    by_type,
)
from .parse import parse_header

C = TypeVar("C")
D = TypeVar("D")


def write(header: Header[bytes]) -> bytes:
    """The bytes of a file. Raises as ``write_to``."""
    out = io.BytesIO()
    write_to(out, header)
    return out.getvalue()


def write_to(fp: WritableFile, header: Header[bytes]) -> int:
    """Write a file to ``fp``, which need not be seekable, and return its size in bytes.

    The header is parsed again first: what ``read_header`` would refuse is not written (except for the pixel limit).

    Raises
    ------
    LimitError
        For metadata of more than 16 MiB in a chunk, or too many tiles.
    UnsupportedError
        For a mode that has no code.
    FormatError, ValueError
        For a description that contradicts itself.
    """
    head = _header_bytes(header)
    # The reader's rules are the only ones.
    parsed = parse_header(head, 0, None)
    if _map(parsed, lambda ref: ref.length) != _map(header, len):
        raise ValueError("the segments of a frame must cover its bands in order")
    fp.write(head)
    for ref, payload in zip(parsed.chunks(), header.chunks(), strict=True):
        fp.write(payload)
        fp.write(ref.crc(payload).to_bytes(CRC_SIZE, "little"))
    return parsed.file_size


def _spec_bytes(spec: ImageSpec, format: str) -> bytes:
    if spec.mode:
        if spec.mode not in MODES:
            raise UnsupportedError(f"cannot write mode {spec.mode} as {format.upper()}")
        samples = write_varint(MODES[spec.mode].code)
    else:
        kind = SampleKind(spec.kind)
        if spec.bit_depth not in BIT_DEPTHS[kind]:
            raise ValueError(f"no {kind.name.lower()} samples have {spec.bit_depth} bits")
        samples = bytes([0, kind << 6 | spec.bit_depth - 1])
    return samples + write_varint(spec.width) + write_varint(spec.height)


def _table_bytes(metadata: Mapping[MetadataType, bytes]) -> bytes:
    rows = (write_varint(kind) + write_varint(len(payload)) for kind, payload in by_type(metadata).items())
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
            tile = (segment.tile_w, segment.tile_h) if segment.method.is_tiled else ()
            code = segment.method + RANKED * bool(segment.ranks) + UNEVEN * bool(segment.cells)
            for value in (code, segment.bands[1], *tile):
                body += write_varint(value)
            body += b"".join(segment.ranks + segment.cells)
            for payload in segment.chunks:
                body += write_varint(len(payload))
    if len(body) > MAX_BODY:
        raise LimitError(f"the header would have {len(body)} bytes, the limit is {MAX_BODY}: use larger tiles")
    head = MAGIC[header.format] + bytes([VERSION]) + write_varint(len(body)) + body
    return head + zlib.crc32(head).to_bytes(CRC_SIZE, "little")


def _map(header: Header[C], function: Callable[[C], D]) -> Header[D]:
    """The header with ``function`` applied to every chunk."""

    def table(metadata: Mapping[MetadataType, C]) -> dict[MetadataType, D]:
        return {kind: function(chunk) for kind, chunk in metadata.items()}

    def segment(old: Segment[C]) -> Segment[D]:
        chunks = tuple(map(function, old.chunks))
        return Segment(old.method, old.bands, chunks, old.tile_w, old.tile_h, old.ranks, old.cells)

    frames = (Frame(f.spec, tuple(map(segment, f.segments)), f.duration, table(f.metadata)) for f in header.frames)
    return Header(tuple(frames), header.model, table(header.metadata), header.format)
