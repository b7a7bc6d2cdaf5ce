"""The photo flow in floating point: network, likelihood, and its rounding to an exact model.

Mirrors ``flow.polyphase`` (splitting and inputs) and ``flow.mixture`` (the likelihood) in differentiable torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ..flow.architecture import CHANNELS, MEAN_FRAC, STAGES, PhotoArchitecture
from ..nets.spec import ACT_FRAC, ConvSpec
from ..nets.training import TrainableConv

MEAN_UNIT = 2.0**MEAN_FRAC / 64  # grey levels per unit of a head's mean output (means are coded in 1/64)
_FLOOR = 2.0**-24


class TrainablePhotoNet(nn.Module):
    """All stages of all levels. ``forward`` takes (N, 3, H, W) planes in G, R, B order, values 0..255."""

    def __init__(self, arch: PhotoArchitecture) -> None:
        super().__init__()
        self.arch = arch
        self.layers = nn.ModuleDict()
        for shape in arch.layers():
            conv = TrainableConv(shape.inputs, shape.outputs, shape.kernel, pixel_input=shape.pixel_input,
                                 head_frac=arch.head_frac() if shape.head else None)
            if shape.head:
                _start_head(conv, arch)
            elif shape.name.endswith(".b"):
                with torch.no_grad():
                    conv.weight.mul_(0.3)
            self.layers[shape.name.replace(".", "_")] = conv

    def layer(self, name: str) -> TrainableConv:
        """A layer by its name in the architecture."""
        module = self.layers[name.replace(".", "_")]
        assert isinstance(module, TrainableConv)
        return module

    def conv(self, name: str, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """A hidden layer, for ``PhotoArchitecture.stage``."""
        out: torch.Tensor = self.layer(name)(x, skip)
        return out

    def head(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """An output layer, for ``PhotoArchitecture.stage``."""
        out: torch.Tensor = self.layer(name)(x)
        return out

    def set_rounded(self, rounded: bool) -> None:
        """Switch every layer between real and straight-through rounded arithmetic; see ``TrainableConv``."""
        for shape in self.arch.layers():
            self.layer(shape.name).set_rounded(rounded)

    def export(self) -> dict[str, ConvSpec]:
        """The exact layers, by name."""
        return {shape.name: self.layer(shape.name).export() for shape in self.arch.layers()}

    def load(self, layers: Mapping[str, ConvSpec]) -> None:
        """Take the weights of an exact model, to go on training with them."""
        for shape in self.arch.layers():
            self.layer(shape.name).load(layers[shape.name])

    def forward(self, planes: torch.Tensor, bands: int = CHANNELS) -> torch.Tensor:
        """Code length in bits of each level, (levels,), summed over the batch; ``bands`` 1 counts the first plane.

        H and W must be powers of two.
        """
        pyramid = [planes]
        while min(pyramid[-1].shape[-2:]) > 1:
            pyramid.append(pyramid[-1][..., 0::2, 0::2])
        bits: list[torch.Tensor] = []
        stream: torch.Tensor | None = None
        for level in reversed(range(len(pyramid) - 1)):
            net = min(level, self.arch.nets - 1)
            if level >= self.arch.nets - 1 or stream is None:
                stream = None  # the coarsest network serves many levels and starts each afresh
            else:
                stream = F.interpolate(stream, scale_factor=2, mode="nearest")
            level_bits = planes.new_zeros(())
            x = pyramid[level]
            known = [x[..., 0::2, 0::2]]
            targets = (x[..., 1::2, 1::2], x[..., 0::2, 1::2], x[..., 1::2, 0::2])
            for stage in range(STAGES):
                base = baseline(known)
                inputs = [base - 128.0] + [(k - base).clamp(-128.0, 127.0) for k in known]
                pixels = torch.cat(inputs, 1) / 2**ACT_FRAC
                pixels = pixels.contiguous(memory_format=torch.channels_last)
                features, out = self.arch.stage(self, net, stage, pixels, stream)
                stream = features
                level_bits = level_bits + mixture_bits(out, targets[stage], base, self.arch.mixtures, bands)
                known.append(targets[stage])
            bits.append(level_bits)
        return torch.stack(bits[::-1])


def _start_head(conv: TrainableConv, arch: PhotoArchitecture) -> None:
    """Begin with zero means, scales spread from fine to coarse, and usual correlations between the bands."""
    k, n = arch.mixtures, arch.mixtures * CHANNELS
    with torch.no_grad():
        conv.bias[2 * n:3 * n] = torch.linspace(0.0, 4.0, k).repeat(CHANNELS)
        conv.bias[3 * n:] = torch.tensor([0.8, 0.5, 0.3])


def baseline(known: list[torch.Tensor]) -> torch.Tensor:
    """Rounded mean of the four nearest known samples; see ``flow.polyphase.baseline``."""
    a = known[0]
    if len(known) == 1:
        p = F.pad(a, (0, 1, 0, 1), mode="replicate")
        total = p[..., :-1, :-1] + p[..., :-1, 1:] + p[..., 1:, :-1] + p[..., 1:, 1:]
    elif len(known) == 2:
        right = F.pad(a, (0, 1, 0, 0), mode="replicate")[..., 1:]
        d = known[1]
        above = F.pad(d, (0, 0, 1, 0), mode="replicate")[..., :-1, :]
        total = a + right + d + above
    else:
        below = F.pad(a, (0, 0, 0, 1), mode="replicate")[..., 1:, :]
        d = known[1]
        left = F.pad(d, (1, 0, 0, 0), mode="replicate")[..., :-1]
        total = a + below + d + left
    return torch.floor((total + 2) / 4)


def mixture_bits(out: torch.Tensor, target: torch.Tensor, base: torch.Tensor, mixtures: int,
                 bands: int) -> torch.Tensor:
    """Bits to code ``target`` (N, 3, h, w), a scalar."""
    n, _, h, w = target.shape
    m = mixtures * CHANNELS
    logits, means, scales = (out[:, i * m:(i + 1) * m].reshape(n, CHANNELS, mixtures, h, w)[:, :bands]
                             for i in range(3))
    chain = out[:, 3 * m:]
    residual = target - base
    centre = means * MEAN_UNIT
    if bands == CHANNELS:
        g, r = residual[:, 0:1], residual[:, 1:2]
        shifts = torch.cat([torch.zeros_like(g), chain[:, 0:1] * g, chain[:, 1:2] * g + chain[:, 2:3] * r], 1)
        centre = centre + shifts.unsqueeze(2)
    return _bits(logits, centre, scales, residual[:, :bands], target[:, :bands])


def _bits(logits: torch.Tensor, centre: torch.Tensor, scales: torch.Tensor, residual: torch.Tensor,
          target: torch.Tensor) -> torch.Tensor:
    offset = residual.unsqueeze(2) - centre
    inverse = torch.exp2(-scales.clamp(-5.0, 8.0))
    # Work in the lower tail, where sigmoids keep their precision.
    side = torch.where(offset > 0, -1.0, 1.0)
    top = torch.sigmoid((side * offset + 0.5) * inverse)
    low = torch.sigmoid((side * offset - 0.5) * inverse)
    value = target.unsqueeze(2)
    # The first and the last value take the tails. With the side flipped, tails swap ends.
    at_tail_low = ((value <= 0) & (side > 0)) | ((value >= 255) & (side < 0))
    at_tail_top = ((value >= 255) & (side > 0)) | ((value <= 0) & (side < 0))
    low = torch.where(at_tail_low, 0.0, low)
    top = torch.where(at_tail_top, 1.0, top)
    weight = torch.softmax(logits * math.log(2.0), dim=2)
    probability = (weight * (top - low)).sum(2)
    return -torch.log2(probability * (1 - 256 * _FLOOR) + _FLOOR).sum()


