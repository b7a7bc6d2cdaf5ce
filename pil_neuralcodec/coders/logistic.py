"""Exact integer mixtures of discretised logistics.

All arithmetic is on integers and on tables of integers, so that every machine finds the same intervals. Parameters, as
integers:

    logits   1/16 of a bit        weight[k] ~ 2**(logit[k] / 16), normalised to 2**16
    centres  1/64 of a grey level
    scales   1/16 of an octave    the logistic's scale is 2**(scale / 16) grey levels, -80..256

The mixture's distribution function at the lower edge of value ``x`` is ``sum_k weight[k] * S((x - 1/2 - centre[k]) /
scale[k])``. Intervals out of a total of 2**24 follow from it with one slot kept for every value, so that they are
monotone by construction and no value has zero probability (PixelCNN++, Salimans et al. 2017, for the likelihood).
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from .. import native
from ..errors import FormatError
from ..lazy import cached_property
from .symbols import SymbolSink, SymbolSource

if TYPE_CHECKING:
    from .. import _native

TOTAL_BITS = 24
CENTRE_FRAC = 6
SCALE_MIN, SCALE_MAX = -80, 256
SCALE_FRAC = 4
_WEIGHT_BITS = 16
Z_FRAC = 10  # the sigmoid's argument in steps of 1/1024
Z_REACH = 18 << Z_FRAC
INVERSE_BITS = 20
_FIX = 128  # working precision of the tables
_NEVER = 1 << 62  # above all edges
DISTANT = 1 << 30
"""Centres as far from 0 as this, or farther, give one distribution."""


def _exp_minus(denominator: int) -> int:
    """exp(-1/denominator) in 128-bit fixed point, by its series."""
    total, term, n = 0, 1 << _FIX, 0
    while term:
        total += term if n % 2 == 0 else -term
        n += 1
        term //= denominator * n
    return total


def _sigmoid_table() -> np.ndarray:
    """2**24 * sigmoid(z / 1024) for z in -Z_REACH..Z_REACH, exactly 0 and 2**24 at the ends.

    In doubles, by single operations whose rounding is far too small to matter: the integers are those of exact
    arithmetic, which takes thirty times as long.
    """
    step = _exp_minus(1 << Z_FRAC)
    fine = _powers(step, 1 << Z_FRAC)
    coarse = _powers(fine[-1] * step >> _FIX, Z_REACH >> Z_FRAC)
    power = np.multiply.outer(_reals(coarse), _reals(fine)).reshape(-1)
    upper = np.floor((1 << TOTAL_BITS) / (1 + power) + 0.5).astype(np.int64)
    half = np.append(upper, 1 << TOTAL_BITS)
    return np.concatenate([(1 << TOTAL_BITS) - half[:0:-1], half])


def _powers(base: int, count: int) -> list[int]:
    """``base**0 .. base**(count - 1)`` in 128-bit fixed point."""
    powers = [1 << _FIX]
    for _ in range(count - 1):
        powers.append(powers[-1] * base >> _FIX)
    return powers


def _reals(numbers: list[int]) -> np.ndarray:
    """Doubles next to numbers in 128-bit fixed point."""
    return np.array([number / (1 << _FIX) for number in numbers])


def power_of_two(sixteenths: int, bits: int) -> int:
    """round(2**(sixteenths / 16 + bits)) by integer square roots, the same on every machine."""
    whole, part = divmod(sixteenths, 16)
    shift = _FIX - whole - bits
    return (_root_of_two(part) + (1 << (shift - 1))) >> shift


@cache
def _root_of_two(sixteenths: int) -> int:
    """2**(sixteenths / 16) in 128-bit fixed point, of 0..15."""
    root, value = 2 << _FIX, 1 << _FIX
    for bit in (8, 4, 2, 1):
        root = math.isqrt(root << _FIX)  # 2**(bit/16)
        if sixteenths & bit:
            value = value * root >> _FIX
    return value


SIGMOID = _sigmoid_table()
"""int64 (2 * 18432 + 1,): the logistic distribution function out of 2**24."""
INVERSE_SCALE = np.array(
    [power_of_two(-s, INVERSE_BITS + Z_FRAC - CENTRE_FRAC) for s in range(SCALE_MIN, SCALE_MAX + 1)], np.int64
)
"""int64: 2**(-scale/16) in units that take 1/64 grey levels to table steps, 20 fractional bits."""
WEIGHT = np.array([power_of_two(-d, _WEIGHT_BITS) for d in range(16 * _WEIGHT_BITS + 1)], np.int64)
"""int64: 2**(16 - d/16)."""
TABLE_HASH = hashlib.sha256(b"".join(t.astype("<i8").tobytes() for t in (SIGMOID, INVERSE_SCALE, WEIGHT))).hexdigest()
"""Names these tables; part of a model's identity."""


def mixture_weights(logits: np.ndarray) -> np.ndarray:
    """Weights out of 2**16 from ``logits`` int (K, n), int64 (K, n); what rounding leaves goes to the largest."""
    below = logits.max(axis=0) - logits
    raw: np.ndarray = WEIGHT[np.minimum(below, len(WEIGHT) - 1)]
    weights: np.ndarray = (raw << _WEIGHT_BITS) // raw.sum(axis=0)
    rest = (1 << _WEIGHT_BITS) - weights.sum(axis=0)
    weights[logits.argmax(axis=0), np.arange(logits.shape[1])] += rest
    return weights


def clamped(scales: np.ndarray) -> np.ndarray:
    """Log-scales within -80..256, those that there are tables for."""
    inside: np.ndarray = np.minimum(np.maximum(scales, SCALE_MIN), SCALE_MAX)
    return inside


class DistributionFunction:
    """Distribution functions of ``n`` mixtures of logistics, between the values too.

    Parameters
    ----------
    weights : int (K, n), from ``mixture_weights``.
    centres : int (K, n), 1/64 of a grey level.
    scales : int (K, n), 1/16 of an octave; clamped to -80..256.
    frac : int64 (n,); positions are multiples of ``2**-frac`` values (None: values).
    cells : int32 (257,); by how much the lower edge of each value's cell lies higher, in 1/64 (None: nowhere).
    """

    def __init__(
        self,
        weights: np.ndarray,
        centres: np.ndarray,
        scales: np.ndarray,
        frac: np.ndarray | None = None,
        cells: np.ndarray | None = None,
    ) -> None:
        self._weights, self._centres, self._scales, self._frac = weights, centres, scales, frac
        self._cells = cells

    @cached_property
    def _lines(self) -> tuple[np.ndarray, np.ndarray]:
        """Origin and slope of the sigmoid's argument, int64 (K, n) each."""
        inverse = INVERSE_SCALE[clamped(self._scales) - SCALE_MIN]
        origin = (self._centres + (1 << (CENTRE_FRAC - 1))) * inverse - (Z_REACH << INVERSE_BITS)
        return origin, inverse << CENTRE_FRAC

    def below(self, positions: np.ndarray, items: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Out of 2**24, what lies below ``positions`` int64 (n,): int64 (n,), of all mixtures or of some. The cell of
        value ``v`` is from position ``v`` to ``v + 1``."""
        origin, slope = self._lines
        z = positions * slope[:, items]
        if self._frac is not None:
            z >>= self._frac[items]
        if self._cells is not None:
            z += self._cells[positions] * (slope[:, items] >> CENTRE_FRAC)
        z -= origin[:, items]
        z >>= INVERSE_BITS
        share = SIGMOID.take(z, mode="clip")
        share *= self._weights[:, items]
        below: np.ndarray = share.sum(axis=0)
        below >>= _WEIGHT_BITS
        return below


class LogisticMixture(DistributionFunction):
    """Distributions of ``n`` values, each in [0, ``values``), as intervals that rANS codes.

    Parameters as of ``DistributionFunction``, and

    values : how many values there are, at most 2**16.
    clipped : the first and the last value hold what would lie beyond, and so are symbols of their own.
    whole : no bits are split off.
    cells : as of ``DistributionFunction``, of 256 whole values.

    Where all scales are large, the low ``shift`` bits of a value are nearly uniform: an MST with R = 1 splits them off
    (iFlow, section 3.1), ``symbol = value >> shift`` is coded by this mixture and the rest by UBCS; where ``clipped``,
    so for the values between the ends, ``symbol = 1 + ((value - 1) >> shift)``.

    ``put``, ``get`` and ``costs`` are compiled where they can be; the other methods define what they do.
    """

    bits = TOTAL_BITS

    def __init__(
        self,
        weights: np.ndarray,
        centres: np.ndarray,
        scales: np.ndarray,
        values: int,
        clipped: bool = False,
        whole: bool = False,
        cells: np.ndarray | None = None,
    ) -> None:
        super().__init__(weights, centres, scales, cells=cells)
        self._whole = whole
        self._values, self._last, self._clipped = values, values - 1, clipped and values > 2

    @cached_property
    def shift(self) -> np.ndarray:
        """How many bits are split off, int64 (n,)."""
        if self._whole:
            return np.zeros(self._scales.shape[1], np.int64)
        shift: np.ndarray = np.maximum((clamped(self._scales.min(axis=0)) >> SCALE_FRAC) - 3, 0)
        return shift

    @cached_property
    def _count(self) -> np.ndarray:
        if self._clipped:
            return ((self._values - 3) >> self.shift) + 3
        return ((self._values - 1) >> self.shift) + 1

    @cached_property
    def _split(self) -> bool:
        return bool(self.shift.any())

    def put(self, sink: SymbolSink, values: np.ndarray) -> None:
        """Put values, int64 (n,): symbols, then the bits that are split off."""
        compiled = self.compiled()
        if compiled is not None:
            start, freq, rest, radix = compiled.code(np.ascontiguousarray(values, np.int64))
            sink.put(start, freq, TOTAL_BITS)
            sink.put_uniform(rest, radix)
        else:
            symbols, wide, low = self.split(values)
            sink.put(*self.intervals(symbols), TOTAL_BITS)
            sink.put_uniform(low, 1 << self.shift[wide])

    def get(self, source: SymbolSource) -> np.ndarray:
        """Get what ``put`` put, int64 (n,). Raises ``FormatError`` where the data run out or no ``put`` wrote them."""
        values = source.get(self._weights.shape[1], self)
        wide, radix = self._finish(values)
        if len(wide):
            values[wide] += source.get_uniform(len(wide), radix)
            if (values[wide] > self._last - self._clipped).any():  # clipped, the last one has a symbol of its own
                raise FormatError("a value is above the largest one: the file is damaged")
        return values

    def _finish(self, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Replace symbols by their smallest values. Returns the items to which bits are to be added, and 2**bits."""
        compiled = self.compiled()
        if compiled is not None:
            return compiled.first(symbols)
        wide = np.flatnonzero(self.wide(symbols))
        symbols[:] = self.first(symbols)
        return wide, 1 << self.shift[wide]

    def costs(self, values: np.ndarray) -> np.ndarray:
        """Code lengths of values, int64 (n,), in 1/65536 bit: int64 (n,)."""
        compiled = self.compiled()
        if compiled is not None:
            return compiled.costs(np.ascontiguousarray(values, np.int64))
        symbols, wide, _ = self.split(values)
        each = costs(self.intervals(symbols)[1])
        each[wide] += self.shift[wide] << 16
        return each

    def compiled(self) -> _native.Mixtures | None:
        """See ``Distribution``."""
        return self._compiled

    @cached_property
    def _compiled(self) -> _native.Mixtures | None:
        kernels = native.fastest()
        if kernels is None:
            return None
        weights, centres, scales = map(_int32, (self._weights, self._centres, self._scales))
        return compiled_tables(kernels).mixtures(
            weights, centres, scales, self._values, self._clipped, self._whole, cells=self._cells
        )

    def split(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of values, int64 (n,): their symbols, bool (n,) where bits are split off, and these bits, of those alone."""
        inside = values - int(self._clipped)
        symbols = inside >> self.shift
        if self._clipped:
            symbols += 1
            symbols[values == self._last] = self._count[values == self._last] - 1
        wide = self.wide(symbols)
        return symbols, wide, inside[wide] & ((1 << self.shift[wide]) - 1)

    def wide(self, symbols: np.ndarray) -> np.ndarray:
        """Where bits are split off, bool (n,)."""
        wide: np.ndarray = self.shift > 0
        return wide & (symbols > 0) & (symbols < self._count - 1) if self._clipped else wide

    def first(self, symbols: np.ndarray, items: slice = slice(None)) -> np.ndarray:
        """The smallest value of each symbol, int64 (n,), to which the bits that were split off are added."""
        shift = self.shift[items]
        if not self._clipped:
            values: np.ndarray = symbols << shift
        else:
            values = np.minimum(np.maximum(((symbols - 1) << shift) + 1, 0), self._last)
        return values

    def _inner(self, symbols: np.ndarray, items: slice) -> np.ndarray:
        """Lower ends of the intervals of ``symbols``, none the first or past the last, of some items."""
        edges = self.below(self.first(symbols, items) if self._split else symbols, items)
        edges *= (1 << TOTAL_BITS) - self._count[items]
        edges >>= TOTAL_BITS
        edges += symbols
        return edges

    def lower(self, symbols: np.ndarray) -> np.ndarray:
        """Lower ends of the intervals of ``symbols``, one past the last included, of all items."""
        edges = self._inner(symbols, slice(None))
        edges[symbols <= 0] = 0
        edges[symbols >= self._count] = 1 << TOTAL_BITS
        return edges

    def intervals(self, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``(start, freq)`` of each item's symbol, all int64 (n,), out of 2**24."""
        start = self.lower(symbols)
        return start, self.lower(symbols + 1) - start

    def find(self, slots: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The symbols of items low..high whose intervals hold ``slots``, by bisection: (symbols, start, freq)."""
        items = slice(low, high)
        target, count = slots.astype(np.int64), self._count[items]
        bottom = np.zeros(high - low, np.int64)
        start = np.zeros(high - low, np.int64)
        end = np.full(high - low, 1 << TOTAL_BITS, np.int64)
        bounded = self._split or self._values & (self._values - 1) != 0
        for bit in reversed(range(int(self._count.max() - 1).bit_length())):
            probe = bottom + (1 << bit)
            edge = self._inner(probe, items)
            if bounded:
                np.putmask(edge, probe >= count, 1 << TOTAL_BITS)
            # All bits where the edge lies above the slot: numpy is much faster at masks than at choices.
            above = target - edge
            above >>= 63
            bottom = probe - (above & (1 << bit))
            np.minimum(end, edge | (~above & _NEVER), out=end)
            edge &= ~above
            np.maximum(start, edge, out=start)
        return bottom, start, end - start


def _int32(numbers: np.ndarray) -> np.ndarray:
    """Numbers as int32, contiguous. Those beyond ``DISTANT`` are limited: as centres or log-scales they are alike."""
    if numbers.dtype != np.int32:
        numbers = np.minimum(np.maximum(numbers, -DISTANT), DISTANT)
    return np.ascontiguousarray(numbers, np.int32)


def costs(freq: np.ndarray) -> np.ndarray:
    """Code lengths of intervals ``freq`` int (n,) out of 2**24, in 1/65536 bit: int64 (n,), the same everywhere, so
    that an encoder's choices by them are too."""
    return (TOTAL_BITS << 16) - log2(freq)


def log2(numbers: np.ndarray) -> np.ndarray:
    """Logarithms of positive integers below 2**31, in 1/65536, with 12 bits of the fraction looked at: int64 (n,)."""
    parts = numbers.astype(np.float32).view(np.int32)
    exponent = (parts >> 23) - 127
    logarithm: np.ndarray = (exponent.astype(np.int64) << 16) + _LOG2[(parts >> 11) & 4095]
    return logarithm


def _log2_table() -> np.ndarray:
    """65536 * log2(1 + (m + 1/2) / 4096), int64 (4096,), by repeated squaring: in doubles, as of ``_sigmoid_table``."""
    x = (8193 + 2 * np.arange(4096)) / 8192
    bits = np.zeros(4096, np.int64)
    for _ in range(16):
        x *= x
        above = x >= 2
        bits += bits + above
        x[above] /= 2
    return bits


_LOG2 = _log2_table()


@cache
def compiled_tables(kernels: _native.Kernels) -> _native.Logistic:
    """The tables for compiled code."""
    return kernels.logistic(*(table.astype(np.int32) for table in (SIGMOID, INVERSE_SCALE, _LOG2)))
