"""Pillow support, writing: ``Image.save`` for the formats of this package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageFile

from . import container
from .errors import UnsupportedError
from .metadata import Metadata

if TYPE_CHECKING:
    from .samples import Picture


class NeuralEncoder(ImageFile.PyEncoder):
    """Encodes frames; tile arguments are the pictures and the keyword arguments of ``writer.encode_frames``."""

    _pushes_fd = True

    def encode(self, bufsize: int) -> tuple[int, int, bytes]:
        """Called by Pillow."""
        from .writer import encode_frames

        pictures, options = self.args
        data = encode_frames(pictures, **options)
        return len(data), 1, data


def save(name: str, every_frame: bool, im: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Save ``im`` in the format ``name``, with all its frames and those of ``append_images`` if ``every_frame``.

    ``model``, ``device``, ``fallback`` and, of BSW, ``ordering`` are passed on to ``writer.encode_frames``;
    ``icc_profile``, ``dpi``, ``transparency``, ``loop`` and ``duration`` default to those of the images, ``exif`` and
    ``xmp`` to none. What other formats take (quality, optimize, progressive, ...) is ignored.
    """
    info = im.encoderinfo
    images = [im, *info.get("append_images", ())] if every_frame else [im]
    if any(0 in image.size for image in images):
        raise ValueError(f"cannot write empty image as {name}")
    options = {"format": name.lower(), "model": info.get("model"), "device": info.get("device"),
               "fallback": info.get("fallback", True),
               "ordering": info.get("ordering") if name == "BSW" else None}  # fmt: skip
    pictures = _pictures(images, every_frame, info, name)
    ImageFile._save(im, fp, [ImageFile._Tile(name.lower(), (0, 0, *im.size), 0, (pictures, options))])


def _pictures(images: Sequence[Image.Image], every_frame: bool, info: dict[str, Any], name: str) -> Iterator[Picture]:
    """The frames of ``images``, each loaded when its turn comes; the images are left at the frame where they were."""
    import numpy as np

    from .samples import Picture, to_pixels

    number = 0
    for im in images:
        present = im.tell()
        try:
            for frame in range(getattr(im, "n_frames", 1)) if every_frame else (present,):
                im.seek(frame)
                im.load()
                if im.mode not in container.MODES:
                    raise UnsupportedError(f"cannot write mode {im.mode} as {name}")
                duration = _duration(info.get("duration", im.info.get("duration")), number)
                yield Picture(im.mode, to_pixels(np.asarray(im)), duration, _metadata_of(im, info))
                number += 1
        finally:
            im.seek(present)


def _duration(value: Any, number: int) -> int | None:
    """Milliseconds of frame ``number``: ``save`` takes one value for all frames or a sequence."""
    if isinstance(value, (list, tuple)):
        if number >= len(value):
            raise ValueError(f"duration has {len(value)} entries, fewer than there are frames")
        value = value[number]
    return None if value is None else round(value)


def _metadata_of(im: Image.Image, info: dict[str, Any]) -> Metadata:
    """What is kept of a frame: arguments of ``save``, then what the image came with; Exif and XMP as arguments only."""
    both: dict[Any, Any] = {**im.info, **info}
    exif, xmp = info.get("exif"), info.get("xmp")
    palette = None
    if im.mode in ("P", "PA"):
        mode = im.im.getpalettemode()
        palette = mode, im.im.getpalette(mode, mode)
    return Metadata(
        icc_profile=both.get("icc_profile") or None,
        exif=(exif.tobytes() if isinstance(exif, Image.Exif) else exif) or None,
        xmp=(xmp.encode() if isinstance(xmp, str) else xmp) or None,
        palette=palette,
        transparency=both.get("transparency"),
        dpi=both.get("dpi"),
        loop=both.get("loop"),
    )
