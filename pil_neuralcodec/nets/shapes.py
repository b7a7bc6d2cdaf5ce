"""What an architecture says of its layers, and the operations that it uses to run them."""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Ops(Protocol[T]):
    """The operations that an architecture is written with: layers by name, on feature maps of type ``T``."""

    def conv(self, name: str, x: T, skip: T | None = None) -> T:
        """Run a layer. ``skip``, of the output's shape, is added before rounding; an output layer has none."""

    def conv_at(self, name: str, x: T, skip: T | None, row: int, column: int) -> T:
        """What ``conv`` gives at every second position from (row, column) on; ``skip`` is of all positions."""

    def upsample(self, x: T, height: int, width: int) -> T:
        """Repeat every position twice in both directions, cropped to ``height`` x ``width``."""


class LayerShape(NamedTuple):
    """Name and size of a layer: channels, and the side of the square kernel."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    pixel_input: bool = False
    """Whether inputs are signed 8-bit numbers instead of activations."""
    frac: tuple[int, ...] = ()
    """Fractional bits of each output of an output layer; empty for a hidden layer."""
    positions: int = 0
    """How many of the inputs are position channels, see ``spec.ConvSpec``."""
    band: int | None = None
    """Band that an output layer serves; None: all bands."""

    @property
    def is_output(self) -> bool:
        """Whether it is an output layer."""
        return bool(self.frac)

    @property
    def macs(self) -> int:
        """Multiply-adds per position."""
        return self.inputs * self.outputs * self.kernel**2
