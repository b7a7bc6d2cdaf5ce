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
from typing import Any, Literal

import click

from . import files
from .batch import Outcome
from .measure import bench, compare
from .options import (
    DEVICE,
    FALLBACK,
    FORCE,
    FORMATS,
    INPUTS,
    JOBS,
    JSON,
    MAYBE_INPUTS,
    MODEL,
    OFFERED,
    OUTPUT,
    OWN_SUFFIXES,
    PAST,
    PRESERVE,
    QUIET,
    RECURSIVE,
    SKIP_EXISTING,
    readable_suffixes,
)
from .report import report, work_through
from .sources import STREAM, Job, destination, find_sources, plan
from .stacks import ARRAYS
from .targets import fitting_suffix, own_name, writable_suffixes
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
@click.option("--format", type=click.Choice(FORMATS), help="[default: that of --output, or ifl]")
@click.option("--check", is_flag=True, help="Decode each file again and compare it with what the image file holds.")
@click.option("--axes", help="Of arrays (.npy, .npz, TIFF): a letter for each axis, as YXC, ZYX, TCZYX.")
@click.option("--keep-suffix", is_flag=True, help="photo.png becomes photo.png.ifl, which decodes to photo.png.")
@MODEL
@DEVICE
@FALLBACK
@PAST
@RECURSIVE
@PRESERVE
@JOBS
@SKIP_EXISTING
@FORCE
@JSON
@QUIET
def encode(
    inputs: tuple[str, ...],
    output: str | None,
    format: str | None,
    keep_suffix: bool,
    recursive: bool,
    jobs: int,
    skip_existing: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Compress images: any file that Pillow opens, with the plugins that are installed; and arrays: .npy, .npz with one
    array, TIFF files with axes (OME, ImageJ, tifffile).

    Pixels, mode, palette, transparency, frames with their durations, ICC profile, EXIF, XMP, dpi, PNG texts and
    comments are kept; a warning names what is not. Files of which Pillow would cut samples to 8 bits are read by
    tifffile, imagecodecs or pillow_heif and kept as arrays, or refused where these are not installed.
    """
    skipped: dict[Path, str] = {}
    suffixes = (readable_suffixes() | ARRAYS) - OWN_SUFFIXES
    sources = find_sources(inputs, suffixes, skipped, recursive=recursive)
    where = destination(output, inputs, OWN_SUFFIXES, ".ifl")
    named = where.file.suffix.lower()[1:] if where.file not in (None, STREAM) else None
    if format and named not in (format, None):
        raise click.UsageError(f"--output {output} does not end in .{format}")
    options["format"] = format or named or FORMATS[0]
    options["suffix"] = suffix = "." + options["format"]

    def name(path: Path) -> str:
        return path.name + suffix if keep_suffix else path.with_suffix(suffix).name

    todo = plan(
        sources, where, name, _existing(skip_existing, force), options, skipped, ": --keep-suffix keeps them apart"
    )
    work_through(files.encode, todo, skipped, "encoding", processes=jobs, quiet=quiet, as_json=as_json)


@main.command()
@INPUTS
@OUTPUT
@click.option(
    "--to",
    "suffix",
    metavar="SUFFIX",
    help="png, tiff, webp, ... or npy for an array. [default: that of --output, or what --keep-suffix has kept, or what"
    " holds the file: png, tiff or npy]",
)
@click.option("--lossy", is_flag=True, help="Allow a target that does not hold the image exactly.")
@OFFERED
@DEVICE
@RECURSIVE
@PRESERVE
@JOBS
@SKIP_EXISTING
@FORCE
@JSON
@QUIET
def decode(
    inputs: tuple[str, ...],
    output: str | None,
    suffix: str | None,
    recursive: bool,
    jobs: int,
    skip_existing: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Decompress to another image format. Pixels that would not be exact are refused.

    A warning names metadata that the target does not hold. Several frames of one shape and type become one .npy array;
    arrays with axes become .npy, .npz, or TIFF files with these axes.
    """
    writable = writable_suffixes()
    if suffix is not None:
        suffix = "." + suffix.lower().lstrip(".")
        if suffix not in writable:
            raise click.UsageError(f"cannot write {suffix} files")
    where = destination(output, inputs, writable, ".png")
    if where.file == STREAM:
        options["suffix"] = suffix or (".png" if inputs == ("-",) else fitting_suffix(Path(inputs[0])))
    elif where.file is not None and suffix not in (where.file.suffix.lower(), None):
        raise click.UsageError(f"--output {output} does not end in {suffix}")

    def name(path: Path) -> str:
        return path.with_suffix(suffix).name if suffix else own_name(path)

    skipped: dict[Path, str] = {}
    todo = plan(
        find_sources(inputs, OWN_SUFFIXES, recursive=recursive),
        where,
        name,
        _existing(skip_existing, force),
        options,
        skipped,
    )
    work_through(files.decode, todo, skipped, "decoding", processes=jobs, quiet=quiet, as_json=as_json)


def _existing(skip: bool, force: bool) -> Literal["refuse", "replace", "skip"]:
    """What is done where a result is there already."""
    if skip and force:
        raise click.UsageError("--skip-existing and --force contradict each other")
    return "skip" if skip else "replace" if force else "refuse"


@main.command()
@MAYBE_INPUTS
@JSON
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
            outcomes.append(Outcome(source.path, str(error), "failed"))
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
@RECURSIVE
@JOBS
@JSON
@QUIET
def verify(inputs: tuple[str, ...], recursive: bool, jobs: int, as_json: bool, quiet: bool, **options: Any) -> None:
    """Check every byte of files against their checksums, without decoding."""
    sources = find_sources(inputs, OWN_SUFFIXES, recursive=recursive)
    todo = [Job(source.path, source.path, options) for source in sources]
    work_through(files.verify, todo, {}, "verifying", processes=jobs, quiet=quiet, as_json=as_json)


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
