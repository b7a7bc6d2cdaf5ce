"""The codecs to compare: peers with their best known settings and the versions of their libraries, and ours."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import platform
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image, features
from PIL import __version__ as _PILLOW

from .samples import MODES, Pixels, bands_of, imagecodecs

_WEBP_MAX_SIDE: Final = 16383
_PLUGIN: Final = "pillow-jxl-plugin"


def _every(pixels: Pixels) -> bool:
    return True


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
    accepts: Callable[[Pixels], bool] = _every
    version: Callable[[Pixels], str] = _unnamed
    needs: tuple[str, ...] = ()
    warm_side: int = 64


class _Library(NamedTuple):
    """A library that codes a format: its package, or "" where that is always there; the rest as of `Codec`."""

    package: str
    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes, Pixels], Pixels]
    version: Callable[[], str]
    accepts: Callable[[Pixels], bool] = _every


def _codec(name: str, label: str, suffix: str, *libraries: _Library) -> Codec:
    """A codec by the first of some libraries that is installed and takes the pixels."""

    def takes(library: _Library, pixels: Pixels) -> bool:
        return (not library.package or find_spec(library.package) is not None) and library.accepts(pixels)

    def chosen(pixels: Pixels) -> _Library:
        return next(library for library in libraries if takes(library, pixels))

    return Codec(
        name,
        label,
        suffix,
        lambda pixels: chosen(pixels).encode(pixels),
        lambda data, like: chosen(like).decode(data, like),
        accepts=lambda pixels: any(takes(library, pixels) for library in libraries),
        version=lambda pixels: chosen(pixels).version(),
        needs=tuple(library.package for library in libraries) if all(one.package for one in libraries) else (),
    )


def _general(compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes], version: str) -> _Library:
    """A compressor of bytes, on the raw pixels."""
    return _Library(
        "",
        lambda pixels: compress(pixels.tobytes()),
        lambda data, like: np.frombuffer(decompress(data), like.dtype).reshape(like.shape),
        lambda: version,
    )


def _in_pillow(pixels: Pixels) -> bool:
    """Whether Pillow has a mode for such pixels: none for colours of 16 bits."""
    return pixels.dtype == np.uint8 or pixels.ndim == 2


def _in_webp(pixels: Pixels) -> bool:
    return pixels.dtype == np.uint8 and max(pixels.shape) <= _WEBP_MAX_SIDE


def _pillow(
    format: str,
    version: Callable[[], str],
    accepts: Callable[[Pixels], bool] = _in_pillow,
    package: str = "",
    prepare: Callable[[], None] = lambda: None,
    **parameters: Any,
) -> _Library:
    """One of Pillow's formats, or that of a plugin, which ``prepare`` registers."""

    def encode(pixels: Pixels) -> bytes:
        prepare()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format, **parameters)
        return file.getvalue()

    def decode(data: bytes, like: Pixels) -> Pixels:
        prepare()
        with Image.open(io.BytesIO(data), formats=[format]) as image:
            # WebP has no gray: it stores RGB, and Pillow's RGB to L is exact where R = G = B.
            return np.asarray(image.convert(MODES[bands_of(like)]) if like.dtype == np.uint8 else image)

    return _Library(package, encode, decode, version, accepts)


def _imagecodecs(
    format: str,
    encoding: dict[str, Any],
    decoding: dict[str, Any] | None = None,
    before: Callable[[Pixels], Pixels] = np.asarray,
    after: Callable[[Pixels], Pixels] = np.asarray,
) -> _Library:
    """A format of imagecodecs, by arguments of its two functions; ``before`` and ``after`` are a colour transform."""

    def encode(pixels: Pixels) -> bytes:
        return bytes(getattr(imagecodecs(), f"{format}_encode")(before(pixels), **encoding))

    def decode(data: bytes, like: Pixels) -> Pixels:
        decoded = getattr(imagecodecs(), f"{format}_decode")(data, **(decoding or {}))
        return after(decoded.reshape(like.shape))

    return _Library("imagecodecs", encode, decode, lambda: str(getattr(imagecodecs(), f"{format}_version")()))


def _png_version() -> str:
    ng = features.version("zlib_ng")
    return f"Pillow {_PILLOW}, " + (f"zlib-ng {ng}" if ng else f"zlib {features.version('zlib')}")


@cache
def _libjxl_of_plugin() -> str:
    """The plugin has no function that tells its libjxl; the list of parts that comes with its wheels does.

    Without such a list, as after a build from source, the plugin's own version has to do.
    """
    for file in metadata.files(_PLUGIN) or []:
        if file.match("sboms/*.json"):
            for part in json.loads(file.read_text(encoding="utf-8"))["components"]:
                if found := re.search(r"\+libjxl-([\d.]+)", part.get("version", "")):
                    return f"libjxl {found[1]}"
    return f"{_PLUGIN} {metadata.version(_PLUGIN)}"


def hp1(pixels: Pixels) -> Pixels:
    """HP1, the reversible colour transform of JPEG-LS part 2: R - G + 128, G, B - G + 128, modulo 256.

    For samples of 16 bits 32768 and 65536 take the places of 128 and 256. Gray and alpha stay as they are.
    """
    return _hp1(pixels, np.add)


def hp1_inverse(pixels: Pixels) -> Pixels:
    """Inverse of `hp1`."""
    return _hp1(pixels, np.subtract)


def _hp1(pixels: Pixels, combined: Callable[[Pixels, Pixels], Pixels]) -> Pixels:
    out = pixels.copy()
    if pixels.ndim == 3:
        half = pixels.dtype.type(1 << (8 * pixels.itemsize - 1))
        out[..., [0, 2]] = combined(pixels[..., [0, 2]], half - pixels[..., 1:2])
    return out


def peers(threads: int | None = None) -> list[Codec]:
    """The codecs to compare with, best known settings named. ``threads``: for those that use several (None: all)."""
    threads = threads or os.cpu_count() or 1
    python = f"Python {platform.python_version()}"  # bz2 and lzma do not tell the versions of their libraries
    gzip_9 = partial(gzip.compress, compresslevel=9, mtime=0)
    xz_9e = partial(lzma.compress, preset=9 | lzma.PRESET_EXTREME)
    webp = partial(_pillow, "WEBP", lambda: f"libwebp {features.version('webp')}", _in_webp, lossless=True, exact=True)
    several = {"numthreads": threads}
    return [
        _codec("raw", "raw", ".raw", _general(bytes, bytes, "")),
        _codec("gzip", "gzip -9", ".gz", _general(gzip_9, gzip.decompress, f"zlib {zlib.ZLIB_RUNTIME_VERSION}")),
        _codec("bzip2", "bzip2 -9", ".bz2", _general(bz2.compress, bz2.decompress, python)),
        _codec("lzma", "LZMA -9e", ".xz", _general(xz_9e, lzma.decompress, python)),
        _codec(
            "png",
            "PNG optimized",
            ".png",
            _pillow("PNG", _png_version, optimize=True),
            _imagecodecs("png", {"level": 9}),
        ),
        _codec("webp", "WebP q75 m4", ".webp", webp(quality=75, method=4)),
        _codec("webp-max", "WebP q100 m6", ".max.webp", webp(quality=100, method=6)),
        _codec(
            "jpeg2000",
            "JPEG 2000",
            ".jp2",
            _imagecodecs("jpeg2k", {"level": 0, "reversible": True, **several}, several),
        ),
        _codec("jpegls", "JPEG-LS HP1", ".jls", _imagecodecs("jpegls", {}, before=hp1, after=hp1_inverse)),
        *(_jpegxl(effort, threads) for effort in (3, 5, 7, 9, 10)),
    ]


def _jpegxl(effort: int, threads: int) -> Codec:
    """JPEG XL by the plugin, whose libjxl is newer than that of imagecodecs; colours of 16 bits by the latter."""

    def plugin() -> None:
        from pillow_jxl import JpegXLImagePlugin  # registers itself, so only to code an image

        JpegXLImagePlugin.DECODE_THREADS = threads

    best: dict[str, Any] = {"lossless": True, "effort": effort}
    return _codec(
        f"jxl-e{effort}",
        f"JPEG XL e{effort}",
        f".e{effort}.jxl",
        _pillow("JXL", _libjxl_of_plugin, package="pillow_jxl", prepare=plugin, num_threads=threads, **best),
        _imagecodecs("jpegxl", {**best, "numthreads": threads}, {"numthreads": threads}),
    )


OURS: Final = {
    "ifl": ("ifl", None, None),
    "bsw": ("bsw", None, None),
    "bb-ans": ("bsw", "bb-ans", None),
    "ifl-fast": ("ifl", None, "photo-fast"),
    "ifl-best": ("ifl", None, "photo-best"),
}
"""This package's codecs by name: format, ordering, and the model where the name says it."""


def ours(
    name: str = "ifl",
    *,
    model: str | None = None,
    device: str | None = None,
    fallback: bool | str = True,
    past: bool = True,
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
        lambda x: api.encode(x, format, model=model, device=device, fallback=fallback, ordering=ordering, past=past),
        lambda data, like: api.decode(data, device=device).reshape(like.shape),
        warm_side=512,
    )


NAMES: Final = tuple(codec.name for codec in peers(1)) + tuple(OURS)
"""Every codec's name, in the order of the tables."""


def available(codecs: Iterable[Codec]) -> list[Codec]:
    """The codecs whose libraries are installed here."""
    return [codec for codec in codecs if not codec.needs or any(map(find_spec, codec.needs))]
