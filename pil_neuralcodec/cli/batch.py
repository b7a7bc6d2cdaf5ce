"""Many files at once: which ones, where their results go, several processes, one progress bar."""

from __future__ import annotations

import glob
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@dataclass(frozen=True)
class Source:
    """A file to work on, and the folder it was found under (its own for a file named directly)."""

    path: Path
    root: Path


@dataclass(frozen=True)
class Job:
    """One file's work: where from, where to, and the options of the command."""

    source: Path
    target: Path
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What became of a job, in one line, and what it warned of, a line each."""

    source: Path
    message: str
    failed: bool = False
    warned: tuple[str, ...] = ()


def find_sources(inputs: Iterable[str], suffixes: Iterable[str], skipped: list[Path] | None = None) -> list[Source]:
    """Files named, files with one of the suffixes under folders named, and matches of patterns (``**`` for folders).

    In order, each file once. Other files under folders are added to ``skipped``. Raises ``click.UsageError`` where an
    input stands for nothing.
    """
    wanted = {suffix.lower() for suffix in suffixes}
    found: dict[Path, Source] = {}
    for text in inputs:
        here = [text] if Path(text).exists() else sorted(glob.glob(text, recursive=True))
        if not here:
            raise click.UsageError(f"{text}: no such file or folder, and nothing matches")
        before = len(found)
        for path in map(Path, here):
            if not path.is_dir():
                found.setdefault(path, Source(path, path.parent))
                continue
            for file in sorted(path.rglob("*")):
                if not file.is_file():
                    continue
                if file.suffix.lower() in wanted:
                    found.setdefault(file, Source(file, path))
                elif skipped is not None and file not in skipped:
                    skipped.append(file)
        if len(found) == before and all(map(os.path.isdir, here)):
            raise click.UsageError(f"{text}: no fitting files in this folder")
    return list(found.values())


def plan(sources: list[Source], output: Path | None, suffix: str, force: bool, options: dict[str, Any]) -> list[Job]:
    """Where each file goes: beside its source, to the file ``output``, or into the folder ``output``, which keeps the
    folders below. Raises ``click.UsageError`` where two would go to one place, or one is there and not ``force``.
    """
    jobs: dict[Path, Job] = {}
    for source in sources:
        if output is None:
            target = source.path.with_suffix(suffix)
        elif len(sources) == 1 and output.suffix.lower() == suffix and not output.is_dir():
            target = output
        else:
            target = (output / source.path.relative_to(source.root)).with_suffix(suffix)
        if target in jobs:
            raise click.UsageError(f"{source.path} and {jobs[target].source} would both be written to {target}")
        if target.exists() and not force:
            raise click.UsageError(f"{target} exists: pass --force to replace it")
        jobs[target] = Job(source.path, target, options)
    return list(jobs.values())


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``target`` at the end, or vanishes where something was raised."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def run(work: Callable[[Job], str], jobs: list[Job], processes: int, title: str) -> list[Outcome]:
    """Do the jobs, some at a time, with a progress bar on stderr; outcomes in the order of the jobs."""
    with progress_bar(len(jobs) > 1) as progress:
        bar = progress.add_task(title, total=len(jobs))
        outcomes: dict[Path, Outcome] = {}
        for outcome in _outcomes(work, jobs, min(processes or os.cpu_count() or 1, len(jobs))):
            outcomes[outcome.source] = outcome
            progress.advance(bar)
    return [outcomes[job.source] for job in jobs]


def _outcomes(work: Callable[[Job], str], jobs: list[Job], processes: int) -> Iterator[Outcome]:
    if processes <= 1:
        yield from (_attempt(work, job) for job in jobs)
        return
    with _threads_for(processes), ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            for future in as_completed([pool.submit(_attempt, work, job) for job in jobs]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _attempt(work: Callable[[Job], str], job: Job) -> Outcome:
    """The outcome of one job. What files and options can cause is a failure of that job; a bug is not hidden."""
    failed = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        warnings.simplefilter("always", Image.DecompressionBombWarning)
        try:
            message = work(job)
        except _FAILURES as error:
            message, failed = str(error) or type(error).__name__, True
    warned = dict.fromkeys(_one_line(one.message) for one in caught if issubclass(one.category, _WARNINGS))
    return Outcome(job.source, _one_line(message), failed, tuple(warned))


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
    )
