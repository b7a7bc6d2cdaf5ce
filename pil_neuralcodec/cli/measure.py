"""``compare`` and ``bench``: our files beside those of other codecs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import Option
from PIL import Image
from rich.console import Console
from rich.table import Table

from .batch import Outcome, progress_bar
from .options import DEVICE, FALLBACK, FORMATS, INPUTS, MODEL, PAST, readable_suffixes
from .report import report as report_outcomes
from .sources import Source, find_sources, on_disk

if TYPE_CHECKING:
    from ..benchmark import Codec, Report

SET_SUFFIXES = {".npz", ".jxl"}
"""What ``compare`` and ``bench`` read besides Pillow's formats."""


def _names(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names of codecs with commas between them."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(","))
    for name in names:
        if name not in CODECS:
            raise click.BadParameter(f"unknown codec {name!r}: choose from {', '.join(CODECS)}")
    return names


# Literals, since benchmark (and numpy) should not be imported for --help; a test compares them with benchmark.NAMES.
CODECS = (
    "raw",
    "gzip",
    "bzip2",
    "lzma",
    "png",
    "webp",
    "webp-max",
    "jpeg2000",
    "jpegls",
    "jxl-e3",
    "jxl-e5",
    "jxl-e7",
    "jxl-e9",
    "jxl-e10",
    "ifl",
    "bsw",
    "bb-ans",
    "ifl-fast",
    "ifl-best",
)
SELECTIONS = {
    "ifl": (*CODECS[: CODECS.index("jxl-e3")], "jxl-e7", "jxl-e9", "jxl-e10", "ifl"),
    "bsw": ("raw", "gzip", "bzip2", "lzma", "png", "webp-max", "bb-ans", "bsw"),
}
"""By format: our codec and the peers that it is shown beside, for .bsw those of the table that introduced Bit-Swap."""


MEASURING = [
    Option(
        ["--format"],
        type=click.Choice(FORMATS),
        default=FORMATS[0],
        help="ifl: beside all peers. bsw: the table that introduced Bit-Swap.",
    ),
    Option(
        ["--only"],
        callback=_names,
        metavar="NAMES",
        help=f"These codecs instead, with commas between them: {', '.join(CODECS)}.",
    ),
    Option(["--skip"], callback=_names, metavar="NAMES", help="All but these: `--skip jxl-e10,webp-max`."),
    Option(
        ["--crop"],
        type=click.IntRange(min=1),
        metavar="N",
        help="Crop right and bottom to a multiple of N pixels first (32: Bit-Swap's protocol).",
    ),
    Option(["--rgb"], is_flag=True, help="Measure gray images as RGB: published tables count three bands for all."),
    Option(["--repeat"], type=click.IntRange(min=1), default=1, help="Best time of so many."),
    Option(["--threads"], type=click.IntRange(min=1), help="Threads for peers that use several. [default: cores]"),
]
"""The options that compare and bench share."""


@click.command(params=[*MEASURING])
@INPUTS
@MODEL
@DEVICE
@FALLBACK
@PAST
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Leave the files of every codec here.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures here too."
)
@click.pass_obj
def compare(
    command: str, /, inputs: tuple[str, ...], keep: Path | None, json_file: Path | None, **options: Any
) -> None:
    """Compare codecs on images: size and time, each file decoded again and compared bit for bit.

    Reads what Pillow opens, .jxl files and .npz sets (key `images`). One table for each image or set.
    """
    if json_file is not None and not json_file.parent.is_dir():
        raise click.UsageError(f"--json {json_file}: there is no folder {json_file.parent}")
    sources = find_sources(inputs, readable_suffixes() | SET_SUFFIXES)
    measured = _measurer(command, keep, **options)
    reports, outcomes = [], []
    for source in sources:
        report = measured(source.path.name, [source])
        if report.rows:
            _print(report)
            reports.append(report)
        said = [error.removeprefix(f"{source.path.name}: ") for error in report.unreadable + report.errors]
        outcomes += [Outcome(source.path, error, "failed") for error in said]
    if json_file is not None:
        json_file.write_text("[" + ",\n".join(report.to_json() for report in reports) + "]\n", encoding="utf-8")
    report_outcomes(outcomes, len(sources))


@click.command(params=[*MEASURING])
@INPUTS
@MODEL
@DEVICE
@FALLBACK
@PAST
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the results. [default: bench-NAME]",
)
@click.pass_obj
def bench(command: str, /, inputs: tuple[str, ...], output: Path | None, **options: Any) -> None:
    """Compare codecs over folders or .npz sets; write bench.json, bench.md and bench.png.

    Files that cannot be read are listed, and not counted; the exit code is 1 then.
    """
    sources = find_sources(inputs, readable_suffixes() | SET_SUFFIXES)
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
    report_outcomes([Outcome(Path(title), error, "failed") for error in report.errors], total=1)
    if report.unreadable:
        raise click.exceptions.Exit(1)


def _selected(
    format: str,
    only: tuple[str, ...] | None,
    skip: tuple[str, ...] | None,
    threads: int | None,
    **options: Any,
) -> list[Codec]:
    """The codecs asked for that can run here; those that cannot are named."""
    from .. import benchmark

    asked = [name for name in only or SELECTIONS[format] if name not in (skip or ())]
    if not asked:
        raise click.UsageError("no codec is left")
    known = {codec.name: codec for codec in benchmark.peers(threads)}
    for name in set(asked).intersection(benchmark.OURS):
        known[name] = benchmark.ours(name, **options)
    codecs = benchmark.available(known[name] for name in asked)
    missing = [name for name in asked if name not in {codec.name for codec in codecs}]
    if missing:
        click.echo(f"left out: {', '.join(missing)} (install the extra `bench`)", err=True)
    if not codecs:
        raise click.ClickException("none of these codecs can run here")
    return codecs


def _measurer(
    command: str, keep: Path | None, *, crop: int | None, rgb: bool, repeat: int, **selection: Any
) -> Callable[[str, list[Source]], Report]:
    """What makes the report over all images of some sources, with a progress bar that counts images times codecs."""
    from .. import benchmark

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
                    with on_disk(source.path) as path:
                        samples = benchmark.load_samples(path, name)
                    total += (len(samples) - 1) * len(codecs)
                    progress.update(bar, total=total)
                    for sample in samples:
                        if crop:
                            sample = benchmark.crop_to_multiple(sample, crop)
                        report.add(
                            benchmark.to_rgb(sample) if rgb else sample,
                            repeat=repeat,
                            done=lambda: progress.advance(bar),
                            keep=keep,
                        )
                except (OSError, ValueError, SyntaxError, ModuleNotFoundError, Image.DecompressionBombError) as error:
                    report.unreadable.append(f"{name}: {error}")
        return report

    return measured


def _print(report: Report) -> None:
    headings, cells = report.table()
    table = Table(title=f"{report.title} ({report.images} image{'s' * (report.images != 1)})")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=index > 0)
    for row in cells:
        table.add_row(*row, style="bold" if row[0].startswith("ours") else None)
    console = Console()
    if not console.is_terminal:
        console.width = max(100, console.width)
    console.print(table)
