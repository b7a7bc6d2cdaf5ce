"""Image files of which Pillow keeps a part only: read by tifffile and imagecodecs, coded as arrays, written again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from ..metadata import Metadata
from ..pillow_cut import HEAD, JPEG2000_MAGIC, TIFF_MAGIC, ppm_maximum, what_is_cut
from ..pillow_save import KEPT_TAGS, exif_of_tags, metadata_of, name_of_tag, warn_of

if TYPE_CHECKING:
    from ..samples import Picture, Pixels

_GRAYS = (0, 1)
"""Photometric interpretations of gray images."""


def pictures(path: Path) -> list[Picture] | None:
    """The frames of an image file that Pillow does not read as they are, with what is to be kept besides.

    None for a file that Pillow reads right. Raises ``OSError`` where nothing that is installed reads all of the file.
    """
    from ..samples import Picture, mode_of, to_pixels

    with path.open("rb") as file:
        head = file.read(HEAD)
    try:
        with Image.open(path) as image:
            cut = _first_cut(image, head)
            if cut is None:
                return None
            format = str(image.format)
            if format != "TIFF" and getattr(image, "n_frames", 1) > 1:
                raise OSError(f"Pillow would cut {cut}, and nothing else reads {format} files of several frames")
            arrays = arrays_of(path, format, cut)
            found = list(_metadata(image, len(arrays)))
    except UnidentifiedImageError:
        if head.startswith(TIFF_MAGIC):
            arrays = arrays_of(path, "TIFF", "this kind of samples")
            found = _tiff_metadata(path)
        elif head.startswith(JPEG2000_MAGIC):
            arrays, found = arrays_of(path, "JPEG2000", "this kind of samples"), [Metadata()]
        else:
            raise
    if head.startswith((b"P2", b"P3", b"P5", b"P6")) and ppm_maximum(head) != 65535:
        warn_of([f"the largest value, {ppm_maximum(head)}"])
    made = []
    for array, metadata in zip(arrays, found, strict=True):
        if array.ndim == 2 and array.dtype.str[1:] not in ("b1", "u1", "u2", "i4", "f4"):
            array = array[:, :, None]
        made.append(Picture(mode_of(array), to_pixels(array), metadata=metadata))
    return made


def _first_cut(image: Image.Image, head: bytes) -> str | None:
    for frame in range(getattr(image, "n_frames", 1) if image.format == "TIFF" else 1):
        image.seek(frame)
        cut = what_is_cut(image, head)
        if cut is not None:
            return cut
    return None


def _metadata(image: Image.Image, frames: int) -> Iterator[Metadata]:
    for frame in range(frames):
        image.seek(frame)
        if image.format == "TIFF":
            photometric = image.tag_v2.get(262)  # type: ignore[attr-defined]
            _warn_of_colours(photometric)
        else:
            image.load()  # some formats give their EXIF only behind the pixels
        yield metadata_of(image, {})


def _warn_of_colours(photometric: int | None) -> None:
    if photometric not in (*_GRAYS, 2, None):
        warn_of([f"photometric interpretation {photometric}"])


def arrays_of(path: Path, format: str, cut: str) -> list[Pixels]:
    """The frames of a file, each (H, W) or (H, W, C) in native byte order.

    Raises ``OSError`` that says what Pillow would ``cut`` where nothing reads the file.
    """
    readers: dict[str, tuple[str, Callable[[Path], list[Pixels]]]] = {
        "TIFF": ("tifffile and imagecodecs", _read_tiff),
        "PPM": ("", _read_ppm),
        **{name: ("imagecodecs", lambda path: _read_by_imagecodecs(path, format)) for name in _DECODERS},
    }
    if format not in readers:
        raise OSError(f"Pillow would cut {cut}, and nothing else reads {format} files: convert the file to TIFF first")
    needs, read = readers[format]
    try:
        with _foreign_errors():
            arrays = read(path)
    except ModuleNotFoundError as error:
        packages = needs.replace(" and", "")
        raise OSError(f"Pillow would cut {cut}: install {needs} (pip install {packages})") from error
    return [array.astype(array.dtype.newbyteorder("="), copy=False) for array in arrays]


_DECODERS = {"PNG": "png_decode", "JPEG2000": "jpeg2k_decode", "AVIF": "avif_decode"}


def _read_by_imagecodecs(path: Path, format: str) -> list[Pixels]:
    import imagecodecs

    return [getattr(imagecodecs, _DECODERS[format])(path.read_bytes())]


def _read_ppm(path: Path) -> list[Pixels]:
    import numpy as np

    data = path.read_bytes()
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
    return [array if bands > 1 else array[:, :, 0]]


def _read_tiff(path: Path) -> list[Pixels]:
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


def _tiff_metadata(path: Path) -> list[Metadata]:
    """Metadata of the pages of a TIFF file that Pillow does not open."""
    import tifffile

    found = []
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            tags = {tag.code: tag.value for tag in page.tags}  # type: ignore[union-attr]
            warn_of([name_of_tag(tag) for tag in tags if tag not in KEPT_TAGS])
            _warn_of_colours(tags.get(262))
            unit = {1: 0.0, 2: 1.0, 3: 2.54}.get(int(tags.get(296, 2)), 0.0)
            dpi = None
            if unit and 282 in tags and 283 in tags and tags[282][1] and tags[283][1]:
                dpi = tuple(unit * tags[tag][0] / tags[tag][1] for tag in (282, 283))
            xmp = tags.get(700)
            found.append(
                Metadata(
                    icc_profile=tags.get(34675),
                    exif=exif_of_tags(tags),
                    xmp=xmp.encode() if isinstance(xmp, str) else xmp,
                    dpi=dpi,
                )
            )
    return found


@contextmanager
def _foreign_errors() -> Iterator[None]:
    """Errors of other packages as ``OSError``: they have classes of their own, which derive from anything."""
    try:
        yield
    except (OSError, ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error


def write(frames: list[Pixels], metadata: list[Metadata], target: Path) -> None:
    """Write arrays that Pillow has no mode for as a TIFF or PNG file, and read it again.

    Raises ``OSError`` where the suffix, or what is installed, does not allow it.
    """
    kind, shape = frames[0].dtype, frames[0].shape
    what = f"an array of {kind} and shape {shape}{f', {len(frames)} frames' * (len(frames) > 1)}"
    if metadata[0].axes is not None:
        raise OSError(f"the file holds {what}, which is no image: use --to npy")
    if metadata[0].axes is not None:
        raise OSError(f"the file holds {what}, which is no image: use --to npy")
    suffix = target.suffix.lower()
    fits_png = len(frames) == 1 and kind == "u2" and shape[2] in (2, 3, 4)
    if suffix not in (".tif", ".tiff") and not (suffix == ".png" and fits_png):
        raise OSError(f"the file holds {what}, which Pillow cannot write as {suffix[1:]}: use --to npy or --to tiff")
    try:
        with _foreign_errors():
            if suffix == ".png":
                import imagecodecs

                target.write_bytes(imagecodecs.png_encode(frames[0]))
                again = _read_by_imagecodecs(target, "PNG")
            else:
                _write_tiff(frames, metadata, target)
                again = _read_tiff(target)
    except ModuleNotFoundError as error:
        raise OSError(f"the file holds {what}: install {error.name}, or use --to npy") from error
    if not same(frames, again):
        raise OSError(f"{suffix[1:]} does not hold {what} exactly: use --to npy")
    held = ("icc_profile", "xmp", "dpi") if suffix != ".png" else ()
    warn_of([name for one in metadata for name in one.present() if name not in held])


def _write_tiff(frames: list[Pixels], metadata: list[Metadata], target: Path) -> None:
    import tifffile

    with tifffile.TiffWriter(target) as file:
        for array, one in zip(frames, metadata, strict=True):
            colours = array.shape[2] if array.ndim == 3 else 1
            extra: list[Any] = [(700, 1, len(one.xmp), one.xmp, True)] if one.xmp else []
            file.write(
                array if colours > 1 else array.reshape(array.shape[:2]),
                photometric="rgb" if colours in (3, 4) else "minisblack",
                planarconfig="contig" if colours > 1 else None,
                extrasamples=["unassalpha"] if colours in (2, 4) else None,
                metadata=None,
                software=False,
                iccprofile=one.icc_profile,
                resolution=one.dpi,
                resolutionunit=2 if one.dpi else None,
                extratags=extra,
            )


def same(frames: list[Pixels], others: list[Pixels]) -> bool:
    """Whether two files hold the same arrays; a last axis of one band counts for nothing."""
    if len(frames) != len(others):
        return False
    return all(
        one.dtype == other.dtype and one.shape[:2] == other.shape[:2] and one.tobytes() == other.tobytes()
        for one, other in zip(frames, others, strict=True)
    )
