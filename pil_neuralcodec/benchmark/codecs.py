"""The codecs to compare: peers with their best known settings and the versions of their libraries, and ours."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import platform
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, features
from PIL import __version__ as _PILLOW

from . import jpegxl
from .samples import MODES, Pixels, bands_of, imagecodecs

_WEBP_MAX_SIDE: Final = 16383


def _accepts_all(pixels: Pixels) -> bool:
    return True


def _accepts_webp(pixels: Pixels) -> bool:
    return pixels.dtype == np.uint8 and max(pixels.shape) <= _WEBP_MAX_SIDE


def _unnamed(pixels: Pixels) -> str:
    return ""


@dataclass(frozen=True)
class Codec:
    """One row of a table.

    Parameters
    ----------
    name : what options and JSON call it.
    label : what tables show, beside the version.
    suffix : what its files end in.
    encode : pixels to the bytes of a file.
    decode : the bytes to pixels; its second argument is an array of the shape and type to return, which
        general-purpose compressors do not keep.
    accepts : whether it can hold such pixels.
    version : library and version that code such pixels, or "" for none worth naming.
    needs : it runs where one of these packages is installed, or everywhere for ().
    warm_side : pixels across and down of what it is warmed up with.
    """

    name: str
    label: str
    suffix: str
    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes, Pixels], Pixels]
    accepts: Callable[[Pixels], bool] = _accepts_all
    version: Callable[[Pixels], str] = _unnamed
    needs: tuple[str, ...] = ()
    warm_side: int = 64


def _from_bytes(data: bytes, like: Pixels) -> Pixels:
    array: Pixels = np.frombuffer(data, like.dtype).reshape(like.shape)
    return array


def _general(
    name: str,
    label: str,
    suffix: str,
    compress: Callable[[bytes], bytes],
    decompress: Callable[[bytes], bytes],
    version: str,
) -> Codec:
    """A compressor of bytes, on the raw pixels."""
    return Codec(
        name,
        label,
        suffix,
        lambda x: compress(x.tobytes()),
        lambda data, like: _from_bytes(decompress(data), like),
        version=lambda x: version,
    )


def _save(pixels: Pixels, format: str, **parameters: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **parameters)
    return file.getvalue()


def _load(data: bytes, like: Pixels, format: str) -> Pixels:
    """WebP has no gray: it stores RGB, and Pillow's RGB to L is exact where R = G = B."""
    with Image.open(io.BytesIO(data), formats=[format]) as image:
        return np.asarray(image.convert(MODES[bands_of(like)]) if like.dtype == np.uint8 else image)


def _webp(name: str, label: str, suffix: str, quality: int, method: int) -> Codec:
    return Codec(
        name,
        label,
        suffix,
        lambda x: _save(x, "WEBP", lossless=True, exact=True, quality=quality, method=method),
        lambda data, like: _load(data, like, "WEBP"),
        _accepts_webp,
        lambda x: f"libwebp {features.version('webp')}",
    )


def _in_pillow(pixels: Pixels) -> bool:
    """Whether Pillow has a mode for such pixels: none for colours of 16 bits."""
    return pixels.dtype == np.uint8 or pixels.ndim == 2


def _png() -> Codec:
    """Pillow's PNG, and for colours of 16 bits libpng's through imagecodecs."""

    def encode(pixels: Pixels) -> bytes:
        if _in_pillow(pixels):
            return _save(pixels, "PNG", optimize=True)
        return bytes(imagecodecs().png_encode(pixels, level=9))

    def decode(data: bytes, like: Pixels) -> Pixels:
        decoded: Pixels = _load(data, like, "PNG") if _in_pillow(like) else imagecodecs().png_decode(data)
        return decoded

    def version(pixels: Pixels) -> str:
        if not _in_pillow(pixels):
            return str(imagecodecs().png_version())
        ng = features.version("zlib_ng")
        return f"Pillow {_PILLOW}, " + (f"zlib-ng {ng}" if ng else f"zlib {features.version('zlib')}")

    return Codec(
        "png",
        "PNG optimized",
        ".png",
        encode,
        decode,
        lambda x: _in_pillow(x) or find_spec("imagecodecs") is not None,
        version,
    )


def _jpegxl(effort: int, threads: int) -> Codec:
    return Codec(
        f"jxl-e{effort}",
        f"JPEG XL e{effort}",
        f".e{effort}.jxl",
        lambda x: jpegxl.encode(x, effort, threads),
        lambda data, like: jpegxl.decode(data, like, threads),
        jpegxl.accepts,
        jpegxl.version,
        ("pillow_jxl", "imagecodecs"),
    )


def hp1(pixels: Pixels) -> Pixels:
    """HP1, the reversible colour transform of JPEG-LS part 2: R - G + 128, G, B - G + 128, modulo 256.

    For samples of 16 bits 32768 and 65536 take the places of 128 and 256.
    """
    return _hp1(pixels, lambda band, green, half: band - green + half)


def hp1_inverse(pixels: Pixels) -> Pixels:
    """Inverse of `hp1`."""
    return _hp1(pixels, lambda band, green, half: band + green - half)


def _hp1(pixels: Pixels, transform: Callable[[Pixels, Pixels, Any], Pixels]) -> Pixels:
    if pixels.ndim == 2:
        return pixels
    out = pixels.copy()
    half = pixels.dtype.type(1 << (8 * pixels.itemsize - 1))
    for band in (0, 2):
        out[..., band] = transform(pixels[..., band], pixels[..., 1], half)
    return out


def peers(threads: int | None = None) -> list[Codec]:
    """The codecs to compare with, best known settings named. ``threads``: for those that use several (None: all)."""
    threads = threads or os.cpu_count() or 1
    python = f"Python {platform.python_version()}"  # bz2 and lzma do not tell the versions of their libraries
    return [
        Codec("raw", "raw", ".raw", lambda x: x.tobytes(), _from_bytes),
        _general(
            "gzip",
            "gzip -9",
            ".gz",
            lambda x: gzip.compress(x, 9, mtime=0),
            gzip.decompress,
            f"zlib {zlib.ZLIB_RUNTIME_VERSION}",
        ),
        _general("bzip2", "bzip2 -9", ".bz2", bz2.compress, bz2.decompress, python),
        _general(
            "lzma",
            "LZMA -9e",
            ".xz",
            lambda x: lzma.compress(x, preset=9 | lzma.PRESET_EXTREME),
            lzma.decompress,
            python,
        ),
        _png(),
        _webp("webp", "WebP q75 m4", ".webp", 75, 4),
        _webp("webp-max", "WebP q100 m6", ".max.webp", 100, 6),
        Codec(
            "jpeg2000",
            "JPEG 2000",
            ".jp2",
            lambda x: bytes(imagecodecs().jpeg2k_encode(x, level=0, reversible=True, numthreads=threads)),
            lambda data, like: imagecodecs().jpeg2k_decode(data, numthreads=threads).reshape(like.shape),
            version=lambda x: str(imagecodecs().jpeg2k_version()),
            needs=("imagecodecs",),
        ),
        Codec(
            "jpegls",
            "JPEG-LS HP1",
            ".jls",
            lambda x: bytes(imagecodecs().jpegls_encode(hp1(x))),
            lambda data, like: hp1_inverse(imagecodecs().jpegls_decode(data).reshape(like.shape)),
            version=lambda x: str(imagecodecs().jpegls_version()),
            needs=("imagecodecs",),
        ),
        *(_jpegxl(effort, threads) for effort in (7, 9, 10)),
    ]


OURS: Final = {
    "ifl": ("ifl", None, None),
    "bsw": ("bsw", None, None),
    "bb-ans": ("bsw", "bb-ans", None),
    "ifl-best": ("ifl", None, "photo-best"),
}
"""This package's codecs by name: format, ordering, and the model where the name says it."""


def ours(
    name: str = "ifl", *, model: str | None = None, device: str | None = None, fallback: bool | str = True
) -> Codec:
    """One of this package's codecs; the other arguments are those of ``pil_neuralcodec.encode``, ``model`` for those
    whose name does not say it."""
    from .. import api

    format, ordering, named = OURS[name]
    model = named or model
    details = ["." + format, *([ordering.upper()] if ordering else []), *([Path(model).stem] if model else [])]
    return Codec(
        name,
        f"ours ({', '.join(details)})",
        "." + format if name == format else f".{name}.{format}",
        lambda x: api.encode(x, format, model=model, device=device, fallback=fallback, ordering=ordering),
        lambda data, like: api.decode(data, device=device).reshape(like.shape),
        warm_side=512,
    )


NAMES: Final = tuple(codec.name for codec in peers(1)) + tuple(OURS)
"""Every codec's name, in the order of the tables."""


def available(codecs: Iterable[Codec]) -> list[Codec]:
    """The codecs whose libraries are installed here."""
    return [codec for codec in codecs if not codec.needs or any(map(find_spec, codec.needs))]
