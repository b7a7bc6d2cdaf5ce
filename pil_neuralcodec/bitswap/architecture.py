"""The hierarchical model's networks, described once for every backend and for training.

A Markov chain of latents z1 .. zL, each of half the resolution of the one before it:

    p(x, z1 .. zL) = p(x | z1) p(z1 | z2) ... p(zL),     q(z1 .. zL | x) = q(z1 | x) q(z2 | z1) ... q(zL | zL-1)

Latents are integers -128..127. Given the layer above (or, for q, the one below) the samples of a layer of latents are
independent, discretised logistics and mixtures of them; p(zL) is one fixed logistic.

``p(x | z1)`` is the photo flow (``flow.architecture``), from one pixel to the finest level. z1 tells it what coarse
samples cannot show of the finer ones, such as how strong the noise is around here. That changes slowly from place to
place, so z1 has few positions; features made of it are led into those of every level that has networks of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from ..flow.architecture import CHANNELS, MEAN_FRAC, SCALE_FRAC, PhotoArchitecture, checked_description, mixture_frac
from ..flow.polyphase import level_shape
from ..nets.shapes import LayerShape, Ops

T = TypeVar("T")

SQUARE = 4
"""Side of the squares of the image that ``q(z1 | x)`` begins with."""
DOUBLINGS = 2
"""How many times features are doubled from the size of z1 to that of the coarsest level's network."""


@dataclass(frozen=True)
class BitswapArchitecture:
    """Widths and depths.

    Parameters
    ----------
    likelihood
        The flow of ``p(x | z1)``, without a self-ensemble.
    latents
        Channels of z1 .. zL.
    depth
        Residual blocks wherever latents are read.
    """

    likelihood: PhotoArchitecture = PhotoArchitecture()
    latents: tuple[int, ...] = (8, 8, 8)
    depth: int = 1

    def halvings(self, layer: int) -> int:
        """How many times the image is halved down to the resolution of a layer of latents 1..L."""
        return self.likelihood.nets + DOUBLINGS + layer

    def channels(self, layer: int) -> int:
        """Channels of layer 0, the image, or of a layer of latents 1..L."""
        return self.latents[layer - 1] if layer else CHANNELS

    def gather(self, layer: int) -> int:
        """How many neighbouring samples (a square's side) of ``layer`` the posterior of the layer above it sees as one
        position."""
        return 2 if layer else SQUARE

    def layers(self) -> Iterator[LayerShape]:
        """Every layer, in a fixed order."""
        yield from self.likelihood.layers()
        width, mixtures = self.likelihood.width, self.likelihood.mixtures
        for layer, count in enumerate(self.latents, 1):
            q = f"q{layer}"
            inputs = self.channels(layer - 1) * self.gather(layer - 1) ** 2
            yield LayerShape(f"{q}.embed", inputs, width, 3, pixel_input=True)
            if layer == 1:
                for halving in range(self._halvings_of_features):
                    yield LayerShape(f"{q}.halve.{halving}", width, width, 3)
            yield from self._blocks(q)
            yield LayerShape(f"{q}.head", width, 2 * count, 1, frac=(MEAN_FRAC,) * count + (SCALE_FRAC,) * count)
        for layer, count in enumerate(self.latents, 1):
            p = f"p{layer}"
            yield LayerShape(f"{p}.embed", count, width, 3, pixel_input=True)
            yield from self._blocks(p)
            if layer == 1:
                for doubling in range(DOUBLINGS):
                    yield LayerShape(f"{p}.double.{doubling}", width, width, 3)
                for level in range(self.likelihood.nets):
                    yield LayerShape(f"{p}.into.{level}", width, width, 1)
            else:
                frac = mixture_frac(self.channels(layer - 1) * mixtures)
                yield from self._blocks(f"{p}.fine")
                yield LayerShape(f"{p}.head", width, len(frac), 1, frac=frac)

    @property
    def _halvings_of_features(self) -> int:
        """How many times the posterior of z1 halves its features after the first layer."""
        return self.halvings(1) - (SQUARE.bit_length() - 1)

    def _blocks(self, name: str) -> Iterator[LayerShape]:
        width = self.likelihood.width
        for block in range(self.depth):
            yield LayerShape(f"{name}.{block}.a", width, width, 3)
            yield LayerShape(f"{name}.{block}.b", width, width, 3)

    def posterior(self, ops: Ops[T], layer: int, below: T) -> T:
        """Of ``q(z | layer below)``: the outputs of its head (N, 2 * C, h, w), means then scales. ``below``: the layer
        below (for 1 the image less mid-grey), squares of ``gather`` samples side by side, (N, inputs, ...)."""
        q = f"q{layer}"
        features = ops.conv(f"{q}.embed", below)
        if layer == 1:
            for halving in range(self._halvings_of_features):
                features = ops.conv_at(f"{q}.halve.{halving}", features, None, 0, 0)
        return ops.conv(f"{q}.head", self._refine(ops, q, features))

    def prior(self, ops: Ops[T], layer: int, latents: T, height: int, width: int) -> T:
        """Of ``p(z[layer - 1] | z[layer])``, layer 2..L: the outputs of its head (N, 3 * C * mixtures, height, width),
        logits, means and scales, channel-major."""
        p = f"p{layer}"
        features = self._refine(ops, p, ops.conv(f"{p}.embed", latents))
        refined = self._refine(ops, f"{p}.fine", ops.upsample(features, height, width))
        return ops.conv(f"{p}.head", refined)

    def told(self, ops: Ops[T], latents: T, height: int, width: int) -> T:
        """What z1 (N, C, h, w) tells the flow of images of ``height`` x ``width``: features (N, width, ...), in the
        size that features have one level above the coarsest with a network of its own."""
        features = self._refine(ops, "p1", ops.conv("p1.embed", latents))
        for doubling in range(DOUBLINGS):
            size = level_shape(height, width, self.halvings(1) - 1 - doubling)
            features = ops.conv(f"p1.double.{doubling}", ops.upsample(features, *size))
        return features

    def led_into(self, ops: Ops[T], level: int, told: T, features: T | None) -> T:
        """The ``features`` that a level takes over from the next coarser one, (N, width, h, w), with what z1 tells,
        upsampled to their size. None: features of zeros."""
        return ops.conv(f"p1.into.{level}", told, features)

    def _refine(self, ops: Ops[T], name: str, h: T) -> T:
        for block in range(self.depth):
            h = ops.conv(f"{name}.{block}.b", ops.conv(f"{name}.{block}.a", h), h)
        return h

    def macs_per_pixel(self) -> float:
        """Multiply-adds per image pixel, to encode or to decode."""
        total = self.likelihood.macs_per_pixel()
        for layer in self.layers():
            network, part, *rest = layer.name.split(".")
            if not network[0].isalpha():
                continue
            halvings = self.halvings(int(network[1:]))
            if network == "q1" and part in ("embed", "halve"):
                halvings = (SQUARE.bit_length() - 1) + (1 + int(rest[0]) if rest else 0)
            elif part == "double":
                halvings -= 1 + int(rest[0])
            elif part == "into":
                halvings = int(rest[0]) + 2
            elif network[0] == "p" and part in ("fine", "head"):
                halvings -= 1
            total += 4.0**-halvings * layer.macs
        return total

    def describe(self) -> dict[str, Any]:
        """Description as JSON, for ``from_description``."""
        return {"likelihood": self.likelihood.describe(), "latents": list(self.latents), "depth": self.depth}

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> BitswapArchitecture:
        """Inverse of ``describe``. Raises ``ValueError`` for an invalid description."""
        values = checked_description(description, cls().describe(), "a Bit-Swap architecture")
        try:
            latents, depth = tuple(int(n) for n in values["latents"]), int(values["depth"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a Bit-Swap architecture: {error}") from error
        arch = cls(PhotoArchitecture.from_description(values["likelihood"]), latents, depth)
        if not (
            not arch.likelihood.self_ensemble
            and arch.likelihood.nets <= 4
            and 0 <= depth <= 64
            and 1 <= len(latents) <= 8
            and all(1 <= n <= 64 for n in latents)
        ):
            raise ValueError("Bit-Swap architecture out of range")
        return arch
