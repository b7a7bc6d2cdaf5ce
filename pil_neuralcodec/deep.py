"""Files whose samples Pillow cuts when it loads them, and how to read these samples whole.

Pillow has no mode for several bands of more than 8 bits. It opens such files in a mode of 8 bits and says nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from .errors import UnsupportedError

if TYPE_CHECKING:
    from .samples import Pixels

_HEAD = 1 << 16
"""Bytes from the start of a file in which its kind of samples is looked for."""


def cut_by_pillow(image: Image.Image) -> str | None:
    """What Pillow's copy of an opened file does not hold, in words; None where it holds all.

    The file is looked at by its name. None too where the image has no file, or it is gone.
    """
    if image.format == "TIFF":
        return _tiff(image)
    look = _LOOKS.get(image.format or "")
    name = getattr(image, "filename", "")
    if look is None or not name:
        return None
    try:
        with open(name, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    bits = look(head)
    deep = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
    return f"samples of {bits} bits, of which Pillow keeps 8" if bits > 8 and deep else None


def read_frames(path: str | os.PathLike[str], format: str) -> list[Pixels]:
    """The frames of a file in the Pillow format ``format``, each (H, W, C) with the samples as they are in the file.

    Raises `UnsupportedError` where no reader for the format is installed, `OSError` for a file that is damaged.
    """
    reader = _READERS.get(format)
    if reader is None:
        raise UnsupportedError(f"no reader keeps the samples of this {format} file: convert it to TIFF first")
    try:
        frames = reader(Path(path))
    except ImportError as error:
        raise UnsupportedError(
            f"Pillow cannot hold the samples of this {format} file: pip install tifffile imagecodecs"
        ) from error
    except (ValueError, RuntimeError, LookupError) as error:
        raise OSError(f"cannot read this {format} file: {error}") from error
    if any(frame.ndim not in (2, 3) or not frame.size for frame in frames):
        raise UnsupportedError(f"cannot read {format} images of shape {frames[0].shape}")
    return [frame if frame.ndim == 3 else frame[:, :, None] for frame in frames]


def _tiff(image: Image.Image) -> str | None:
    tags: Any = getattr(image, "tag_v2", {})
    bits, kinds = tags.get(258, (1,)), tags.get(339, (1,))
    if len(bits) > 1 and max(bits) > 8:
        return f"{len(bits)} bands of {max(bits)} bits, of which Pillow keeps 8"
    if max(bits) == 8 and 2 in kinds:
        return "samples with a sign, which Pillow takes for samples without one"
    if max(bits) == 32 and kinds[0] == 1 and image.mode == "I":
        return "unsigned samples of 32 bits, which Pillow takes for signed ones"
    return None


def _png(head: bytes) -> int:
    return head[24] if len(head) > 25 and head[25] in (2, 4, 6) else 0


def _jpeg2000(head: bytes) -> int:
    start = head.find(b"\xff\x4f\xff\x51") + 2
    if start < 2 or len(head) < start + 40:
        return 0
    count = int.from_bytes(head[start + 38 : start + 40], "big")
    return max(((depth & 127) + 1 for depth in head[start + 40 : start + 40 + 3 * count : 3]), default=0)


def _avif(head: bytes) -> int:
    start = head.find(b"av1C")
    if start < 0 or len(head) < start + 7:
        return 0
    return 8 if not head[start + 6] & 64 else 12 if head[start + 6] & 32 else 10


def _pnm(head: bytes) -> int:
    return _maxval(head)[0].bit_length()


def _sgi(head: bytes) -> int:
    return 8 * head[3] if len(head) > 3 else 0


def _maxval(head: bytes) -> tuple[int, int]:
    """The largest value of the samples of a PNM file, and where they begin; zeros where it has none."""
    fields: list[bytes] = []
    at = 2
    while head[:2] in (b"P2", b"P3", b"P5", b"P6") and len(fields) < 3 and at < len(head):
        if head[at : at + 1] == b"#":
            at = head.find(b"\n", at) % (len(head) + 1)
        elif head[at : at + 1].isspace():
            at += 1
        else:
            end = at
            while end < len(head) and not head[end : end + 1].isspace():
                end += 1
            fields.append(head[at:end])
            at = end
    return (int(fields[2]), at + 1) if len(fields) == 3 and fields[2].isdigit() else (0, 0)


def _read_pnm(path: Path) -> list[Pixels]:
    import numpy as np

    data = path.read_bytes()
    if data[:2] != b"P6":
        raise ValueError("samples of more than 8 bits are read from binary PPM files only")
    with Image.open(path) as image:
        width, height = image.size
    start = _maxval(data)[1]
    return [np.frombuffer(data, ">u2", width * height * 3, start).reshape(height, width, 3).astype(np.uint16)]


def _read_tiff(path: Path) -> list[Pixels]:
    import numpy as np

    tifffile: Any = import_module("tifffile")
    with tifffile.TiffFile(path) as file:
        frames = []
        for page in file.pages:
            array = np.asarray(page.asarray())
            frames.append(np.moveaxis(array, 0, 2) if page.axes == "SYX" else array)
    return [frame.astype(frame.dtype.newbyteorder("="), copy=False) for frame in frames]


def _imagecodecs(name: str) -> Any:
    def read(path: Path) -> list[Pixels]:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise ValueError("several frames of more than 8 bits are read from TIFF files only")
        return [getattr(import_module("imagecodecs"), name)(path.read_bytes())]

    return read


_LOOKS = {"PNG": _png, "JPEG2000": _jpeg2000, "AVIF": _avif, "PPM": _pnm, "SGI": _sgi}
_READERS = {
    "PNG": _imagecodecs("png_decode"),
    "JPEG2000": _imagecodecs("jpeg2k_decode"),
    "PPM": _read_pnm,
    "TIFF": _read_tiff,
}
