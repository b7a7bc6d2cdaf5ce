"""The networks of the flows, described once for every backend and for training.

An image is split into polyphase components, level by level: ``a = x[0::2, 0::2]`` is the image of the next coarser
level, and ``d = x[1::2, 1::2]``, ``b = x[0::2, 1::2]``, ``c = x[1::2, 0::2]`` are factored out in that order, one stage
each. The network of a stage sees the known components and predicts the next one as a mixture of logistics. Each stage
takes over the features of the stage before, and the first stage of a level those of the next coarser level, upsampled.

The bands of a component are coded one after the other, with an output layer for each. Its features include the bands
before: their distance from the baseline, and from the mean that was predicted for them. The mean of a band is a linear
filter over its neighbours (``polyphase.taps``), whose coefficients are outputs of the network. So it has the precision
of the pixels, not that of the 7-bit features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

from ..errors import NEWER, UnsupportedError
from ..nets.shapes import LayerShape, Ops
from .block_phase import PHASE_CHANNELS

T = TypeVar("T")

CHANNELS = 3
STAGES = 3
TAPS = 12
"""Coefficients of the filter that predicts a band's mean from its neighbours; see ``polyphase.taps``."""
MEAN_FRAC, SCALE_FRAC, LOGIT_FRAC, CHAIN_FRAC = 8, 4, 4, 6
"""Fractional bits of an output layer's results. The unit of a mean is 4 grey levels, that of a log-scale one octave."""
COEFFICIENT_MAX = 255 / 64
"""Coefficients of chain and filter are clamped to this magnitude."""


def mixture_frac(count: int) -> tuple[int, ...]:
    """Fractional bits of the logits, means and log-scales of ``count`` logistics."""
    return (LOGIT_FRAC,) * count + (MEAN_FRAC,) * count + (SCALE_FRAC,) * count


@dataclass(frozen=True)
class Pyramid:
    """Networks that predict an image from coarse to fine.

    Parameters
    ----------
    width
        Channels of every hidden layer.
    blocks
        ``blocks[level][stage]`` residual blocks, finest level first. All coarser levels use the last level's networks.
    mixtures
        Logistics in a mixture.
    """

    width: int = 96
    blocks: tuple[tuple[int, int, int], ...] = ((2, 1, 1), (2, 1, 1), (1, 1, 1))
    mixtures: int = 4

    positions: ClassVar[int] = 0
    """Input channels besides pixels: the position encoding of rows, and of columns."""

    @property
    def nets(self) -> int:
        """Number of levels with networks of their own."""
        return len(self.blocks)

    @property
    def ensemble(self) -> int:
        """Members of the self-ensemble, see ``flow.self_ensemble``; 1: none."""
        return 1

    def inputs(self, stage: int) -> int:
        """Input channels of a stage: the baseline, the known components, and the position encoding."""
        return CHANNELS * (stage + 2) + self.positions

    def outputs(self, band: int) -> int:
        """Outputs for a band: logits, means and log-scales (K each), the coefficients of the chain and of the taps."""
        return 3 * self.mixtures + band + TAPS

    def output_frac(self, band: int) -> tuple[int, ...]:
        """Fractional bits of each output for a band."""
        return mixture_frac(self.mixtures) + (CHAIN_FRAC,) * (band + TAPS)

    def layers(self) -> Iterator[LayerShape]:
        """All layers, in a fixed order."""
        width = self.width
        for net in range(self.nets):
            for stage in range(STAGES):
                p = f"{net}.{stage}"
                yield LayerShape(f"{p}.embed", self.inputs(stage), width, 3, pixel_input=True, positions=self.positions)
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

    def features(self, ops: Ops[T], net: int, stage: int, pixels: T, before: T | None) -> T:
        """Features of a stage (N, width, h, w), from ``pixels`` (N, inputs, h, w) and the features of the stage
        ``before``, (N, width, h, w) or None."""
        p = f"{net}.{stage}"
        h = ops.conv(f"{p}.inject", ops.conv(f"{p}.embed", pixels), before)
        for block in range(self.blocks[net][stage]):
            h = ops.conv(f"{p}.{block}.b", ops.conv(f"{p}.{block}.a", h), h)
        return h

    def band_outputs(self, ops: Ops[T], net: int, stage: int, band: int, features: T, pixels: T | None) -> tuple[T, T]:
        """Features for the next band (N, width, h, w), and the outputs for this band (N, outputs, h, w).

        ``features`` are those for this band. ``pixels`` (N, 2 * band, h, w), None for the first band, are the distances
        of each band before from its baseline and from its predicted mean.
        """
        p = f"{net}.{stage}.band{band}"
        if pixels is not None:
            features = ops.conv(f"{p}.inject", ops.conv(f"{p}.embed", pixels), features)
            features = ops.conv(f"{p}.mix", features, features)
        return features, ops.conv(f"{p}.head", features)

    def macs_per_pixel(self) -> float:
        """Multiply-adds per pixel of a large image, all levels together."""
        return self.ensemble * _macs_per_pixel(self.layers(), self.nets)

    def describe(self) -> dict[str, Any]:
        """Description as JSON, for ``from_description``."""
        return {"width": self.width, "blocks": [list(level) for level in self.blocks], "mixtures": self.mixtures}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Self:
        """Inverse of ``describe``. Raises ``ValueError`` for an invalid description."""
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
    """The networks of the photo flow: a pyramid with the JPEG block phase as an input.

    Parameters
    ----------
    self_ensemble
        Whether predictions are averaged over four mirror images, see ``flow.self_ensemble``.
    backward_adaptation
        Whether samples of 8 bits correct the predictions for those after them, see ``flow.backward``.
    """

    self_ensemble: bool = False
    backward_adaptation: bool = False

    positions: ClassVar[int] = PHASE_CHANNELS

    @property
    def ensemble(self) -> int:
        """See ``Pyramid``."""
        return 4 if self.self_ensemble else 1

    def describe(self) -> dict[str, Any]:
        """See ``Pyramid``."""
        return {
            **super().describe(),
            "self_ensemble": self.self_ensemble,
            "backward_adaptation": self.backward_adaptation,
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> Self:
        """See ``Pyramid``."""
        photo = super().from_description(description)
        for name in ("self_ensemble", "backward_adaptation"):
            if not isinstance(getattr(photo, name), bool):
                raise ValueError(f"not a photo architecture: {name} is true or false")
        return photo


def checked_description(description: Any, like: dict[str, Any], what: str) -> dict[str, Any]:
    """A copy of a description. Raises ``UnsupportedError`` where it has other keys than ``like``, and ``ValueError``
    where it lacks some."""
    if isinstance(description, dict) and description.keys() - like.keys():
        unknown = ", ".join(sorted(map(str, description.keys() - like.keys())))
        raise UnsupportedError(f"{what} with {unknown}, which is not known: it was {NEWER}")
    if not isinstance(description, dict) or description.keys() != like.keys():
        raise ValueError(f"not {what}: its description should have {', '.join(like)}, and nothing else")
    return dict(description)


@dataclass(frozen=True)
class PatchArchitecture:
    """The networks of the patch flow, for sets of small images.

    Parameters
    ----------
    pyramid
        Predicts the mixtures whose distribution functions map each band of a component to noise.
    lattice
        Order of the affine couplings of this noise: a 2 x 2 pattern of numbers, repeated over all positions. Positions
        with number n are coupled given those with smaller numbers.
    frac
        Fractional bits of dequantised values.
    """

    pyramid: Pyramid = Pyramid()
    lattice: tuple[tuple[int, int], tuple[int, int]] = ((0, 1), (1, 0))
    frac: int = 10

    @property
    def couplings(self) -> range:
        """Numbers of the lattice that have a coupling: all but 0."""
        return range(1, 1 + max(max(row) for row in self.lattice))

    def layers(self) -> Iterator[LayerShape]:
        """All layers, in a fixed order."""
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

    def coupling(
        self,
        ops: Ops[T],
        net: int,
        stage: int,
        number: int,
        values: T,
        features: T,
        at: tuple[int, int] | None = None,
    ) -> T:
        """Shifts and log-scales (N, 6, h, w) of a coupling, from the known ``values`` (N, 3, h, w), in 1/16, and the
        stage's ``features`` (N, width, h, w); of every second position from the row and column ``at`` on, or of all."""
        c = f"{net}.{stage}.coupling{number}"
        h = ops.conv(f"{c}.embed", values)
        h = ops.conv(f"{c}.inject", h, features) if at is None else ops.conv_at(f"{c}.inject", h, features, *at)
        return ops.conv(f"{c}.head", ops.conv(f"{c}.mix", h, h))

    def places(self, number: int) -> list[tuple[int, int]]:
        """Row and column of a number in the lattice."""
        return [(row, column) for row in (0, 1) for column in (0, 1) if self.lattice[row][column] == number]

    def macs_per_pixel(self) -> float:
        """See ``Pyramid``."""
        return _macs_per_pixel(self.layers(), self.pyramid.nets)

    def describe(self) -> dict[str, Any]:
        """Description as JSON, for ``from_description``."""
        return {"pyramid": self.pyramid.describe(), "lattice": [list(row) for row in self.lattice], "frac": self.frac}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> PatchArchitecture:
        """Inverse of ``describe``. Raises ``ValueError`` for an invalid description."""
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
