"""Samples as they are, at the fewest whole bits that hold the largest one.

Layout: one byte ``depth``, then the samples in row-major order, bands interleaved, ``depth`` bits each with the most
significant first, zero padded to a byte at the very end. Samples that need their full 16 or 32 bits are little-endian.
This is the floor under every other method: noise costs its own size and one byte.
"""

from __future__ import annotations

import numpy as np

from ..errors import FormatError, TruncatedError
from .base import from_bytes, to_bytes

_BLOCK = 1 << 20  # samples unpacked at a time; a multiple of 8, so that blocks start on bytes


def encode(pixels: np.ndarray) -> bytes:
    """The body for ``pixels`` (H, W, B) of any supported dtype."""
    flat = pixels.reshape(-1)
    width = flat.dtype.itemsize * 8
    depth = max(1, int(flat.max()).bit_length()) if flat.dtype.kind == "u" else width
    if depth in (8, width):
        return bytes([depth]) + to_bytes(flat.astype("u1") if depth == 8 else flat).tobytes()
    parts = [bytes([depth])]
    for low in range(0, len(flat), _BLOCK):
        values = flat[low : low + _BLOCK].astype(">u2")
        bits = np.unpackbits(values.view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - depth :]
        parts.append(np.packbits(bits).tobytes())
    return b"".join(parts)


def decode(body: memoryview, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Inverse of ``encode``. Raises ``FormatError`` when the body cannot be of this shape and dtype."""
    count = shape[0] * shape[1] * shape[2]
    width = dtype.itemsize * 8
    if len(body) < 1:
        raise TruncatedError("raw samples: the data is empty")
    depth = body[0]
    if depth != width and not (dtype.kind == "u" and 1 <= depth < width):
        raise FormatError(f"raw samples: a depth of {depth} bits is impossible for {width}-bit samples")
    data = np.frombuffer(body[1:], np.uint8)
    expected = (count * depth + 7) // 8
    if len(data) != expected:
        problem = TruncatedError if len(data) < expected else FormatError
        raise problem(f"raw samples: {len(data)} bytes where {expected} were expected")
    if depth == width:
        return from_bytes(data, dtype).reshape(shape)
    if depth == 8:
        return data.astype(dtype).reshape(shape)
    if count * depth % 8 and data[-1] & ((1 << (-count * depth % 8)) - 1):
        raise FormatError("raw samples: non-zero padding")
    out = np.empty(count, dtype)
    weights = 1 << np.arange(depth - 1, -1, -1)
    for low in range(0, count, _BLOCK):
        n = min(_BLOCK, count - low)
        packed = data[low // 8 * depth : ((low + n) * depth + 7) // 8]
        bits = np.unpackbits(packed, count=n * depth).reshape(n, depth)
        values = np.zeros(n, np.uint16)
        for position, weight in enumerate(weights):
            values += bits[:, position] * np.uint16(weight)
        out[low : low + n] = values
    return out.reshape(shape)
