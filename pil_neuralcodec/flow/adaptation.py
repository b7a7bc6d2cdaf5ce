"""Adaptation by side information: offsets that correct a network's predictions for one tile, or one set of images.

For each level, stage and band the encoder finds two lists of offsets and writes them into the file: of the log-scales,
for classes of positions (``BandParameters.classes``), and of the means and the coefficients of chain and filter. The
second list comes from weighted least squares on the errors of the means at a sample of the positions. A list is used if
it saves more bits than it costs.

The encoder finds the same offsets on every machine: sums are of integers below 2**53 and so exact in any order, the
linear system is solved by single operations on Python floats, and all comparisons are of integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import isqrt
from typing import NamedTuple

import numpy as np

from .. import native
from ..coders.logistic import CENTRE_FRAC, SCALE_MIN, LogisticMixture
from ..coders.symbols import SymbolSink, SymbolSource
from .architecture import TAPS
from .bands import VARIANCE_BITS, BandParameters, Mixture, rounded_variances
from .classes import CLASSES
from .range_mapping import GAIN_FRAC, RangeMapping

_UNIT = 2
"""Unit of the offsets of log-scales, in 1/16 octave."""
_STEPS = (2,)
_WIDE_STEPS = (4, 4, 2)
"""What offsets of log-scales are changed by at most twelve times, in 1/16 octave. The wide ones are for samples of 16
bits, whose noise networks cannot know: it may be much smaller than a mapped value."""
_NODES, _FARTHEST, _MOVES = (-15, -5, 5, 15), 15, 12
_COMMON = 6000
"""In a search for moves by so many steps: where code lengths are known, and within which they are interpolated, by a
polynomial times ``_COMMON``."""
_TURNS = 3
"""How often each axis of classes is moved."""
_CLASS_PRICE = 3 << 16
"""Least saving, in 1/65536 bit, for which the offset of a class is changed."""
_SAMPLES = 8192
"""Positions at which offsets are chosen."""
_WIDTHS = 8
"""Number of scales of the distribution that codes offsets: half octaves from 2**-1."""
_ROUNDS, _WORTH = 3, 64
"""Most rounds of least squares; another one is worth it if the last has saved at least one bit of so many."""
_PRIOR = 12
"""Standard deviation of the prior of offsets in the least squares, in 1/64."""


class SideInformation(NamedTuple):
    """Offsets of one band.

    Parameters
    ----------
    scales
        Offsets of the log-scales of each class, int64 (axes, CLASSES) in 1/8 octave, or None.
    offsets
        Offsets of the means, the chain and the filter, int64 (1 + band + TAPS,) in 1/64, or None.
    """

    scales: np.ndarray | None = None
    offsets: np.ndarray | None = None

    def mixture(self, parameters: BandParameters) -> Mixture:
        """The mixture with these offsets; log-scales are clamped before their offset is added."""
        mixture = parameters.mixture(self.offsets)
        if self.scales is None:
            return mixture.limited(parameters.log_gain)
        return mixture.limited(parameters.log_gain, parameters.classes, _UNIT * self.scales)

    def put(self, sink: SymbolSink) -> None:
        """Code the offsets, for ``get``."""
        _put_numbers(sink, None if self.scales is None else self.scales.reshape(-1))
        _put_numbers(sink, self.offsets)

    @staticmethod
    def get(source: SymbolSource, axes: int, offsets: int) -> SideInformation:
        """Decode what ``put`` coded; ``axes`` and ``offsets`` are their numbers, as in ``BandParameters``."""
        scales = _get_numbers(source, axes * CLASSES)
        return SideInformation(None if scales is None else scales.reshape(axes, CLASSES), _get_numbers(source, offsets))


def offsets_of(band: int) -> int:
    """Number of offsets of the means, the chain and the filter of a band."""
    return 1 + band + TAPS


def adapt(parameters: BandParameters, values: np.ndarray) -> SideInformation:
    """Side information with which ``values``, int64 (h, w), take few bits; the search is not exhaustive."""
    rows, columns = _thinned(*values.shape)
    few, sample = parameters.at(rows, columns), values[rows, columns]
    slopes = few.slopes().reshape(few.offsets, -1)

    def mixed(offsets: np.ndarray | None) -> Mixture:
        return SideInformation(offsets=offsets).mixture(few).flat(*sample.shape)

    flat = sample.reshape(-1)
    moved = plain = mixed(None)
    before = bits = int(_bits(plain, flat).sum())
    offsets = np.zeros(few.offsets, np.int64)
    for _ in range(_ROUNDS):
        trial = np.minimum(np.maximum(offsets + _least_squares(slopes, moved, flat, few.mapping), -128), 127)
        mixture = mixed(trial)
        trial_bits = int(_bits(mixture, flat).sum())
        saved = bits - trial_bits
        if saved <= 0:
            break
        moved, offsets, bits = mixture, trial, trial_bits
        if saved * _WORTH < bits:
            break
    classes = parameters.classes[:, rows, columns].reshape(parameters.axes, -1)
    steps = _STEPS if parameters.mapping is None else _WIDE_STEPS
    price = _CLASS_PRICE * flat.size // values.size
    if (before - bits) * values.size // flat.size > 2 * _price(offsets)[0]:
        return SideInformation(_class_scales(moved, flat, classes, price, steps), offsets)
    return SideInformation(_class_scales(plain, flat, classes, price, steps))


def _thinned(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of about ``_SAMPLES`` positions: whole rows, since memory is read by lines."""
    # An odd step: in images that were subsampled or coded in blocks, even and odd rows differ.
    step = -(-height * width // _SAMPLES) | 1
    return slice(None, height, step), slice(None, width)


def _put_numbers(writer: SymbolSink, numbers: np.ndarray | None) -> None:
    """Code int64 (n,) of -128..127, or None, for ``_get_numbers``."""
    writer.put_uniform(np.array([int(numbers is not None)]), 2)
    if numbers is not None:
        _, width = _price(numbers)
        writer.put_uniform(np.array([width]), _WIDTHS)
        _spread(width, len(numbers)).put(writer, numbers + 128)


def _get_numbers(reader: SymbolSource, count: int) -> np.ndarray | None:
    if not reader.get_uniform(1, 2)[0]:
        return None
    width = int(reader.get_uniform(1, _WIDTHS)[0])
    numbers: np.ndarray = _spread(width, count).get(reader) - 128
    return numbers


def _price(offsets: np.ndarray) -> tuple[int, int]:
    """Least code length of offsets in 1/65536 bit, and the width of the distribution that has it."""
    return min((int(price), width) for width, price in enumerate(_prices()[:, offsets + 128].sum(axis=1)))


@cache
def _prices() -> np.ndarray:
    """Code lengths of offsets -128..127 for all widths, in 1/65536 bit: int64 (_WIDTHS, 256)."""
    numbers = np.arange(256)
    return np.stack([_spread(width, 256).costs(numbers) for width in range(_WIDTHS)])


def _class_scales(
    mixture: Mixture, values: np.ndarray, classes: np.ndarray, price: int, steps: Sequence[int]
) -> np.ndarray | None:
    """Offsets of log-scales for ``classes`` uint8 (axes, n), changed where that saves more than ``price``."""
    compiled = mixture.coder().compiled()
    if compiled is not None:
        tables = compiled.class_scales(_int64(values), np.ascontiguousarray(classes), CLASSES, steps, price)
    else:
        tables = _class_tables(mixture, values, classes, price, steps)
    return tables // _UNIT if tables.any() else None


def _class_tables(
    mixture: Mixture, values: np.ndarray, classes: np.ndarray, price: int, steps: Sequence[int]
) -> np.ndarray:
    """Offsets of ``_class_scales`` in 1/16 octave, int64 (axes, CLASSES)."""
    tables = np.zeros((len(classes), CLASSES), np.int64)
    cells = classes[0].astype(np.int64) * CLASSES + (classes[1] if len(classes) > 1 else 0)
    for step in steps:
        offset = sum(table[at] for table, at in zip(tables, classes, strict=True))
        lengths = [
            # Exact: sums of integers below 2**53.
            np.bincount(cells, _bits(mixture, values, offset + step * node), CLASSES**2).astype(np.int64)
            for node in _NODES
        ]
        tables += step * _moves(np.stack(lengths, axis=-1).reshape(CLASSES, CLASSES, -1), len(classes), price)
    return tables


def _moves(lengths: np.ndarray, axes: int, price: int) -> np.ndarray:
    """Moves, int64 (axes, CLASSES), with which items take few bits, given the code lengths of those of two classes at
    all nodes, int64 (CLASSES, CLASSES, nodes). A class is moved where that saves more than half of ``price``."""
    of_sums = lengths @ _interpolation().T
    moves, trials = np.zeros((2, CLASSES), np.int64), np.arange(-_MOVES, _MOVES + 1)[:, None]
    first, second = np.ogrid[:CLASSES, :CLASSES]
    for turn in range(2 * _TURNS if axes > 1 else 1):
        axis = turn % 2
        sums = np.minimum(np.maximum(trials + moves[1 - axis], -_FARTHEST), _FARTHEST) + _FARTHEST
        at = sums[:, None, :] if axis == 0 else sums[:, :, None]
        found = of_sums[first, second, at].sum(axis=2 - axis)
        found += np.where(trials == 0, 0, _COMMON // 2 * price)
        moves[axis] = np.where(found.min(axis=0) < found[_MOVES], found.argmin(axis=0) - _MOVES, 0)
    return moves[:axes]


@cache
def _interpolation() -> np.ndarray:
    """What the code length at each node counts at -_FARTHEST .. _FARTHEST, times ``_COMMON``: int64 (31, nodes)."""
    x = np.arange(-_FARTHEST, _FARTHEST + 1)
    outer, inner = x * x - 25, 3 * (x * x - 225)
    return np.stack([-outer * (x - 15), inner * (x - 5), -inner * (x + 5), outer * (x + 15)], axis=1)


def _bits(mixture: Mixture, values: np.ndarray, offset: int | np.ndarray = 0) -> np.ndarray:
    """Code length of each of ``values`` (n,) in 1/65536 bit, with ``offset`` added to log-scales: int64 (n,)."""
    return mixture._replace(scales=mixture.scales + offset).coder().costs(values)


def _int64(numbers: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(numbers, np.int64)


@cache
def _spread(width: int, count: int) -> LogisticMixture:
    """The distribution of ``count`` offsets plus 128, whose log-scale is ``width`` half octaves from 2**-1."""
    numbers = np.array([1 << 16, 128 << CENTRE_FRAC, 8 * width - 16], np.int32)
    weights, centres, scales = np.repeat(numbers, count).reshape(3, 1, count)
    return LogisticMixture(weights, centres, scales, 256)


@cache
def _precision_table() -> tuple[np.ndarray, np.ndarray]:
    """For each log-scale from ``SCALE_MIN`` on: 2**28 / variance of the rounded logistic, and three of its standard
    deviations in 1/256 of a grey level, int64."""
    weights, reach = [], []
    for variance in rounded_variances():
        variance >>= VARIANCE_BITS - 16
        weights.append((1 << 28) // variance)
        reach.append(3 * isqrt(variance))
    return np.array(weights, np.int64), np.array(reach, np.int64)


def _least_squares(
    slopes: np.ndarray, mixture: Mixture, values: np.ndarray, mapping: RangeMapping | None
) -> np.ndarray:
    """Offsets, int64 (offsets,), that bring the means nearest to ``values`` (n,) by weighted least squares.

    Each error is weighted by the precision that the mixture predicts there, and clamped to three standard deviations.
    ``slopes`` as in ``BandParameters.slopes``, int32 (offsets, n).
    """
    normal, right = _normal_equations(slopes, mixture, values, mapping)
    normal[np.diag_indices(len(normal))] += float((1 << 28) // _PRIOR**2)
    core = native.core()
    solution = _solve(normal.tolist(), right.tolist()) if core is None else core.solve(normal, right).tolist()
    return np.array([round(min(max(x, -128.0), 127.0)) for x in solution], np.int64)


def _normal_equations(
    slopes: np.ndarray, mixture: Mixture, values: np.ndarray, mapping: RangeMapping | None
) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and right side of ``_least_squares``, float64 (offsets, offsets) and (offsets,)."""
    weights, reach = _precision_table()
    compiled = mixture.coder().compiled()
    if compiled is not None:
        log_gain, gain = (0, 1 << GAIN_FRAC) if mapping is None else (mapping.log_gain, mapping.gain)
        rows = np.ascontiguousarray(slopes, np.int32)
        return compiled.least_squares(_int64(values), rows, weights, reach, log_gain, gain)
    scale = ((mixture.weights.astype(np.int64) * mixture.scales).sum(axis=0) >> 16) - SCALE_MIN
    error = ((values << CENTRE_FRAC) - mixture.mean()) << 2
    if mapping is not None:
        scale, error = scale - mapping.log_gain, (error << GAIN_FRAC) // mapping.gain
    limit = reach[scale]
    error = np.minimum(np.maximum(error, -limit), limit)
    weighted = slopes * weights[scale]
    # Exact in any order: sums of integers below 2**53.
    doubles = weighted.astype(np.float64)
    return doubles @ slopes.T.astype(np.float64), doubles @ error.astype(np.float64)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve a positive definite system by Gaussian elimination on Python floats: the same result on every machine.

    What the compiled core's ``solve`` does too, operation by operation."""
    n = len(right)
    for i in range(n):
        pivot = matrix[i][i]
        for j in range(i + 1, n):
            factor = matrix[j][i] / pivot
            for m in range(i + 1, n):
                matrix[j][m] -= factor * matrix[i][m]
            right[j] -= factor * right[i]
    for i in reversed(range(n)):
        for j in range(i + 1, n):
            right[i] -= matrix[i][j] * right[j]
        right[i] /= matrix[i][i]
    return right
