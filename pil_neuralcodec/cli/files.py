"""What encode, decode and verify do to one file, in a process of its own with ``--jobs``."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter, warn

from PIL import Image, UnidentifiedImageError

from .. import plugins
from ..atomic import written_whole
from ..container import MAX_PIXELS, read_header
from ..pillow_plugin import NeuralImageFile
from ..pillow_save import warn_of
from ..uncut import foreign_errors
from . import stacks
from .batch import size_and_share
from .deep import is_writable_dpi, pictures, same, upright, values_of_exif, write
from .options import FORMATS
from .sources import STREAM, Job, Skipped, on_disk

if TYPE_CHECKING:
    from ..reader import Reader
    from ..samples import Picture, Pixels


def encode(job: Job) -> str:
    """Write one image as one of our files; what became of it, in a line."""
    plugins.load()
    try:
        return _streamed(_encode, job)
    except UnidentifiedImageError as error:
        package = plugins.needed(job.source.suffix)
        if package is None:
            raise
        raise OSError(f"install {package} to read it (pip install {package})") from error


def decode(job: Job) -> str:
    """Write one of our files as another format; what became of it, in a line."""
    plugins.load()
    return _streamed(_decode, job)


def _streamed(work: Callable[[Job], str], job: Job) -> str:
    """``work``, with files in the place of stdin and stdout."""
    if STREAM not in (job.source, job.target):
        return work(job)
    with on_disk(job.source) as source, tempfile.TemporaryDirectory() as folder:
        filed = replace(job, source=source)
        if job.target == STREAM:
            filed = replace(filed, target=Path(folder, "stdout" + job.options["suffix"]))
        message = work(filed)
        sizes = filed.source.stat().st_size, filed.target.stat().st_size
        message = f"{size_and_share(*sizes)}, {message}"
        if job.target == STREAM:
            sys.stdout.buffer.write(filed.target.read_bytes())
    return message


@contextmanager
def _written(job: Job) -> Iterator[Path]:
    """A path to write a job's result to."""
    job.target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(job.target) as part:
        yield part
        if job.options["preserve"]:
            shutil.copystat(job.source, part)


def _encode(job: Job) -> str:
    from .. import api

    options = {key: value for key, value in job.options.items() if key not in _OURS}
    check, was_jpeg = job.options["check"], False
    arrays = _pictures(job)
    with _written(job) as part:
        if arrays is not None:
            _encode_arrays(job, arrays, part, check, options)
        else:
            with foreign_errors(), Image.open(job.source) as image:
                image.load()  # some formats give their EXIF only behind the pixels
                image.save(part, save_all=getattr(image, "n_frames", 1) > 1, **options)
                if check:
                    with Image.open(part) as written:
                        _same(image, written)
                was_jpeg = image.format in ("JPEG", "MPO")
        if part.stat().st_size > job.source.stat().st_size:
            if job.options["skip_larger"]:
                raise Skipped("larger than the source")
            if was_jpeg:
                text = "larger than the JPEG file, whose coefficients are not found again: better keep that file"
                warn(text, stacklevel=2)
    info = api.read_info(job.target)
    how = ", as the coefficients of a JPEG file" if info.methods == ("jpeg",) else ""
    return f"{info.bits_per_subpixel:.3f} bits/subpixel{how}"


_OURS = ("axes", "check", "preserve", "skip_larger", "suffix")
"""Options that are for this module."""


def _pictures(job: Job) -> list[Picture] | None:
    """What a file holds that Pillow does not read as it is: arrays, or samples and frames that it would cut."""
    axes = job.options["axes"]
    stack = stacks.read(job.source, axes)
    if stack is not None:
        return [stack]
    if axes is not None:
        warn(f"it holds images, not an array with axes: --axes {axes} means nothing to them", stacklevel=2)
    return pictures(job.source)


def _encode_arrays(job: Job, frames: list[Picture], part: Path, check: bool, options: dict[str, Any]) -> None:
    """Write the frames of a file that Pillow does not read as they are."""
    from ..reader import Reader
    from ..writer import encode_frames

    for frame in frames:
        height, width = frame.pixels.shape[:2]
        if height * width > MAX_PIXELS:
            raise OSError(f"an array of {height * width:,} pixels, and a file holds {MAX_PIXELS:,}: split it")
    part.write_bytes(encode_frames(frames, **options))
    if check:
        with catch_warnings():
            simplefilter("ignore")  # of the first time
            held = _pictures(job) or []
        with part.open("rb") as file:
            reader = Reader(file)
            written = [reader.frame(index) for index in range(len(frames))]
        if not same([one.pixels for one in held], written):
            raise OSError(f"{job.target} does not hold what the file holds")


def _decode(job: Job) -> str:
    suffix = job.target.suffix.lower()
    with _written(job) as part, _opened(job) as reader:
        axes = reader.metadata().axes
        if suffix in stacks.ARRAYS:
            what = _write_array(reader, part)
        elif axes is not None and suffix in (".tif", ".tiff"):
            arrays = _arrays(reader)
            stacks.write_tiff(arrays[0], axes, reader.metadata(), part)
            what = f"{arrays[0].shape}, {arrays[0].dtype}"
        elif not reader.header.spec.mode:
            arrays = _arrays(reader)
            write(arrays, [reader.metadata(index) for index in range(len(arrays))], part)
            what = f"{len(arrays)} x {arrays[0].shape}, {arrays[0].dtype}"
        else:
            what = _write_image(job, suffix, part)
    return what


@contextmanager
def _opened(job: Job) -> Iterator[Reader]:
    """A file of ours."""
    from ..reader import Reader

    with job.source.open("rb") as file:
        header = read_header(file, max_pixels=MAX_PIXELS)
        yield Reader(file, header, model=job.options["model"], device=job.options["device"])


def _arrays(reader: Reader) -> list[Pixels]:
    """Every frame of a file of ours."""
    from .. import api

    return [api.decode_opened(reader, frame=index) for index in range(len(reader.header.frames))]


def _write_array(reader: Reader, part: Path) -> str:
    """Write a file of ours as one .npy or .npz array: of several frames a stack."""
    import numpy as np

    arrays = _arrays(reader)
    if len({(array.shape, array.dtype.str) for array in arrays}) > 1:
        raise OSError(f"the {len(arrays)} frames differ in shape or type: one array does not hold them")
    array = np.stack(arrays) if len(arrays) > 1 else arrays[0]
    metadata = [reader.metadata(index) for index in range(len(arrays))]
    lost = stacks.write_array(array, metadata[0], part)
    lost += [name for one in metadata for name in one.present() if name not in ("axes", "text")]
    if any(frame.duration is not None for frame in reader.header.frames):
        lost.append("durations")
    warn_of(lost)
    return f"{array.shape}, {array.dtype}"


def _write_image(job: Job, suffix: str, part: Path) -> str:
    """Write a file of ours by Pillow, and compare what can be read of it."""
    lossy = job.options["lossy"]
    with foreign_errors(), Image.open(job.source, formats=[name.upper() for name in FORMATS]) as image:
        assert isinstance(image, NeuralImageFile)
        image.use(model=job.options["model"], device=job.options["device"])
        keep = _kept(image, suffix)
        if suffix in (".webp", ".jxl") and not lossy:
            keep |= {"lossless": True, "exact": True}
        image.save(part, save_all=image.n_frames > 1, **keep)
        if not lossy:
            with Image.open(part) as written:
                _same(image, written)
        with Image.open(part) as written:
            _warn_of_lost(image, written)
        return f"{image.width} x {image.height}, {image.mode}"


def _kept(image: NeuralImageFile, suffix: str) -> dict[str, Any]:
    """Options of ``save`` that make a file of another format keep what ours holds."""
    from PIL.PngImagePlugin import PngInfo

    info = image.info
    keep = {key: info[key] for key in ("exif", "xmp", "icc_profile", "comment") if info.get(key)}
    if is_writable_dpi(info.get("dpi")):
        keep["dpi"] = info["dpi"]
    if suffix in (".tif", ".tiff") and not values_of_exif(info.get("exif")):
        keep.pop("exif", None)  # its values become tags
    if Image.registered_extensions().get(suffix) == "PNG":
        keep["pnginfo"] = PngInfo()
        for key, value in image.text.items():
            with suppress(UnicodeEncodeError):  # keys are Latin-1; `_warn_of_lost` tells what is not kept
                keep["pnginfo"].add_text(key, value)
        if keep.get("xmp"):
            with suppress(UnicodeDecodeError):
                keep["pnginfo"].add_itxt("XML:com.adobe.xmp", keep["xmp"].decode())
    return keep


def _warn_of_lost(image: NeuralImageFile, written: Image.Image) -> None:
    """Warn of what a file of ours holds and the written file does not."""
    image.seek(0)
    written.load()  # some formats give their metadata only behind the pixels
    there = dict(written.info)
    if hasattr(written, "tag_v2") and len(written.getexif()) and values_of_exif(image.info.get("exif")):
        there["exif"] = True
    if not is_writable_dpi(image.info.get("dpi")):
        there.pop("dpi", None)  # it is made up
    names = ["exif", "xmp", "icc_profile", "dpi", "comment", "transparency", "loop"]
    names += ["duration"] if image.n_frames > 1 else []  # AVIF tells one of still images, too
    lost = [name for name in names if name in image.info and name not in there]
    if getattr(written, "n_frames", 1) > 1 and "loop" in lost and not image.info["loop"]:
        lost.remove("loop")
    warn_of(lost + [f"text {key}" for key, value in image.text.items() if there.get(key) != value])


def verify(job: Job) -> str:
    """Check one file's bytes, and its pixels too with ``deep``."""
    from .. import container
    from ..reader import Reader

    with on_disk(job.source) as source, source.open("rb") as file:
        header = container.verify(file)
        if not job.options["deep"]:
            return "every byte checksum is right"
        reader = Reader(file, header, model=job.options["model"], device=job.options["device"])
        for frame in range(len(header.frames)):
            reader.frame(frame)
    return "every byte and pixel checksum is right"


def _same(image: Image.Image, written: Image.Image) -> None:
    """Raise ``OSError`` unless both hold the same frames: mode, size, pixels, and colours of a palette."""
    count = getattr(image, "n_frames", 1)
    same = getattr(written, "n_frames", 1) == count
    for frame in range(count if same else 0):
        if count > 1:
            image.seek(frame)
            written.seek(frame)
        written.load()
        shown = image
        if written.format == "TIFF":  # Pillow turns what it reads as the orientation tells
            shown = upright(image)
        same &= (shown.mode, shown.size) == (written.mode, written.size) and shown.tobytes() == written.tobytes()
        if same and image.mode in ("P", "PA"):
            same = shown.convert("RGBA").tobytes() == written.convert("RGBA").tobytes()
    if not same:
        raise OSError(f"{written.format} does not hold this {image.mode} image exactly: try another format, or --lossy")
