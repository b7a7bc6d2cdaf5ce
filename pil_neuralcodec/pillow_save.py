"""Pillow support, writing: ``Image.save`` for the formats of this package."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from numbers import Real
from typing import IO, TYPE_CHECKING, Any, Final

from PIL import Image, ImageFile

from . import container
from .errors import UnsupportedError, warn
from .metadata import Metadata, Text
from .pillow_cut import cut_of_loaded

if TYPE_CHECKING:
    from .samples import Picture

OPTIONS: Final = (
    "model", "device", "fallback", "past", "append_images", "icc_profile", "exif", "xmp", "dpi", "transparency", "loop",
    "duration", "text", "comment",
)  # fmt: skip
"""What ``save`` takes."""
EXIF_TAGS: Final = (270, 271, 272, 274, 305, 306, 315, 316, 18246, 18249, 33432, 34665, 34853)
"""Tags of a TIFF file that an Exif block holds as well: description, make, model, software, dates, the Exif IFD, ..."""
KEPT_TAGS: Final = frozenset(
    [*EXIF_TAGS, *range(254, 260), 262, 266, 273, *range(277, 280), 282, 283, 284, 296, 297, 317, 320]
    + [*range(321, 326), 338, 339, 347, *range(512, 515), 529, 530, 531, 700, 34675]
)
"""Tags of a TIFF file that say how pixels are stored, or are kept otherwise (resolution, XMP, ICC profile)."""
_KINDS: Final[dict[str, tuple[Any, str]]] = {
    "icc_profile": ((bytes, bytearray), "bytes"),
    "exif": ((bytes, bytearray, Image.Exif), "bytes or an Image.Exif"),
    "xmp": ((bytes, bytearray, str), "bytes or a string"),
    "comment": ((bytes, bytearray, str), "bytes or a string"),
    "text": (Mapping, "a mapping of strings"),
    "loop": (int, "an integer"),
    "past": (bool, "True or False"),
}
"""Types of what ``save`` takes, and what they are called."""
_NO_TEXT: Final = frozenset(["duration", *(field.name for field in fields(Metadata) if field.name != "text")])
"""Keys of ``info`` whose values are no texts. A string there is one, of a PNG file, whose texts have any keys."""


class NeuralEncoder(ImageFile.PyEncoder):
    """Encodes frames; tile arguments are the pictures and the keyword arguments of ``writer.encode_frames``."""

    _pushes_fd = True

    def encode_to_pyfd(self) -> tuple[int, int]:
        """Called by Pillow, which does not look at how many bytes a file without a buffer has taken."""
        fd: Any = self.fd
        if not isinstance(fd, io.RawIOBase):
            return super().encode_to_pyfd()
        size, status, data = self.encode(0)
        while data:
            written = fd.write(data)
            if not written:
                raise OSError(f"the file takes no more, with {len(data)} bytes left to write")
            data = data[written:]
        return size, status

    def encode(self, bufsize: int) -> tuple[int, int, bytes]:
        """Called by Pillow."""
        from .writer import encode_frames

        pictures, options = self.args
        data = encode_frames(pictures, **options)
        return len(data), 1, data


def save(name: str, every_frame: bool, im: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Save ``im`` in the format ``name``, with all its frames and those of ``append_images`` if ``every_frame``.

    ``model``, ``device``, ``fallback`` and ``past`` are those of ``writer.encode_frames``. ``icc_profile``, ``exif``,
    ``xmp``, ``dpi``, ``transparency``, ``loop``, ``duration``, ``text`` and ``comment`` default to those of the images;
    None drops them. What other formats take (quality, optimize, progressive, ...) is ignored.
    """
    info = im.encoderinfo
    check_options(info)
    images = [im, *info.get("append_images", ())] if every_frame else [im]
    for one in images:
        if not isinstance(one, Image.Image):
            raise TypeError(f"append_images should be images, not {type(one).__name__}: Image.fromarray makes one")
    if any(0 in image.size for image in images):
        raise ValueError(f"cannot write empty image as {name}")
    options = {"format": name.lower(), "model": info.get("model"), "device": info.get("device"),
               "fallback": info.get("fallback", True), "past": info.get("past", True)}  # fmt: skip
    pictures = _pictures(images, every_frame, info, name)
    try:
        ImageFile._save(im, fp, [ImageFile._Tile(name.lower(), (0, 0, *im.size), 0, (pictures, options))])
    except Exception:
        raise
    except BaseException:
        _discard(fp, filename)
        raise


def _discard(fp: IO[bytes], filename: str | bytes) -> None:
    """Remove the file that Pillow opened, where saving was interrupted: it does so itself for errors only."""
    if isinstance(fp, io.BufferedRandom) and fp.name == filename:
        fp.close()
        with suppress(OSError):
            os.remove(filename)


def check_options(info: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` or ``ValueError`` for options that ``save`` cannot mean."""
    import difflib  # not above: who opens files does not need it

    for key in info:
        if key == "ordering":
            raise TypeError("save takes no ordering: pil_neuralcodec.encode does")
        near = [] if key in OPTIONS else difflib.get_close_matches(key.lower(), OPTIONS, 1, 0.8)
        if near:
            raise TypeError(f"save takes no {key}: do you mean {near[0]}?")
    if info.get("lossless") is not None and not info["lossless"]:
        raise ValueError("lossless=False: these formats are always lossless")
    for key, (types, text) in _KINDS.items():
        if info.get(key) is not None and not isinstance(info[key], types):
            raise TypeError(f"{key}={info[key]!r} should be {text}")
    if info.get("text") and not all(isinstance(part, str) for item in info["text"].items() for part in item):
        raise TypeError(f"text={info['text']!r} should be a mapping of strings")
    dpi = info.get("dpi")
    pair = isinstance(dpi, (tuple, list)) and len(dpi) == 2 and all(isinstance(one, Real) for one in dpi)
    if dpi is not None and not pair:
        raise TypeError(f"dpi={dpi!r} should be two numbers")
    if info.get("pnginfo") is not None:
        warn("pnginfo is not kept: pass text={...} instead")


def _pictures(images: Sequence[Image.Image], every_frame: bool, info: dict[str, Any], name: str) -> Iterator[Picture]:
    """The frames of ``images``, each loaded when its turn comes; the images are left at the frame where they were."""
    import numpy as np

    from .samples import Picture, to_pixels

    number = 0
    for im in images:
        cut = cut_of_loaded(im)
        if cut is not None:
            warn(f"Pillow cuts {cut} of this {im.format} file to mode {im.mode}: `neuralcodec encode` keeps all of it")
        present = im.tell()
        frames = range(getattr(im, "n_frames", 1)) if every_frame else (present,)
        try:
            for frame in frames:
                if len(frames) > 1:  # some formats of one frame, as SPIDER, do not seek at all
                    im.seek(frame)
                im.load()
                if im.mode not in container.MODES:
                    raise UnsupportedError(f"cannot write mode {im.mode} as {name}")
                duration = _duration(info.get("duration", _came_with(im).get("duration")), number)
                yield Picture(im.mode, to_pixels(np.asarray(im)), duration, metadata_of(im, info))
                number += 1
        finally:
            if len(frames) > 1:
                im.seek(present)


def _duration(value: Any, number: int) -> int | None:
    """Milliseconds of frame ``number``: ``save`` takes one value for all frames or a sequence."""
    if isinstance(value, (list, tuple)):
        if number >= len(value):
            raise ValueError(f"duration has {len(value)} entries, fewer than there are frames")
        value = value[number]
    if value is None:
        return None
    if not isinstance(value, Real):
        raise TypeError(f"duration={value!r} should be a number of milliseconds, or one for each frame")
    if not 0 <= float(value) < 2**63:
        raise ValueError(f"duration={value!r} should be a number of milliseconds from 0 on")
    return round(float(value))


def metadata_of(im: Image.Image, info: Mapping[str, Any]) -> Metadata:
    """What is kept of a frame: arguments of ``save``, then what the image came with.

    Warns of what the image came with and no file of ours holds.
    """
    both: dict[Any, Any] = {**_came_with(im), **info}
    exif = both.get("exif")
    tags = getattr(im, "tag_v2", None)
    if tags is not None:
        if exif is None and "exif" not in info:
            exif = exif_of_tags(im.getexif())
        warn_of(name_of_tag(tag) for tag in tags if tag not in KEPT_TAGS)
    palette = None
    if im.mode in ("P", "PA") and im._im is not None:
        mode = im.im.getpalettemode()
        palette = mode, im.im.getpalette(mode, mode)
    warn_of(lost_of_info(im.info))
    return Metadata(
        icc_profile=_bytes(both.get("icc_profile")),
        exif=_bytes(exif.tobytes() if isinstance(exif, Image.Exif) else exif),
        xmp=_bytes(both.get("xmp")),
        palette=palette,
        transparency=both.get("transparency"),
        dpi=both.get("dpi"),
        loop=both.get("loop"),
        text=texts_of(info["text"] if "text" in info else _text_of(im.info)) or None,
        comment=_bytes(both.get("comment")),
    )


def _came_with(im: Image.Image) -> dict[Any, Any]:
    """An image's ``info`` without its texts, and without what is no bytes where bytes are kept."""
    texts = [key for key in _NO_TEXT if isinstance(im.info.get(key), str)]
    return {key: value for key, value in im.info.items() if key not in [*texts, *_no_bytes(im.info)]}


def _no_bytes(info: Mapping[Any, Any]) -> list[str]:
    """Keys of ``info`` whose values should be bytes, and are neither these nor a text."""
    keys = [key for key in ("icc_profile", "exif", "xmp", "comment") if info.get(key) is not None]
    return [key for key in keys if not isinstance(info[key], (*_KINDS[key][0], str))]


def exif_of_tags(tags: Mapping[int, Any]) -> bytes | None:
    """An Exif block of those tags of a TIFF file that it can hold; those that it cannot are warned of."""
    kept = Image.Exif()
    for tag in EXIF_TAGS:
        if tag in tags:
            value = tags.get_ifd(tag) if tag in (34665, 34853) and isinstance(tags, Image.Exif) else tags[tag]
            one = Image.Exif()
            one[tag] = value
            try:
                one.tobytes()
            except (TypeError, ValueError, AttributeError, struct.error):
                warn_of([name_of_tag(tag)])
                continue
            kept[tag] = value
    return kept.tobytes() if len(kept) else None


def name_of_tag(tag: int) -> str:
    """A tag of a TIFF file, by name and number."""
    from PIL import TiffTags

    return f"TIFF tag {TiffTags.lookup(tag).name} ({tag})"


def lost_of_info(info: Mapping[Any, Any]) -> list[str]:
    """Names of what an image came with and no file of ours holds."""
    names = {"photoshop": "IPTC and Photoshop data", "flashpix": "FlashPix data"}
    if not info.get("icc_profile") and "srgb" not in info:
        names |= {"gamma": "gamma", "chromaticity": "chromaticity"}
    return [text for key, text in names.items() if info.get(key)] + _no_bytes(info)


def warn_of(lost: Iterator[str] | Sequence[str]) -> None:
    """Warn of what is not kept."""
    names = list(dict.fromkeys(lost))
    if names:
        warn(f"not kept: {', '.join(names)}")


def _bytes(value: Any) -> bytes | None:
    return (value.encode() if isinstance(value, str) else value) or None


def _text_of(info: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The texts in an image's ``info``. Pillow puts the XMP packet of a PNG file there twice."""
    others = ["compression", *(["XML:com.adobe.xmp"] if "xmp" in info else [])]
    return {key: value for key, value in info.items() if key not in others}


def texts_of(texts: Mapping[Any, Any] | None) -> tuple[Text, ...]:
    """The strings of a mapping, as texts."""
    return tuple(
        Text(str(key), str(value), getattr(value, "lang", None) or "", getattr(value, "tkey", None) or "")
        for key, value in (texts or {}).items()
        if isinstance(key, str) and isinstance(value, str) and key
    )
