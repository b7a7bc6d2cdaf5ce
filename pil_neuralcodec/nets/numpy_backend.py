"""Exact layers in numpy: the reference for all other kernels, and the backend where there is no compiled core.

A convolution is a sum of matrix products, one for each kernel row, over a block of positions at a time. The order in
which BLAS adds does not matter: all partial sums are multiples of 2**-shift below 2**(23 - shift), which float32 holds
exactly (see ``spec``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import gate
from ..products import product
from .positions import Positions
from .spec import ACT_MAX, ConvSpec

_BLOCK_BYTES = 4 << 20
"""Bytes of gathered windows held at once: few enough for a cache, and enough work for the threads of BLAS."""

FloatArray = npt.NDArray[np.floating[Any]]
_DTYPES: dict[str, type[np.floating[Any]]] = {"fp32": np.float32, "fp64": np.float64}


class _Layer:
    """A layer's weights as matrices, scaled by 2**-shift."""

    def __init__(self, spec: ConvSpec, dtype: type[np.floating[Any]], alone: bool) -> None:
        self._multiply = product if alone else np.matmul
        outputs, self.inputs, self.kernel, _ = spec.weight.shape
        self.clamp = not spec.is_output
        scale = np.exp2(-spec.shift.astype(dtype))
        rows = spec.weight.transpose(2, 3, 1, 0).reshape(self.kernel, self.kernel * self.inputs, outputs)
        self.rows = np.ascontiguousarray(rows * scale)
        self.bias = spec.bias * scale

    def sums(self, x: FloatArray, rows: slice, columns: slice) -> FloatArray:
        """``acc * 2**-shift`` for a block of positions of ``x`` (h, w, C): (rows, columns, outputs)."""
        windows = _windows(x, rows, columns, self.kernel)
        count, wide, length = rows.stop - rows.start, columns.stop - columns.start, self.rows.shape[1]
        y: FloatArray = self._multiply(windows[:count].reshape(-1, length), self.rows[0])
        for dy in range(1, self.kernel):
            y += self._multiply(windows[dy : dy + count].reshape(-1, length), self.rows[dy])
        y += self.bias
        return y.reshape(count, wide, -1)


class NumpyNetwork:
    """A ``backends.Network`` on numpy arrays (N, h, w, C) of integers held as floats.

    Parameters
    ----------
    kernel
        ``"fp32"``, or ``"fp64"`` for a BLAS that fails the self-test; it is half as fast.
    alone
        Whether BLAS is kept to one thread, see ``products``.
    """

    device = "numpy"

    def __init__(self, layers: Mapping[str, ConvSpec], kernel: str = "fp32", alone: bool = False) -> None:
        self.layers = layers
        self.kernel = kernel
        self._dtype: type[np.floating[Any]] = _DTYPES[kernel]
        self._packed = {name: _Layer(spec, self._dtype, alone) for name, spec in layers.items()}

    def from_pixels(self, pixels: npt.NDArray[np.int8], positions: Positions | None = None) -> FloatArray:
        """See ``Network``."""
        return (pixels if positions is None else positions.appended(pixels)).astype(self._dtype)

    def from_activations(self, activations: npt.NDArray[np.uint8]) -> FloatArray:
        """See ``Network``."""
        return activations.astype(self._dtype)

    def to_numpy(self, x: FloatArray) -> npt.NDArray[np.int32]:
        """See ``Network``."""
        return x.astype(np.int32)

    def upsample(self, x: FloatArray, height: int, width: int, top: int = 0, left: int = 0) -> FloatArray:
        """See ``Network``."""
        return x.repeat(2, axis=1)[:, top : top + height].repeat(2, axis=2)[:, :, left : left + width]

    def conv(self, name: str, x: FloatArray, skip: FloatArray | None = None) -> FloatArray:
        """See ``Network``."""
        layer = self._packed[name]
        n, height, width, channels = x.shape
        if channels != layer.inputs:
            raise ValueError(f"layer {name!r} takes {layer.inputs} channels, not {channels}")
        out = np.empty((n, height, width, len(layer.bias)), dtype=self._dtype)
        positions = max(1, _BLOCK_BYTES // (layer.rows.shape[1] * out.itemsize))
        for image in range(n):
            for rows, columns in _blocks(height, width, positions):
                gate.checkpoint()
                y = layer.sums(x[image], rows, columns)
                if skip is not None:
                    y += skip[image, rows, columns]
                np.rint(y, out=y)
                if layer.clamp:
                    np.clip(y, 0, ACT_MAX, out=y)
                out[image, rows, columns] = y
        return out

    def conv_at(self, name: str, x: FloatArray, skip: FloatArray | None, row: int, column: int) -> FloatArray:
        """See ``Network``."""
        return self.conv(name, x, skip)[:, row::2, column::2]


def _blocks(height: int, width: int, positions: int) -> Iterator[tuple[slice, slice]]:
    """Cut a feature map into blocks of about ``positions``: some whole rows, or parts of a row that is longer."""
    columns = max(1, min(width, positions))
    rows = max(1, positions // columns)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, min(top + rows, height)), slice(left, min(left + columns, width))


def _windows(x: FloatArray, rows: slice, columns: slice, kernel: int) -> FloatArray:
    """Windows of ``kernel`` neighbours in a row of ``x`` (h, w, C), zero outside of it, for a block of positions and
    the rows that the kernel reaches above and below: (rows + kernel - 1, columns, kernel, C)."""
    height, width, channels = x.shape
    reach = kernel // 2
    top, wide = rows.start - reach, columns.stop - columns.start
    count = rows.stop - rows.start + 2 * reach
    first, last = max(0, -top), min(count, height - top)
    out = np.zeros((count, wide, kernel, channels), dtype=x.dtype)
    for dx in range(kernel):
        left = columns.start + dx - reach
        start, stop = max(0, -left), min(wide, width - left)
        if start < stop:
            out[first:last, start:stop, dx] = x[top + first : top + last, left + start : left + stop]
    return out
