"""Backward adaptation: predictions of a band corrected by what has just been decoded of it.

Side information (``adaptation``) is fitted to a whole band and sent. What is fitted here is fitted to the samples
before, by encoder and decoder alike, so nothing is sent and everything may change from place to place. A band is coded
row by row, each row in two halves: the even columns, then the odd ones, whose neighbours to the left and right are then
known. All samples of a half are coded at once.

For each half, means are moved and scales changed:

- Two local least squares (an exponential window over rows and columns, a short and a long one) predict a sample's
  surprise, its distance from the network's mean, from the nearest known samples, the surprises of its neighbours, and
  those of the bands before. A third one, of the whole row, says how far to trust them (stacking: Wolpert 1992).
- The scale of the mixture is changed by a table of the network's scale and of the surprises around, each entry
  descending along the gradient of the code length (AdaGrad: Duchi, Hazan, Singer 2011).

Statistics are integers. The linear systems are solved in single precision, by operations that are rounded one by one,
in one order, for all blocks of columns beside each other; the gradient likewise: every engine gets the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import native
from ..coders.engine import Compiled
from ..coders.logistic import (
    CENTRE_FRAC,
    INVERSE_BITS,
    INVERSE_SCALE,
    SCALE_MAX,
    SCALE_MIN,
    SIGMOID,
    TOTAL_BITS,
    Z_FRAC,
    Z_REACH,
    compiled_tables,
    log2,
)
from ..coders.symbols import SymbolSink, SymbolSource, groups
from .bands import SCALE_TOP, BandParameters, Mixture, rounded_variances

if TYPE_CHECKING:
    from .. import _native

_NEAR = 8
"""Taps of the band whose samples are features."""
_EARLIER_NEAR = 3
"""Taps of a band before whose differences are features."""
_NEIGHBOURS = (
    ((-1, 0), (-1, -1), (-1, 1), (-2, 0)),
    ((-1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (-2, 0)),
)
"""Known neighbours (rows down, columns right) of even and of odd columns."""
_EARLIER = ((0, 0), (0, 1), (0, -1))
"""Neighbours in bands before."""
_WEIGHTS = {1: 5, 2: 3, 4: 2}
"""Weight of a neighbour's surprise for the scale, by squared distance."""
_WIDE, _MEDIUM, _NARROW = 127, 64, 48
"""Limits of samples, surprises, and what is predicted, in 1/16 standard deviation."""
_BLOCK = 8
"""Columns of a half that share coefficients."""
_COEFFICIENT_BITS = 12
_LIMIT = 256
"""Largest prediction, in 1/64 standard deviation."""
_STACKED = 3
_CLASSES, _ENTRIES = 8, 17


class _Memory(NamedTuple):
    """How fast statistics forget: ``c -= c >> rows`` a row, ``v = v * columns >> bits`` a block."""

    rows: int
    columns: int
    bits: int


_SHORT, _LONG = _Memory(3, 7, 4), _Memory(5, 25, 5)
_STACK_ROWS = 4
_RIDGE, _STACK_RIDGE = 16 << 8, 4 << 12


@cache
def _deviations() -> tuple[np.ndarray, np.ndarray]:
    """For each log-scale from ``SCALE_MIN`` to ``SCALE_TOP``: 2**14 / s and 2**8 s, int64, with s the standard
    deviation of the rounded logistic."""
    inverse, deviation = [], []
    for variance in rounded_variances():
        root = isqrt(variance)  # 2**32 s
        inverse.append(((1 << 46) + root // 2) // root)
        deviation.append((root + (1 << 23)) >> 24)
    return np.array(inverse, np.int64), np.array(deviation, np.int64)


def put_adapted(
    sink: SymbolSink, parameters: BandParameters, mixture: Mixture, earlier: Sequence[np.ndarray], values: np.ndarray
) -> np.ndarray:
    """Code int64 (h, w). Returns the band's surprises, int32 or int64 (h, w); the others as in ``BandAdapter``."""
    compiled = _compiled(parameters, mixture, earlier, *values.shape)
    if compiled is not None:
        sink.put_group(groups(*compiled.code(np.ascontiguousarray(values)), TOTAL_BITS, half_row_ends(*values.shape)))
        return compiled.surprises()
    adapter = BandAdapter(parameters, mixture, earlier, *values.shape)
    for row, half in adapter.halves():
        part = values[row, half::2]
        adapter.mixture(row, half).coder(whole=True).put(sink, part)
        adapter.accept(row, half, part)
    return adapter.surprises


def get_adapted(
    source: SymbolSource,
    parameters: BandParameters,
    mixture: Mixture,
    earlier: Sequence[np.ndarray],
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Decode what ``put_adapted`` coded: values, int64 (h, w), and surprises."""
    values = np.empty(shape, np.int64)
    compiled = _compiled(parameters, mixture, earlier, *shape)
    if compiled is not None:
        found = source.get(values.size, Compiled(compiled, TOTAL_BITS)).reshape(shape)
        even = (shape[1] + 1) // 2
        values[:, ::2], values[:, 1::2] = found[:, :even], found[:, even:]
        return values, compiled.surprises()
    adapter = BandAdapter(parameters, mixture, earlier, *shape)
    for row, half in adapter.halves():
        values[row, half::2] = adapter.mixture(row, half).coder(whole=True).get(source)
        adapter.accept(row, half, values[row, half::2])
    return values, adapter.surprises


def half_row_ends(h: int, w: int) -> np.ndarray:
    """Where half rows end in coding order, int64 (2 * h,)."""
    rows = np.arange(h, dtype=np.int64)[:, None] * w
    ends: np.ndarray = rows + np.array([(w + 1) // 2, w])
    return ends.reshape(-1)


def _compiled(
    parameters: BandParameters, mixture: Mixture, earlier: Sequence[np.ndarray], h: int, w: int
) -> _native.AdaptedBand | None:
    """The same as ``BandAdapter``, compiled; None where there is none."""
    module, kernels = native.core(), native.fastest()
    if module is None or kernels is None:
        return None

    def part(numbers: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(numbers[..., :h, :w], np.int32)

    before = [
        (part(surprises), part(residuals), part(near[:_EARLIER_NEAR]))
        for surprises, (residuals, near) in zip(earlier, parameters.before, strict=True)
    ]
    mixed = [part(numbers) for numbers in mixture[:3]]
    own = part(parameters.total), part(parameters.taps[:_NEAR])
    band: _native.AdaptedBand = module.AdaptedBand(compiled_tables(kernels), *mixed, *own, before, *_deviations())
    return band


def solve(matrix: np.ndarray, ridge: int) -> np.ndarray:
    """Coefficients of least squares with ``n`` features, for each of ``m`` blocks.

    Parameters
    ----------
    matrix
        Sums of products of the features and, last, of what they predict: int (n, n + 1, m), at or right of the
        diagonal.
    ridge
        Added to the diagonal, and a 512th of it.

    Returns
    -------
    int64 (n, m), in 1/4096, at most 32767.
    """
    n = len(matrix)
    u = matrix.astype(np.float32)
    least, more = np.float32(ridge / 2), np.float32(1 + 1 / 512)
    inverse = np.empty((n, u.shape[2]), np.float32)
    for a in range(n):
        u[a, a] = u[a, a] * more + np.float32(ridge)
    for a in range(n):
        inverse[a] = np.float32(1) / np.fmax(u[a, a], least)
        factor = u[a, a + 1 : n] * inverse[a]
        u[a + 1 :, a + 1 :] -= factor[:, None] * u[a, a + 1 :]
    found, right = np.empty_like(inverse), u[:, n]
    for a in reversed(range(n)):
        found[a] = right[a] * inverse[a]
        right[:a] -= u[:a, a] * found[a]
    top = np.float32(32767)
    # Not numpy.clip: what is not a number is the largest, too.
    limited = np.fmax(np.fmin(found * np.float32(1 << _COEFFICIENT_BITS), top), -top)
    coefficients: np.ndarray = np.rint(limited).astype(np.int64)
    return coefficients


class _LocalSquares:
    """Least squares over the samples around a block of columns: ``n`` features, ``columns`` of a half."""

    def __init__(self, n: int, columns: int, memory: _Memory) -> None:
        self._memory, self._blocks = memory, -(-columns // _BLOCK)
        self._sums = np.zeros((n, n + 1, self._blocks), np.int64)

    def coefficients(self) -> np.ndarray:
        """Of each block, int64 (n, blocks)."""
        _, times, bits = self._memory
        around = np.empty_like(self._sums)
        value = np.zeros(self._sums.shape[:2], np.int64)
        for block in range(self._blocks):
            value = (value * times >> bits) + self._sums[..., block]
            around[..., block] = value
        value = np.zeros_like(value)
        for block in reversed(range(self._blocks)):
            around[..., block] += value
            value = (value + self._sums[..., block]) * times >> bits
        return solve(around, _RIDGE)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """From features int64 (n, columns), in 1/64 standard deviation: int64 (columns,)."""
        columns = features.shape[1]
        each = np.repeat(self.coefficients(), _BLOCK, axis=1)[:, :columns]
        predicted: np.ndarray = (each * features).sum(axis=0) >> (_COEFFICIENT_BITS - 2)
        return predicted.clip(-_LIMIT, _LIMIT)

    def learn(self, features: np.ndarray, target: np.ndarray) -> None:
        """Take what was predicted, ``target`` int64 (columns,)."""
        whole = np.zeros((len(features) + 1, self._blocks * _BLOCK), np.int64)
        whole[:-1, : len(target)], whole[-1, : len(target)] = features, target
        blocks = whole.reshape(len(whole), self._blocks, _BLOCK)
        self._sums -= self._sums >> self._memory.rows
        self._sums += np.einsum("abi,cbi->acb", blocks[:-1], blocks)


class _Stacking:
    """Least squares of a whole row: how far to trust predictions."""

    def __init__(self) -> None:
        self._sums = np.zeros((_STACKED, _STACKED + 1, 1), np.int64)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """As ``_LocalSquares``."""
        each = solve(self._sums, _STACK_RIDGE)
        predicted: np.ndarray = (each * features).sum(axis=0) >> _COEFFICIENT_BITS
        return predicted.clip(-_LIMIT, _LIMIT)

    def learn(self, features: np.ndarray, target: np.ndarray) -> None:
        """As ``_LocalSquares``, with targets in 1/64 standard deviation."""
        self._sums -= self._sums >> _STACK_ROWS
        self._sums[..., 0] += features @ np.concatenate([features, target[None]]).T


class _ScaleTable:
    """Offsets of log-scales, in 1/1024 octave, by class of the network's scale and by the surprises around."""

    def __init__(self) -> None:
        self._offsets = np.zeros(_CLASSES * _ENTRIES, np.int64)
        self._squares = np.full(_CLASSES * _ENTRIES, 1 << 30, np.int64)

    def offsets(self, entry: np.ndarray, part: np.ndarray) -> np.ndarray:
        """In 1/16 octave, between an entry and the next: int64 (columns,)."""
        offset = self._offsets[entry] * (64 - part) + self._offsets[entry + 1] * part
        rounded: np.ndarray = (offset + (1 << 11)) >> 12
        return rounded

    def learn(self, entry: np.ndarray, part: np.ndarray, slope: np.ndarray) -> None:
        """Descend along ``slope`` int64 (columns,), derivatives of log likelihoods by log-scales in 1/256."""
        count = len(self._offsets)
        total = np.zeros(count, np.int64)
        for at, share in ((entry, 64 - part), (entry + 1, part)):
            each = slope * share
            # Exact: sums of integers below 2**53.
            total += np.bincount(at, each, count).astype(np.int64)
            self._squares += np.bincount(at, each * each, count).astype(np.int64)
        step = np.rint(256.0 * total / np.sqrt(self._squares.astype(np.float64)))
        self._offsets = np.clip(self._offsets + step.astype(np.int64), -3 << 10, 3 << 10)


class _Half:
    """What is fitted for the even or the odd columns of a band."""

    def __init__(self, features: int, columns: int) -> None:
        self.local = [_LocalSquares(features, columns, memory) for memory in (_SHORT, _LONG)]
        self.stacking, self.scales = _Stacking(), _ScaleTable()


class BandAdapter:
    """Adapts the mixtures of a band, half row by half row.

    Parameters
    ----------
    parameters
        The network's, of samples of 8 bits.
    mixture
        The band's mixture with side information, as large as ``parameters``.
    earlier
        ``surprises`` of the bands before.
    h, w
        Rows and columns of the band; ``parameters`` may have more.
    """

    def __init__(
        self, parameters: BandParameters, mixture: Mixture, earlier: Sequence[np.ndarray], h: int, w: int
    ) -> None:
        self._mixture = mixture = mixture.each(lambda part: part[:, :h, :w].astype(np.int64))
        mean = (mixture.weights * mixture.centres).sum(axis=0) >> 16
        scale = (mixture.weights * mixture.scales).sum(axis=0) >> 16
        scale = np.clip(scale, SCALE_MIN, SCALE_TOP) - SCALE_MIN
        inverse, deviation = _deviations()
        self._mean, self._inverse, self._deviation = mean, inverse[scale], deviation[scale]
        self._class = np.clip((scale + SCALE_MIN + 16) >> 3, 0, _CLASSES - 1)
        total, taps = parameters.total[:h, :w].astype(np.int64), parameters.taps[:_NEAR, :h, :w]
        known = [self._scaled(((taps + total) << (CENTRE_FRAC - 2)) - mean, _WIDE)]
        for surprises, (residuals, before) in zip(earlier, parameters.before, strict=True):
            for down, right in _EARLIER:
                known.append(self._scaled(_moved(surprises, down, right)[None], _MEDIUM))
            left = (before[:_EARLIER_NEAR, :h, :w].astype(np.int64) - residuals[:h, :w]) << (CENTRE_FRAC - 2)
            known.append(self._scaled(left, _WIDE))
        self._known = np.concatenate(known)
        self.surprises = np.zeros((h, w), np.int64)
        """Distances of samples from the network's mean, in 1/64 of a grey level: int64 (h, w)."""
        self._energy = np.zeros((h, w), np.int64)
        counts = [len(self._known) + len(near) for near in _NEIGHBOURS]
        self._halves = [_Half(n, (w + 1 - half) // 2) for half, n in enumerate(counts)]

    def _scaled(
        self, numbers: np.ndarray, limit: int, at: tuple[int | slice, slice] = (slice(None), slice(None))
    ) -> np.ndarray:
        """Numbers in 1/64 of a grey level, in 1/16 standard deviation, of all positions or some."""
        scaled: np.ndarray = np.clip(numbers * self._inverse[at] >> 16, -limit, limit)
        return scaled

    def halves(self) -> Iterator[tuple[int, int]]:
        """Rows and halves in coding order."""
        h, w = self.surprises.shape
        return ((row, half) for row in range(h) for half in range(min(w, 2)))

    def mixture(self, row: int, half: int) -> Mixture:
        """The mixtures of a half row, (K, columns)."""
        fitted, at = self._halves[half], (row, slice(half, None, 2))
        around = [_neighbour(self.surprises, row, half, *where) for where in _NEIGHBOURS[half]]
        near = self._scaled(np.stack(around), _MEDIUM, at)
        self._features = np.concatenate([self._known[:, at[0], at[1]], near])
        trust = np.clip(2 * (near[0] + near[1]), -_LIMIT, _LIMIT)
        self._stacked = np.stack([*(local.predict(self._features) for local in fitted.local), trust])
        self._shift = (fitted.stacking.predict(self._stacked) * self._deviation[at] + 128) >> 8
        self._entry, self._part = self._context(row, half)
        offset = fitted.scales.offsets(self._entry, self._part)
        weights, centres, scales, _ = self._mixture
        self._coded = Mixture(
            weights[:, at[0], at[1]], centres[:, at[0], at[1]] + self._shift, scales[:, at[0], at[1]] + offset
        )
        return self._coded

    def accept(self, row: int, half: int, values: np.ndarray) -> None:
        """Take the samples of a half row, int64 (columns,)."""
        fitted, at = self._halves[half], (row, slice(half, None, 2))
        surprise = (values << CENTRE_FRAC) - self._mean[at]
        self.surprises[at] = surprise
        self._energy[at] = self._scaled(np.abs(surprise - self._shift), _MEDIUM, at) ** 2
        target = self._scaled(surprise, _NARROW, at)
        for local in fitted.local:
            local.learn(self._features, target)
        fitted.stacking.learn(self._stacked, 4 * target)
        fitted.scales.learn(self._entry, self._part, _slopes(self._coded, values))

    def _context(self, row: int, half: int) -> tuple[np.ndarray, np.ndarray]:
        """Entries of the table of scales, and how far each is from the next, in 1/64: int64 (columns,) each."""
        surprises = np.full(len(self._shift), 896, np.int64)
        count = surprises.copy()
        inside = np.ones_like(self._energy)
        for down, right in _NEIGHBOURS[half]:
            weight = _WEIGHTS[down * down + right * right]
            surprises += weight * _neighbour(self._energy, row, half, down, right)
            count += (weight << 8) * _neighbour(inside, row, half, down, right)
        where = np.clip(((log2(surprises) - log2(count)) >> 9) + 512, 0, 1023)
        return self._class[row, half::2] * _ENTRIES + (where >> 6), where & 63


def _moved(plane: np.ndarray, down: int, right: int) -> np.ndarray:
    """The numbers that lie below and to the right of each position, 0 outside, at most one away."""
    padded = np.pad(plane, 1)
    h, w = plane.shape
    return padded[1 + down : 1 + down + h, 1 + right : 1 + right + w]


def _neighbour(plane: np.ndarray, row: int, half: int, down: int, right: int) -> np.ndarray:
    """The numbers below and to the right of a half row, 0 outside: (columns,)."""
    w = plane.shape[1]
    if row + down < 0:
        return np.zeros((w + 1 - half) // 2, np.int64)
    padded = np.pad(plane[row + down], 1)
    return padded[1 + half + right : 1 + w + right : 2]


def _slopes(mixture: Mixture, values: np.ndarray) -> np.ndarray:
    """Derivatives of the log likelihoods of values by log-scales in octaves, in 1/256, at most 3: int64 (n,)."""
    one = np.float32(1)
    slope = probability = np.zeros(len(values), np.float32)
    for weights, centres, scales in zip(*mixture[:3], strict=True):
        inverse = INVERSE_SCALE[np.clip(scales, SCALE_MIN, SCALE_MAX) - SCALE_MIN]
        parts = []
        for edge in (values + 1, values):
            position = (edge << CENTRE_FRAC) - (1 << (CENTRE_FRAC - 1)) - centres
            steps = np.clip(position * inverse >> INVERSE_BITS, -Z_REACH, Z_REACH)
            below = SIGMOID[steps + Z_REACH].astype(np.float32) * np.float32(2**-24)
            z = steps.astype(np.float32) * np.float32(2**-Z_FRAC)
            parts.append((below, z * below * (one - below)))
        (high, upper), (low, lower) = parts
        weight = weights.astype(np.float32)
        probability = probability + weight * (high - low)
        slope = slope + weight * (lower - upper)
    each = slope / (probability + np.float32(2**-8)) * np.float32(256 * 0.6931)
    return np.rint(np.clip(each, -768, 768)).astype(np.int64)
