"""``neuralcodec``: encode, decode, info, models, verify, compare, bench, train, thumbnail, desktop.

Exit codes: 0 all well; 1 at least one file failed (the others were done, each failure is one line on stderr);
2 the command line made no sense, and nothing was done.

Everything heavy is imported where it is used, so that ``neuralcodec info`` and ``--help`` start at once.
"""

from __future__ import annotations

import errno
import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import click

from . import files
from .batch import leave
from .desktop import desktop, thumbnail
from .growth import growing
from .measure import bench, compare
from .options import (
    DEVICE,
    FALLBACK,
    FORMATS,
    INPUTS,
    MODEL,
    OFFERED,
    OUTPUT,
    OWN_SUFFIXES,
    PAST,
    Batch,
    many_files,
    readable_suffixes,
)
from .report import work_through
from .show import info, models
from .sources import NOWHERE, STREAM, Job, destination, find_sources, plan
from .stacks import ARRAYS
from .targets import fitting_suffix, own_name, writable_suffixes
from .train import train


class _Main(click.Group):
    """Keeps the command line as it was typed, to be put beside the figures, and ends in order where no command does:
    stopped by Ctrl-C, or without a place for what is printed or written."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        line = shlex.join(["neuralcodec", *args])
        context = super().make_context(info_name, args, *rest, **extra)
        context.obj = line
        return context

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("stopped by SIGINT", err=True)
            leave(signal.SIGINT)  # at once, as `work_through` does
        except OSError as error:
            if error.errno == errno.EPIPE:  # click ends without a word
                raise
            try:
                sys.stdout.flush()
            except OSError:
                sys.stdout = None  # else the interpreter tries once more, and tells that, too
            raise click.ClickException(str(error)) from error


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
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
@click.option("--skip-larger", is_flag=True, help="Write no file that would be larger than its source.")
@MODEL
@DEVICE
@FALLBACK
@PAST
@many_files(writes=True)
def encode(
    inputs: tuple[str, ...],
    output: str | None,
    format: str | None,
    keep_suffix: bool,
    batch: Batch,
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
    sources = find_sources(inputs, suffixes, skipped, recursive=batch.recursive)
    where = destination(output, inputs, OWN_SUFFIXES, ".ifl")
    named = where.file.suffix.lower()[1:] if where.file not in (None, STREAM) else None
    if format and named not in (format, None):
        raise click.UsageError(f"--output {output} does not end in .{format}")
    options["format"] = format or named or FORMATS[0]
    options["suffix"] = suffix = "." + options["format"]

    def name(path: Path) -> str:
        return path.name + suffix if keep_suffix else path.with_suffix(suffix).name

    todo = plan(sources, where, name, batch.existing, options, skipped, ": --keep-suffix keeps them apart")
    told = {} if batch.as_json else growing(todo)
    work_through(files.encode, todo, skipped, "encoding", batch, told)


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
@many_files(writes=True)
def decode(
    inputs: tuple[str, ...],
    output: str | None,
    suffix: str | None,
    batch: Batch,
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
        find_sources(inputs, OWN_SUFFIXES, recursive=batch.recursive),
        where,
        name,
        batch.existing,
        options,
        skipped,
    )
    work_through(files.decode, todo, skipped, "decoding", batch)


@main.command()
@INPUTS
@click.option("--deep", is_flag=True, help="Decode too, and check the pixels.")
@OFFERED
@DEVICE
@many_files(writes=False)
def verify(inputs: tuple[str, ...], batch: Batch, **options: Any) -> None:
    """Check every byte of files against their checksums, without decoding."""
    sources = find_sources(inputs, OWN_SUFFIXES, recursive=batch.recursive)
    todo = [Job(source.path, NOWHERE, options) for source in sources]
    work_through(files.verify, todo, {}, "verifying", batch)


main.add_command(info)
main.add_command(models)
main.add_command(compare)
main.add_command(bench)
main.add_command(train)
main.add_command(thumbnail)
main.add_command(desktop)
