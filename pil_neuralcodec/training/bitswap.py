"""The hierarchical latent variable model of ``.bsw`` in floating point: its networks and its ELBO.

Mirrors ``bitswap.coder`` in differentiable torch. Latents are drawn from discretised logistics by the
reparametrisation, and their rounding to integers passes gradients straight through.
"""

from __future__ import annotations

import torch

from ..bitswap.architecture import BitswapArchitecture
from ..bitswap.latents import LATENT_MIN, PRIOR_SCALE
from ..flow.architecture import CHANNELS, SCALE_FRAC
from ..nets.spec import ACT_FRAC
from ..nets.training import TrainableNet
from .photo import MEAN_UNIT, decimated, mixture_bits, refinement_bits, start_flow


class TrainableBitswapNet(TrainableNet):
    """All networks of the model. ``forward`` takes (N, 3, H, W) planes in G, R, B order, values 0..255."""

    def __init__(self, arch: BitswapArchitecture) -> None:
        super().__init__(arch.layers())
        self.arch = arch
        start_flow(self, arch.likelihood)
        self._start()

    def _start(self) -> None:
        """Begin with latents that hold the coarse image: the first CHANNELS of each layer."""
        arch = self.arch
        with torch.no_grad():
            for shape in self.shapes:
                conv = self.layer(shape.name)
                if shape.name[0] in "pq" and shape.name.endswith(".linear"):
                    conv.weight.mul_(0.2)
                elif shape.name[0] == "q" and shape.name.endswith(".head"):
                    conv.bias[len(conv.bias) // 2 :] = 1.0
            for layer, count in enumerate(arch.latents, 1):
                below = arch.channels(layer - 1)
                p, q = self.layer(f"p{layer}.linear"), self.layer(f"q{layer}.linear")
                head = self.layer(f"p{layer}.head")
                k = arch.mixtures
                n = k * below
                head.bias[2 * n : 3 * n] = torch.linspace(1.0, 4.0, k).repeat(below)
                # Means are in units of 4, inputs in units of 1 / 16: a weight of 4 takes an integer to itself.
                squares = arch.gather(layer - 1) ** 2
                for c in range(min(CHANNELS, count, below)):
                    for square in range(squares):
                        q.weight[c, square * below + c] = 4.0 / squares
                    for square in range(1 if layer == 1 else squares):
                        p.weight[square * below + c, c, 1, 1] = 4.0

    def forward(
        self,
        planes: torch.Tensor,
        bands: int = CHANNELS,
        phases: torch.Tensor | None = None,
        whole: bool = True,
        coarse_only: bool = False,
    ) -> torch.Tensor:
        """The negative ELBO in bits by parts, summed over the batch, of one sample of the latents: (levels + 1 + L,).

        The flow's levels, finest first; the image at z1's resolution given z1; and for each layer of latents what it
        costs, ``log q - log p``. H and W must be multiples of the coarsest latents' size. ``bands`` 1 counts the first
        plane. ``coarse_only`` leaves the flow's levels out; ``phases`` are not looked at, and all levels always are.
        """
        arch = self.arch
        pyramid = decimated(planes, arch.levels)
        below, taken, latents, costs = planes - 128.0, [], [], []
        for layer, count in enumerate(arch.latents, 1):
            out, linear = arch.posterior(self, layer, _pixels(gathered(below, arch.gather(layer - 1))))
            means, scales = out[:, :count] + linear, out[:, count:]
            below = _drawn(means * MEAN_UNIT, scales)
            latents.append(below)
            taken.append(_latent_bits(means[:, :, None] * MEAN_UNIT, scales[:, :, None], None, below))
        for layer in range(2, len(latents) + 1):
            target = latents[layer - 2]
            out, linear = arch.prior(self, layer, _pixels(latents[layer - 1]), *target.shape[-2:])
            n, _, h, w = out.shape
            logits, means, scales = out.view(n, 3, target.shape[1], arch.mixtures, h, w).unbind(1)
            means = means + scattered(linear)[:, :, None]
            costs.append(_latent_bits(means * MEAN_UNIT, scales, logits, target))
        top = latents[-1][:, :, None]
        costs.append(
            _latent_bits(torch.zeros_like(top), torch.full_like(top, PRIOR_SCALE / 2**SCALE_FRAC), None, latents[-1])
        )
        stream, out, linear = arch.coarse(self, _pixels(latents[0]))
        # A baseline in whole grey levels; the rest of the linear part goes to the means.
        exact = linear * MEAN_UNIT - LATENT_MIN
        base = torch.round(exact).clamp(0, 255).detach()
        n = CHANNELS * arch.mixtures
        rest = (exact - base).repeat_interleave(arch.mixtures, 1) / MEAN_UNIT
        out = torch.cat([out[:, :n], out[:, n : 2 * n] + rest, out[:, 2 * n :]], 1)
        parts = [joint_bits(arch.mixtures, out, pyramid[-1], base, bands)]
        for level in reversed(range(0 if not coarse_only else arch.levels, arch.levels)):
            bits, stream = refinement_bits(self, arch.likelihood, level, pyramid[level], stream, bands)
            parts.insert(0, bits)
        return torch.stack(parts + [cost - got for cost, got in zip(costs, taken, strict=True)])


def joint_bits(mixtures: int, out: torch.Tensor, target: torch.Tensor, base: torch.Tensor, bands: int) -> torch.Tensor:
    """Bits of ``target`` (N, 3, h, w) by a head for all bands, whose outputs are ``out``: a scalar."""
    k, n = mixtures, mixtures * CHANNELS
    bits = target.new_zeros(())
    residual = target - base
    for band in range(bands):
        logits, means, scales = (out[:, part * n + band * k : part * n + (band + 1) * k] for part in range(3))
        first = 3 * n + band * (band - 1) // 2
        centre = means * MEAN_UNIT
        for i in range(band):
            centre = centre + out[:, first + i : first + i + 1] * residual[:, i : i + 1]
        bits = bits + mixture_bits(logits, centre, scales, residual[:, band : band + 1], target[:, band : band + 1])
    return bits


def gathered(x: torch.Tensor, side: int) -> torch.Tensor:
    """Squares of ``side`` x ``side`` samples side by side, row by row: (N, C, H, W) to (N, side**2 * C, h, w)."""
    n, c, h, w = x.shape
    x = x.view(n, c, h // side, side, w // side, side).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, side * side * c, h // side, w // side)


def scattered(x: torch.Tensor) -> torch.Tensor:
    """Inverse of ``gathered`` with ``side`` 2."""
    n, c, h, w = x.shape
    x = x.view(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // 4, 2 * h, 2 * w)


def _pixels(x: torch.Tensor) -> torch.Tensor:
    scaled: torch.Tensor = x / float(2**ACT_FRAC)
    return scaled.contiguous(memory_format=torch.channels_last)


def _drawn(means: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """A sample of discretised logistics."""
    u = torch.rand_like(means).clamp(1e-6, 1 - 1e-6)
    z = means + torch.exp2(scales.clamp(-5.0, 8.0)) * torch.logit(u)
    z = z + (torch.round(z) - z).detach()
    limited: torch.Tensor = torch.clamp(z, float(LATENT_MIN), float(-LATENT_MIN - 1))
    return limited


def _latent_bits(
    centres: torch.Tensor, scales: torch.Tensor, logits: torch.Tensor | None, z: torch.Tensor
) -> torch.Tensor:
    """Bits to code latents (N, C, h, w) with parameters (N, C, K, h, w), a scalar."""
    n, c, k, h, w = centres.shape
    logits = torch.zeros_like(centres) if logits is None else logits
    values = z.reshape(n * c, 1, h, w)
    shape = (n * c, k, h, w)
    return mixture_bits(
        logits.reshape(shape), centres.reshape(shape), scales.reshape(shape), values, values - LATENT_MIN
    )
