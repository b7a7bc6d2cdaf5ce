"""The hierarchical model's networks, described once for every backend and for training.

A Markov chain of latents z1 .. zL, each of half the resolution of the one before it:

    p(x, z1 .. zL) = p(x | z1) p(z1 | z2) ... p(zL),     q(z1 .. zL | x) = q(z1 | x) q(z2 | z1) ... q(zL | zL-1)

Latents are integers -128..127. Given the layer above (or, for q, the one below) the samples of a layer of latents are
independent, discretised logistics and mixtures of them; p(zL) is one fixed logistic.

``p(x | z1)`` sees more. z1 lies at 1 / 2**levels of the image's resolution and describes ``x[::2**levels,
::2**levels]``, whose samples are independent given z1 but for a chain over the bands. The finer samples follow in the
stages of the photo flow (``flow.architecture``), into whose stream of features z1 is led: three stages a level, all
positions of a stage at once.

Where latents are read, a linear head besides the network keeps what 7-bit features would lose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..flow.architecture import (
    CHAIN_FRAC,
    CHANNELS,
    MEAN_FRAC,
    SCALE_FRAC,
    Pyramid,
    checked_description,
    mixture_frac,
)
from ..nets.shapes import LayerShape, Ops

T = TypeVar("T")


def joint_frac(mixtures: int) -> tuple[int, ...]:
    """Fractional bits of one output layer for all bands: logits, means and scales (channel-major, K each), then the
    coefficients of the chain: R given G, B given G and R."""
    return mixture_frac(mixtures * CHANNELS) + (CHAIN_FRAC,) * 3


@dataclass(frozen=True)
class BitswapArchitecture:
    """Widths and depths.

    ``latents``: channels of z1 .. zL. ``blocks``: residual blocks of the flow's stages, of as many levels as there are
    below z1, finest first. ``mixtures``: logistics in a mixture. ``depth``: residual blocks wherever latents are read.
    """

    width: int = 96
    blocks: tuple[tuple[int, int, int], ...] = ((2, 1, 1), (2, 1, 1))
    mixtures: int = 4
    latents: tuple[int, ...] = (8, 12, 12, 12)
    depth: int = 2

    @property
    def levels(self) -> int:
        """How many times the image is halved down to the resolution of z1."""
        return len(self.blocks)

    @property
    def likelihood(self) -> Pyramid:
        """The flow's part of ``p(x | z1)``."""
        return Pyramid(self.width, self.blocks, self.mixtures)

    def channels(self, layer: int) -> int:
        """Channels of layer 0, the image, or of a layer of latents 1..L."""
        return self.latents[layer - 1] if layer else CHANNELS

    def gather(self, layer: int) -> int:
        """How many neighbouring samples (a square's side) of ``layer`` lie under one of the layer above it."""
        return 2 if layer else 2**self.levels

    def layers(self) -> Iterator[LayerShape]:
        """Every layer, in a fixed order."""
        yield from self.likelihood.layers()
        width, top = self.width, joint_frac(self.mixtures)
        for layer, count in enumerate(self.latents, 1):
            inputs = self.channels(layer - 1) * self.gather(layer - 1) ** 2
            q = f"q{layer}"
            yield from self._trunk(q, inputs)
            yield LayerShape(f"{q}.linear", inputs, count, 1, pixel_input=True, frac=(MEAN_FRAC,) * count)
            yield LayerShape(f"{q}.head", width, 2 * count, 1, frac=(MEAN_FRAC,) * count + (SCALE_FRAC,) * count)
        for layer, count in enumerate(self.latents, 1):
            p = f"p{layer}"
            yield from self._trunk(p, count)
            if layer == 1:
                yield LayerShape(f"{p}.linear", count, CHANNELS, 3, pixel_input=True, frac=(MEAN_FRAC,) * CHANNELS)
                yield LayerShape(f"{p}.head", width, len(top), 1, frac=top)
                continue
            below = self.channels(layer - 1)
            yield from self._blocks(f"{p}.fine")
            yield LayerShape(f"{p}.linear", count, 4 * below, 3, pixel_input=True, frac=(MEAN_FRAC,) * 4 * below)
            frac = mixture_frac(below * self.mixtures)
            yield LayerShape(f"{p}.head", width, len(frac), 1, frac=frac)

    def _trunk(self, name: str, inputs: int) -> Iterator[LayerShape]:
        yield LayerShape(f"{name}.embed", inputs, self.width, 3, pixel_input=True)
        yield from self._blocks(name)

    def _blocks(self, name: str) -> Iterator[LayerShape]:
        for block in range(self.depth):
            yield LayerShape(f"{name}.{block}.a", self.width, self.width, 3)
            yield LayerShape(f"{name}.{block}.b", self.width, self.width, 3)

    def posterior(self, ops: Ops[T], layer: int, below: T) -> tuple[T, T]:
        """Of ``q(z | layer below)``: the outputs of its head (N, 2 * C, h, w), means then scales, and a linear part of
        the means (N, C, h, w). ``below``: the layer below (for 1 the image less mid-grey), squares of ``gather``
        samples side by side, (N, inputs, h, w)."""
        return ops.conv(f"q{layer}.head", self._read(ops, f"q{layer}", below)), ops.conv(f"q{layer}.linear", below)

    def coarse(self, ops: Ops[T], latents: T) -> tuple[T, T, T]:
        """Of ``p(x | z1)``: features for the flow's stages (N, width, h, w), and for the samples of the image at z1's
        resolution a head's outputs as of ``JointOutputs`` and their baseline (N, 3, h, w)."""
        features = self._read(ops, "p1", latents)
        return features, ops.conv("p1.head", features), ops.conv("p1.linear", latents)

    def prior(self, ops: Ops[T], layer: int, latents: T, height: int, width: int) -> tuple[T, T]:
        """Of ``p(z[layer - 1] | z[layer])``, layer 2..L: the outputs of its head (N, 3 * C * mixtures, height, width),
        logits, means and scales, channel-major, and a linear part of the means, (N, 4 * C, h, w), for the upper left,
        upper right, lower left and lower right sample of every square."""
        name = f"p{layer}"
        features = ops.upsample(self._read(ops, name, latents), height, width)
        refined = self._refine(ops, f"{name}.fine", features)
        return ops.conv(f"{name}.head", refined), ops.conv(f"{name}.linear", latents)

    def _read(self, ops: Ops[T], name: str, pixels: T) -> T:
        return self._refine(ops, name, ops.conv(f"{name}.embed", pixels))

    def _refine(self, ops: Ops[T], name: str, h: T) -> T:
        for block in range(self.depth):
            h = ops.conv(f"{name}.{block}.b", ops.conv(f"{name}.{block}.a", h), h)
        return h

    def macs_per_pixel(self) -> float:
        """Multiply-adds per image pixel, to encode or to decode."""
        total = 0.0
        for layer in self.layers():
            kind, number = layer.name[0], int(layer.name.split(".")[0].lstrip("qp"))
            if kind in "qp":
                halvings = (
                    self.levels
                    + number
                    - 1
                    - (".fine" in layer.name or (kind == "p" and number > 1 and layer.name.endswith("head")))
                )
            else:
                halvings = number + 1
            total += 4.0**-halvings * layer.macs
        return total

    def describe(self) -> dict[str, Any]:
        """JSON-able description, the input of ``from_description``."""
        return {
            "width": self.width,
            "blocks": [list(level) for level in self.blocks],
            "mixtures": self.mixtures,
            "latents": list(self.latents),
            "depth": self.depth,
        }

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> BitswapArchitecture:
        """Inverse of ``describe``. Raises ``ValueError`` for a description that is not one."""
        values = checked_description(description, cls().describe(), "a Bit-Swap architecture")
        try:
            latents, depth = tuple(int(n) for n in values.pop("latents")), int(values.pop("depth"))
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a Bit-Swap architecture: {error}") from error
        pyramid = Pyramid.from_description(values)
        arch = cls(pyramid.width, pyramid.blocks, pyramid.mixtures, latents, depth)
        if not (
            arch.levels <= 4
            and 0 <= arch.depth <= 64
            and 1 <= len(arch.latents) <= 8
            and all(1 <= n <= 64 for n in arch.latents)
        ):
            raise ValueError("Bit-Swap architecture out of range")
        return arch
