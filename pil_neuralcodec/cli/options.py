"""What the commands share: formats, arguments and options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import click
from PIL import Image

from .. import plugins
from ..devices import check_device

FORMATS = ("ifl", "bsw")
"""Formats that can be written."""
OWN_SUFFIXES = {"." + name for name in FORMATS}
FALLBACKS: dict[str, bool | str] = {"auto": True, "none": False} | {
    name: name for name in ("webp", "jpeg", "predictor", "filtered", "raw")
}
"""Names on the command line and the values of ``encode(fallback=)``."""

INPUTS = click.argument("inputs", nargs=-1, required=True, metavar="FILE|FOLDER|PATTERN|-...")
MAYBE_INPUTS = click.argument("inputs", nargs=-1, metavar="[FILE|FOLDER|PATTERN|-...]")
OUTPUT = click.option(
    "-o",
    "--output",
    metavar="FILE|FOLDER",
    help="A file, a folder (FOLDER/ makes one), or - for stdout. [default: beside each input]",
)
RECURSIVE = click.option(
    "-r",
    "--recursive/--no-recursive",
    default=True,
    show_default=False,
    help="In folders, also what lies below, which is the default; the output mirrors it.",
)
PRESERVE = click.option("--preserve", is_flag=True, help="Keep the times and permissions of files.")
SKIP_EXISTING = click.option("--skip-existing", is_flag=True, help="Go on after a stop: leave what is done alone.")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object for each file, one a line.")
JOBS = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=0),
    default=1,
    help="Files at a time; 0: one for each core. One image alone uses every core already.",
)


def _checked(context: click.Context, parameter: click.Parameter, device: str | None) -> str | None:
    """A device's name, refused where there is no such device."""
    try:
        check_device(device)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return device


DEVICE = click.option("--device", callback=_checked, help="Where networks run: cpu, cuda, numpy. [default: cpu]")
MODEL = click.option("--model", help="Name, file or hash of a model. [default: the newest released one]")
OFFERED = click.option("--model", help="The model's file, where it lies in none of the folders for models.")
FALLBACK = click.option(
    "--fallback",
    type=click.Choice(list(FALLBACKS)),
    default="auto",
    callback=lambda context, parameter, value: FALLBACKS[value],
    help="auto: the smallest of all methods; none: the network alone; or one method by name.",
)
PAST = click.option(
    "--past/--no-past", default=True, help="Undo the conversion that colours have been through, as of JPEG files."
)
FORCE = click.option("--force", is_flag=True, help="Replace files that are there.")
QUIET = click.option("-q", "--quiet", is_flag=True, help="Print failures, warnings and skipped files only.")


@dataclass(frozen=True)
class Batch:
    """How a command goes through its files; ``existing``: what is done where a result is there already."""

    recursive: bool
    jobs: int
    as_json: bool
    quiet: bool
    existing: Literal["refuse", "replace", "skip"]


def many_files(writes: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options for many files, those for results if it ``writes`` any, and pass them as a `Batch`."""
    for_results = [SKIP_EXISTING, FORCE, PRESERVE] if writes else []

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_batch(
            recursive: bool,
            jobs: int,
            as_json: bool,
            quiet: bool,
            skip_existing: bool = False,
            force: bool = False,
            **rest: Any,
        ) -> None:
            if skip_existing and force:
                raise click.UsageError("--skip-existing and --force contradict each other")
            existing: Any = "skip" if skip_existing else "replace" if force else "refuse"
            command(batch=Batch(recursive, jobs, as_json, quiet, existing), **rest)

        for option in reversed([RECURSIVE, *for_results, JOBS, JSON, QUIET]):
            option(with_batch)
        return with_batch

    return decorate


def readable_suffixes() -> set[str]:
    """Suffixes of the files that Pillow opens, with the plugins that are installed."""
    plugins.load()
    return {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
