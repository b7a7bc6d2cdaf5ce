"""Exact layers in numpy: the reference that every other kernel is compared with, and the way to decode without torch.

A convolution is a matrix product over gathered windows ("im2col", Chellapilla et al. 2006), a block of positions at a
time. BLAS adds in an order of its own, which does not matter: all partial sums are integers below 2**23, exact in
float32 (``spec``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .spec import ACT_MAX, ConvSpec

_BLOCK_BYTES = 4 << 20
"""Gathered windows held at once: small enough for a cache, large enough for BLAS."""

FloatArray = npt.NDArray[np.floating[Any]]
_DTYPES: dict[str, type[np.floating[Any]]] = {"fp32": np.float32, "fp64": np.float64}


class _Layer:
    """A layer's numbers in the form that the matrix product takes."""

    def __init__(self, spec: ConvSpec, dtype: type[np.floating[Any]]) -> None:
        outputs, self.inputs, self.kernel, _ = spec.weight.shape
        self.matrix = np.ascontiguousarray(spec.weight.transpose(2, 3, 1, 0).reshape(-1, outputs), dtype=dtype)
        self.bias = spec.bias.astype(dtype)
        self.scale = np.exp2(-spec.shift.astype(dtype))


class NumpyNetwork:
    """Runs exact layers on arrays (N, h, w, C) of integers held as floats.

    Parameters
    ----------
    layers: the layers by name.
    kernel: ``"fp32"`` (default) or ``"fp64"`` (half as fast; for a BLAS that fails the self-test).
    """

    device = "numpy"

    def __init__(self, layers: Mapping[str, ConvSpec], kernel: str = "fp32") -> None:
        self.layers = layers
        self.kernel = kernel
        self._dtype: type[np.floating[Any]] = _DTYPES[kernel]
        self._packed = {name: _Layer(spec, self._dtype) for name, spec in layers.items()}

    def from_pixels(self, pixels: npt.NDArray[np.int8]) -> FloatArray:
        """Pixel inputs int8 (N, h, w, C) as the network's own array."""
        return pixels.astype(self._dtype)

    def to_numpy(self, x: FloatArray) -> npt.NDArray[np.int32]:
        """A head's output (or a feature map) as int32 (N, h, w, C)."""
        return x.astype(np.int32)

    def upsample(self, x: FloatArray, height: int, width: int) -> FloatArray:
        """Every position twice in both directions, cropped to ``height`` x ``width``."""
        return x.repeat(2, axis=1)[:, :height].repeat(2, axis=2)[:, :, :width]

    def conv(self, name: str, x: FloatArray, skip: FloatArray | None = None) -> FloatArray:
        """A hidden layer, optionally with a residual connection."""
        return self._run(self._packed[name], x, skip, clamp=True)

    def head(self, name: str, x: FloatArray) -> FloatArray:
        """A layer without clamp."""
        return self._run(self._packed[name], x, None, clamp=False)

    def _run(self, layer: _Layer, x: FloatArray, skip: FloatArray | None, *, clamp: bool) -> FloatArray:
        n, height, width, channels = x.shape
        if channels != layer.inputs:
            raise ValueError(f"this layer takes {layer.inputs} channels, not {channels}")
        out = np.empty((n, height, width, len(layer.bias)), dtype=self._dtype)
        positions = max(1, _BLOCK_BYTES // (layer.matrix.shape[0] * out.itemsize))
        for image in range(n):
            for rows, columns in _blocks(height, width, positions):
                block = (image, rows, columns)
                y = _windows(x[image], rows, columns, layer.kernel) @ layer.matrix
                y += layer.bias
                y *= layer.scale
                y = y.reshape(out[block].shape)
                if skip is not None:
                    y += skip[block]
                np.rint(y, out=y)
                if clamp:
                    np.clip(y, 0, ACT_MAX, out=y)
                out[block] = y
        return out


def _blocks(height: int, width: int, positions: int) -> Iterator[tuple[slice, slice]]:
    """Cut a plane into blocks of about ``positions``: whole rows, and parts of one where a row is longer."""
    columns = max(1, min(width, positions))
    rows = max(1, positions // columns)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield slice(top, min(top + rows, height)), slice(left, min(left + columns, width))


def _windows(x: FloatArray, rows: slice, columns: slice, kernel: int) -> FloatArray:
    """The zero-padded windows around each position of a block of ``x`` (h, w, C), as a matrix (positions, k*k*C)."""
    height, width, channels = x.shape
    count, wide = rows.stop - rows.start, columns.stop - columns.start
    if kernel == 1:
        return x[rows, columns].reshape(count * wide, channels)
    out = np.zeros((count, wide, kernel, kernel, channels), dtype=x.dtype)
    for dy in range(kernel):
        top = rows.start + dy - kernel // 2
        first, last = max(0, -top), min(count, height - top)
        for dx in range(kernel):
            left = columns.start + dx - kernel // 2
            start, stop = max(0, -left), min(wide, width - left)
            if first < last and start < stop:
                out[first:last, start:stop, dy, dx] = x[top + first:top + last, left + start:left + stop]
    return out.reshape(count * wide, -1)
