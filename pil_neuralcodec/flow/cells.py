"""Cells of unequal widths: samples of 8 bits some of which stand for more of an original scale than others.

Where contrast was lowered in 8 bits, two numbers have become one here and there, and that one is twice as frequent as
those beside it. A conversion to gray of colours that lie on a lattice does so, too. A distribution knows of it when the
edges between the cells of values are moved: that of a frequent one is wider.

Edges are told for each band, in 1/64 of a value, and are those of a histogram that is smoothed: of pixels that differ
from their neighbours, since what is flat says nothing of the scale.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ..coders.logistic import CENTRE_FRAC, LogisticMixture, log2
from ..colour.past import has_lattice
from .architecture import CHANNELS
from .planes import coding_order

Cells = npt.NDArray[np.int32]
"""By how much the lower edge of each value's cell is moved up, in 1/64, int32 (bands, 257), bands in coding order."""

_ONE: Final = 1 << CENTRE_FRAC
_MOST: Final = 58
"""Largest move of an edge."""
_TRIANGLE: Final = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1])
"""What smooths histograms."""
_SLOW: Final = np.array([1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1])
"""What smooths the way that edges have moved: they stay near their values."""
_BUSY: Final = 2
"""Least difference from the left and the upper neighbour of a pixel that is counted."""
_WORTH: Final = 100
"""Samples of which cells have to save a bit."""
_COST: Final = 2 * 8 * 255
"""Bits that the cells of a band have to save."""
_FEW: Final = 16
"""Values that a band must have."""
_TRIED: Final = 1 << 15
"""About how many samples of a band are coded by a simple prediction, with and without cells."""
_STRIP: Final = 16
"""Rows that are counted at once."""
_ASKED: Final = 16
"""Binary digits of how many pixels are asked whether it is worth to count all."""
_FRAC: Final = 16


def find_cells(samples: npt.NDArray[np.uint8]) -> Cells | None:
    """Cells of samples (h, w, B), where they save bits and colours lie on no lattice, which says more; else None."""
    if samples.shape[2] == CHANNELS and has_lattice(samples):
        return None
    bands = [samples[..., band] for band in coding_order(samples.shape[2])]
    need = max(samples.size // _WORTH, _COST * len(bands))
    some = [_busy(band, band.size >> _ASKED) for band in bands]
    if any(map(_is_few, some)):
        return None
    if sum(_told(counts) * band.size // int(counts.sum()) for counts, band in zip(some, bands, strict=True)) < need:
        return None
    found = [_edges(_busy(band)) for band in bands]
    saved = sum(_saved(band, cells) for band, cells in zip(bands, found, strict=True))
    return np.stack(found) if saved > need else None


def pack_cells(cells: Cells | None) -> tuple[bytes, ...]:
    """Cells as a header has them: 255 signed bytes for each band, in the order of bands; none where there are none."""
    if cells is None:
        return ()
    return tuple(cells[band, 1:-1].astype(np.int8).tobytes() for band in np.argsort(coding_order(len(cells))))


def unpack_cells(tables: tuple[bytes, ...]) -> Cells | None:
    """Inverse of `pack_cells`."""
    if not tables:
        return None
    moves = [np.frombuffer(tables[band], np.int8).astype(np.int32) for band in coding_order(len(tables))]
    return np.pad(moves, ((0, 0), (1, 1)))


def _saved(band: npt.NDArray[np.uint8], cells: Cells) -> int:
    """About how many bits cells save of a band (h, w)."""
    height, width = band.shape
    if min(height, width) < 3:
        return 0
    rows = np.arange(1, height, max(1, height * width // _TRIED))
    above, left = band[rows - 1].astype(np.int64), band[rows, :-2].astype(np.int64)
    west, north, corner, east = left, above[:, 1:-1], above[:, :-2], above[:, 2:]
    values = band[rows, 1:-1].astype(np.int64)
    centres = (3 * (west + north) - 2 * corner) << CENTRE_FRAC - 2
    activity = np.abs(west - corner) + np.abs(north - corner) + np.abs(north - east)
    group = np.minimum(log2(activity + 1) >> 15, 20)
    misses = np.abs((values << CENTRE_FRAC) - centres)
    totals = np.zeros((2, 21), np.int64)
    np.add.at(totals[0], group, misses)
    np.add.at(totals[1], group, 1)
    means = np.clip(totals[0] // np.maximum(totals[1], 1), 8, 1 << 14)
    scales = (log2(means) - (CENTRE_FRAC << 16) >> 12) - 7  # a logistic's scale is 1 / (2 ln 2) of its mean distance
    weights, centres, scales = np.full(values.size, 1 << 16), centres.reshape(-1), scales[group].reshape(-1)
    costs = []
    for of in (None, cells):
        mixture = LogisticMixture(weights[None], centres[None], scales[None], 256, whole=True, cells=of)
        costs.append(int(mixture.costs(values.reshape(-1)).sum()))
    saved: int = (costs[0] - costs[1] >> 16) * band.size // values.size
    return saved


def _busy(band: npt.NDArray[np.uint8], strips: int = 1) -> npt.NDArray[np.int64]:
    """How often each value occurs where neighbours differ, int64 (256,), in one of so many strips."""
    counts = np.zeros(256, np.int64)
    for top in range(1, len(band), _STRIP * max(1, strips)):
        values = band[top - 1 : top + _STRIP].astype(np.int16)
        inner = values[1:, 1:]
        differ = (np.abs(inner - values[1:, :-1]) >= _BUSY) & (np.abs(inner - values[:-1, 1:]) >= _BUSY)
        counts += np.bincount(inner[differ], minlength=256)
    return counts >> max(0, int(counts.max()).bit_length() - 30)  # what follows has room for such


def _is_few(counts: npt.NDArray[np.int64]) -> bool:
    """Whether so few values occur that they are no scale, as of booleans."""
    return int(np.count_nonzero(counts)) < _FEW


def _smoothed(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Counts of values but 0 and 255, where samples are limited, which networks know; and the same smoothed, in
    2**-16, 0 where there are too few: int64 (256,) each."""
    inside = np.ones(256, np.int64)
    inside[[0, 255]] = 0
    counts = counts * inside
    smooth = (np.convolve(counts, _TRIANGLE, "same") << _FRAC) // np.maximum(np.convolve(inside, _TRIANGLE, "same"), 1)
    return counts, np.where((inside > 0) & (smooth > 16 << _FRAC), smooth, 0)


def _told(counts: npt.NDArray[np.int64]) -> int:
    """Bits by which a histogram differs from itself smoothed, less what chance makes of them."""
    counts, smooth = _smoothed(counts)
    at = np.flatnonzero((smooth > 0) & (counts > 0))
    ratios = log2(counts[at]) - log2(smooth[at] >> _FRAC)
    return int((counts[at] * ratios).sum() >> 16) - len(at)


def _edges(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Edges of a band's cells, int32 (257,), from how often each value occurs."""
    counts, smooth = _smoothed(counts)
    widths = np.where(smooth > 0, (counts << 2 * _FRAC) // np.maximum(smooth, 1), 1 << _FRAC)
    drift = np.concatenate([[0], np.cumsum(widths - (1 << _FRAC))])
    half = len(_SLOW) // 2
    slow = np.convolve(np.pad(drift, half, mode="edge"), _SLOW, "valid") // _SLOW.sum()
    moved = np.clip(((drift - slow) * _ONE + (1 << _FRAC - 1)) >> _FRAC, -_MOST, _MOST)
    moved[[0, 256]] = 0
    edges = moved + _ONE * np.arange(257)
    for value in range(1, 256):
        edges[value] = max(edges[value], edges[value - 1] + 1)
    cells: npt.NDArray[np.int32] = (edges - _ONE * np.arange(257)).astype(np.int32)
    return cells
