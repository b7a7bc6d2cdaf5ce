"""Images as tiles that are coded alone: cutting, batching, threads.

Tiles are independent, so batches and threads do not change the bytes. With two workers the coder of one tile (one core)
runs beside the network of another (all cores).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from itertools import islice
from typing import TypeVar

import numpy as np

from .. import gate

WORKERS = 2
BATCH_PIXELS = 2**18
"""Pixels, at the decoded level, that a worker takes at once: many small tiles or one large one."""

Encode = Callable[[np.ndarray], Sequence[bytes]]
"""Payloads of tiles (N, h, w, bands)."""
Decode = Callable[[list[bytes], tuple[int, int]], Iterable[np.ndarray]]
"""Pixels (h, w, bands) of tiles, at the decoded level, from their payloads and (height, width). Raises ``OSError``."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def tile_areas(height: int, width: int, tile_h: int, tile_w: int) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of every tile, row by row."""
    return [
        (top, left, min(tile_h, height - top), min(tile_w, width - left))
        for top in range(0, height, tile_h)
        for left in range(0, width, tile_w)
    ]


def encode_tiles(pixels: np.ndarray, tile: tuple[int, int], encode: Encode) -> list[bytes]:
    """Payloads of the tiles (height, width) of an image (H, W, bands), row by row."""
    areas = tile_areas(pixels.shape[0], pixels.shape[1], *tile)
    payloads: list[bytes] = [b""] * len(areas)

    def work(indices: list[int]) -> Sequence[bytes]:
        return encode(np.stack([pixels[t : t + h, x : x + w] for t, x, h, w in (areas[i] for i in indices)]))

    with closing(_run(work, _batches(dict(enumerate(area[2:] for area in areas)), 0))) as found:
        for indices, done in found:
            for i, payload in zip(indices, done, strict=True):
                payloads[i] = payload
    return payloads


def decode_tiles(
    read: Callable[[int], bytes],
    shapes: Mapping[int, tuple[int, int]],
    decode: Decode,
    *,
    level: int = 0,
    reference: Callable[[], Decode] | None = None,
) -> Generator[tuple[int, np.ndarray | OSError], None, None]:
    """Decode tiles of ``encode_tiles``.

    Parameters
    ----------
    read
        Returns the payload of a tile by its number; called from one thread.
    shapes
        (height, width) of the tiles to decode, by number.
    decode
        Decodes tiles of one shape; called from several threads.
    level
        The level that it decodes, where every ``2**level``-th pixel is.
    reference
        Gives what decodes again a tile that failed, of at most ``BATCH_PIXELS``. If that fails too, no other tile is
        tried again: the file is damaged, not the device.

    Yields
    ------
    The number of each tile, with its pixels (h, w, bands) or the error of its decoding.
    """

    def attempt(by: Decode, numbers: list[int], payloads: list[bytes]) -> list[np.ndarray | OSError]:
        try:
            return list(by(payloads, shapes[numbers[0]]))
        except OSError as error:
            if len(numbers) == 1:
                return [error]
            return [attempt(by, [i], [p])[0] for i, p in zip(numbers, payloads, strict=True)]

    def work(task: tuple[list[int], list[bytes | OSError]]) -> list[np.ndarray | OSError]:
        numbers, payloads = task
        whole = [(i, p) for i, p in zip(numbers, payloads, strict=True) if isinstance(p, bytes)]
        decoded = iter(attempt(decode, [i for i, _ in whole], [p for _, p in whole]) if whole else [])
        return [p if isinstance(p, OSError) else next(decoded) for p in payloads]

    def fetch(number: int) -> bytes | OSError:
        try:
            return read(number)
        except OSError as error:
            return error

    second: Decode | None = None
    tasks = ((numbers, [fetch(i) for i in numbers]) for numbers in _batches(shapes, level))
    with closing(_run(work, tasks)) as found:
        for (numbers, payloads), results in found:
            may_differ = math.prod(shapes[numbers[0]]) <= BATCH_PIXELS
            for number, payload, result in zip(numbers, payloads, results, strict=True):
                # The chunk's checksum was right, so either the file was written wrongly or the device computes wrongly.
                if may_differ and reference is not None and isinstance(result, OSError) and isinstance(payload, bytes):
                    second = second or reference()
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


def _run(work: Callable[[_In], _Out], tasks: Iterable[_In]) -> Generator[tuple[_In, _Out], None, None]:
    """``(task, work(task))`` in order; at most ``WORKERS`` tasks are in progress, which bounds the memory.
    Closed before the end, as when the caller is interrupted, it stops them. To drop it is not enough: what an error
    keeps is ended later, from Python 3.14 on more often."""
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
