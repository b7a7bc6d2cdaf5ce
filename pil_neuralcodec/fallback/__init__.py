"""Lossless coding of planes without a network: raw samples, row filters with LZMA, lossless WebP, a predictor.

``planes`` are (H, W, B) with H, W, B >= 1: uint8 with any number of bands, or uint16, int32 or float32. Every payload
is the method's body and, behind it, the CRC32 of the samples (little-endian, row-major), checked when decoding.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from ..errors import ChecksumError, TruncatedError, UnsupportedError
from . import filtered, predictor, raw, webp

__all__ = ["Method", "decode", "encode", "smallest"]

_CRC = 4
_DTYPES = ("uint8", "uint16", "int32", "float32")
_SMALL = 1 << 16
"""Up to so many bytes of samples nothing is left out."""
_SAMPLE_ROWS = 16


class Method(IntEnum):
    """Numbers that stand in files. Never reused."""

    RAW = 0
    FILTERED = 1
    WEBP = 2
    PREDICTOR = 3


class _Codec(NamedTuple):
    encode: Callable[[np.ndarray], bytes | None]
    decode: Callable[[memoryview, tuple[int, int, int], np.dtype], np.ndarray]


_CODECS = {
    Method.RAW: _Codec(raw.encode, raw.decode),
    Method.FILTERED: _Codec(filtered.encode, filtered.decode),
    Method.WEBP: _Codec(webp.encode, webp.decode),
    Method.PREDICTOR: _Codec(predictor.encode, predictor.decode),
}


def encode(method: int, planes: np.ndarray) -> bytes | None:
    """The payload of ``planes`` by one method, or ``None`` where the method cannot hold them.

    Raises ``UnsupportedError`` for an unknown method or a dtype that no method holds.
    """
    codec = _codec(method)
    planes = _checked(planes)
    body = codec.encode(planes)
    return None if body is None else body + _crc(planes)


def decode(
    method: int, payload: bytes | memoryview, shape: tuple[int, int, int], dtype: np.dtype | type | str
) -> np.ndarray:
    """The planes in ``payload``: an own array of this shape and dtype (native byte order).

    Memory is bounded by the shape, which the caller has checked against its limits. Raises ``FormatError`` (or its
    ``TruncatedError``, ``ChecksumError``) for damage, ``UnsupportedError`` for an unknown method.
    """
    codec = _codec(method)
    dtype = np.dtype(dtype)
    if dtype.name not in _DTYPES or len(shape) != 3 or min(shape) < 1:
        raise UnsupportedError(f"no method holds samples of type {dtype} and shape {shape}")
    view = memoryview(payload)
    if len(view) < _CRC:
        raise TruncatedError("the pixel data ends before its checksum")
    planes = codec.decode(view[:-_CRC], shape, dtype.newbyteorder("<"))
    if _crc(planes) != view[-_CRC:]:
        raise ChecksumError("the decoded pixels do not agree with their checksum: the file is damaged")
    return np.require(planes, dtype, ["C", "W"])


def smallest(
    planes: np.ndarray, *, methods: Iterable[int] | None = None, below: int | None = None
) -> tuple[Method, bytes] | None:
    """The smallest payload as ``(method, payload)``; the lower method number wins a tie.

    ``methods`` are tried all of them; by default every method is, save that slow ones are left out where a quick pass
    shows that they are hopeless. ``below`` is a size in bytes that the payload has to undercut, for example that of
    the network's code: ``None`` comes back when nothing does. What is left out depends on sizes in bytes only, so the
    same libraries give the same bytes on every machine.
    """
    planes = _checked(planes)
    best: tuple[Method, bytes] | None = None
    limit = planes.nbytes + (1 << 10) if below is None else below
    tried = methods
    if tried is None:
        promising = below is None or _predictor_may_win(planes, below)
        tried = (Method.PREDICTOR, Method.RAW) if promising else (Method.RAW,)
    for method in map(Method, tried):
        best, limit = _better(method, encode(method, planes), best, limit)
    if methods is None and not _hopeless(planes, limit):
        best, limit = _better(Method.FILTERED, encode(Method.FILTERED, planes), best, limit)
        best, limit = _better(Method.WEBP, _webp(planes, limit), best, limit)
    return best


def _better(
    method: Method, payload: bytes | None, best: tuple[Method, bytes] | None, limit: int
) -> tuple[tuple[Method, bytes] | None, int]:
    """``best`` and ``limit`` after ``method`` gave ``payload``."""
    if payload is not None:
        ties = best is not None and len(payload) == limit and method < best[0]
        if len(payload) < limit or ties:
            return (method, payload), len(payload)
    return best, limit


def _predictor_may_win(planes: np.ndarray, limit: int) -> bool:
    """Whether the predictor can be expected below ``limit`` bytes, from what it makes of every eighth block of rows.

    On photographs it needs 1.1 to 1.3 times the network's size, or 1.01 to 1.06 where they were JPEG files; the sample
    errs by a tenth either way."""
    height = len(planes)
    if planes.nbytes <= _SMALL or height < 2 * _SAMPLE_ROWS or planes.dtype != np.uint8:
        return True
    starts = range(0, height - _SAMPLE_ROWS + 1, 8 * _SAMPLE_ROWS)
    sample = np.concatenate([planes[start : start + _SAMPLE_ROWS] for start in starts])
    payload = encode(Method.PREDICTOR, sample)
    return payload is not None and len(payload) * height < limit * len(sample)


def _hopeless(planes: np.ndarray, limit: int) -> bool:
    """Whether neither WebP nor filters can be expected below ``limit`` bytes: there is nothing repetitive to find.

    Measured against the predictor's size, the estimate for filters is 1.27 to 1.7 on photographs, and below 0.9 on
    drawings and screenshots; noise is what filters do not shrink at all. The quick pass of WebP is 1.07 to 1.8 on
    photographs.
    """
    if planes.nbytes <= _SMALL:
        return False
    estimate = filtered.estimate(planes)
    if estimate * 4 < limit * 5 and estimate * 20 < planes.nbytes * 19:
        return False
    quick = webp.encode(planes, quality=0, effort=0)
    return quick is None or len(quick) >= limit


def _webp(planes: np.ndarray, limit: int) -> bytes | None:
    """WebP's payload where it can be expected below ``limit`` bytes.

    Its best effort takes up to 20 s on a photograph of 0.4 megapixels. A usual one takes a fiftieth of that for 1 to
    3 % more, and on photographs is 1.05 to 1.4 times the network's size. Where it is smaller and the samples are those
    of a photograph nevertheless, the best effort has nothing to find that a good one does not."""
    if planes.nbytes > _SMALL:
        usual = webp.encode(planes, quality=75, effort=4)
        if usual is None or len(usual) * 100 >= limit * 103:
            return None
        if len(usual) * 5 > planes.nbytes:
            good = webp.encode(planes, quality=75, effort=6)
            return None if good is None else good + _crc(planes)
    return encode(Method.WEBP, planes)


def _codec(method: int) -> _Codec:
    try:
        return _CODECS[Method(method)]
    except ValueError:
        raise UnsupportedError(f"unknown coding method {method}: the file needs a newer version") from None


def _checked(planes: np.ndarray) -> np.ndarray:
    if planes.dtype.name not in _DTYPES or planes.ndim != 3 or planes.size == 0:
        raise UnsupportedError(f"no method holds samples of type {planes.dtype} and shape {planes.shape}")
    return np.ascontiguousarray(planes, planes.dtype.newbyteorder("<"))


def _crc(planes: np.ndarray) -> bytes:
    return zlib.crc32(np.ascontiguousarray(planes).data).to_bytes(4, "little")
