"""The patch flow in floating point: the photo flow's likelihood, and the flow behind each of its stages."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from ..flow.architecture import CHANNELS, PatchArchitecture
from ..nets.spec import ACT_FRAC, ACT_MAX
from ..nets.training import TrainableNet
from .photo import pyramid_bits, start_flow

SCALE_LIMIT = 2.0
"""Couplings scale by at most so many octaves, either way."""


class TrainablePatchNet(TrainableNet):
    """All networks of a patch model. ``forward`` takes (N, 3, H, W) planes in G, R, B order, values 0..255."""

    lattice: torch.Tensor

    def __init__(self, arch: PatchArchitecture) -> None:
        super().__init__(arch.layers())
        self.arch = arch
        self.register_buffer("lattice", torch.tensor(arch.lattice), persistent=False)
        start_flow(self, arch.pyramid)
        with torch.no_grad():
            for shape in self.shapes:
                layer = self.layer(shape.name)
                if shape.name.endswith(".matrix"):
                    layer.weight.copy_(torch.eye(CHANNELS)[:, :, None, None])
                elif ".coupling" in shape.name and shape.is_output:
                    layer.weight.zero_()

    def forward(
        self,
        planes: torch.Tensor,
        bands: int = CHANNELS,
        phases: torch.Tensor | None = None,
        whole: bool = True,
    ) -> torch.Tensor:
        """Code length in bits of each level, (levels,), summed over the batch; ``bands`` 1 counts the first plane. With
        one sample of the noise that dequantises. H and W must be powers of two. ``phases`` are not looked at."""
        return pyramid_bits(self, self.arch.pyramid, planes, bands, self.couple, whole=whole)

    def couple(self, net: int, stage: int, features: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """As ``training.photo.Couple``."""
        bands, (height, width) = values.shape[1], values.shape[2:]
        nats = log_density(values)
        matrix = self.layer(f"{net}.{stage}.matrix").kernel()[:bands, :bands, 0, 0]
        diagonal = torch.diagonal(matrix)
        values = values + torch.einsum("ij,njhw->nihw", torch.triu(matrix, 1), values)
        values = values * diagonal.view(-1, 1, 1)
        values = values + torch.einsum("ij,njhw->nihw", torch.tril(matrix, -1), values)
        nats = nats - len(values) * height * width * torch.log(diagonal).sum()
        numbers = self.lattice.repeat(-(-height // 2), -(-width // 2))[:height, :width]
        for number in self.arch.couplings:
            known = torch.where(numbers < number, values, 0.0)
            rounded = known + (torch.round(known * 2**ACT_FRAC) / 2**ACT_FRAC - known).detach()
            pixels = F.hardtanh(rounded, -(ACT_MAX + 1) / 2**ACT_FRAC, ACT_MAX / 2**ACT_FRAC)
            pixels = F.pad(pixels, (0, 0, 0, 0, 0, CHANNELS - bands)).contiguous(memory_format=torch.channels_last)
            moved = values.clone()
            for row, column in self.arch.places(number):
                part = values[..., row::2, column::2]
                if part.numel():
                    out = self.arch.coupling(self, net, stage, number, pixels, features, (row, column))
                    shift, octaves = out[:, :bands], out[:, CHANNELS : CHANNELS + bands]
                    octaves = octaves.clamp(-SCALE_LIMIT, SCALE_LIMIT)
                    moved[..., row::2, column::2] = (part - shift) * torch.exp2(octaves)
                    nats = nats - math.log(2.0) * octaves.sum()
            values = moved
        return (nats - log_density(values)) / math.log(2.0)


def log_density(values: torch.Tensor) -> torch.Tensor:
    """Of the standard logistic, summed, in nats."""
    return -(values + 2 * F.softplus(-values)).sum()
