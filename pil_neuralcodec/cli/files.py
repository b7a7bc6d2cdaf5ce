"""What encode, decode and verify do to one file, in a process of its own with ``--jobs``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from .batch import Job, written_whole
from .options import FORMATS


def encode(job: Job) -> str:
    """Write one image as one of our files; what became of it, in a line."""
    from .. import api

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
    info = api.read_info(job.target)
    subpixels = info.width * info.height * info.bands * info.n_frames
    return f"{job.target}, {info.file_size:,} bytes, {8 * info.file_size / subpixels:.3f} bits/subpixel"


def decode(job: Job) -> str:
    """Write one of our files as another format."""
    from .. import api

    model, device = job.options["model"], job.options["device"]
    with written_whole(job.target) as part:
        if job.target.suffix.lower() == ".npy":
            import numpy as np

            array = api.decode(job.source, model=model, device=device)
            np.save(part, array)
            return f"{job.target}, {array.shape}, {array.dtype}"
        with _opened(job.source, model, device) as image:
            keep = {key: image.info[key] for key in ("exif", "xmp", "icc_profile", "dpi") if image.info.get(key)}
            if job.target.suffix.lower() == ".webp" and not job.options["lossy"]:
                keep |= {"lossless": True, "exact": True}
            image.save(part, save_all=getattr(image, "n_frames", 1) > 1, **keep)
            if not job.options["lossy"]:
                with Image.open(part) as written:
                    _same(image, written)
            return f"{job.target}, {image.width} x {image.height}, {image.mode}"


def _opened(path: Path, model: str | None, device: str | None) -> Image.Image:
    """A file of ours. Pillow's ``open`` takes no model and no device: where one is given, frames are decoded with it
    when shown."""
    image = Image.open(path, formats=[name.upper() for name in FORMATS])
    if model is None and device is None:
        return image
    from ..pillow_plugin import NeuralImageFile
    from ..reader import Reader

    kind = type(image)
    image.close()
    assert issubclass(kind, NeuralImageFile)

    class Told(kind):  # type: ignore[misc, valid-type]
        def _set_tile(self, planes: Any) -> None:
            super()._set_tile(Reader(self.fp, self._header, model=model, device=device).frame(self._frame))

    return Told(path)


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
