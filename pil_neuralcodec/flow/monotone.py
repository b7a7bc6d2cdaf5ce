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

import numpy as np

from ..coders.logistic import CENTRE_FRAC, SCALE_FRAC, TOTAL_BITS, DistributionFunction, clamped
from ..coders.stack import Stack
from ..errors import FormatError
from . import mst

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


class Knots(DistributionFunction):
    """Distribution functions of ``n`` mixtures of values 0..255 at their knots, and the maps that follow from them.

    Parameters
    ----------
    weights, centres, scales : int64 (K, n), as of ``DistributionFunction``.
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


class Dequantiser:
    """Values 0..255 to places in their cells. The first and the last value's cells hold the tails."""

    def __init__(self, knots: Knots) -> None:
        self._knots = knots

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """``values`` int64 (n,) with a place for each popped from the stack: int64 (n,), ``frac`` fractional bits."""
        knots = self._knots
        begin, end = self._cells(values)
        places = _Places(knots, begin, end)
        digits = stack.get_uniform(len(values), places.total)
        chosen = _last(begin, end, lambda knots, items: places.before(knots, items) <= digits[items])
        low = places.before(chosen)
        stack.put_uniform(digits - low, places.before(chosen + 1) - low)
        result: np.ndarray = (chosen << knots.shift) | stack.get_uniform(len(values), 1 << knots.shift)
        return result

    def inverse(self, places: np.ndarray, stack: Stack) -> np.ndarray:
        """The values in whose cells ``places`` lie, int64 (n,); what was popped goes back to the stack."""
        knots = self._knots
        values: np.ndarray = np.minimum(np.maximum(places >> knots.frac, 0), VALUES - 1)
        begin, end = self._cells(values)
        stack.put_uniform(places & ((1 << knots.shift) - 1), 1 << knots.shift)
        chosen = np.minimum(np.maximum(places >> knots.shift, begin), end - 1)
        cells = _Places(knots, begin, end)
        low, high = cells.before(chosen), cells.before(chosen + 1)
        if (low == high).any():
            raise FormatError("a sample lies where its model has no probability: the file is damaged")
        stack.put_uniform(stack.get_uniform(len(values), high - low) + low, cells.total)
        return values

    def _cells(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First knot of each value's cell, and the one where it ends."""
        knots = self._knots
        begin = np.where(values == 0, knots.first, values << knots.per_value)
        return begin, np.where(values == VALUES - 1, knots.last, (values + 1) << knots.per_value)


class _Places:
    """Probabilities of the intervals between the knots of a cell: the mixture's, and one more for the first."""

    def __init__(self, knots: Knots, begin: np.ndarray, end: np.ndarray) -> None:
        self._knots, self._begin = knots, begin
        self._below = knots.below(begin)
        mass = knots.below(end) - self._below
        self._shift = np.maximum(np.frexp(mass.astype(np.float64))[1] - _PLACE_BITS, 0).astype(np.int64)
        self.total = (mass >> self._shift) + 1

    def before(self, knots: np.ndarray, items: Items = ALL) -> np.ndarray:
        """Out of ``total``, what lies before ``knots``, of all cells or of some."""
        share = (self._knots.below(knots, items) - self._below[items]) >> self._shift[items]
        before: np.ndarray = share + (knots > self._begin[items])
        return before


class MixtureMap:
    """A monotone map of integers, one mixture for each: a ``Layer`` for values (n,)."""

    def __init__(self, knots: Knots) -> None:
        self._knots = knots

    def forward(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """Take places int64 (n,) to noise, int64 (n,); both with ``frac`` fractional bits."""
        knots = self._knots
        interval = np.minimum(np.maximum(values >> knots.shift, knots.first), knots.last - 1)
        start, image, up, down = self._line(
            interval, values >= knots.last << knots.shift, values < knots.first << knots.shift
        )
        result: np.ndarray = image + mst.forward(values - start, up, down, stack)
        return result

    def inverse(self, values: np.ndarray, stack: Stack) -> np.ndarray:
        """What ``forward`` took, from what it gave."""
        knots = self._knots
        interval = _last(knots.first, knots.last, lambda knot, items: knots.image(knot, items) <= values[items])
        start, image, up, down = self._line(
            interval, values >= knots.image(knots.last), values < knots.image(knots.first)
        )
        result: np.ndarray = start + mst.inverse(values - image, up, down, stack)
        return result

    def _line(
        self, interval: np.ndarray, beyond: np.ndarray, before: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Start and image of each interval, and the fraction by which it is scaled; 1 outside of all intervals."""
        knots = self._knots
        knot = interval + beyond
        image, after = knots.image(knot), knots.image(interval + 1)
        outside = beyond | before
        up = np.where(outside, 1, after - image)
        return knot << knots.shift, image, up, np.where(outside, 1, 1 << knots.shift)
