"""The photo flow in floating point: network, likelihood, and its rounding to an exact model.

Mirrors ``flow.polyphase`` (splitting and inputs) and ``flow.mixture`` (the likelihood) in differentiable torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from ..flow.architecture import CHANNELS, COEFFICIENT_MAX, MEAN_FRAC, STAGES, TAPS, PhotoArchitecture, Pyramid
from ..flow.block_phase import BLOCK, HOT, PAIR
from ..flow.polyphase import TAP_TABLE
from ..nets.spec import ACT_FRAC
from ..nets.training import TrainableConv, TrainableNet

MEAN_UNIT = 2.0**MEAN_FRAC / 64  # grey levels per unit of a head's mean output (means are coded in 1/64)
_FLOOR = 2.0**-24


class TrainablePhotoNet(TrainableNet):
    """All stages of all levels. ``forward`` takes (N, 3, H, W) planes in G, R, B order, values 0..255."""

    def __init__(self, arch: PhotoArchitecture) -> None:
        super().__init__(arch.layers())
        self.arch = arch
        start_flow(self, arch)

    def forward(
        self,
        planes: torch.Tensor,
        bands: int = CHANNELS,
        phases: torch.Tensor | None = None,
        whole: bool = True,
    ) -> torch.Tensor:
        """Code length in bits of each level, (levels,), summed over the batch; ``bands`` 1 counts the first plane.

        ``phases``, ``whole``: as of ``training.loop.Objective``. H and W must be powers of two.
        """
        return pyramid_bits(self, self.arch, planes, bands, phases=phases, whole=whole)


Couple = Callable[[int, int, torch.Tensor, torch.Tensor], torch.Tensor]
"""``couple(net, stage, features, values)``: bits, a scalar, that a flow behind the stage adds to the code length of a
component whose logits are ``values`` (N, bands, h, w); where it is worth something they are negative."""
Led = Callable[[int, torch.Tensor | None], torch.Tensor]
"""``led(level, features)``: the features (N, width, h, w), or None, that a level takes over from the next coarser one,
with more led into them."""


def pyramid_bits(
    net: TrainableNet,
    arch: Pyramid,
    planes: torch.Tensor,
    bands: int,
    couple: Couple | None = None,
    phases: torch.Tensor | None = None,
    whole: bool = True,
    led: Led | None = None,
) -> torch.Tensor:
    """Code length of planes, as of ``training.loop.Objective``: (levels,), the finest level first.

    The networks of the coarsest level serve all levels from there on. Those beyond hold few samples, and take much time
    for their many small layers: unless ``whole``, they are left out.
    """
    levels = min(planes.shape[-2:]).bit_length() - 1
    pyramid = decimated(planes, levels if whole else min(levels, arch.nets))
    bits: list[torch.Tensor] = []
    stream: torch.Tensor | None = None
    for level in reversed(range(len(pyramid) - 1)):
        number = min(level, arch.nets - 1)
        if level >= arch.nets - 1:
            stream = None  # the coarsest network serves many levels and starts each afresh
        if led is not None and level < arch.nets:
            stream = led(level, stream)
        positions = None
        if arch.positions:
            phases = planes.new_zeros((len(planes), 2), dtype=torch.int64) if phases is None else phases
            height, width = pyramid[level + 1].shape[-2:]
            positions = position_inputs(phases, height, width, 2 << level)
        level_bits, stream = refinement_bits(net, arch, number, pyramid[level], stream, bands, couple, positions)
        bits.append(level_bits)
    return torch.stack(bits[::-1])


def position_inputs(phases: torch.Tensor, height: int, width: int, stride: int) -> torch.Tensor:
    """What networks see of positions: the position channels of ``flow.self_ensemble``, for many images at once.

    ``phases``: the codes of rows and columns of each image, int64 (N, 2); ``stride``: pixels between two positions.
    Returns float32 (N, 18, height, width) on the same device.
    """
    rows, columns = (_position_encoding(code, n, stride) for code, n in zip(phases.T, (height, width), strict=True))
    size = (-1, -1, height, width)
    return torch.cat([rows[..., None].expand(size), columns[:, :, None].expand(size)], 1)


def _position_encoding(codes: torch.Tensor, count: int, stride: int) -> torch.Tensor:
    """``flow.block_phase.position_encoding`` of codes (N,): (N, 9, count)."""
    paired = codes > BLOCK
    first = codes - torch.where(paired, 1 + BLOCK, 1)
    at = torch.remainder(first[:, None] + stride * torch.arange(count, device=codes.device), PAIR)
    pixels = torch.arange(BLOCK, device=codes.device).view(-1, 1)
    pixel = HOT * (torch.remainder(at, BLOCK)[:, None] == pixels).float()
    block = torch.where(at < BLOCK, -float(HOT), float(HOT))[:, None] * paired[:, None, None]
    return torch.cat([pixel, block], 1) * (codes > 0)[:, None, None]


def decimated(planes: torch.Tensor, levels: int) -> list[torch.Tensor]:
    """The planes (N, 3, H, W) and ``levels`` coarser versions, every second sample of the one before."""
    pyramid = [planes]
    for _ in range(levels):
        pyramid.append(pyramid[-1][..., 0::2, 0::2])
    return pyramid


def refinement_bits(
    net: TrainableNet,
    arch: Pyramid,
    number: int,
    x: torch.Tensor,
    stream: torch.Tensor | None,
    bands: int,
    couple: Couple | None = None,
    positions: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bits to code ``x`` (N, 3, H, W) given its ``a`` component by the stages of one level's network, a scalar; and the
    last stage's features. ``stream``: those of the coarser level, (N, width, H/4, W/4), or None; ``positions``: the
    position encoding, (N, C, H/2, W/2)."""
    if stream is not None:
        stream = net.upsample(stream, x.shape[-2] // 2, x.shape[-1] // 2)
    bits = x.new_zeros(())
    known = [x[..., 0::2, 0::2]]
    targets = (x[..., 1::2, 1::2], x[..., 0::2, 1::2], x[..., 1::2, 0::2])
    for stage in range(STAGES):
        base = baseline(known)
        inputs = [base - 128.0] + [(k - base).clamp(-128.0, 127.0) for k in known]
        if positions is not None:
            inputs.append(positions)
        pixels = torch.cat(inputs, 1) / 2**ACT_FRAC
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        stream = arch.features(net, number, stage, pixels, stream)
        found, logits = _band_bits(
            net, arch, number, stage, stream, targets[stage], base, known, bands, couple is not None
        )
        bits = bits + found
        if couple is not None:
            bits = bits + couple(number, stage, stream, torch.cat(logits, 1))
        known.append(targets[stage])
    assert stream is not None
    return bits, stream


def _band_bits(
    net: TrainableNet,
    arch: Pyramid,
    number: int,
    stage: int,
    features: torch.Tensor,
    target: torch.Tensor,
    base: torch.Tensor,
    known: list[torch.Tensor],
    bands: int,
    sampled: bool,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The same by a head for each band; where ``sampled``, also where each lies, see ``bits_and_logits``."""
    k = arch.mixtures
    bits = target.new_zeros(())
    samples: list[torch.Tensor] = []
    exact, deviations = taps(known)
    residuals: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    for band in range(bands):
        pixels = torch.cat(seen, 1) / 2**ACT_FRAC if seen else None
        features, out = arch.band_outputs(net, number, stage, band, features, pixels)
        logits, means, scales, rest = torch.split(out, [k, k, k, band + TAPS], 1)
        rest = rest.clamp(-COEFFICIENT_MAX, COEFFICIENT_MAX)
        chain, filters = rest[:, :band], rest[:, band:]
        # The filter sees what the chain leaves of the band: its difference from the bands before.
        left = deviations[:, band]
        for i in range(band):
            left = left - chain[:, i : i + 1] * deviations[:, i]
        centre = means * MEAN_UNIT + (filters * left).sum(1, keepdim=True)
        for i, residual in enumerate(residuals):
            centre = centre + chain[:, i : i + 1] * residual
        residual = target[:, band : band + 1] - exact[:, band : band + 1]
        if sampled:
            found, sample = bits_and_logits(logits, centre, scales, residual, target[:, band : band + 1])
            samples.append(sample)
        else:
            found = mixture_bits(logits, centre, scales, residual, target[:, band : band + 1])
        bits = bits + found
        residuals.append(residual)
        with torch.no_grad():
            mean = (torch.softmax(logits * math.log(2.0), 1) * centre).sum(1, keepdim=True)
            moved = target[:, band : band + 1] - base[:, band : band + 1]
            surprise = torch.round(residual - mean)
            seen += [moved.clamp(-128.0, 127.0), surprise.clamp(-128.0, 127.0)]
    return bits, samples


def start_flow(net: TrainableNet, arch: Pyramid) -> None:
    """Where training of the flow's layers begins."""
    for shape in arch.layers():
        conv = net.layer(shape.name)
        if shape.band is not None:
            start_head(conv, arch, shape.band)
        elif shape.name.endswith(".mix"):
            with torch.no_grad():
                conv.weight.mul_(0.3)


def start_head(conv: TrainableConv, arch: Pyramid, band: int) -> None:
    """Begin with zero means, scales spread from fine to coarse, and usual correlations between the bands."""
    k = arch.mixtures
    chain = ((), (0.8,), (0.5, 0.3))[band] + (0.0,) * TAPS
    with torch.no_grad():
        conv.bias[2 * k : 3 * k] = torch.linspace(0.0, 4.0, k)
        conv.bias[3 * k :] = torch.tensor(chain)


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
    values = [
        torch.stack([padded[plane][..., 2 + y : 2 + y + height, 2 + x : 2 + x + width] for plane, y, x in tap]).mean(0)
        for tap in TAP_TABLE[len(known) - 1]
    ]
    exact = (values[0] + values[1] + values[2] + values[3]) / 4
    return exact, torch.stack(values, 2) - exact.unsqueeze(2)


def mixture_bits(
    logits: torch.Tensor, centre: torch.Tensor, scales: torch.Tensor, residual: torch.Tensor, target: torch.Tensor
) -> torch.Tensor:
    """Bits to code one band, a scalar: parameters (N, K, h, w), centres and ``residual`` (N, 1, h, w) relative to the
    baseline, ``target`` (N, 1, h, w) the values 0..255."""
    return _mixture_cells(logits, centre, scales, residual, target)[0]


def bits_and_logits(
    logits: torch.Tensor, centre: torch.Tensor, scales: torch.Tensor, residual: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Besides ``mixture_bits``, where a dequantised band lies in its mixture: the logit of the distribution function,
    (N, 1, h, w). The place in a value's cell is drawn from the mixture itself."""
    bits, weight, low, top, below = _mixture_cells(logits, centre, scales, residual, target)
    start = (weight * torch.where(below, low, 1.0 - top)).sum(1, keepdim=True)
    within = (weight * (top - low)).sum(1, keepdim=True)
    share = start + torch.rand_like(start) * within
    return bits, torch.logit(share, eps=_FLOOR)


def _mixture_cells(
    logits: torch.Tensor, centre: torch.Tensor, scales: torch.Tensor, residual: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Bits, weights, and each logistic's distribution function at both ends of the values' cells: of those that lie
    above, ``below`` says, from below, else from above."""
    offset = residual - centre
    inverse = torch.exp2(-scales.clamp(-5.0, 8.0))
    # Work in the lower tail, where sigmoids keep their precision.
    below = offset <= 0
    side = torch.where(below, 1.0, -1.0)
    top = torch.sigmoid((side * offset + 0.5) * inverse)
    low = torch.sigmoid((side * offset - 0.5) * inverse)
    # The first and the last value take the tails. With the side flipped, tails swap ends.
    first, last = target <= 0, target >= 255
    low = torch.where(torch.where(below, first, last), 0.0, low)
    top = torch.where(torch.where(below, last, first), 1.0, top)
    weight = torch.softmax(logits * math.log(2.0), dim=1)
    probability = (weight * (top - low)).sum(1)
    return -torch.log2(probability * (1 - 256 * _FLOOR) + _FLOOR).sum(), weight, low, top, below
