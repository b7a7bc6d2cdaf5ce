"""Blocks of which a part is seen: those at the edge of an image that was cut, or whose size is no multiple of 8.

What is not seen leaves coefficients open, so they are decided one after the other, the surest first, given what is
known of their sizes and what has been decided, as receivers with many antennas do it (Wolniansky, Foschini, Golden,
Valenzuela 1998, V-BLAST). The best few decisions are followed (the M-algorithm of Anderson and Mohan 1984).

All machines decide the same: doubles are added and multiplied one by one, in one order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.signedinteger[Any]]
Reals = npt.NDArray[Any]

_NOISE = 1 / 12
"""Variance of rounded samples."""
_LEAST = 1e-9
_PATTERNS = 8
_FEWEST = 3
"""How many patterns of seen samples are gone through, and how many blocks have to share one."""
_SEEN = 8
KEPT = 16


def complete(
    samples: Ints, seen: npt.NDArray[np.bool_], basis: Reals, table: Ints, variances: Reals
) -> tuple[Ints, Ints]:
    """Coefficients that give the samples that are seen.

    Parameters
    ----------
    samples : (64, n), less 128.
    seen : bool (64, n).
    basis : (64, 64), frequency by place.
    table, variances : steps (64,), and the mean squares of quantised coefficients (64,).

    Returns
    -------
    Blocks (m,) that were tried, and for each `KEPT` tries of quantised coefficients, int64 (64, KEPT, m).
    """
    patterns, which, counts = np.unique(np.packbits(seen, axis=0), axis=1, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_PATTERNS]
    blocks, out = [np.zeros(0, np.int64)], [np.zeros((64, KEPT, 0), np.int64)]
    for pattern in order:
        places = np.flatnonzero(np.unpackbits(patterns[:, pattern]))
        # Limited samples leave other patterns than edges do, and too many.
        is_rectangle = len(places) == len(np.unique(places // 8)) * len(np.unique(places % 8))
        if counts[pattern] < _FEWEST or not _SEEN <= len(places) < 64 or not is_rectangle:
            continue
        chosen = np.flatnonzero(which.reshape(-1) == pattern)
        blocks.append(chosen)
        out.append(_decided(samples[:, chosen], places, basis * table[:, None], variances))
    return np.concatenate(blocks), np.concatenate(out, axis=2)


def _decided(samples: Ints, places: Ints, basis: Reals, variances: Reals) -> Ints:
    """Tries int64 (64, KEPT, n) for blocks of which ``places`` are seen; ``basis`` in steps."""
    count = samples.shape[1]
    mean = np.zeros((64, count))
    spread = np.diag(variances)
    for place in places:
        wave = basis[:, place]
        shared = _sum(spread * wave[:, None])
        gain = shared / (_sum(wave * shared) + _NOISE)
        expected = _sum(mean * wave[:, None])
        mean += gain[:, None] * (samples[place] - expected)
        spread -= gain[:, None] * shared
    means = np.broadcast_to(mean[:, None], (64, KEPT, count)).copy()
    out = np.zeros((64, KEPT, count), np.int64)
    cost = np.full((KEPT, count), np.inf)
    cost[0] = 0
    left = np.ones(64, bool)
    columns = np.arange(count)
    for _ in range(64):
        one = int(np.where(left, np.diagonal(spread), np.inf).argmin())
        left[one] = False
        own = max(float(spread[one, one]), _LEAST)
        nearest = np.rint(means[one])
        second = nearest + np.where(means[one] < nearest, -1, 1)
        values = np.concatenate([nearest, second])
        costs = np.tile(cost, (2, 1)) + (values - np.tile(means[one], (2, 1))) ** 2 / own
        best = np.argsort(costs, axis=0, kind="stable")[:KEPT]
        parents = best % KEPT
        cost = costs[best, columns]
        out, means = out[:, parents, columns], means[:, parents, columns]
        value = values[best, columns]
        out[one] = value.astype(np.int64)
        means += (spread[:, one] / own)[:, None, None] * (value - means[one])
        spread -= (spread[:, one] / own)[:, None] * spread[one]
    return out


def _sum(terms: Reals) -> Reals:
    """Sums over the first axis, term by term."""
    return np.asarray(np.add.accumulate(terms, axis=0)[-1])
