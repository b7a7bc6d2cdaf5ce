"""Many files at once: several processes, one progress bar, outcomes one by one, and how all of it stops."""

from __future__ import annotations

import multiprocessing
import os
import signal
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Literal, NoReturn

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..atomic import discard_begun, part_of
from .sources import NOWHERE, STREAM, Job, Skipped

Status = Literal["done", "failed", "skipped"]
Work = Callable[[Job], str]

_PATIENCE: Final = 1.5
"""Seconds that work which is stopped has to clean up."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Outcome:
    """What became of a file, in one line, and what it warned of, a line each. ``target`` where one was written, with
    the bytes of both files."""

    source: Path
    message: str
    status: Status = "done"
    warned: tuple[str, ...] = ()
    target: Path | None = None
    source_bytes: int | None = None
    target_bytes: int | None = None


class Stopped(BaseException):
    """A signal asks this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(work: Work, jobs: list[Job], processes: int, bar: Progress, title: str) -> Generator[Outcome, None, None]:
    """Do the jobs, some at a time; outcomes as they come. ``bar`` shows how many are done.

    Raises `Stopped` for SIGINT and SIGTERM: within two seconds nothing works any more, and no half file is left.
    """
    task = bar.add_task(title, total=len(jobs))
    processes = min(processes or os.cpu_count() or 1, len(jobs))
    if any(job.source == STREAM for job in jobs):
        processes = 1  # others have no stdin
    with bar, _stoppable(), closing(_outcomes(work, jobs, processes)) as outcomes:
        for outcome in outcomes:
            yield outcome
            bar.advance(task)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Signals raise `Stopped` here, once; what then takes too long ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        last = threading.Timer(_PATIENCE + 0.4, leave, (number,))
        last.daemon = True
        last.start()
        raise Stopped(number)

    wanted = [one for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]  # as behind nohup
    before = {one: signal.signal(one, stop) for one in wanted}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def leave(number: int, frame: object = None) -> NoReturn:
    """End this process at once."""
    discard_begun()
    os._exit(128 + number)


def _outcomes(work: Work, jobs: list[Job], processes: int) -> Generator[Outcome, None, None]:
    if processes <= 1:
        yield from (_attempt(work, job) for job in jobs)
        return
    while jobs:
        done = set()
        with closing(_side_by_side(work, jobs, processes)) as outcomes:
            for outcome in outcomes:
                done.add(outcome.source)
                yield outcome
        # Where a process was killed, for its memory as a rule, that was one of the first that are not done.
        jobs = [job for job in jobs if job.source not in done]
        suspects, jobs = jobs[: 2 * processes + 1], jobs[2 * processes + 1 :]
        for job in suspects:
            killed = Outcome(job.source, "the process that worked on it was killed: too little memory?", "failed")
            yield from [*_side_by_side(work, [job], 1)] or [killed]


def _side_by_side(work: Work, jobs: list[Job], processes: int) -> Generator[Outcome, None, None]:
    """Outcomes of jobs in processes of their own; fewer than there are jobs where one of these was killed."""
    others = multiprocessing.active_children()
    context = multiprocessing.get_context("spawn")
    with _threads_for(processes), ProcessPoolExecutor(processes, context, _begin_worker) as pool:
        try:
            with _interrupts_held():  # Ctrl-C goes to all processes of a terminal: only this one is to act on it
                futures: list[Future[Outcome]] = [pool.submit(_attempt, work, job) for job in jobs]
            for future in as_completed(futures):
                with suppress(BrokenProcessPool):
                    yield future.result()
        except BaseException:
            _end([one for one in multiprocessing.active_children() if one not in others], jobs)
            raise  # and the pool waits for its thread, which puts its semaphores away when it sees that all is over


def _end(workers: list[BaseProcess], jobs: list[Job]) -> None:
    """End processes, and remove what those had begun that did not do so themselves."""
    for worker in workers:
        worker.terminate()
    limit = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.join(max(0.0, limit - time.monotonic()))
        if worker.exitcode is None or worker.exitcode < 0:
            worker.kill()
            worker.join()
            for job in jobs:
                part_of(job.target, worker.pid or 0).unlink(missing_ok=True)


def _begin_worker() -> None:
    signal.signal(signal.SIGTERM, leave)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End with the process that began this one, even where that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        leave(signal.SIGTERM)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """SIGINT waits, in this thread and in processes that are begun inside."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _attempt(work: Work, job: Job) -> Outcome:
    """The outcome of one job. What files and options can cause is a failure of that job; a bug is not hidden."""
    status: Status = "done"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("always", Image.DecompressionBombWarning)
        try:
            message = work(job)
        except Skipped as reason:
            message, status = str(reason), "skipped"
        except _FAILURES as error:
            message, status = str(error) or type(error).__name__, "failed"
    warned = tuple(dict.fromkeys(_one_line(one.message) for one in caught if issubclass(one.category, _WARNINGS)))
    if status != "done" or job.target in (job.source, NOWHERE) or STREAM in (job.source, job.target):
        return Outcome(job.source, _one_line(message), status, warned)
    sizes = job.source.stat().st_size, job.target.stat().st_size
    return Outcome(job.source, _one_line(message), status, warned, job.target, *sizes)


_FAILURES = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,  # Pillow's word for a malformed file
    struct.error,
    ModuleNotFoundError,
    MemoryError,
    Image.DecompressionBombError,
)
_WARNINGS = (UserWarning, Image.DecompressionBombWarning)


def size_and_share(before: int, after: int) -> str:
    """Bytes of a result, and their share of the source's."""
    return f"{after:,} bytes, {100 * after / max(1, before):.1f} % of the source"


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


@contextmanager
def _threads_for(processes: int) -> Iterator[None]:
    """Share the cores among processes started inside: the pools of torch and BLAS read their sizes at start."""
    share = str(max(1, (os.cpu_count() or 1) // processes))
    names = [n for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS") if n not in os.environ]
    os.environ.update(dict.fromkeys(names, share))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]


def progress_bar(shown: bool) -> Progress:
    """A bar on stderr that vanishes at the end; none where stderr is no terminal."""
    console = Console(stderr=True)
    hidden = not (shown and console.is_terminal)
    console.quiet = hidden  # else rich before 14.1 ends a bar that is not shown with an empty line
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden,
        redirect_stdout=sys.stdout.isatty(),  # else rich would send to the terminal what was to go into a file
    )
