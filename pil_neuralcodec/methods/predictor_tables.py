"""The predictor's tables: frequencies of residuals for each level of activity, how they are chosen, put and got.

See ``predictor`` for the whole. A table is one of a family of shapes and scales, or has explicit frequencies.
"""

from __future__ import annotations

from functools import cache
from math import isqrt
from typing import NamedTuple

import numpy as np

from ..coders.stream import SymbolReader, SymbolWriter
from ..coders.table import FrequencyTable, FrequencyTables
from ..errors import FormatError
from ..products import product
from .predictor_blend import LEVELS

BITS = 18
"""Frequencies have a total of ``2**BITS``."""
SYMBOLS = 256
_TOTAL = 1 << BITS

_EXPONENTS = (1, 2, 3, 5, 12)
_SCALES = 51
_EXPLICIT = len(_EXPONENTS)
_KINDS = np.array([12, 1, 1, 1, 1, 1]) * (_TOTAL // 32)  # change of kind from one level to the next, modulo 6
_KINDS[0] += _TOTAL - _KINDS.sum()
_KIND_TABLE = FrequencyTable(_KINDS, BITS)
_STEP_TABLE = 1 * _SCALES + 17  # the family member that codes steps between scales and between explicit frequencies


@cache
def _family() -> np.ndarray:
    """Ready-made frequencies, int64 (shapes * scales, 256), each row of total 2**18 and without zeros.

    Residual x has weight (1 + x**2 / (m s))**-m: from the tails of Cauchy (m = 1) to nearly Gauss (m = 12), with
    s = 2**((scale - 16) / 2).
    """
    square = np.arange(-128, 128, dtype=np.int64) ** 2 << 12
    scales = np.array([isqrt(1 << (scale - 16 + 24)) for scale in range(_SCALES)], np.int64)[:, None]
    rows = []
    for exponent in _EXPONENTS:
        ratio = (exponent * scales << 30) // (exponent * scales + square)
        weight = ratio
        for _ in range(exponent - 1):
            weight = weight * ratio >> 30
        rows.append(_normalise(weight, np.ones(1, bool)))
    return np.concatenate(rows)


def _normalise(weights: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Frequencies of total 2**18 in proportion to weights, at least 1 where ``present``: int64 (n, 256)."""
    freq = weights * (_TOTAL - SYMBOLS) // np.maximum(weights.sum(axis=1, keepdims=True), 1)
    freq = np.where(present, np.maximum(freq, 1), 0)
    freq[np.arange(len(freq)), weights.argmax(axis=1)] += _TOTAL - freq.sum(axis=1)
    return freq


@cache
def _powers() -> np.ndarray:
    """Weight of an explicit frequency by its code: nothing, then quarter octaves."""
    return np.array([0] + [isqrt(isqrt(1 << (q + 32))) for q in range(1, _CODES)], np.int64)


_CODES = 64


def _explicit(codes: np.ndarray) -> np.ndarray:
    return _normalise(_powers()[codes], codes > 0)


def _log2(values: np.ndarray) -> np.ndarray:
    """Base 2 logarithms of positive integers below 2**53, in units of 1/256, int64. The same on every machine."""
    mantissa, exponent = np.frexp(values.astype(np.float64))  # exact
    fraction: np.ndarray = _log2_table()[(mantissa * 512).astype(np.int64) - 256]
    return fraction + (exponent.astype(np.int64) - 1) * 256


@cache
def _log2_table() -> np.ndarray:
    return np.array([((256 + i) ** 256).bit_length() - 1 - 2048 for i in range(256)], np.int64)


def _costs(freq: np.ndarray) -> np.ndarray:
    """Code lengths in 1/256 bit of frequencies of total 2**18; 0 where the frequency is."""
    return np.where(freq > 0, BITS * 256 - _log2(np.maximum(freq, 1)), 0)


@cache
def _family_costs() -> np.ndarray:
    return _costs(_family())


@cache
def _exact_family_costs() -> np.ndarray:
    """As float64 (256, shapes * scales)."""
    return np.ascontiguousarray(_family_costs().T.astype(np.float64))


class Tables(NamedTuple):
    """Tables of all bands and levels: ``choices`` int64 (bands, 31) are rows of ``tables``."""

    choices: np.ndarray
    tables: FrequencyTables

    @staticmethod
    def of(choices: np.ndarray, explicit: list[np.ndarray]) -> Tables:
        """Keep the rows that ``choices`` uses of the family and, behind it, those with ``explicit`` codes."""
        used, inverse = np.unique(choices, return_inverse=True)
        family = _family()
        own = _explicit(np.array(explicit, np.int64).reshape(-1, SYMBOLS))
        freq = np.concatenate([family[used[used < len(family)]], own])
        return Tables(inverse.reshape(choices.shape), FrequencyTables(freq, BITS))


class _Step(NamedTuple):
    """How one level's table is described: kind (shape or explicit), then a scale or the codes of frequencies."""

    kind: int
    scale: int
    codes: np.ndarray | None


def choose(histograms: np.ndarray) -> list[tuple[int, list[_Step]]]:
    """For each band the lowest level used and a table for each level from there to the highest, greedily.

    ``histograms`` int64 (bands, 31, 256) counts the residuals, at index residual + 128.
    """
    # What the next kind costs after each kind.
    kind_costs = _costs(_KINDS)[np.subtract.outer(np.arange(len(_KINDS)), np.arange(len(_KINDS))).T % len(_KINDS)]
    step_costs = _family_costs()[_STEP_TABLE]
    bands = []
    kind = 0
    for levels in histograms:
        lowest, highest = np.flatnonzero(levels.any(axis=1))[[0, -1]].tolist()
        counts = levels[lowest : highest + 1]
        used = counts.any(axis=1)
        # In float64, for the speed of BLAS: sums of integers below 2**53 are exact in any order.
        by_member = product(counts.astype(np.float64), _exact_family_costs()).astype(np.int64)
        codes = _frequency_codes(counts)
        explicit = _explicit_costs(counts, codes)
        scale = _first_scale(lowest)
        steps = []
        for level, data in enumerate(by_member.reshape(-1, _EXPLICIT, _SCALES)):
            total = data + kind_costs[kind, :_EXPLICIT, None] + step_costs[127 - scale : 127 - scale + _SCALES]
            best = int(np.argmin(total))
            step = _Step(best // _SCALES, best % _SCALES, None)
            cost = explicit[level] + kind_costs[kind, _EXPLICIT]
            if used[level] and cost < total.flat[best]:
                step = _Step(_EXPLICIT, scale + 1, codes[level])
            kind, scale = step.kind, step.scale
            steps.append(step)
        bands.append((lowest, steps))
    return bands


def _explicit_costs(counts: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """What symbols cost by tables of their own, with those tables: int64 (n,) from both (n, 256)."""
    deltas = np.diff(codes, axis=1, prepend=0)
    sent = (np.cumsum(codes, axis=1) > 0) & (np.cumsum(codes[:, ::-1], axis=1) > 0)[:, ::-1]
    of_moves = np.where(sent, _family_costs()[_STEP_TABLE][deltas + 128], 0)
    costs: np.ndarray = (_costs(_explicit(codes)) * counts + of_moves).sum(axis=1) + 16 * 256
    return costs


def _first_scale(level: int) -> int:
    """Where a band's scales are expected to start: a level is a third of an octave, a scale a quarter."""
    return level * 4 // 3 + 4


def _frequency_codes(counts: np.ndarray) -> np.ndarray:
    """Counts as codes of ``_powers``, the largest of a row as the largest code: int64 (n, 256)."""
    logs = _log2(np.maximum(counts, 1))
    codes = np.maximum(_CODES - 1 - (logs.max(axis=1, keepdims=True) - logs + 32) // 64, 1)
    return np.where(counts > 0, codes, 0)


def put_tables(writer: SymbolWriter, bands: list[tuple[int, list[_Step]]]) -> Tables:
    """Write the tables as ``choose`` describes them; ``get_tables`` reads them and gives the same."""
    lowest = np.array([low for low, _ in bands])
    counts = np.array([len(steps) for _, steps in bands])
    writer.put_uniform(np.stack([lowest, lowest + counts - 1], 1).reshape(-1), LEVELS)
    steps = [step for _, steps in bands for step in steps]
    _KIND_TABLE.put(writer, np.diff([step.kind for step in steps], prepend=0) % len(_KINDS))
    moves = []
    for low, of_band in bands:
        scale = _first_scale(low)
        for step in of_band:
            if step.codes is None:
                moves.append(step.scale - scale - 1)
            scale = step.scale
    _put_moves(writer, np.array(moves, np.int64))
    for step in steps:
        if step.codes is not None:
            present = np.flatnonzero(step.codes)
            writer.put_uniform(present[[0, -1]], SYMBOLS)
            _put_moves(writer, np.diff(step.codes[present[0] : present[-1] + 1], prepend=0))
    return _tables(bands)


def get_tables(reader: SymbolReader, count: int) -> Tables:
    """Inverse of ``put_tables`` for ``count`` bands."""
    ranges = reader.get_uniform(2 * count, LEVELS).reshape(count, 2)
    if (ranges[:, 0] > ranges[:, 1]).any():
        raise FormatError("predictor: an impossible range of levels; the file is damaged")
    total = int((ranges[:, 1] - ranges[:, 0] + 1).sum())
    kinds = np.cumsum(_KIND_TABLE.get(reader, total)) % len(_KINDS)
    moves = iter(_get_moves(reader, int(np.count_nonzero(kinds != _EXPLICIT))).tolist())
    kind = iter(kinds.tolist())
    bands = []
    for low, high in ranges.tolist():
        scale = _first_scale(low)
        steps = []
        for _ in range(low, high + 1):
            shape = next(kind)
            scale += 1 if shape == _EXPLICIT else next(moves) + 1
            if shape != _EXPLICIT and not 0 <= scale < _SCALES:
                raise FormatError("predictor: an impossible scale; the file is damaged")
            steps.append(_Step(shape, scale, None))
        bands.append((low, steps))
    for _, steps in bands:
        for i, step in enumerate(steps):
            if step.kind == _EXPLICIT:
                steps[i] = step._replace(codes=_get_codes(reader))
    return _tables(bands)


def _get_codes(reader: SymbolReader) -> np.ndarray:
    first, last = reader.get_uniform(2, SYMBOLS).tolist()
    codes = np.zeros(SYMBOLS, np.int64)
    if first <= last:
        codes[first : last + 1] = np.cumsum(_get_moves(reader, last - first + 1))
    if not codes.any() or codes.min() < 0 or codes.max() >= _CODES:
        raise FormatError("predictor: impossible frequencies; the file is damaged")
    return codes


@cache
def _move_table() -> FrequencyTable:
    return FrequencyTable(_family()[_STEP_TABLE], BITS)


def _put_moves(writer: SymbolWriter, moves: np.ndarray) -> None:
    _move_table().put(writer, moves + 128)


def _get_moves(reader: SymbolReader, count: int) -> np.ndarray:
    return _move_table().get(reader, count) - 128


def _tables(bands: list[tuple[int, list[_Step]]]) -> Tables:
    choices = np.empty((len(bands), LEVELS), np.int64)
    explicit: list[np.ndarray] = []
    for band, (low, steps) in enumerate(bands):
        rows = []
        for step in steps:
            if step.codes is None:
                rows.append(step.kind * _SCALES + step.scale)
            else:
                rows.append(len(_family()) + len(explicit))
                explicit.append(step.codes)
        # Levels that the encoder never met: any table will do, damaged data may ask for one.
        choices[band] = [rows[0]] * low + rows + [rows[-1]] * (LEVELS - low - len(rows))
    return Tables.of(choices, explicit)
