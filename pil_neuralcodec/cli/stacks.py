"""Files of arrays, read as pictures and written again: .npy, .npz, and TIFF files whose pages are one array."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zipfile import ZIP_DEFLATED, ZipFile

from ..metadata import Axes, Metadata, Text
from ..pillow_cut import TIFF_MAGIC
from ..pillow_save import warn_of
from ..uncut import foreign_errors
from .deep import lost_in_tiff, metadata_of_page, tiff_options

if TYPE_CHECKING:
    from ..samples import Picture, Pixels

ARRAYS: Final = {".npy", ".npz"}
"""Suffixes of files that hold arrays."""
_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
NPZ_KEY: Final = "npz key"
_DESCRIPTION: Final = "ImageDescription"
"""Texts that keep the name of an array in an .npz file, and the description (OME-XML, ImageJ's) of a TIFF file."""
_TIFFFILES, _TELL_AXES = '{"shape"', ("<?xml", "<OME", "ImageJ=")
"""How tifffile's own descriptions begin, and others that tell the axes."""
_BIG: Final = 2**32 - 2**25
"""Bytes of an array above which a TIFF file has 64-bit offsets."""
_KINDS: Final = ("ome", "imagej", "shaped", "mmstack", "ndpi", "lsm", "stk")
"""tifffile's names of series whose axes are told by the file."""


def read(path: Path, axes: str | None) -> Picture | None:
    """The array of a file as a picture; None for a file of images.

    Raises ``OSError`` for a file that cannot be read, and ``ValueError`` as `pil_neuralcodec.encode` for its shape.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith((_NPY, _ZIP)):
        key, array = _load(path)
        return _picture(array, axes, Metadata(text=None if key is None else (Text(NPZ_KEY, key),)))
    return _read_tiff(path, axes) if head.startswith(TIFF_MAGIC) else None


def _picture(array: Pixels, axes: str | None, metadata: Metadata) -> Picture:
    from .. import api

    return api.picture_of(array, axes=axes, metadata=metadata)


def _load(path: Path) -> tuple[str | None, Pixels]:
    """Key (None in an .npy file) and array of a file of numpy's. Raises ``OSError`` for one of several arrays."""
    import numpy as np

    with foreign_errors(), path.open("rb") as file:
        found = np.load(file)
        if isinstance(found, np.ndarray):
            return None, found
        keys = list(found)
        if len(keys) != 1:
            raise OSError(f"{len(keys)} arrays ({', '.join(keys)}), and a file holds one: save each as .npy")
        return keys[0], found[keys[0]]


def _read_tiff(path: Path, axes: str | None) -> Picture | None:
    """A TIFF file of one series with axes besides those of an image. None for others, and where tifffile is missing."""
    try:
        import tifffile
    except ImportError:
        return None
    with foreign_errors(), tifffile.TiffFile(path) as file:
        series = file.series
        one = series[0] if len(series) == 1 else None
        if one is None or one.kind not in _KINDS or len(one.levels) > 1 or one.ndim < 3 or one.axes in ("YXS", "SYX"):
            return None
        array, page = one.asarray(), file.pages.first
        description = page.description
        metadata = metadata_of_page(page, but=(270,))
    if description and not description.startswith(_TIFFFILES):
        metadata = replace(metadata, text=(Text(_DESCRIPTION, description),))
    return _picture(array, axes or _ours(one.axes), metadata)


def _ours(letters: str) -> str:
    """tifffile's axes as ours: its S, samples of a pixel, are C; letters that stand twice become others."""
    if "S" in letters:
        letters = letters.replace("C", "\0").replace("S", "C").replace("\0", "S")
    free = iter(letter for letter in "ABDEFGHIJKLMNOPQRUVW" if letter not in letters)
    found = ""
    for letter in letters:
        found += letter if letter not in found else next(free)
    return found


def _theirs(letters: str) -> str:
    """Inverse of `_ours`, as far as writing needs it: bands behind X are samples of a pixel."""
    if not letters.endswith("XC"):
        return letters
    return letters[:-1].replace("S", "C") + "S"


def write_array(array: Pixels, metadata: Metadata, target: Path) -> list[str]:
    """Write an array as an .npy file, or under its old key as an .npz file. Returns names of texts that are lost."""
    import numpy as np

    texts = {one.key: one.value for one in metadata.text or ()}
    key = texts.pop(NPZ_KEY, "arr_0")
    if target.suffix.lower() == ".npy":
        np.save(target, array)
    else:
        with ZipFile(target, "w", ZIP_DEFLATED) as file, file.open(f"{key}.npy", "w", force_zip64=True) as part:
            np.save(part, array)  # numpy's own takes keys for its arguments
    return [f"text {text}" for text in texts]


def write_tiff(array: Pixels, axes: Axes, metadata: Metadata, target: Path) -> None:
    """Write an array with axes as a TIFF file, with the description that it had, and read it again.

    Raises ``OSError`` where tifffile is missing, or the file does not hold the array.
    """
    import numpy as np

    texts = {one.key: one.value for one in metadata.text or ()}
    description = texts.pop(_DESCRIPTION, None)
    tells_axes = description is not None and description.startswith(_TELL_AXES)
    letters = _theirs(axes.letters)
    with _installed(), foreign_errors():
        import tifffile

        tifffile.imwrite(
            target,
            np.ascontiguousarray(array),
            bigtiff=array.nbytes > _BIG,
            byteorder=">" if axes.big_endian else "<",
            photometric="rgb" if letters.endswith("S") and array.shape[-1] in (3, 4) else "minisblack",
            metadata=None if tells_axes else {"axes": letters},
            **tiff_options(metadata) | {"description": description},
        )
        with tifffile.TiffFile(target) as file:
            again = file.series[0].asarray()
    if again.dtype != array.dtype or again.tobytes() != array.tobytes():
        raise OSError(f"tiff does not hold an array of {array.dtype} and shape {array.shape}: use --to npy")
    lost = [name for name in lost_in_tiff(metadata) if name not in ("axes", "text")]
    warn_of(lost + [f"text {key}" for key in texts])


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise OSError(f"install {error.name}, or use --to npy") from error
