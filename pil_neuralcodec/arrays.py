"""What the codecs for chunks of arrays share: options and types of samples.

``numcodecs`` and ``zarr`` are adapters above this. Nothing here imports torch before a chunk is coded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from . import gate
from .container import MAX_PIXELS
from .errors import FormatError, UnknownModelError
from .metadata import axis_letters
from .sheets import default_axes

Array = npt.NDArray[Any]

DTYPES: Final = ("bool", "uint8", "int8", "uint16", "int16")
"""Types of samples that the codecs take, in either byte order."""


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


def decode(data: bytes, shape: tuple[int, ...] | None = None, part: Sequence[tuple[int, int]] | None = None) -> Array:
    """The array of a chunk, or a part of it; of ``shape``, where it is known.

    Raises as `pil_neuralcodec.decode`, before anything is decoded where the shape is another.
    """
    from . import api, container
    from .reader import Reader

    with api.opened(data) as fp, gate.CHUNKS:
        reader = Reader(fp, container.read_header(fp, max_pixels=MAX_PIXELS))
        info = api.info_of(reader)
        if info.n_frames > 1:
            raise FormatError(f"a file of {info.n_frames} frames is no chunk of an array")
        if shape is not None and info.shape != shape:
            raise FormatError(f"a chunk of shape {info.shape} where {shape} is expected: it belongs to another array")
        if part is not None and info.metadata.axes is None:  # an image
            return api.decode_opened(reader)[tuple(slice(*bounds) for bounds in part)]
        return api.decode_opened(reader, part=part)


@dataclass(frozen=True, kw_only=True, repr=False)
class ChunkCodec:
    """Chunks of arrays as files of one ``format``.

    Parameters
    ----------
    axes : a letter for each axis: Y and X, C for bands, others for images that are coded together. None: as of
        `sheets.default_axes` for a chunk.
    model : name, path or id of a model (None: the default one), kept as an id. Chunks name their model.
    fallback, past : as of `pil_neuralcodec.encode`.

    Raises
    ------
    UnknownModelError : for a name or path of no model.
    """

    format: ClassVar[str]
    axes: str | None = None
    model: str | os.PathLike[str] | None = None
    fallback: bool | str = True
    past: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self._model_id())

    def _model_id(self) -> str | None:
        """The model's id in hex, or None for the default one of the format. An id is taken as it is."""
        from . import models

        if self.model is None:
            return None
        name = os.fspath(self.model)
        if not re.fullmatch("[0-9a-f]{16}", name):
            name = models.load(self.model, self.format).id.hex()
        try:
            return None if name == models.load(None, self.format).id.hex() else name
        except UnknownModelError:
            return name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.configuration().items())})"

    def configuration(self) -> dict[str, Any]:
        """The options that are not the default."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    def encode_chunk(self, array: Array) -> bytes:
        """The bytes of a chunk. Raises as `check`, and `ValueError` for a chunk that is too large."""
        from . import api

        letters = check(self.axes, array.shape, array.dtype)
        bands = array.shape[letters.index("C")] if "C" in letters else 1
        if array.size // bands * -(-bands // 4) > MAX_PIXELS:
            shape = array.shape
            raise ValueError(f"cannot code a chunk of shape {shape}: choose chunks of at most {MAX_PIXELS} pixels")
        with gate.CHUNKS:
            return api.encode(
                array, self.format, axes=letters, model=self.model, fallback=self.fallback, past=self.past
            )
