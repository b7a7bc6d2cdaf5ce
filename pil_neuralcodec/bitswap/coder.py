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
from ..colour.conversions import Past
from ..flow.band_coder import BandByBand, BandDecoder, BandEncoder, get_values, put_values
from ..flow.bands import Mixture
from ..flow.block_phase import NO_PHASE, BlockPhase
from ..flow.cells import Cells
from ..flow.planes import three_bands
from ..flow.polyphase import level_count, level_shape
from ..flow.pyramid import ComponentCoder, Walk
from ..nets.backends import Network
from . import latents
from .architecture import BitswapArchitecture

ORDERINGS = ("bit-swap", "bb-ans")
"""By their number in files."""

_VALUES = 256

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
    lattice: Past = Past.NONE
    """The conversion whose lattice is a prior of the pixels."""
    cells: Cells | None = None
    """Of the bands of pixels in coding order, where they are unequal."""

    def push(
        self,
        lanes: Lanes,
        planes: np.ndarray,
        ordering: str = ORDERINGS[0],
        phase: BlockPhase = NO_PHASE,
        watch: Callable[[Move], None] | None = None,
    ) -> None:
        """Push a block.

        Parameters
        ----------
        lanes : the stack.
        planes : int32 (bands, h, w) of 0..255, bands 1 or 3 in coding order.
        ordering : one of ``ORDERINGS``.
        phase : the block's JPEG block phase.
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
                    self._put_image(writer, values[1], planes, phase)
                else:
                    put_values(writer, self._prior(layer, values, planes.shape), _plane(values[layer - 1]))
                writer.push(lanes)
            if watch is not None:
                watch((kind, layer))

    def pop(
        self, lanes: Lanes, shape: tuple[int, int, int], ordering: str = ORDERINGS[0], phase: BlockPhase = NO_PHASE
    ) -> np.ndarray:
        """Pop a block: the inverse of ``push``, int32 of ``shape`` (bands, h, w). Raises ``FormatError`` for damage."""
        arch = self.architecture
        values: dict[int, np.ndarray] = {}
        for kind, layer in reversed(moves(ordering, len(arch.latents))):
            if kind == "q":
                writer = StackWriter()
                put_values(writer, self._posterior(layer, values[layer - 1]), _plane(values[layer]))
                writer.push(lanes)
            elif layer == 1:
                values[0] = self._get_image(Stack(lanes), values[1], shape, phase)
            else:
                values[layer - 1] = _get(Stack(lanes), self._prior(layer, values, shape), self._shape(layer - 1, shape))
        return values[0]

    def _shape(self, layer: int, block: tuple[int, ...]) -> tuple[int, int, int]:
        """(C, h, w) of a layer of latents of a block (bands, h, w)."""
        _, height, width = block
        return (self.architecture.channels(layer), *level_shape(height, width, self.architecture.halvings(layer)))

    def _posterior(self, layer: int, below: np.ndarray) -> Mixture:
        arch, network = self.architecture, self.network
        if layer == 1:
            below = three_bands(below[None])[0] - 128
        pixels = network.from_pixels(latents.gathered(below, arch.gather(layer - 1)))
        return latents.posterior(network.to_numpy(arch.posterior(network, layer, pixels))[0])

    def _prior(self, layer: int, values: dict[int, np.ndarray], block: tuple[int, ...]) -> Mixture:
        """Of ``layer - 1`` given ``layer``, 2..L + 1."""
        arch, network = self.architecture, self.network
        channels, height, width = self._shape(layer - 1, block)
        if layer > len(arch.latents):
            return latents.top_prior(channels, height, width)
        pixels = network.from_pixels(latents.gathered(values[layer], 1))
        return latents.prior(network.to_numpy(arch.prior(network, layer, pixels, height, width))[0], channels)

    def _put_image(self, writer: StackWriter, z: np.ndarray, planes: np.ndarray, phase: BlockPhase) -> None:
        writer.put_uniform(planes[:, 0, 0], _VALUES)
        backward = self.architecture.likelihood.backward_adaptation
        with BandEncoder(planes[None], [writer], backward, [self.lattice], [self.cells]) as coder:
            self._walk(z, planes[:, 0, 0], planes.shape, phase, BandByBand(coder, len(planes)))

    def _get_image(self, reader: Stack, z: np.ndarray, shape: tuple[int, int, int], phase: BlockPhase) -> np.ndarray:
        first = reader.get_uniform(shape[0], _VALUES)
        backward = self.architecture.likelihood.backward_adaptation
        coder = BandDecoder(shape[1:], [reader], backward, [self.lattice], [self.cells])
        return self._walk(z, first, shape, phase, BandByBand(coder, shape[0]))

    def _walk(
        self, z: np.ndarray, first: np.ndarray, shape: tuple[int, ...], phase: BlockPhase, coder: ComponentCoder
    ) -> np.ndarray:
        """The image given z1 and its ``first`` pixel, int32 (bands, h, w)."""
        arch, network, (_, height, width) = self.architecture, self.network, shape
        walk = Walk(network, arch.likelihood, (height, width), phases=[phase])
        planes = walk.whole(first.astype(np.int32)[None, :, None, None], coder, stop=arch.likelihood.nets)
        told = arch.told(network, network.from_pixels(latents.gathered(z, 1)), height, width)
        features: list[Any] = [None]
        for level in reversed(range(arch.likelihood.nets)):
            if level < level_count(height, width):
                features = [arch.led_into(network, level, told, features[0])]
                planes, features = walk.level(level, planes, features, coder)
            told = network.upsample(told, *level_shape(height, width, level + 1))
        whole: np.ndarray = planes[0]
        return whole


def _plane(layer: np.ndarray) -> np.ndarray:
    """Latents (C, h, w) as values of a plane (C * h, w)."""
    return layer.reshape(-1, layer.shape[2]) - latents.LATENT_MIN


def _get(reader: Stack, mixture: Mixture, shape: tuple[int, int, int]) -> np.ndarray:
    """Latents (C, h, w), popped."""
    channels, height, width = shape
    return get_values(reader, mixture, (channels * height, width)).reshape(shape) + latents.LATENT_MIN
