"""What a network can do, whatever computes it, and the choice of what does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .numpy_backend import NumpyNetwork
from .spec import ConvSpec

T = TypeVar("T")


class Network(Protocol[T]):
    """Exact layers by name, on feature maps of a backend's own type ``T``. Safe to use from many threads at once.

    The result depends on nothing but the layers and the input: every backend, kernel, shape and batch size agrees.
    """

    @property
    def layers(self) -> Mapping[str, ConvSpec]:
        """The layers, by name."""

    @property
    def device(self) -> str:
        """Where it runs: ``"numpy"``, ``"cpu"`` or ``"cuda"``."""

    @property
    def kernel(self) -> str:
        """The arithmetic in use: ``"int8"``, ``"fp32"`` or ``"fp64"``."""

    def from_pixels(self, pixels: npt.NDArray[np.int8]) -> T:
        """Pixel inputs, int8 (N, h, w, C)."""

    def conv(self, name: str, x: T, skip: T | None = None) -> T:
        """A hidden layer; ``skip`` (same shape as the output) is added before rounding and is left as it was."""

    def head(self, name: str, x: T) -> T:
        """An output layer, for ``to_numpy``."""

    def to_numpy(self, x: T) -> npt.NDArray[np.int32]:
        """The output of a head or of a hidden layer, int32 (N, h, w, C)."""

    def upsample(self, x: T, height: int, width: int) -> T:
        """Every position twice in both directions, cropped to ``height`` x ``width``."""


def open_network(layers: Mapping[str, ConvSpec], device: str | None = None, *, kernel: str | None = None,
                 digest: str | None = None) -> Network[Any]:
    """A network that runs ``layers``."""
    return NumpyNetwork(layers)
