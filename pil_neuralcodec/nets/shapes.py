"""What an architecture says of its layers, and the operations that it uses to run them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ops(Protocol[T]):
    """The operations that an architecture is written with: layers by name, on feature maps of type ``T``."""

    def conv(self, name: str, x: T, skip: T | None = None) -> T:
        """Run a hidden layer; ``skip`` is added before the activation."""

    def output(self, name: str, x: T) -> T:
        """Run an output layer."""

    def upsample(self, x: T, height: int, width: int) -> T:
        """Repeat every position twice in both directions, cropped to ``height`` x ``width``."""


@dataclass(frozen=True)
class LayerShape:
    """Name and size of a layer.

    Parameters
    ----------
    name
        Name of the layer in the architecture and in model files.
    inputs, outputs
        Channels.
    kernel
        Side of the square kernel.
    pixel_input
        Whether the inputs are signed 8-bit numbers instead of activations.
    frac
        Fractional bits of each output of an output layer; empty for a hidden layer.
    band
        Band that an output layer serves; None if it serves all.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int
    pixel_input: bool = False
    frac: tuple[int, ...] = ()
    band: int | None = None

    @property
    def is_output(self) -> bool:
        """Whether it is an output layer."""
        return bool(self.frac)

    @property
    def macs(self) -> int:
        """Multiply-adds per position."""
        return self.inputs * self.outputs * self.kernel**2
