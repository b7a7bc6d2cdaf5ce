"""An image as tiles of the photo flow: cutting, batching, two tiles at work at a time.

Tiles are independent, so batches and threads change nothing in the bytes. Two workers let one tile's coder (numpy, one
core) run beside another's network (all cores).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import gate
from ..errors import FormatError
from ..nets.backends import Network
from .architecture import PhotoArchitecture
from .photo import TILE, PhotoCoder, checked_levels, tile_size
from .polyphase import level_shape

WORKERS = 2
BATCH_PIXELS = 2**18
"""Pixels, at the level that is coded, of the tiles that a worker takes at once: small tiles go together, a large one
goes alone."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def tile_boxes(height: int, width: int, tile_h: int, tile_w: int) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of every tile, row by row."""
    return [
        (top, left, min(tile_h, height - top), min(tile_w, width - left))
        for top in range(0, height, tile_h)
        for left in range(0, width, tile_w)
    ]


def encode_planes(
    pixels: np.ndarray,
    network: Network[Any],
    architecture: PhotoArchitecture,
    tile_h: int | None = None,
    *,
    batch: int | None = None,
) -> tuple[int, int, list[bytes]]:
    """Code an image uint8 or uint16 (H, W, bands), bands 1 or 3: (tile width, tile height, payloads row by row).

    ``tile_h``: height of the tiles, at most ``photo.TILE`` (None: near-equal ones). ``batch`` tiles of one shape go
    through the network together (None: what fits); the bytes are the same.
    """
    height, width = pixels.shape[:2]
    tile_h, tile_w = tile_h or tile_size(height), tile_size(width)
    coder = PhotoCoder(architecture, network)
    checked = checked_levels(tile_h, tile_w)
    boxes = tile_boxes(height, width, tile_h, tile_w)
    payloads: list[bytes] = [b""] * len(boxes)

    def work(indices: list[int]) -> list[bytes]:
        return coder.encode(
            np.stack([pixels[t : t + h, x : x + w] for t, x, h, w in (boxes[i] for i in indices)]), checked
        )

    for indices, done in _run(work, _batches(range(len(boxes)), boxes, batch, 0)):
        for i, payload in zip(indices, done, strict=True):
            payloads[i] = payload
    return tile_w, tile_h, payloads


def decode_planes(
    read: Callable[[int], bytes],
    height: int,
    width: int,
    bands: int,
    tile_h: int,
    tile_w: int,
    network: Network[Any],
    architecture: PhotoArchitecture,
    *,
    level: int = 0,
    tiles: Iterable[int] | None = None,
    on_error: Callable[[int, OSError], None] | None = None,
    batch: int | None = None,
    dtype: npt.DTypeLike = np.uint8,
) -> np.ndarray:
    """Decode an image of ``encode_planes`` at a level: of ``dtype``, that of the samples, (H, W, bands), sides divided
    by 2**level, rounded up.

    Parameters
    ----------
    read: gives a tile's payload by its index, called from one thread.
    level: below ``checked_levels(tile_h, tile_w)``.
    tiles: only these tiles; the rest stays zero.
    on_error: told of each tile that does not decode (it stays zero); without it the first error is raised.

    Raises ``FormatError`` for tiles larger than any encoder makes, whose networks would take unbounded memory.
    """
    if max(tile_h, tile_w) > TILE:
        raise FormatError(f"tiles of {tile_w} x {tile_h} pixels exceed {TILE} x {TILE}: the file is malformed")
    coder = PhotoCoder(architecture, network)
    checked = checked_levels(tile_h, tile_w)
    boxes = tile_boxes(height, width, tile_h, tile_w)
    out = np.zeros((*level_shape(height, width, level), bands), dtype)

    def attempt(indices: list[int], payloads: list[bytes]) -> list[np.ndarray | OSError]:
        h, w = boxes[indices[0]][2:]
        try:
            return list(coder.decode(payloads, h, w, bands, checked, level, dtype))
        except OSError as error:
            if len(indices) == 1:
                return [error]
            return [attempt([i], [p])[0] for i, p in zip(indices, payloads, strict=True)]

    def work(task: tuple[list[int], list[bytes | OSError]]) -> list[np.ndarray | OSError]:
        indices, payloads = task
        whole = [(i, p) for i, p in zip(indices, payloads, strict=True) if isinstance(p, bytes)]
        decoded = iter(attempt([i for i, _ in whole], [p for _, p in whole]) if whole else [])
        return [p if isinstance(p, OSError) else next(decoded) for p in payloads]

    def fetch(index: int) -> bytes | OSError:
        try:
            return read(index)
        except OSError as error:
            return error

    wanted = range(len(boxes)) if tiles is None else tiles
    tasks = ((indices, [fetch(i) for i in indices]) for indices in _batches(wanted, boxes, batch, level))
    for (indices, _), results in _run(work, tasks):
        for i, result in zip(indices, results, strict=True):
            if isinstance(result, OSError):
                if on_error is None:
                    raise result
                on_error(i, result)
                continue
            top, left = boxes[i][0] >> level, boxes[i][1] >> level
            out[top : top + result.shape[0], left : left + result.shape[1]] = result
    return out


def _batches(
    indices: Iterable[int], boxes: list[tuple[int, int, int, int]], batch: int | None, level: int
) -> Iterator[list[int]]:
    """Runs of tiles of the same shape, as many as make a batch at a level."""
    waiting: dict[tuple[int, int], list[int]] = {}
    for i in indices:
        h, w = boxes[i][2:]
        group = waiting.setdefault((h, w), [])
        group.append(i)
        if len(group) >= (batch or max(1, (BATCH_PIXELS << 2 * level) // (h * w))):
            yield waiting.pop((h, w))
    yield from waiting.values()


def _run(work: Callable[[_In], _Out], tasks: Iterable[_In]) -> Iterator[tuple[_In, _Out]]:
    """``(task, work(task))`` in order, ``WORKERS`` at a time and no further ahead, so that memory stays bounded."""
    source = iter(tasks)
    running = [(task, gate.TILES.submit(work, task)) for task in islice(source, WORKERS)]
    try:
        while running:
            task, future = running.pop(0)
            result = future.result()
            running += [(new, gate.TILES.submit(work, new)) for new in islice(source, 1)]
            yield task, result
    finally:
        for _, future in running:
            if not future.cancel():
                wait([future])
