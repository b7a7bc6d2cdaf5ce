"""The photo flow in floating point: network, likelihood, and its rounding to an exact model.

Mirrors ``flow.polyphase`` (splitting and inputs) and ``flow.mixture`` (the likelihood) in differentiable torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from ..flow.architecture import CHANNELS, COEFFICIENT_MAX, MEAN_FRAC, STAGES, TAPS, PhotoArchitecture
from ..flow.polyphase import TAP_TABLE
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
                                 head_frac=arch.head_frac(shape.band) if shape.head else None)
            if shape.head:
                _start_head(conv, arch, shape.band)
            elif shape.name.endswith((".b", ".mix")):
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
                stream = self.arch.features(self, net, stage, pixels, stream)
                level_bits = level_bits + self._stage_bits(net, stage, stream, targets[stage], base, known, bands)
                known.append(targets[stage])
            bits.append(level_bits)
        return torch.stack(bits[::-1])

    def _stage_bits(self, net: int, stage: int, features: torch.Tensor, target: torch.Tensor, base: torch.Tensor,
                    known: list[torch.Tensor], bands: int) -> torch.Tensor:
        arch, k = self.arch, self.arch.mixtures
        bits = target.new_zeros(())
        joint = None if arch.bandwise else arch.joint_head(self, net, stage, features)
        exact, deviations = taps(known) if arch.bandwise else (base, base[:, :, None])
        residuals: list[torch.Tensor] = []
        seen: list[torch.Tensor] = []
        for band in range(bands):
            if joint is None:
                pixels = torch.cat(seen, 1) / 2**ACT_FRAC if seen else None
                features, out = arch.band_head(self, net, stage, band, features, pixels)
                logits, means, scales, rest = torch.split(out, [k, k, k, band + TAPS], 1)
                rest = rest.clamp(-COEFFICIENT_MAX, COEFFICIENT_MAX)
                chain, filters = rest[:, :band], rest[:, band:]
                # The filter sees what the chain leaves of the band: its difference from the bands before.
                left = deviations[:, band]
                for i in range(band):
                    left = left - chain[:, i:i + 1] * deviations[:, i]
                centre = means * MEAN_UNIT + (filters * left).sum(1, keepdim=True)
            else:
                n = k * CHANNELS
                logits, means, scales = (joint[:, part * n + band * k:part * n + (band + 1) * k] for part in range(3))
                first = 3 * n + band * (band - 1) // 2
                chain = joint[:, first:first + band]
                centre = means * MEAN_UNIT
            for i, residual in enumerate(residuals):
                centre = centre + chain[:, i:i + 1] * residual
            residual = target[:, band:band + 1] - exact[:, band:band + 1]
            bits = bits + mixture_bits(logits, centre, scales, residual, target[:, band:band + 1])
            residuals.append(residual)
            with torch.no_grad():
                mean = (torch.softmax(logits * math.log(2.0), 1) * centre).sum(1, keepdim=True)
                moved = target[:, band:band + 1] - base[:, band:band + 1]
                surprise = torch.round(residual - mean)
                seen += [moved.clamp(-128.0, 127.0), surprise.clamp(-128.0, 127.0)]
        return bits


def _start_head(conv: TrainableConv, arch: PhotoArchitecture, band: int | None) -> None:
    """Begin with zero means, scales spread from fine to coarse, and usual correlations between the bands."""
    k = arch.mixtures
    count = k * (CHANNELS if band is None else 1)
    chain = (0.8, 0.5, 0.3) if band is None else ((), (0.8,), (0.5, 0.3))[band] + (0.0,) * TAPS
    with torch.no_grad():
        conv.bias[2 * count:3 * count] = torch.linspace(0.0, 4.0, k).repeat(count // k)
        conv.bias[3 * count:] = torch.tensor(chain)


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


def taps(known: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The exact mean of the four nearest samples, (N, 3, h, w), and how far the taps lie from it, (N, 3, TAPS, h, w);
    see ``flow.polyphase.taps``."""
    height, width = known[0].shape[-2:]
    padded = [F.pad(plane, (2, 2, 2, 2), mode="replicate") for plane in known]
    values = [torch.stack([padded[plane][..., 2 + y:2 + y + height, 2 + x:2 + x + width] for plane, y, x in tap]
                          ).mean(0) for tap in TAP_TABLE[len(known) - 1]]
    exact = (values[0] + values[1] + values[2] + values[3]) / 4
    return exact, torch.stack(values, 2) - exact.unsqueeze(2)


def mixture_bits(logits: torch.Tensor, centre: torch.Tensor, scales: torch.Tensor, residual: torch.Tensor,
                 target: torch.Tensor) -> torch.Tensor:
    """Bits to code one band, a scalar: parameters (N, K, h, w), centres and ``residual`` (N, 1, h, w) relative to the
    baseline, ``target`` (N, 1, h, w) the values 0..255."""
    offset = residual - centre
    inverse = torch.exp2(-scales.clamp(-5.0, 8.0))
    # Work in the lower tail, where sigmoids keep their precision.
    side = torch.where(offset > 0, -1.0, 1.0)
    top = torch.sigmoid((side * offset + 0.5) * inverse)
    low = torch.sigmoid((side * offset - 0.5) * inverse)
    # The first and the last value take the tails. With the side flipped, tails swap ends.
    at_tail_low = ((target <= 0) & (side > 0)) | ((target >= 255) & (side < 0))
    at_tail_top = ((target >= 255) & (side > 0)) | ((target <= 0) & (side < 0))
    low = torch.where(at_tail_low, 0.0, low)
    top = torch.where(at_tail_top, 1.0, top)
    weight = torch.softmax(logits * math.log(2.0), dim=1)
    probability = (weight * (top - low)).sum(1)
    return -torch.log2(probability * (1 - 256 * _FLOOR) + _FLOOR).sum()
