"""The steps of a component: of those that histograms suggest, those that give whole blocks to the point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from . import quantisation, search
from .bounds import Bounds
from .transform import inverse_dct

Ints = npt.NDArray[np.signedinteger[Any]]

_FEWEST = 8
"""Blocks without limited samples that steps can be read from."""
BLOCKS = 2048
"""So many are looked at, if nothing else is said."""
_TRIED = 48
_FLAT = 6
"""Grey levels that samples of a block at least span, if steps are read from it."""
_BETTER = 0.05
_SURE = 0.93


def show_quality(bounds: Bounds) -> bool:
    """Whether the steps of some quality, but for steps of 1 alone, give any of some blocks at once."""
    whole = bounds.whole()
    samples = bounds.likely[:, whole[:: len(whole) // _TRIED + 1]]
    tables = np.stack([quantisation.scaled(quantisation.LUMA, quality) for quality in range(1, 100)], axis=1)
    steps = tables[:, :, None].astype(np.float64)  # (64, qualities, 1)
    values = (np.rint(search.forward(samples)[:, None] / steps) * steps).astype(np.int64)
    decoded = inverse_dct(values.reshape(8, 8, -1), np.int32).reshape(values.shape)
    return bool((decoded == samples[:, None]).all(axis=0).any())


def find(bounds: Bounds, base: Ints, first: Ints | None, *, count: int = BLOCKS) -> tuple[Ints, float]:
    """The steps, int64 (64,), that give most of some blocks whose samples are all known, and their share of them.

    ``base`` is the table of Annex K, ``first`` one that is tried before others. Steps that few blocks show are read
    from ``count`` of them.
    """
    whole = bounds.whole()
    if len(whole) < _FEWEST:
        return base, 0.0
    real = rough(bounds, whole)
    noise = quantisation.NOISE
    tables, shares = [], []
    for table in _candidates(real, noise, base, first):
        tables.append(table)
        shares.append(_share(bounds, whole, table))
        if shares[-1] >= _SURE:
            break
    most = max(shares)
    near = [table for table, share in zip(tables, shares, strict=True) if share >= most - _BETTER]
    if quantisation.is_scaled(near[0], base):
        return near[0], most
    real = rough(bounds, whole, count)
    near.append(quantisation.find(real, noise, base, least=quantisation.LEAST, fewest=1)[0])
    rates = [_rate(bounds, whole, table) for table in near]
    return near[int(np.argmax(rates))], most


def _candidates(real: npt.NDArray[Any], noise: float, base: Ints, first: Ints | None) -> Iterator[Ints]:
    if first is not None:
        yield first
    for least in (0.0, quantisation.LEAST):
        yield from quantisation.find(real, noise, base, least=least)
    # A file that was made from another one has the combs of both: steps of 1 do not show where those of 4 do.
    yield from quantisation.possible(real, noise, base)


def _rate(bounds: Bounds, whole: Ints, table: Ints) -> int:
    """How many of the ``whole`` blocks steps give at once, to the point."""
    chosen = whole[:: len(whole) // BLOCKS + 1]
    return int(np.count_nonzero(search.search(bounds.some(chosen), table, stages=0).exact))


def _share(bounds: Bounds, whole: Ints, table: Ints) -> float:
    """The share of some of the ``whole`` blocks that steps can give."""
    chosen = whole[:: len(whole) // _TRIED + 1]
    found = search.search(bounds.some(chosen), table, stages=2)
    return float(found.exact.mean())


def rough(bounds: Bounds, whole: Ints, count: int = BLOCKS) -> npt.NDArray[Any]:
    """Real coefficients (64, n) of at most so many ``whole`` blocks; in flat ones the samples' roundings add up."""
    blocks = bounds.likely[:, whole]
    rough = whole[np.ptp(blocks, axis=0) > _FLAT]
    return search.forward(bounds.likely[:, rough[:: len(rough) // count + 1]])
