"""The networks of the flows, described once for every backend and for training.

An image is split into polyphase components, level by level: ``a = x[0::2, 0::2]`` goes on to the next level, and
``d = x[1::2, 1::2]``, ``b = x[0::2, 1::2]``, ``c = x[1::2, 0::2]`` are factored out in that order, one stage each.
A stage sees the components known so far and returns the parameters of a mixture for the next one. A stream of
features runs through the three stages of a level, and from the last stage of a level (upsampled) into the next finer
one, so that nothing is computed twice.

The bands of a component are coded one after the other. Each band has an output layer of its own, and the features
that it reads have seen where the bands before lie: how far from the baseline, and how far from the mean that was
expected of them. The band's mean is a linear filter of its neighbours (``polyphase.taps``) with coefficients that the
output layer gives, and so is as fine as the pixels are, not as coarse as the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from ..nets.shapes import LayerShape, Ops
from .block_phase import PHASE_CHANNELS

T = TypeVar("T")

CHANNELS = 3
STAGES = 3
TAPS = 12
"""How many neighbours, or pairs of them, a band's mean may lean on; see ``polyphase.taps``."""
MEAN_FRAC, SCALE_FRAC, LOGIT_FRAC, CHAIN_FRAC = 8, 4, 4, 6
"""Fractional bits of the head's outputs. One unit of a mean is 4 grey levels, of a scale one octave."""


COEFFICIENT_MAX = 255 / 64
"""Largest coefficient of the chain and of the taps that a band's head gives; what is beyond is clamped."""


def mixture_frac(count: int) -> tuple[int, ...]:
    """Fractional bits of the logits, means and scales of ``count`` logistics."""
    return (LOGIT_FRAC,) * count + (MEAN_FRAC,) * count + (SCALE_FRAC,) * count


@dataclass(frozen=True)
class Pyramid:
    """Networks that predict an image from coarse to fine.

    Parameters
    ----------
    width : channels of every hidden layer.
    blocks : ``blocks[level][stage]`` residual blocks; the last level's networks serve all coarser levels too.
    mixtures : logistics in the mixture of a band.
    """

    width: int = 96
    blocks: tuple[tuple[int, int, int], ...] = ((2, 1, 1), (2, 1, 1), (1, 1, 1))
    mixtures: int = 4

    side_inputs: ClassVar[int] = 0
    """Channels that a stage sees besides pixels: a position encoding."""

    @property
    def nets(self) -> int:
        """Number of separate level networks."""
        return len(self.blocks)

    @property
    def ensemble(self) -> int:
        """How many mirror images the networks look at, see ``flow.self_ensemble``."""
        return 1

    def inputs(self, stage: int) -> int:
        """Channels that a stage sees: the baseline, the components known, and the side inputs."""
        return CHANNELS * (stage + 2) + self.side_inputs

    def outputs(self, band: int) -> int:
        """Outputs for a band: logits, means and scales (K each), the coefficients of the chain, those of the taps."""
        return 3 * self.mixtures + band + TAPS

    def output_frac(self, band: int) -> tuple[int, ...]:
        """Fractional bits of every output for a band."""
        return mixture_frac(self.mixtures) + (CHAIN_FRAC,) * (band + TAPS)

    def layers(self) -> Iterator[LayerShape]:
        """Every layer, in a fixed order."""
        width = self.width
        for net in range(self.nets):
            for stage in range(STAGES):
                p = f"{net}.{stage}"
                yield LayerShape(f"{p}.embed", self.inputs(stage), width, 3, pixel_input=True)
                yield LayerShape(f"{p}.inject", width, width, 3)
                for block in range(self.blocks[net][stage]):
                    yield LayerShape(f"{p}.{block}.a", width, width, 3)
                    yield LayerShape(f"{p}.{block}.b", width, width, 3)
                for band in range(CHANNELS):
                    if band:
                        yield LayerShape(f"{p}.band{band}.embed", 2 * band, width, 3, pixel_input=True)
                        yield LayerShape(f"{p}.band{band}.inject", width, width, 1)
                        yield LayerShape(f"{p}.band{band}.mix", width, width, 1)
                    yield LayerShape(
                        f"{p}.band{band}.head", width, self.outputs(band), 1, frac=self.output_frac(band), band=band
                    )

    def features(self, ops: Ops[T], net: int, stage: int, pixels: T, stream: T | None) -> T:
        """A stage's features (N, width, h, w), also its stream to the next, from ``pixels`` (N, inputs, h, w) and
        the stream before, (N, width, h, w) or None."""
        p = f"{net}.{stage}"
        h = ops.conv(f"{p}.inject", ops.conv(f"{p}.embed", pixels), stream)
        for block in range(self.blocks[net][stage]):
            h = ops.conv(f"{p}.{block}.b", ops.conv(f"{p}.{block}.a", h), h)
        return h

    def band_outputs(self, ops: Ops[T], net: int, stage: int, band: int, features: T, pixels: T | None) -> tuple[T, T]:
        """The features for the next band, and the parameters of one band (N, outputs, h, w). ``features`` are those
        for this band; ``pixels`` (N, 2 * band, h, w) hold what is known of the bands before, None for the first."""
        p = f"{net}.{stage}.band{band}"
        if pixels is not None:
            features = ops.conv(f"{p}.inject", ops.conv(f"{p}.embed", pixels), features)
            features = ops.conv(f"{p}.mix", features, features)
        return features, ops.head(f"{p}.head", features)

    def macs_per_pixel(self) -> float:
        """Multiply-adds per image pixel, all levels of a large image together."""
        return self.ensemble * _macs_per_pixel(self.layers(), self.nets)

    def describe(self) -> dict[str, Any]:
        """JSON-able description, the input of ``from_description``."""
        return {"width": self.width, "blocks": [list(level) for level in self.blocks], "mixtures": self.mixtures}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Self:
        """Inverse of ``describe``. Raises ``ValueError`` for a description that is not one."""
        values = checked_description(description, cls().describe(), "a pyramid of networks")
        try:
            blocks = tuple((int(a), int(b), int(c)) for a, b, c in values.pop("blocks"))
            pyramid = cls(int(values.pop("width")), blocks, int(values.pop("mixtures")), **values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a pyramid of networks: {error}") from error
        if not (
            1 <= pyramid.width <= 1024
            and 1 <= len(blocks) <= 8
            and 1 <= pyramid.mixtures <= 16
            and all(0 <= n <= 64 for level in blocks for n in level)
        ):
            raise ValueError("pyramid of networks out of range")
        return pyramid


@dataclass(frozen=True)
class PhotoArchitecture(Pyramid):
    """The photo flow's networks: a pyramid that is told the JPEG block phase of every position.

    ``self_ensemble``: predictions are averaged over four mirror images, see ``flow.self_ensemble``.
    """

    self_ensemble: bool = False

    side_inputs: ClassVar[int] = PHASE_CHANNELS

    @property
    def ensemble(self) -> int:
        """As of ``Pyramid``."""
        return 4 if self.self_ensemble else 1

    def describe(self) -> dict[str, Any]:
        """As of ``Pyramid``."""
        return {**super().describe(), "self_ensemble": self.self_ensemble}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Self:
        """As of ``Pyramid``."""
        photo = super().from_description(description)
        if not isinstance(photo.self_ensemble, bool):
            raise ValueError("not a photo architecture: self_ensemble is true or false")
        return photo


def checked_description(description: Any, like: dict[str, Any], what: str) -> dict[str, Any]:
    """A copy of a description. Raises ``ValueError`` unless it has just the keys of ``like``."""
    if not isinstance(description, dict) or description.keys() != like.keys():
        raise ValueError(f"not {what}: its description should have {', '.join(like)}, and nothing else")
    return dict(description)


@dataclass(frozen=True)
class PatchArchitecture:
    """The flow for sets of small images: a pyramid of networks, and those of the couplings behind them.

    ``pyramid`` gives the mixtures of the couplings that turn a component into noise, band by band. What they leave is
    turned by a matrix over the bands, and coupled in the order of ``lattice``: a square of numbers laid over all
    positions; those with number n are coupled given those with smaller ones. ``frac``: fractional bits of values.
    """

    pyramid: Pyramid = Pyramid()
    lattice: tuple[tuple[int, int], tuple[int, int]] = ((0, 1), (1, 0))
    frac: int = 10

    @property
    def couplings(self) -> range:
        """Numbers of the lattice that have a coupling."""
        return range(1, 1 + max(max(row) for row in self.lattice))

    def layers(self) -> Iterator[LayerShape]:
        """Every layer, in a fixed order."""
        yield from self.pyramid.layers()
        width = self.pyramid.width
        for net in range(self.pyramid.nets):
            for stage in range(STAGES):
                p = f"{net}.{stage}"
                yield LayerShape(f"{p}.matrix", CHANNELS, CHANNELS, 1, frac=(0,) * CHANNELS)
                for number in self.couplings:
                    c = f"{p}.coupling{number}"
                    yield LayerShape(f"{c}.embed", CHANNELS, width, 3, pixel_input=True)
                    yield LayerShape(f"{c}.inject", width, width, 3)
                    yield LayerShape(f"{c}.mix", width, width, 1)
                    yield LayerShape(
                        f"{c}.head", width, 2 * CHANNELS, 1, frac=(MEAN_FRAC,) * CHANNELS + (SCALE_FRAC,) * CHANNELS
                    )

    def coupling(self, ops: Ops[T], net: int, stage: int, number: int, values: T, features: T) -> T:
        """Shifts and log-scales (N, 6, h, w) of a coupling, from the ``values`` (N, 3, h, w) that it is given, in 1/16,
        and the stage's ``features`` (N, width, h, w)."""
        c = f"{net}.{stage}.coupling{number}"
        h = ops.conv(f"{c}.inject", ops.conv(f"{c}.embed", values), features)
        return ops.head(f"{c}.head", ops.conv(f"{c}.mix", h, h))

    def macs_per_pixel(self) -> float:
        """Multiply-adds per image pixel, all levels of a large image together."""
        return _macs_per_pixel(self.layers(), self.pyramid.nets)

    def describe(self) -> dict[str, Any]:
        """JSON-able description, the input of ``from_description``."""
        return {"pyramid": self.pyramid.describe(), "lattice": [list(row) for row in self.lattice], "frac": self.frac}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> PatchArchitecture:
        """Inverse of ``describe``. Raises ``ValueError`` for a description that is not one."""
        values = checked_description(description, cls().describe(), "a patch architecture")
        try:
            (a, b), (c, d) = values["lattice"]
            lattice, frac = ((int(a), int(b)), (int(c), int(d))), int(values["frac"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a patch architecture: {error}") from error
        numbers = {n for row in lattice for n in row}
        if not (2 <= frac <= 14 and numbers == set(range(len(numbers)))):
            raise ValueError("patch architecture out of range")
        return cls(Pyramid.from_description(values["pyramid"]), lattice, frac)


def _macs_per_pixel(layers: Iterator[LayerShape], nets: int) -> float:
    total = 0.0
    for layer in layers:
        net = int(layer.name.split(".")[0])
        total += 4.0 ** -(net + 1) * (4 / 3 if net == nets - 1 else 1) * layer.macs
    return total
