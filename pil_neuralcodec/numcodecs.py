"""numcodecs codecs ``ifl`` and ``bsw``: chunks of arrays as ``.ifl`` and ``.bsw`` files.

numcodecs finds them by entry point once the package is installed. With zarr's format 2 they are a ``compressor``; for
format 3 there are those in ``pil_neuralcodec.zarr``.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray, ndarray_copy

from . import arrays


class _NeuralCodec(Codec):  # type: ignore[misc]
    """What both codecs share.

    Parameters
    ----------
    axes: a letter for each axis of a chunk: Y and X, C for bands, others for images that are coded together. None: as
        of ``arrays.default_axes``.
    model: name, path or id of a model (None: the default one), kept as an id. Chunks name their model.
    fallback: as of `pil_neuralcodec.encode`.

    Takes arrays of bool, uint8, int8, uint16 and int16 in either byte order and either memory order, and gives them
    back so.
    """

    codec_id: ClassVar[str]

    def __init__(
        self, *, axes: str | None = None, model: str | os.PathLike[str] | None = None, fallback: bool | str = True
    ) -> None:
        self.axes, self.fallback = axes, fallback
        self.model = arrays.model_in_config(model, self.codec_id)

    def encode(self, buf: Any) -> bytes:
        """The bytes of a chunk. Raises `TypeError` for samples, and `ValueError` for shapes, that are not taken."""
        array = ensure_ndarray(buf)
        return arrays.encode(array, self.codec_id, axes=self.axes, model=self.model, fallback=self.fallback)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The chunk, in its own shape and type, or in ``out``. Raises `pil_neuralcodec.FormatError` for damage."""
        return ndarray_copy(arrays.decode(ensure_bytes(buf)), out)

    def get_config(self) -> dict[str, Any]:
        """Codec id and what differs from the defaults."""
        return {"id": self.codec_id} | self._options()

    def _options(self) -> dict[str, Any]:
        return arrays.changed(self.axes, self.model, self.fallback)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self._options().items())})"


class Ifl(_NeuralCodec):
    """Chunks as ``.ifl`` files."""

    codec_id = "ifl"


class Bsw(_NeuralCodec):
    """Chunks as ``.bsw`` files."""

    codec_id = "bsw"


__all__ = ["Bsw", "Ifl"]
