"""The layers of a numerically invertible flow: integers in, integers out, and exactly back.

Values are integers with some fractional bits. A layer may pop digits from the stack and put others there; its inverse
makes the same moves backwards, and leaves values and stack as they were. Coefficients are integers too, from exact
networks or from a model file. ``Flow`` is a layer of others, ``patch.PatchFlow`` one of images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..coders.logistic import CENTRE_FRAC, LogisticMixture
from ..coders.stack import Stack
from ..coders.symbols import SymbolSink
from . import mst


class Layer(Protocol):
    """One step of a flow, or all of one, on int64 values."""

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Towards noise; what was factored out is no longer there. Raises ``ExhaustedError`` where the stack holds less
        than has to be borrowed; it is then spoilt."""

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """What ``forward`` took, from what it gave. Raises ``FormatError`` for damage."""


class Flow:
    """A ``Layer`` of several, one after the other."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Apply the layers from the first to the last."""
        for layer in self._layers:
            values = layer.forward(values, stack)
        return values

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Undo the layers from the last to the first."""
        for layer in reversed(self._layers):
            values = layer.inverse(values, stack)
        return values


class AffineCoupling:
    """A ``Layer``: ``(x - shift) * up / down`` at some positions, by MSTs (Real NVP, Dinh et al. 2016).

    Parameters
    ----------
    where, given : bool, of the shape of the values' last axes: what is changed, and what the change may depend on; no
        position is in both.
    coefficients : ``shift`` and ``up``, int64 (..., m), of the m positions that are changed, from values that are 0
        where they are not given; ``up`` 1..2**16.
    down : 1..2**16.
    """

    def __init__(
        self,
        where: np.ndarray,
        given: np.ndarray,
        coefficients: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
        down: int,
    ) -> None:
        self._at, self._given, self._coefficients, self._down = np.flatnonzero(where), given, coefficients, down

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Shift, then scale."""
        shift, up = self._coefficients(values * self._given)
        out, flat = self._copied(values)
        flat[..., self._at] = mst.forward(flat[..., self._at] - shift, up, self._down, stack)
        return out

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Scale back, then shift back."""
        shift, up = self._coefficients(values * self._given)
        out, flat = self._copied(values)
        flat[..., self._at] = mst.inverse(flat[..., self._at], up, self._down, stack) + shift
        return out

    def _copied(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A copy of values, and the same with the axes of positions as one."""
        out = np.array(values, order="C")
        return out, out.reshape(*out.shape[: out.ndim - self._given.ndim], self._given.size)


class Convolution1x1:
    """A ``Layer``: a matrix over the channels, ``L D U``, for values (N, C, h, w) (Glow, Kingma and Dhariwal 2018).

    The triangular parts are lifted: each channel gains a multiple of others, rounded down; the diagonal is an MST.

    Parameters
    ----------
    matrix : int64 (C, C), coefficients in ``2**-bits``: those of L (its diagonal of ones left out) below the diagonal,
        those of U above it, and D, 1..2**16, on it.
    """

    def __init__(self, matrix: np.ndarray, bits: int) -> None:
        self._matrix, self._bits = matrix, bits

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Apply U, then D, then L."""
        channels = range(len(self._matrix))
        parts = [values[:, c] for c in channels]
        for c in channels:
            parts[c] = parts[c] + self._lift(parts, c, channels[c + 1 :])
        for c in channels:
            parts[c] = mst.forward(parts[c], int(self._matrix[c, c]), 1 << self._bits, stack)
        for c in reversed(channels):
            parts[c] = parts[c] + self._lift(parts, c, channels[:c])
        return np.stack(parts, axis=1)

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Undo L, then D, then U."""
        channels = range(len(self._matrix))
        parts = [values[:, c] for c in channels]
        for c in channels:
            parts[c] = parts[c] - self._lift(parts, c, channels[:c])
        for c in reversed(channels):
            parts[c] = mst.inverse(parts[c], int(self._matrix[c, c]), 1 << self._bits, stack)
        for c in reversed(channels):
            parts[c] = parts[c] - self._lift(parts, c, channels[c + 1 :])
        return np.stack(parts, axis=1)

    def _lift(self, parts: list[np.ndarray], channel: int, others: range) -> np.ndarray:
        total = np.zeros_like(parts[0])
        for other in others:
            total += int(self._matrix[channel, other]) * parts[other]
        return total >> self._bits


class FactorOut:
    """A ``Layer`` that puts all values on the stack, by standard logistics with ``frac`` fractional bits.

    Values go in buckets of an eighth of the scale by rANS, with UBCS for their low bits; those beyond the last bucket,
    2**9 scales away, in full besides. ``shape`` is that of the values.
    """

    _BITS = 13

    def __init__(self, shape: tuple[int, ...], frac: int) -> None:
        self._shape, self._count = shape, int(np.prod(shape))
        self._fine = max(frac - 3, 0)
        self._half = 1 << (self._BITS - 1)

        def full(value: int) -> np.ndarray:
            return np.full((1, self._count), value, np.int64)

        # The bucket around 0 ends where the next begins: centres are half a bucket below.
        centre = (self._half << CENTRE_FRAC) - (1 << (CENTRE_FRAC - 1))
        scale = 16 * (frac - self._fine)
        self._prior = LogisticMixture(full(1 << 16), full(centre), full(scale), 2 * self._half)

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Put the values; nothing remains."""
        flat, prior = values.reshape(-1), self._prior
        buckets = np.minimum(np.maximum((flat >> self._fine) + self._half, 0), 2 * self._half - 1)
        rest = flat[self._beyond(buckets)] + (1 << 47)
        for low in (0, 16, 32):
            stack.put_uniform((rest >> low) & 0xFFFF, 1 << 16)
        stack.put_uniform(flat & ((1 << self._fine) - 1), 1 << self._fine)
        sink = SymbolSink()
        prior.put(sink, buckets)
        for group in reversed(sink.groups):
            stack.put_group(group)
        return np.empty(0, np.int64)

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Get the values; takes nothing."""
        prior = self._prior
        buckets = prior.get(stack)
        flat: np.ndarray = ((buckets - self._half) << self._fine) | stack.get_uniform(self._count, 1 << self._fine)
        beyond = self._beyond(buckets)
        rest = np.zeros(int(beyond.sum()), np.int64)
        for low in (32, 16, 0):
            rest |= stack.get_uniform(len(rest), 1 << 16) << low
        flat[beyond] = rest - (1 << 47)
        return flat.reshape(self._shape)

    def _beyond(self, buckets: np.ndarray) -> np.ndarray:
        beyond: np.ndarray = (buckets == 0) | (buckets == 2 * self._half - 1)
        return beyond
