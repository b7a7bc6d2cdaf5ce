"""Lossless neural image files for Pillow, numpy and the command line.

Importing this package registers ``.ifl`` with Pillow::

    from PIL import Image
    import pil_neuralcodec

    Image.open("photo.png").save("photo.ifl")

It imports neither numpy nor torch; those wait until pixels are coded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .pillow_plugin import register

if TYPE_CHECKING:
    from .api import Info, decode, encode, read_info
    from .metadata import Metadata

__all__ = ["Info", "Metadata", "decode", "encode", "read_info", "register"]
__version__ = "0.1.0"

_HOMES = {"Info": "api", "Metadata": "metadata", "decode": "api", "encode": "api", "read_info": "api"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


register()
