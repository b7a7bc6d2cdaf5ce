"""Pillow support, writing: ``Image.save`` for the formats of this package."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from PIL import Image, ImageFile

from . import container
from .deep import cut_by_pillow
from .errors import LossWarning, UnsupportedError
from .metadata import Metadata

if TYPE_CHECKING:
    from .samples import Picture

_OPTIONS: Final = (
    *("model", "device", "fallback", "append_images", "duration", "loop", "transparency"),
    *("icc_profile", "exif", "xmp", "dpi", "text", "comment"),
)
"""The arguments of ``save`` that mean something here."""
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "icc_profile": (bytes,),
    "exif": (bytes, Image.Exif),
    "xmp": (bytes, str),
    "comment": (bytes, str),
    "text": (Mapping,),
    "dpi": (tuple, list),
}


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

    ``model``, ``device`` and ``fallback`` are passed on to ``writer.encode_frames``;
    ``icc_profile``, ``exif``, ``xmp``, ``dpi``, ``text``, ``comment``, ``transparency``, ``loop`` and ``duration``
    default to those of the images; None drops them. What other formats take (quality, optimize, progressive, ...) is
    ignored.

    Raises `TypeError` for an argument of a wrong type and for one that is a misspelled one of these, `ValueError` for
    ``lossless=False`` and an unknown device. Warns (`LossWarning`) where Pillow kept only 8 bits of the file's samples.
    """
    from .nets.backends import check_device

    info = im.encoderinfo
    _check(info, name)
    check_device(info.get("device"))
    images = [im, *info.get("append_images", ())] if every_frame else [im]
    if any(0 in image.size for image in images):
        raise ValueError(f"cannot write empty image as {name}")
    for image in images:
        if (cut := cut_by_pillow(image)) is not None:
            warnings.warn(
                f"{getattr(image, 'filename', '') or 'the image'}: its file has {cut}."
                " `neuralcodec encode` or pil_neuralcodec.encode keep them",
                LossWarning,
                stacklevel=4,
            )
    options = {
        "format": name.lower(),
        "model": info.get("model"),
        "device": info.get("device"),
        "fallback": info.get("fallback", True),
    }
    pictures = _pictures(images, every_frame, info, name)
    ImageFile._save(im, fp, [ImageFile._Tile(name.lower(), (0, 0, *im.size), 0, (pictures, options))])


def _check(info: Mapping[str, Any], name: str) -> None:
    """Refuse arguments of ``save`` that cannot mean what they say."""
    if info.get("lossless") not in (None, True, 1):
        raise ValueError(f"{name} files are always lossless: leave lossless={info['lossless']!r} out")
    for key in info:
        if key not in _OPTIONS and (close := difflib.get_close_matches(key, _OPTIONS, 1, 0.8)):
            raise TypeError(f"unknown argument {key!r}: did you mean {close[0]!r}?")
    for key, types in _TYPES.items():
        value = info.get(key)
        if value is not None and not isinstance(value, types):
            wanted = " or ".join(kind.__name__ for kind in types)
            raise TypeError(f"{key} should be {wanted}, not {type(value).__name__}")
    dpi = info.get("dpi")
    if dpi is not None and (
        len(dpi) != 2 or not all(isinstance(value, (int, float)) or _is_ratio(value) for value in dpi)
    ):
        raise TypeError(f"dpi should be two numbers, not {dpi!r}")
    for key, value in (info.get("text") or {}).items():
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError(f"text should map strings to strings, not {key!r} to {value!r}")


def _is_ratio(value: object) -> bool:
    return hasattr(value, "numerator") and hasattr(value, "denominator")


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
    """What is kept of a frame: arguments of ``save``, then what the image came with."""
    both: dict[Any, Any] = {**im.info, **info}
    exif, xmp, comment = both.get("exif"), both.get("xmp"), both.get("comment")
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
        text=texts_of(im, info),
        comment=(comment.encode() if isinstance(comment, str) else comment) or None,
    )


def texts_of(im: Image.Image, info: Mapping[str, Any]) -> tuple[tuple[str, str], ...] | None:
    """The texts that were passed, or that the file had, but for those that Pillow gives as EXIF or XMP."""
    texts = info["text"] if "text" in info else getattr(im, "text", None)
    if not isinstance(texts, Mapping):
        return None
    double = {"XML:com.adobe.xmp": "xmp", "Raw profile type exif": "exif"}
    kept = [(str(k), str(v)) for k, v in texts.items() if not (k in double and im.info.get(double[k]))]
    return tuple(kept) or None
