"""What Pillow leaves out of an image file when it loads the pixels, as the file itself tells.

Pillow has no mode of several bands of more than 8 bits, and converts such samples to 8 bits without a word.
"""

from __future__ import annotations

import os
import re
import struct
from typing import IO, Any, Final

from PIL import Image, ImageFile

from . import jxl_head

HEAD: Final = 2**16
"""Bytes from the start of a file that are looked at."""
TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG2000_MAGIC: Final = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_BITS_PER_SAMPLE, _SAMPLES, _EXTRA, _FORMAT = 258, 277, 338, 339


def what_is_cut(image: Image.Image, head: bytes) -> str | None:
    """What Pillow leaves out of the present frame of ``image``; None for nothing.

    ``head`` is the start of the file, at most `HEAD` bytes; a TIFF file needs none.
    """
    bits = 8
    if image.format == "PNG" and head[12:16] == b"IHDR" and head[25] != 0:
        bits = head[24]
    elif image.format == "PPM" and head[:2] in (b"P3", b"P6"):
        bits = ppm_maximum(head).bit_length()
    elif image.format == "PPM" and head[:2] in (b"P2", b"P5") and ppm_maximum(head) not in (*range(256), 65535):
        return f"values up to {ppm_maximum(head)}, by scaling them,"
    elif image.format == "SGI":
        bits = 8 * head[3]
    elif image.format == "JPEG2000":
        depths = jpeg2000_depths(head)
        bits = max(depths)
        if image.mode == "I;16" and depths == [16]:
            return None
        if len(depths) > len(image.getbands()):
            return f"{len(depths)} bands"
    elif image.format == "AVIF":
        at = head.find(b"av1C")
        if at >= 0 and head[at + 6] & 0x40:
            bits = 12 if head[at + 6] & 0x20 else 10
    elif image.format == "HEIF":
        bits = image.info.get("bit_depth", 8)
    elif image.format == "JXL":
        return _cut_of_jxl(image, head)
    elif image.format == "TIFF":
        return _cut_of_tiff(image)
    return f"samples of {bits} bits" if bits > 8 else None


def _cut_of_jxl(image: Image.Image, head: bytes) -> str | None:
    found = jxl_head.read(head)
    if found is None:
        return "what stands far behind in the file"
    if found.is_animated:
        return "further frames"
    if found.extra > 1:
        return f"{found.extra} bands besides colours"
    held = {"I;16": 16, "F": 32}.get(image.mode, 8)
    if found.bits != held:
        return f"{'floating-point ' * found.is_float}samples of {found.bits} bits"
    return None


def _cut_of_tiff(image: Image.Image) -> str | None:
    tags: Any = getattr(image, "tag_v2", {})
    bands, mode = tags.get(_SAMPLES, 1), image.mode
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
    kind = max(tags.get(_FORMAT, (1,)))
    if bits > (32 if mode in ("I", "F") else 16 if mode.startswith("I") else 8):
        return f"samples of {bits} bits"
    if bands > len(image.getbands()):
        return f"{bands} bands"
    if (kind, bits) in ((1, 32), (2, 8)):
        return f"{'un' * (kind == 1)}signed samples of {bits} bits"
    if mode == "RGBA" and 1 in tags.get(_EXTRA, ()):
        return "colours multiplied by alpha"
    return None


def is_widened(image: Image.Image) -> bool:
    """Whether Pillow reads the present page of a TIFF file as it is but with more bits: signed samples of 16 as 32."""
    return image.mode == "I" and max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (32,))) == 16


def ppm_maximum(head: bytes) -> int:
    """The largest value of a PPM file; 255 where the file does not tell."""
    fields = re.sub(rb"#[^\r\n]*", b"", head[:4096]).split(maxsplit=4)
    return int(fields[3]) if len(fields) > 3 and fields[3].isdigit() else 255


def jpeg2000_depths(head: bytes) -> list[int]:
    """Bits of the samples of each band of a JPEG 2000 file; 8 where the file does not tell."""
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(head) < at + 42:
        return [8]
    (count,) = struct.unpack_from(">H", head, at + 40)
    return [(one & 127) + 1 for one in head[at + 42 : at + 42 + 3 * count : 3]] or [8]


def cut_of_loaded(image: Image.Image) -> str | None:
    """As `what_is_cut` of an image that may be loaded already; None also where that can no longer be known."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in (
        "PNG",
        "PPM",
        "SGI",
        "JPEG2000",
        "AVIF",
        "HEIF",
        "JXL",
        "TIFF",
    ):
        return None
    try:
        return what_is_cut(image, b"" if image.format == "TIFF" else _head(image))
    except (OSError, ValueError, IndexError):
        return None


def _head(image: ImageFile.ImageFile) -> bytes:
    """The start of the file that an image came from; empty where it is gone."""
    file: IO[bytes] | None = image.fp or getattr(image, "_fp", None)
    if file is not None and not getattr(file, "closed", True):
        position = file.tell()
        file.seek(0)
        try:
            return file.read(HEAD)
        finally:
            file.seek(position)
    if image.filename and os.path.isfile(image.filename):
        with open(image.filename, "rb") as again:
            return again.read(HEAD)
    return b""
