"""Differentiable versions of the exact layers, for quantisation-aware training.

They compute in real numbers: an activation ``q`` in 0..127 is the real number ``q / 2**ACT_FRAC``. If ``rounded`` is
set, weights, biases and outputs are rounded as the exact layer rounds them, and gradients are those without rounding
(straight-through estimator, Bengio et al. 2013; integer networks, Balle et al. 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .shapes import LayerShape
from .spec import ACT_FRAC, ACT_MAX, PIXEL_WEIGHT_MAX, WEIGHT_MAX, ConvSpec, fit_exponents

_CEILING = ACT_MAX / 2**ACT_FRAC


def _straight_through(exact: torch.Tensor, smooth: torch.Tensor) -> torch.Tensor:
    return smooth + (exact - smooth).detach()


class _Rounded(torch.autograd.Function):
    """``_rounded`` as a function of its own: on activations it takes half the time of ``_straight_through``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
        return (x * scale).round_().div_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


def _rounded(x: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
    """``x`` rounded to multiples of 1 / ``scale``, a power of two; gradients are those of ``x``."""
    result: torch.Tensor = _Rounded.apply(x, scale)  # type: ignore[no-untyped-call]
    return result


class TrainableConv(nn.Module):
    """Zero-padded convolution, then a saturated ReLU (hidden layer) or fixed-point rounding (output layer).

    Parameters
    ----------
    kernel
        Odd side of the kernel.
    pixel_input
        Whether inputs are signed 8-bit numbers; weights then have 7 bits, see ``spec``.
    positions
        How many of them are position channels.
    output_frac
        Fractional bits of each output of an output layer, integers (out_channels,); None for a hidden layer.
    """

    step: torch.Tensor
    grid: torch.Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        pixel_input: bool = False,
        positions: int = 0,
        output_frac: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.pixel_input, self.positions = pixel_input, positions
        self.output_frac = None if output_frac is None else np.asarray(output_frac, dtype=np.int64)
        self.rounded = False
        self.register_buffer("step", torch.ones(out_channels), persistent=False)
        grid = torch.as_tensor(2.0 ** self._out_frac(out_channels), dtype=torch.float32)
        self.register_buffer("grid", grid.view(1, -1, 1, 1), persistent=False)
        fan_in = in_channels * kernel * kernel
        gain = 0.05 if output_frac is not None else 2.0**0.5
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel) * gain / fan_in**0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def _out_frac(self, channels: int) -> np.ndarray:
        return np.full(channels, ACT_FRAC) if self.output_frac is None else self.output_frac

    def _exponents(self) -> np.ndarray:
        return fit_exponents(
            self.weight.detach().numpy(force=True),
            self.bias.detach().numpy(force=True),
            self._out_frac(len(self.bias)),
            pixel_input=self.pixel_input,
        )

    def set_rounded(self, rounded: bool) -> None:
        """Switch rounding on or off, and fit its step sizes to the present weights.

        Weights change slowly, so it is enough to call this now and then; fitting costs more than running the layer.
        """
        self.rounded = rounded
        self.refit()

    def refit(self) -> None:
        """Fit the steps of rounding to the weights as they are now."""
        if self.rounded:
            self.step.copy_(torch.as_tensor(2.0 ** -self._exponents()))

    def kernel(self) -> torch.Tensor:
        """The weights (out, in, k, k) in use, rounded or not."""
        weight: torch.Tensor = self.weight
        if self.rounded:
            step = self.step.view(-1, 1, 1, 1)
            limit = PIXEL_WEIGHT_MAX if self.pixel_input else WEIGHT_MAX
            weight = _straight_through(torch.round(weight / step).clamp(-limit, limit) * step, weight)
        return weight

    def forward(
        self, x: torch.Tensor, skip: torch.Tensor | None = None, at: tuple[int, int] | None = None
    ) -> torch.Tensor:
        """Run the layer on ``x`` (N, in, h, w), ``skip`` (N, out, h, w): (N, out, h, w), or if given, of every second
        position from the row and column ``at`` on."""
        weight = self.kernel()
        padding, stride = self.weight.shape[-1] // 2, 1
        if at is not None:
            row, column = at
            x = F.pad(x, (padding,) * 4)[..., row:, column:]
            skip = None if skip is None else skip[..., row::2, column::2]
            padding, stride = 0, 2
        bias: torch.Tensor = self.bias
        if self.rounded:
            bias = _rounded(bias, 2**ACT_FRAC / self.step)
        if self.output_frac is not None:
            # Parameters of distributions need more than the 8 bits of bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                y = F.conv2d(x.float(), weight, bias, stride, padding)
            if self.rounded:
                y = _rounded(y, self.grid)
            return y
        y = F.conv2d(x, weight, bias, stride, padding)
        if skip is not None:
            y = y + skip
        y = F.hardtanh(y, 0.0, _CEILING)
        if self.rounded:
            y = _rounded(y, 2.0**ACT_FRAC)
        return y

    def export(self) -> ConvSpec:
        """The exact layer with these weights."""
        exponents = self._exponents()
        weight = self.weight.detach().numpy(force=True).astype(np.float64)
        bias = self.bias.detach().numpy(force=True).astype(np.float64)
        # As in ``kernel``: an output layer may need so many fractional bits that its largest weight exceeds the limit.
        limit = PIXEL_WEIGHT_MAX if self.pixel_input else WEIGHT_MAX
        return ConvSpec(
            weight=np.rint(weight * 2.0 ** exponents[:, None, None, None]).clip(-limit, limit).astype(np.int8),
            bias=np.rint(bias * 2.0 ** (exponents + ACT_FRAC)).astype(np.int32),
            shift=(exponents + ACT_FRAC - self._out_frac(len(self.bias))).astype(np.int32),
            pixel_input=self.pixel_input,
            is_output=self.output_frac is not None,
            positions=self.positions,
        )

    def load(self, spec: ConvSpec) -> None:
        """Take the weights of an exact layer. The inverse of ``export``, up to rounding."""
        exponents = spec.shift.astype(np.int64) - ACT_FRAC + self._out_frac(len(self.bias))
        with torch.no_grad():
            self.weight.copy_(torch.as_tensor(spec.weight * 2.0 ** -exponents[:, None, None, None]))
            self.bias.copy_(torch.as_tensor(spec.bias * 2.0 ** -(exponents + ACT_FRAC)))


class TrainableNet(nn.Module):
    """Differentiable layers by name: ``shapes.Ops`` for training."""

    def __init__(self, shapes: Iterable[LayerShape]) -> None:
        super().__init__()
        self.shapes = tuple(shapes)
        self.layers = nn.ModuleDict()
        for shape in self.shapes:
            conv = TrainableConv(
                shape.inputs,
                shape.outputs,
                shape.kernel,
                pixel_input=shape.pixel_input,
                positions=shape.positions,
                output_frac=np.array(shape.frac) if shape.is_output else None,
            )
            if shape.name.endswith(".b"):  # the last layer of a residual block
                with torch.no_grad():
                    conv.weight.mul_(0.3)
            self.layers[shape.name.replace(".", "_")] = conv

    def layer(self, name: str) -> TrainableConv:
        """The layer of a name."""
        module = self.layers[name.replace(".", "_")]
        assert isinstance(module, TrainableConv)
        return module

    def conv(self, name: str, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """See ``Ops``."""
        out: torch.Tensor = self.layer(name)(x, skip)
        return out

    def conv_at(self, name: str, x: torch.Tensor, skip: torch.Tensor | None, row: int, column: int) -> torch.Tensor:
        """See ``Ops``."""
        out: torch.Tensor = self.layer(name)(x, skip, (row, column))
        return out

    def upsample(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """See ``Ops``."""
        return F.interpolate(x, scale_factor=2, mode="nearest")[..., :height, :width]

    def set_rounded(self, rounded: bool) -> None:
        """Switch rounding of all layers on or off, see ``TrainableConv.set_rounded``."""
        for shape in self.shapes:
            self.layer(shape.name).set_rounded(rounded)

    def refit(self) -> None:
        """Fit the rounding of every layer to its weights as they are now."""
        for shape in self.shapes:
            self.layer(shape.name).refit()

    def export(self) -> dict[str, ConvSpec]:
        """The exact layers, by name."""
        return {shape.name: self.layer(shape.name).export() for shape in self.shapes}

    def load(self, layers: Mapping[str, ConvSpec], *, partly: bool = False) -> None:
        """Take the weights of an exact model; if ``partly``, layers that it lacks stay as they are."""
        for shape in self.shapes:
            if not partly or shape.name in layers:
                self.layer(shape.name).load(layers[shape.name])
