"""Bits-back coding of one block with the hierarchical model: Bit-Swap and BB-ANS.

To code a block is a list of moves. ``q`` pops a layer of latents from the stack with its posterior given the layer
below (which shrinks the stack: bits are borrowed), ``p`` pushes a layer with its likelihood given the layer above (and
the last layer with its prior). A decoder makes the moves backwards, popping with ``p`` and pushing with ``q``, so that
it gives back what was borrowed. Both orderings make the same moves with the same networks, and differ in how much they
borrow before they push: Bit-Swap at most what the first layer takes, whatever the number of layers (Kingma, Abbeel,
Ho 2019, section 3.2), BB-ANS what all of them take (Townsend, Bird, Barber 2019).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..coders.lanes import Lanes
from ..coders.stack import Stack, StackWriter
from ..flow.bands import JointHead, Parameters
from ..flow.photo import band_by_band, get_band, is_tuned, put_band, refine, three_bands
from ..flow.polyphase import component, component_shape, level_shape
from ..nets.backends import Network
from . import latents
from .architecture import BitswapArchitecture

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
        """Push a block, int32 (bands, h, w), bands 1 or 3 in coding order; ``watch`` is called after every move.

        Raises ``ExhaustedError`` where the stack holds less than has to be borrowed; ``lanes`` are then spoilt.
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
                    put_band(writer, self._prior(layer, values, planes.shape), _plane(values[layer - 1]), False)
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
                put_band(writer, self._posterior(layer, values[layer - 1]), _plane(values[layer]), False)
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

    def _posterior(self, layer: int, below: np.ndarray) -> Parameters:
        arch, network = self.architecture, self.network
        if layer == 1:
            below = three_bands(below[None])[0] - 128
        pixels = network.from_pixels(latents.gathered(below, arch.gather(layer - 1)))
        return latents.posterior(*(network.to_numpy(x)[0] for x in arch.posterior(network, layer, pixels)))

    def _prior(self, layer: int, values: dict[int, np.ndarray], block: tuple[int, ...]) -> Parameters:
        """Of ``layer - 1`` given ``layer``, 2..L + 1."""
        arch, network = self.architecture, self.network
        channels, height, width = self._shape(layer - 1, block)
        if layer > len(arch.latents):
            return latents.top_prior(channels, height, width)
        pixels = network.from_pixels(latents.gathered(values[layer], 1))
        return latents.prior(*(network.to_numpy(x)[0] for x in arch.prior(network, layer, pixels, height, width)))

    def _put_image(self, writer: StackWriter, z: np.ndarray, planes: np.ndarray) -> None:
        def transfer(level: int, part: int, band: int, parameters: list[Parameters]) -> np.ndarray:
            target = component(planes[band, :: 1 << level, :: 1 << level], part)
            put_band(writer, parameters[0], target, is_tuned(level, target.shape))
            return target[None]

        self._walk(z, planes.shape, transfer)

    def _get_image(self, reader: Stack, z: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        def transfer(level: int, part: int, band: int, parameters: list[Parameters]) -> np.ndarray:
            h, w = component_shape(*level_shape(*shape[1:], level), part)
            return get_band(reader, parameters[0], h, w, is_tuned(level, (h, w)))[None]

        return self._walk(z, shape, transfer)

    def _walk(
        self, z: np.ndarray, shape: tuple[int, ...], transfer: Callable[[int, int, int, list[Parameters]], np.ndarray]
    ) -> np.ndarray:
        """The image given z1: ``transfer(level, part, band, parameters)`` codes or decodes a band of a component of
        a level, integers (1, h, w)."""
        arch, network = self.architecture, self.network
        bands, height, width = shape
        features, outputs, linear = arch.coarse(network, network.from_pixels(latents.gathered(z, 1)))
        base, outputs = latents.coarse_image(network.to_numpy(outputs), network.to_numpy(linear), arch.mixtures)
        head = JointHead(outputs, base, arch.mixtures)
        planes = np.empty((1, bands, *base.shape[2:]), np.int32)
        for band in range(bands):
            planes[:, band] = transfer(arch.levels - 1, 0, band, head.parameters(band))
            head.accept(band, planes[:, band])
        streams: Sequence[Any] = [features]
        for level in reversed(range(arch.levels)):

            def refined(stage: int, band: int, parameters: list[Parameters], level: int = level) -> np.ndarray:
                return transfer(level, stage + 1, band, parameters)

            planes, streams = refine(
                network,
                arch.likelihood,
                level,
                planes,
                level_shape(height, width, level),
                streams,
                band_by_band(bands, refined),
            )
        whole: np.ndarray = planes[0]
        return whole


def _plane(layer: np.ndarray) -> np.ndarray:
    """Latents (C, h, w) as values of a plane (C * h, w)."""
    return layer.reshape(-1, layer.shape[2]) - latents.LATENT_MIN


def _get(reader: Stack, parameters: Parameters, shape: tuple[int, int, int]) -> np.ndarray:
    """Latents (C, h, w), popped."""
    channels, height, width = shape
    return get_band(reader, parameters, channels * height, width, False).reshape(shape) + latents.LATENT_MIN
