"""The layers of a numerically invertible flow: integers in, integers out, and exactly back.

Values are integers with some fractional bits. A layer may pop digits from the stack and put others there; its inverse
makes the same moves backwards, and leaves values and stack as they were. Coefficients are integers too, from exact
networks or from a model file. Whole flows are layers as well: ``Flow`` of others, ``photo.PhotoFlow`` and
``patch.PatchFlow`` of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np

from ..coders.logistic import CENTRE_FRAC, LogisticMixture
from ..coders.stack import Stack
from . import mst
from .polyphase import OFFSETS

Sink = TypeVar("Sink", contravariant=True)
Source = TypeVar("Source", contravariant=True)


class Layer(Protocol[Sink, Source]):
    """One step of a flow, or all of one. Where nothing is popped on the way forward, symbols may be kept apart from a
    stack until all are there: then ``Sink`` and ``Source`` are others than ``Stack``."""

    def forward(self, values: np.ndarray, stack: Sink) -> np.ndarray:
        """Towards noise; what was factored out is no longer there. Raises ``ExhaustedError`` where the stack holds less
        than has to be borrowed; it is then spoilt."""

    def inverse(self, values: np.ndarray, stack: Source) -> np.ndarray:
        """What ``forward`` took, from what it gave. Raises ``FormatError`` for damage."""


StackLayer = Layer[Stack, Stack]


class Flow:
    """Layers, one after the other."""

    def __init__(self, layers: Sequence[StackLayer]) -> None:
        self._layers = layers

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        for layer in self._layers:
            values = layer.forward(values, stack)
        return values

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        for layer in reversed(self._layers):
            values = layer.inverse(values, stack)
        return values


class AdditiveCoupling:
    """``x[where] - shift``: with ``shift`` from the values elsewhere, exact by itself (NICE, Dinh et al. 2014).

    ``where``: bool, of the shape of the values' last axes; ``shift``: int64, of the values' shape, used at ``where``.
    """

    def __init__(self, where: np.ndarray, shift: np.ndarray) -> None:
        self._shift = np.where(where, shift, 0)

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        return values - self._shift

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        return values + self._shift


class AffineCoupling:
    """``(x[where] - shift) * up / down`` by an additive coupling and an MST (Real NVP, Dinh et al. 2016).

    ``where``, ``shift`` as of ``AdditiveCoupling``; ``up``: int64 1..2**16, of the values' shape; ``down``: 1..2**16.
    """

    def __init__(self, where: np.ndarray, shift: np.ndarray, up: np.ndarray, down: int) -> None:
        self._additive = AdditiveCoupling(where, shift)
        self._where = np.broadcast_to(where, shift.shape)
        self._up, self._down = up[self._where], down

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        values = self._additive.forward(values, stack)
        values[self._where] = mst.forward(values[self._where], self._up, self._down, stack)
        return values

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        values = values.copy()
        values[self._where] = mst.inverse(values[self._where], self._up, self._down, stack)
        return self._additive.inverse(values, stack)


class Convolution1x1:
    """A matrix over the channels, ``P L D U``, for values (N, C, h, w) (Glow, Kingma and Dhariwal 2018).

    The triangular parts are lifted: each channel gains a multiple of others, rounded down; the diagonal is an MST.

    Parameters
    ----------
    matrix: int64 (C, C), coefficients in ``2**-bits``: those of L (its diagonal of ones left out) below the diagonal,
        those of U above it, and D, 1..2**16, on it.
    order: P, the channels' order at the end (None: as they are).
    """

    def __init__(self, matrix: np.ndarray, bits: int, order: Sequence[int] | None = None) -> None:
        self._matrix, self._bits = matrix, bits
        self._order = list(range(len(matrix)) if order is None else order)

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        channels = range(len(self._matrix))
        parts = [values[:, c] for c in channels]
        for c in channels:
            parts[c] = parts[c] + self._lift(parts, c, channels[c + 1 :])
        for c in channels:
            parts[c] = mst.forward(parts[c], int(self._matrix[c, c]), 1 << self._bits, stack)
        for c in reversed(channels):
            parts[c] = parts[c] + self._lift(parts, c, channels[:c])
        return np.stack([parts[c] for c in self._order], axis=1)

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``."""
        channels = range(len(self._matrix))
        parts = [values[:, self._order.index(c)] for c in channels]
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


class Squeeze:
    """(N, C, h, w) with even sides to (N, 4 * C, h / 2, w / 2): the polyphase components, one after the other."""

    def forward(self, values: np.ndarray, stack: Stack | None = None) -> np.ndarray:
        """As of ``Layer``. Raises ``ValueError`` for odd sides."""
        if values.shape[2] % 2 or values.shape[3] % 2:
            raise ValueError(f"cannot squeeze odd sides: {values.shape[2]} x {values.shape[3]}")
        return np.concatenate([values[..., row::2, column::2] for row, column in OFFSETS], axis=1)

    def inverse(self, values: np.ndarray, stack: Stack | None = None) -> np.ndarray:
        """As of ``Layer``."""
        n, channels, height, width = values.shape
        out = np.empty((n, channels // 4, 2 * height, 2 * width), values.dtype)
        for (row, column), part in zip(OFFSETS, np.split(values, 4, axis=1), strict=True):
            out[..., row::2, column::2] = part
        return out


class FactorOut:
    """Puts all values on the stack, by a prior: logistics with ``frac`` fractional bits.

    Parameters
    ----------
    shape: of the values.
    means, octaves: of each value, int64 of that shape, or one for all: the mean in units of ``2**-frac``, and the
        scale's logarithm in 1/16 octave; 0 and 0 is the standard logistic. A conditional prior has them from a network.

    Values go in buckets of an eighth of the standard scale by rANS, with UBCS for their low bits; those beyond the last
    bucket, 2**9 scales away, in full besides.
    """

    _BITS = 13

    def __init__(
        self, shape: tuple[int, ...], frac: int, means: np.ndarray | int = 0, octaves: np.ndarray | int = 0
    ) -> None:
        self._shape, self._count = shape, int(np.prod(shape))
        self._fine = max(frac - 3, 0)
        self._half = 1 << (self._BITS - 1)

        def full(values: np.ndarray | int) -> np.ndarray:
            return np.broadcast_to(np.asarray(values, np.int64), shape).reshape(1, -1)

        # The bucket around 0 ends where the next begins: centres are half a bucket below.
        centres = (full(means) << CENTRE_FRAC >> self._fine) + ((self._half << CENTRE_FRAC) - (1 << (CENTRE_FRAC - 1)))
        scales = full(octaves) + 16 * (frac - self._fine)
        self._prior = LogisticMixture(np.full_like(centres, 1 << 16), centres, scales, 2 * self._half)

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``; nothing remains."""
        flat, prior = values.reshape(-1), self._prior
        buckets = np.minimum(np.maximum((flat >> self._fine) + self._half, 0), 2 * self._half - 1)
        rest = flat[self._beyond(buckets)] + (1 << 47)
        for low in (0, 16, 32):
            stack.put_uniform((rest >> low) & 0xFFFF, 1 << 16)
        stack.put_uniform(flat & ((1 << self._fine) - 1), 1 << self._fine)
        stack.put_uniform(buckets & ((1 << prior.shift) - 1), 1 << prior.shift)
        start, freq = prior.intervals(buckets >> prior.shift)
        stack.put(start, freq, 24)
        return np.empty(0, np.int64)

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """As of ``Layer``: takes nothing."""
        prior = self._prior
        buckets = stack.get(self._count, 24, prior.find) << prior.shift
        buckets |= stack.get_uniform(self._count, 1 << prior.shift)
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
