"""Images as tiles of the photo flow: cutting, batching, threads.

Tiles are independent, so batches and threads do not change the bytes. With two workers the coder of one tile (one core)
runs beside the network of another (all cores).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
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
"""Pixels, at the decoded level, that a worker takes at once: many small tiles or one large one."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def tile_areas(height: int, width: int, tile_h: int, tile_w: int) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of every tile, row by row."""
    return [
        (top, left, min(tile_h, height - top), min(tile_w, width - left))
        for top in range(0, height, tile_h)
        for left in range(0, width, tile_w)
    ]


def encode_tiles(
    pixels: np.ndarray,
    network: Network[Any],
    architecture: PhotoArchitecture,
    tile_h: int | None = None,
    *,
    past: bool = True,
) -> tuple[int, int, list[bytes]]:
    """Encode an image.

    Parameters
    ----------
    pixels
        uint8 or uint16 (H, W, bands), bands 1 or 3.
    tile_h
        Height of the tiles, at most ``tile.TILE``; None: near-equal ones.
    past
        As in ``TileCoder.encode``.

    Returns
    -------
    Width and height of the tiles in pixels, and their payloads, row by row.
    """
    height, width = pixels.shape[:2]
    tile_h, tile_w = tile_h or tile_size(height), tile_size(width)
    coder = TileCoder(architecture, network)
    checked = checked_levels(tile_h, tile_w)
    areas = tile_areas(height, width, tile_h, tile_w)
    payloads: list[bytes] = [b""] * len(areas)

    def work(indices: list[int]) -> list[bytes]:
        return coder.encode(
            np.stack([pixels[t : t + h, x : x + w] for t, x, h, w in (areas[i] for i in indices)]), checked, past=past
        )

    for indices, done in _run(work, _batches(dict(enumerate(area[2:] for area in areas)), 0)):
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
) -> Iterator[tuple[int, np.ndarray | OSError]]:
    """Decode tiles of ``encode_tiles``.

    Parameters
    ----------
    read
        Returns the payload of a tile by its number; called from one thread.
    shapes
        (height, width) of the tiles to decode, by number.
    tile
        (height, width, bands) of a whole tile.
    level
        Decode every ``2**level``-th pixel only; less than ``checked_levels``.
    dtype
        uint8 or uint16.
    reference
        Opens the reference network, which decodes again a tile that failed. If it fails too, no other tile is tried
        again: the file is damaged, not the device.

    Yields
    ------
    The number of each tile, with its pixels (h, w, bands) or the error of its decoding.

    Raises
    ------
    FormatError
        For tiles larger than ``tile.TILE``, which no encoder makes and which could need any amount of memory.
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
    tasks = ((numbers, [fetch(i) for i in numbers]) for numbers in _batches(shapes, level))
    for (numbers, payloads), results in _run(work, tasks):
        for number, payload, result in zip(numbers, payloads, results, strict=True):
            # The chunk's checksum was right, so either the file was written wrongly or the device computes wrongly.
            if isinstance(result, OSError) and isinstance(payload, bytes) and reference is not None:
                second = second or TileCoder(architecture, reference())
                (result,) = attempt(second, [number], [payload])
                if isinstance(result, OSError):
                    reference = None
            yield number, result


def _batches(shapes: Mapping[int, tuple[int, int]], level: int) -> Iterator[list[int]]:
    """Numbers of tiles of the same shape, ``BATCH_PIXELS`` at a time."""
    waiting: dict[tuple[int, int], list[int]] = {}
    for number, (h, w) in shapes.items():
        group = waiting.setdefault((h, w), [])
        group.append(number)
        if len(group) >= max(1, (BATCH_PIXELS << 2 * level) // (h * w)):
            yield waiting.pop((h, w))
    yield from waiting.values()


def _run(work: Callable[[_In], _Out], tasks: Iterable[_In]) -> Iterator[tuple[_In, _Out]]:
    """``(task, work(task))`` in order; at most ``WORKERS`` tasks are in progress, which bounds the memory.
    A caller that does not come back for the next one, as when it is interrupted, stops them."""
    source, left = iter(tasks), threading.Event()
    running: list[tuple[_In, Future[_Out]]] = []
    try:
        running += [
            (task, gate.TILES.submit(work, task, left)) for task in islice(source, min(WORKERS, gate.threads()))
        ]
        while running:
            task, future = running.pop(0)
            result = future.result()
            running += [(new, gate.TILES.submit(work, new, left)) for new in islice(source, 1)]
            yield task, result
    finally:
        left.set()
        for _, future in running:
            if not future.cancel():
                wait([future])
