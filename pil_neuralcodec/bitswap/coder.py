"""Bits-back coding of one block with the hierarchical model: Bit-Swap and BB-ANS.

To code a block is a list of moves. ``q`` pops a layer of latents from the stack with its posterior given the layer
below (which shrinks the stack: bits are borrowed), ``p`` pushes a layer with its likelihood given the layer above (and
the last layer with its prior). A decoder makes the moves backwards, popping with ``p`` and pushing with ``q``, so that
it gives back what was borrowed. Both orderings make the same moves with the same networks, and differ in how much they
borrow before they push: Bit-Swap at most what the first layer takes, whatever the number of layers (Kingma, Abbeel,
Ho 2019, section 3.2), BB-ANS what all of them take (Townsend, Bird, Barber 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..coders.lanes import Lanes
from ..coders.stack import Stack, StackWriter
from ..flow.band_coder import BandByBand, BandDecoder, BandEncoder, get_values, put_values
from ..flow.bands import Mixture
from ..flow.planes import three_bands
from ..flow.polyphase import level_shape
from ..flow.pyramid import ComponentCoder, Stage, Walk
from ..nets.backends import Network
from . import latents
from .architecture import BitswapArchitecture
from .joint import JointBands

ORDERINGS = ("bit-swap", "bb-ans")
"""By their number in files."""

Move = tuple[Literal["q", "p"], int]
"""``("q", l)``: layer ``l`` given ``l - 1``. ``("p", l)``: layer ``l - 1`` given ``l``."""


def moves(ordering: str, layers: int) -> list[Move]:
    """The encoder's moves for a model with ``layers`` layers of latents. Layer 0 is the image."""
    if ordering not in ORDERINGS:
        raise ValueError(f"unknown ordering {ordering!r}: choose from {', '.join(ORDERINGS)}")
    numbers = range(1, layers + 1)
    if ordering == "bit-swap":
        order: list[Move] = [(kind, layer) for layer in numbers for kind in ("q", "p")]
    else:
        order = [("q", layer) for layer in numbers] + [("p", layer) for layer in numbers]
    return [*order, ("p", layers + 1)]


@dataclass(frozen=True)
class BlockCoder:
    """Codes blocks with one model. Holds no state between calls; safe to use from several threads."""

    architecture: BitswapArchitecture
    network: Network[Any]

    def push(
        self,
        lanes: Lanes,
        planes: np.ndarray,
        ordering: str = ORDERINGS[0],
        watch: Callable[[Move], None] | None = None,
    ) -> None:
        """Push a block.

        Parameters
        ----------
        lanes : the stack.
        planes : int32 (bands, h, w) of 0..255, bands 1 or 3 in coding order.
        ordering : one of ``ORDERINGS``.
        watch : is called after every move.

        Raises
        ------
        ExhaustedError : where the stack holds less than has to be borrowed; ``lanes`` are then spoilt.
        """
        arch = self.architecture
        values = {0: planes}
        for kind, layer in moves(ordering, len(arch.latents)):
            if kind == "q":
                described = self._posterior(layer, values[layer - 1])
                values[layer] = _get(Stack(lanes), described, self._shape(layer, planes.shape))
            else:
                writer = StackWriter()
                if layer == 1:
                    self._put_image(writer, values[1], planes)
                else:
                    put_values(writer, self._prior(layer, values, planes.shape), _plane(values[layer - 1]))
                writer.push(lanes)
            if watch is not None:
                watch((kind, layer))

    def pop(self, lanes: Lanes, bands: int, height: int, width: int, ordering: str = ORDERINGS[0]) -> np.ndarray:
        """Pop a block: the inverse of ``push``, int32 (bands, h, w). Raises ``FormatError`` for damage."""
        arch, shape = self.architecture, (bands, height, width)
        values: dict[int, np.ndarray] = {}
        for kind, layer in reversed(moves(ordering, len(arch.latents))):
            if kind == "q":
                writer = StackWriter()
                put_values(writer, self._posterior(layer, values[layer - 1]), _plane(values[layer]))
                writer.push(lanes)
            elif layer == 1:
                values[0] = self._get_image(Stack(lanes), values[1], shape)
            else:
                values[layer - 1] = _get(Stack(lanes), self._prior(layer, values, shape), self._shape(layer - 1, shape))
        return values[0]

    def _shape(self, layer: int, block: tuple[int, ...]) -> tuple[int, int, int]:
        """(C, h, w) of a layer of latents of a block (bands, h, w)."""
        _, height, width = block
        return (self.architecture.channels(layer), *level_shape(height, width, self.architecture.levels + layer - 1))

    def _posterior(self, layer: int, below: np.ndarray) -> Mixture:
        arch, network = self.architecture, self.network
        if layer == 1:
            below = three_bands(below[None])[0] - 128
        pixels = network.from_pixels(latents.gathered(below, arch.gather(layer - 1)))
        return latents.posterior(*(network.to_numpy(x)[0] for x in arch.posterior(network, layer, pixels)))

    def _prior(self, layer: int, values: dict[int, np.ndarray], block: tuple[int, ...]) -> Mixture:
        """Of ``layer - 1`` given ``layer``, 2..L + 1."""
        arch, network = self.architecture, self.network
        channels, height, width = self._shape(layer - 1, block)
        if layer > len(arch.latents):
            return latents.top_prior(channels, height, width)
        pixels = network.from_pixels(latents.gathered(values[layer], 1))
        return latents.prior(*(network.to_numpy(x)[0] for x in arch.prior(network, layer, pixels, height, width)))

    def _put_image(self, writer: StackWriter, z: np.ndarray, planes: np.ndarray) -> None:
        with BandEncoder(planes[None], [writer]) as coder:
            self._walk(z, planes.shape, BandByBand(coder, len(planes)))

    def _get_image(self, reader: Stack, z: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        return self._walk(z, shape, BandByBand(BandDecoder(shape[1:], [reader]), shape[0]))

    def _walk(self, z: np.ndarray, shape: tuple[int, ...], coder: ComponentCoder) -> np.ndarray:
        """The image given z1, int32 (bands, h, w)."""
        arch, network = self.architecture, self.network
        features, outputs, linear = arch.coarse(network, network.from_pixels(latents.gathered(z, 1)))
        base, outputs = latents.coarse_image(network.to_numpy(outputs), network.to_numpy(linear), arch.mixtures)
        bands = JointBands(outputs[0], base[0], arch.mixtures)
        planes = coder.component(Stage(arch.levels - 1, -1), bands, features).astype(np.int32)
        walk, carried = Walk(network, arch.likelihood, (shape[1], shape[2])), [features]
        for level in reversed(range(arch.levels)):
            planes, carried = walk.level(level, planes, carried, coder)
        whole: np.ndarray = planes[0]
        return whole


def _plane(layer: np.ndarray) -> np.ndarray:
    """Latents (C, h, w) as values of a plane (C * h, w)."""
    return layer.reshape(-1, layer.shape[2]) - latents.LATENT_MIN


def _get(reader: Stack, mixture: Mixture, shape: tuple[int, int, int]) -> np.ndarray:
    """Latents (C, h, w), popped."""
    channels, height, width = shape
    return get_values(reader, mixture, (channels * height, width)).reshape(shape) + latents.LATENT_MIN
