"""Straight-through twins of the exact layers, for training in floating point.

A twin computes in real numbers what the exact layer computes on integers: an activation ``q`` in 0..127 stands for
the real number ``q / 2**ACT_FRAC``. With ``rounded`` set, weights, biases and outputs are rounded as the exact
layer rounds them, and gradients pass straight through (Bengio et al. 2013; Balle et al. 2019, integer networks).
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
    """``_rounded``; written out, since this runs on every activation, in half the time of ``_straight_through``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
        return (x * scale).round_().div_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


def _rounded(x: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
    """``x`` rounded to multiples of 1 / ``scale``, powers of two; gradients pass straight through."""
    result: torch.Tensor = _Rounded.apply(x, scale)  # type: ignore[no-untyped-call]
    return result


class TrainableConv(nn.Module):
    """Convolution with "same" zero padding, then ReLU with saturation (hidden layer) or fixed-point output (head).

    Parameters
    ----------
    kernel: odd kernel size.
    pixel_input: inputs are signed 8-bit numbers (weights are then kept to 7 bits, see ``spec``).
    head_frac: for a head, the fractional bits of every output channel, int array ``(out_channels,)``.
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
        head_frac: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.pixel_input = pixel_input
        self.head_frac = None if head_frac is None else np.asarray(head_frac, dtype=np.int64)
        self.rounded = False
        self.register_buffer("step", torch.ones(out_channels), persistent=False)
        grid = torch.as_tensor(2.0 ** self._out_frac(out_channels), dtype=torch.float32)
        self.register_buffer("grid", grid.view(1, -1, 1, 1), persistent=False)
        fan_in = in_channels * kernel * kernel
        gain = 0.05 if head_frac is not None else 2.0**0.5
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel) * gain / fan_in**0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def _out_frac(self, channels: int) -> np.ndarray:
        return np.full(channels, ACT_FRAC) if self.head_frac is None else self.head_frac

    def _exponents(self) -> np.ndarray:
        return fit_exponents(
            self.weight.detach().numpy(force=True),
            self.bias.detach().numpy(force=True),
            self._out_frac(len(self.bias)),
            pixel_input=self.pixel_input,
        )

    def set_rounded(self, rounded: bool) -> None:
        """Switch rounding on or off, and fit its steps to the weights as they are now.

        Weights move slowly: calling this again every so often is enough, and fitting at every step would cost more
        than a layer.
        """
        self.rounded = rounded
        self.refit()

    def refit(self) -> None:
        """Fit the steps of rounding to the weights as they are now."""
        if self.rounded:
            self.step.copy_(torch.as_tensor(2.0 ** -self._exponents()))

    def kernel(self) -> torch.Tensor:
        """The weights (out, in, k, k) as they are used, rounded or not."""
        weight: torch.Tensor = self.weight
        if self.rounded:
            step = self.step.view(-1, 1, 1, 1)
            limit = PIXEL_WEIGHT_MAX if self.pixel_input else WEIGHT_MAX
            weight = _straight_through(torch.round(weight / step).clamp(-limit, limit) * step, weight)
        return weight

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """``x`` (N, in, h, w), ``skip`` (N, out, h, w): (N, out, h, w)."""
        weight = self.kernel()
        bias: torch.Tensor = self.bias
        if self.rounded:
            bias = _rounded(bias, 2**ACT_FRAC / self.step)
        if self.head_frac is not None:
            # Parameters of distributions need more than the 8 bits of bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                y = F.conv2d(x.float(), weight, bias, padding=self.weight.shape[-1] // 2)
            if self.rounded:
                y = _rounded(y, self.grid)
            return y
        y = F.conv2d(x, weight, bias, padding=self.weight.shape[-1] // 2)
        if skip is not None:
            y = y + skip
        y = F.hardtanh(y, 0.0, _CEILING)
        if self.rounded:
            y = _rounded(y, 2.0**ACT_FRAC)
        return y

    def export(self) -> ConvSpec:
        """The exact layer that this twin stands for."""
        exponents = self._exponents()
        weight = self.weight.detach().numpy(force=True).astype(np.float64)
        bias = self.bias.detach().numpy(force=True).astype(np.float64)
        # As when rounded: a head may need more fractional bits than leave room for its largest weight.
        limit = PIXEL_WEIGHT_MAX if self.pixel_input else WEIGHT_MAX
        return ConvSpec(
            weight=np.rint(weight * 2.0 ** exponents[:, None, None, None]).clip(-limit, limit).astype(np.int8),
            bias=np.rint(bias * 2.0 ** (exponents + ACT_FRAC)).astype(np.int32),
            shift=(exponents + ACT_FRAC - self._out_frac(len(self.bias))).astype(np.int32),
            pixel_input=self.pixel_input,
            head=self.head_frac is not None,
        )

    def load(self, spec: ConvSpec) -> None:
        """Take the weights of an exact layer: the inverse of ``export``, up to rounding."""
        exponents = spec.shift.astype(np.int64) - ACT_FRAC + self._out_frac(len(self.bias))
        with torch.no_grad():
            self.weight.copy_(torch.as_tensor(spec.weight * 2.0 ** -exponents[:, None, None, None]))
            self.bias.copy_(torch.as_tensor(spec.bias * 2.0 ** -(exponents + ACT_FRAC)))


class TrainableNet(nn.Module):
    """The twins of some layers, by name: what an architecture takes for ``Ops``."""

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
                head_frac=np.array(shape.frac) if shape.head else None,
            )
            if shape.name.endswith(".b"):  # the last layer of a residual block
                with torch.no_grad():
                    conv.weight.mul_(0.3)
            self.layers[shape.name.replace(".", "_")] = conv

    def layer(self, name: str) -> TrainableConv:
        """A layer by its name in the architecture."""
        module = self.layers[name.replace(".", "_")]
        assert isinstance(module, TrainableConv)
        return module

    def conv(self, name: str, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """A hidden layer."""
        out: torch.Tensor = self.layer(name)(x, skip)
        return out

    def head(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """An output layer."""
        out: torch.Tensor = self.layer(name)(x)
        return out

    def upsample(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """Every position twice in both directions, cropped."""
        return F.interpolate(x, scale_factor=2, mode="nearest")[..., :height, :width]

    def set_rounded(self, rounded: bool) -> None:
        """Switch every layer between real and straight-through rounded arithmetic; see ``TrainableConv``."""
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
        """Take the weights of an exact model, to go on training with them; ``partly`` where it has not all layers."""
        for shape in self.shapes:
            if not partly or shape.name in layers:
                self.layer(shape.name).load(layers[shape.name])
