"""Pillow plugins that have to be imported before Pillow reads their formats."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Final

from PIL import Image

_PLUGINS: Final = {"pillow_jxl": None, "pillow_heif": "register_heif_opener", "pillow_avif": None}
"""Packages of JPEG XL, HEIC and AVIF, and the function to call besides."""

_NEEDED: Final = {
    ".heic": "pillow_heif", ".heif": "pillow_heif", ".jxl": "pillow-jxl-plugin", ".avif": "pillow-avif-plugin"
}  # fmt: skip
"""By suffix: what to install for the formats above."""


def load() -> None:
    """Import those that are installed. Once or often, the effect is the same."""
    for package, function in _PLUGINS.items():
        with suppress(ImportError):
            module = import_module(package)
            if function is not None:
                getattr(module, function)()


def needed(suffix: str) -> str | None:
    """The package to install for files of a suffix; None where that is no help, or where they are read already."""
    load()
    known = suffix.lower() in Image.registered_extensions()
    return None if known else _NEEDED.get(suffix.lower())
