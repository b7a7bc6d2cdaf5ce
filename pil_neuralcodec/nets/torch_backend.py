"""Exact layers in torch, for GPUs: every convolution is a matrix product over gathered windows.

Products are int8 x int8 -> int32 if the device can do it, else float products of the same integers. cuDNN's
convolutions are not used: its Winograd and FFT kernels round. No process-wide setting of torch is changed, or relied
upon.

Feature maps are tensors (N, C, h, w) in channels-last memory: of int8, float32 or float64 by kernel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from .. import gate
from .positions import Positions
from .spec import ACT_MAX, ConvSpec

_GATHER_BYTES = 256 << 20
"""Bytes of gathered windows that a matrix product holds at once."""

_DTYPES: dict[str, tuple[type[np.generic], torch.dtype]] = {
    "int8": (np.int8, torch.int8),
    "fp32": (np.float32, torch.float32),
    "fp64": (np.float64, torch.float64),
}


def available(device: str) -> bool:
    """Whether torch finds ``device``: ``"cuda"`` or ``"cuda:1"``, ..."""
    number = device.partition(":")[2] or "0"
    return torch.cuda.is_available() and number.isdecimal() and int(number) < torch.cuda.device_count()


class TorchNetwork:
    """A ``backends.Network`` on torch tensors (N, C, h, w).

    Parameters
    ----------
    device
        A CUDA device; ``"cpu"`` only to test the arithmetic.
    kernel
        One of ``backends.KERNELS``.

    Raises
    ------
    RuntimeError, AttributeError, TypeError
        As torch does, if it lacks the kernel.
    """

    def __init__(self, layers: Mapping[str, ConvSpec], device: str = "cuda", kernel: str = "int8") -> None:
        self.layers = layers
        self.device = device
        self.kernel = kernel
        self._dtype = _DTYPES[kernel][0]
        self._run = {name: _Product(spec, device, kernel) for name, spec in layers.items()}

    def from_pixels(self, pixels: npt.NDArray[np.int8], positions: Positions | None = None) -> torch.Tensor:
        """See ``Network``."""
        return self._load((pixels if positions is None else positions.appended(pixels)).astype(self._dtype))

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
        gate.checkpoint()
        spec = self.layers[name]
        if x.shape[1] != spec.weight.shape[1]:
            raise ValueError(f"layer {name!r} takes {spec.weight.shape[1]} channels, not {x.shape[1]}")
        if x.numel() == 0:
            n, _, h, w = x.shape
            return torch.empty((n, len(spec.bias), h, w), dtype=x.dtype, device=x.device)
        return self._run[name](x, skip)

    def conv_at(self, name: str, x: torch.Tensor, skip: torch.Tensor | None, row: int, column: int) -> torch.Tensor:
        """See ``Network``."""
        some = self.conv(name, x, skip)[..., row::2, column::2]
        return some.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _tensor(values: npt.NDArray[np.generic], dtype: torch.dtype, device: str) -> torch.Tensor:
    return torch.from_numpy(np.array(values)).to(device=device, dtype=dtype)


def _finish(y: torch.Tensor, skip: torch.Tensor | None, clamp: bool) -> torch.Tensor:
    """Add, round and clamp in place; ``y`` holds ``acc * 2**-shift`` in a float type."""
    if skip is not None:
        y += skip
    y.round_()
    return y.clamp_(0, ACT_MAX) if clamp else y


class _Product:
    """A convolution as one matrix product over gathered windows.

    int8: ``_int_mm`` with int32 sums. Float: factors have 8 bits and sums stay below 2**23, so the product is exact
    even if the device multiplies in TF32 or bfloat16.
    """

    def __init__(self, spec: ConvSpec, device: str, kernel: str) -> None:
        outputs, inputs, self._kernel, _ = spec.weight.shape
        self._integer = kernel == "int8"
        self._outputs, self._clamp = outputs, not spec.is_output
        dtype = _DTYPES[kernel][1]
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
