"""Pillow plugins that have to be imported before Pillow reads their formats."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Final

_PLUGINS: Final = {"pillow_jxl": None, "pillow_heif": "register_heif_opener", "pillow_avif": None}
"""Packages of JPEG XL, HEIC and AVIF, and the function to call besides."""


def load() -> None:
    """Import those that are installed. Once or often, the effect is the same."""
    for package, function in _PLUGINS.items():
        with suppress(ImportError):
            module = import_module(package)
            if function is not None:
                getattr(module, function)()
