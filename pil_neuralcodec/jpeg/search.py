"""The quantised coefficients of blocks whose samples are known, or known to lie between bounds.

Rounding the forward DCT is right but for steps of 1, where the samples' own rounding (0.29 each) takes one coefficient
in twelve to the wrong integer, and for samples that were limited to 0..255. The first is mended by trying the most
doubtful coefficients together, the second by filling such samples in from what the others say. Every block is decoded
with the exact inverse DCT before it counts as found, so floating point decides nothing but how often that succeeds.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .transform import LEVEL, inverse_dct

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[Any]


def _basis() -> Reals:
    k, n = np.mgrid[:8, :8]
    once = np.sqrt(np.where(k == 0, 1, 2) / 8) * np.cos((2 * n + 1) * k * np.pi / 16)
    return np.kron(once, once).astype(np.float32)


BASIS = _basis()
"""float32 (64, 64): frequency by place, orthonormal."""
_FILLS = 24
_BATCH = 256
_STAGES = ((8, 2, 4, 0.9), (8, 3, 8, 0.4), (12, 3, 12, 0.2), (12, 4, 24, 0.1), (16, 4, 48, 0.1))
"""Round by round: how many doubtful coefficients are tried, how many of them together, how many of the results are
decoded exactly, and the share of blocks above which there is no point: the steps are wrong."""
_FEW = 128
"""So many blocks are always tried."""
_VAGUE = 0.4
"""Share of samples without a value above which a block is not worth much."""


class Found(NamedTuple):
    """``coefficients`` int64 (64, n), quantised; ``exact`` bool (n,): their samples lie within the bounds."""

    coefficients: Ints
    exact: npt.NDArray[np.bool_]


class Bounds(NamedTuple):
    """The lowest, the highest and the likeliest samples, int64 of one shape; beyond 0..255 where a sample may have been
    limited. Of blocks: (64, n)."""

    low: Ints
    high: Ints
    likely: Ints

    def some(self, blocks: Ints) -> Bounds:
        """Some of the blocks."""
        return Bounds(*(part[:, blocks] for part in self))

    def whole(self) -> Ints:
        """Of blocks, those whose samples are all known: int (m,)."""
        return np.flatnonzero((self.low == self.high).all(axis=0))


def forward(blocks: npt.NDArray[Any]) -> Reals:
    """Coefficients, float32 (64, n), of samples (64, n)."""
    out: Reals = BASIS @ (blocks.astype(np.float32) - LEVEL)
    return out


def is_exact(coefficients: Ints, table: Ints, low: Ints, high: Ints) -> npt.NDArray[np.bool_]:
    """Which blocks decode to samples within the bounds, all int64 (64, n), ``table`` (64,)."""
    decoded = inverse_dct((coefficients * table[:, None]).reshape(8, 8, -1), np.int32).reshape(64, -1)
    inside: npt.NDArray[Any] = (decoded >= low) & (decoded <= high)
    return np.asarray(inside.all(axis=0))


def search(bounds: Bounds, table: Ints, *, stages: int = len(_STAGES)) -> Found:
    """Coefficients of blocks.

    Parameters
    ----------
    bounds : of the samples of blocks.
    table : steps, int64 (64,).
    stages : how hard doubtful coefficients are tried, 0 to 5.
    """
    low, high, start = bounds
    steps = table.astype(np.float32)[:, None]
    target = np.clip(start, low, high).astype(np.float32)
    found = np.rint(forward(target) / steps)
    open_ = np.flatnonzero((low != high).any(axis=0))
    for _ in range(_FILLS):
        if not len(open_):
            break
        decoded = BASIS.T @ (found[:, open_] * steps) + LEVEL
        target[:, open_] = np.clip(decoded, low[:, open_], high[:, open_])
        again = np.rint(forward(target[:, open_]) / steps)
        moved = (again != found[:, open_]).any(axis=0)
        found[:, open_] = again
        open_ = open_[moved]
    coefficients = found.astype(np.int64)
    exact = is_exact(coefficients, table, low, high)
    vague: npt.NDArray[Any] = (low != high).mean(axis=0) > _VAGUE
    for number, stage in enumerate(_STAGES[:stages]):
        missing = np.flatnonzero(~exact & ~(vague & (number > 0)))
        if len(missing) > max(stage[3] * len(exact), _FEW):
            break
        for at in range(0, len(missing), _BATCH):
            part = missing[at : at + _BATCH]
            near = bounds.some(part)
            coefficients[:, part], exact[part] = _flip(coefficients[:, part], target[:, part], near, table, stage)
    return Found(coefficients, exact)


def _flip(coefficients: Ints, target: Reals, bounds: Bounds, table: Ints, stage: tuple[int, int, int, float]) -> Found:
    """Coefficients with some of the most doubtful moved by one: exact ones if there are, else those that violate the
    bounds least."""
    tried, together, checked, _ = stage
    low, high, _ = bounds
    lower, upper = low.astype(np.float32) - 0.5, high.astype(np.float32) + 0.5
    steps = table.astype(np.float32)[:, None]
    decoded = BASIS.T @ (coefficients * steps) + LEVEL
    wanted = np.where(low == high, target, np.clip(decoded, low, high))
    rest = forward(wanted) - coefficients * steps
    order = np.argsort((steps / 2 - np.abs(rest)).T, axis=1)[:, :tried]  # (n, tried)
    sign = np.where(np.take_along_axis(rest.T, order, axis=1) < 0, -1, 1)
    moves = BASIS[order] * (sign * table[order])[:, :, None].astype(np.float32)  # (n, tried, 64)
    subsets = _subsets(tried, together)
    excess = np.matmul(subsets, moves)
    excess += (decoded - (lower + upper) / 2).T[:, None, :]
    np.abs(excess, out=excess)
    excess -= ((upper - lower) / 2).T[:, None, :]
    np.maximum(excess, 0, out=excess)
    cost = np.einsum("nsp,nsp->ns", excess, excess)
    best = np.argpartition(cost, checked, axis=1)[:, :checked]
    best = np.take_along_axis(best, np.take_along_axis(cost, best, axis=1).argsort(axis=1), axis=1)
    out, exact = coefficients.copy(), np.zeros(len(order), bool)
    for rank in range(checked):
        rows = np.flatnonzero(~exact)
        if not len(rows):
            break
        trial = coefficients[:, rows]
        trial[order[rows].T, np.arange(len(rows))] += (subsets[best[rows, rank]].astype(np.int64) * sign[rows]).T
        hit = is_exact(trial, table, low[:, rows], high[:, rows])
        exact[rows] = hit
        taken = rows if rank == 0 else rows[hit]
        out[:, taken] = trial if rank == 0 else trial[:, hit]
    return Found(out, exact)


def _subsets(tried: int, together: int) -> Reals:
    """Rows of 0 and 1, float32 (s, tried): all subsets of at most ``together``."""
    rows = [np.zeros(tried, np.float32)]
    for size in range(1, together + 1):
        for chosen in combinations(range(tried), size):
            row = np.zeros(tried, np.float32)
            row[list(chosen)] = 1
            rows.append(row)
    return np.stack(rows)
