"""The photo flow as a method: tiles that are decoded alone, at several levels. See `flow.tiles` for the payload."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..container import ChunkRef, ImageSpec, Method, Segment
from ..errors import FormatError
from ..flow.architecture import PhotoArchitecture
from ..flow.tile import checked_levels, tile_size
from ..flow.tiles import decode_tiles, encode_tiles
from ..models import Model
from .base import Coded, Pixels, Request

KIND = "photo"


def takes(dtype: np.dtype[Any]) -> bool:
    """As of ``Encoder``."""
    return dtype in (np.uint8, np.uint16)


def encode(pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str) -> Coded:
    """As of ``Encoder``."""
    assert isinstance(model.architecture, PhotoArchitecture)
    width, rows, chunks = encode_tiles(pixels, model.network(device), model.architecture, tile_size(height))
    return Coded(Method.PHOTO, tuple(chunks), (width, rows))


def decode(request: Request) -> None:
    """As of ``Decoder``. Raises ``FormatError`` for samples and tiles that no encoder makes."""
    spec, segment, canvas = request.spec, request.segment, request.canvas
    if not takes(canvas.pixels.dtype) or segment.bands[1] not in (1, 3):
        raise FormatError(
            f"a photo segment of {segment.bands[1]} bands of {canvas.pixels.dtype}: the file is malformed"
        )
    network, reference = request.network(KIND)
    architecture = request.model(KIND).architecture
    assert isinstance(architecture, PhotoArchitecture)
    tiles = list(segment.tiles(spec))
    shapes = {
        number: (bottom - top, right - left)
        for number, (left, top, right, bottom) in enumerate(tiles)
        if canvas.wants((left, top, right, bottom))
    }
    found = decode_tiles(
        lambda number: request.read(segment.chunks[number]),
        shapes,
        (segment.tile_h, segment.tile_w, segment.bands[1]),
        network,
        architecture,
        level=canvas.level,
        dtype=canvas.pixels.dtype,
        reference=reference,
    )
    for number, result in found:
        if not isinstance(result, OSError):
            canvas.paste(tiles[number], segment.bands, result)
        elif not request.keep_going:
            raise result


def max_level(spec: ImageSpec, segment: Segment[ChunkRef]) -> int:
    """As of ``Decoder``: the coarsest level that has checksums, and at which tiles still join."""
    columns, rows = segment.tile_counts(spec)
    level = checked_levels(segment.tile_h, segment.tile_w) - 1
    joints = [side for side, count in ((segment.tile_w, columns), (segment.tile_h, rows)) if count > 1]
    return min([level, *((side & -side).bit_length() - 1 for side in joints)])
