"""What ``decode`` makes of a file of ours where it is not told."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PIL import Image

from .. import plugins
from .stacks import ARRAYS, NPZ_KEY

_EXACT: Final = {"BMP", "DIB", "GIF", "JPEG2000", "JXL", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP"}
"""Pillow's names of formats that give back what was read of them, as ``decode`` writes them."""
_IN_PNG: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Modes that PNG files hold."""


def writable_suffixes() -> set[str]:
    """Suffixes of the files that ``decode`` can write."""
    plugins.load()
    return {suffix for suffix, name in Image.registered_extensions().items() if name in Image.SAVE} | ARRAYS


def own_name(path: Path) -> str:
    """The name of what becomes of a file of ours: the one that ``encode --keep-suffix`` has kept, where that can be
    written exactly; else its own, with the suffix of a format that holds it."""
    kept = Path(path.stem).suffix.lower()
    if kept in ARRAYS or (_is_exact(kept) and (kept in (".tif", ".tiff") or _is_image(path))):
        return path.stem
    fitting = fitting_suffix(path)
    # photo.jpg.ifl does not become photo.jpg again, but photo.jpg.png; photo.png.ifl of 16 bits does become photo.png.
    return path.stem if kept == fitting else path.stem + fitting


def _is_exact(suffix: str) -> bool:
    return suffix in writable_suffixes() and Image.registered_extensions()[suffix] in _EXACT


def _is_image(path: Path) -> bool:
    """Whether Pillow has a mode for what a file of ours holds; so says one that cannot be read, too."""
    from .. import api

    try:
        return bool(api.read_info(path).mode)
    except OSError:
        return True


def fitting_suffix(path: Path) -> str:
    """The suffix of a format that holds a file of ours: .png where the file cannot be read."""
    from .. import api

    try:
        info = api.read_info(path)
    except OSError:
        return ".png"
    if info.mode:
        return ".png" if info.mode in _IN_PNG else ".tiff"
    deep = info.metadata.axes is None and info.n_frames == 1 and info.dtype == "uint16" and info.bands in (2, 3, 4)
    named = any(text.key == NPZ_KEY for text in info.metadata.text or ())
    return ".png" if deep else ".npz" if named else ".npy"
