"""The photo flow's networks, described once for every backend and for training.

An image is split into polyphase components, level by level: ``a = x[0::2, 0::2]`` goes on to the next level, and
``d = x[1::2, 1::2]``, ``b = x[0::2, 1::2]``, ``c = x[1::2, 0::2]`` are factored out in that order, one stage each.
A stage sees the components known so far and returns the parameters of a mixture for the next one. A stream of
features runs through the three stages of a level, and from the last stage of a level (upsampled) into the next finer
one, so that nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

T = TypeVar("T")

CHANNELS = 3
STAGES = 3
MEAN_FRAC, SCALE_FRAC, LOGIT_FRAC, CHAIN_FRAC = 8, 4, 4, 6
"""Fractional bits of the head's outputs. One unit of a mean is 4 grey levels, of a scale one octave."""


class Ops(Protocol[T]):
    """What a backend offers to the architecture: exact layers by name."""

    def conv(self, name: str, x: T, skip: T | None = None) -> T:
        """A hidden layer."""

    def head(self, name: str, x: T) -> T:
        """An output layer."""


@dataclass(frozen=True)
class LayerShape:
    """A layer's name and sizes."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    pixel_input: bool = False
    head: bool = False


@dataclass(frozen=True)
class PhotoArchitecture:
    """Widths and depths. ``blocks[level][stage]`` residual blocks; the last entry serves all coarser levels too."""

    width: int = 96
    blocks: tuple[tuple[int, int, int], ...] = ((2, 1, 1), (2, 1, 1), (1, 1, 1))
    mixtures: int = 4

    @property
    def nets(self) -> int:
        """Number of separate level networks."""
        return len(self.blocks)

    @property
    def outputs(self) -> int:
        """Head outputs: logits, means and scales (channel-major, K each), then the three chain coefficients."""
        return 3 * CHANNELS * self.mixtures + 3

    def head_frac(self) -> np.ndarray:
        """Fractional bits of every head output, int64 (outputs,)."""
        n = CHANNELS * self.mixtures
        return np.repeat([LOGIT_FRAC, MEAN_FRAC, SCALE_FRAC, CHAIN_FRAC], [n, n, n, 3]).astype(np.int64)

    def layers(self) -> Iterator[LayerShape]:
        """Every layer, in a fixed order."""
        for net in range(self.nets):
            for stage in range(STAGES):
                p = f"{net}.{stage}"
                yield LayerShape(f"{p}.embed", CHANNELS * (stage + 2), self.width, 3, pixel_input=True)
                yield LayerShape(f"{p}.inject", self.width, self.width, 3)
                for block in range(self.blocks[net][stage]):
                    yield LayerShape(f"{p}.{block}.a", self.width, self.width, 3)
                    yield LayerShape(f"{p}.{block}.b", self.width, self.width, 3)
                yield LayerShape(f"{p}.head", self.width, self.outputs, 1, head=True)

    def stage(self, ops: Ops[T], net: int, stage: int, pixels: T, stream: T | None) -> tuple[T, T]:
        """Run one stage. ``pixels`` (N, 3*(stage+2), h, w), ``stream`` (N, width, h, w) or None. Returns the
        features and the head's outputs (N, outputs, h, w)."""
        p = f"{net}.{stage}"
        h = ops.conv(f"{p}.inject", ops.conv(f"{p}.embed", pixels), stream)
        for block in range(self.blocks[net][stage]):
            h = ops.conv(f"{p}.{block}.b", ops.conv(f"{p}.{block}.a", h), h)
        return h, ops.head(f"{p}.head", h)

    def macs_per_pixel(self) -> float:
        """Multiply-adds per image pixel, all levels of a large image together."""
        total = 0.0
        for layer in self.layers():
            net = int(layer.name.split(".")[0])
            positions = 4.0 ** -(net + 1) * (4 / 3 if net == self.nets - 1 else 1)
            total += positions * layer.inputs * layer.outputs * layer.kernel**2
        return total

    def describe(self) -> dict[str, Any]:
        """JSON-able description, the input of ``from_description``."""
        return asdict(self)

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> PhotoArchitecture:
        """Inverse of ``describe``. Raises ``ValueError`` for a description that is not one."""
        try:
            blocks = tuple((int(a), int(b), int(c)) for a, b, c in description["blocks"])
            arch = cls(int(description["width"]), blocks, int(description["mixtures"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a photo architecture: {error}") from error
        if not (1 <= arch.width <= 1024 and 1 <= len(arch.blocks) <= 8 and 1 <= arch.mixtures <= 16
                and all(0 <= n <= 64 for level in arch.blocks for n in level)):
            raise ValueError("photo architecture out of range")
        return arch
