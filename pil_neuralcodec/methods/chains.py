"""What the methods with bits-back share: a segment is one chain, decoded as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..container import ChunkRef, ImageSpec, Segment
from ..errors import FormatError
from ..flow.tile import TILE
from ..models import Architecture
from ..nets.backends import Network
from .base import Pixels, Request

DecodeChain = Callable[[bytes, tuple[int, int, int], Network[Any], Architecture], Pixels]
"""``decode(payload, (height, width, bands), network, architecture)``: pixels uint8."""


def takes(dtype: np.dtype[Any]) -> bool:
    """As of ``Encoder``."""
    return dtype == np.uint8


def decode(request: Request, kind: str, decode_chain: DecodeChain) -> None:
    """As of ``Decoder``, for a kind of models."""
    spec, canvas, bands = request.spec, request.canvas, request.segment.bands
    if not takes(canvas.pixels.dtype) or bands[1] not in (1, 3):
        raise FormatError(f"a {kind} segment of {bands[1]} bands of {canvas.pixels.dtype}: the file is malformed")
    network, reference = request.network(kind)
    shape, architecture = (spec.height, spec.width, bands[1]), request.model(kind).architecture
    try:
        payload = request.read(request.segment.chunks[0])
    except FormatError:
        if request.keep_going:
            return
        raise
    try:
        pixels = decode_chain(payload, shape, network, architecture)
    except FormatError:
        # The bytes are those that were written. If the device computed wrongly, the reference does better; that is
        # tried for what is no larger than a tile, so that a hostile file cannot make us decode megapixels twice.
        if reference is None or spec.height * spec.width > TILE * TILE:
            raise
        pixels = decode_chain(payload, shape, reference(), architecture)
    canvas.paste((0, 0, spec.width, spec.height), bands, pixels)


def max_level(spec: ImageSpec, segment: Segment[ChunkRef]) -> int:
    """As of ``Decoder``: a chain has no levels."""
    return 0
