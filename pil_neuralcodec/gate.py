"""How much of this process works at once, and how it stops.

Programs read and write many images at once in threads, zarr as many chunks as it has threads. More at a time than there
are cores wait for each other, with all their memory. No process-wide setting of other libraries is touched.

A caller that is interrupted leaves at once: what it had begun stops at the next ``checkpoint``. A child that is forked
has none of its parent's threads, so gates and pools begin anew in it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_LONG = 1 << 16
"""Bytes of samples above which a library may take longer than an interruption can wait."""


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """How many may work for one caller: as many as there are cores, or as ``OMP_NUM_THREADS`` says.

    Numerical libraries read it too. dask sets it to 1 for its workers, whose own threads are to share the cores.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(cores(), int(first)) if first.isdecimal() and int(first) else cores()


class Gate:
    """Lets so many threads in at once: ``with gate: ...``."""

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


class Cancelled(Exception):
    """The caller of this work has left."""


class Workers:
    """A pool of so many threads, begun when it is first used."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._at_work: set[int] = set()

    def others(self) -> int:
        """How many of these threads are at work besides the one that asks."""
        return len(self._at_work) - (threading.get_ident() in self._at_work)

    def submit(self, work: Callable[[_In], _Out], task: _In, left: threading.Event) -> Future[_Out]:
        """Have ``work(task)`` done, or given up at a ``checkpoint`` once the caller has ``left``.

        It must not wait for other work that is submitted here.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count)
        return submitted(self._pool, self._run, work, task, left)

    def _run(self, work: Callable[[_In], _Out], task: _In, left: threading.Event) -> _Out:
        _here.left = left
        self._at_work.add(threading.get_ident())
        try:
            return work(task)
        finally:
            self._at_work.discard(threading.get_ident())
            _here.left = None


class _Here(threading.local):
    """Whether the caller of what this thread works on has left."""

    left: threading.Event | None = None


_here = _Here()


def checkpoint() -> None:
    """Raise ``Cancelled`` in a worker whose caller has left. Called every few milliseconds, as before each layer."""
    if _here.left is not None and _here.left.is_set():
        raise Cancelled


def submitted(
    pool: ThreadPoolExecutor, work: Callable[..., _Out], *args: Any, after: Iterable[Future[Any]] = ()
) -> Future[_Out]:
    """Have ``work(*args)`` done by a pool, or here, ``after`` what it does already, where it takes no more: when Python
    ends, pools are closed before other threads have ended and before what ``atexit`` calls."""
    try:
        return pool.submit(work, *args)
    except RuntimeError as error:
        if "cannot schedule" not in str(error):  # it has the work, but no thread for it yet
            raise
        wait(after)
        done: Future[_Out] = Future()
        _do(partial(work, *args), done)
        return done


def beside(work: Callable[[], _Out]) -> Future[_Out]:
    """Have ``work()`` done by a thread of its own, which is not waited for at the end of the process; or here, where
    there are no more threads."""
    done: Future[_Out] = Future()
    try:
        threading.Thread(target=_do, args=(work, done), daemon=True).start()
    except RuntimeError:
        _do(work, done)
    return done


def _do(work: Callable[[], _Out], done: Future[_Out]) -> None:
    try:
        done.set_result(work())
    except BaseException as error:
        done.set_exception(error)


def apart(work: Callable[[], _Out], size: int) -> _Out:
    """``work()`` on ``size`` bytes by a library that nothing interrupts.

    The main thread, which signals interrupt, has it done by another one. That one is not waited for, neither by a
    caller that is interrupted nor at the end of the process: the library must not need Python before it returns.
    """
    if size <= _LONG or threading.current_thread() is not threading.main_thread():
        return work()
    return beside(work).result()


_PLACES = max(2, cores())
CHUNKS = Gate(_PLACES)
"""For chunks of arrays, with their fallbacks."""
TILES = Workers(_PLACES)
"""For batches of tiles, of all images and chunks."""


def spare(threads: int) -> int:
    """How many of so many threads may work on a layer: those that work on tiles have a core each, which they use for
    layers and for all between."""
    return max(1, threads - TILES.others())
