"""Exact layers by the compiled core's kernels: what runs on CPUs.

Feature maps are objects of the core: bytes (N, h, w, C) with a border of zeros, so that no convolution pads. Every
instruction set gives the same integers: products of 8 by 8 bits are summed in 32 bits, and rounded without floats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .. import gate, native
from .positions import Positions
from .spec import ConvSpec

if TYPE_CHECKING:
    from .._native import FeatureMap, Layer


class NativeNetwork:
    """A ``backends.Network`` on feature maps of the compiled core.

    Parameters
    ----------
    instruction_set
        One of ``native.instruction_sets()``; None: the fastest.
    threads
        At most so many work on a layer; None: ``gate.threads()``. Those that are at work elsewhere are not taken, see
        ``gate.spare``.

    Raises
    ------
    RuntimeError, ValueError
        As ``native.kernels``.
    """

    device = "cpu"
    kernel = "int8"

    def __init__(
        self, layers: Mapping[str, ConvSpec], instruction_set: str | None = None, threads: int | None = None
    ) -> None:
        self.layers = layers
        self._threads = threads or gate.threads()
        self._border = max((spec.weight.shape[2] // 2 for spec in layers.values()), default=0)
        self._kernels = native.kernels(instruction_set)
        self.instruction_set = self._kernels.name
        self._run = {name: self._packed(name, spec) for name, spec in layers.items()}

    def _packed(self, name: str, spec: ConvSpec) -> Layer:
        return self._kernels.layer(
            name,
            np.ascontiguousarray(spec.weight),
            np.ascontiguousarray(spec.bias),
            np.ascontiguousarray(spec.shift),
            spec.pixel_input,
            spec.is_output,
            spec.positions,
        )

    def from_pixels(self, pixels: npt.NDArray[np.int8], positions: Positions | None = None) -> FeatureMap:
        """See ``Network``."""
        encodings = map(np.ascontiguousarray, positions or ())
        return self._kernels.from_pixels(np.ascontiguousarray(pixels), self._border, *encodings)

    def from_activations(self, activations: npt.NDArray[np.uint8]) -> FeatureMap:
        """See ``Network``."""
        return self._kernels.from_activations(np.ascontiguousarray(activations), self._border)

    def to_numpy(self, x: FeatureMap) -> npt.NDArray[np.int32]:
        """See ``Network``."""
        return x.view().astype(np.int32, copy=False)

    def upsample(self, x: FeatureMap, height: int, width: int, top: int = 0, left: int = 0) -> FeatureMap:
        """See ``Network``."""
        return x.upsample(height, width, top, left)

    def conv(self, name: str, x: FeatureMap, skip: FeatureMap | None = None) -> FeatureMap:
        """See ``Network``."""
        gate.checkpoint()
        return self._run[name](x, skip, gate.spare(self._threads))

    def conv_at(self, name: str, x: FeatureMap, skip: FeatureMap | None, row: int, column: int) -> FeatureMap:
        """See ``Network``. Not of layers with position channels."""
        gate.checkpoint()
        return self._run[name].at(x, skip, row, column, gate.spare(self._threads))
