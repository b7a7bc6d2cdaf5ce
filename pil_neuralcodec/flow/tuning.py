"""A few numbers per tile, level, stage and band that fit the network's parameters to this very tile, or to a whole set
of small images.

The encoder finds them and the file carries them: an offset to all log-scales, or one to those of each class of
positions (``BandParameters.places``), and, for heads that serve one band, offsets to the means and to the coefficients
of chain and filter. The latter are one step of weighted least squares from the misses of the network's means at a part
of the positions, kept where they save more than they cost.

The encoder must find the same numbers on every machine: sums are exact (of integers below 2**53, whatever adds them),
the small system of equations is solved in Python's own floats, one correctly rounded operation after the other, and
what is compared are integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isqrt
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from ..coders.logistic import CENTRE_FRAC, SCALE_MIN, LogisticMixture, costs
from ..coders.symbols import SymbolSink, SymbolSource
from .architecture import TAPS
from .bands import BandParameters, Mixture, Parameters
from .tones import GAIN_FRAC, Tones

SCALE_TOP = 128
"""Log-scales that networks give end at 8 octaves, 256 grey levels."""
_JOINT_SCALES = (-8, -5, -3, 0, 3, 5, 8)
_SCALES = tuple(range(-14, 15, 2))
_TONE_SCALES = tuple(range(-112, 17, 4))
"""Offsets of log-scales, 1/16 octave: for joint heads, for those of one band, and for these where networks see tones,
by which they cannot know how small the noise is."""
_LIGHTS = 8
"""Where networks see tones, scales have an offset for each so bright part of the positions, see ``Tones.light``: the
noise of sensors grows with the light, in proportions that samples of 8 bits never show."""
_CLASS_STEPS = (12, 6, 4, 2)
"""How far the offsets of classes are moved, up or down, in the search for the best ones; the last is their unit."""
_CLASS_PRICE = 3 << 16
"""What moving one of them should save at least, in 1/65536 bit."""
_SCALE_SAMPLES = 2048
_SAMPLES = 8192
"""Positions by which offsets of scales, and the other offsets, are chosen."""
_WIDTHS = 8
"""Scales of the distribution that codes offsets: half octaves from 2**-1."""
_ROUNDS = 2
_PRIOR = 12
"""Offsets are expected to be about so large, in 1/64."""


class Slots(NamedTuple):
    """What there is to tune: offsets of log-scales to choose from, how many other offsets there are, and how many of
    log-scales; with ``classes``, these are of classes of positions instead, by light and by noise."""

    scales: tuple[int, ...]
    offsets: int
    lights: int = 1
    classes: int = 0

    @staticmethod
    def of(parameters: Parameters) -> Slots:
        """For what a head says of a band."""
        if isinstance(parameters, BandParameters):
            if parameters.tones is not None:
                return Slots(_TONE_SCALES, parameters.offsets, _LIGHTS)
            return Slots(_SCALES, parameters.offsets, classes=parameters.classes)
        return Slots(_JOINT_SCALES, 0)

    @staticmethod
    def of_band(band: int) -> Slots:
        """For a band's own head."""
        return Slots(_SCALES, 1 + band + TAPS)


@dataclass(frozen=True)
class Tuning:
    """Offsets to the log-scales, 1/16 octave, one, or ``_LIGHTS``, or of classes: those by light, then those by noise;
    and those to means, chain and filter: int64 (offsets,) or None."""

    scales: tuple[int, ...] = (0,)
    offsets: np.ndarray | None = None

    def mixture(self, parameters: Parameters) -> Mixture:
        """The parameters' mixture with these offsets; log-scales are limited before the offset is added."""
        if not isinstance(parameters, BandParameters):
            return _limited(parameters.mixture(), 0, self.scales[0])
        mixture, tones = parameters.mixture(self.offsets), parameters.tones
        octaves = 0 if tones is None else tones.octaves
        if len(self.scales) == 1:
            return _limited(mixture, octaves, self.scales[0])
        if tones is None:
            by_light, by_noise = np.array(self.scales).reshape(2, -1)
            light, noise = parameters.places
            return _limited(mixture, octaves, by_light[light] + by_noise[noise])
        return _limited(mixture, octaves, np.array(self.scales)[tones.light(parameters.total)])

    def put(self, writer: SymbolSink, slots: Slots) -> None:
        """Write it for ``get``."""
        if slots.classes:
            _put_numbers(writer, np.array(self.scales) // _CLASS_STEPS[-1] if any(self.scales) else None)
        else:
            writer.put_uniform(np.array([slots.scales.index(scale) for scale in self.scales]), len(slots.scales))
        if slots.offsets:
            _put_numbers(writer, self.offsets)

    @staticmethod
    def get(reader: SymbolSource, slots: Slots) -> Tuning:
        """What ``put`` wrote for the same slots."""
        if slots.classes:
            numbers = _get_numbers(reader, 2 * slots.classes)
            scales = (0,) if numbers is None else tuple((numbers * _CLASS_STEPS[-1]).tolist())
        else:
            scales = tuple(slots.scales[i] for i in reader.get_uniform(slots.lights, len(slots.scales)).tolist())
        return Tuning(scales, _get_numbers(reader, slots.offsets) if slots.offsets else None)


def tune(parameters: Parameters, values: np.ndarray) -> Tuning:
    """The tuning that codes ``values``, int64 (h, w), in the fewest bits, nearly."""
    choices = Slots.of(parameters).scales
    if not isinstance(parameters, BandParameters):
        plain = Tuning().mixture(parameters).flat(*values.shape)
        return Tuning((_best_scale(plain, values.reshape(-1), choices),))
    rows, columns = _thinned(*values.shape)
    few, sample = parameters.at(rows, columns), values[rows, columns]
    slopes = few.slopes().reshape(few.offsets, -1)

    def mixed(offsets: np.ndarray | None) -> Mixture:
        return Tuning(offsets=offsets).mixture(few).flat(*sample.shape)

    def scales(mixture: Mixture) -> tuple[int, ...]:
        if not parameters.classes:
            return _best_scales(mixture, flat, choices, few)
        places = parameters.places[:, rows, columns].reshape(2, -1)
        price = _CLASS_PRICE * flat.size // values.size
        return _class_scales(mixture, flat, places, parameters.classes, price)

    flat = sample.reshape(-1)
    best = plain = mixed(None)
    before = bits = _bits(plain, flat, 0)
    offsets = np.zeros(few.offsets, np.int64)
    for _ in range(_ROUNDS):
        trial = np.minimum(np.maximum(offsets + _least_squares(slopes, best, flat, few.tones), -128), 127)
        mixture = mixed(trial)
        trial_bits = _bits(mixture, flat, 0)
        if trial_bits >= bits:
            break
        best, offsets, bits = mixture, trial, trial_bits
    if (before - bits) * values.size // flat.size > 2 * _price(offsets)[0]:
        return Tuning(scales(best), offsets)
    return Tuning(scales(plain))


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


def _limited(mixture: Mixture, octaves: int, offset: int | np.ndarray) -> Mixture:
    scales = np.minimum(np.maximum(mixture.scales, SCALE_MIN + octaves), SCALE_TOP + octaves) + offset
    return mixture._replace(scales=scales)


def _price(offsets: np.ndarray) -> tuple[int, int]:
    """Code length of offsets in 1/65536 bit, and the width of the distribution that codes them so."""
    return min((int(price), width) for width, price in enumerate(_prices()[:, offsets + 128].sum(axis=1)))


@cache
def _prices() -> np.ndarray:
    """Code lengths of offsets -128..127 by distributions of all widths, int64 (_WIDTHS, 256)."""
    numbers = np.arange(256)
    return np.stack([costs(_spread(width, 256).intervals(numbers)[1]) for width in range(_WIDTHS)])


def _best_scale(mixture: Mixture, values: np.ndarray, choices: tuple[int, ...]) -> int:
    step = max(1, len(values) // _SCALE_SAMPLES)
    few = mixture.each(lambda part: part[:, ::step])
    return choices[int(np.argmin([_bits(few, values[::step], offset) for offset in choices]))]


def _best_scales(
    mixture: Mixture, values: np.ndarray, choices: tuple[int, ...], parameters: BandParameters
) -> tuple[int, ...]:
    """For the positions of ``parameters``."""
    if parameters.tones is None:
        return (_best_scale(mixture, values, choices),)
    light = parameters.tones.light(parameters.total).reshape(-1)
    parts = [np.flatnonzero(light == i) for i in range(_LIGHTS)]
    parts = [part[:: max(1, len(part) * _LIGHTS // _SCALE_SAMPLES)] for part in parts]
    return tuple(
        _best_scale(mixture.each(itemgetter((slice(None), part))), values[part], choices) if len(part) else 0
        for part in parts
    )


def _class_scales(
    mixture: Mixture, values: np.ndarray, places: np.ndarray, classes: int, price: int
) -> tuple[int, ...]:
    """Offsets for the classes of ``places`` int64 (2, n), moved where that saves more than ``price``."""
    tables = np.zeros((2, classes), np.int64)
    each = _bits_each(mixture, values, 0)
    for step in _CLASS_STEPS:
        for axis in range(2):
            for move in (-step, step):
                trial = tables.copy()
                trial[axis] += move
                found = _bits_each(mixture, values, trial[0, places[0]] + trial[1, places[1]])
                # Exact: sums of integers below 2**53.
                saved = np.bincount(places[axis], each - found, classes)
                better = 2 * saved > price
                tables[axis] += np.where(better, move, 0)
                each = np.where(better[places[axis]], found, each)
    return tuple(tables.reshape(-1).tolist()) if tables.any() else (0,)


def _bits(mixture: Mixture, values: np.ndarray, offset: int) -> int:
    """Code length of ``values`` (n,) in 1/65536 bit."""
    return int(_bits_each(mixture, values, offset).sum())


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


def _least_squares(slopes: np.ndarray, mixture: Mixture, values: np.ndarray, tones: Tones | None) -> np.ndarray:
    """Offsets, int64 (offsets,), that would bring the means nearest to ``values`` (n,): each miss counts by the
    precision that the mixture claims there, and as at most three standard deviations. ``slopes`` are those of tones,
    where there are."""
    weights, reach = _precision_table()
    scale = ((mixture.weights * mixture.scales).sum(axis=0) >> 16) - SCALE_MIN
    mean = (mixture.weights * mixture.centres).sum(axis=0) >> 16
    miss = ((values << CENTRE_FRAC) - mean) << 2
    if tones is not None:
        scale, miss = scale - tones.octaves, (miss << GAIN_FRAC) // tones.gain
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
