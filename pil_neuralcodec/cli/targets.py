"""What ``decode`` makes of a file of ours where it is not told."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image

from .. import plugins
from ..container import read_header
from .stacks import ARRAYS, NPZ_KEY

_EXACT: Final = {"BMP", "DIB", "GIF", "JPEG2000", "JXL", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP"}
"""Pillow's names of formats that give back what was read of them, as ``decode`` writes them."""
_IN_ANIMATIONS: Final = {"1", "L", "LA", "P", "RGB", "RGBA"}
_IN_PNG: Final = _IN_ANIMATIONS | {"I;16"}
_IN_TIFF: Final = _IN_PNG | {"PA", "CMYK", "YCbCr", "LAB", "I;16B", "I", "F"}
"""Modes that PNG files of several frames, PNG files of one, and TIFF files hold."""


def writable_suffixes() -> set[str]:
    """Suffixes of the files that ``decode`` can write."""
    plugins.load()
    return {suffix for suffix, name in Image.registered_extensions().items() if name in Image.SAVE} | ARRAYS


def own_name(path: Path) -> str:
    """The name of what becomes of a file of ours: the one that ``encode --keep-suffix`` has kept, where that can be
    written exactly; else its own, with the suffix of a format that holds it."""
    kept = Path(path.stem).suffix.lower()
    if kept in ARRAYS or (_is_exact(kept) and (kept in (".tif", ".tiff") or _holds(kept, path))):
        return path.stem
    fitting = fitting_suffix(path)
    # photo.jpg.ifl does not become photo.jpg again, but photo.jpg.png; photo.png.ifl of 16 bits does become photo.png.
    return path.stem if kept == fitting else path.stem + fitting


def _is_exact(suffix: str) -> bool:
    return suffix in writable_suffixes() and Image.registered_extensions()[suffix] in _EXACT


def _holds(suffix: str, path: Path) -> bool:
    """Whether files of a suffix may hold the frames of a file of ours; so says one that cannot be read, too.

    Pillow reads BMP files that it wrote without their alpha, and writes other colours below transparent pixels of GIF
    files.
    """
    try:
        with path.open("rb") as file:
            modes = [frame.spec.mode for frame in read_header(file).frames]
    except OSError:
        return True
    format = Image.registered_extensions()[suffix]
    takes_all = len(modes) == 1 or format in Image.SAVE_ALL
    return takes_all and "" not in modes and not (format in ("BMP", "DIB", "GIF") and "RGBA" in modes)


def fitting_suffix(path: Path) -> str:
    """The suffix of a format that holds a file of ours: .png where the file cannot be read."""
    from .. import api
    from ..reader import Reader, band_count

    try:
        with path.open("rb") as file:
            header = read_header(file)
            info = api.info_of(Reader(file, header))
    except OSError:
        return ".png"
    modes = {frame.spec.mode for frame in header.frames}
    sizes = {(frame.spec.width, frame.spec.height) for frame in header.frames}
    timed = any(duration is not None for duration in info.durations)
    if "" in modes:
        deep = info.metadata.axes is None and info.n_frames == 1 and info.dtype == "uint16" and info.bands in (2, 3, 4)
        named = any(text.key == NPZ_KEY for text in info.metadata.text or ())
        unlike = len({(frame.spec, band_count(frame)) for frame in header.frames}) > 1
        return ".png" if deep else ".npz" if named else ".tiff" if unlike else ".npy"
    if len(sizes) == 1 and (modes <= _IN_PNG if info.n_frames == 1 else modes <= _IN_ANIMATIONS):
        # As animations frames of several modes become one mode; pages keep their own.
        return ".png" if len(modes) == 1 or timed else ".tiff"
    return ".tiff" if modes <= _IN_TIFF else ".npy"
