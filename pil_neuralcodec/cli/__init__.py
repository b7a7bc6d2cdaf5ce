"""``neuralcodec``: encode, decode, info, verify, compare, bench, train.

Exit codes: 0 all well; 1 at least one file failed (the others were done, each failure is one line on stderr);
2 the command line made no sense, and nothing was done.

Everything heavy is imported where it is used, so that ``neuralcodec info`` and ``--help`` start at once.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from PIL import Image

from . import files
from .batch import Job, Outcome, find_sources, plan, run
from .measure import bench, compare
from .options import (
    DEVICE,
    FALLBACK,
    FORCE,
    FORMATS,
    INPUTS,
    JOBS,
    MAYBE_INPUTS,
    MODEL,
    OFFERED,
    OUTPUT,
    OWN_SUFFIXES,
    PAST,
    QUIET,
    readable_suffixes,
    report,
)
from .train import train


class _Remembering(click.Group):
    """Keeps the command line as it was typed, to be put beside the figures."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        line = shlex.join(["neuralcodec", *args])
        context = super().make_context(info_name, args, *rest, **extra)
        context.obj = line
        return context


@click.group(cls=_Remembering, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="pil_neuralcodec", prog_name="neuralcodec")
def main() -> None:
    """Lossless image files from exact integer neural networks."""


@main.command()
@INPUTS
@OUTPUT
@click.option("--format", type=click.Choice(FORMATS), default=FORMATS[0])
@click.option("--check", is_flag=True, help="Decode each file again and compare it with what the image file holds.")
@MODEL
@DEVICE
@FALLBACK
@PAST
@JOBS
@FORCE
@QUIET
def encode(inputs: tuple[str, ...], output: Path | None, jobs: int, force: bool, quiet: bool, **options: Any) -> None:
    """Compress images: any file that Pillow opens.

    Pixels, mode, palette, transparency, frames with their durations, ICC profile, EXIF, XMP, dpi, PNG texts and
    comments are kept; a warning names what is not. Files of which Pillow would cut samples to 8 bits are read by
    tifffile or imagecodecs and kept as arrays, or refused where these are not installed.
    """
    skipped: list[Path] = []
    sources = find_sources(inputs, readable_suffixes() - OWN_SUFFIXES, skipped)
    todo = plan(sources, output, "." + options["format"], force, options)
    report(run(files.encode, todo, jobs, "encoding"), quiet, skipped)


@main.command()
@INPUTS
@OUTPUT
@click.option(
    "--to",
    "suffix",
    metavar="SUFFIX",
    help="png, tiff, webp, ... or npy for an array. [default: that of --output, or png]",
)
@click.option("--lossy", is_flag=True, help="Allow a target that does not hold the image exactly.")
@OFFERED
@DEVICE
@JOBS
@FORCE
@QUIET
def decode(
    inputs: tuple[str, ...],
    output: Path | None,
    suffix: str | None,
    jobs: int,
    force: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Decompress to another image format. Pixels that would not be exact are refused.

    A warning names metadata that the target does not hold. Several frames of one shape and type become one .npy array.
    """
    writable = {s for s, name in Image.registered_extensions().items() if name in Image.SAVE} | {".npy"}
    if suffix is None:
        named = output is not None and not output.is_dir() and output.suffix.lower() in writable
        suffix = output.suffix if output is not None and named else ".png"
    suffix = "." + suffix.lower().lstrip(".")
    if suffix not in writable:
        raise click.UsageError(f"cannot write {suffix} files")
    todo = plan(find_sources(inputs, OWN_SUFFIXES), output, suffix, force, options)
    report(run(files.decode, todo, jobs, "decoding"), quiet)


@main.command()
@MAYBE_INPUTS
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each file, one a line.")
@click.option("--engine", is_flag=True, help="Show what runs networks here, and why.")
@DEVICE
def info(inputs: tuple[str, ...], as_json: bool, engine: bool, device: str | None) -> None:
    """Show what files say of themselves. Nothing is decoded."""
    from .. import api

    if not (inputs or engine):
        raise click.UsageError("name files, or pass --engine")
    if engine:
        _show_engine(device, as_json)
    outcomes = []
    for source in find_sources(inputs, OWN_SUFFIXES):
        try:
            found = asdict(api.read_info(source.path))
        except OSError as error:
            outcomes.append(Outcome(source.path, str(error), failed=True))
            continue
        found["metadata"] = {key: _plain(value) for key, value in found["metadata"].items() if value is not None}
        found = {"file": str(source.path), **found}
        click.echo(json.dumps(found) if as_json else _lines(found))
    report(outcomes)


def _show_engine(device: str | None, as_json: bool) -> None:
    """Print what runs networks on a device."""
    from .. import engines

    try:
        found = asdict(engines.report(device))
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if not as_json:
        found["self_tests"] = [
            f"{one['engine']} {one['problem'] or 'right'} in {one['milliseconds']} ms" for one in found["self_tests"]
        ]
    click.echo(json.dumps(found) if as_json else _lines(found))


@main.command()
@INPUTS
@click.option("--deep", is_flag=True, help="Decode too, and check the pixels.")
@OFFERED
@DEVICE
@JOBS
@QUIET
def verify(inputs: tuple[str, ...], jobs: int, quiet: bool, **options: Any) -> None:
    """Check every byte of files against their checksums, without decoding."""
    todo = [Job(source.path, source.path, options) for source in find_sources(inputs, OWN_SUFFIXES)]
    report(run(files.verify, todo, jobs, "verifying"), quiet)


main.add_command(compare)
main.add_command(bench)
main.add_command(train)


def _lines(found: dict[str, Any]) -> str:
    """Names and values for reading."""
    width = max(12, *map(len, found))
    return "\n".join(f"{key.replace('_', ' '):<{width}} {_text(value)}" for key, value in found.items()) + "\n"


def _plain(value: Any) -> Any:
    """``value`` with bytes as their length, for JSON."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(dict.fromkeys(map(_text, value))) or "-"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
