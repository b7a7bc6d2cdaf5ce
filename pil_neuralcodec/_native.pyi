"""Compiled kernels. Arrays are C-contiguous and have exactly these types, else a call raises ``TypeError``.

``native`` says which instruction sets may be used; ``nets.native_backend`` is written with these classes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

class FeatureMap:
    """Images of activations, of pixels or of an output layer's sums, in the layout of one instruction set."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, h, w, C)."""

    @property
    def offset(self) -> int:
        """What is added to pixels."""

    def view(self) -> npt.NDArray[Any]:
        """Its memory as an array (N, h, w, C): int32 of sums, uint8 of activations and of pixels plus ``offset``."""

    def upsample(self, height: int, width: int, top: int = 0, left: int = 0) -> FeatureMap:
        """See ``nets.backends.Network``. Raises ``ValueError`` for a part that is not there, or for sums."""

class Layer:
    """A layer with its weights packed for one instruction set."""

    def __call__(self, x: FeatureMap, skip: FeatureMap | None = None, threads: int = 1) -> FeatureMap:
        """Run it, without the interpreter's lock. Raises ``ValueError`` for inputs of another kind or shape."""

class Kernels:
    """The kernels of one instruction set."""

    @property
    def name(self) -> str:
        """The instruction set."""

    def layer(
        self,
        name: str,
        weight: npt.NDArray[np.int8],
        bias: npt.NDArray[np.int32],
        shift: npt.NDArray[np.int32],
        pixel_input: bool = False,
        is_output: bool = False,
    ) -> Layer:
        """Pack a layer, see ``nets.spec.ConvSpec``. Raises ``ValueError`` if a bound of ``nets.spec`` does not hold."""

    def from_activations(self, activations: npt.NDArray[np.uint8], border: int) -> FeatureMap:
        """A copy of (N, h, w, C) with a border of zeros. Raises ``ValueError`` for values above 127."""

    def from_pixels(self, pixels: npt.NDArray[np.int8], border: int) -> FeatureMap:
        """A copy of (N, h, w, C) with a border of zeros."""

    def multiply_adds(self, steps: int) -> int:
        """Multiply in registers alone, to measure the core's peak. Returns the number of multiply-adds; 0 without an
        instruction for them."""

def instruction_sets() -> list[str]:
    """Instruction sets that have kernels in this build and that this machine can run, fastest first."""

def kernels(name: str) -> Kernels:
    """The kernels of one of ``instruction_sets()``. Raises ``ValueError`` for another name."""
