"""JPEG XL as a peer: libjxl through pillow-jxl-plugin, which is newer than the one in imagecodecs.

The plugin holds what Pillow has modes for, colours of 16 bits not; these, and everything where it is not installed, go
through imagecodecs. Either way `version` says which libjxl it was. The plugin registers itself with Pillow when it is
imported, so only this module imports it, and only to code an image.
"""

from __future__ import annotations

import io
import json
import re
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from .samples import Pixels, imagecodecs

_PLUGIN = "pillow-jxl-plugin"


def accepts(pixels: Pixels) -> bool:
    """Whether what is installed holds such pixels."""
    return _in_plugin(pixels) or find_spec("imagecodecs") is not None


def version(pixels: Pixels) -> str:
    """The libjxl that codes such pixels, "libjxl 0.12.0"."""
    return _plugin_version() if _in_plugin(pixels) else str(imagecodecs().jpegxl_version())


def encode(pixels: Pixels, effort: int, threads: int) -> bytes:
    """A lossless file; colours under an alpha of 0 are kept."""
    if not _in_plugin(pixels):
        return bytes(imagecodecs().jpegxl_encode(pixels, effort=effort, lossless=True, numthreads=threads))
    _plugin()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JXL", lossless=True, effort=effort, num_threads=threads)
    return file.getvalue()


def decode(data: bytes, like: Pixels, threads: int) -> Pixels:
    """Pixels of a file, in the shape of ``like``."""
    if not _in_plugin(like):
        decoded: Pixels = imagecodecs().jpegxl_decode(data, numthreads=threads).reshape(like.shape)
        return decoded
    _plugin().DECODE_THREADS = threads
    with Image.open(io.BytesIO(data), formats=["JXL"]) as image:
        return np.asarray(image)


def _in_plugin(pixels: Pixels) -> bool:
    return find_spec("pillow_jxl") is not None and (pixels.dtype == np.uint8 or pixels.ndim == 2)


def _plugin() -> Any:
    from pillow_jxl import JpegXLImagePlugin

    return JpegXLImagePlugin


@cache
def _plugin_version() -> str:
    """The plugin has no function that tells its libjxl; the list of parts that comes with its wheels does.

    Without such a list, as after a build from source, the plugin's own version has to do.
    """
    for file in metadata.files(_PLUGIN) or []:
        if file.match("sboms/*.json"):
            parts = json.loads(file.read_text(encoding="utf-8"))["components"]
            for part in parts:
                if found := re.search(r"\+libjxl-([\d.]+)", part.get("version", "")):
                    return f"libjxl {found[1]}"
    return f"{_PLUGIN} {metadata.version(_PLUGIN)}"
