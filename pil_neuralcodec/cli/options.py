"""What the commands share: formats, arguments and options, and how outcomes are reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from PIL import Image

from ..devices import check_device
from .batch import Outcome

FORMATS = ("ifl", "bsw")
"""Formats that can be written."""
_NAMED = 5
"""Skipped files that are named."""
OWN_SUFFIXES = {"." + name for name in FORMATS}
FALLBACKS: dict[str, bool | str] = {"auto": True, "none": False} | {
    name: name for name in ("webp", "jpeg", "predictor", "filtered", "raw")
}
"""Names on the command line and the values of ``encode(fallback=)``."""

INPUTS = click.argument("inputs", nargs=-1, required=True, metavar="FILE|FOLDER|PATTERN...")
MAYBE_INPUTS = click.argument("inputs", nargs=-1, metavar="[FILE|FOLDER|PATTERN...]")
OUTPUT = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File or folder. [default: beside each input]"
)
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


def report(outcomes: list[Outcome], quiet: bool = False, skipped: Sequence[Path] = ()) -> None:
    """Print the outcomes, and which files were ``skipped``; leave with exit code 1 where one failed."""
    failures = 0
    for outcome in outcomes:
        if outcome.failed:
            failures += 1
            click.echo(f"error: {outcome.source}: {outcome.message}", err=True)
        elif not quiet:
            click.echo(f"{outcome.source}: {outcome.message}")
        for warned in outcome.warned:
            click.echo(f"warning: {outcome.source}: {warned}", err=True)
    if skipped:
        click.echo(_told(skipped), err=True)
    if failures:
        if len(outcomes) > 1:
            click.echo(f"{failures} of {len(outcomes)} files failed", err=True)
        raise click.exceptions.Exit(1)


def _told(skipped: Sequence[Path]) -> str:
    """One line of the files that were not encoded: how many, which ones, and why."""
    ours = [path.name for path in skipped if path.suffix.lower() in OWN_SUFFIXES]
    others = [path.name for path in skipped if path.suffix.lower() not in OWN_SUFFIXES]
    parts = []
    for names, reason in ((ours, "encoded already"), (others, "no suffix of an image that Pillow reads")):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            parts.append(f"{', '.join(names[:_NAMED])}{more} ({reason})")
    return f"{len(skipped)} file{'s' * (len(skipped) != 1)} skipped: {'; '.join(parts)}"


def readable_suffixes() -> set[str]:
    """Suffixes of the files that Pillow opens."""
    return {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
