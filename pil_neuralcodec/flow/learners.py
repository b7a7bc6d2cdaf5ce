"""What backward adaptation fits to the samples of a band, half row by half row: predictions and scales.

Statistics are integers. Linear systems are solved in single precision, by operations that are rounded one by one, in
one order, for all blocks beside each other; blending and the descent likewise: every engine gets the same numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CLASSES, ENTRIES = 8, 17
LIMIT = 256
"""Largest prediction, in 1/64 standard deviation."""
_BLOCK = 8
"""Columns of a half that share coefficients."""
_COEFFICIENT_BITS = 12
_GROUPS = CLASSES // 2
"""Groups of classes that are stacked apart."""
STACKED = 4
"""Predictions that are stacked."""
_STACK_ROWS = 6
_RIDGE, _STACK_RIDGE = 16 << 8, 4 << 12
_RATE = 61
"""Of the descent: 0.06 octaves in 1/1024."""
TABLES, TRUST = 4, 3
"""Tables: three of scales; the last is of how far to trust what moves means."""
_MOST_TRUST = 1536
BINS, BIN_BITS = 32, 19
"""Bins of a calibration, each 2**19 of the 2**24 of a distribution function."""
_FIRST_SQUARES = 1 << 30
_SAMPLE = 1 << 12
"""What a sample adds to the counts of a calibration."""
_FIRST_SAMPLES, _MOST_SAMPLES = 200, 1 << 13
"""Samples that a calibration begins with, and from which on it forgets."""


class Memory(NamedTuple):
    """How fast statistics forget: ``c -= c >> rows`` a row, ``v = v * columns >> bits`` a block; and in how many rows
    coefficients are made anew."""

    rows: int
    columns: int
    bits: int
    every: int


SHORT, LONG = Memory(3, 7, 4, 1), Memory(6, 27, 5, 4)


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


class LocalSquares:
    """Least squares over the samples around a block of columns: ``n`` features, ``columns`` of a half."""

    def __init__(self, n: int, columns: int, memory: Memory) -> None:
        self._memory, self._blocks = memory, -(-columns // _BLOCK)
        self._sums = np.zeros((n, n + 1, self._blocks), np.int64)
        self._coefficients = np.zeros((n, self._blocks), np.int64)

    def fit(self, row: int) -> None:
        """Make coefficients for a row, if it is time."""
        _, times, bits, every = self._memory
        if row % every != 1 % every:
            return
        around = np.empty_like(self._sums)
        value = np.zeros(self._sums.shape[:2], np.int64)
        for block in range(self._blocks):
            value = (value * times >> bits) + self._sums[..., block]
            around[..., block] = value
        value = np.zeros_like(value)
        for block in reversed(range(self._blocks)):
            around[..., block] += value
            value = (value + self._sums[..., block]) * times >> bits
        self._coefficients = solve(around, _RIDGE)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """From features int64 (n, columns), in 1/64 standard deviation: int64 (columns,)."""
        columns = features.shape[1]
        each = np.repeat(self._coefficients, _BLOCK, axis=1)[:, :columns]
        predicted: np.ndarray = (each * features).sum(axis=0) >> (_COEFFICIENT_BITS - 2)
        return predicted.clip(-LIMIT, LIMIT)

    def learn(self, features: np.ndarray, target: np.ndarray) -> None:
        """Take what was predicted, ``target`` int64 (columns,)."""
        whole = np.zeros((len(features) + 1, self._blocks * _BLOCK), np.int64)
        whole[:-1, : len(target)], whole[-1, : len(target)] = features, target
        blocks = whole.reshape(len(whole), self._blocks, _BLOCK)
        self._sums -= self._sums >> self._memory.rows
        self._sums += np.einsum("abi,cbi->acb", blocks[:-1], blocks)


class Stacking:
    """Least squares of whole half rows, of four groups of classes apart: how far to trust ``n`` predictions."""

    def __init__(self, sums: np.ndarray) -> None:
        """``sums`` of products, int64 (n, n + 1, groups), are changed in place."""
        self._sums = sums

    def predict(self, features: np.ndarray, of: np.ndarray) -> np.ndarray:
        """As ``LocalSquares``, at positions of classes ``of`` (columns,)."""
        each = solve(self._sums, _STACK_RIDGE)[:, of >> 1]
        predicted: np.ndarray = (each * features).sum(axis=0) >> _COEFFICIENT_BITS
        return predicted.clip(-LIMIT, LIMIT)

    def learn(self, features: np.ndarray, of: np.ndarray, target: np.ndarray) -> None:
        """As ``LocalSquares``, with targets in 1/64 standard deviation."""
        self._sums -= self._sums >> _STACK_ROWS
        known = np.concatenate([features, target[None]])
        for group in range(_GROUPS):
            inside = known[:, of >> 1 == group]
            self._sums[..., group] += np.triu(inside[:-1] @ inside.T)


def blend(predictions: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Predictions int64 (n, columns) weighted by the inverse fourth power of their ``errors`` around a position,
    positive integers (n + 1, columns), of which the first is that of no change: int64 (columns,)."""
    weight = np.float32(1) / errors.astype(np.float32)
    weight *= weight
    weight *= weight
    above, below = np.zeros(len(weight[0]), np.float32), weight[0]
    for each, predicted in zip(weight[1:], predictions, strict=True):
        above = above + each * predicted.astype(np.float32)
        below = below + each
    blended: np.ndarray = np.rint(above / below).astype(np.int64)
    return blended


class ScaleTable:
    """Offsets of log-scales, in 1/1024 octave, by class of the network's scale and by surprises.

    ``offsets`` and ``squares``, int64 (CLASSES * ENTRIES,), are changed in place."""

    def __init__(self, offsets: np.ndarray, squares: np.ndarray) -> None:
        self._offsets, self._squares = offsets, squares

    def offsets(self, entry: np.ndarray, part: np.ndarray) -> np.ndarray:
        """In 1/65536 octave, between an entry and the next: int64 (columns,)."""
        offsets: np.ndarray = self._offsets[entry] * (64 - part) + self._offsets[entry + 1] * part
        return offsets

    def learn(self, entry: np.ndarray, part: np.ndarray, slope: np.ndarray) -> None:
        """Descend along ``slope`` int64 (columns,), derivatives of log likelihoods by log-scales in 1/256."""
        count = len(self._offsets)
        total = np.zeros(count, np.int64)
        for at, share in ((entry, 64 - part), (entry + 1, part)):
            each = slope * share
            # Exact: sums of integers below 2**53.
            total += np.bincount(at, each, count).astype(np.int64)
            self._squares += np.bincount(at, each * each, count).astype(np.int64)
        step = np.rint(float(_RATE) * total / np.sqrt(self._squares.astype(np.float64)))
        self._offsets[:] = np.clip(self._offsets + step.astype(np.int64), -3 << 10, 3 << 10)


class Trust(ScaleTable):
    """Factors of shifts, in 1/1024 less 1024, by octave of the network's scale: least squares do not see how much a
    miss costs where a distribution is narrow and has long tails, and the gradient of the code length does."""

    def applied(self, shifts: np.ndarray, octave: np.ndarray) -> np.ndarray:
        """Shifts int64 (columns,), as far as they are trusted: int64 (columns,)."""
        trusted: np.ndarray = shifts * np.clip(1024 + self._offsets[octave], 0, _MOST_TRUST) >> 10
        return trusted


class Calibration:
    """Distribution functions as they should have been: histogram calibration, the last step of PAQ (adaptive
    probability maps: Mahoney 2005).

    Where the samples were in the distributions that predicted them is counted, of each class apart; a map linear in
    each bin makes that even. ``counts``, int64 (CLASSES, BINS), are changed in place."""

    def __init__(self, counts: np.ndarray) -> None:
        self._counts = counts
        self.maps = np.empty((CLASSES, BINS + 1), np.int64)
        """Distribution functions calibrated, at the ends of bins."""
        self._set(np.arange(CLASSES))

    def _set(self, of: np.ndarray) -> None:
        ends = self._counts[of].cumsum(axis=1)
        self.maps[of, 0], self.maps[of, 1:] = 0, (ends << 24) // ends[:, -1:]

    def apply(self, below: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Distribution functions, int64 (n,) out of 2**24, of classes ``of``: the same calibrated."""
        at, inside = below >> BIN_BITS, below & ((1 << BIN_BITS) - 1)
        low, high = self.maps[of, at], self.maps[of, np.minimum(at + 1, BINS)]
        mapped: np.ndarray = low + ((high - low) * inside >> BIN_BITS)
        return mapped

    def learn(self, low: np.ndarray, high: np.ndarray, of: np.ndarray) -> None:
        """Take the distribution functions at both edges of samples, int64 (n,), and their classes."""
        ends = np.arange(BINS + 1) << BIN_BITS
        overlap = np.minimum(high[:, None], ends[1:]) - np.maximum(low[:, None], ends[:-1])
        share = np.float32(_SAMPLE) / np.maximum(high - low, 1).astype(np.float32)
        each = np.rint(np.maximum(overlap, 0).astype(np.float32) * share[:, None]).astype(np.int64)
        np.add.at(self._counts, of, each)
        full = self._counts.sum(axis=1) >= _MOST_SAMPLES * _SAMPLE
        self._counts[full] = (self._counts[full] + _SAMPLE) >> 1
        self._set(np.unique(of))


class Learned:
    """What the components of a band teach those after them: ``offsets`` and ``squares`` of the tables, int64
    (TABLES, CLASSES * ENTRIES), ``counts`` of the calibration, int64 (CLASSES, BINS), and ``sums`` of what stacks the
    predictions of even and of odd columns, int64 (2, STACKED, STACKED + 1, groups)."""

    def __init__(self) -> None:
        self.sums = np.zeros((2, STACKED, STACKED + 1, _GROUPS), np.int64)
        self.offsets = np.zeros((TABLES, CLASSES * ENTRIES), np.int64)
        self.squares = np.full((TABLES, CLASSES * ENTRIES), _FIRST_SQUARES, np.int64)
        self.counts = np.full((CLASSES, BINS), _FIRST_SAMPLES * _SAMPLE // BINS, np.int64)

    def begin(self) -> None:
        """A component begins: what is new counts for more again."""
        self.squares = _FIRST_SQUARES + ((self.squares - _FIRST_SQUARES) >> 2)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """All of it."""
        return self.offsets, self.squares, self.counts, self.sums

    @arrays.setter
    def arrays(self, arrays: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> None:
        self.offsets, self.squares, self.counts, self.sums = arrays
