"""How an architecture says what its layers are, and what it asks of whatever computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ops(Protocol[T]):
    """What a backend offers to an architecture: exact layers by name."""

    def conv(self, name: str, x: T, skip: T | None = None) -> T:
        """A hidden layer."""

    def head(self, name: str, x: T) -> T:
        """An output layer."""

    def upsample(self, x: T, height: int, width: int) -> T:
        """Every position twice in both directions, cropped to ``height`` x ``width``."""


@dataclass(frozen=True)
class LayerShape:
    """A layer's name and sizes."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    pixel_input: bool = False
    frac: tuple[int, ...] = ()
    """Of a head: the fractional bits of each output."""
    band: int | None = None
    """Of a head: the band that it serves, None for all."""

    @property
    def head(self) -> bool:
        """Whether it is an output layer."""
        return bool(self.frac)

    @property
    def macs(self) -> int:
        """Multiply-adds per position."""
        return self.inputs * self.outputs * self.kernel**2
