"""Layers by the quantised convolution of oneDNN inside torch: a peer of the compiled core, for ``kernels.py`` alone.

The operator is torch's own and not public. Arithmetic is that of ``nets.spec``, in layers of released models' sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from pil_neuralcodec.nets.positions import Positions
from pil_neuralcodec.nets.spec import ACT_MAX, ConvSpec

PIXEL_OFFSET = 128
"""Added to pixels, which the operator takes unsigned."""


class OneDnnNetwork:
    """Feature maps are uint8 tensors (N, C, h, w) in channels-last memory."""

    def __init__(self, layers: Mapping[str, ConvSpec]) -> None:
        self._run = {name: Convolution(spec) for name, spec in layers.items()}

    def from_pixels(self, pixels: np.ndarray, positions: Positions | None = None) -> torch.Tensor:
        """Pixels, int8 (N, h, w, C), and position channels behind them."""
        pixels = pixels if positions is None else positions.appended(pixels)
        return self.from_activations(pixels.view(np.uint8) ^ np.uint8(PIXEL_OFFSET))

    def from_activations(self, activations: np.ndarray) -> torch.Tensor:
        """Activations, uint8 (N, h, w, C)."""
        return torch.from_numpy(activations.copy()).permute(0, 3, 1, 2)

    def conv(self, name: str, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """A layer."""
        return self._run[name](x, skip)


class Convolution:
    """A layer. The sum in 32 bits is scaled, bias and skip are added in float32, and it is rounded half to even."""

    def __init__(self, spec: ConvSpec) -> None:
        reach = spec.weight.shape[2] // 2
        self._clamp, self._border = not spec.is_output, reach if spec.pixel_input else 0
        padding = 0 if spec.pixel_input else reach  # pixels are padded with the offset, before the operator
        bias = spec.bias.astype(np.int64)
        if spec.pixel_input:
            bias = bias - PIXEL_OFFSET * spec.weight.astype(np.int64).sum(axis=(1, 2, 3))
        self._scale = torch.exp2(-torch.from_numpy(spec.shift.astype(np.float32)))
        self._bias = torch.from_numpy(bias.astype(np.float32)) * self._scale
        self._zero = torch.zeros(len(bias), dtype=torch.int32)
        geometry = ([1, 1], [padding, padding], [1, 1], 1)  # stride, padding, dilation, groups
        weight, ones = torch.from_numpy(spec.weight.copy()), torch.ones(len(bias))
        self._weight = torch.ops.onednn.qconv_prepack(weight, ones, 1.0, 0, *geometry, None)
        self._geometry = (*geometry, 1.0, 0)  # and the output's scale and zero point

    def __call__(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        """Its result, of an input and what is added to it."""
        if self._border:
            x = F.pad(x, (self._border,) * 4, value=PIXEL_OFFSET).contiguous(memory_format=torch.channels_last)
        run: Any = torch.ops.onednn.qconv2d_pointwise
        operands = (x, 1.0, 0, self._weight, self._scale, self._zero)
        if skip is None:
            dtype = torch.uint8 if self._clamp else torch.float32
            y = run.default(*operands, self._bias, *self._geometry, dtype, "none", [], "")
        else:  # the operator adds to its argument in place, so it gets a copy
            add = (torch.uint8, 1.0, 0, "sum", 1.0, None, [], None)
            y = run.binary(*operands, skip.clone(), self._bias, *self._geometry, *add)
        result: torch.Tensor = y.clamp_max_(ACT_MAX) if self._clamp else y.round_()
        return result
