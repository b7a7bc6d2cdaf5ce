"""Methods without prediction of their own: raw, filtered, WebP. Page: Raw, Filtered, WebP."""

from __future__ import annotations

import io
import lzma
import struct

from PIL import Image as Pillow

from .numbers import Fields, check
from .samples import unpack


def decode_raw(body: bytes, count: int, size: int) -> list[int]:
    """``count`` samples of ``size`` bytes."""
    fields = Fields(body)
    depth = fields.u8()
    data = fields.rest()
    check(len(data) == (count * depth + 7) // 8, "the samples have another length")
    if depth == 8 * size:
        return unpack(data, size)
    check(size < 4 and 0 < depth < 8 * size, "the depth is impossible")
    bits = int.from_bytes(data, "big")
    padding = -count * depth % 8
    check(bits & ((1 << padding) - 1) == 0, "padding is not zero")
    return [bits >> (padding + depth * (count - 1 - i)) & ((1 << depth) - 1) for i in range(count)]


_LZMA = ((3, 0, 0), (0, 0, 0), (0, 1, 1), (4, 0, 0))


def decode_filtered(body: bytes, shape: tuple[int, int, int], size: int) -> list[int]:
    """Samples (H, W, B) of ``size`` bytes."""
    height, width, bands = shape
    fields = Fields(body)
    flags, index = fields.u8(), fields.u8()
    view, green, planar, row_filter = flags & 3, flags & 4, flags & 8, flags >> 4
    check(view < 3 and (row_filter < 4 or row_filter == 7) and index < 4, "the arrangement is not known")
    check(view == 0 or not (green or planar), "only samples are arranged so")
    check(bands >= 3 or not green, "there is no band 1 between two")
    colours, columns, channels, wide, depth = 0, width, bands, size, 8
    if view == 1:
        channels, wide = bands * size, 1
    elif view == 2:
        colours = fields.u8() + 1
        depth = 1 if colours <= 2 else 2 if colours <= 4 else 4 if colours <= 16 else 8
        columns, channels, wide = (width * depth + 7) // 8, 1, 1
    palette_size = colours * bands * size
    row_size = columns * channels * wide
    total = palette_size + height * (row_size + (row_filter == 7))
    lc, lp, pb = _LZMA[index]
    dictionary = min(max(4096, 1 << (total - 1).bit_length()), 1 << 26)
    chain = [{"id": lzma.FILTER_LZMA2, "lc": lc, "lp": lp, "pb": pb, "dict_size": dictionary}]
    unpacked = Fields(lzma.decompress(fields.rest(), lzma.FORMAT_RAW, filters=chain))
    palette = unpack(unpacked.take(palette_size), size)
    filters = list(unpacked.take(height)) if row_filter == 7 else [row_filter] * height
    check(all(number < 4 for number in filters), "a filter is not known")
    above = [[0] * channels for _ in range(columns)]
    out: list[int] = []
    for number in filters:
        row = _row(unpacked.take(row_size), columns, channels, wide, planar)
        mask = (1 << 8 * wide) - 1
        for c in range(channels):
            run = 0
            for pixel, up in zip(row, above, strict=True):
                run = run + pixel[c] if number & 1 else pixel[c]
                pixel[c] = (run + (up[c] if number & 2 else 0)) & mask
        above = row
        out += _samples(row, mask if green else 0, view, width, bands, size, palette, depth)
    check(unpacked.done(), "more data than the image needs")
    return out


def _row(data: bytes, columns: int, channels: int, wide: int, planar: int) -> list[list[int]]:
    """The numbers of a row, (columns, channels)."""
    if not planar:
        flat = unpack(data, wide)
        return [flat[x * channels : (x + 1) * channels] for x in range(columns)]
    return [
        [sum(data[(c * wide + byte) * columns + x] << 8 * byte for byte in range(wide)) for c in range(channels)]
        for x in range(columns)
    ]


def _samples(
    row: list[list[int]], green: int, view: int, width: int, bands: int, size: int, palette: list[int], depth: int
) -> list[int]:
    if green:
        return [sample for r, g, b, *others in row for sample in ((r + g) & green, g, (b + g) & green, *others)]
    if view == 1:
        return unpack(bytes(byte for pixel in row for byte in pixel), size)
    if view == 2:
        per_byte = 8 // depth
        indices = [byte >> (8 - depth * (i + 1)) & ((1 << depth) - 1) for (byte,) in row for i in range(per_byte)][
            :width
        ]
        check(all((index + 1) * bands <= len(palette) for index in indices), "an index is beyond the palette")
        return [sample for index in indices for sample in palette[index * bands : (index + 1) * bands]]
    return [sample for pixel in row for sample in pixel]


def decode_webp(body: bytes, shape: tuple[int, int, int]) -> list[int]:
    """Samples (H, W, B) of 8 bits, by Pillow's libwebp."""
    height, width, bands = shape
    padded = body + b"\0" * (len(body) % 2)
    riff = b"RIFF" + struct.pack("<I", 12 + len(padded)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + padded
    with Pillow.open(io.BytesIO(riff)) as image:
        check(image.size == (width, height), "the image has another size")
        data = image.convert("RGBA").tobytes()
    kept = {1: (0,), 2: (0, 3), 3: (0, 1, 2), 4: (0, 1, 2, 3)}[bands]
    return [data[at + band] for at in range(0, len(data), 4) for band in kept]
