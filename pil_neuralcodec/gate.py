"""How much of this process works at once.

Programs read and write many images at once in threads, zarr as many chunks as it has threads. Each tile has a coder
that keeps one core busy, and a network that takes all of them: more than a few at a time wait for each other, with all
their memory. No process-wide setting of other libraries is touched.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Gate:
    """Lets so many threads in at once: ``with gate: ...``. A child that is forked meanwhile begins anew."""

    def __init__(self, places: int) -> None:
        self.places = places
        self._open()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._open)

    def _open(self) -> None:
        self._free = threading.BoundedSemaphore(self.places)

    def __enter__(self) -> None:
        self._free.acquire()

    def __exit__(self, *_: object) -> None:
        self._free.release()


class Workers:
    """A pool of so many threads, begun when it is first used, and anew in a child that is forked."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._pool = None

    def submit(self, work: Callable[[_In], _Out], task: _In) -> Future[_Out]:
        """Have ``work(task)`` done; it must not wait for other work that is submitted here."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count)
        return self._pool.submit(work, task)


_PLACES = max(2, cores() // 4)
CHUNKS = Gate(_PLACES)
"""For chunks of arrays, with their fallbacks."""
TILES = Workers(_PLACES)
"""For batches of tiles, of all images and chunks."""
