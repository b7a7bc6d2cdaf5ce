"""Which files a command works on, and where their results go."""

from __future__ import annotations

import glob
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import click

from .. import plugins

STREAM = Path("-")
"""As a source stdin, as a target stdout."""
NOWHERE = Path(os.devnull)
"""The target of work that writes nothing."""


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


@contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """A source as a file: what comes from stdin in one that vanishes again. Raises ``OSError`` for a closed stdin."""
    if path != STREAM:
        yield path
        return
    if sys.stdin is None:
        raise OSError("stdin is closed")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "stdin")
        file.write_bytes(sys.stdin.buffer.read())
        yield file


class Skipped(Exception):
    """A job's result is not wanted, for the reason given."""


@dataclass(frozen=True)
class Destination:
    """Where results go: to one ``file``, into a ``folder``, or beside each source, where both are None."""

    file: Path | None = None
    folder: Path | None = None


def find_sources(
    inputs: Iterable[str],
    suffixes: Iterable[str],
    skipped: dict[Path, str] | None = None,
    *,
    recursive: bool = True,
) -> list[Source]:
    """Files named, files with one of the suffixes in folders named, and matches of patterns (``**`` for folders).

    In order, each file once. ``recursive``: also in the folders below. Other files in folders are put into ``skipped``
    with the reason. Raises ``click.UsageError`` where an input stands for nothing.
    """
    wanted = {suffix.lower() for suffix in suffixes}
    skipped = {} if skipped is None else skipped
    found: dict[Path, Source] = {}
    for text in inputs:
        if text == "-":
            found.setdefault(STREAM, Source(STREAM, Path()))
            continue
        if not text:  # a path of no letters means the folder that one is in: a variable is not set
            raise click.UsageError("an empty name stands for no file: pass . for this folder")
        here = [text] if Path(text).exists() else sorted(_matches(text, skipped))
        if not here:
            raise click.UsageError(f"{text}: no such file or folder, and nothing matches")
        before = len(found)
        for path in map(Path, here):
            if path.exists() and not path.is_file() and not path.is_dir():
                # A pipe can be read once only, and files are opened more often.
                raise click.UsageError(f"{path}: neither a file nor a folder: pass - for what comes from stdin")
            if not path.is_dir():
                found.setdefault(path, Source(path, path.parent))
                continue
            for file in sorted(_in_folder(path, recursive, skipped)):
                if file.is_file() and file.suffix.lower() in wanted:
                    found.setdefault(file, Source(file, path))
                else:
                    skipped.setdefault(file, _why_not(file))
        if len(found) == before and all(map(os.path.isdir, here)):
            raise click.UsageError(f"{text}: no fitting files in this folder")
    return list(found.values())


def _matches(pattern: str, skipped: dict[Path, str]) -> set[str]:
    """What a pattern matches. ``**`` stands for the folders that are entered where a folder is named, and glob's, which
    enters links, may go round in circles."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return set(glob.glob(pattern))
    first = parts.index("**")
    found: set[str] = set()
    for start in filter(os.path.isdir, glob.glob(str(Path(*parts[:first])))):
        for at, folders, _ in _walk(start, skipped):
            folders[:] = [name for name in folders if not name.startswith(".")]  # as glob
            rest = parts[first + 1 :]
            found |= _matches(str(Path(glob.escape(at), *rest)), skipped) if rest else {at}
    return found


def _in_folder(folder: Path, recursive: bool, skipped: dict[Path, str]) -> Iterator[Path]:
    """What is no folder in a folder, and below."""
    for at, _, files in _walk(folder, skipped):
        yield from (Path(at, name) for name in files)
        if not recursive:
            return


def _walk(folder: str | Path, skipped: dict[Path, str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk`. Folders that are not entered are put into ``skipped``."""

    def refused(error: OSError) -> None:
        skipped.setdefault(Path(error.filename), error.strerror or str(error))

    for at, folders, files in os.walk(folder, onerror=refused):
        yield str(at), folders, files
        for path in (Path(at, name) for name in folders):
            if path.is_symlink():
                skipped.setdefault(path, "a link to a folder")


def _why_not(file: Path) -> str:
    if not file.exists():
        return "a link that leads nowhere"
    if not file.is_file():
        return "no file"
    if file.suffix.lower() in (".ifl", ".bsw"):
        return "encoded already"
    package = plugins.needed(file.suffix)
    return f"needs {package}" if package else "no suffix of an image that can be read"


def destination(output: str | None, inputs: Sequence[str], suffixes: Collection[str], usual: str) -> Destination:
    """What ``--output`` means for some inputs, by rule and not by guess.

    ``-`` is stdout. A path that ends in a separator, or is a folder, is a folder. One with one of the ``suffixes`` is
    the file for a single file. Any other is a folder for folders, patterns and several files. ``usual`` is the suffix
    to name as an example.

    Raises ``click.UsageError`` for all else.
    """
    single = len(inputs) == 1 and (inputs[0] == "-" or (os.path.exists(inputs[0]) and not os.path.isdir(inputs[0])))
    if output == "-" or (output is None and tuple(inputs) == ("-",)):
        if not single:
            raise click.UsageError("--output - takes one file")
        if sys.stdout.isatty():
            raise click.UsageError("a file is not written to a terminal: name one with --output, or pass it on")
        return Destination(file=STREAM)
    if output is None:
        return Destination()
    if not output:
        raise click.UsageError("--output is empty: pass . for this folder")
    path, known = Path(output), ", ".join(sorted(suffixes))
    if path.is_dir() or output.endswith(("/", os.sep)):
        return Destination(folder=path)
    if path.suffix.lower() in suffixes:
        if not single:
            raise click.UsageError(f"--output {output} is one file, for several: name a folder ({output}/)")
        return Destination(file=path)
    if path.exists():
        raise click.UsageError(f"--output {output} is a file that does not end in {known}")
    if single and path.suffix:
        raise click.UsageError(f"--output {output} should end in {known}, or be a folder ({output}/)")
    if single:
        raise click.UsageError(f"--output {output}: a file ({output}{usual}) or a folder ({output}/)?")
    return Destination(folder=path)


def plan(
    sources: list[Source],
    where: Destination,
    name: Callable[[Path], str],
    existing: Literal["refuse", "replace", "skip"],
    options: dict[str, Any],
    skipped: dict[Path, str] | None = None,
    advice: str = "",
) -> list[Job]:
    """Where each file goes. Into a folder go the folders below, too.

    ``name`` gives the name of a source's result. What is done where one is there says ``existing``; sources left out
    for it are put into ``skipped``. Raises ``click.UsageError`` where two would go to one place, with ``advice``.
    """
    jobs: dict[Path, Job] = {}
    for source in sources:
        if where.file is not None:
            target = where.file
        else:
            if source.path == STREAM:
                raise click.UsageError("stdin (-) needs a file or - as --output")
            below = source.path.parent.relative_to(source.root)
            folder = source.path.parent if where.folder is None else where.folder / below
            target = folder / name(source.path)
        if target in jobs:
            raise click.UsageError(f"{source.path} and {jobs[target].source} would both be written to {target}{advice}")
        jobs[target] = Job(source.path, target, options)
    return list(_allowed(jobs.values(), existing, {} if skipped is None else skipped))


def _allowed(jobs: Iterable[Job], existing: str, skipped: dict[Path, str]) -> Iterator[Job]:
    """The jobs whose targets may be written."""
    for job in jobs:
        if existing == "replace" or job.target == STREAM or not job.target.exists():
            yield job
        elif existing == "skip":
            skipped[job.source] = "done before"
        elif job.target == job.source:
            raise click.UsageError(f"{job.source} would be written over itself: name another place with --output")
        else:
            raise click.UsageError(f"{job.target} exists: pass --skip-existing to go on, or --force to replace it")
