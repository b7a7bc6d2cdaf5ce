"""Measure this codec beside its peers: whole files, real times, every row decoded again and compared.

A *sample* is one image as an array: uint8 (H, W), (H, W, 3) or (H, W, 4), or uint16 (H, W). A *codec* turns a sample
into the bytes of a file and back. ``measure`` gives one row; a ``Report`` gathers rows and writes JSON, Markdown and a
plot. Bits per subpixel = 8 * bytes / (H * W * bands), as in the tables of the Bit-Swap and iFlow papers.

The peers come from the standard library, Pillow and imagecodecs (the ``bench`` extra).
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[Any]

_WEBP_MAX_SIDE = 16383
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's modes of 8-bit samples, by the number of bands."""


# --- samples ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One image to measure: ``pixels`` is uint8 (H, W), (H, W, 3), (H, W, 4) or uint16 (H, W)."""

    name: str
    pixels: Pixels


def load_samples(path: Path, name: str | None = None) -> list[Sample]:
    """The images of one file: one for an image file, N for a ``.npz`` set (key ``images``, (N, H, W) or (N, H, W, C)).

    ``name`` is what the samples are called (None: as the file); those of a set are numbered.
    ``.jxl`` is read through imagecodecs, everything else through Pillow (first frame). Modes other than L, RGB, RGBA
    and I;16 are measured as RGB, or RGBA where they have transparency: what is compared are pixels, not containers.

    Raises
    ------
    OSError: the file is missing, damaged or no image.
    ValueError: a set without ``images``, or an array that is no image.
    """
    suffix, name = path.suffix.lower(), name or path.name
    if suffix == ".npz":
        with np.load(path) as archive:
            if "images" not in archive:
                raise ValueError(f"{path}: no array 'images' in this set (it has: {', '.join(archive) or 'nothing'})")
            images = archive["images"]
        digits = len(str(len(images)))
        stem = name.removesuffix(path.suffix)
        return [Sample(f"{stem}-{index:0{digits}}", as_pixels(image)) for index, image in enumerate(images)]
    if suffix == ".jxl":
        imagecodecs = _imagecodecs()
        try:
            image = imagecodecs.jpegxl_decode(path.read_bytes())
        except (ValueError, imagecodecs.JpegxlError) as error:
            raise OSError(f"{path}: {error}") from error
        return [Sample(name, as_pixels(image))]
    with Image.open(path) as opened:
        if opened.mode == "1":
            pixels = np.asarray(opened.convert("L"))
        elif opened.mode in ("L", "RGB", "RGBA"):
            pixels = np.asarray(opened)
        elif opened.mode.startswith("I;16"):
            pixels = np.asarray(opened).astype(np.uint16)  # any byte order to the native one
        else:
            pixels = np.asarray(opened.convert("RGBA" if opened.has_transparency_data else "RGB"))
    return [Sample(name, as_pixels(pixels))]


def _bands(pixels: Pixels) -> int:
    return int(pixels.shape[2]) if pixels.ndim == 3 else 1


def as_pixels(array: NDArray[Any]) -> Pixels:
    """``array`` as a contiguous sample without a third axis of length 1.

    Raises
    ------
    ValueError: neither uint8 (H, W), (H, W, 1), (H, W, 3), (H, W, 4) nor uint16 (H, W).
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    known = (array.dtype == np.uint8 and _bands(array) in _MODES) or (array.dtype == np.uint16 and array.ndim == 2)
    if array.ndim not in (2, 3) or not array.size or not known:
        raise ValueError(f"cannot measure an array of shape {array.shape} and type {array.dtype}")
    return np.ascontiguousarray(array)


def crop_to_multiple(sample: Sample, multiple: int) -> Sample:
    """The sample without its last rows and columns, so that both sides are multiples (32: Bit-Swap's protocol).

    Raises
    ------
    ValueError: nothing would be left.
    """
    height, width = (side - side % multiple for side in sample.pixels.shape[:2])
    if not (height and width):
        raise ValueError(f"{sample.name}: smaller than {multiple} x {multiple}")
    return Sample(sample.name, np.ascontiguousarray(sample.pixels[:height, :width]))


def to_rgb(sample: Sample) -> Sample:
    """The sample with 8-bit gray repeated three times, so that all images of a set count three bands."""
    if sample.pixels.dtype != np.uint8 or sample.pixels.ndim != 2:
        return sample
    return Sample(sample.name, np.repeat(sample.pixels[..., None], 3, axis=2))


# --- codecs ----------------------------------------------------------------------------------------------------------


def _accepts_all(pixels: Pixels) -> bool:
    return True


def _accepts_webp(pixels: Pixels) -> bool:
    return pixels.dtype == np.uint8 and max(pixels.shape) <= _WEBP_MAX_SIDE


@dataclass(frozen=True)
class Codec:
    """One row of a table: ``encode(pixels) -> bytes`` and ``decode(bytes, like) -> pixels``.

    ``like`` is an array of the shape and type to return: the general-purpose compressors keep neither. ``name`` is
    what options and JSON call it, ``label`` what tables show, ``suffix`` what its files end in.
    """

    name: str
    label: str
    suffix: str
    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes, Pixels], Pixels]
    accepts: Callable[[Pixels], bool] = _accepts_all
    warm_side: int = 64

    def warm_up(self, pixels: Pixels) -> None:
        """Run once on a corner of the image, so that imports and loading a model are in no row's time."""
        corner = Sample("", np.ascontiguousarray(pixels[: self.warm_side, : self.warm_side]))
        if self.accepts(corner.pixels):
            measure(self, corner)


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError as error:
        raise ModuleNotFoundError("imagecodecs is missing: install the extra `bench`") from error
    return imagecodecs


def _from_bytes(data: bytes, like: Pixels) -> Pixels:
    array: Pixels = np.frombuffer(data, like.dtype).reshape(like.shape)
    return array


def _general(
    name: str, label: str, suffix: str, compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes]
) -> Codec:
    """A compressor of bytes, on the raw pixels."""
    return Codec(
        name, label, suffix, lambda x: compress(x.tobytes()), lambda data, like: _from_bytes(decompress(data), like)
    )


def _pillow(
    name: str, label: str, suffix: str, format: str, accepts: Callable[[Pixels], bool] = _accepts_all, **parameters: Any
) -> Codec:
    """A format of Pillow's. WebP has no gray: it stores RGB, and Pillow's RGB to L is exact where R = G = B."""

    def encode(pixels: Pixels) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format, **parameters)
        return file.getvalue()

    def decode(data: bytes, like: Pixels) -> Pixels:
        with Image.open(io.BytesIO(data), formats=[format]) as image:
            if like.dtype == np.uint8:
                return np.asarray(image.convert(_MODES[_bands(like)]))
            return np.asarray(image)

    return Codec(name, label, suffix, encode, decode, accepts)


def _jpegxl(effort: int, threads: int) -> Codec:
    return Codec(
        f"jxl-e{effort}",
        f"JPEG XL e{effort}",
        f".e{effort}.jxl",
        lambda x: bytes(_imagecodecs().jpegxl_encode(x, effort=effort, lossless=True, numthreads=threads)),
        lambda data, like: _imagecodecs().jpegxl_decode(data, numthreads=threads).reshape(like.shape),
    )


def _hp1(pixels: Pixels) -> Pixels:
    """HP1, the reversible colour transform of JPEG-LS part 2: R - G + 128, G, B - G + 128 (modulo 256)."""
    if pixels.ndim == 2:
        return pixels
    out = pixels.copy()
    out[..., 0] += 128 - pixels[..., 1]
    out[..., 2] += 128 - pixels[..., 1]
    return out


def _hp1_inverse(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        return pixels
    out = pixels.copy()
    out[..., 0] += pixels[..., 1] - 128
    out[..., 2] += pixels[..., 1] - 128
    return out


def peers(threads: int | None = None) -> list[Codec]:
    """The codecs to compare with, best known settings named. ``threads``: for those that use several (None: all)."""
    threads = threads or os.cpu_count() or 1
    return [
        Codec("raw", "raw", ".raw", lambda x: x.tobytes(), _from_bytes),
        _general("gzip", "gzip -9", ".gz", lambda x: gzip.compress(x, 9, mtime=0), gzip.decompress),
        _general("bzip2", "bzip2 -9", ".bz2", bz2.compress, bz2.decompress),
        _general(
            "lzma", "LZMA -9e", ".xz", lambda x: lzma.compress(x, preset=9 | lzma.PRESET_EXTREME), lzma.decompress
        ),
        _pillow("png", "PNG (optimize)", ".png", "PNG", optimize=True),
        _pillow("webp", "WebP q75 m4", ".webp", "WEBP", _accepts_webp, lossless=True, exact=True, quality=75, method=4),
        _pillow(
            "webp-max",
            "WebP q100 m6",
            ".max.webp",
            "WEBP",
            _accepts_webp,
            lossless=True,
            exact=True,
            quality=100,
            method=6,
        ),
        Codec(
            "jpeg2000",
            "JPEG 2000",
            ".jp2",
            lambda x: bytes(_imagecodecs().jpeg2k_encode(x, level=0, reversible=True, numthreads=threads)),
            lambda data, like: _imagecodecs().jpeg2k_decode(data, numthreads=threads).reshape(like.shape),
        ),
        Codec(
            "jpegls",
            "JPEG-LS (HP1)",
            ".jls",
            lambda x: bytes(_imagecodecs().jpegls_encode(_hp1(x))),
            lambda data, like: _hp1_inverse(_imagecodecs().jpegls_decode(data).reshape(like.shape)),
        ),
        *(_jpegxl(effort, threads) for effort in (7, 9, 10)),
    ]


OURS = {
    "ifl": ("ifl", None, None),
    "bsw": ("bsw", None, None),
    "bb-ans": ("bsw", "bb-ans", None),
    "ifl-best": ("ifl", None, "photo-best"),
}
"""This package's codecs by name: format, ordering, and the model where the name says it."""


def ours(
    name: str = "ifl", *, model: str | None = None, device: str | None = None, fallback: bool | str = True
) -> Codec:
    """One of this package's codecs; the other arguments are those of ``pil_neuralcodec.encode``, ``model`` for those
    whose name does not say it."""
    from . import api

    format, ordering, named = OURS[name]
    model = named or model
    details = ["." + format, *([ordering.upper()] if ordering else []), *([Path(model).stem] if model else [])]
    return Codec(
        name,
        f"ours ({', '.join(details)})",
        "." + format if name == format else f".{name}.{format}",
        lambda x: api.encode(x, format, model=model, device=device, fallback=fallback, ordering=ordering),
        lambda data, like: api.decode(data, device=device).reshape(like.shape),
        warm_side=512,
    )


NAMES = tuple(codec.name for codec in peers(1)) + tuple(OURS)
"""Every codec's name, in the order of the tables."""


def available(codecs: Iterable[Codec]) -> list[Codec]:
    """The codecs that can run here: those of imagecodecs only where it is installed."""
    external = {"jpeg2000", "jpegls", "jxl-e7", "jxl-e9", "jxl-e10"}
    return [codec for codec in codecs if codec.name not in external or find_spec("imagecodecs")]


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One codec on one image. Times in seconds. ``error`` is set, and the figures are 0, where the codec failed."""

    codec: str
    image: str
    shape: tuple[int, ...]
    raw_bytes: int
    bytes: int = 0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    error: str | None = None

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
        return Row(**asdict(row) | {"error": f"{type(error).__name__}: {error}"}), b""
    return Row(codec.name, sample.name, pixels.shape, pixels.nbytes, len(data), encode_seconds, decode_seconds), data


@dataclass(frozen=True)
class Summary:
    """One codec over all images that it accepts. Sizes are totals, times are means per image."""

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
                codec.warm_up(sample.pixels)
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
        """Size against encode time and against decode time, both axes per pixel, as PNG, SVG or PDF.

        Raises
        ------
        ModuleNotFoundError: matplotlib is missing.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ModuleNotFoundError("matplotlib is missing: install the extra `bench`") from error
        figure = Figure(figsize=(12, 5), layout="constrained")
        shown = [s for s in self.summaries() if s.images == self.images and s.codec != "raw"]
        for axes, which in zip(figure.subplots(1, 2, sharey=True), ("encode", "decode"), strict=True):
            for s in shown:
                seconds = getattr(s, f"{which}_seconds_per_megapixel")
                ink = "tab:red" if s.label.startswith("ours") else "tab:blue"
                axes.plot(seconds, s.bits_per_subpixel, "o", color=ink)
                axes.annotate(
                    s.label, (seconds, s.bits_per_subpixel), (4, 4), textcoords="offset points", fontsize=8, color=ink
                )
            axes.set_xscale("log")
            axes.margins(x=0.2)
            axes.set_xlabel(f"{which}: seconds per megapixel")
            axes.grid(True, which="both", alpha=0.2)
        figure.axes[0].set_ylabel("bits per subpixel")
        figure.suptitle(
            f"{self.title} ({self.images} image{'s' * (self.images != 1)}, lossless; lower and further left is better)"
        )
        figure.savefig(path, dpi=120)


def _summary(codec: Codec, rows: list[Row]) -> Summary:
    good = [row for row in rows if row.error is None]
    count, total = max(1, len(good)), sum(row.bytes for row in good)
    subpixels = max(1, sum(row.subpixels for row in good))
    megapixels = max(1, sum(row.shape[0] * row.shape[1] for row in good)) / 1e6
    encode, decode = (sum(getattr(row, f"{which}_seconds") for row in good) for which in ("encode", "decode"))
    return Summary(
        codec.name,
        codec.label,
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
    )


def environment() -> dict[str, str]:
    """The machine and the versions that the figures depend on. Imports nothing heavy."""
    found = {"processor": _processor(), "cores": str(os.cpu_count()), "Python": platform.python_version()}
    for name in ("pil_neuralcodec", "numpy", "pillow", "imagecodecs", "torch"):
        if find_spec("PIL" if name == "pillow" else name):
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
