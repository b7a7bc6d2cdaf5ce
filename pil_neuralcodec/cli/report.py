"""What commands print: a line for each file as it is done, and a summary."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from .batch import Outcome, Stopped, Work, leave, progress_bar, run, size_and_share
from .options import Batch
from .sources import STREAM, Job

_NAMED = 5
"""Files of one kind that a summary names."""


def work_through(
    work: Work,
    jobs: list[Job],
    skipped: Mapping[Path, str],
    title: str,
    batch: Batch,
    growing: Mapping[Path, str] | None = None,
) -> None:
    """Do the jobs, some at a time, and report. ``growing``: files that may become larger, and why, which is
    told before. Leaves with exit code 1 where one failed, and with 128 and the signal's number where a signal stopped
    the work."""
    bar = progress_bar(len(jobs) > 1)
    said = _Said(batch.quiet, batch.as_json, any(job.target == STREAM for job in jobs), bar)
    for path, reason in skipped.items():
        said.count(Outcome(path, reason, "skipped"))
    for line in _by_reason(growing or {}):
        said.warn(f"JPEG files that may grow (--skip-larger leaves out what does): {line}")
    try:
        with closing(run(work, jobs, batch.jobs, bar, title)) as outcomes:
            for outcome in outcomes:
                said.count(outcome)
    except Stopped as stopped:
        said.summary(len(jobs), signal.Signals(stopped.number).name)
        sys.stdout.flush()
        leave(stopped.number)  # at once: threads that still compute would abort an interpreter that ends in order
    said.summary(len(jobs))


def report(outcomes: Iterable[Outcome], total: int) -> None:
    """Print what failed of ``total`` files that are not gone through by `work_through`; of one file it may be several
    things. Leaves with exit code 1 where something failed."""
    said = _Said()
    for outcome in outcomes:
        said.count(outcome)
    said.summary(total)


class _Said:
    """Prints outcomes as they come and keeps count.

    ``quiet``: failures, warnings and what was skipped only. ``as_json``: one object a line. ``streamed``: stdout is for
    a file. ``bar``: lines go above it.
    """

    def __init__(
        self, quiet: bool = False, as_json: bool = False, streamed: bool = False, bar: Progress | None = None
    ) -> None:
        self.quiet, self.as_json, self.streamed, self.bar = quiet, as_json, streamed, bar
        self.outcomes: list[Outcome] = []

    def count(self, outcome: Outcome) -> None:
        """Print one outcome. Skipped files are told in the summary."""
        self.outcomes.append(outcome)
        if self.as_json:
            self._say(json.dumps(_plain(outcome)))
        elif outcome.status == "failed":
            self._say(f"error: {outcome.source}: {outcome.message}", err=True)
        elif outcome.status == "done" and not self.quiet:
            self._say(f"{outcome.source}: {_line(outcome)}", err=self.streamed)
        if not self.as_json:
            for warned in outcome.warned:
                self._say(f"warning: {outcome.source}: {warned}", err=True)

    def warn(self, line: str) -> None:
        """Print a warning that is not of one file alone."""
        self._say(f"warning: {line}", err=True)

    def summary(self, total: int, stopped: str | None = None) -> None:
        """Print what became of all files, and leave with exit code 1 where one failed."""
        kinds = {status: [one for one in self.outcomes if one.status == status] for status in _STATUSES}
        done, failed, skipped = (kinds[status] for status in _STATUSES)
        if self.as_json:
            counts: dict[str, Any] = {status: len(found) for status, found in kinds.items()}
            self._say(json.dumps({"summary": counts | {"stopped": stopped}}))
        else:
            if len(done) > 1 and not self.quiet:
                self._say(f"{_files(len(done))} done{_sizes(done)}", err=True)
            if skipped:
                reasons = {one.source: one.message for one in skipped}
                self._say(f"{_files(len(skipped))} skipped: {'; '.join(_by_reason(reasons))}", err=True)
            if failed and total > 1:
                names = list(dict.fromkeys(str(one.source) for one in failed))
                self._say(f"{len(names)} of {total} files failed: {_names(names)}", err=True)
            if stopped:
                left = total - len(done) - len(failed)
                advice = ": --skip-existing goes on from here" if any(one.target for one in done) else ""
                self._say(f"stopped by {stopped}, {_files(left)} left{advice}", err=True)
        if failed and not stopped:
            raise click.exceptions.Exit(1)

    def _say(self, line: str, err: bool = False) -> None:
        """Print above the bar where there is one."""
        line = printable(line)
        if self.bar is not None and not self.bar.disable and (err or sys.stdout.isatty()):
            self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=err)


def printable(text: str) -> str:
    """A line of ``text``: names and texts of files may hold what governs terminals, ends lines, or is no Unicode."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


_STATUSES = ("done", "failed", "skipped")


def _plain(outcome: Outcome) -> dict[str, Any]:
    target = None if outcome.target is None else str(outcome.target)
    return {
        "file": str(outcome.source),
        "status": outcome.status,
        "message": outcome.message,
        "warnings": list(outcome.warned),
        "target": target,
        "source_bytes": outcome.source_bytes,
        "target_bytes": outcome.target_bytes,
    }


def _line(outcome: Outcome) -> str:
    """What became of one file, with its sizes."""
    if outcome.target_bytes is None or outcome.source_bytes is None:
        return outcome.message
    return f"{outcome.target}, {size_and_share(outcome.source_bytes, outcome.target_bytes)}, {outcome.message}"


def _sizes(done: list[Outcome]) -> str:
    before, after = (sum(getattr(one, f"{which}_bytes") or 0 for one in done) for which in ("source", "target"))
    share = f"{after / max(1, before):.1%}".replace("%", " %")
    return f", {after:,} bytes from {before:,} ({share})" if after else ""


def _files(count: int) -> str:
    return f"{count} file{'s' * (count != 1)}"


def _by_reason(files: Mapping[Path, str]) -> list[str]:
    """Files by their reasons, a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in files.items():
        by_reason.setdefault(reason, []).append(path.name)
    return [f"{_names(names)} ({reason})" for reason, names in sorted(by_reason.items())]


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
