"""From a value to noise: dequantisation, and the monotone map through a mixture's own distribution function.

Both see a mixture of logistics as a curve between *knots*, ``2**shift`` apart on the grid of ``2**-frac`` of a value,
an eighth of the narrowest logistic or less, and never more than one value. Beyond the first and the last value there
are some more knots, for their tails.

``Dequantiser``  pops a place in a value's cell from the stack (bits-back), with the probabilities of the mixture
``MixtureMap``   f(x) = logit of the distribution function: linear between knots, one MST for each interval (iFlow,
                 Zhang et al. 2021, section 3.1; the coupling is that of Flow++, Ho et al. 2019)

What comes out follows the standard logistic distribution as far as the mixture is right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .. import gate, native
from ..coders.logistic import CENTRE_FRAC, SCALE_FRAC, TOTAL_BITS, DistributionFunction, clamped, compiled_tables
from ..coders.stack import Stack
from ..errors import FormatError
from . import mst

if TYPE_CHECKING:
    from .. import _native

VALUES = 256
ALL = slice(None)
Items = np.ndarray | slice
_KNOT_BITS = 3
"""Knots lie 2**-3 of the narrowest scale apart."""
_TAIL_KNOTS = 1 << 14
"""So many beyond either end at most."""
_PLACE_BITS = 15
"""Probabilities of places are out of up to 2**15, below UBCS's largest radix."""
_LOG_FRAC = 20
_LOG_STEPS = 12
_LOG_TERMS = 40


def _log_table() -> np.ndarray:
    """2**20 * ln(1 + i / 4096), i = 0..4096, by the series of the inverse hyperbolic tangent: in doubles, by single
    operations whose rounding is far too small to matter."""
    i = np.arange((1 << _LOG_STEPS) + 1)
    y = i / (2 * (1 << _LOG_STEPS) + i)
    square, power, total = y * y, y, np.zeros(len(y))
    for n in range(1, _LOG_TERMS, 2):
        total += power / n
        power = power * square
    return np.floor(total * (2 << _LOG_FRAC) + 0.5).astype(np.int64)


LOG = _log_table()
TABLE_HASH = hashlib.sha256(LOG.astype("<i8").tobytes()).hexdigest()
"""Names this table; part of a patch model's identity."""


def _log(numbers: np.ndarray) -> np.ndarray:
    """2**20 * ln of integers 1..2**24, int64; never falls as they grow."""
    parts = numbers.astype(np.float32).view(np.int32).astype(np.int64)  # exact: at most 24 bits
    mantissa = parts & ((1 << 23) - 1)
    index, rest = mantissa >> (23 - _LOG_STEPS), mantissa & ((1 << (23 - _LOG_STEPS)) - 1)
    low = LOG[index]
    result: np.ndarray = ((parts >> 23) - 127) * LOG[-1] + low + ((LOG[index + 1] - low) * rest >> (23 - _LOG_STEPS))
    return result


def _last(first: np.ndarray, end: np.ndarray, holds: Callable[[np.ndarray, Items], np.ndarray]) -> np.ndarray:
    """Of each item the last knot of ``first`` .. ``end - 1`` for which ``holds(knots, items)``, by bisection: it does
    so for the first one, and for none after one for which it does not. Items with few knots are done sooner."""
    found, count = first.copy(), end - first
    for bit in reversed(range(int(count.max(initial=1) - 1).bit_length())):
        wide = count > 1 << bit
        items: Items = ALL if wide.all() else np.flatnonzero(wide)
        probe = found[items] + (1 << bit)
        inside = probe < end[items]
        below = inside & holds(np.where(inside, probe, first[items]), items)
        found[items] = np.where(below, probe, found[items])
    return found


Lines = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Straight pieces of maps: where they start, what is there of the image, int64 both, and the fractions by which they
are scaled, ``up`` and ``down``, 1..2**16; 1 outside of all intervals."""


class Intervals(Protocol):
    """Intervals in the cells of ``n`` values, and what they take of their cells. All arrays are integers (n,)."""

    def totals(self) -> np.ndarray:
        """The total of the probabilities of each cell."""

    def choose(self, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The intervals that digits, int64, below ``totals`` fall in: where they begin; what is left of the digits, and
        their probabilities."""


class Curves(Protocol):
    """Distribution functions of ``n`` mixtures of values 0..255 at their knots, and what the maps ask of them.

    All arrays are integers (n,).
    """

    def fine(self) -> np.ndarray:
        """``2**shift`` of each item: how many places an interval has."""

    def intervals(self, values: np.ndarray) -> Intervals:
        """The intervals in the cells of values."""

    def cells(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of places, int64: the values in whose cells they lie; where in their intervals; the probabilities of what
        lies before the intervals in their cells, and of the intervals, which may be 0; and the totals."""

    def lines(self, places: np.ndarray) -> Lines:
        """Of the intervals in which places lie, int64."""

    def lines_of(self, noise: np.ndarray) -> Lines:
        """Of the intervals to whose images noise belongs, int64."""


def curves(weights: np.ndarray, centres: np.ndarray, scales: np.ndarray, frac: int) -> Curves:
    """``Knots`` by the compiled code, if there is any; else themselves."""
    kernels = native.fastest()
    if kernels is None:
        return Knots(weights, centres, scales, frac)
    weights, centres, scales = (np.ascontiguousarray(part, np.int32) for part in (weights, centres, scales))
    return _compiled(kernels).knots(weights, centres, scales, frac, gate.spare(gate.threads()))


@cache
def _compiled(kernels: _native.Kernels) -> _native.KnotTables:
    module = native.core()
    assert module is not None
    tables: _native.KnotTables = module.knot_tables(compiled_tables(kernels), LOG.astype(np.int32))
    return tables


class Knots(DistributionFunction):
    """The ``Curves`` that define the format.

    Parameters
    ----------
    weights, centres, scales : int (K, n), as of ``DistributionFunction``; centres within ``DISTANT``.
    frac : fractional bits of dequantised values and of noise, 2..14.
    """

    def __init__(self, weights: np.ndarray, centres: np.ndarray, scales: np.ndarray, frac: int) -> None:
        narrowest = clamped(scales.min(axis=0)) >> SCALE_FRAC
        self.frac = frac
        self.shift = np.minimum(np.maximum(narrowest + (frac - _KNOT_BITS), 0), frac)
        per_value = frac - self.shift
        self.per_value = per_value
        tail = np.minimum(VALUES << per_value, _TAIL_KNOTS)
        self.first, self.last = -tail, (VALUES << per_value) + tail
        super().__init__(weights, centres, scales, per_value)
        mean = (weights.astype(np.int64) * centres).sum(axis=0) >> 16
        self._middle = ((mean + (1 << (CENTRE_FRAC - 1))) << per_value) >> CENTRE_FRAC

    def image(self, knots: np.ndarray, items: Items = ALL) -> np.ndarray:
        """Where the map takes ``knots``: the logit of the distribution function with ``frac`` fractional bits, and one
        unit more from knot to knot, so that the map rises everywhere."""
        total = 1 << TOTAL_BITS
        share = np.minimum(np.maximum(self.below(knots, items), 1), total - 1)
        logit = (_log(share) - _log(total - share)) >> (_LOG_FRAC - self.frac)
        image: np.ndarray = logit + (knots - self._middle[items])
        return image

    def fine(self) -> np.ndarray:
        """See ``Curves``."""
        places: np.ndarray = 1 << self.shift
        return places

    def intervals(self, values: np.ndarray) -> Intervals:
        """See ``Curves``."""
        return _Places(self, *self._ends(values))

    def cells(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """See ``Curves``."""
        values: np.ndarray = np.minimum(np.maximum(places >> self.frac, 0), VALUES - 1)
        begin, end = self._ends(values)
        chosen = np.minimum(np.maximum(places >> self.shift, begin), end - 1)
        cells = _Places(self, begin, end)
        low = cells.before(chosen)
        return values, places & (self.fine() - 1), low, cells.before(chosen + 1) - low, cells.total

    def lines(self, places: np.ndarray) -> Lines:
        """See ``Curves``."""
        interval = np.minimum(np.maximum(places >> self.shift, self.first), self.last - 1)
        return self._lines_at(interval, places >= self.last << self.shift, places < self.first << self.shift)

    def lines_of(self, noise: np.ndarray) -> Lines:
        """See ``Curves``."""
        interval = _last(self.first, self.last, lambda knot, items: self.image(knot, items) <= noise[items])
        return self._lines_at(interval, noise >= self.image(self.last), noise < self.image(self.first))

    def _lines_at(self, interval: np.ndarray, beyond: np.ndarray, before: np.ndarray) -> Lines:
        knot = interval + beyond
        image, after = self.image(knot), self.image(interval + 1)
        outside = beyond | before
        up = np.where(outside, 1, after - image)
        return knot << self.shift, image, up, np.where(outside, 1, self.fine())

    def _ends(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First knot of each value's cell, and the one where it ends."""
        begin = np.where(values == 0, self.first, values << self.per_value)
        return begin, np.where(values == VALUES - 1, self.last, (values + 1) << self.per_value)


class _Places:
    """``Intervals`` between the knots of a cell. Probabilities are the mixture's, and one more for the first."""

    def __init__(self, knots: Knots, begin: np.ndarray, end: np.ndarray) -> None:
        self._knots, self._begin, self._end = knots, begin, end
        self._below = knots.below(begin)
        mass = knots.below(end) - self._below
        self._shift = np.maximum(np.frexp(mass.astype(np.float64))[1] - _PLACE_BITS, 0).astype(np.int64)
        self.total: np.ndarray = (mass >> self._shift) + 1

    def totals(self) -> np.ndarray:
        """See ``Intervals``."""
        return self.total

    def choose(self, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``Intervals``."""
        chosen = _last(self._begin, self._end, lambda knots, items: self.before(knots, items) <= digits[items])
        low = self.before(chosen)
        return chosen << self._knots.shift, digits - low, self.before(chosen + 1) - low

    def before(self, knots: np.ndarray, items: Items = ALL) -> np.ndarray:
        """Out of ``total``, what lies before ``knots``, of all cells or of some."""
        share = (self._knots.below(knots, items) - self._below[items]) >> self._shift[items]
        before: np.ndarray = share + (knots > self._begin[items])
        return before


class Dequantiser:
    """Values 0..255 to places in their cells. The first and the last value's cells hold the tails."""

    def __init__(self, knots: Curves) -> None:
        self._knots = knots

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """``values`` int64 (n,) with a place for each popped from the stack: int64 (n,), ``frac`` fractional bits."""
        intervals, count = self._knots.intervals(_int64(values)), len(values)
        start, rest, width = intervals.choose(stack.get_uniform(count, intervals.totals()))
        stack.put_uniform(rest, width)
        start |= stack.get_uniform(count, self._knots.fine())
        return start

    def inverse(self, places: np.ndarray, stack: Stack) -> np.ndarray:
        """The values in whose cells ``places`` lie, int64 (n,); what was popped goes back to the stack."""
        knots = self._knots
        values, fine, low, width, total = knots.cells(_int64(places))
        if not width.all():
            raise FormatError("a sample lies where its model has no probability: the file is damaged")
        stack.put_uniform(fine, knots.fine())
        stack.put_uniform(stack.get_uniform(len(values), width) + low, total)
        return values


class MixtureMap:
    """A monotone map of integers, one mixture for each: a ``Layer`` for values (n,)."""

    def __init__(self, knots: Curves) -> None:
        self._knots = knots

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Take places int64 (n,) to noise, int64 (n,); both with ``frac`` fractional bits."""
        start, image, up, down = self._knots.lines(_int64(values))
        image += mst.forward(values - start, up, down, stack)
        return image

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """What ``forward`` took, from what it gave."""
        start, image, up, down = self._knots.lines_of(_int64(values))
        start += mst.inverse(values - image, up, down, stack)
        return start


def _int64(numbers: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(numbers, np.int64)
