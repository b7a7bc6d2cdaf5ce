"""What the codecs for chunks of arrays share: default axes, types of samples, configurations.

``numcodecs`` and ``zarr`` are adapters above this. Nothing here imports torch before a chunk is coded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from . import gate
from .container import MAX_PIXELS
from .errors import FormatError, UnknownModelError
from .metadata import axis_letters

Array = npt.NDArray[Any]

DTYPES: Final = ("bool", "uint8", "int8", "uint16", "int16")
"""Types of samples that the codecs take, in either byte order."""
MAX_AXES: Final = 8
_BANDS: Final = 4
"""Where no axes are named, a last axis that is not longer holds the bands."""
_DEFAULTS: Final = {"axes": None, "model": None, "fallback": True}
_OTHERS: Final = "MNPTSZ"
"""Names of the axes before these, the last one first to be used."""


def default_axes(shape: Sequence[int]) -> str:
    """The axes of an array where none are named: YX; YXC where a third, last axis has at most 4 entries, colours; and
    before them Z, S, T and others, of images that are coded together.

    Raises `ValueError` for less than two axes, or more than eight.
    """
    if not 2 <= len(shape) <= MAX_AXES:
        raise ValueError(f"cannot code chunks of shape {tuple(shape)} as images: they need 2 to {MAX_AXES} axes")
    plane = "YXC" if len(shape) > 2 and shape[-1] <= _BANDS else "YX"
    return _OTHERS[len(_OTHERS) - (len(shape) - len(plane)) :] + plane


def check(axes: str | None, shape: Sequence[int], dtype: np.dtype[Any]) -> str:
    """The axes of an array, named or by default.

    Raises `TypeError` for samples, and `ValueError` for axes and shapes, that the codecs do not take.
    """
    if dtype.name not in DTYPES:
        raise TypeError(
            f"cannot code samples of {dtype}: networks predict images of {', '.join(DTYPES)};"
            " convert the array, or take another codec for it"
        )
    return default_axes(shape) if axes is None else axis_letters(axes, shape)


def model_in_config(model: str | os.PathLike[str] | None, format: str) -> str | None:
    """How a configuration names a model: by its id in hex, or not at all if it is the default one of ``format``.

    Raises `UnknownModelError` for a name or path of no model; an id is taken as it is.
    """
    from . import models

    if model is None:
        return None
    name = os.fspath(model)
    if not re.fullmatch("[0-9a-f]{16}", name):
        name = models.load(model, format).id.hex()
    try:
        return None if name == models.load(None, format).id.hex() else name
    except UnknownModelError:
        return name


def changed(axes: str | None, model: str | None, fallback: bool | str) -> dict[str, Any]:
    """What of a codec's options belongs into a configuration: those that are not the default."""
    options: dict[str, Any] = {"axes": axes, "model": model, "fallback": fallback}
    return {key: value for key, value in options.items() if value != _DEFAULTS[key]}


def encode(array: Array, format: str, *, axes: str | None, model: str | None, fallback: bool | str) -> bytes:
    """The bytes of a chunk; options as of `pil_neuralcodec.encode`. Raises as `check`, and `UnknownModelError`."""
    from . import api

    letters = check(axes, array.shape, array.dtype)
    bands = array.shape[letters.index("C")] if "C" in letters else 1
    if array.size // bands * -(-bands // 4) > MAX_PIXELS:
        raise ValueError(f"cannot code a chunk of shape {array.shape}: choose chunks of at most {MAX_PIXELS} pixels")
    with gate.CHUNKS:
        return api.encode(array, format, axes=letters, model=model, fallback=fallback)


def decode(data: bytes, shape: tuple[int, ...] | None = None, part: Sequence[tuple[int, int]] | None = None) -> Array:
    """The array of a chunk, or a part of it; of ``shape``, where it is known.

    Raises as `pil_neuralcodec.decode`, before anything is decoded where the shape is another.
    """
    from . import api, container
    from .reader import Reader

    with api.opened(data) as fp, gate.CHUNKS:
        reader = Reader(fp, container.read_header(fp, max_pixels=MAX_PIXELS))
        found = api.info_of(reader).shape
        if shape is not None and found != shape:
            raise FormatError(f"a chunk of shape {found} where {shape} is expected: it belongs to another array")
        return api.decode_opened(reader, part=part)
