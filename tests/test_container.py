"""The container: exact bytes, round trips, and every kind of damage refused by name."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pil_neuralcodec.container import (
    MAGIC,
    MAX_BODY,
    MAX_METADATA,
    MODES,
    ChunkRef,
    Frame,
    Header,
    ImageSpec,
    MetadataType,
    Method,
    SampleKind,
    Segment,
    read_chunk,
    read_header,
    verify,
    write,
    write_to,
)
from pil_neuralcodec.container.layout import BIT_DEPTHS
from pil_neuralcodec.errors import (
    ChecksumError,
    FormatError,
    LimitError,
    NeuralCodecError,
    TruncatedError,
    UnsupportedError,
)

GRAY = ImageSpec.of("L", 3, 2)
SMALL = Header((Frame(GRAY, (Segment(Method.RAW, (0, 1), (b"abcdef",)),)),), metadata={MetadataType.XMP: b"<x/>"})
SMALL_BYTES = write(SMALL)


# --- a second, independent writer, which can also write nonsense ---


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + varint(value // 128)


def build(body: bytes, payloads: Sequence[bytes] = (), magic: bytes = b"\x89IFL\r\n\x1a\n", version: int = 1) -> bytes:
    """A file with right checksums around any header body."""
    head = magic + bytes([version]) + varint(len(body)) + body
    out = head + zlib.crc32(head).to_bytes(4, "little")
    for number, payload in enumerate(payloads):
        crc = zlib.crc32(head + number.to_bytes(4, "little") + payload)
        out += payload + crc.to_bytes(4, "little")
    return out


L_3X2 = b"\x02\x03\x02"
GRAY_FRAME = b"\x00" + L_3X2 + b"\x00\x01\x00"
"""No model, no metadata, one frame without flags: what follows is its segments."""
MODEL_FRAME = b"\x0112345678" + GRAY_FRAME[1:]
RAW_SEGMENT = b"\x01\x00\x01\x06"
RANKS = b"\x01\x50\x01\x03\x02"
"""A segment of ranks by PHOTO, one band in one tile: what follows is its table, and the length of its chunk."""
CELLS = b"\x01\x90\x01\x01\x03\x02"
"""The same of cells of unequal widths."""


def opened(data: bytes, *, max_pixels: int | None = 10**6, allow_truncated: bool = False) -> Header[ChunkRef]:
    return read_header(io.BytesIO(data), max_pixels=max_pixels, allow_truncated=allow_truncated)


class Trickle(io.BytesIO):
    """Returns at most three bytes a read, and counts them."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None and size >= 0
        data = super().read(min(size, 3))
        self.total += len(data)
        return data


# --- exact bytes ---


def test_golden_minimal() -> None:
    data = write(Header((Frame(GRAY, (Segment(Method.RAW, (0, 1), (b"abcdef",)),)),)))
    assert data.hex(" ") == (
        "89 49 46 4c 0d 0a 1a 0a 01 0b"  # magic, version, body of 11 bytes
        " 00 02 03 02"  # no model; mode L, 3 x 2
        " 00 01 00"  # no metadata; one frame without anything of its own
        " 01 00 01 06"  # one segment: raw, one band, one chunk of 6 bytes
        " 35 e6 ed 35"
        " 61 62 63 64 65 66 62 fb be 3c"
    )
    assert data == build(GRAY_FRAME + RAW_SEGMENT, [b"abcdef"])


RICH = Header(
    frames=(
        Frame(
            ImageSpec.of("RGBA", 300, 200),
            (
                Segment(Method.PHOTO, (0, 3), (b"a" * 200, b"b"), 256, 256),
                Segment(Method.PREDICTOR, (3, 1), (b"c",)),
            ),
            duration=100,
        ),
        Frame(
            ImageSpec.of("I;16", 2, 1),
            (Segment(Method.FILTERED, (0, 1), (b"",)),),
            metadata={MetadataType.PALETTE: b"P"},
        ),
    ),
    model=b"12345678",
    metadata={MetadataType.DPI: b"D" * 16, MetadataType.ICC: b"I"},
    format="bsw",
)


def test_golden_rich() -> None:
    body = (
        b"\x01" + b"12345678"
        b"\x08\xac\x02\xc8\x01"  # RGBA, 300 x 200
        b"\x02"
        b"\x01\x01"
        b"\x06\x10"  # ICC, 1 byte; DPI, 16 bytes
        b"\x02"  # two frames
        b"\x01\x64"
        b"\x02"  # 100 ms; two segments
        b"\x10\x03\x80\x02\x80\x02"
        b"\xc8\x01\x01"  # network, 3 bands, tiles of 256 x 256: 200 and 1 bytes
        b"\x03\x01\x01"
        b"\x06"
        b"\x0f\x02\x01"
        b"\x01\x04\x01"  # own image, I;16, 2 x 1; own palette
        b"\x01"
        b"\x01\x01\x00"
    )
    payloads = [b"I", b"D" * 16, b"a" * 200, b"b", b"c", b"P", b""]
    data = write(RICH)
    assert data == build(body, payloads, magic=b"\x89BSW\r\n\x1a\n")
    assert zlib.crc32(data) == 0x837244AB
    header = verify(io.BytesIO(data))
    assert [read_chunk(io.BytesIO(data), ref) for ref in header.chunks()] == payloads
    assert header.format == "bsw" and header.model == b"12345678" and header.spec.mode == "RGBA"


def test_golden_ranks() -> None:
    table = bytes([253, 0b101, *bytes(30), 0x80])
    segment = Segment(Method.PHOTO, (0, 1), (b"abcdef",), 3, 2, (table,))
    data = write(Header((Frame(GRAY, (segment,)),), b"12345678"))
    assert data == build(MODEL_FRAME + RANKS + table + b"\x06", [b"abcdef"])
    assert opened(data).frames[0].segments[0].ranks == (table,)


def test_golden_cells() -> None:
    table, edges = bytes([253, 0b101, *bytes(30), 0x80]), bytes([5, 256 - 58, 63, *bytes(252)])
    for ranks, code in (((), b"\x90\x01"), ((table,), b"\xd0\x01")):
        segment = Segment(Method.PHOTO, (0, 1), (b"abcdef",), 3, 2, ranks, (edges,))
        data = write(Header((Frame(GRAY, (segment,)),), b"12345678"))
        told = b"\x01" + code + b"\x01\x03\x02" + b"".join(ranks) + edges + b"\x06"
        assert data == build(MODEL_FRAME + told, [b"abcdef"])
        assert opened(data).frames[0].segments[0] == replace(segment, chunks=opened(data).frames[0].segments[0].chunks)


def test_size_of_small_header() -> None:
    """A single-tile colour image with a model, of three metadata chunks, at most 64 bytes before the first chunk."""
    segment = Segment(Method.PHOTO, (0, 3), (bytes(100_000),), 512, 512)
    metadata = {MetadataType.ICC: bytes(3000), MetadataType.EXIF: bytes(20_000), MetadataType.XMP: bytes(4000)}
    plain = Header((Frame(ImageSpec.of("RGB", 500, 500), (segment,)),), model=bytes(8))
    full = Header((Frame(ImageSpec.of("RGB", 500, 500), (segment,)),), model=bytes(8), metadata=metadata)
    assert opened(write(plain)).size == 41
    assert opened(write(full)).size <= 64
    alpha = (Segment(Method.PHOTO, (0, 3), (bytes(9999),), 99, 99), Segment(Method.PREDICTOR, (3, 1), (bytes(999),)))
    assert opened(write(Header((Frame(ImageSpec.of("RGBA", 99, 99), alpha),), model=bytes(8)))).size <= 64


# code, bands, kind of the samples, their bits
MODE_TABLE = {
    "1": (1, 1, 0, 1), "L": (2, 1, 0, 8), "LA": (3, 2, 0, 8), "La": (4, 2, 0, 8), "P": (5, 1, 0, 8),
    "PA": (6, 2, 0, 8), "RGB": (7, 3, 0, 8), "RGBA": (8, 4, 0, 8), "RGBX": (9, 4, 0, 8), "RGBa": (10, 4, 0, 8),
    "CMYK": (11, 4, 0, 8), "YCbCr": (12, 3, 0, 8), "LAB": (13, 3, 0, 8), "HSV": (14, 3, 0, 8), "I;16": (15, 1, 0, 16),
    "I;16L": (16, 1, 0, 16), "I;16B": (17, 1, 0, 16), "I;16N": (18, 1, 0, 16), "I": (19, 1, 1, 32), "F": (20, 1, 2, 32),
}  # fmt: skip


def test_modes_are_frozen() -> None:
    assert MODES == MODE_TABLE
    for mode, (code, bands, kind, bits) in MODE_TABLE.items():
        spec = ImageSpec.of(mode, 1, 1)
        assert (spec.kind, spec.bit_depth) == (kind, bits)
        data = write(Header((Frame(spec, (Segment(Method.RAW, (0, bands), (b"",)),)),)))
        assert data[11] == code
        assert opened(data).spec == spec
        with pytest.raises(FormatError, match=f"{bands + 1} bands in mode {mode}"):
            write(Header((Frame(spec, (Segment(Method.RAW, (0, bands + 1), (b"",)),)),)))


def test_codes_are_frozen() -> None:
    assert {m.name: m.value for m in Method} == {
        "RAW": 0, "FILTERED": 1, "WEBP": 2, "PREDICTOR": 3, "JPEG": 4, "PHOTO": 16, "BITSWAP": 17, "PATCH": 18,
    }  # fmt: skip
    assert [m.name for m in Method if m.needs_model] == ["PHOTO", "BITSWAP", "PATCH"]
    types = ["ICC", "EXIF", "XMP", "PALETTE", "TRANSPARENCY", "DPI", "LOOP", "AXES", "TEXT", "COMMENT"]
    assert {t.name: t.value for t in MetadataType} == {name: value for value, name in enumerate(types, start=1)}


# --- round trips ---

sizes = st.integers(1, 40) | st.sampled_from([127, 128, 16384, 2**31 - 1])
payloads = st.binary(max_size=30) | st.integers(100, 300).map(bytes)
tables = st.binary(min_size=31, max_size=31).map(lambda bits: b"\x03\x04" + bits)
edges = st.binary(min_size=255, max_size=255).map(lambda moves: bytes(move % 32 for move in moves))
metadata = st.dictionaries(st.sampled_from(MetadataType), payloads, max_size=3)


@st.composite
def specs(draw: st.DrawFn) -> ImageSpec:
    mode = draw(st.sampled_from(["", *MODES]))
    if mode:
        return ImageSpec.of(mode, draw(sizes), draw(sizes))
    kind = draw(st.sampled_from(SampleKind))
    return ImageSpec("", draw(sizes), draw(sizes), draw(st.sampled_from(BIT_DEPTHS[kind])), kind)


@st.composite
def frames(draw: st.DrawFn) -> Frame[bytes]:
    spec = draw(specs())
    bands = MODE_TABLE[spec.mode][1] if spec.mode else draw(st.integers(1, 6))
    cut = draw(st.integers(1, bands))
    segments = []
    for first, count in ((0, cut), (cut, bands - cut)):
        if count == 0:
            continue
        columns, rows = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        method = draw(st.sampled_from(Method))
        tile_w = tile_h = 0
        if method.is_tiled:
            tile_w, tile_h = -(-spec.width // columns), -(-spec.height // rows)
        empty: Segment[bytes] = Segment(method, (first, count), (), tile_w, tile_h)
        tiles = len(list(empty.tiles(spec)))
        chunks = tuple(draw(st.lists(payloads, min_size=tiles, max_size=tiles)))
        ranks: tuple[bytes, ...] = ()
        if method.needs_model and spec.bit_depth == 8 and draw(st.booleans()):
            ranks = tuple(draw(st.lists(tables, min_size=count, max_size=count)))
        cells: tuple[bytes, ...] = ()
        if method is Method.PHOTO and spec.bit_depth == 8 and draw(st.booleans()):
            cells = tuple(draw(st.lists(edges, min_size=count, max_size=count)))
        segments.append(Segment(method, (first, count), chunks, tile_w, tile_h, ranks, cells))
    duration = draw(st.none() | st.integers(0, 2**40))
    return Frame(spec, tuple(segments), duration, draw(metadata))


@st.composite
def headers(draw: st.DrawFn) -> Header[bytes]:
    several = tuple(draw(st.lists(frames(), min_size=1, max_size=3)))
    needs_model = any(segment.method.needs_model for frame in several for segment in frame.segments)
    model = draw(st.binary(min_size=8, max_size=8)) if needs_model else None
    return Header(several, model, draw(metadata), draw(st.sampled_from(sorted(MAGIC))))


@settings(deadline=None, max_examples=60)
@given(headers(), st.binary(max_size=5))
def test_round_trip(header: Header[bytes], before: bytes) -> None:
    out = io.BytesIO()
    size = write_to(out, header)
    data = out.getvalue()
    assert len(data) == size
    # The file may start anywhere in the file object, which may return less than asked for.
    fp = Trickle(before + data)
    fp.seek(len(before))
    read = read_header(fp, max_pixels=None)
    assert read.file_size == size
    assert fp.total <= max(64, read.size)
    assert (read.model, read.format, len(read.frames)) == (header.model, header.format, len(header.frames))
    for number, (ours, theirs) in enumerate(zip(read.frames, header.frames, strict=True)):
        assert (ours.spec, ours.duration) == (theirs.spec, theirs.duration)
        assert {k: read_chunk(fp, ref) for k, ref in ours.metadata.items()} == theirs.metadata
        merged = {k: read_chunk(fp, ref) for k, ref in read.frame_metadata(number).items()}
        assert merged == {**header.metadata, **theirs.metadata}
        for a, b in zip(ours.segments, theirs.segments, strict=True):
            assert replace(a, chunks=()) == replace(b, chunks=())
            assert tuple(read_chunk(fp, ref) for ref in a.chunks) == b.chunks
            assert len(list(a.tiles(ours.spec))) == len(a.chunks)
    assert {k: read_chunk(fp, ref) for k, ref in read.metadata.items()} == header.metadata
    # Chunks tile the file without a gap.
    ends = [len(before) + read.size] + [ref.offset + ref.length + 4 for ref in read.chunks()]
    assert [ref.offset for ref in read.chunks()] == ends[:-1] and ends[-1] == len(before) + size
    fp.seek(len(before))
    assert verify(fp) == read


def test_tiles_cover_the_image_row_by_row() -> None:
    segment: Segment[bytes] = Segment(Method.PHOTO, (0, 1), (), 4, 3)
    assert list(segment.tiles(ImageSpec.of("L", 6, 4))) == [(0, 0, 4, 3), (4, 0, 6, 3), (0, 3, 4, 4), (4, 3, 6, 4)]
    assert list(Segment[bytes](Method.RAW, (0, 1), ()).tiles(GRAY)) == [(0, 0, 3, 2)]
    assert segment.tile_counts(GRAY) == (1, 1)


def test_a_chunk_is_read_whole_or_not_at_all() -> None:
    damaged = SMALL_BYTES[:-5] + b"!" + SMALL_BYTES[-4:]
    ref = opened(damaged).frames[0].segments[0].chunks[0]
    with pytest.raises(ChecksumError, match=r"chunk 1 .* is damaged: wrong checksum"):
        read_chunk(io.BytesIO(damaged), ref)
    with pytest.raises(TruncatedError, match=r"in chunk 1 .* after 4 of 6 bytes"):
        read_chunk(io.BytesIO(damaged[:-6]), ref)


# --- damage ---


def test_every_truncation_is_refused() -> None:
    for data in (SMALL_BYTES, write(RICH)):
        for size in range(len(data)):
            with pytest.raises(TruncatedError, match="truncated"):
                verify(io.BytesIO(data[:size]))


def test_truncated_files_open_when_asked_to() -> None:
    data = write(RICH)
    whole = opened(data)
    for size in range(whole.size, len(data)):
        header = opened(data[:size], allow_truncated=True)
        assert header == whole
        for ref in header.chunks():
            end = ref.offset + ref.length
            if end + 4 <= size:
                assert read_chunk(io.BytesIO(data[:size]), ref) == data[ref.offset : end]
            else:
                with pytest.raises(TruncatedError, match=f"truncated in .*chunk {ref.number} "):
                    read_chunk(io.BytesIO(data[:size]), ref)
    for size in range(whole.size):
        with pytest.raises(TruncatedError):
            opened(data[:size], allow_truncated=True)


NAMES_DEFECT = "magic number|format version|header is damaged|header is malformed|the header claims|truncated|chunk"


def test_every_bit_flip_is_refused() -> None:
    for data in (SMALL_BYTES, write(RICH)):
        for bit in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(NeuralCodecError, match=NAMES_DEFECT) as caught:
                verify(io.BytesIO(damaged))
            if bit >= 8 * opened(data).size:
                assert isinstance(caught.value, ChecksumError)


def test_bytes_inserted_or_removed_are_refused() -> None:
    for at in range(len(SMALL_BYTES)):
        for damaged in (SMALL_BYTES[:at] + b"\x00" + SMALL_BYTES[at:], SMALL_BYTES[:at] + SMALL_BYTES[at + 1 :]):
            with pytest.raises(NeuralCodecError):
                verify(io.BytesIO(damaged))


def test_chunks_cannot_change_places_or_files() -> None:
    """Sound chunks of the same length, exchanged together with their checksums."""
    segment = Segment(Method.PHOTO, (0, 1), (b"left", b"side"), 2, 2)
    spec = ImageSpec.of("L", 4, 2)
    one, two = (write(Header((Frame(spec, (segment,), duration),), bytes(8))) for duration in (1, 2))
    swapped = one[:-16] + one[-8:] + one[-16:-8]
    with pytest.raises(ChecksumError, match="chunk 0 "):
        verify(io.BytesIO(swapped))
    with pytest.raises(ChecksumError, match="chunk 1 "):
        verify(io.BytesIO(one[:-8] + two[-8:]))


@given(st.binary(max_size=60))
def test_no_body_crashes_the_parser(body: bytes) -> None:
    """Any body under a right checksum is refused by name or is exactly what the writer makes of it."""
    try:
        header = opened(build(body), allow_truncated=True)
    except NeuralCodecError as error:
        assert str(error)
        return
    assert header.file_size < 2**63


@settings(deadline=None)
@given(st.data())
def test_headers_are_canonical(data: st.DataObject) -> None:
    """Of a mutated header that is still accepted, the writer makes the same bytes: there is one way to say a thing."""
    body = bytearray(write(RICH)[10 : opened(write(RICH)).size - 4])
    for _ in range(data.draw(st.integers(1, 2))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = opened(build(bytes(body)), allow_truncated=True)
    except NeuralCodecError:
        return
    if header.file_size > 10**6:
        return
    again = Header(
        tuple(
            Frame(
                frame.spec,
                tuple(
                    Segment(s.method, s.bands, tuple(bytes(ref.length) for ref in s.chunks), s.tile_w, s.tile_h)
                    for s in frame.segments
                ),
                frame.duration,
                {kind: bytes(ref.length) for kind, ref in frame.metadata.items()},
            )
            for frame in header.frames
        ),
        header.model,
        {kind: bytes(ref.length) for kind, ref in header.metadata.items()},
    )
    assert write(again)[: header.size] == build(bytes(body))


# --- headers that lie, under right checksums ---

WRONG_BODIES: dict[str, tuple[bytes, type[NeuralCodecError], str]] = {
    "header flags": (b"\x02" + L_3X2, UnsupportedError, r"header flags 0x02 .*newer version"),
    "mode": (b"\x00\x63\x03\x02", UnsupportedError, r"mode 99 .*newer version"),
    "sample kind": (b"\x00\x00\xc7\x03\x02", UnsupportedError, r"sample kind 3 .*newer version"),
    "metadata type": (b"\x00" + L_3X2 + b"\x01\x4d\x00", UnsupportedError, r"metadata type 77 .*newer version"),
    "frame flags": (b"\x00" + L_3X2 + b"\x00\x01\x08\x01", UnsupportedError, r"frame flags 0x08 .*newer version"),
    "method": (
        GRAY_FRAME + b"\x01\x07\x01\x06",
        UnsupportedError,
        r"method 7 .*newer version",
    ),
    "ranks without a network": (
        GRAY_FRAME + b"\x01\x43\x01" + bytes(32) + b"\x03\x06",
        UnsupportedError,
        r"method 67 .*newer version",
    ),
    "ranks of 16 bits": (
        b"\x0112345678\x0f\x03\x02\x00\x01\x00" + RANKS + bytes(32) + b"\x03\x06",
        FormatError,
        "ranks of samples of 16 bits",
    ),
    "ranks of none": (MODEL_FRAME + RANKS + bytes(33) + b"\x06", FormatError, "ranks where no samples occur, or all"),
    "ranks of all": (MODEL_FRAME + RANKS + b"\0" + b"\xff" * 32 + b"\x06", FormatError, "no samples occur, or all"),
    "ranks above 255": (MODEL_FRAME + RANKS + b"\xfe\x07" + bytes(31) + b"\x06", FormatError, "ranks beyond 255"),
    "ranks end": (MODEL_FRAME + RANKS + bytes(32), FormatError, "ends in the samples that occur"),
    "ranks of many bands": (
        MODEL_FRAME + b"\x01\x50" + varint(2**62) + b"\x03\x02" + bytes(99),
        FormatError,
        "ends in the samples that occur",
    ),
    "cells by another method": (
        MODEL_FRAME + b"\x01\x92\x01\x01" + bytes(259),
        UnsupportedError,
        r"method 146 .*newer version",
    ),
    "cells of 16 bits": (
        b"\x0112345678\x0f\x03\x02\x00\x01\x00" + CELLS + bytes(255) + b"\x06",
        FormatError,
        "cells of samples of 16 bits",
    ),
    "cells that fall": (MODEL_FRAME + CELLS + b"\x20\xe0" + bytes(253) + b"\x06", FormatError, "that do not rise"),
    "cells too far": (MODEL_FRAME + CELLS + bytes(9) + b"\x40" + bytes(245) + b"\x06", FormatError, "do not rise"),
    "cells beyond the first": (MODEL_FRAME + CELLS + b"\xc0" + bytes(254) + b"\x06", FormatError, "do not rise"),
    "cells end": (MODEL_FRAME + CELLS + bytes(254), FormatError, "ends in the edges of cells"),
    "float of 8 bits": (b"\x00\x00\x87\x03\x02", UnsupportedError, "8-bit float samples .*newer version"),
    "12 bits": (b"\x00\x00\x0b\x03\x02", UnsupportedError, "12-bit unsigned samples .*newer version"),
    "signed booleans": (b"\x00\x00\x40\x03\x02", UnsupportedError, "1-bit signed samples .*newer version"),
    "no width": (b"\x00\x02\x00\x02", FormatError, "0 x 2 pixels"),
    "no height": (b"\x00\x02\x03\x00", FormatError, "3 x 0 pixels"),
    "pixels": (b"\x00\x02" + varint(1001) + varint(1000), LimitError, r"1001 x 1000 .* 1000000 .*max_pixels"),
    "huge": (b"\x00\x02" + 2 * varint(2**31), LimitError, "2147483648 x 2147483648"),
    "overlong": (b"\x00\x02\x83\x00\x02", FormatError, "width: an overlong number"),
    "overlong zero": (b"\x00" + L_3X2 + b"\x80\x00", FormatError, "metadata count: an overlong number"),
    "64 bits": (b"\x00\x02" + b"\xff" * 9 + b"\x01\x02", FormatError, "width: a number of more than 63 bits"),
    "endless": (b"\x00\x02" + b"\x80" * 99, FormatError, "width: a number of more than 63 bits"),
    "metadata order": (b"\x00" + L_3X2 + b"\x02\x03\x00\x01\x00", FormatError, "metadata type 1 after 3"),
    "metadata twice": (b"\x00" + L_3X2 + b"\x02\x03\x00\x03\x00", FormatError, "metadata type 3 after 3"),
    "metadata zero": (b"\x00" + L_3X2 + b"\x01\x00\x00", FormatError, "metadata type 0"),
    "metadata count": (b"\x00" + L_3X2 + varint(2**60) + b"\x01\x00", FormatError, "ends in the metadata type"),
    "metadata size": (
        b"\x00" + L_3X2 + b"\x01\x02" + varint(MAX_METADATA + 1),
        LimitError,
        "EXIF metadata of 16777217 bytes: the limit is 16777216",
    ),
    "no frames": (b"\x00" + L_3X2 + b"\x00\x00", FormatError, "frame count 0"),
    "many frames": (b"\x00" + L_3X2 + b"\x00" + varint(2**40), FormatError, "frame count 1099511627776, with 0 bytes"),
    "no segments": (GRAY_FRAME + b"\x00", FormatError, "segment count 0"),
    "frame repeats": (
        b"\x00" + L_3X2 + b"\x00\x01\x02" + L_3X2 + RAW_SEGMENT,
        FormatError,
        "repeats the image description",
    ),
    "frame table": (b"\x00" + L_3X2 + b"\x00\x01\x04\x00" + RAW_SEGMENT, FormatError, "empty metadata table"),
    "no model": (
        GRAY_FRAME + b"\x01\x10\x01\x03\x02\x06",
        FormatError,
        "PHOTO without a model id",
    ),
    "needless model": (MODEL_FRAME + RAW_SEGMENT, FormatError, "a model id that no method needs"),
    "no bands": (GRAY_FRAME + b"\x01\x00\x00\x06", FormatError, "no bands"),
    "wrong bands": (GRAY_FRAME + b"\x01\x00\x02\x06", FormatError, "2 bands in mode L"),
    "many bands": (
        b"\x00\x00\x07\xe8\x07\xe8\x07" + b"\x00\x01\x00" + b"\x01\x00\x05\x06",
        LimitError,
        "1000 x 1000 pixels x 5 bands exceeds",
    ),
    "half a tile": (MODEL_FRAME + b"\x01\x10\x01\x03\x00\x06", FormatError, "tiles of 3 x 0"),
    "many tiles": (
        b"\x0112345678\x02\xe8\x07\xe8\x07\x00" + b"\x01\x00" + b"\x01\x10\x01\x01\x01\x06",
        FormatError,
        "1000 x 1000 tiles, with 1 bytes left",
    ),
    "huge chunk": (
        GRAY_FRAME + b"\x01\x00\x01" + varint(2**63 - 1),
        LimitError,
        "chunks of more than 9223372036854775807 bytes",
    ),
    "left over": (GRAY_FRAME + RAW_SEGMENT + b"\x00", FormatError, "1 bytes are left over"),
    "ends early": (GRAY_FRAME + RAW_SEGMENT[:-1], FormatError, "1 x 1 tiles, with 0 bytes left"),
    "ends in model": (b"\x011234567", FormatError, "ends in the model id"),
    "empty": (b"", FormatError, "ends in the flags"),
}


@pytest.mark.parametrize("case", WRONG_BODIES)
def test_wrong_headers_are_refused_by_name(case: str) -> None:
    body, error, text = WRONG_BODIES[case]
    with pytest.raises(error, match=text) as caught:
        opened(build(body))
    assert type(caught.value) is error


def test_wrong_beginnings() -> None:
    good = SMALL_BYTES
    with pytest.raises(FormatError, match=r"not an \.ifl or \.bsw file"):
        opened(b"\x89PNG\r\n\x1a\n" + good[8:])
    with pytest.raises(FormatError, match="transferred as text"):
        opened(good.replace(b"\r\n", b"\n"))
    with pytest.raises(UnsupportedError, match=r"format version 2 is not known: .*newer version"):
        opened(build(b"", version=2))
    with pytest.raises(LimitError, match=f"the header claims {MAX_BODY + 1} bytes"):
        opened(good[:9] + varint(MAX_BODY + 1) + good[10:])
    with pytest.raises(FormatError, match="header length: an overlong number"):
        opened(good[:9] + bytes([good[9] | 128, 0]) + good[10:])
    with pytest.raises(TruncatedError, match="after 0 bytes"):
        opened(b"")


def test_chunk_lengths_that_lie() -> None:
    """Right header checksum, but the chunks are longer or shorter than the header says."""
    body = GRAY_FRAME + RAW_SEGMENT
    with pytest.raises(TruncatedError, match=r"it has 34 of 35 bytes .*LOAD_TRUNCATED_IMAGES"):
        opened(build(body, [b"abcde"]))
    with pytest.raises(FormatError, match="2 trailing bytes after the end of the file at 35"):
        opened(build(body, [b"abcdefgh"]))
    with pytest.raises(FormatError, match="1 trailing bytes"):
        opened(SMALL_BYTES + b"\x00", allow_truncated=True)
    terabyte = GRAY_FRAME + b"\x01\x00\x01" + varint(2**40)
    with pytest.raises(TruncatedError, match="of 1099511627810 bytes"):
        opened(build(terabyte, [b"abcdef"]))
    data = build(terabyte, [b"abcdef"])
    ref = opened(data, allow_truncated=True).frames[0].segments[0].chunks[0]
    with pytest.raises(TruncatedError, match="after 10 of 1099511627776 bytes"):
        read_chunk(io.BytesIO(data), ref)


def test_absurd_sizes_are_refused_before_anything_is_allocated() -> None:
    """2**31 x 2**31 pixels, 2**62 tiles: nothing is sized by these numbers, whatever the caller's own limit."""
    for method in (b"\x00\x01", b"\x10\x01\x01\x01"):
        body = b"\x0112345678\x02" + 2 * varint(2**31) + b"\x00\x01\x00" + b"\x01" + method + b"\x06"
        for max_pixels in (10**9, None):
            with pytest.raises(LimitError, match="2147483648 x 2147483648"):
                opened(build(body), max_pixels=max_pixels)
    body = b"\x0112345678\x02" + 2 * varint(2**31 - 1) + b"\x00\x01\x00" + b"\x01\x10\x01\x01\x01\x06"
    with pytest.raises(LimitError, match="exceeds the limit"):
        read_header(io.BytesIO(build(body)))
    with pytest.raises(FormatError, match="tiles, with 1 bytes left"):
        opened(build(body), max_pixels=None)


def test_absurd_frame_of_a_sound_file() -> None:
    huge = b"\x02" + b"\x02" + 2 * varint(2**20)
    body = b"\x00" + L_3X2 + b"\x00" + b"\x02\x00" + RAW_SEGMENT + huge + RAW_SEGMENT
    with pytest.raises(LimitError, match="1048576 x 1048576"):
        opened(build(body, [b"abcdef"] * 2))


# --- what is not written ---


def one(spec: ImageSpec, *segments: Segment[bytes], model: bytes | None = None) -> Header[bytes]:
    return Header((Frame(spec, segments),), model=model)


RAW = Segment(Method.RAW, (0, 1), (b"",))


@pytest.mark.parametrize(
    ("header", "error", "text"),
    [
        (one(ImageSpec("RGBQ", 1, 1), RAW), UnsupportedError, "cannot write mode RGBQ as IFL"),
        (one(GRAY, Segment(Method.RAW, (1, 1), (b"",))), ValueError, "cover its bands in order"),
        (one(ImageSpec.of("RGB", 1, 1), RAW), FormatError, "1 bands in mode RGB"),
        (one(GRAY, Segment(Method.RAW, (0, 1), (b"", b""))), FormatError, "left over"),
        (one(GRAY, Segment(Method.RAW, (0, 1), (b"",), 2, 2)), ValueError, "cover its bands in order"),
        (
            one(GRAY, Segment(Method.PHOTO, (0, 1), (b"",), 2, 2), model=bytes(8)),
            FormatError,
            "2 x 1 tiles, with 1 bytes left",
        ),
        (one(GRAY, Segment(Method.PHOTO, (0, 1), (b"",), 3, 2)), FormatError, "without a model id"),
        (one(GRAY), FormatError, "segment count 0"),
        (one(GRAY, RAW, model=b"short"), ValueError, "a model id has 8 bytes, not 5"),
        (one(ImageSpec("", 1, 1, 65), RAW), ValueError, "no unsigned samples have 65 bits"),
        (one(ImageSpec("L", 2**31, 1), RAW), LimitError, "2147483648 x 1"),
        (one(ImageSpec("L", -1, 1), RAW), ValueError, "-1 is not between"),
        (Header((Frame(GRAY, (RAW,)),), format="png"), ValueError, "format 'png' is none of"),
        (Header(()), ValueError, "at least one frame"),
        (
            Header((Frame(GRAY, (RAW,)),), metadata={MetadataType.EXIF: bytes(MAX_METADATA + 1)}),
            LimitError,
            "EXIF metadata of 16777217 bytes: the limit is 16777216",
        ),
        (
            one(
                ImageSpec.of("L", 1025, 1024),
                Segment(Method.PHOTO, (0, 1), (b"",) * 1025 * 1024, 1, 1),
                model=bytes(8),
            ),
            LimitError,
            "the limit is 1048576: use larger tiles",
        ),
    ],
)
def test_what_could_not_be_read_is_not_written(header: Header[bytes], error: type[Exception], text: str) -> None:
    out = io.BytesIO()
    with pytest.raises(error, match=text):
        write_to(out, header)
    assert out.getvalue() == b""


def test_unknown_pillow_mode() -> None:
    with pytest.raises(UnsupportedError, match="cannot write mode BGR;15 as IFL"):
        ImageSpec.of("BGR;15", 1, 1)


def test_metadata_of_exactly_the_limit() -> None:
    data = write(Header(SMALL.frames, metadata={MetadataType.EXIF: bytes(MAX_METADATA)}))
    header = verify(io.BytesIO(data))
    assert read_chunk(io.BytesIO(data), header.metadata[MetadataType.EXIF]) == bytes(MAX_METADATA)
