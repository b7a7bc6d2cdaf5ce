"""``neuralcodec``: encode, decode, info, verify, compare, bench.

Exit codes: 0 all well; 1 at least one file failed (the others were done, each failure is one line on stderr);
2 the command line made no sense, and nothing was done.

Everything heavy is imported where it is used, so that ``neuralcodec info`` and ``--help`` start at once.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from PIL import Image
from rich.console import Console
from rich.table import Table

from .batch import Job, Outcome, Source, find_sources, plan, progress_bar, run, written_whole

if TYPE_CHECKING:
    from .benchmark import Codec, Report

FORMATS = ("ifl",)
"""Formats that can be written."""
OWN_SUFFIXES = {"." + name for name in FORMATS}
SET_SUFFIXES = {".npz", ".jxl"}
"""What ``compare`` and ``bench`` read besides Pillow's formats."""
FALLBACKS: dict[str, bool | str] = {"auto": True, "none": False} | {
    name: name for name in ("webp", "predictor", "filtered", "raw")
}
"""Names on the command line and the values of ``encode(fallback=)``."""


def _report(outcomes: list[Outcome], quiet: bool = False) -> None:
    """Print the outcomes; leave with exit code 1 where one failed."""
    failures = 0
    for outcome in outcomes:
        if outcome.failed:
            failures += 1
            click.echo(f"error: {outcome.source}: {outcome.message}", err=True)
        elif not quiet:
            click.echo(f"{outcome.source}: {outcome.message}")
    if failures:
        if len(outcomes) > 1:
            click.echo(f"{failures} of {len(outcomes)} files failed", err=True)
        raise click.exceptions.Exit(1)


# --- what is done to one file (in a process of its own with --jobs) --------------------------------------------------


def _encode(job: Job) -> str:
    from . import codec

    options = dict(job.options)
    check = options.pop("check")
    with Image.open(job.source) as image:
        image.load()  # some formats give their EXIF only behind the pixels
        frames = getattr(image, "n_frames", 1)
        keep = {key: image.info[key] for key in ("exif", "xmp") if image.info.get(key)}
        with written_whole(job.target) as part:
            image.save(part, save_all=frames > 1, **keep, **options)
            if check:
                with Image.open(part) as written:
                    _same(image, written)
    info = codec.read_info(job.target)
    subpixels = info.width * info.height * info.bands * info.n_frames
    return f"{job.target}, {info.file_size:,} bytes, {8 * info.file_size / subpixels:.3f} bits/subpixel"


def _decode(job: Job) -> str:
    from . import codec

    device = job.options["device"]
    with written_whole(job.target) as part:
        if job.target.suffix.lower() == ".npy":
            import numpy as np

            array = codec.decode(job.source, device=device)
            np.save(part, array)
            return f"{job.target}, {array.shape}, {array.dtype}"
        with _opened(job.source, device) as image:
            keep = {key: image.info[key] for key in ("exif", "xmp", "icc_profile", "dpi") if image.info.get(key)}
            if job.target.suffix.lower() == ".webp" and not job.options["lossy"]:
                keep |= {"lossless": True, "exact": True}
            image.save(part, save_all=getattr(image, "n_frames", 1) > 1, **keep)
            if not job.options["lossy"]:
                with Image.open(part) as written:
                    _same(image, written)
            return f"{job.target}, {image.width} x {image.height}, {image.mode}"


def _opened(path: Path, device: str | None) -> Image.Image:
    """A file of ours. Pillow's ``open`` takes no device: where one is given, frames are decoded there when shown."""
    image = Image.open(path, formats=[name.upper() for name in FORMATS])
    if device is None:
        return image
    from .codec import Reader
    from .pillow_plugin import NeuralImageFile

    kind = type(image)
    image.close()
    assert issubclass(kind, NeuralImageFile)

    class OnDevice(kind):  # type: ignore[misc, valid-type]
        def _set_tile(self, planes: Any) -> None:
            super()._set_tile(Reader(self.fp, self._header).frame(self._frame, device=device))

    return OnDevice(path)


def _verify(job: Job) -> str:
    from . import codec, container

    with job.source.open("rb") as file:
        header = container.verify(file)
        if not job.options["deep"]:
            return "every byte checksum is right"
        for frame in range(len(header.frames)):
            codec.Reader(file, header).frame(frame, device=job.options["device"])
    return "every byte and pixel checksum is right"


def _same(image: Image.Image, written: Image.Image) -> None:
    """Raise ``OSError`` unless both hold the same frames: mode, size, pixels, and colours of a palette."""
    count = getattr(image, "n_frames", 1)
    same = getattr(written, "n_frames", 1) == count
    for frame in range(count if same else 0):
        if count > 1:
            image.seek(frame)
            written.seek(frame)
        same &= (image.mode, image.size) == (written.mode, written.size) and image.tobytes() == written.tobytes()
        if same and image.mode in ("P", "PA"):
            same = image.convert("RGBA").tobytes() == written.convert("RGBA").tobytes()
    if not same:
        raise OSError(f"{written.format} does not hold this {image.mode} image exactly: try another format, or --lossy")


# --- commands --------------------------------------------------------------------------------------------------------


class _Remembering(click.Group):
    """Keeps the command line as it was typed, to be put beside the figures."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        line = shlex.join(["neuralcodec", *args])
        context = super().make_context(info_name, args, *rest, **extra)
        context.obj = line
        return context


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names of codecs with commas between them."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in CODECS:
            raise click.BadParameter(f"unknown codec {name!r}: choose from {', '.join(CODECS)}")
    return names


# Literals, since benchmark.py (and numpy) should not be imported for --help; a test compares them with benchmark.NAMES.
CODECS = ("raw", "gzip", "bzip2", "lzma", "png", "webp", "webp-max", "jpeg2000", "jpegls", "jxl-e7", "jxl-e9",
          "jxl-e10", "ifl")

_inputs = click.argument("inputs", nargs=-1, required=True, metavar="FILE|FOLDER|PATTERN...")
_jobs = click.option("-j", "--jobs", type=click.IntRange(min=0), default=1, show_default=True,
                     help="Files at a time; 0: one for each core. One image alone uses every core already.")
_device = click.option("--device", help="Where networks run: cpu, cuda, numpy. [default: the fastest proven one]")
_model = click.option("--model", help="Name, file or hash of a model. [default: the newest released one]")
_fallback = click.option("--fallback", type=click.Choice(list(FALLBACKS)), default="auto", show_default=True,
                         help="auto: the smallest of all methods; none: the network alone; or one method by name.")
_force = click.option("--force", is_flag=True, help="Replace files that are there.")
_quiet = click.option("-q", "--quiet", is_flag=True, help="Print failures only.")


def _measuring(command: Callable[..., None]) -> Callable[..., None]:
    """The options that compare and bench share."""
    for option in reversed([
        click.option("--only", callback=_names, metavar="NAMES",
                     help=f"These codecs alone, with commas between them: {', '.join(CODECS)}."),
        click.option("--skip", callback=_names, metavar="NAMES", help="All but these: `--skip jxl-e10,webp-max`."),
        click.option("--crop", type=click.IntRange(min=1), metavar="N",
                     help="Crop right and bottom to a multiple of N pixels first (32: Bit-Swap's protocol)."),
        click.option("--rgb", is_flag=True,
                     help="Measure gray images as RGB: published tables count three bands for all."),
        click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True,
                     help="Best time of so many."),
        click.option("--threads", type=click.IntRange(min=1),
                     help="Threads for peers that use several. [default: cores]"),
        _model, _device, _fallback,
    ]):
        command = option(command)
    return command


@click.group(cls=_Remembering, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pil_neuralcodec", prog_name="neuralcodec")
def main() -> None:
    """Lossless image files from exact integer neural networks."""


@main.command()
@_inputs
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder. [default: beside each image]")
@click.option("--format", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
@click.option("--check", is_flag=True, help="Decode each file again and compare it with the image.")
@_model
@_device
@_fallback
@_jobs
@_force
@_quiet
def encode(inputs: tuple[str, ...], output: Path | None, format: str, check: bool, model: str | None,
           device: str | None, fallback: str, jobs: int, force: bool, quiet: bool) -> None:
    """Compress images: any file that Pillow opens. Frames, ICC profile, EXIF, XMP and dpi are kept."""
    options = {"format": format.upper(), "check": check, "model": model, "device": device,
               "fallback": FALLBACKS[fallback]}
    sources = find_sources(inputs, _readable_suffixes() - OWN_SUFFIXES)
    _report(run(_encode, plan(sources, output, "." + format, force, options), jobs, "encoding"), quiet)


@main.command()
@_inputs
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder. [default: beside each file]")
@click.option("--to", "suffix", metavar="SUFFIX", help="png, tiff, webp, ... or npy for an array. "
              "[default: that of --output, or png]")
@click.option("--lossy", is_flag=True, help="Allow a target that does not hold the image exactly.")
@_device
@_jobs
@_force
@_quiet
def decode(inputs: tuple[str, ...], output: Path | None, suffix: str | None, lossy: bool, device: str | None,
           jobs: int, force: bool, quiet: bool) -> None:
    """Decompress to another image format. What would not be exact is refused."""
    writable = {s for s, name in Image.registered_extensions().items() if name in Image.SAVE} | {".npy"}
    if suffix is None:
        named = output is not None and not output.is_dir() and output.suffix.lower() in writable
        suffix = output.suffix if output is not None and named else ".png"
    suffix = "." + suffix.lower().lstrip(".")
    if suffix not in writable:
        raise click.UsageError(f"cannot write {suffix} files")
    sources = find_sources(inputs, OWN_SUFFIXES)
    options = {"device": device, "lossy": lossy}
    _report(run(_decode, plan(sources, output, suffix, force, options), jobs, "decoding"), quiet)


@main.command()
@_inputs
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each file, one a line.")
def info(inputs: tuple[str, ...], as_json: bool) -> None:
    """Show what files say of themselves. Nothing is decoded."""
    from . import codec

    outcomes = []
    for source in find_sources(inputs, OWN_SUFFIXES):
        try:
            found = asdict(codec.read_info(source.path))
        except OSError as error:
            outcomes.append(Outcome(source.path, str(error), failed=True))
            continue
        found["metadata"] = {key: _plain(value) for key, value in found["metadata"].items() if value is not None}
        found = {"file": str(source.path), **found}
        if as_json:
            click.echo(json.dumps(found))
        else:
            click.echo("\n".join(f"{key.replace('_', ' '):<12} {_text(value)}" for key, value in found.items()) + "\n")
    _report(outcomes)


@main.command()
@_inputs
@click.option("--deep", is_flag=True, help="Decode too, and check the pixels.")
@_device
@_jobs
@_quiet
def verify(inputs: tuple[str, ...], deep: bool, device: str | None, jobs: int, quiet: bool) -> None:
    """Check every byte of files against their checksums, without decoding."""
    options = {"deep": deep, "device": device}
    todo = [Job(source.path, source.path, options) for source in find_sources(inputs, OWN_SUFFIXES)]
    _report(run(_verify, todo, jobs, "verifying"), quiet)


@main.command()
@_inputs
@_measuring
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Leave the files of every codec here.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the figures here too.")
@click.pass_obj
def compare(command: str, /, inputs: tuple[str, ...], keep: Path | None, json_file: Path | None,
            **options: Any) -> None:
    """Compare codecs on images: size and time, each file decoded again and compared bit for bit.

    Reads what Pillow opens, .jxl files and .npz sets (key `images`). One table for each image or set.
    """
    sources = find_sources(inputs, _readable_suffixes() | SET_SUFFIXES)
    measured = _measurer(command, keep, **options)
    reports, outcomes = [], []
    for source in sources:
        report = measured(source.path.name, [source])
        if report.rows:
            _print(report)
            reports.append(report)
        outcomes += [Outcome(source.path, error, failed=True) for error in report.unreadable + report.errors]
    if json_file is not None:
        json_file.write_text("[" + ",\n".join(report.to_json() for report in reports) + "]\n", encoding="utf-8")
    _report(outcomes)


@main.command()
@_inputs
@_measuring
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for the results. [default: bench-NAME]")
@click.pass_obj
def bench(command: str, /, inputs: tuple[str, ...], output: Path | None, **options: Any) -> None:
    """Compare codecs over folders or .npz sets; write bench.json, bench.md and bench.png.

    Files that cannot be read are listed, and not counted.
    """
    sources = find_sources(inputs, _readable_suffixes() | SET_SUFFIXES)
    measured = _measurer(command, None, **options)
    title = ", ".join(Path(text).stem if Path(text).is_file() else Path(text).name or text for text in inputs)
    report = measured(title, sources)
    for line in report.unreadable:
        click.echo(f"not read: {line}", err=True)
    if not report.rows:
        raise click.ClickException("no image could be read")
    output = output or Path("bench-" + Path(inputs[0]).resolve().stem)
    output.mkdir(parents=True, exist_ok=True)
    (output / "bench.json").write_text(report.to_json(), encoding="utf-8")
    (output / "bench.md").write_text(report.to_markdown(), encoding="utf-8")
    _print(report)
    try:
        report.plot(output / "bench.png")
    except ModuleNotFoundError as error:
        click.echo(f"no plot: {error}", err=True)
    click.echo(f"written to {output}")
    _report([Outcome(Path(title), error, failed=True) for error in report.errors])


def _selected(only: tuple[str, ...] | None, skip: tuple[str, ...] | None, threads: int | None, model: str | None,
              device: str | None, fallback: str) -> list[Codec]:
    """The codecs asked for that can run here; those that cannot are named."""
    from . import benchmark

    asked = [name for name in only or CODECS if name not in (skip or ())]
    if not asked:
        raise click.UsageError("no codec is left")
    known = {codec.name: codec for codec in benchmark.peers(threads)}
    for name in set(asked).intersection(FORMATS):
        known[name] = benchmark.ours(name, model=model, device=device, fallback=FALLBACKS[fallback])
    codecs = benchmark.available(known[name] for name in asked)
    missing = [name for name in asked if name not in {codec.name for codec in codecs}]
    if missing:
        click.echo(f"left out: {', '.join(missing)} (imagecodecs is missing: install the extra `bench`)", err=True)
    if not codecs:
        raise click.ClickException("none of these codecs can run here")
    return codecs


def _measurer(command: str, keep: Path | None, *, crop: int | None, rgb: bool, repeat: int,
              **selection: Any) -> Callable[[str, list[Source]], Report]:
    """What makes the report over all images of some sources, with a progress bar that counts images times codecs."""
    from . import benchmark

    codecs = _selected(**selection)

    def measured(title: str, sources: list[Source]) -> Report:
        report = benchmark.Report(title, codecs, command=command)
        several = len({source.root for source in sources}) > 1
        total = len(sources) * len(codecs)
        with progress_bar(True) as progress:
            bar = progress.add_task(title, total=total)
            for source in sources:
                name = source.path.relative_to(source.root.parent if several else source.root).as_posix()
                try:
                    samples = benchmark.load_samples(source.path, name)
                    total += (len(samples) - 1) * len(codecs)
                    progress.update(bar, total=total)
                    for sample in samples:
                        if crop:
                            sample = benchmark.crop_to_multiple(sample, crop)
                        report.add(benchmark.to_rgb(sample) if rgb else sample, repeat=repeat,
                                   done=lambda: progress.advance(bar), keep=keep)
                except (OSError, ValueError, SyntaxError, ModuleNotFoundError, Image.DecompressionBombError) as error:
                    report.unreadable.append(f"{name}: {error}")
        return report

    return measured


def _print(report: Report) -> None:
    headings, cells = report.table()
    table = Table(title=f"{report.title} ({report.images} image{'s' * (report.images != 1)})")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for row in cells:
        table.add_row(*row, style="bold" if row[0].startswith("ours") else None)
    console = Console()
    if not console.is_terminal:
        console.width = max(100, console.width)
    console.print(table)


def _readable_suffixes() -> set[str]:
    return {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}


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
