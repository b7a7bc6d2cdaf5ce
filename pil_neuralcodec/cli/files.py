"""What encode, decode and verify do to one file, in a process of its own with ``--jobs``."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from . import animations, kept, stacks
from .batch import size_and_share
from .deep import pictures, same, upright, write
from .options import FORMATS
from .sources import STREAM, Job, Skipped, on_disk
from .targets import fitting_suffix

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
                        if not _same(image, written):
                            raise OSError(f"{job.target} does not hold what the file holds")
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
        elif not all(frame.spec.mode for frame in reader.header.frames):
            arrays = _arrays(reader)
            write(arrays, [reader.metadata(index) for index in range(len(arrays))], part)
            what = f"{len(arrays)} x {arrays[0].shape}, {arrays[0].dtype}"
        else:
            what = _write_image(reader, job, suffix, part)
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

    from ..samples import mode_of

    arrays = _arrays(reader)
    if len({(array.shape, array.dtype.str) for array in arrays}) > 1:
        raise OSError(f"the {len(arrays)} frames differ in shape or type: one array does not hold them")
    array = np.stack(arrays) if len(arrays) > 1 else arrays[0]
    metadata = [reader.metadata(index) for index in range(len(arrays))]
    lost = stacks.write_array(array, metadata[0], part)
    lost += [name for one in metadata for name in one.present() if name not in ("axes", "text")]
    mode = reader.header.spec.mode
    if mode not in ("", mode_of(arrays[0])):
        lost.append(f"mode {mode}")
    if any(frame.duration is not None for frame in reader.header.frames):
        lost.append("durations")
    warn_of(lost)
    return f"{array.shape}, {array.dtype}"


def _write_image(reader: Reader, job: Job, suffix: str, part: Path) -> str:
    """Write a file of ours by Pillow, and compare what can be read of it."""
    lossy = job.options["lossy"]
    durations = [frame.duration for frame in reader.header.frames]
    format = Image.registered_extensions()[suffix]
    if len(durations) > 1 and format not in Image.SAVE_ALL:
        raise OSError(f"{format} holds one image, and this file {len(durations)} frames: {_instead(job, suffix)}")
    if format not in Image.OPEN and not lossy:
        advice = f"{_instead(job, suffix)}, or --lossy"
        raise OSError(f"what Pillow writes as {format} it does not read again, to compare: {advice}")
    with foreign_errors(), Image.open(job.source, formats=[name.upper() for name in FORMATS]) as image:
        assert isinstance(image, NeuralImageFile)
        image.use(model=job.options["model"], device=job.options["device"])
        keep = kept.options(image.info, image.text, suffix)
        if suffix in (".webp", ".jxl") and not lossy:
            keep |= {"lossless": True, "exact": True}
        try:
            if len(durations) > 1:
                animations.save(image, part, durations, reader.metadata().loop, keep)
            else:
                image.save(part, **keep)
        except OSError as error:
            if not str(error).startswith("cannot write mode"):
                raise
            raise OSError(f"{error}: {_instead(job, suffix)}") from error
        if not lossy:
            with Image.open(part) as written:
                if not _same(image, written, as_shown=True):
                    advice = f"{_instead(job, suffix)}, or --lossy"
                    raise OSError(f"{format} does not hold this {image.mode} image exactly: {advice}")
        with Image.open(part) if format in Image.OPEN else Image.new("L", (1, 1)) as written:
            image.seek(0)
            lost = kept.lost(image.info, image.text, written)
            warn_of(lost + (animations.lost(durations, written) if len(durations) > 1 else []))
        return f"{image.width} x {image.height}, {image.mode}"


def _instead(job: Job, suffix: str) -> str:
    """What to do where files of a suffix do not hold a file of ours."""
    fitting = fitting_suffix(job.source)
    return "try another format" if fitting == suffix else f"use --to {fitting[1:]}"


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


def _same(image: Image.Image, written: Image.Image, *, as_shown: bool = False) -> bool:
    """Whether both hold the same frames: mode, size, pixels, and colours of a palette.

    ``as_shown``: of several frames, colours and alpha alone.
    """
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
        alike = (shown.mode, shown.size) == (written.mode, written.size) and shown.tobytes() == written.tobytes()
        if alike and image.mode in ("P", "PA"):
            alike = shown.convert("RGBA").tobytes() == written.convert("RGBA").tobytes()
        same &= alike or (as_shown and count > 1 and animations.shown_alike(shown, written))
    return same
