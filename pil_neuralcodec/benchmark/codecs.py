"""The codecs to compare: peers from the standard library, Pillow, imagecodecs and libjxl, and ours."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from .samples import MODES, Pixels, Sample, band_count, imagecodecs_module

_WEBP_MAX_SIDE = 16383


def _accepts_all(pixels: Pixels) -> bool:
    return True


def _accepts_webp(pixels: Pixels) -> bool:
    return pixels.dtype == np.uint8 and max(pixels.shape) <= _WEBP_MAX_SIDE


@dataclass(frozen=True)
class Codec:
    """One row of a table: ``encode(pixels) -> bytes`` and ``decode(bytes, like) -> pixels``.

    ``like`` is an array of the shape and type to return: the general-purpose compressors keep neither. ``name`` is
    what options and JSON call it, ``label`` what tables show, ``suffix`` what its files end in, ``version``
    the library and its version, ``needs`` the package that it is made by.
    """

    name: str
    label: str
    suffix: str
    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes, Pixels], Pixels]
    accepts: Callable[[Pixels], bool] = _accepts_all
    warm_side: int = 64
    version: Callable[[], str] | None = None
    needs: str | None = None

    @property
    def title(self) -> str:
        """The label with the version of the library, where there is one: "JPEG XL e9 (libjxl 0.12.0)"."""
        return self.label if self.version is None else f"{self.label} ({self.version()})"

    def warm_up(self, pixels: Pixels) -> None:
        """Run once on a corner of the image, so that imports and loading a model are in no row's time."""
        corner = Sample("", np.ascontiguousarray(pixels[: self.warm_side, : self.warm_side]))
        if self.accepts(corner.pixels):
            measure(self, corner)


def _from_bytes(data: bytes, like: Pixels) -> Pixels:
    array: Pixels = np.frombuffer(data, like.dtype).reshape(like.shape)
    return array


def _general(
    name: str, label: str, suffix: str, compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes]
) -> Codec:
    """A compressor of bytes, on the raw pixels."""
    return Codec(
        name, label, suffix, lambda x: compress(x.tobytes()), lambda data, like: _from_bytes(decompress(data), like)
    )


def _pillow(
    name: str,
    label: str,
    suffix: str,
    format: str,
    version: Callable[[], str],
    accepts: Callable[[Pixels], bool] = _accepts_all,
    **parameters: Any,
) -> Codec:
    """A format of Pillow's. WebP has no gray: it stores RGB, and Pillow's RGB to L is exact where R = G = B."""

    def encode(pixels: Pixels) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format, **parameters)
        return file.getvalue()

    def decode(data: bytes, like: Pixels) -> Pixels:
        with Image.open(io.BytesIO(data), formats=[format]) as image:
            if like.dtype == np.uint8:
                return np.asarray(image.convert(MODES[band_count(like)]))
            return np.asarray(image)

    return Codec(name, label, suffix, encode, decode, accepts, version=version)


def _jpegxl(effort: int, threads: int) -> Codec:
    """JPEG XL by pillow-jxl-plugin, whose libjxl is newer than that of imagecodecs."""

    def encode(pixels: Pixels) -> bytes:
        _jpegxl_plugin()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JXL", lossless=True, effort=effort, num_threads=threads)
        return file.getvalue()

    def decode(data: bytes, like: Pixels) -> Pixels:
        _jpegxl_plugin()
        with Image.open(io.BytesIO(data), formats=["JXL"]) as image:
            return np.asarray(image)

    return Codec(
        f"jxl-e{effort}", f"JPEG XL e{effort}", f".e{effort}.jxl", encode, decode, version=_libjxl, needs="pillow_jxl"
    )


def _jpegxl_plugin() -> None:
    """Register the plugin with Pillow. Raises `ModuleNotFoundError` that names the extra where it is missing."""
    try:
        import_module("pillow_jxl")
    except ImportError as error:
        raise ModuleNotFoundError("pillow-jxl-plugin is missing: install the extra `bench`") from error


@cache
def _libjxl() -> str:
    """Version of libjxl in the plugin, from its list of parts; that of the plugin where it has none."""
    for file in metadata.files("pillow-jxl-plugin") or ():
        if "sboms" in file.parts and (found := re.search(r"\+libjxl-([0-9.]+[0-9])", file.read_text(encoding="utf-8"))):
            return f"libjxl {found[1]}"
    return f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"


def _imagecodecs_version(name: str) -> Callable[[], str]:
    return lambda: str(getattr(imagecodecs_module(), f"{name}_version")())


def _zlib() -> str:
    return f"zlib {features.version('zlib')}"


def _libwebp() -> str:
    return f"libwebp {features.version('webp')}"


def _hp1(pixels: Pixels) -> Pixels:
    """HP1, the reversible colour transform of JPEG-LS part 2: R - G + 128, G, B - G + 128 (modulo 256)."""
    if pixels.ndim == 2:
        return pixels
    out = pixels.copy()
    out[..., 0] += 128 - pixels[..., 1]
    out[..., 2] += 128 - pixels[..., 1]
    return out


def _hp1_inverse(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        return pixels
    out = pixels.copy()
    out[..., 0] += pixels[..., 1] - 128
    out[..., 2] += pixels[..., 1] - 128
    return out


def peers(threads: int | None = None) -> list[Codec]:
    """The codecs to compare with, best known settings named. ``threads``: for those that use several (None: all)."""
    threads = threads or os.cpu_count() or 1
    return [
        Codec("raw", "raw", ".raw", lambda x: x.tobytes(), _from_bytes),
        _general("gzip", "gzip -9", ".gz", lambda x: gzip.compress(x, 9, mtime=0), gzip.decompress),
        _general("bzip2", "bzip2 -9", ".bz2", bz2.compress, bz2.decompress),
        _general(
            "lzma", "LZMA -9e", ".xz", lambda x: lzma.compress(x, preset=9 | lzma.PRESET_EXTREME), lzma.decompress
        ),
        _pillow("png", "PNG (optimize)", ".png", "PNG", _zlib, optimize=True),
        _pillow(
            "webp",
            "WebP q75 m4",
            ".webp",
            "WEBP",
            _libwebp,
            _accepts_webp,
            lossless=True,
            exact=True,
            quality=75,
            method=4,
        ),
        _pillow(
            "webp-max",
            "WebP q100 m6",
            ".max.webp",
            "WEBP",
            _libwebp,
            _accepts_webp,
            lossless=True,
            exact=True,
            quality=100,
            method=6,
        ),
        Codec(
            "jpeg2000",
            "JPEG 2000",
            ".jp2",
            lambda x: bytes(imagecodecs_module().jpeg2k_encode(x, level=0, reversible=True, numthreads=threads)),
            lambda data, like: imagecodecs_module().jpeg2k_decode(data, numthreads=threads).reshape(like.shape),
            version=_imagecodecs_version("jpeg2k"),
            needs="imagecodecs",
        ),
        Codec(
            "jpegls",
            "JPEG-LS (HP1)",
            ".jls",
            lambda x: bytes(imagecodecs_module().jpegls_encode(_hp1(x))),
            lambda data, like: _hp1_inverse(imagecodecs_module().jpegls_decode(data).reshape(like.shape)),
            version=_imagecodecs_version("jpegls"),
            needs="imagecodecs",
        ),
        *(_jpegxl(effort, threads) for effort in (7, 9, 10)),
    ]


OURS = {
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
    from .. import codec

    format, ordering, named = OURS[name]
    model = named or model
    details = ["." + format, *([ordering.upper()] if ordering else []), *([Path(model).stem] if model else [])]
    return Codec(
        name,
        f"ours ({', '.join(details)})",
        "." + format if name == format else f".{name}.{format}",
        lambda x: codec.encode(x, format, model=model, device=device, fallback=fallback, ordering=ordering),
        lambda data, like: codec.decode(data, device=device).reshape(like.shape),
        warm_side=512,
    )


NAMES = tuple(codec.name for codec in peers(1)) + tuple(OURS)
"""Every codec's name, in the order of the tables."""


def available(codecs: Iterable[Codec]) -> list[Codec]:
    """The codecs that can run here: those of other packages only where these are installed."""
    return [codec for codec in codecs if codec.needs is None or find_spec(codec.needs)]


@dataclass(frozen=True)
class Row:
    """One codec on one image. Times in seconds. ``error`` is set, and the figures are 0, where the codec failed."""

    codec: str
    image: str
    shape: tuple[int, ...]
    raw_bytes: int
    bytes: int = 0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    error: str | None = None

    @property
    def subpixels(self) -> int:
        """Height x width x bands."""
        return math.prod(self.shape)


def measure(codec: Codec, sample: Sample, *, repeat: int = 1) -> tuple[Row, bytes]:
    """Encode and decode, compare bit for bit; the row (best time of ``repeat``) and the file.

    A codec that raises or returns other pixels gives a row with ``error``: one bad image does not end a long run.
    """
    pixels = sample.pixels
    data, encode_seconds, decode_seconds = b"", float("inf"), float("inf")
    row = Row(codec.name, sample.name, pixels.shape, pixels.nbytes)
    try:
        for _ in range(repeat):
            start = time.perf_counter()
            data = codec.encode(pixels)
            middle = time.perf_counter()
            decoded = codec.decode(data, pixels)
            end = time.perf_counter()
            encode_seconds = min(encode_seconds, middle - start)
            decode_seconds = min(decode_seconds, end - middle)
            if decoded.dtype != pixels.dtype or not np.array_equal(decoded, pixels):
                raise ValueError("not lossless: the decoded pixels differ")
    except Exception as error:  # a peer may raise anything; the row says it and the table shows it
        return Row(**asdict(row) | {"error": f"{type(error).__name__}: {error}"}), b""
    return Row(codec.name, sample.name, pixels.shape, pixels.nbytes, len(data), encode_seconds, decode_seconds), data
