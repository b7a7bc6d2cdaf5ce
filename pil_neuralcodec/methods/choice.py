"""Which method without a network makes the smallest payload, and which need not be tried."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..container import Method
from . import direct, filtered, webp

_SMALL = 1 << 16
"""Up to so many bytes of samples nothing is left out."""
_SAMPLE_ROWS = 16


def smallest(
    pixels: np.ndarray, *, methods: Iterable[int] | None = None, below: int | None = None
) -> tuple[Method, bytes] | None:
    """The smallest payload as ``(method, payload)``; the lower method number wins a tie.

    ``methods`` are tried all of them; by default every method is, save that slow ones are left out where a quick pass
    shows that they are hopeless. ``below`` is a size in bytes that the payload has to undercut, for example that of
    the network's code: ``None`` comes back when nothing does. What is left out depends on sizes in bytes only, so the
    same libraries give the same bytes on every machine.
    """
    pixels = direct.checked(pixels)
    ceiling = pixels.nbytes + (1 << 10) if below is None else below
    found: list[tuple[int, Method, bytes]] = []

    def attempt(method: Method, payload: bytes | None) -> int:
        """Keep a payload; the size to undercut from now on."""
        if payload is not None and len(payload) < ceiling:
            found.append((len(payload), method, payload))
        return min(found)[0] if found else ceiling

    tried = methods
    if tried is None:
        promising = below is None or _predictor_may_win(pixels, below)
        tried = (Method.PREDICTOR, Method.RAW) if promising else (Method.RAW,)
    limit = ceiling
    for method in map(Method, tried):
        limit = attempt(method, direct.encode(method, pixels))
    if methods is None and not _hopeless(pixels, limit):
        limit = attempt(Method.FILTERED, direct.encode(Method.FILTERED, pixels))
        attempt(Method.WEBP, _webp(pixels, limit))
    return min(found)[1:] if found else None


def _predictor_may_win(pixels: np.ndarray, limit: int) -> bool:
    """Whether the predictor can be expected below ``limit`` bytes, from what it makes of every eighth block of rows.

    On photographs it needs 1.1 to 1.3 times the network's size, or 1.01 to 1.06 where they were JPEG files; the sample
    errs by a tenth either way."""
    height = len(pixels)
    if pixels.nbytes <= _SMALL or height < 2 * _SAMPLE_ROWS or pixels.dtype != np.uint8:
        return True
    starts = range(0, height - _SAMPLE_ROWS + 1, 8 * _SAMPLE_ROWS)
    sample = np.concatenate([pixels[start : start + _SAMPLE_ROWS] for start in starts])
    payload = direct.encode(Method.PREDICTOR, sample)
    return payload is not None and len(payload) * height < limit * len(sample)


def _hopeless(pixels: np.ndarray, limit: int) -> bool:
    """Whether neither WebP nor filters can be expected below ``limit`` bytes: there is nothing repetitive to find.

    Measured against the predictor's size, the estimate for filters is 1.27 to 1.7 on photographs, and below 0.9 on
    drawings and screenshots; noise is what filters do not shrink at all. The quick pass of WebP is 1.07 to 1.8 on
    photographs.
    """
    if pixels.nbytes <= _SMALL:
        return False
    estimate = filtered.estimate(pixels)
    if estimate * 4 < limit * 5 and estimate * 20 < pixels.nbytes * 19:
        return False
    quick = webp.encode(pixels, quality=0, effort=0)
    return quick is None or len(quick) >= limit


def _webp(pixels: np.ndarray, limit: int) -> bytes | None:
    """WebP's payload where it can be expected below ``limit`` bytes.

    Its best effort takes up to 20 s on a photograph of 0.4 megapixels. A usual one takes a fiftieth of that for 1 to
    3 % more, and on photographs is 1.05 to 1.4 times the network's size. Where it is smaller and the samples are those
    of a photograph nevertheless, the best effort has nothing to find that a good one does not."""
    if pixels.nbytes > _SMALL:
        usual = webp.encode(pixels, quality=75, effort=4)
        if usual is None or len(usual) * 100 >= limit * 103:
            return None
        if len(usual) * 5 > pixels.nbytes:
            good = webp.encode(pixels, quality=75, effort=6)
            return None if good is None else good + direct.checksum(pixels)
    return direct.encode(Method.WEBP, pixels)
