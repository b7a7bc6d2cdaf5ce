"""Quantisation steps from the combs that they leave in the histograms of coefficients.

A coefficient of a decoded block is a multiple of its step, with noise of 0.29 by the rounding of samples. The step is
the one that makes what is seen most likely; where all coefficients are zero it cannot be seen. Most tables are those
of Annex K of the JPEG standard, scaled by a quality (as libjpeg does it), which fills in the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..coders.logistic import costs

Ints = npt.NDArray[np.int64]

NOISE = 0.3
"""Of coefficients of samples that were rounded once."""
_BIT = 1 << 16
_OUTLIERS = -6 * _BIT
"""Log-likelihood of a coefficient that is no multiple of its step."""
LEAST = 3.0
"""Coefficients beyond it are none of roundings alone."""
_SURE = 5.0  # standard deviations of noise beyond which a coefficient is not zero
_SEEN = 150  # coefficients looked at, for each frequency
MAX_STEP = 255
_AGREE = 0.6
_MISSED = 0.1

LUMA = np.array(
    [16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55]
    + [14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62]
    + [18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92]
    + [49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99],
    np.int64,
)
"""int64 (64,): Annex K's table of luma, row by row; `CHROMA` that of chroma."""
CHROMA = np.full(64, 99, np.int64)
CHROMA[[0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 24, 25]] = [17, 18, 24, 47, 18, 21, 26, 66, 24, 26, 56, 47, 66]


def scaled(base: Ints, quality: int) -> Ints:
    """A table of Annex K, int64 (64,), for a quality 1..100, as libjpeg scales it."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((base * percent + 50) // 100, 1, MAX_STEP)


def is_scaled(table: Ints, base: Ints) -> bool:
    """Whether a table is Annex K's at some quality."""
    return any((scaled(base, quality) == table).all() for quality in range(1, 101))


def find(
    coefficients: npt.NDArray[Any], noise: float, base: Ints, *, least: float = 0.0, fewest: int = 2
) -> list[Ints]:
    """Steps that real coefficients (64, n) of blocks with no limited sample may have: int64 (64,), the likeliest first.

    ``noise`` is the standard deviation of the coefficients, ``base`` the table of Annex K: steps are those of it at
    one quality where most of the likeliest ones agree. Coefficients below ``least`` do not count: where a block has
    only one, roundings of samples repeat and add up, to two at most. A step is read from ``fewest`` at least.
    """
    likelihoods = np.stack([_likelihoods(row, noise, least, fewest) for row in coefficients])  # (64, MAX_STEP + 1)
    seen = likelihoods.any(axis=1)
    free = likelihoods[:, 1:].argmax(axis=1) + 1
    tables = np.stack([scaled(base, quality) for quality in range(1, 101)])
    agree = (tables == free)[:, seen].sum(axis=1)
    fits = np.take_along_axis(likelihoods, tables.T, axis=1).sum(axis=0)
    best = int(np.lexsort((fits, agree))[-1])
    # Steps that cannot be seen: as far from Annex K as the others are.
    factor = np.median(free[seen] / base[seen]) if seen.any() else 1.0
    own = np.where(seen, free, np.clip(np.rint(base * factor), 1, MAX_STEP).astype(np.int64))
    misses = [_missed(coefficients, table, noise, least) for table in (tables[best], own)]
    if agree[best] >= _AGREE * np.count_nonzero(seen) or misses[0] <= 2 * misses[1] + _MISSED:
        return [tables[best], own]
    return [own, tables[best]]


def possible(coefficients: npt.NDArray[Any], noise: float, base: Ints) -> Iterator[Ints]:
    """Tables of Annex K whose steps contradict few coefficients, the coarsest first; arguments as of `find`."""
    for quality in range(1, 101):
        table = scaled(base, quality)
        if _missed(coefficients, table, noise) <= _MISSED:
            yield table


def of_quality(luma: Ints) -> Ints | None:
    """Annex K's table of chroma of the quality that ``luma`` is of, if it is of one."""
    return next((scaled(CHROMA, q) for q in range(1, 101) if (scaled(LUMA, q) == luma).all()), None)


def chroma(coefficients: npt.NDArray[Any], noise: float, luma: Ints) -> Ints:
    """The likeliest steps of chroma, as of `find`; those of the same quality as luma's if they fit."""
    table = of_quality(luma)
    if table is not None and _missed(coefficients, table, noise, LEAST) <= _MISSED:
        return table
    return find(coefficients, noise, CHROMA, least=LEAST)[0]


def _missed(coefficients: npt.NDArray[Any], table: Ints, noise: float, least: float = 0.0) -> float:
    """The share of coefficients, of those that are not zero, that are no multiples of steps."""
    size = np.abs(coefficients)
    steps = table[:, None].astype(np.float32)
    missed = np.abs(size - steps * np.rint(size / steps)) > 3 * noise
    sure = size > max(_SURE * noise, least)
    return int(np.count_nonzero(missed & sure)) / max(int(np.count_nonzero(sure)), 1)


def _likelihoods(row: npt.NDArray[Any], noise: float, least: float, fewest: int) -> Ints:
    """Log-likelihoods of the steps 0..255, int64 (256,) in 1/65536 bit, from one frequency's coefficients (n,); no step
    at all is 0, and so are all where every coefficient is zero."""
    out = np.zeros(MAX_STEP + 1, np.int64)
    size = np.abs(row)
    size = size[size > max(_SURE * noise, least)]  # zeros say nothing: they are multiples of every step
    if len(size) < (fewest if fewest < 2 else fewest + len(row) // 400):
        return out  # a few come out of step by limited samples nearby
    size = size[:: len(size) // _SEEN + 1]
    steps = np.arange(1, MAX_STEP + 1)
    rest = size - steps[:, None] * np.rint(size / steps[:, None])
    # Of a normal distribution, or of anything.
    bits = np.rint((rest / noise) ** 2 * (_BIT * 0.7213475204444817)).astype(np.int64)
    ratio = np.rint(steps / (noise * 2.5066282746310002) * 4096).astype(np.int64)
    likely = (costs(np.array([4096])) - costs(ratio))[:, None] - bits
    out[1:] = np.maximum(likely, _OUTLIERS).sum(axis=1)
    return out
