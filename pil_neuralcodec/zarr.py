"""zarr codecs ``pil_neuralcodec.ifl`` and ``pil_neuralcodec.bsw``, for format 3.

They turn chunks of arrays into bytes, and so stand in the place of zarr's ``bytes`` codec: ``serializer=IflCodec(),
compressors=None``. zarr finds them by entry point once the package is installed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from zarr.abc.codec import ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin
from zarr.core.common import JSON, parse_named_configuration

from . import arrays
from .errors import FormatError

if TYPE_CHECKING:
    from zarr.abc.store import ByteGetter
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.indexing import SelectorTuple


class _NeuralCodec(arrays.ChunkCodec, ArrayBytesCodec, ArrayBytesCodecPartialDecodeMixin):
    """What both codecs share; options as of `arrays.ChunkCodec`.

    Of a chunk only the tiles are decoded that a selection touches.
    """

    is_fixed_size = False
    name: ClassVar[str]

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """From the metadata of an array."""
        _, configuration = parse_named_configuration(data, cls.name, require_configuration=False)
        return cls(**(configuration or {}))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, JSON]:
        """For the metadata of an array: what differs from the defaults."""
        changed = self.configuration()
        return {"name": self.name, "configuration": changed} if changed else {"name": self.name}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Called when an array is made or grows. Raises `TypeError` for samples, `ValueError` for chunks, not taken.

        The array's own shape does not count: only chunks are coded, and it changes as the array grows.
        """
        arrays.check(self.axes, getattr(chunk_grid, "chunk_shape", shape), dtype.to_native_dtype())

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raises `NotImplementedError`: it depends on the pixels."""
        raise NotImplementedError

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return chunk_spec.prototype.buffer.from_bytes(self.encode_chunk(chunk_array.as_numpy_array()))

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        bounds = tuple((0, size) for size in chunk_spec.shape)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(_decoded(chunk_bytes, bounds, chunk_spec))

    def _decode_partial_sync(self, chunk_bytes: Buffer, selection: SelectorTuple, chunk_spec: ArraySpec) -> NDBuffer:
        bounds, inside = _bounds(selection, chunk_spec.shape)
        array = _decoded(chunk_bytes, bounds, chunk_spec)[inside]
        return chunk_spec.prototype.nd_buffer.from_numpy_array(np.asarray(array))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _decode_partial_single(
        self, byte_getter: ByteGetter, selection: SelectorTuple, chunk_spec: ArraySpec
    ) -> NDBuffer | None:
        data = await byte_getter.get(prototype=chunk_spec.prototype)
        if data is None:
            return None
        return await asyncio.to_thread(self._decode_partial_sync, data, selection, chunk_spec)


class IflCodec(_NeuralCodec):
    """Chunks as ``.ifl`` files."""

    name, format = "pil_neuralcodec.ifl", "ifl"


class BswCodec(_NeuralCodec):
    """Chunks as ``.bsw`` files."""

    name, format = "pil_neuralcodec.bsw", "bsw"


def _decoded(data: Buffer, bounds: tuple[tuple[int, int], ...], spec: ArraySpec) -> arrays.Array:
    """A part of a chunk. Raises `FormatError` for bytes that are not of such a chunk."""
    dtype = spec.dtype.to_native_dtype()
    whole = all(bound == (0, size) for bound, size in zip(bounds, spec.shape, strict=True))
    array = arrays.decode(data.to_bytes(), spec.shape, None if whole else bounds)
    if array.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise FormatError(f"a chunk of {array.dtype} in an array of {dtype}: it belongs to another array")
    return array.astype(dtype, copy=False)


def _bounds(selection: Any, shape: tuple[int, ...]) -> tuple[tuple[tuple[int, int], ...], tuple[Any, ...]]:
    """What a selection in an array of ``shape`` touches, (start, stop) for each axis, and the selection within that."""
    bounds: list[tuple[int, int]] = []
    inside: list[Any] = []
    items = selection if isinstance(selection, tuple) else (selection,)
    for item, size in zip((*items, *[slice(None)] * (len(shape) - len(items))), shape, strict=True):
        touched = np.arange(size)[item]
        low, stop = (int(touched.min()), int(touched.max()) + 1) if touched.size else (0, 1)
        bounds.append((low, stop))
        if isinstance(item, slice):  # stays one: beside numbers an array would mean something else
            inside.append(slice(int(touched[0]) - low, None, item.step) if touched.size else slice(0))
        else:
            inside.append(touched - low if touched.ndim else int(touched) - low)
    return tuple(bounds), tuple(inside)


__all__ = ["BswCodec", "IflCodec"]
