"""Adaptation by side information: a few numbers for each tile, level, stage and band that fit the network's predictions
to this very tile, or to a whole set of small images.

The encoder finds them and the file carries them: offsets of log-scales for classes of positions
(``BandParameters.classes``), and offsets of the means and of the coefficients of chain and filter. The latter are one
step of weighted least squares from the misses of the network's means at a part of the positions, kept where they save
more than they cost.

The encoder must find the same numbers on every machine: sums are exact (of integers below 2**53, whatever adds them),
the small system of equations is solved in Python's own floats, one correctly rounded operation after the other, and
what is compared are integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isqrt

import numpy as np

from ..coders.logistic import CENTRE_FRAC, SCALE_MIN, LogisticMixture, costs
from ..coders.symbols import SymbolSink, SymbolSource
from .architecture import TAPS
from .bands import CLASSES, SCALE_TOP, BandParameters, Mixture
from .range_mapping import GAIN_FRAC, RangeMapping

_UNIT = 2
"""Offsets of log-scales are multiples of this, in 1/16 octave."""
_STEPS = (12, 6, 4, 2)
_WIDE_STEPS = (64, 32, 16, 8, 4, 2)
"""How far the offsets of classes are moved, up or down, in the search for the best ones; the wide ones for samples
whose range is mapped, by which networks cannot know how small the noise is."""
_CLASS_PRICE = 3 << 16
"""What moving one of them should save at least, in 1/65536 bit."""
_SAMPLES = 8192
"""Positions by which offsets are chosen."""
_WIDTHS = 8
"""Scales of the distribution that codes offsets: half octaves from 2**-1."""
_ROUNDS = 2
_PRIOR = 12
"""Offsets are expected to be about so large, in 1/64."""


@dataclass(frozen=True)
class SideInformation:
    """Offsets to log-scales of classes, in units of ``_UNIT``, int64 (axes, CLASSES); and those to means, chain and
    filter, int64 (offsets,). None where there are none."""

    scales: np.ndarray | None = None
    offsets: np.ndarray | None = None

    def mixture(self, parameters: BandParameters) -> Mixture:
        """The parameters' mixture with these offsets; log-scales are limited before the offset is added."""
        mixture = parameters.mixture(self.offsets)
        if self.scales is None:
            return mixture.limited(parameters.octaves)
        moved = sum(table[of_class] for table, of_class in zip(self.scales, parameters.classes, strict=True))
        return mixture.limited(parameters.octaves, _UNIT * moved)

    def put(self, sink: SymbolSink) -> None:
        """Put it for ``get``."""
        _put_numbers(sink, None if self.scales is None else self.scales.reshape(-1))
        _put_numbers(sink, self.offsets)

    @staticmethod
    def get(source: SymbolSource, parameters: BandParameters) -> SideInformation:
        """What ``put`` put for the parameters of a band."""
        return SideInformation.get_for(source, parameters.axes, parameters.offsets)

    @staticmethod
    def get_for(source: SymbolSource, axes: int, offsets: int) -> SideInformation:
        """What ``put`` put, for so many axes of classes, and other offsets."""
        scales = _get_numbers(source, axes * CLASSES)
        return SideInformation(None if scales is None else scales.reshape(axes, CLASSES), _get_numbers(source, offsets))


def offsets_of(band: int) -> int:
    """How many offsets there are besides those of log-scales: of the means, the chain and the filter."""
    return 1 + band + TAPS


def adapt(parameters: BandParameters, values: np.ndarray) -> SideInformation:
    """The side information that codes ``values``, int64 (h, w), in the fewest bits, nearly."""
    rows, columns = _thinned(*values.shape)
    few, sample = parameters.at(rows, columns), values[rows, columns]
    slopes = few.slopes().reshape(few.offsets, -1)

    def mixed(offsets: np.ndarray | None) -> Mixture:
        return SideInformation(offsets=offsets).mixture(few).flat(*sample.shape)

    flat = sample.reshape(-1)
    best = plain = mixed(None)
    before = bits = _bits(plain, flat)
    offsets = np.zeros(few.offsets, np.int64)
    for _ in range(_ROUNDS):
        trial = np.minimum(np.maximum(offsets + _least_squares(slopes, best, flat, few.mapping), -128), 127)
        mixture = mixed(trial)
        trial_bits = _bits(mixture, flat)
        if trial_bits >= bits:
            break
        best, offsets, bits = mixture, trial, trial_bits
    classes = parameters.classes[:, rows, columns].reshape(parameters.axes, -1)
    steps = _STEPS if parameters.mapping is None else _WIDE_STEPS
    price = _CLASS_PRICE * flat.size // values.size
    if (before - bits) * values.size // flat.size > 2 * _price(offsets)[0]:
        return SideInformation(_class_scales(best, flat, classes, price, steps), offsets)
    return SideInformation(_class_scales(plain, flat, classes, price, steps))


def _thinned(height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns whose crossings are about ``_SAMPLES`` positions."""
    # Odd steps: what was subsampled or cut into blocks before it came here differs between even and odd positions.
    down = right = 1
    while height * width > _SAMPLES * down * right:
        down, right = (down, right + 2) if down == right else (right, right)
    return slice(None, height, down), slice(None, width, right)


def _put_numbers(writer: SymbolSink, numbers: np.ndarray | None) -> None:
    """Put int64 (n,) of -128..127, or None, for ``_get_numbers``."""
    writer.put_uniform(np.array([int(numbers is not None)]), 2)
    if numbers is not None:
        _, width = _price(numbers)
        writer.put_uniform(np.array([width]), _WIDTHS)
        writer.put(*_spread(width, len(numbers)).intervals(numbers + 128), 24)


def _get_numbers(reader: SymbolSource, count: int) -> np.ndarray | None:
    if not reader.get_uniform(1, 2)[0]:
        return None
    width = int(reader.get_uniform(1, _WIDTHS)[0])
    numbers: np.ndarray = reader.get(count, 24, _spread(width, count).find) - 128
    return numbers


def _price(offsets: np.ndarray) -> tuple[int, int]:
    """Code length of offsets in 1/65536 bit, and the width of the distribution that codes them so."""
    return min((int(price), width) for width, price in enumerate(_prices()[:, offsets + 128].sum(axis=1)))


@cache
def _prices() -> np.ndarray:
    """Code lengths of offsets -128..127 by distributions of all widths, int64 (_WIDTHS, 256)."""
    numbers = np.arange(256)
    return np.stack([costs(_spread(width, 256).intervals(numbers)[1]) for width in range(_WIDTHS)])


def _class_scales(
    mixture: Mixture, values: np.ndarray, classes: np.ndarray, price: int, steps: tuple[int, ...]
) -> np.ndarray | None:
    """Offsets in units of ``_UNIT`` for ``classes`` int64 (axes, n), moved where that saves more than ``price``."""
    tables = np.zeros((len(classes), CLASSES), np.int64)
    each = _bits_each(mixture, values, 0)
    for step in steps:
        for axis, of_class in enumerate(classes):
            for move in (-step, step):
                trial = tables.copy()
                trial[axis] += move
                offset = sum(table[at] for table, at in zip(trial, classes, strict=True))
                found = _bits_each(mixture, values, offset)
                # Exact: sums of integers below 2**53.
                saved = np.bincount(of_class, each - found, CLASSES)
                better = 2 * saved > price
                tables[axis] += np.where(better, move, 0)
                each = np.where(better[of_class], found, each)
    return tables // _UNIT if tables.any() else None


def _bits(mixture: Mixture, values: np.ndarray) -> int:
    """Code length of ``values`` (n,) in 1/65536 bit."""
    return int(_bits_each(mixture, values, 0).sum())


def _bits_each(mixture: Mixture, values: np.ndarray, offset: int | np.ndarray) -> np.ndarray:
    """Of each, with an offset to log-scales, or one for each: int64 (n,)."""
    coder = mixture._replace(scales=mixture.scales + offset).coder()
    symbols, wide, _ = coder.split(values)
    _, freq = coder.intervals(symbols)
    each = costs(freq)
    each[wide] += coder.shift[wide] << 16
    return each


def _spread(width: int, count: int) -> LogisticMixture:
    """The distribution of ``count`` offsets, 128 added."""

    def full(value: int) -> np.ndarray:
        return np.full((1, count), value, np.int64)

    return LogisticMixture(full(1 << 16), full(128 << CENTRE_FRAC), full(8 * width - 16), 256)


@cache
def _precision_table() -> tuple[np.ndarray, np.ndarray]:
    """By log-scale from -80 up: 2**28 over the variance of the rounded logistic, and thrice its standard deviation,
    in 1/256 of a grey level: int64."""
    one = 1 << 64
    eighth = 2 * one  # becomes 2**(1/8)
    for _ in range(3):
        eighth = isqrt(eighth * one)
    weights, reach = [], []
    for scale in range(SCALE_MIN, SCALE_TOP + 1):
        square = one  # becomes 2**(scale / 8), the square of the logistic's scale
        for _ in range(abs(scale)):
            square = square * eighth // one
        square = square if scale >= 0 else one * one // square
        # A variance of pi**2 / 3 times that, and a twelfth for the rounding of samples.
        variance = (square * 3290 // 1000 + one // 12) * 2**16 // one
        weights.append((1 << 28) // variance)
        reach.append(3 * isqrt(variance))
    return np.array(weights, np.int64), np.array(reach, np.int64)


def _least_squares(
    slopes: np.ndarray, mixture: Mixture, values: np.ndarray, mapping: RangeMapping | None
) -> np.ndarray:
    """Offsets, int64 (offsets,), that would bring the means nearest to ``values`` (n,): each miss counts by the
    precision that the mixture claims there, and as at most three standard deviations. ``slopes`` are those of tones,
    where samples are mapped to them."""
    weights, reach = _precision_table()
    scale = ((mixture.weights * mixture.scales).sum(axis=0) >> 16) - SCALE_MIN
    mean = (mixture.weights * mixture.centres).sum(axis=0) >> 16
    miss = ((values << CENTRE_FRAC) - mean) << 2
    if mapping is not None:
        scale, miss = scale - mapping.octaves, (miss << GAIN_FRAC) // mapping.gain
    limit = reach[scale]
    miss = np.minimum(np.maximum(miss, -limit), limit)
    weighted = slopes * weights[scale]
    # Exact in any order: sums of integers below 2**53.
    normal = (weighted.astype(np.float64) @ slopes.T.astype(np.float64)).tolist()
    right = (weighted.astype(np.float64) @ miss.astype(np.float64)).tolist()
    prior = float((1 << 28) // _PRIOR**2)
    for i in range(len(normal)):
        normal[i][i] += prior
    solution = _solve(normal, right)
    return np.array([round(min(max(x, -128.0), 127.0)) for x in solution], np.int64)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Solve a positive definite system by elimination, in plain floats: the same on every machine."""
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
