"""The quantised coefficients of blocks whose samples are known, or known to lie between bounds.

Rounding the forward DCT is right but for steps of 1, where the samples' own rounding (0.29 each) takes one coefficient
in twelve to the wrong integer, and for samples that were limited to 0..255. The first is mended by trying the most
doubtful coefficients together, the second by filling such samples in from what the others say. Every block is decoded
with the exact inverse DCT before it counts as found.

All machines find the same: floating point only holds multiples of powers of two that it holds exactly, whatever the
order of sums.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..coders.logistic import costs
from .bounds import Bounds
from .partial import complete
from .transform import BASIS_BITS, LEVEL, inverse_dct, waves

Ints = npt.NDArray[np.signedinteger[Any]]
Reals = npt.NDArray[Any]

_WAVES = waves(8).astype(np.float64)
_SCALE = 1 / float(8 << 2 * BASIS_BITS)
BASIS = np.kron(_WAVES, _WAVES) * _SCALE
"""float64 (64, 64): frequency by place, orthonormal but for rounding to multiples of 2**-29."""
_FILLS = 24
GRAIN = 16.0
"""Samples between integers are rounded to sixteenths, so that what is made of them is exact."""
_FAR = 500.0
"""Sixteenths beyond its bounds that a sample counts for at most: sums of 64 squares stay below 2**24."""
_BLOCKS = 4096
"""Blocks that are worked on at once."""
_BATCH = 256
_ROWS = 256
"""Subsets that are multiplied at once; see `_transformed`."""
_STAGES = ((8, 2, 4, 0.9), (8, 3, 8, 0.4), (12, 3, 12, 0.2), (12, 4, 24, 0.1), (16, 4, 48, 0.1))
"""Round by round: how many doubtful coefficients are tried, how many of them together, how many of the results are
decoded exactly, and the share of blocks above which there is no point: the steps are wrong."""
_FEW = 128
"""So many blocks are always tried."""
_CLOSE = 2
_RARE = 1 / 4
_VAGUE = 0.4
"""Share of samples without a value above which a block is not worth much."""


class Found(NamedTuple):
    """``coefficients`` int64 (64, n), quantised; ``exact`` bool (n,): their samples lie within the bounds."""

    coefficients: Ints
    exact: npt.NDArray[np.bool_]


def forward(blocks: npt.NDArray[Any]) -> Reals:
    """Coefficients, float64 (64, n), of samples (64, n) that are integers or multiples of 1/16."""
    out = np.empty(blocks.shape)
    for at in range(0, blocks.shape[1], _BLOCKS):
        part = slice(at, at + _BLOCKS)
        out[:, part] = _transformed(blocks[:, part].astype(np.float64) - LEVEL, _WAVES)
    return out


def _transformed(values: Reals, basis: Reals) -> Reals:
    """Products with a basis (8, 8) on both axes of values (64, n), n at most `_BLOCKS`. They are small matrices, for
    which libraries of linear algebra start no threads."""
    once = np.matmul(basis, values.reshape(8, 8, -1).transpose(1, 0, 2))
    return np.asarray(np.matmul(basis, once.transpose(1, 0, 2)).reshape(values.shape) * _SCALE)


def spread(blocks: npt.NDArray[Any]) -> Ints:
    """How large coefficients are, by their logarithms, which sets apart the right grid: int64 (64, n), in 1/65536 bit,
    of samples (64, n)."""
    return np.asarray(-costs(np.rint(np.abs(forward(blocks)) * 256).astype(np.int64) + 128))


def _backward(values: Reals) -> Reals:
    """Samples, float64 (64, n) of multiples of 1/16, of dequantised coefficients (64, n)."""
    return np.asarray(np.rint(_transformed(values, _WAVES.T) * GRAIN) / GRAIN + LEVEL)


def is_exact(coefficients: Ints, table: Ints, low: Ints, high: Ints) -> npt.NDArray[np.bool_]:
    """Which blocks decode to samples within the bounds, all int64 (64, n), ``table`` (64,)."""
    decoded = inverse_dct((coefficients * table[:, None]).reshape(8, 8, -1), np.int32).reshape(64, -1)
    inside: npt.NDArray[Any] = (decoded >= low) & (decoded <= high)
    return np.asarray(inside.all(axis=0))


def variances(coefficients: Ints) -> Reals:
    """Mean squares (64,) of quantised coefficients (64, n), at least those of a rare one."""
    return np.asarray(((coefficients * coefficients).sum(axis=1) + _RARE) / (coefficients.shape[1] + 1))


def search(bounds: Bounds, table: Ints, *, stages: int = len(_STAGES), sizes: Reals | None = None) -> Found:
    """Coefficients of blocks.

    Parameters
    ----------
    bounds : of the samples of blocks.
    table : steps, int64 (64,).
    stages : how hard doubtful coefficients are tried, 0 to 5.
    sizes : what `variances` says of other blocks (None: of those that are found at once).
    """
    count = bounds.low.shape[1]
    coefficients = np.empty((64, count), np.int64)
    target = np.empty((64, count), np.float32)
    exact, vague = np.empty(count, bool), np.empty(count, bool)
    for at in range(0, count, _BLOCKS):
        part = slice(at, at + _BLOCKS)
        near = Bounds(bounds.low[:, part], bounds.high[:, part], bounds.likely[:, part])
        coefficients[:, part], target[:, part] = _filled(near, table)
        exact[part] = is_exact(coefficients[:, part], table, near.low, near.high)
        vague[part] = (near.low != near.high).mean(axis=0) > _VAGUE
    if sizes is None and np.count_nonzero(exact) >= _FEW:
        sizes = variances(coefficients[:, exact])
    if sizes is not None:
        _complete(bounds, table, sizes, coefficients, exact)
    for number, stage in enumerate(_STAGES[:stages]):
        missing = np.flatnonzero(~exact & ~(vague & (number > 0)))
        if len(missing) > max(stage[3] * len(exact), _FEW):
            break
        for at in range(0, len(missing), _BATCH):
            some = missing[at : at + _BATCH]
            near = bounds.some(some)
            coefficients[:, some], exact[some] = _flip(coefficients[:, some], target[:, some], near, table, stage)
    return Found(coefficients, exact)


def _complete(bounds: Bounds, table: Ints, sizes: Reals, coefficients: Ints, exact: npt.NDArray[np.bool_]) -> None:
    """Find blocks of which a part is seen, and nothing is known of the rest."""
    missing = np.flatnonzero(~exact)
    low, high, likely = bounds.some(missing)
    seen = high - low <= _CLOSE
    partial = np.flatnonzero((seen | ((low < -LEVEL) & (high > 255 + LEVEL))).all(axis=0))
    if not len(partial):
        return
    tried, tries = complete(likely[:, partial] - LEVEL, seen[:, partial], BASIS, table, sizes)
    low, high = low[:, partial[tried]], high[:, partial[tried]]
    blocks = missing[partial[tried]]
    best = _excess(coefficients[:, blocks], table, low, high)
    for found in np.moveaxis(tries, 1, 0):
        excess = _excess(found, table, low, high)
        better = excess < best
        coefficients[:, blocks[better]] = found[:, better]
        best = np.minimum(best, excess)
    exact[blocks] = best == 0


def _excess(coefficients: Ints, table: Ints, low: Ints, high: Ints) -> Ints:
    """How far blocks decode to beyond their bounds, int64 (n,), arguments as of `is_exact`."""
    decoded = inverse_dct((coefficients * table[:, None]).reshape(8, 8, -1)).reshape(64, -1)
    return np.asarray(np.abs(decoded - np.clip(decoded, low, high)).sum(axis=0))


def _filled(bounds: Bounds, table: Ints) -> tuple[Ints, Reals]:
    """Coefficients int64 (64, n), and the samples that they were rounded from, those without a value filled in."""
    low, high, start = bounds
    steps = table.astype(np.float64)[:, None]
    target = np.clip(start, low, high).astype(np.float64)
    found = np.rint(forward(target) / steps)
    open_ = np.flatnonzero((low != high).any(axis=0))
    for _ in range(_FILLS):
        if not len(open_):
            break
        target[:, open_] = np.clip(_backward(found[:, open_] * steps), low[:, open_], high[:, open_])
        again = np.rint(forward(target[:, open_]) / steps)
        moved = (again != found[:, open_]).any(axis=0)
        found[:, open_] = again
        open_ = open_[moved]
    return found.astype(np.int64), target


def _flip(coefficients: Ints, target: Reals, bounds: Bounds, table: Ints, stage: tuple[int, int, int, float]) -> Found:
    """Coefficients with some of the most doubtful moved by one: exact ones if there are, else those that violate the
    bounds least."""
    tried, together, checked, _ = stage
    low, high, _ = bounds
    steps = table.astype(np.float64)[:, None]
    decoded = _backward(coefficients * steps)
    rest = forward(np.where(low == high, target, np.clip(decoded, low, high))) - coefficients * steps
    order = np.argsort((steps / 2 - np.abs(rest)).T, axis=1, kind="stable")[:, :tried]  # (n, tried)
    sign = np.where(np.take_along_axis(rest.T, order, axis=1) < 0, -1, 1)
    moves = BASIS[order] * (sign * table[order] * GRAIN)[:, :, None]  # (n, tried, 64)
    subsets = _subsets(tried, together)
    # In sixteenths from here on: integers below 2**24, which single precision holds.
    moves = np.rint(moves).astype(np.float32)
    excess = np.empty((len(moves), len(subsets), 64), np.float32)
    for at in range(0, len(subsets), _ROWS):
        np.matmul(subsets[at : at + _ROWS], moves, out=excess[:, at : at + _ROWS])
    excess += ((decoded * 2 - low - high) * (GRAIN / 2)).T[:, None, :].astype(np.float32)
    np.abs(excess, out=excess)
    excess -= ((high - low + 1) * np.float32(GRAIN / 2)).T[:, None, :]
    np.clip(excess, 0, _FAR, out=excess)
    cost = np.einsum("nsp,nsp->ns", excess, excess).astype(np.int64)
    keys = cost * len(subsets) + np.arange(len(subsets))
    best = np.sort(np.partition(keys, checked, axis=1)[:, :checked], axis=1) % len(subsets)
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


@cache
def _subsets(tried: int, together: int) -> Reals:
    """Rows of 0 and 1, float32 (s, tried): all subsets of at most ``together``."""
    rows = [np.zeros(tried, np.float32)]
    for size in range(1, together + 1):
        for chosen in combinations(range(tried), size):
            row = np.zeros(tried, np.float32)
            row[list(chosen)] = 1
            rows.append(row)
    return np.stack(rows)
