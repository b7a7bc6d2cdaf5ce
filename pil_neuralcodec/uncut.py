"""Image files that Pillow cuts or widens, read as they are: by tifffile, imagecodecs, pillow_heif, or here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image, UnidentifiedImageError

from . import jxl_head
from .pillow_cut import HEAD, JPEG2000_MAGIC, TIFF_MAGIC, is_widened, what_is_cut

if TYPE_CHECKING:
    from .samples import Pixels

_DECODERS: Final = {"PNG": "png_decode", "JPEG2000": "jpeg2k_decode", "AVIF": "avif_decode", "JXL": "jpegxl_decode"}
"""By Pillow's name of a format: the function of imagecodecs that keeps all bits."""


def read_uncut(path: Path) -> list[Pixels] | None:
    """The frames of an image file that Pillow does not read as they are; None for a file that it reads right.

    Returns
    -------
    A list of arrays (H, W) or (H, W, C) in native byte order, of the type that the file has.

    Raises
    ------
    OSError : nothing that is installed reads all of the file. The message says what Pillow would cut.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    try:
        with foreign_errors(), Image.open(path) as image:
            format = str(image.format)
            frames = getattr(image, "n_frames", 1)
            cut = _first_cut(image, head, frames if format == "TIFF" else 1)
            widened = format == "TIFF" and cut is None and all(map(is_widened, _each(image, frames)))
    except UnidentifiedImageError:
        frames, cut, widened = 1, "this kind of samples", False
        if head.startswith(TIFF_MAGIC):
            format = "TIFF"
        elif head.startswith(JPEG2000_MAGIC):
            format = "JPEG2000"
        else:
            raise
    if widened:
        with suppress(OSError, ModuleNotFoundError), foreign_errors():  # Pillow's own reading loses nothing
            return _native(read_tiff(path))
    if cut is None:
        return None
    if format != "TIFF" and frames > 1:
        raise OSError(f"Pillow would cut {cut}, and nothing else reads {format} files of several frames")
    head_of_jxl = jxl_head.read(head) if format == "JXL" else None
    if format not in ("TIFF", "PPM", "HEIF", *_DECODERS) or (head_of_jxl and head_of_jxl.extra > 1):
        raise OSError(f"Pillow would cut {cut}, and nothing else reads {format} files: convert the file to TIFF first")
    try:
        with foreign_errors():
            arrays = read_tiff(path) if format == "TIFF" else [_read_image(path, format)]
            if head_of_jxl and head_of_jxl.is_animated:
                arrays = list(arrays[0])
    except ModuleNotFoundError as error:
        needs = {"TIFF": ["tifffile", "imagecodecs"], "HEIF": ["pillow_heif"]}.get(format, ["imagecodecs"])
        install = f"install {' and '.join(needs)} (pip install {' '.join(needs)})"
        raise OSError(f"Pillow would cut {cut}: {install}") from error
    return _native(arrays)


def _native(arrays: list[Pixels]) -> list[Pixels]:
    return [array.astype(array.dtype.newbyteorder("="), copy=False) for array in arrays]


def _first_cut(image: Image.Image, head: bytes, frames: int) -> str | None:
    cuts = (what_is_cut(page, head) for page in _each(image, frames))
    return next((cut for cut in cuts if cut is not None), None)


def _each(image: Image.Image, frames: int) -> Iterator[Image.Image]:
    """An image at each of its frames."""
    for frame in range(frames):
        if frames > 1:  # some formats of one frame, as SPIDER, do not seek at all
            image.seek(frame)
        yield image


def _read_image(path: Path, format: str) -> Pixels:
    if format == "PPM":
        return _read_ppm(path.read_bytes())
    if format == "HEIF":
        import numpy as np
        import pillow_heif

        return np.asarray(pillow_heif.open_heif(path, convert_hdr_to_8bit=False))
    import imagecodecs

    array: Pixels = getattr(imagecodecs, _DECODERS[format])(path.read_bytes())
    return array


def _read_ppm(data: bytes) -> Pixels:
    import numpy as np

    gap = rb"(?:\s|#[^\r\n]*[\r\n])+"
    header = re.match(gap.join([rb"P[2356]", rb"(\d+)", rb"(\d+)", rb"(\d+)\s"]), data)
    if header is None:
        raise OSError("a malformed PPM header")
    width, height = int(header[1]), int(header[2])
    rest = data[header.end() :]
    bands = 3 if data[:2] in (b"P3", b"P6") else 1
    if data[:2] in (b"P2", b"P3"):
        values = np.array(re.sub(rb"#[^\r\n]*", b"", rest).split(), "u2")
    else:
        values = np.frombuffer(rest[: 2 * bands * width * height], ">u2")
    array = values[: bands * width * height].reshape(height, width, bands)
    return array if bands > 1 else array[:, :, 0]


def read_tiff(path: Path) -> list[Pixels]:
    """The pages of a TIFF file, each (H, W) or (H, W, C). Raises ``OSError`` where pages are no images, and errors of
    tifffile and imagecodecs."""
    import numpy as np
    import tifffile

    arrays = []
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            planes = page.asarray(squeeze=False)  # planes, depth, rows, columns, bands
            if planes.ndim != 5 or planes.shape[1] != 1:
                raise OSError(f"a page of shape {planes.shape} is no image")
            array = np.concatenate(planes[:, 0], axis=2)
            arrays.append(array[:, :, 0] if array.shape[2] == 1 else array)
        if sum(series.size for series in file.series) > sum(array.size for array in arrays):
            raise OSError("the file holds more than its pages tell")
    return arrays


@contextmanager
def foreign_errors() -> Iterator[None]:
    """Errors of other packages as ``OSError``: they have classes of their own, which derive from anything."""
    try:
        yield
    except (OSError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error
