"""Lossless neural image files for Pillow, numpy and the command line.

Importing this package registers ``.ifl`` and ``.bsw`` with Pillow::

    from PIL import Image
    import pil_neuralcodec

    Image.open("photo.png").save("photo.ifl")

`save` does the same and leaves a file that is there alone until the new one is whole; ``Image.save`` empties it first.
Arrays go through `encode`, `decode` and `read_info`. Errors are in
``pil_neuralcodec.errors``, codecs for chunks of arrays in ``pil_neuralcodec.zarr`` and ``pil_neuralcodec.numcodecs``.
It imports neither numpy nor torch; those wait until pixels are coded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors
from .pillow_plugin import register

if TYPE_CHECKING:
    from .api import Info, decode, encode, read_info
    from .atomic import save
    from .metadata import Metadata

__all__ = ["Info", "Metadata", "decode", "encode", "errors", "read_info", "register", "save"]
__version__ = "1.0.0rc1"

_HOMES = dict.fromkeys(("Info", "decode", "encode", "read_info"), "api") | {"Metadata": "metadata", "save": "atomic"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


register()
