"""The photo flow's networks, described once for every backend and for training.

An image is split into polyphase components, level by level: ``a = x[0::2, 0::2]`` goes on to the next level, and
``d = x[1::2, 1::2]``, ``b = x[0::2, 1::2]``, ``c = x[1::2, 0::2]`` are factored out in that order, one stage each.
A stage sees the components known so far and returns the parameters of a mixture for the next one. A stream of
features runs through the three stages of a level, and from the last stage of a level (upsampled) into the next finer
one, so that nothing is computed twice.

The bands of a component are coded one after the other. With ``bandwise``, each band has a head of its own, and the
features that it reads have seen where the bands before lie: how far from the baseline, and how far from the mean that
was expected of them. The band's mean is a linear filter of its neighbours (``polyphase.taps``) with coefficients that
the head gives, and so is as fine as the pixels are, not as coarse as the features. Without, one head gives the
parameters of all bands at once, and bands depend on each other through the chain coefficients alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ..nets.shapes import LayerShape, Ops
from .grid import GRID_CHANNELS

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
class PhotoArchitecture:
    """Widths and depths. ``blocks[level][stage]`` residual blocks; the last entry serves all coarser levels too.

    ``classes``: with how many offsets of log-scales the predictions are tuned to a tile's dim and bright parts, and
    again to those that are expected to be calm or noisy; 0 for one offset for all. See ``flow.tuning``.

    ``views``: how many mirror images the networks look at, 1, 2 or 4, see ``flow.views``.

    ``grid``: whether networks are told where the blocks of a JPEG file lie that the image was, see ``flow.grid``."""

    width: int = 96
    blocks: tuple[tuple[int, int, int], ...] = ((2, 1, 1), (2, 1, 1), (1, 1, 1))
    mixtures: int = 4
    bandwise: bool = True
    classes: int = 0
    views: int = 1
    grid: bool = False

    @property
    def nets(self) -> int:
        """Number of separate level networks."""
        return len(self.blocks)

    def inputs(self, stage: int) -> int:
        """Channels that a stage sees: the baseline, the components known, and where the blocks lie."""
        return CHANNELS * (stage + 2) + GRID_CHANNELS * self.grid

    def outputs(self, band: int | None = None) -> int:
        """Outputs of a band's head, or of the head of all bands: logits, means and scales (channel-major, K each),
        then the chain coefficients, then, of a band's head, the coefficients of the taps."""
        return 3 * CHANNELS * self.mixtures + 3 if band is None else 3 * self.mixtures + band + TAPS

    def head_frac(self, band: int | None = None) -> tuple[int, ...]:
        """Fractional bits of every output of a head."""
        n = self.mixtures * (CHANNELS if band is None else 1)
        frac = mixture_frac(n)
        return frac + (CHAIN_FRAC,) * (self.outputs(band) - len(frac))

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
                if not self.bandwise:
                    yield LayerShape(f"{p}.head", width, self.outputs(), 1, frac=self.head_frac())
                    continue
                for band in range(CHANNELS):
                    if band:
                        yield LayerShape(f"{p}.band{band}.embed", 2 * band, width, 3, pixel_input=True)
                        yield LayerShape(f"{p}.band{band}.inject", width, width, 1)
                        yield LayerShape(f"{p}.band{band}.mix", width, width, 1)
                    yield LayerShape(
                        f"{p}.band{band}.head", width, self.outputs(band), 1, frac=self.head_frac(band), band=band
                    )

    def features(self, ops: Ops[T], net: int, stage: int, pixels: T, stream: T | None) -> T:
        """A stage's features (N, width, h, w), also its stream to the next, from ``pixels`` (N, inputs, h, w) and
        the stream before, (N, width, h, w) or None."""
        p = f"{net}.{stage}"
        h = ops.conv(f"{p}.inject", ops.conv(f"{p}.embed", pixels), stream)
        for block in range(self.blocks[net][stage]):
            h = ops.conv(f"{p}.{block}.b", ops.conv(f"{p}.{block}.a", h), h)
        return h

    def joint_head(self, ops: Ops[T], net: int, stage: int, features: T) -> T:
        """Parameters of all bands at once (N, outputs, h, w)."""
        return ops.head(f"{net}.{stage}.head", features)

    def band_head(self, ops: Ops[T], net: int, stage: int, band: int, features: T, pixels: T | None) -> tuple[T, T]:
        """Parameters of one band (N, outputs, h, w), and the features for the next. ``features`` are those for this
        band; ``pixels`` (N, 2 * band, h, w) hold what is known of the bands before, None for the first."""
        p = f"{net}.{stage}.band{band}"
        if pixels is not None:
            features = ops.conv(f"{p}.inject", ops.conv(f"{p}.embed", pixels), features)
            features = ops.conv(f"{p}.mix", features, features)
        return features, ops.head(f"{p}.head", features)

    def macs_per_pixel(self) -> float:
        """Multiply-adds per image pixel, all levels of a large image together."""
        return self.views * _macs_per_pixel(self.layers(), self.nets)

    def describe(self) -> dict[str, Any]:
        """JSON-able description, the input of ``from_description``."""
        description = asdict(self)
        if self.views == 1:
            del description["views"]
        if not self.bandwise:
            del description["bandwise"]  # as the first models were described: ids depend on it
        if not self.classes:
            del description["classes"]
        if not self.grid:
            del description["grid"]
        return description

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> PhotoArchitecture:
        """Inverse of ``describe``. Raises ``ValueError`` for a description that is not one."""
        try:
            blocks = tuple((int(a), int(b), int(c)) for a, b, c in description["blocks"])
            arch = cls(
                int(description["width"]),
                blocks,
                int(description["mixtures"]),
                bool(description.get("bandwise", False)),
                int(description.get("classes", 0)),
                int(description.get("views", 1)),
                bool(description.get("grid", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a photo architecture: {error}") from error
        if not (
            1 <= arch.width <= 1024
            and 1 <= len(arch.blocks) <= 8
            and 1 <= arch.mixtures <= 16
            and all(0 <= n <= 64 for level in arch.blocks for n in level)
            and 0 <= arch.classes <= 64
            and arch.views in (1, 2, 4)
            and (arch.bandwise or arch.classes == 0 and arch.views == 1 and not arch.grid)
        ):
            raise ValueError("photo architecture out of range")
        return arch


@dataclass(frozen=True)
class PatchArchitecture:
    """The flow for sets of small images: the photo flow's networks and those of the couplings behind them.

    ``context`` gives the mixtures of the couplings that turn a component into noise, band by band. What they leave is
    turned by a matrix over the bands, and coupled in the order of ``lattice``: a square of numbers laid over all
    positions; those with number n are coupled given those with smaller ones. ``frac``: fractional bits of values.
    """

    context: PhotoArchitecture = PhotoArchitecture()
    lattice: tuple[tuple[int, int], tuple[int, int]] = ((0, 1), (1, 0))
    frac: int = 10

    @property
    def couplings(self) -> range:
        """Numbers of the lattice that have a coupling."""
        return range(1, 1 + max(max(row) for row in self.lattice))

    def layers(self) -> Iterator[LayerShape]:
        """Every layer, in a fixed order."""
        yield from self.context.layers()
        width = self.context.width
        for net in range(self.context.nets):
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
        return _macs_per_pixel(self.layers(), self.context.nets)

    def describe(self) -> dict[str, Any]:
        """JSON-able description, the input of ``from_description``."""
        return {"context": self.context.describe(), "lattice": [list(row) for row in self.lattice], "frac": self.frac}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> PatchArchitecture:
        """Inverse of ``describe``. Raises ``ValueError`` for a description that is not one."""
        try:
            (a, b), (c, d) = description["lattice"]
            arch = cls(
                PhotoArchitecture.from_description(description["context"]),
                ((int(a), int(b)), (int(c), int(d))),
                int(description["frac"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a patch architecture: {error}") from error
        numbers = {n for row in arch.lattice for n in row}
        if not (
            2 <= arch.frac <= 14
            and numbers == set(range(len(numbers)))
            and arch.context.classes == 0
            and arch.context.views == 1
            and not arch.context.grid
        ):
            raise ValueError("patch architecture out of range")
        return arch


def _macs_per_pixel(layers: Iterator[LayerShape], nets: int) -> float:
    total = 0.0
    for layer in layers:
        net = int(layer.name.split(".")[0])
        total += 4.0 ** -(net + 1) * (4 / 3 if net == nets - 1 else 1) * layer.macs
    return total
