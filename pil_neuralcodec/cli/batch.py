"""Many files at once: which ones, where their results go, several processes, one progress bar."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
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
    """What became of a job, in one line."""

    source: Path
    message: str
    failed: bool = False
    warnings: tuple[str, ...] = ()


def find_sources(inputs: Iterable[str], suffixes: Iterable[str]) -> list[Source]:
    """Files named, files with one of the suffixes under folders named, and matches of patterns (``**`` for folders).

    In order, each file once. Files under a folder that have none of the suffixes are named in one line when the command
    ends. A folder that cannot be read counts as a file, and fails as one. Raises ``click.UsageError`` where an input
    stands for nothing.
    """
    wanted = {suffix.lower() for suffix in suffixes}
    found: dict[Path, Source] = {}
    skipped: dict[Path, None] = {}
    for text in inputs:
        here = [text] if Path(text).exists() else sorted(glob.glob(text, recursive=True))
        if not here:
            raise click.UsageError(f"{text}: no such file or folder, and nothing matches")
        before = len(found)
        for path in map(Path, here):
            if not path.is_dir():
                found.setdefault(path, Source(path, path.parent))
                continue
            for file in _below(path):
                if file.suffix.lower() in wanted or (file.is_dir() and not file.is_symlink()):
                    found.setdefault(file, Source(file, path))
                else:
                    skipped[file] = None
        if len(found) == before and all(map(os.path.isdir, here)):
            raise click.UsageError(f"{text}: no fitting files in this folder")
    context = click.get_current_context(silent=True)
    left = [path for path in skipped if path not in found]
    if left and context is not None:
        context.call_on_close(lambda: click.echo(_skipped(left, wanted), err=True))
    return list(found.values())


def _below(folder: Path) -> list[Path]:
    """Files under a folder, links to folders, which are not followed, and folders that cannot be read."""
    found: list[Path] = []

    def unreadable(error: OSError) -> None:
        found.append(Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=unreadable):
        found += [Path(place, name) for name in names]
        found += [Path(place, name) for name in folders if os.path.islink(os.path.join(place, name))]
    return sorted(found)


def _skipped(paths: list[Path], wanted: set[str]) -> str:
    """One line for files that were passed over: how many, why, and the names of some."""
    shown = 8
    links = sum(path.is_dir() for path in paths)
    endings = "neither .bsw nor .ifl" if wanted == {".bsw", ".ifl"} else "no image by their suffix, or coded already"
    reasons = [f"{endings}"] * (links < len(paths)) + [f"{links} linked folders"] * bool(links)
    more = f" and {len(paths) - shown} more" if len(paths) > shown else ""
    return f"skipped {len(paths)} ({'; '.join(reasons)}): {', '.join(map(str, paths[:shown]))}{more}"


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
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        outcome = _tried(work, job)
    return replace(outcome, warnings=tuple(dict.fromkeys(str(warning.message) for warning in caught)))


def _tried(work: Callable[[Job], str], job: Job) -> Outcome:
    try:
        return Outcome(job.source, work(job))
    except (OSError, ValueError, EOFError, ModuleNotFoundError, MemoryError, Image.DecompressionBombError) as error:
        return Outcome(job.source, str(error) or type(error).__name__, failed=True)


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
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    )
