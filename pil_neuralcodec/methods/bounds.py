"""How many pixels a payload can hold at most, so that a file which claims more is refused before anything is done.

These are rules of the format, see ``docs/format.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..container import ChunkRef, ImageSpec, Method, Segment
from ..errors import FormatError

PIXELS_PER_BYTE: Final[Mapping[Method, int]] = {
    Method.RAW: 8,  # a bit each
    Method.FILTERED: 1 << 16,  # LZMA unpacks a byte to less than 2**13, and a byte has at most 8 indices
    Method.WEBP: 1 << 16,  # a rule: one colour need not take bits, but libwebp makes a byte of 26,000 pixels
    Method.PREDICTOR: 1 << 19,  # one residual takes no bits: 8 bytes hold a strip of 2**22
    Method.JPEG: 1 << 13,  # no coefficient takes less than 0.0014 bits, and a pixel has at least one
    Method.PHOTO: 1 << 16,  # 6 bytes hold a tile of 2**18
    Method.PATCH: 1 << 19,  # no sample takes less than 2.1e-5 bits, and no batch of 2**17 pixels less than a byte
    Method.BITSWAP: 1 << 18,  # a byte for each tile of 2**18
}


def check(spec: ImageSpec, segment: Segment[ChunkRef]) -> None:
    """Raise ``FormatError`` for a segment whose payloads are too small for its pixels."""
    size = sum(ref.length for ref in segment.chunks)
    if spec.width * spec.height > size * PIXELS_PER_BYTE[segment.method]:
        raise FormatError(
            f"{size} bytes of {segment.method.name} cannot hold {spec.width} x {spec.height} pixels:"
            " the file is malformed"
        )
