"""The hierarchical latent variable model of ``.bsw`` in floating point: its networks and its ELBO.

Mirrors ``bitswap.coder`` in differentiable torch. Latents are drawn from discretised logistics by the
reparametrisation, and their rounding to integers passes gradients straight through.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..bitswap.architecture import BitswapArchitecture
from ..bitswap.latents import LATENT_MIN, PRIOR_SCALE
from ..flow.architecture import CHANNELS, SCALE_FRAC
from ..flow.polyphase import level_shape
from ..nets.spec import ACT_FRAC
from ..nets.training import TrainableNet
from .photo import MEAN_UNIT, mixture_bits, pyramid_bits, start_flow

_TOLD = 0.25 / 2**ACT_FRAC
"""What z1 adds to features before training: nothing once it is rounded, and gradients pass."""


class TrainableBitswapNet(TrainableNet):
    """All networks of the model. ``forward`` takes (N, 3, H, W) planes in G, R, B order, values 0..255."""

    def __init__(self, arch: BitswapArchitecture) -> None:
        super().__init__(arch.layers())
        self.arch = arch
        start_flow(self, arch.likelihood)
        self._start()

    def _start(self) -> None:
        """Begin with latents that say something of the layer below, and with a likelihood that does not listen."""
        with torch.no_grad():
            for shape in self.shapes:
                conv = self.layer(shape.name)
                if shape.name.startswith("p1.into."):
                    conv.weight.zero_()
                    conv.bias.fill_(_TOLD)
                elif shape.name[0] == "q" and shape.name.endswith(".head"):
                    conv.weight[: len(conv.bias) // 2].mul_(40.0)
                    conv.bias[len(conv.bias) // 2 :] = 2.0
                elif shape.name[0] == "p" and shape.name.endswith(".head"):
                    conv.bias[2 * len(conv.bias) // 3 :] = PRIOR_SCALE / 2**SCALE_FRAC

    def keep_flow(self) -> None:
        """Train the latents' networks alone."""
        for shape in self.arch.likelihood.layers():
            self.layer(shape.name).requires_grad_(False)

    def forward(
        self,
        planes: torch.Tensor,
        bands: int = CHANNELS,
        phases: torch.Tensor | None = None,
        whole: bool = True,
    ) -> torch.Tensor:
        """The negative ELBO in bits by parts, summed over the batch, of one sample of the latents: (L + levels,).

        For each layer of latents what it costs, ``log q - log p``; then the flow's levels given z1, finest first. The
        arguments are those of ``training.loop.Objective``; H and W must be powers of two.
        """
        arch = self.arch
        below, taken, latents, costs = planes - 128.0, [], [], []
        for layer, count in enumerate(arch.latents, 1):
            out = arch.posterior(self, layer, _pixels(gathered(below, arch.gather(layer - 1))))
            means, scales = out[:, :count] * MEAN_UNIT, out[:, count:]
            below = _drawn(means, scales)
            latents.append(below)
            taken.append(_latent_bits(means[:, :, None], scales[:, :, None], None, below))
        for layer in range(2, len(latents) + 1):
            target = latents[layer - 2]
            out = arch.prior(self, layer, _pixels(latents[layer - 1]), *target.shape[-2:])
            n, _, h, w = out.shape
            logits, means, scales = out.view(n, 3, target.shape[1], arch.likelihood.mixtures, h, w).unbind(1)
            costs.append(_latent_bits(means * MEAN_UNIT, scales, logits, target))
        top = latents[-1][:, :, None]
        costs.append(
            _latent_bits(torch.zeros_like(top), torch.full_like(top, PRIOR_SCALE / 2**SCALE_FRAC), None, latents[-1])
        )
        height, width = planes.shape[-2:]
        told = arch.told(self, _pixels(latents[0]), height, width)

        def led(level: int, features: torch.Tensor | None) -> torch.Tensor:
            finer = told
            for halvings in reversed(range(level + 2, arch.likelihood.nets + 1)):
                finer = self.upsample(finer, *level_shape(height, width, halvings))
            return arch.led_into(self, level, finer, features)

        parts = pyramid_bits(self, arch.likelihood, planes, bands, phases=phases, whole=whole, led=led)
        return torch.cat([torch.stack(costs) - torch.stack(taken), parts])


class Listening:
    """An objective of the loop in which the bits of latents cost nothing for so many ``steps`` of training, and more
    with each of as many after that. So latents say more than pays, and the likelihood learns to listen, where otherwise
    it might never begin to (Bowman et al. 2016)."""

    def __init__(self, net: TrainableBitswapNet, steps: int, device: str) -> None:
        self._net, self._steps = net, steps
        self._price = torch.full((), -1.0, device=device)

    def __call__(
        self, planes: torch.Tensor, bands: int = CHANNELS, phases: torch.Tensor | None = None, whole: bool = True
    ) -> torch.Tensor:
        """See ``training.loop.Objective``. Held-out images, without gradients, pay the whole price."""
        parts: torch.Tensor = self._net(planes, bands, phases, whole)
        if not torch.is_grad_enabled():
            return parts
        self._price.add_(1 / self._steps).clamp_(max=1.0)
        latents = len(self._net.arch.latents)
        return torch.cat([self._price.clamp(min=0.0) * parts[:latents], parts[latents:]])


def gathered(x: torch.Tensor, side: int) -> torch.Tensor:
    """Squares of ``side`` x ``side`` samples side by side, row by row: (N, C, H, W) to (N, side**2 * C, h, w). What is
    missing to whole squares repeats the last row and column."""
    x = F.pad(x, (0, -x.shape[3] % side, 0, -x.shape[2] % side), mode="replicate")
    n, c, h, w = x.shape
    x = x.view(n, c, h // side, side, w // side, side).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, side * side * c, h // side, w // side)


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
