"""What encode, decode and verify do to one file, in a process of its own with ``--jobs``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, PngImagePlugin, TiffTags, UnidentifiedImageError

from ..deep import read_frames
from ..errors import LossWarning, UnsupportedError
from ..pillow_save import texts_of
from .batch import Job, written_whole
from .options import FORMATS

if TYPE_CHECKING:
    from ..metadata import Metadata
    from ..samples import Pixels


def encode(job: Job) -> str:
    """Write one image as one of our files; what became of it, in a line.

    Samples that Pillow would cut are read by another library and written as an array. Warns (`LossWarning`) of
    metadata that is not kept.
    """
    from .. import api
    from ..deep import cut_by_pillow

    options = dict(job.options)
    check = options.pop("check")
    with _source(job.source) as image:
        if image is None or cut_by_pillow(image) is not None:
            _encode_deep(job, image, check, options)
        else:
            image.load()  # some formats give their EXIF only behind the pixels
            frames = getattr(image, "n_frames", 1)
            keep = tiff_exif(image) if image.format == "TIFF" else {}
            with written_whole(job.target) as part:
                image.save(part, save_all=frames > 1, **keep, **options)
                if check:
                    with Image.open(part) as written:
                        _same(image, written)
    info = api.read_info(job.target)
    subpixels = info.width * info.height * info.bands * info.n_frames
    return f"{job.target}, {info.file_size:,} bytes, {8 * info.file_size / subpixels:.3f} bits/subpixel"


@contextmanager
def _source(path: Path) -> Iterator[Image.Image | None]:
    """The opened file, or None for a TIFF file that Pillow cannot identify."""
    try:
        image = Image.open(path)
    except UnidentifiedImageError:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise
        yield None
        return
    with image:
        yield image


def _encode_deep(job: Job, image: Image.Image | None, check: bool, options: dict[str, Any]) -> None:
    """Write samples that Pillow has no mode for, as an array."""
    import numpy as np

    from .. import api
    from ..metadata import Metadata
    from ..samples import Picture
    from ..writer import encode_frames

    arrays = read_frames(job.source, "TIFF" if image is None else image.format or "")
    metadata = Metadata()
    if image is not None:
        keep: dict[Any, Any] = dict(image.info)
        if image.format == "TIFF":
            keep |= tiff_exif(image)
        names = ("icc_profile", "exif", "xmp", "dpi", "comment")
        metadata = Metadata(**{name: keep[name] for name in names if keep.get(name)}, text=texts_of(image, {}))
    options = options | {"format": options["format"].lower()}
    data = encode_frames([Picture("", array, metadata=metadata) for array in arrays], **options)
    if check:
        for number, array in enumerate(arrays):
            written = api.decode(data, frame=number, model=options["model"], device=options["device"])
            if written.dtype != array.dtype or written.tobytes() != np.ascontiguousarray(array).tobytes():
                raise OSError("the file does not hold the image exactly")
    with written_whole(job.target) as part:
        part.write_bytes(data)


def tiff_exif(image: Image.Image) -> dict[str, Any]:
    """The descriptive tags of a TIFF image as EXIF. Warns of the tags that neither EXIF nor the format hold."""
    tags: Any = getattr(image, "tag_v2", {})
    exif, lost = Image.Exif(), []
    for tag in tags:
        if tag in _EXIF_IFDS:
            exif.get_ifd(tag).update(image.getexif().get_ifd(tag))
        elif tag in _EXIF_TAGS:
            exif[tag] = tags[tag]
        elif tag not in _TIFF_STRUCTURE:
            lost.append(TiffTags.lookup(tag).name if TiffTags.lookup(tag).name != "unknown" else str(tag))
    if lost:
        warnings.warn(f"TIFF tags are not kept: {', '.join(lost)}", LossWarning, stacklevel=2)
    return {"exif": exif.tobytes()} if len(exif) else {}


_EXIF_TAGS = (270, 271, 272, 274, 305, 306, 315, 316, 33432)
"""ImageDescription, Make, Model, Orientation, Software, DateTime, Artist, HostComputer, Copyright."""
_EXIF_IFDS = (34665, 34853)
"""The EXIF and GPS directories."""
_TIFF_STRUCTURE = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 282, 283, 284, 290, 291, 292)
    + (293, 296, 317, 318, 319, 320, 322, 323, 324, 325, 332, 334, 338, 339, 340, 341, 347, 512, 513, 514, 529, 530)
    + (531, 532, 700, 34675)
)
"""Tags that say how samples are stored, and those that are kept otherwise: resolution, XMP, ICC profile."""


def decode(job: Job) -> str:
    """Write one of our files as another format. Warns (`LossWarning`) of metadata that the format does not hold."""
    from .. import api

    model, device = job.options["model"], job.options["device"]
    suffix = job.target.suffix.lower()
    info = api.read_info(job.source)
    with written_whole(job.target) as part:
        if suffix == ".npy" or not info.mode:
            array = _stacked(job.source, info.n_frames, model, device)
            _write_array(part, suffix, array, info.n_frames, info.metadata)
            return f"{job.target}, {array.shape}, {array.dtype}"
        with _opened(job.source, model, device) as image:
            keep = {key: image.info[key] for key in ("exif", "xmp", "icc_profile", "dpi") if image.info.get(key)}
            keep |= _texts_for(image, suffix)
            if suffix == ".webp" and not job.options["lossy"]:
                keep |= {"lossless": True, "exact": True}
            image.save(part, save_all=getattr(image, "n_frames", 1) > 1, **keep)
            if not job.options["lossy"]:
                with Image.open(part) as written:
                    _same(image, written)
            return f"{job.target}, {image.width} x {image.height}, {image.mode}"


def _texts_for(image: Image.Image, suffix: str) -> dict[str, Any]:
    """What a target's ``save`` takes for texts and a comment. Warns of what it does not hold."""
    texts = dict(texts_of(image, {}) or ())
    comment = image.info.get("comment")
    if suffix in (".png", ".apng"):
        if comment:
            texts.setdefault("Comment", comment.decode("latin-1"))
        chunks = PngImagePlugin.PngInfo()
        for key, text in texts.items():
            chunks.add_itxt(key, text)
        return {"pnginfo": chunks} if texts else {}
    held = suffix in (".jpg", ".jpeg", ".gif", ".jp2")
    lost = [*texts, *(["comment"] if comment and not held else [])]
    if lost:
        warnings.warn(f"{suffix} files do not hold these texts: {', '.join(lost)}", LossWarning, stacklevel=2)
    return {"comment": comment} if comment and held else {}


def _stacked(path: Path, count: int, model: str | None, device: str | None) -> Pixels:
    """The array of a file; of several frames (N, H, W, C), where all are of one shape and type."""
    import numpy as np

    from .. import api

    frames = [api.decode(path, frame=number, model=model, device=device) for number in range(count)]
    kinds = {(frame.shape, str(frame.dtype)) for frame in frames}
    if len(kinds) > 1:
        raise ValueError(f"the {count} frames differ in shape or type, so one array cannot hold them")
    return frames[0] if count == 1 else np.stack(frames)


def _write_array(part: Path, suffix: str, array: Pixels, count: int, metadata: Metadata) -> None:
    """Write an array that is no Pillow image. Raises `UnsupportedError` where the target cannot hold it."""
    import numpy as np

    if suffix == ".npy":
        np.save(part, array)
        return
    try:
        if suffix in (".tif", ".tiff") and metadata.axes is None:
            tifffile: Any = import_module("tifffile")
            for frame in array if count > 1 else [array]:
                kind = "rgb" if frame.shape[2] in (3, 4) and frame.dtype.kind == "u" else "minisblack"
                squeezed = frame[:, :, 0] if frame.shape[2] == 1 else frame
                planes = {} if squeezed.ndim == 2 else {"planarconfig": "contig"}
                tifffile.imwrite(
                    part, squeezed, photometric=kind, metadata=None, append=part.exists(), **planes
                )  # one page each
            written = np.stack(read_frames(part, "TIFF")) if count > 1 else read_frames(part, "TIFF")[0]
        elif suffix == ".png" and count == 1 and array.ndim == 3 and array.shape[2] <= 4 and array.dtype == np.uint16:
            imagecodecs: Any = import_module("imagecodecs")
            part.write_bytes(imagecodecs.png_encode(array))
            written = read_frames(part, "PNG")[0]
        else:
            raise UnsupportedError(f"{suffix} files do not hold an array {array.shape} of {array.dtype}: use --to npy")
    except ImportError as error:
        raise UnsupportedError(
            f"an array needs tifffile and imagecodecs as {suffix}: install them, or --to npy"
        ) from error
    if written.dtype != array.dtype or written.tobytes() != array.tobytes():
        raise OSError(f"{suffix} does not hold this array exactly: use --to npy")
    kept = [name for name in ("icc_profile", "exif", "xmp", "dpi", "text", "comment") if getattr(metadata, name)]
    if kept:
        warnings.warn(f"{suffix} is written without {', '.join(kept)}", LossWarning, stacklevel=2)


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
        def _set_tile(self, pixels: Any) -> None:
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
