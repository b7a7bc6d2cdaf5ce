"""Methods without a network: raw samples, row filters with LZMA, lossless WebP, a predictor, a JPEG
file's coefficients.

They take stored samples (H, W, B), H, W, B >= 1: uint8, uint16, int32 or float32. A payload is the method's body and,
behind it, the CRC-32 of the samples (little-endian, row-major), which is checked when decoding. Bodies of symbol
streams tell it themselves, and have nothing behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from ..container import Method
from ..errors import TruncatedError, UnsupportedError
from .base import Request, check, checksum

_CRC = 4
_DTYPES = ("uint8", "uint16", "int32", "float32")


class _Codec(NamedTuple):
    """A method's body. ``tells``: its symbol streams tell the checksum, and decoding compares it."""

    encode: Callable[[np.ndarray], bytes | None]
    decode: Callable[[memoryview, tuple[int, int, int], np.dtype], np.ndarray]
    tells: bool


def _codec_of(module: str, *, tells: bool = False) -> _Codec:
    """The codec in a module, which is imported when it is first used."""

    def call(function: str, *args: Any) -> Any:
        return getattr(import_module(f".{module}", __package__), function)(*args)

    return _Codec(partial(call, "encode"), partial(call, "decode"), tells)


_CODECS = {
    Method.RAW: _codec_of("raw"),
    Method.FILTERED: _codec_of("filtered"),
    Method.WEBP: _codec_of("webp"),
    Method.PREDICTOR: _codec_of("predictor", tells=True),
    Method.JPEG: _codec_of("jpeg", tells=True),
}


def decode_segment(request: Request) -> None:
    """Decode a segment that is one chunk, as a whole; see ``base.Decoder``."""
    method, dtype = request.segment.method, request.canvas.pixels.dtype
    request.paste_whole(lambda payload: decode(method, payload, request.shape, dtype))


def encode(method: int, pixels: np.ndarray) -> bytes | None:
    """The payload of ``pixels`` by one method, or ``None`` where the method cannot hold them.

    Raises ``UnsupportedError`` for an unknown method or a dtype that no method holds.
    """
    codec = _codec(method)
    pixels = checked(pixels)
    body = codec.encode(pixels)
    return body if body is None or codec.tells else with_checksum(body, pixels)


def decode(
    method: int, payload: bytes | memoryview, shape: tuple[int, int, int], dtype: np.dtype | type | str
) -> np.ndarray:
    """The pixels in ``payload``: an own array of this shape and dtype (native byte order).

    Memory is bounded by the shape, which the caller has checked against its limits. Raises ``FormatError`` (or its
    ``TruncatedError``, ``ChecksumError``) for damage, ``UnsupportedError`` for an unknown method.
    """
    codec = _codec(method)
    dtype = np.dtype(dtype)
    if dtype.name not in _DTYPES or len(shape) != 3 or min(shape) < 1:
        raise UnsupportedError(f"no method holds samples of type {dtype} and shape {shape}")
    view = memoryview(payload)
    if codec.tells:
        pixels = codec.decode(view, shape, dtype.newbyteorder("="))
    elif len(view) < _CRC:
        raise TruncatedError("the pixel data ends before its checksum")
    else:
        pixels = codec.decode(view[:-_CRC], shape, dtype.newbyteorder("="))
        check(pixels, int.from_bytes(view[-_CRC:], "little"))
    return np.require(pixels, dtype, ["C", "W"])


def reduced(payload: bytes, shape: tuple[int, int, int], level: int) -> tuple[np.ndarray, tuple[float, float]] | None:
    """A smaller version of what ``Method.JPEG`` holds; see ``jpeg.reduced``."""
    from . import jpeg

    return jpeg.reduced(memoryview(payload), shape, level)


def _codec(method: int) -> _Codec:
    try:
        return _CODECS[Method(method)]
    except ValueError:
        raise UnsupportedError(f"unknown coding method {method}: the file needs a newer version") from None


def checked(pixels: np.ndarray) -> np.ndarray:
    """Pixels as methods take them, in native byte order. Raises ``UnsupportedError`` for others."""
    if pixels.dtype.name not in _DTYPES or pixels.ndim != 3 or pixels.size == 0:
        raise UnsupportedError(f"no method holds samples of type {pixels.dtype} and shape {pixels.shape}")
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def with_checksum(body: bytes, pixels: np.ndarray) -> bytes:
    """A method's body, and behind it the checksum of the pixels."""
    return body + checksum(pixels).to_bytes(_CRC, "little")
