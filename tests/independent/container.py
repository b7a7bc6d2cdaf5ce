"""Header and chunks. Page: File, Body, Modes, Metadata."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

from .numbers import Fields, check

RAW, FILTERED, WEBP, PREDICTOR, JPEG, PHOTO, BITSWAP, PATCH = 0, 1, 2, 3, 4, 16, 17, 18
RANKED, UNEVEN = 64, 128
METHODS = (RAW, FILTERED, WEBP, PREDICTOR, JPEG, PHOTO, BITSWAP, PATCH)
UNSIGNED, SIGNED, FLOAT = 0, 1, 2
DEPTHS = ((1, 8, 16, 32, 64), (8, 16, 32, 64), (16, 32, 64))
"""By kind."""
MODES: dict[int, tuple[str, int, int, int]] = {
    code: (name, bands, UNSIGNED, bits)
    for code, name, bands, bits in (
        (1, "1", 1, 1),
        (2, "L", 1, 8),
        (3, "LA", 2, 8),
        (4, "La", 2, 8),
        (5, "P", 1, 8),
        (6, "PA", 2, 8),
        (7, "RGB", 3, 8),
        (8, "RGBA", 4, 8),
        (9, "RGBX", 4, 8),
        (10, "RGBa", 4, 8),
        (11, "CMYK", 4, 8),
        (12, "YCbCr", 3, 8),
        (13, "LAB", 3, 8),
        (14, "HSV", 3, 8),
        (15, "I;16", 1, 16),
        (16, "I;16L", 1, 16),
        (17, "I;16B", 1, 16),
        (18, "I;16N", 1, 16),
    )
} | {19: ("I", 1, SIGNED, 32), 20: ("F", 1, FLOAT, 32)}
"""By code: name, bands, kind and bits of samples."""
_METADATA = range(1, 11)


@dataclass(frozen=True)
class Image:
    """What the header says of an image: without a mode ``mode`` is "" and ``bands`` 0."""

    mode: str
    bands: int
    kind: int
    bits: int
    width: int
    height: int

    @property
    def word_size(self) -> int:
        """Bytes of a stored sample."""
        return min(4, -(-self.bits // 8))


@dataclass(frozen=True)
class Segment:
    """Stored bands by one method: the payloads of its tiles, and their (left, top, right, bottom). Of ranks, the sample
    that each means, by band."""

    method: int
    bands: int
    tile: tuple[int, int]
    boxes: list[tuple[int, int, int, int]]
    payloads: list[bytes]
    meanings: list[dict[int, int]]
    cells: list[list[int]]
    """Of each band, how much higher the lower edge of each value's cell is, in 1/64."""


@dataclass(frozen=True)
class Frame:
    """One image, with the metadata that belong to it."""

    image: Image
    duration: int | None
    metadata: dict[int, Any]
    segments: list[Segment]


@dataclass(frozen=True)
class File:
    """All that a file says, but for the coding of pixels."""

    magic: bytes
    model: bytes | None
    frames: list[Frame]


def read_file(data: bytes) -> File:
    """A whole file."""
    fields = Fields(data)
    magic = fields.take(8)
    check(magic in (b"\x89IFL\r\n\x1a\n", b"\x89BSW\r\n\x1a\n"), "the magic number is wrong")
    check(fields.u8() == 1, "the version is not known")
    length = fields.varint()
    check(length <= 1 << 20, "the header is too long")
    body = Fields(fields.take(length))
    crc = zlib.crc32(data[: fields.at])
    check(fields.u32() == crc, "the header's CRC is wrong")
    number = 0

    def chunk(length: int) -> bytes:
        nonlocal number
        payload = fields.take(length)
        check(fields.u32() == zlib.crc32(struct.pack("<I", number) + payload, crc), "a chunk's CRC is wrong")
        number += 1
        return payload

    result = _body(magic, body, chunk)
    check(body.done() and fields.done(), "bytes are left over")
    return result


def _body(magic: bytes, body: Fields, chunk: Callable[[int], bytes]) -> File:
    flags = body.u8()
    check(flags in (0, 1), "a flag is not known")
    model = body.take(8) if flags else None
    image = _image(body)
    common = _table(body, chunk)
    count = body.varint()
    check(count >= 1, "no frame")
    frames = []
    for _ in range(count):
        flags = body.u8()
        check(flags < 8, "a frame's flag is not known")
        duration = body.varint() if flags & 1 else None
        if flags & 2:
            other = _image(body)
            check(other != image, "an image is repeated")
            image = other
        own = _table(body, chunk) if flags & 4 else {}
        check(bool(own) == bool(flags & 4), "a frame's table is empty")
        segments = [_segment(body, image, chunk) for _ in range(body.varint())]
        bands = sum(segment.bands for segment in segments)
        check(bands > 0 and (not image.mode or bands == image.bands), "the bands do not add up")
        check(image.bits != 64 or bands % 2 == 0, "half a sample")
        frames.append(Frame(replace(image, bands=bands), duration, common | own, segments))
    needed = any(segment.method >= PHOTO for frame in frames for segment in frame.segments)
    check(needed == (model is not None), "a model that is needed, or one that is not")
    return File(magic, model, frames)


def _image(body: Fields) -> Image:
    code = body.varint()
    if code:
        check(code in MODES, "the mode is not known")
        mode, bands, kind, bits = MODES[code]
    else:
        sample = body.u8()
        mode, bands, kind, bits = "", 0, sample >> 6, (sample & 63) + 1
        check(kind <= FLOAT and bits in DEPTHS[kind], "the samples are not known")
    width, height = body.varint(), body.varint()
    check(0 < width < 1 << 31 and 0 < height < 1 << 31, "the size is impossible")
    return Image(mode, bands, kind, bits, width, height)


def _table(body: Fields, chunk: Callable[[int], bytes]) -> dict[int, Any]:
    sizes = [(body.varint(), body.varint()) for _ in range(body.varint())]
    types = [kind for kind, _ in sizes]
    check(types == sorted(set(types)) and all(kind in _METADATA for kind in types), "the types are wrong")
    check(all(size <= 16 << 20 for _, size in sizes), "metadata are too long")
    return {kind: _metadata(kind, chunk(size)) for kind, size in sizes}


def _segment(body: Fields, image: Image, chunk: Callable[[int], bytes]) -> Segment:
    method, bands = body.varint(), body.varint()
    is_uneven = method - UNEVEN in (PHOTO, BITSWAP, PHOTO + RANKED, BITSWAP + RANKED)
    method -= UNEVEN * is_uneven
    is_ranked = method - RANKED in (JPEG, PHOTO, BITSWAP, PATCH)
    method -= RANKED * is_ranked
    check(method in METHODS and bands > 0, "the method is not known")
    is_tiled = method in (PHOTO, BITSWAP)
    tile_width, tile_height = (body.varint(), body.varint()) if is_tiled else (image.width, image.height)
    check(tile_width > 0 and tile_height > 0, "a tile is empty")
    meanings = []
    if is_ranked:
        check(image.bits == 8, "ranks of samples that have not 8 bits")
        for _ in range(bands):
            first, table = body.u8(), body.take(32)
            occurring = [v for v in range(256) if table[v // 8] >> v % 8 & 1]
            check(len(occurring) > 0 and first + len(occurring) <= 256, "no samples occur, or ranks end beyond 255")
            meanings.append(dict(enumerate(occurring, first)))
        check(min(map(len, meanings)) < 256, "all samples occur")
    cells = []
    if is_uneven:
        check(image.bits == 8, "cells of samples that have not 8 bits")
        for _ in range(bands):
            cells.append([0, *(byte - 256 * (byte > 127) for byte in body.take(255)), 0])
            check(max(map(abs, cells[-1])) < 64, "an edge is moved too far")
            check(all(64 + cells[-1][v + 1] > cells[-1][v] for v in range(256)), "edges do not rise")
    boxes = [
        (left, top, min(left + tile_width, image.width), min(top + tile_height, image.height))
        for top in range(0, image.height, tile_height)
        for left in range(0, image.width, tile_width)
    ]
    lengths = [body.varint() for _ in boxes]
    payloads = [chunk(length) for length in lengths]
    return Segment(method, bands, (tile_width, tile_height), boxes, payloads, meanings, cells)


def _metadata(kind: int, payload: bytes) -> Any:
    fields = Fields(payload)
    if kind == 4:
        mode = fields.take(fields.u8()).decode("ascii")
        check(mode in ("RGB", "RGBA", "CMYK"), "the palette's mode is not known")
        return mode, fields.rest()
    if kind == 5:
        what = fields.u8()
        if what == 1:
            return fields.rest()
        numbers = _varints(fields)
        check(what in (0, 2) and (what == 2 or len(numbers) == 1), "the transparency is malformed")
        return tuple(numbers) if what else numbers[0]
    if kind == 6:
        check(len(payload) == 16, "the resolution is malformed")
        return struct.unpack("<2d", payload)
    if kind == 7:
        (loop,) = _varints(fields)
        return loop
    if kind == 8:
        flags = fields.u8()
        letters = fields.take(fields.u8()).decode("ascii")
        sizes = tuple(fields.varint() for _ in letters)
        check(
            fields.done()
            and flags < 4
            and {"Y", "X"} <= set(letters) <= set(ascii_uppercase)
            and len(set(letters)) == len(letters),
            "the axes are malformed",
        )
        return letters, sizes, bool(flags & 1), bool(flags & 2)
    if kind == 9:
        strings = []
        while not fields.done():
            strings.append(fields.take(fields.varint()).decode())
        check(len(strings) % 4 == 0 and all(strings[::4]), "the texts are malformed")
        return [tuple(strings[i : i + 4]) for i in range(0, len(strings), 4)]
    return payload


def _varints(fields: Fields) -> list[int]:
    numbers = []
    while not fields.done():
        numbers.append(fields.varint())
    check(all(number < 1 << 32 for number in numbers), "a number is too large")
    return numbers
