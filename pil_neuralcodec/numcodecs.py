"""numcodecs codecs ``ifl`` and ``bsw``: chunks of arrays as ``.ifl`` and ``.bsw`` files.

numcodecs finds them by entry point once the package is installed. With zarr's format 2 they are a ``compressor``; for
format 3 there are those in ``pil_neuralcodec.zarr``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_ndarray, ndarray_copy

from . import arrays


class _NeuralCodec(arrays.ChunkCodec, Codec):  # type: ignore[misc]
    """What both codecs share; options as of `arrays.ChunkCodec`.

    Takes arrays of bool, uint8, int8, uint16 and int16 in either byte order and either memory order, and gives them
    back so.
    """

    codec_id: ClassVar[str]

    def encode(self, buf: Any) -> bytes:
        """The bytes of a chunk. Raises `TypeError` for samples, and `ValueError` for shapes, that are not taken."""
        return self.encode_chunk(ensure_ndarray(buf))

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The chunk, in its own shape and type, or in ``out``. Raises `pil_neuralcodec.FormatError` for damage."""
        array = arrays.decode(ensure_bytes(buf))
        if isinstance(out, np.ndarray) and out.shape == array.shape and np.can_cast(array.dtype, out.dtype, "equiv"):
            np.copyto(out, array)  # values: numcodecs copies bytes, whatever their order in either
            return out
        return ndarray_copy(array, out)

    def get_config(self) -> dict[str, Any]:
        """Codec id and what differs from the defaults."""
        return {"id": self.codec_id} | self.configuration()


class Ifl(_NeuralCodec):
    """Chunks as ``.ifl`` files."""

    codec_id = format = "ifl"


class Bsw(_NeuralCodec):
    """Chunks as ``.bsw`` files."""

    codec_id = format = "bsw"


__all__ = ["Bsw", "Ifl"]
