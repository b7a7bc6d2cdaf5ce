"""An image as tiles of the photo flow: cutting, batching, two tiles at work at a time.

Tiles are independent, so batches and threads change nothing in the bytes. Two workers let one tile's coder (numpy, one
core) run beside another's network (all cores).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import wait
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .. import gate
from ..errors import FormatError
from ..nets.backends import Network
from .architecture import PhotoArchitecture
from .tile import TILE, TileCoder, checked_levels, tile_size

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
    coder = TileCoder(architecture, network)
    checked = checked_levels(tile_h, tile_w)
    boxes = tile_boxes(height, width, tile_h, tile_w)
    payloads: list[bytes] = [b""] * len(boxes)

    def work(indices: list[int]) -> list[bytes]:
        return coder.encode(
            np.stack([pixels[t : t + h, x : x + w] for t, x, h, w in (boxes[i] for i in indices)]), checked
        )

    for indices, done in _run(work, _batches(dict(enumerate(box[2:] for box in boxes)), batch, 0)):
        for i, payload in zip(indices, done, strict=True):
            payloads[i] = payload
    return tile_w, tile_h, payloads


def decode_tiles(
    read: Callable[[int], bytes],
    shapes: Mapping[int, tuple[int, int]],
    tile: tuple[int, int, int],
    network: Network[Any],
    architecture: PhotoArchitecture,
    *,
    level: int = 0,
    dtype: npt.DTypeLike = np.uint8,
    reference: Callable[[], Network[Any]] | None = None,
    batch: int | None = None,
) -> Iterator[tuple[int, np.ndarray | OSError]]:
    """Decode tiles of ``encode_planes``: each tile's number with its pixels, of ``dtype`` and (h, w, bands), or with
    the error that says why it does not decode.

    Parameters
    ----------
    read : gives a tile's payload by its number, called from one thread.
    shapes : the tiles that are wanted, (height, width) by number.
    tile : (height, width, bands) of a whole tile.
    level : below ``checked_levels``: every ``2**level``-th pixel, rounded up.
    reference : opens the network that tries again what does not decode. One tile at most is decoded twice, unless the
        reference does better.
    batch : how many tiles of one shape go through the network together (None: what fits).

    Raises ``FormatError`` for tiles larger than any encoder makes, whose networks would take unbounded memory.
    """
    tile_h, tile_w, bands = tile
    if max(tile_h, tile_w) > TILE:
        raise FormatError(f"tiles of {tile_w} x {tile_h} pixels exceed {TILE} x {TILE}: the file is malformed")
    checked = checked_levels(tile_h, tile_w)

    def attempt(coder: TileCoder, numbers: list[int], payloads: list[bytes]) -> list[np.ndarray | OSError]:
        h, w = shapes[numbers[0]]
        try:
            return list(coder.decode(payloads, (h, w, bands), checked, level, dtype))
        except OSError as error:
            if len(numbers) == 1:
                return [error]
            return [attempt(coder, [i], [p])[0] for i, p in zip(numbers, payloads, strict=True)]

    def work(task: tuple[list[int], list[bytes | OSError]]) -> list[np.ndarray | OSError]:
        numbers, payloads = task
        whole = [(i, p) for i, p in zip(numbers, payloads, strict=True) if isinstance(p, bytes)]
        coder = TileCoder(architecture, network)
        decoded = iter(attempt(coder, [i for i, _ in whole], [p for _, p in whole]) if whole else [])
        return [p if isinstance(p, OSError) else next(decoded) for p in payloads]

    def fetch(number: int) -> bytes | OSError:
        try:
            return read(number)
        except OSError as error:
            return error

    second: TileCoder | None = None
    tasks = ((numbers, [fetch(i) for i in numbers]) for numbers in _batches(shapes, batch, level))
    for (numbers, payloads), results in _run(work, tasks):
        for number, payload, result in zip(numbers, payloads, results, strict=True):
            # The payload's own checksum was right. If the device computed wrongly, the reference does better.
            if isinstance(result, OSError) and isinstance(payload, bytes) and reference is not None:
                second = second or TileCoder(architecture, reference())
                (result,) = attempt(second, [number], [payload])
                if isinstance(result, OSError):
                    reference = None  # the file is wrong, not the device
            yield number, result


def _batches(shapes: Mapping[int, tuple[int, int]], batch: int | None, level: int) -> Iterator[list[int]]:
    """Runs of tiles of the same shape, as many as make a batch at a level."""
    waiting: dict[tuple[int, int], list[int]] = {}
    for number, (h, w) in shapes.items():
        group = waiting.setdefault((h, w), [])
        group.append(number)
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
