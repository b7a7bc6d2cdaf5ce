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
_STACK_ROWS = 6
_RIDGE, _STACK_RIDGE = 16 << 8, 4 << 12
_RATE = 154
"""Of the descent: 0.15 octaves in 1/1024."""


class Memory(NamedTuple):
    """How fast statistics forget: ``c -= c >> rows`` a row, ``v = v * columns >> bits`` a block."""

    rows: int
    columns: int
    bits: int


SHORT, LONG = Memory(3, 7, 4), Memory(5, 25, 5)


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

    def __init__(self, n: int) -> None:
        self._sums = np.zeros((n, n + 1, _GROUPS), np.int64)

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
            self._sums[..., group] += inside[:-1] @ inside.T


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
    """Offsets of log-scales, in 1/1024 octave, by class of the network's scale and by surprises."""

    def __init__(self) -> None:
        self._offsets = np.zeros(CLASSES * ENTRIES, np.int64)
        self._squares = np.full(CLASSES * ENTRIES, 1 << 30, np.int64)

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
        self._offsets = np.clip(self._offsets + step.astype(np.int64), -3 << 10, 3 << 10)
