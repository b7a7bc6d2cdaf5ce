"""Rows of a table: sizes and times of codecs on images, and how they are written down.

``measure`` gives one row; a ``Report`` gathers rows and writes JSON, Markdown and a plot. Bits per subpixel =
8 * bytes / (H * W * bands), as in the tables of the Bit-Swap and iFlow papers.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from .codecs import Codec
from .samples import Pixels, Sample


@dataclass(frozen=True)
class Row:
    """One codec on one image. Times in seconds. ``error`` is set, and the figures are 0, where the codec failed.

    ``version`` is the library that coded this image, "" where none is worth naming.
    """

    codec: str
    image: str
    shape: tuple[int, ...]
    raw_bytes: int
    bytes: int = 0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    error: str | None = None
    version: str = ""

    @property
    def subpixels(self) -> int:
        """Height x width x bands."""
        return math.prod(self.shape)


def measure(codec: Codec, sample: Sample, *, repeat: int = 1) -> tuple[Row, bytes]:
    """Encode and decode, compare bit for bit; the row (best time of ``repeat``) and the file.

    A codec that raises or returns other pixels gives a row with ``error``: one bad image does not end a long run.
    """
    pixels = sample.pixels
    data, encode_seconds, decode_seconds = b"", float("inf"), float("inf")
    row = Row(codec.name, sample.name, pixels.shape, pixels.nbytes)
    try:
        row = replace(row, version=codec.version(pixels))
        for _ in range(repeat):
            start = time.perf_counter()
            data = codec.encode(pixels)
            middle = time.perf_counter()
            decoded = codec.decode(data, pixels)
            end = time.perf_counter()
            encode_seconds = min(encode_seconds, middle - start)
            decode_seconds = min(decode_seconds, end - middle)
            if decoded.dtype != pixels.dtype or not np.array_equal(decoded, pixels):
                raise ValueError("not lossless: the decoded pixels differ")
    except Exception as error:  # a peer may raise anything; the row says it and the table shows it
        return replace(row, error=f"{type(error).__name__}: {error}"), b""
    return replace(row, bytes=len(data), encode_seconds=encode_seconds, decode_seconds=decode_seconds), data


def warm_up(codec: Codec, pixels: Pixels) -> None:
    """Run once on a corner of the image, so that imports and loading a model are in no row's time."""
    corner = Sample("", np.ascontiguousarray(pixels[: codec.warm_side, : codec.warm_side]))
    if codec.accepts(corner.pixels):
        measure(codec, corner)


@dataclass(frozen=True)
class Summary:
    """One codec over all images that it accepts. Sizes are totals, times are means per image.

    ``label`` is what tables show, ``versions`` included; these are the libraries that coded the images.
    """

    codec: str
    label: str
    images: int
    bytes: int
    bits_per_subpixel: float
    mean_bits_per_subpixel: float
    percent_of_raw: float
    encode_seconds: float
    decode_seconds: float
    encode_seconds_per_megapixel: float
    decode_seconds_per_megapixel: float
    errors: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


@dataclass
class Report:
    """Rows of several codecs on several images, and how they came about."""

    title: str
    codecs: list[Codec]
    rows: list[Row] = field(default_factory=list)
    images: int = 0
    command: str = ""
    unreadable: list[str] = field(default_factory=list)

    def add(
        self, sample: Sample, *, repeat: int = 1, done: Callable[[], None] = lambda: None, keep: Path | None = None
    ) -> None:
        """Measure every codec on the sample. ``done`` is called after each; ``keep`` is a folder for the files."""
        self.images += 1
        if not self.rows:
            for codec in self.codecs:
                warm_up(codec, sample.pixels)
        for codec in self.codecs:
            if codec.accepts(sample.pixels):
                row, data = measure(codec, sample, repeat=repeat)
                self.rows.append(row)
                if keep is not None and row.error is None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / (Path(sample.name).stem + codec.suffix)).write_bytes(data)
            done()

    @property
    def errors(self) -> list[str]:
        """What failed, one line each."""
        return [f"{row.codec}: {row.image}: {row.error}" for row in self.rows if row.error]

    def summaries(self) -> list[Summary]:
        """One per codec that did at least one image, in the order of ``codecs``."""
        return [
            _summary(codec, rows)
            for codec in self.codecs
            if (rows := [row for row in self.rows if row.codec == codec.name])
        ]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings and cells, as text."""
        several = self.images > 1
        headings = [
            "codec",
            "bytes",
            "bits/subpixel",
            "% of raw",
            "encode s/image" if several else "encode s",
            "decode s/image" if several else "decode s",
        ]
        cells = []
        for s in self.summaries():
            label = s.label if s.images == self.images else f"{s.label} ({s.images} of {self.images} images)"
            if s.errors:
                label += f" ({len(s.errors)} FAILED)"
            cells.append(
                [
                    label,
                    f"{s.bytes:,}",
                    f"{s.bits_per_subpixel:.3f}",
                    f"{s.percent_of_raw:.1f}",
                    f"{s.encode_seconds:.3f}",
                    f"{s.decode_seconds:.3f}",
                ]
                if s.images
                else [label] + ["-"] * 5
            )
        return headings, cells

    def to_markdown(self) -> str:
        """The table, the command, the machine."""
        headings, cells = self.table()
        lines = [
            f"## {self.title}",
            "",
            f"{self.images} image{'s' * (self.images != 1)}, every row decoded again and compared bit for bit.",
            "",
            "| " + " | ".join(headings) + " |",
            "|---" + "|---:" * (len(headings) - 1) + "|",
            *("| " + " | ".join(row) + " |" for row in cells),
            "",
        ]
        if self.command:
            lines += [f"`{self.command}`", ""]
        lines += [", ".join(f"{key} {value}" for key, value in environment().items()), ""]
        for heading, entries in (("Failed", self.errors), ("Not read", self.unreadable)):
            if entries:
                lines += [f"{heading}:", "", *(f"- {entry}" for entry in entries), ""]
        return "\n".join(lines)

    def to_json(self) -> str:
        """Everything, rows included."""
        return (
            json.dumps(
                {
                    "title": self.title,
                    "command": self.command,
                    "environment": environment(),
                    "images": self.images,
                    "summary": [asdict(s) for s in self.summaries()],
                    "rows": [asdict(row) for row in self.rows],
                    "unreadable": self.unreadable,
                },
                indent=1,
            )
            + "\n"
        )

    def plot(self, path: Path) -> None:
        """Size against encode time and against decode time, both axes per pixel, as PNG, SVG or PDF; see ``plot``."""
        from .plot import plot

        shown = [s for s in self.summaries() if s.images == self.images and s.codec != "raw"]
        names = {codec.name: codec.label for codec in self.codecs}
        images = f"{self.images} image{'s' * (self.images != 1)}"
        plot(path, f"{self.title} ({images}, lossless; lower and further left is better)", shown, names)


def _summary(codec: Codec, rows: list[Row]) -> Summary:
    good = [row for row in rows if row.error is None]
    versions = Counter(row.version for row in rows if row.version)
    count, total = max(1, len(good)), sum(row.bytes for row in good)
    subpixels = max(1, sum(row.subpixels for row in good))
    megapixels = max(1, sum(row.shape[0] * row.shape[1] for row in good)) / 1e6
    encode, decode = (sum(getattr(row, f"{which}_seconds") for row in good) for which in ("encode", "decode"))
    return Summary(
        codec.name,
        codec.label + (f" ({_named(versions)})" if versions else ""),
        len(good),
        total,
        8 * total / subpixels,
        sum(8 * row.bytes / row.subpixels for row in good) / count,
        100 * total / max(1, sum(row.raw_bytes for row in good)),
        encode / count,
        decode / count,
        encode / megapixels,
        decode / megapixels,
        tuple(f"{row.image}: {row.error}" for row in rows if row.error),
        tuple(versions),
    )


def _named(versions: Counter[str]) -> str:
    """The versions, most images first, with the number of images for all but the first."""
    (first, _), *others = versions.most_common()
    return "; ".join([first, *(f"{version} for {count} image{'s' * (count != 1)}" for version, count in others)])


def environment() -> dict[str, str]:
    """The machine and the versions that the figures depend on. Imports nothing heavy."""
    found = {"processor": _processor(), "cores": str(os.cpu_count()), "Python": platform.python_version()}
    for name in ("pil_neuralcodec", "numpy", "pillow", "imagecodecs", "pillow-jxl-plugin", "torch"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()
