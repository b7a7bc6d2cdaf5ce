"""Image files of which Pillow keeps a part only: coded as arrays, and written again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from ..metadata import Metadata
from ..pillow_cut import HEAD, TIFF_MAGIC, ppm_maximum
from ..pillow_save import KEPT_TAGS, exif_of_tags, metadata_of, name_of_tag, warn_of
from ..uncut import foreign_errors, read_tiff, read_uncut

if TYPE_CHECKING:
    from ..samples import Picture, Pixels

_COLOURS_KEPT = (0, 1, 2, None)
"""Photometric interpretations of TIFF files that arrays stand for: gray and RGB."""


def pictures(path: Path) -> list[Picture] | None:
    """The frames of an image file that Pillow does not read as they are, with what is to be kept besides.

    None for a file that Pillow reads right. Raises ``OSError`` where nothing that is installed reads all of the file.
    """
    from ..samples import Picture, mode_of, to_pixels

    arrays = read_uncut(path)
    if arrays is None:
        return None
    made = []
    for array, metadata in zip(arrays, _metadata(path, len(arrays)), strict=True):
        made.append(Picture(mode_of(array), to_pixels(array), metadata=metadata))
    return made


def _metadata(path: Path, frames: int) -> list[Metadata]:
    """Metadata of each frame; what is not kept is warned of."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith((b"P2", b"P3", b"P5", b"P6")) and ppm_maximum(head) != 65535:
        warn_of([f"the largest value, {ppm_maximum(head)}"])
    found = []
    try:
        with Image.open(path) as image:
            for frame in range(frames):
                if image.format == "JXL" and frames > 1:  # Pillow's plugin shows the first frame alone
                    warn_of(["durations"])
                else:
                    image.seek(frame)
                if image.format == "TIFF":
                    _warn_of_colours(image.tag_v2.get(262))  # type: ignore[attr-defined]
                else:
                    image.load()  # some formats give their EXIF only behind the pixels
                found.append(metadata_of(image, {}))
    except UnidentifiedImageError:
        return _tiff_metadata(path) if head.startswith(TIFF_MAGIC) else [Metadata()] * frames
    return found


def _warn_of_colours(photometric: int | None) -> None:
    if photometric not in _COLOURS_KEPT:
        warn_of([f"photometric interpretation {photometric}"])


def _tiff_metadata(path: Path) -> list[Metadata]:
    """Metadata of the pages of a TIFF file that Pillow does not open."""
    import tifffile

    found = []
    with tifffile.TiffFile(path) as file:
        for page in file.pages:
            tags: dict[int, Any] = {}
            for tag in page.tags:  # type: ignore[union-attr]
                tags.setdefault(tag.code, tag.value)  # tifffile writes a description of its own behind the user's
            warn_of([name_of_tag(tag) for tag in tags if tag not in KEPT_TAGS])
            _warn_of_colours(tags.get(262))
            unit = {1: 0.0, 2: 1.0, 3: 2.54}.get(int(tags.get(296, 2)), 0.0)
            dpi = None
            if unit and 282 in tags and 283 in tags and tags[282][1] and tags[283][1]:
                dpi = unit * tags[282][0] / tags[282][1], unit * tags[283][0] / tags[283][1]
            xmp = tags.get(700)
            xmp = xmp.encode() if isinstance(xmp, str) else xmp
            found.append(Metadata(icc_profile=tags.get(34675), exif=exif_of_tags(tags), xmp=xmp, dpi=dpi))
    return found


def write(frames: list[Pixels], metadata: list[Metadata], target: Path) -> None:
    """Write arrays that Pillow has no mode for as a TIFF or PNG file, and read it again.

    Raises ``OSError`` where the suffix, or what is installed, does not allow it.
    """
    kind, shape = frames[0].dtype, frames[0].shape
    what = f"an array of {kind} and shape {shape}{f', {len(frames)} frames' * (len(frames) > 1)}"
    if metadata[0].axes is not None:
        raise OSError(f"the file holds {what}, which is no image: use --to npy")
    suffix = target.suffix.lower()
    fits_png = len(frames) == 1 and kind == "u2" and shape[2] in (2, 3, 4)
    if suffix not in (".tif", ".tiff") and not (suffix == ".png" and fits_png):
        raise OSError(f"the file holds {what}, which Pillow cannot write as {suffix[1:]}: use --to npy or --to tiff")
    try:
        with foreign_errors():
            if suffix == ".png":
                import imagecodecs

                target.write_bytes(imagecodecs.png_encode(frames[0]))
                again = [imagecodecs.png_decode(target.read_bytes())]
            else:
                _write_tiff(frames, metadata, target)
                again = read_tiff(target)
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
                extratags=[(700, 1, len(one.xmp), one.xmp, True)] if one.xmp else [],
            )


def same(frames: list[Pixels], others: list[Pixels]) -> bool:
    """Whether two files hold the same arrays; a last axis of one band counts for nothing."""
    if len(frames) != len(others):
        return False
    return all(
        one.dtype == other.dtype and one.shape[:2] == other.shape[:2] and one.tobytes() == other.tobytes()
        for one, other in zip(frames, others, strict=True)
    )
