"""The photo flow as a method: tiles that are decoded alone, at several levels. See `flow.tile` for a tile's payload."""

from __future__ import annotations

import numpy as np

from ..container import ChunkRef, ImageSpec, Method, Segment
from ..flow.architecture import PhotoArchitecture
from ..flow.tile import checked_levels, tile_size
from ..flow.tiles import decode_tiles, encode_tiles
from ..models import Model
from .base import Coded, Pixels, Request

_DTYPES = (np.uint8, np.uint16)


def encode_segment(
    pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str, past: bool
) -> Coded | None:
    """Code uint8 or uint16 pixels as tiles; see ``base.Encoder``."""
    assert isinstance(model.architecture, PhotoArchitecture)
    if pixels.dtype not in _DTYPES:
        return None
    network = model.network(device)
    width, rows, chunks = encode_tiles(pixels, network, model.architecture, tile_size(height), past=past)
    return Coded(Method.PHOTO, tuple(chunks), (width, rows))


def decode_segment(request: Request) -> None:
    """Decode the tiles that are wanted; see ``base.Decoder``."""
    spec, segment, canvas = request.spec, request.segment, request.canvas
    request.check(*_DTYPES)
    model = request.model("photo")
    network, reference = request.network(model)
    architecture = model.architecture
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
    """The coarsest level that has checksums, and at which tiles still join; 0 is the frame itself."""
    columns, rows = segment.tile_counts(spec)
    level = checked_levels(segment.tile_h, segment.tile_w) - 1
    joints = [side for side, count in ((segment.tile_w, columns), (segment.tile_h, rows)) if count > 1]
    return min([level, *((side & -side).bit_length() - 1 for side in joints)])
