"""Lossless WebP by Pillow's own libwebp: the method for screenshots, icons and palettes.

Layout: the VP8L bitstream alone; its RIFF wrapper says nothing more and is made again at decoding. One band is coded as
grey RGB, two as grey RGBA, three as RGB, four as RGBA with hidden colours kept. (WebP lossless bitstream
specification, RFC 9649 section 3.)
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, features

from .. import gate
from ..container import Method
from ..errors import FormatError, LimitError, UnsupportedError
from .bounds import PIXELS_PER_BYTE

MAX_SIDE = 16383
MAX_PIXELS = 1 << 27
"""Pillow refuses to read a WebP file of 2**27.4 pixels or more, unless its limit is raised."""
_SIGNATURE = 0x2F
_HEADER = 5


def available() -> bool:
    """Whether this Pillow was built with libwebp."""
    return bool(features.check("webp"))


def encode(pixels: np.ndarray, *, quality: int = 100, effort: int = 6) -> bytes | None:
    """The body for uint8 ``pixels`` (H, W, B), B = 1..4; ``None`` for what WebP cannot hold.

    ``quality`` 0..100 and ``effort`` 0..6 are libwebp's own: how hard it tries, never what it keeps.
    """
    height, width, bands = pixels.shape
    too_large = max(height, width) > MAX_SIDE or height * width > MAX_PIXELS
    if pixels.dtype != np.uint8 or bands > 4 or too_large or not available():
        return None
    image = Image.fromarray(_to_colour(pixels))
    file = io.BytesIO()
    options = {"lossless": True, "quality": quality, "method": effort, "exact": True}
    try:
        gate.apart(lambda: image.save(file, "WEBP", **options), pixels.nbytes)
    except (OSError, ValueError, MemoryError):  # libwebp has limits of its own
        return None
    data = file.getvalue()
    if data[8:16] != b"WEBPVP8L":
        return None
    size = struct.unpack_from("<I", data, 16)[0]
    return data[20 : 20 + size] if height * width <= size * PIXELS_PER_BYTE[Method.WEBP] else None


def decode(body: memoryview, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Inverse of ``encode``. Raises ``FormatError`` for a damaged bitstream, ``UnsupportedError`` without libwebp,
    ``LimitError`` above Pillow's own limit for any file."""
    height, width, bands = shape
    if dtype != np.uint8 or bands > 4:
        raise FormatError("WebP data can only hold 1 to 4 bands of 8 bits")
    if len(body) < _HEADER or body[0] != _SIGNATURE:
        raise FormatError("WebP data without its signature: the file is damaged")
    # The size is compared before libwebp sees anything: it allocates what the bitstream claims.
    bits = int.from_bytes(body[1:_HEADER], "little")
    if (bits & 0x3FFF, bits >> 14 & 0x3FFF) != (width - 1, height - 1) or bits >> 29:
        raise FormatError("WebP data of another image size: the file is damaged")
    if not available():
        raise UnsupportedError("this file needs a Pillow with WebP support: install a standard build of Pillow")
    from PIL import WebPImagePlugin  # not Image.open: that warns of sizes which our own limit has passed

    padded = bytes(body) + b"\0" * (len(body) % 2)
    riff = b"RIFF" + struct.pack("<I", 12 + len(padded)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + padded
    try:
        with WebPImagePlugin.WebPImageFile(io.BytesIO(riff)) as image:
            pixels = np.asarray(image.convert("RGBA" if bands in (2, 4) else "RGB"))
    except Image.DecompressionBombError as error:
        raise LimitError(f"{error} Raise PIL.Image.MAX_IMAGE_PIXELS to read this file.") from error
    except (OSError, SyntaxError, ValueError, RuntimeError, MemoryError) as error:
        raise FormatError(f"WebP data that libwebp refuses ({error}): the file is damaged") from error
    if pixels.shape[:2] != (height, width):
        raise FormatError("WebP data of another image size: the file is damaged")
    if bands < 3:
        pixels = pixels[:, :, ::3] if bands == 2 else pixels[:, :, :1]
    return np.ascontiguousarray(pixels)


def _to_colour(pixels: np.ndarray) -> np.ndarray:
    """``pixels`` as RGB or RGBA, (H, W, 3 or 4)."""
    bands = pixels.shape[2]
    if bands < 3:
        pixels = pixels[:, :, [0, 0, 0] if bands == 1 else [0, 0, 0, 1]]
    return np.ascontiguousarray(pixels)
