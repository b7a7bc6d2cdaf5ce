"""The photo flow as a method: tiles that are decoded alone, at several levels. See `flow.tile` for a tile's payload."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..container import ChunkRef, ImageSpec, Method, Segment
from ..errors import FormatError
from ..flow.architecture import PhotoArchitecture
from ..flow.cells import Cells, find_cells, pack_cells, unpack_cells
from ..flow.tile import TILE, TileCoder, checked_levels, tile_size
from ..models import Model
from ..nets.backends import Network
from .base import Coded, Pixels, Request
from .tiles import Decode, encode_tiles

_DTYPES = (np.uint8, np.uint16)


def encode_segment(
    pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str, past: bool
) -> Coded | None:
    """Code uint8 or uint16 pixels as tiles; see ``base.Encoder``."""
    assert isinstance(model.architecture, PhotoArchitecture)
    if pixels.dtype not in _DTYPES:
        return None
    cells = find_cells(pixels) if past and pixels.dtype == np.uint8 else None
    coder = TileCoder(model.architecture, model.network(device), cells)
    rows, columns = tile_size(height), tile_size(pixels.shape[1])
    checked = checked_levels(rows, columns)
    chunks = encode_tiles(pixels, (rows, columns), lambda tiles: coder.encode(tiles, checked, past=past))
    return Coded(Method.PHOTO, tuple(chunks), (columns, rows), cells=pack_cells(cells))


def decode_segment(request: Request) -> None:
    """Decode the tiles that are wanted; see ``base.Decoder``."""
    segment, canvas = request.segment, request.canvas
    request.check(*_DTYPES)
    model = request.model("photo")
    architecture = model.architecture
    assert isinstance(architecture, PhotoArchitecture)
    tile, dtype = (segment.tile_h, segment.tile_w, segment.bands[1]), canvas.pixels.dtype
    cells = unpack_cells(segment.cells)
    request.paste_tiles(model, lambda network: tile_decoder(tile, network, architecture, canvas.level, dtype, cells))


def tile_decoder(
    tile: tuple[int, int, int],
    network: Network[Any],
    architecture: PhotoArchitecture,
    level: int = 0,
    dtype: npt.DTypeLike = np.uint8,
    cells: Cells | None = None,
) -> Decode:
    """What decodes tiles, of which a whole one is ``tile`` (height, width, bands), at a level; ``cells`` as of
    ``TileCoder``.

    Raises ``FormatError`` for tiles larger than ``TILE``, which no encoder makes and which could need any amount of
    memory.
    """
    height, width, bands = tile
    if max(height, width) > TILE:
        raise FormatError(f"tiles of {width} x {height} pixels exceed {TILE} x {TILE}: the file is malformed")
    coder, checked = TileCoder(architecture, network, cells), checked_levels(height, width)
    return lambda payloads, sides: coder.decode(payloads, (*sides, bands), checked, level, dtype)


def max_level(spec: ImageSpec, segment: Segment[ChunkRef]) -> int:
    """The coarsest level that has checksums, and at which tiles still join; 0 is the frame itself."""
    columns, rows = segment.tile_counts(spec)
    level = checked_levels(segment.tile_h, segment.tile_w) - 1
    joints = [side for side, count in ((segment.tile_w, columns), (segment.tile_h, rows)) if count > 1]
    return min([level, *((side & -side).bit_length() - 1 for side in joints)])
