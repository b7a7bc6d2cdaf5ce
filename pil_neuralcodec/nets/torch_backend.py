"""Exact layers in torch: int8 and float kernels on CPUs, matrix products on GPUs.

Feature maps are tensors (N, C, h, w) in channels-last memory. Their type depends on the kernel:

======== ============================================== ============== ===========================================
kernel   computes with                                  activations    pixels
======== ============================================== ============== ===========================================
int8     oneDNN's quantised convolution                 uint8          uint8, 128 added
fp32     ``conv2d`` on integers, checked                float32        float32
fp64     ``conv2d`` on integers, rounded                float64        float64
======== ============================================== ============== ===========================================

On GPUs every convolution is a matrix product over gathered windows, int8 x int8 -> int32 if the device can do it, else
float products of the same integers. cuDNN's convolutions are not used: its Winograd and FFT kernels round. No
process-wide setting of torch is changed or relied upon.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from .spec import ACT_MAX, ConvSpec

_NHWC = torch.channels_last
_BATCH = 8
"""Images per call of a float kernel: without oneDNN, torch takes a Winograd kernel for 16 and more."""
_GATHER_BYTES = 256 << 20
"""Bytes of gathered windows that a matrix product holds at once."""

_DTYPES: dict[str, type[np.generic]] = {"int8": np.uint8, "fp32": np.float32, "fp64": np.float64}
_SMALL = 12
"""Inputs of fewer than 12 x 12 positions are padded to that size for oneDNN. It needs the weights in another layout for
the smallest inputs and would convert them at every call, which costs a hundred times as much as the layer."""
_Layer = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]

# A forked child inherits the settings of a thread pool but not its threads, and would wait for them for ever
# (pytorch/pytorch#17199). One thread is also right for a worker among many.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def available(device: str) -> bool:
    """Whether networks can run on ``device``: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``, ..."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return device == "cpu"
    return torch.cuda.is_available() and (number or "0").isdecimal() and int(number or 0) < torch.cuda.device_count()


class TorchNetwork:
    """A ``backends.Network`` on torch tensors (N, C, h, w).

    Parameters
    ----------
    device
        ``"cpu"`` or a CUDA device.
    kernel
        One of ``backends.KERNELS``.
    products
        Whether convolutions are matrix products; None: on all devices but the CPU.

    Raises
    ------
    RuntimeError, AttributeError, TypeError
        As torch does, if it lacks the kernel.
    """

    def __init__(
        self, layers: Mapping[str, ConvSpec], device: str = "cpu", kernel: str = "int8", *, products: bool | None = None
    ) -> None:
        self.layers = layers
        self.device = device
        self.kernel = kernel
        if kernel not in _DTYPES:
            raise ValueError(f"unknown kernel {kernel!r}")
        products = device != "cpu" if products is None else products
        self._offset = kernel == "int8" and not products
        self._dtype = np.int8 if products and kernel == "int8" else _DTYPES[kernel]
        self._run: dict[str, _Layer] = {}
        for name, spec in layers.items():
            if products:
                self._run[name] = _Product(spec, device, kernel)
            elif kernel == "int8":
                self._run[name] = _QuantisedConv(spec)
            else:
                self._run[name] = _FloatConv(spec, torch.float32 if kernel == "fp32" else torch.float64)

    def from_pixels(self, pixels: npt.NDArray[np.int8]) -> torch.Tensor:
        """See ``Network``."""
        if self._offset:
            return self._load(np.ascontiguousarray(pixels).view(np.uint8) ^ np.uint8(128))
        return self._load(pixels.astype(self._dtype))

    def from_activations(self, activations: npt.NDArray[np.uint8]) -> torch.Tensor:
        """See ``Network``."""
        return self._load(activations.astype(self._dtype))

    def to_numpy(self, x: torch.Tensor) -> npt.NDArray[np.int32]:
        """See ``Network``."""
        result: npt.NDArray[np.int32] = x.permute(0, 2, 3, 1).to(torch.int32).contiguous().cpu().numpy()
        return result

    def upsample(self, x: torch.Tensor, height: int, width: int, top: int = 0, left: int = 0) -> torch.Tensor:
        """See ``Network``."""
        n, c, h, w = x.shape
        twice = x.permute(0, 2, 3, 1)[:, :, None, :, None].expand(n, h, 2, w, 2, c).reshape(n, 2 * h, 2 * w, c)
        return twice[:, top : top + height, left : left + width].contiguous().permute(0, 3, 1, 2)

    def _load(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device).permute(0, 3, 1, 2)

    def conv(self, name: str, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """See ``Network``."""
        spec = self.layers[name]
        if x.shape[1] != spec.weight.shape[1]:
            raise ValueError(f"layer {name!r} takes {spec.weight.shape[1]} channels, not {x.shape[1]}")
        if x.numel() == 0:
            n, _, h, w = x.shape
            return torch.empty((n, len(spec.bias), h, w), dtype=x.dtype, device=x.device)
        return self._run[name](x, skip)

    def conv_at(self, name: str, x: torch.Tensor, skip: torch.Tensor | None, row: int, column: int) -> torch.Tensor:
        """See ``Network``."""
        return self.conv(name, x, skip)[..., row::2, column::2].contiguous(memory_format=_NHWC)


def _tensor(values: npt.NDArray[np.generic], dtype: torch.dtype, device: str = "cpu") -> torch.Tensor:
    return torch.from_numpy(np.array(values)).to(device=device, dtype=dtype)


def _finish(y: torch.Tensor, skip: torch.Tensor | None, clamp: bool) -> torch.Tensor:
    """Add, round and clamp in place; ``y`` holds ``acc * 2**-shift`` in a float type."""
    if skip is not None:
        y += skip
    y.round_()
    return y.clamp_(0, ACT_MAX) if clamp else y


class _QuantisedConv:
    """oneDNN's uint8 x int8 convolution. The operator is torch's own and not public: the self-test decides on its use.

    It scales the int32 accumulator, adds bias and skip in float32 (exact: multiples of 2**-shift below
    2**(24 - shift)), rounds half to even and saturates to 0..255. Without VNNI it adds pairs of products in 16 bits:
    2 * 127 * 127 and, for pixels, 2 * 255 * 64 fit.
    """

    def __init__(self, spec: ConvSpec) -> None:
        outputs, _, kernel, _ = spec.weight.shape
        self._outputs, self._clamp = outputs, not spec.is_output
        # Pixels have 128 added, which the bias subtracts again, so they are padded here with 128. Activations are
        # padded inside the operator, with 0.
        reach: int = kernel // 2
        self._border, self._blank, padding = (reach, 128, 0) if spec.pixel_input else (0, 0, reach)
        bias = spec.bias.astype(np.int64)
        if spec.pixel_input:
            bias -= 128 * spec.weight.astype(np.int64).sum(axis=(1, 2, 3))
        self._scale = torch.exp2(-_tensor(spec.shift, torch.float32))
        self._bias = _tensor(bias, torch.float32) * self._scale
        self._zero = _tensor(np.zeros(outputs), torch.int32)
        # Stride, padding, dilation, groups.
        geometry = ([1, 1], [padding, padding], [1, 1], 1)
        ones = _tensor(np.ones(outputs), torch.float32)
        self._weight = torch.ops.onednn.qconv_prepack(_tensor(spec.weight, torch.int8), ones, 1.0, 0, *geometry, None)
        self._geometry = (*geometry, 1.0, 0)  # and the output's scale and zero point

    def __call__(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        height, width = x.shape[2:]
        small = height * width < _SMALL * _SMALL
        more = (max(0, _SMALL - width), max(0, _SMALL - height)) if small else (0, 0)
        edge = self._border
        if edge or small:
            x = F.pad(x, (edge, edge + more[0], edge, edge + more[1]), value=self._blank)
            x = x.contiguous(memory_format=_NHWC)
        run = torch.ops.onednn.qconv2d_pointwise
        operands = (x, 1.0, 0, self._weight, self._scale, self._zero)
        if skip is not None:
            # The operator adds to its argument in place, so it gets a copy.
            total = F.pad(skip, (0, more[0], 0, more[1])).contiguous(memory_format=_NHWC) if small else skip.clone()
            add: tuple[Any, ...] = (torch.uint8, 1.0, 0, "sum", 1.0, None, [], None)
            y: torch.Tensor = run.binary(*operands, total, self._bias, *self._geometry, *add)
        else:
            dtype = torch.uint8 if self._clamp else torch.float32
            y = run.default(*operands, self._bias, *self._geometry, dtype, "none", [], "")
        if small:
            y = y[:, :, :height, :width].contiguous(memory_format=_NHWC)
        return y.clamp_max_(ACT_MAX) if self._clamp else y.round_()


class _FloatConv:
    """``conv2d`` on integers held as floats.

    In float32 a direct or matrix-product kernel is exact. A Winograd kernel is not: its sums are not integers, and then
    the layer is computed again in float64, in which its errors are far below one half.
    """

    def __init__(self, spec: ConvSpec, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._clamp = not spec.is_output
        self._padding = spec.weight.shape[2] // 2
        self._weight = _tensor(spec.weight, dtype).contiguous(memory_format=_NHWC)
        self._bias = _tensor(spec.bias, dtype)
        self._scale = torch.exp2(-_tensor(spec.shift, dtype)).view(-1, 1, 1)

    def __call__(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        parts = [
            self._part(x[i : i + _BATCH], None if skip is None else skip[i : i + _BATCH])
            for i in range(0, len(x), _BATCH)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts).contiguous(memory_format=_NHWC)

    def _part(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        y = self._sums(x)
        y *= self._scale
        return _finish(y, skip, self._clamp)

    def _sums(self, x: torch.Tensor) -> torch.Tensor:
        # Under a caller's autocast it would be a bfloat16 convolution. Autocast is a setting of this thread alone.
        with torch.autocast("cpu", enabled=False):
            sums = F.conv2d(x, self._weight, self._bias, padding=self._padding)
        if self._dtype == torch.float32:
            if torch.equal(sums, sums.round()):
                return sums
            sums = F.conv2d(x.double(), self._weight.double(), self._bias.double(), padding=self._padding)
        return sums.round_().to(self._dtype).contiguous(memory_format=_NHWC)


class _Product:
    """A convolution as one matrix product over gathered windows.

    int8: ``_int_mm`` with int32 sums. Float: factors have 8 bits and sums stay below 2**23, so the product is exact
    even if the device multiplies in TF32 or bfloat16.
    """

    def __init__(self, spec: ConvSpec, device: str, kernel: str) -> None:
        outputs, inputs, self._kernel, _ = spec.weight.shape
        self._integer = kernel == "int8"
        self._outputs, self._clamp = outputs, not spec.is_output
        dtype = {"int8": torch.int8, "fp32": torch.float32, "fp64": torch.float64}[kernel]
        matrix = spec.weight.transpose(0, 2, 3, 1).reshape(outputs, -1)
        # Tensor cores need lengths that are multiples of 8: padded with zeros.
        self._fill = -matrix.shape[1] % 8
        matrix = np.pad(matrix, ((0, -outputs % 8), (0, self._fill)))
        self._matrix = _tensor(matrix, dtype, device).t()
        self._bias = _tensor(spec.bias, torch.int32 if self._integer else dtype, device)
        self._scale = torch.exp2(-_tensor(spec.shift, torch.float64 if kernel == "fp64" else torch.float32, device))

    def __call__(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        n, _, height, width = x.shape
        reach = self._kernel // 2
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, reach, reach, reach, reach))
        row_bytes = n * width * self._matrix.shape[0] * x.element_size()
        rows = max(1, _GATHER_BYTES // row_bytes)
        result_type = x.dtype if self._clamp or not self._integer else torch.float32
        strips = []
        for top in range(0, height, rows):
            strip = padded[:, top : top + rows + 2 * reach]
            part = None if skip is None else skip[:, :, top : top + rows].permute(0, 2, 3, 1)
            strips.append(_finish(self._strip(strip, width), part, self._clamp).to(result_type))
        y = strips[0] if len(strips) == 1 else torch.cat(strips, dim=1)
        return y.permute(0, 3, 1, 2)

    def _strip(self, padded: torch.Tensor, width: int) -> torch.Tensor:
        """``acc * 2**-shift`` of all positions of a padded strip (N, rows + kernel - 1, width + kernel - 1, C)."""
        n, padded_rows, _, _ = padded.shape
        rows = padded_rows - self._kernel + 1
        shifted = [
            padded[:, dy : dy + rows, dx : dx + width] for dy in range(self._kernel) for dx in range(self._kernel)
        ]
        if self._fill:
            shifted.append(padded.new_zeros((n, rows, width, self._fill)))
        windows = torch.cat(shifted, dim=3).flatten(0, 2)
        count = len(windows)
        if self._integer:
            if count < 32:  # _int_mm needs more than 16 rows
                windows = F.pad(windows, (0, 0, 0, 32 - count))
            sums = torch._int_mm(windows, self._matrix)[:count, : self._outputs]
        else:
            with torch.autocast(windows.device.type, enabled=False):
                sums = torch.mm(windows, self._matrix)[:, : self._outputs]
        y = (sums + self._bias).to(self._scale.dtype) * self._scale
        return y.view(n, rows, width, self._outputs)
