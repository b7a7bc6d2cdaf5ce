"""What encode, decode and verify do to one file, in a process of its own with ``--jobs``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

from PIL import Image

from ..metadata import Metadata
from ..pillow_plugin import NeuralImageFile
from ..pillow_save import warn_of
from .batch import Job, written_whole
from .deep import pictures, same, write
from .options import FORMATS

if TYPE_CHECKING:
    from ..samples import Picture, Pixels


def encode(job: Job) -> str:
    """Write one image as one of our files; what became of it, in a line."""
    options = dict(job.options)
    check = options.pop("check")
    deep = pictures(job.source)
    if deep is not None:
        return _encode_arrays(job, deep, check, options)
    with Image.open(job.source) as image:
        image.load()  # some formats give their EXIF only behind the pixels
        frames = getattr(image, "n_frames", 1)
        with written_whole(job.target) as part:
            image.save(part, save_all=frames > 1, **options)
            if check:
                with Image.open(part) as written:
                    _same(image, written)
    return _size(job.target)


def _encode_arrays(job: Job, frames: list[Picture], check: bool, options: dict[str, Any]) -> str:
    """Write the frames of a file that Pillow does not read as they are."""
    from .. import api
    from ..writer import encode_frames

    with written_whole(job.target) as part:
        part.write_bytes(encode_frames(frames, options.pop("format").lower(), **options))
        if check:
            with catch_warnings():
                simplefilter("ignore")  # of the first time
                held = pictures(job.source) or []
            written = [api.decode(part, frame=index, max_pixels=None) for index in range(len(frames))]
            if not same([one.pixels for one in held], written):
                raise OSError(f"{job.target} does not hold what the file holds")
    return _size(job.target)


def _size(target: Path) -> str:
    from .. import api

    info = api.read_info(target)
    subpixels = info.width * info.height * info.bands * info.n_frames
    return f"{target}, {info.file_size:,} bytes, {8 * info.file_size / subpixels:.3f} bits/subpixel"


def decode(job: Job) -> str:
    """Write one of our files as another format."""
    from .. import api

    model, device = job.options["model"], job.options["device"]
    with written_whole(job.target) as part:
        if job.target.suffix.lower() == ".npy":
            return f"{job.target}, {_decode_to_npy(job, part)}"
        if not api.read_info(job.source).mode:
            arrays = _arrays(job)
            write(arrays, _metadata_of_frames(job), part)
            return f"{job.target}, {len(arrays)} x {arrays[0].shape}, {arrays[0].dtype}"
        with _opened(job.source, model, device) as image:
            keep = _kept(image, job.target.suffix.lower())
            if job.target.suffix.lower() == ".webp" and not job.options["lossy"]:
                keep |= {"lossless": True, "exact": True}
            image.save(part, save_all=getattr(image, "n_frames", 1) > 1, **keep)
            if not job.options["lossy"]:
                with Image.open(part) as written:
                    _same(image, written)
            with Image.open(part) as written:
                _warn_of_lost(image, written)
            return f"{job.target}, {image.width} x {image.height}, {image.mode}"


def _decode_to_npy(job: Job, part: Path) -> str:
    """Write a file of ours as one array: of several frames a stack."""
    import numpy as np

    from .. import api

    arrays = _arrays(job)
    if len({(array.shape, array.dtype.str) for array in arrays}) > 1:
        raise OSError(f"the {len(arrays)} frames differ in shape or type: one .npy array does not hold them")
    array = np.stack(arrays) if len(arrays) > 1 else arrays[0]
    np.save(part, array)
    lost = [name for one in _metadata_of_frames(job) for name in one.present() if name != "axes"]
    if any(duration is not None for duration in api.read_info(job.source).durations):
        lost.append("durations")
    warn_of(lost)
    return f"{array.shape}, {array.dtype}"


def _arrays(job: Job) -> list[Pixels]:
    """Every frame of a file of ours."""
    from .. import api

    model, device = job.options["model"], job.options["device"]
    count = api.read_info(job.source).n_frames
    return [api.decode(job.source, frame=index, model=model, device=device) for index in range(count)]


def _metadata_of_frames(job: Job) -> list[Metadata]:
    from ..reader import Reader

    with job.source.open("rb") as file:
        reader = Reader(file)
        return [reader.metadata(index) for index in range(len(reader.header.frames))]


def _kept(image: NeuralImageFile, suffix: str) -> dict[str, Any]:
    """Options of ``save`` that make a file of another format keep what ours holds."""
    from PIL.PngImagePlugin import PngInfo

    info = image.info
    keep = {key: info[key] for key in ("exif", "xmp", "icc_profile", "dpi", "comment") if info.get(key)}
    if Image.registered_extensions().get(suffix) == "PNG":
        keep["pnginfo"] = PngInfo()
        for key, value in image.text.items():
            keep["pnginfo"].add_text(key, value)
        if keep.get("xmp"):
            keep["pnginfo"].add_itxt("XML:com.adobe.xmp", keep["xmp"].decode("utf-8", "surrogateescape"))
    return keep


def _warn_of_lost(image: NeuralImageFile, written: Image.Image) -> None:
    """Warn of what a file of ours holds and the written file does not."""
    image.seek(0)
    written.load()  # some formats give their metadata only behind the pixels
    there = dict(written.info)
    if hasattr(written, "tag_v2") and len(written.getexif()):
        there["exif"] = True
    names = ["exif", "xmp", "icc_profile", "dpi", "comment", "transparency", "loop", "duration"]
    lost = [name for name in names if name in image.info and name not in there]
    if getattr(written, "n_frames", 1) > 1 and "loop" in lost and not image.info["loop"]:
        lost.remove("loop")
    warn_of(lost + [f"text {key}" for key, value in image.text.items() if there.get(key) != value])


def _opened(path: Path, model: str | None, device: str | None) -> NeuralImageFile:
    """A file of ours, which a model and a device decode."""
    image = Image.open(path, formats=[name.upper() for name in FORMATS])
    assert isinstance(image, NeuralImageFile)
    image.use(model=model, device=device)
    return image


def verify(job: Job) -> str:
    """Check one file's bytes, and its pixels too with ``deep``."""
    from .. import container
    from ..reader import Reader

    with job.source.open("rb") as file:
        header = container.verify(file)
        if not job.options["deep"]:
            return "every byte checksum is right"
        for frame in range(len(header.frames)):
            Reader(file, header, model=job.options["model"], device=job.options["device"]).frame(frame)
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
