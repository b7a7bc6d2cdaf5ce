"""Methods without a network, by their number. Page: Methods."""

from __future__ import annotations

from .container import FILTERED, JPEG, PREDICTOR, RAW
from .jpeg import decode_jpeg
from .numbers import check
from .predictor import decode_predictor
from .samples import crc_of
from .simple import decode_filtered, decode_raw, decode_webp


def decode_direct(method: int, payload: bytes, shape: tuple[int, int, int], size: int) -> list[int]:
    """Stored samples (H, W, B) of ``size`` bytes."""
    if method in (PREDICTOR, JPEG):
        check(size == 1, "samples of 8 bits only")
        return {PREDICTOR: decode_predictor, JPEG: decode_jpeg}[method](payload, shape)
    body, crc = payload[:-4], int.from_bytes(payload[-4:], "little")
    if method == RAW:
        samples = decode_raw(body, shape[0] * shape[1] * shape[2], size)
    elif method == FILTERED:
        samples = decode_filtered(body, shape, size)
    else:
        check(size == 1, "samples of 8 bits only")
        samples = decode_webp(body, shape)
    check(crc_of(samples, size) == crc, "the samples' CRC is wrong")
    return samples
