"""Image files of which Pillow keeps a part only: coded as arrays, and written again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, ImageOps, UnidentifiedImageError

from ..metadata import Metadata
from ..pillow_cut import HEAD, TIFF_MAGIC, ppm_maximum
from ..pillow_plugin import shown_texts
from ..pillow_save import EXIF_TAGS, KEPT_TAGS, exif_of_tags, metadata_of, name_of_tag, warn_of
from ..uncut import foreign_errors, read_tiff, read_uncut
from . import kept

if TYPE_CHECKING:
    from ..samples import Picture, Pixels

_COLOURS_KEPT = (0, 1, 2, None)
"""Photometric interpretations of TIFF files that arrays stand for: gray and RGB."""
_PNG_START: Final = 33
"""Bytes of a PNG file's signature and header."""


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
        with foreign_errors(), Image.open(path) as image:
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
            found.append(metadata_of_page(page))
    return found


def metadata_of_page(page: Any, *, but: tuple[int, ...] = ()) -> Metadata:
    """Metadata of a page of tifffile's, without those of some tags. What is not kept is warned of."""
    tags: dict[int, Any] = {}
    for tag in page.tags:
        if tag.code not in but:
            tags.setdefault(tag.code, tag.value)  # tifffile writes a description of its own behind the user's
    warn_of([name_of_tag(tag) for tag in tags if tag not in KEPT_TAGS])
    _warn_of_colours(tags.get(262))
    unit = {1: 0.0, 2: 1.0, 3: 2.54}.get(int(tags.get(296, 2)), 0.0)
    dpi = None
    if unit and 282 in tags and 283 in tags and tags[282][1] and tags[283][1]:
        dpi = unit * tags[282][0] / tags[282][1], unit * tags[283][0] / tags[283][1]
    xmp = tags.get(700)
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return Metadata(icc_profile=tags.get(34675), exif=exif_of_tags(tags), xmp=xmp, dpi=dpi)


def write(frames: list[Pixels], metadata: list[Metadata], target: Path) -> None:
    """Write arrays that Pillow has no mode for as a TIFF or PNG file, and read it again.

    Raises ``OSError`` where the suffix, or what is installed, does not allow it.
    """
    kind, shape = frames[0].dtype, frames[0].shape
    count = f", the first of {len(frames)} frames" * (len(frames) > 1)
    what = f"an array of {kind} and shape {shape}{count}"
    if metadata[0].axes is not None:
        raise OSError(f"the file holds {what}, which is no image: use --to npy or --to tiff")
    suffix = target.suffix.lower()
    fits_png = len(frames) == 1 and kind == "u2" and shape[2] in (2, 3, 4)
    if suffix not in (".tif", ".tiff") and not (suffix == ".png" and fits_png):
        raise OSError(f"the file holds {what}, which Pillow cannot write as {suffix[1:]}: use --to npy or --to tiff")
    try:
        with foreign_errors():
            if suffix == ".png":
                import imagecodecs

                target.write_bytes(_with_metadata(imagecodecs.png_encode(frames[0]), metadata[0]))
                again = [imagecodecs.png_decode(target.read_bytes())]
            else:
                _write_tiff(frames, metadata, target)
                again = read_tiff(target)
    except ModuleNotFoundError as error:
        raise OSError(f"the file holds {what}: install {error.name}, or use --to npy") from error
    if not same(frames, again):
        raise OSError(f"{suffix[1:]} does not hold {what} exactly: use --to npy")
    if suffix == ".png":
        with Image.open(target) as written:
            warn_of(kept.lost(metadata[0].info(), shown_texts(metadata[0]), written))
    else:
        for one in metadata:
            warn_of(lost_in_tiff(one))


def _with_metadata(data: bytes | bytearray, metadata: Metadata) -> bytes:
    """A PNG file with metadata: behind its header, the chunks that Pillow writes beside those of an image's pixels."""
    with io.BytesIO() as file:
        options = kept.options(metadata.info(), shown_texts(metadata), ".png")
        Image.new("RGB", (1, 1)).save(file, "PNG", **options)
        of_pillow = file.getvalue()
    made, at = [], _PNG_START
    while at < len(of_pillow):
        end = at + 12 + int.from_bytes(of_pillow[at : at + 4], "big")  # size, kind and checksum
        if of_pillow[at + 4 : at + 8] not in (b"IDAT", b"IEND"):
            made.append(of_pillow[at:end])
        at = end
    return b"".join([data[:_PNG_START], *made, data[_PNG_START:]])


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
                **tiff_options(one),
            )


def tiff_options(metadata: Metadata) -> dict[str, Any]:
    """Arguments of tifffile's ``write`` that keep metadata."""
    texts = _texts_of_exif(metadata)
    dpi = metadata.dpi if kept.is_writable_dpi(metadata.dpi) else None
    extra: list[Any] = [(tag, 2, 0, text, True) for tag, text in texts.items() if tag not in (270, 305, 306)]
    if metadata.xmp:
        extra.append((700, 1, len(metadata.xmp), metadata.xmp, True))
    return {
        "description": texts.get(270),
        "software": texts.get(305, False),
        "datetime": texts.get(306),
        "iccprofile": metadata.icc_profile,
        "resolution": dpi,
        "resolutionunit": 2 if dpi else None,
        "extratags": extra,
    }


def lost_in_tiff(metadata: Metadata) -> list[str]:
    """Names of metadata that `tiff_options` does not keep."""
    held = ["icc_profile", "xmp", "exif"] + ["dpi"] * kept.is_writable_dpi(metadata.dpi)
    lost = [name for name in metadata.present() if name not in held]
    values = kept.values_of_exif(metadata.exif)
    is_kept = not metadata.exif or (values and values.keys() <= _texts_of_exif(metadata).keys())
    return lost if is_kept else [*lost, "exif"]


def _texts_of_exif(metadata: Metadata) -> dict[int, str]:
    """The texts of an Exif block that are tags of a TIFF file, too: description, make, software, ..."""
    values = kept.values_of_exif(metadata.exif)
    return {tag: value for tag, value in values.items() if tag in EXIF_TAGS and isinstance(value, str)}


def upright(image: Image.Image) -> Image.Image:
    """An image as its Exif block says; as it is where that cannot be read."""
    try:
        with foreign_errors():
            return ImageOps.exif_transpose(image)
    except OSError:
        return image


def same(frames: list[Pixels], others: list[Pixels]) -> bool:
    """Whether two files hold the same arrays; a last axis of one band counts for nothing."""
    if len(frames) != len(others):
        return False
    return all(
        one.dtype == other.dtype and one.shape[:2] == other.shape[:2] and one.tobytes() == other.tobytes()
        for one, other in zip(frames, others, strict=True)
    )
