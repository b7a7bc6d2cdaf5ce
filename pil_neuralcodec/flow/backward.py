"""Backward adaptation: predictions of a band corrected by what has just been decoded of it.

Side information (``adaptation``) is fitted to a whole band and sent. What is fitted here is fitted to the samples
before, by encoder and decoder alike, so nothing is sent and everything may change from place to place. A band is coded
row by row, each row in two halves: the even columns, then the odd ones, whose neighbours to the left and right are then
known. All samples of a half are coded at once.

For each half, means are moved and scales changed:

- Two local least squares (an exponential window over rows and columns, a short and a long one) predict a sample's
  surprise, its distance from the network's mean, from the nearest known samples, the surprises of these and of its
  neighbours, and those of the bands before. They are blended by how wrong each has been around (TMW: Meyer, Tischer
  1997), and another least squares, of the whole row, says how far to trust all of them (stacking: Wolpert 1992).
- The scale of the mixture is changed by three tables of the network's scale and of the surprises around, in the same
  component, in those before and in the bands before, each entry descending along the gradient of the code length
  (AdaGrad: Duchi, Hazan, Singer 2011).
- How far means are moved is changed by a factor for each octave of scales, which descends likewise.
- What then is the distribution is calibrated: where samples have been in theirs becomes even.

The tables and the calibration of a band go on from component to component.

`learners` has what is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import gate, native
from ..coders.engine import Compiled
from ..coders.logistic import (
    CENTRE_FRAC,
    INVERSE_BITS,
    INVERSE_SCALE,
    SCALE_MAX,
    SCALE_MIN,
    SIGMOID,
    TOTAL_BITS,
    Z_FRAC,
    Z_REACH,
    DistributionFunction,
    LogisticMixture,
    compiled_tables,
    log2,
)
from ..coders.symbols import SymbolSink, SymbolSource, groups
from .bands import SCALE_TOP, BandParameters, Mixture, rounded_variances
from .lattice import LatticeDistribution, Prior
from .learners import (
    CLASSES,
    ENTRIES,
    LIMIT,
    LONG,
    SHORT,
    TRUST,
    Calibration,
    Learned,
    LocalSquares,
    ScaleTable,
    Stacking,
    Trust,
    blend,
)

if TYPE_CHECKING:
    from .. import _native

_NEAR = 8
"""Taps of the band whose samples are features."""
_NEAREST = 4
"""Nearest samples, whose surprises are features."""
_EARLIER_NEAR = 3
"""Taps of a band before whose differences are features."""
_NEIGHBOURS = (
    ((-1, 0), (-1, -1), (-1, 1), (-2, 0)),
    ((-1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (-2, 0)),
)
"""Known neighbours (rows down, columns right) of even and of odd columns."""
_EARLIER = ((0, 0), (0, 1), (0, -1))
"""Neighbours in bands before."""
_LOCAL = 2
"""Local least squares."""
_WEIGHTS = {1: 5, 2: 3, 4: 2}
"""Weight of a neighbour's surprise for the scale, by squared distance."""
_WIDE, _MEDIUM, _NARROW = 127, 64, 48
"""Limits of samples, surprises, and what is predicted, in 1/16 standard deviation."""
_PRIOR, _NEAREST_PRIOR = 896, 192
"""What squares of surprises are added to, in 1/256 variance."""


@cache
def _deviations() -> tuple[np.ndarray, np.ndarray]:
    """For each log-scale from ``SCALE_MIN`` to ``SCALE_TOP``: 2**14 / s and 2**8 s, int64, with s the standard
    deviation of the rounded logistic."""
    inverse, deviation = [], []
    for variance in rounded_variances():
        root = isqrt(variance)  # 2**32 s
        inverse.append(((1 << 46) + root // 2) // root)
        deviation.append((root + (1 << 23)) >> 24)
    return np.array(inverse, np.int64), np.array(deviation, np.int64)


class Given(NamedTuple):
    """What is known of a band of (h, w) samples before they are.

    Parameters
    ----------
    parameters
        The network's, of samples of 8 bits; they may have more rows and columns.
    mixture
        The band's mixture with side information, as large as ``parameters``.
    nearest
        ``surprises`` of the four nearest samples, (4, h, w).
    earlier
        ``surprises`` of the bands before.
    learned
        What components of the band before this one have taught; it goes on learning.
    prior
        That of a lattice, if there is one.
    cells
        As of ``LogisticMixture``.
    """

    parameters: BandParameters
    mixture: Mixture
    nearest: np.ndarray
    earlier: Sequence[np.ndarray]
    learned: Learned
    prior: Prior | None = None
    cells: np.ndarray | None = None


def put_adapted(sink: SymbolSink, given: Given, values: np.ndarray) -> np.ndarray:
    """Code int64 (h, w). Returns the band's surprises, int32 or int64 (h, w)."""
    compiled = _compiled(given, *values.shape)
    if compiled is not None:
        sink.put_group(groups(*compiled.code(np.ascontiguousarray(values)), TOTAL_BITS, half_row_ends(*values.shape)))
        given.learned.arrays = compiled.learned()
        return compiled.surprises()
    adapter = BandAdapter(given, *values.shape)
    for row, half in adapter.halves():
        part = values[row, half::2]
        adapter.coder(row, half).put(sink, part)
        adapter.accept(row, half, part)
    return adapter.surprises


def get_adapted(source: SymbolSource, given: Given, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Decode what ``put_adapted`` coded: values, int64 (h, w), and surprises."""
    values = np.empty(shape, np.int64)
    compiled = _compiled(given, *shape)
    if compiled is not None:
        found = source.get(values.size, Compiled(compiled, TOTAL_BITS)).reshape(shape)
        even = (shape[1] + 1) // 2
        values[:, ::2], values[:, 1::2] = found[:, :even], found[:, even:]
        given.learned.arrays = compiled.learned()
        return values, compiled.surprises()
    adapter = BandAdapter(given, *shape)
    for row, half in adapter.halves():
        values[row, half::2] = adapter.coder(row, half).get(source)
        adapter.accept(row, half, values[row, half::2])
    return values, adapter.surprises


def half_row_ends(h: int, w: int) -> np.ndarray:
    """Where half rows end in coding order, int64 (2 * h,)."""
    rows = np.arange(h, dtype=np.int64)[:, None] * w
    ends: np.ndarray = rows + np.array([(w + 1) // 2, w])
    return ends.reshape(-1)


def _compiled(given: Given, h: int, w: int) -> _native.AdaptedBand | None:
    """The same as ``BandAdapter``, compiled; None where there is none."""
    module, kernels = native.core(), native.fastest()
    if module is None or kernels is None:
        return None

    def part(numbers: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(numbers[..., :h, :w], np.int32)

    parameters, mixture, nearest, earlier, learned, prior, cells = given
    before = [(part(surprises), part(band.values)) for surprises, band in zip(earlier, parameters.before, strict=True)]
    mixed = [part(numbers) for numbers in mixture[:3]]
    near = *parameters.near.samples, part(nearest)
    learned.begin()
    band: _native.AdaptedBand = module.AdaptedBand(
        compiled_tables(kernels),
        *mixed,
        *near,
        before,
        *_deviations(),
        *learned.arrays,
        gate.spare(gate.threads()),
        None if prior is None else prior.compiled(),
        cells,
    )
    return band


class _Calibrated(LogisticMixture):
    """A distribution whose function is calibrated, ``of`` the class of each item."""

    def __init__(
        self, mixture: Mixture, calibration: Calibration, of: np.ndarray, cells: np.ndarray | None = None
    ) -> None:
        super().__init__(mixture.weights, mixture.centres, mixture.scales, 256, whole=True, cells=cells)
        self._calibration, self._of = calibration, of

    def below(self, positions: np.ndarray, items: np.ndarray | slice = slice(None)) -> np.ndarray:
        """See ``DistributionFunction``."""
        return self._calibration.apply(super().below(positions, items), self._of[items])

    def compiled(self) -> None:
        """None: see ``Distribution``."""


class _Half:
    """What is fitted for the even or the odd columns of a band."""

    def __init__(self, features: int, columns: int, sums: np.ndarray) -> None:
        self.local = [LocalSquares(features, columns, memory) for memory in (SHORT, LONG)]
        self.stacking = Stacking(sums)


class BandAdapter:
    """Adapts the mixtures of a band of ``h`` rows and ``w`` columns, half row by half row."""

    def __init__(self, given: Given, h: int, w: int) -> None:
        parameters, mixture, nearest, earlier, learned, self._prior, self._cells = given
        learned.begin()
        tables = list(zip(learned.offsets, learned.squares, strict=True))
        self._scales, self._trust = [ScaleTable(*rows) for rows in tables[:TRUST]], Trust(*tables[TRUST])
        self._calibration = Calibration(learned.counts)
        self._mixture = mixture = mixture.each(lambda part: part[:, :h, :w].astype(np.int64))
        mean = (mixture.weights * mixture.centres).sum(axis=0) >> 16
        scale = (mixture.weights * mixture.scales).sum(axis=0) >> 16
        scale = np.clip(scale, SCALE_MIN, SCALE_TOP) - SCALE_MIN
        inverse, deviation = _deviations()
        self._mean, self._inverse, self._deviation = mean, inverse[scale], deviation[scale]
        self._octave = scale >> 4
        self._class = np.clip((scale + SCALE_MIN + 16) >> 3, 0, CLASSES - 1)
        total, taps = parameters.total[:h, :w].astype(np.int64), parameters.near.taps[:_NEAR, :h, :w]
        near = self._scaled(nearest.astype(np.int64), _MEDIUM)
        beside = [_where(_NEAREST_PRIOR + (near**2).sum(axis=0), _NEAREST_PRIOR + (_NEAREST << 8))]
        known = [self._scaled(((taps + total) << (CENTRE_FRAC - 2)) - mean, _WIDE), near]
        squares, count = np.full((h, w), _NEAREST_PRIOR, np.int64), _NEAREST_PRIOR
        for surprises, before in zip(earlier, parameters.before, strict=True):
            for down, right in _EARLIER:
                known.append(self._scaled(_moved(surprises.astype(np.int64), down, right)[None], _MEDIUM))
            squares, count = squares + 4 * known[-len(_EARLIER)][0] ** 2, count + (4 << 8)
            taps = before.near.taps[:_EARLIER_NEAR, :h, :w].astype(np.int64)
            left = (taps - before.residuals()[:h, :w]) << (CENTRE_FRAC - 2)
            known.append(self._scaled(left, _WIDE))
        self._known = np.concatenate(known)
        self._beside = [*beside, _where(squares, count)] if earlier else beside
        self.surprises = np.zeros((h, w), np.int64)
        """Distances of samples from the network's mean, in 1/64 of a grey level: int64 (h, w)."""
        self._energy = np.zeros((h, w), np.int64)
        self._errors = np.zeros((1 + _LOCAL, h, w), np.int64)
        counts = [len(self._known) + len(near) for near in _NEIGHBOURS]
        self._halves = [_Half(n, (w + 1 - half) // 2, learned.sums[half]) for half, n in enumerate(counts)]

    def _scaled(
        self, numbers: np.ndarray, limit: int, at: tuple[int | slice, slice] = (slice(None), slice(None))
    ) -> np.ndarray:
        """Numbers in 1/64 of a grey level, in 1/16 standard deviation, of all positions or some."""
        scaled: np.ndarray = np.clip(numbers * self._inverse[at] >> 16, -limit, limit)
        return scaled

    def halves(self) -> Iterator[tuple[int, int]]:
        """Rows and halves in coding order."""
        h, w = self.surprises.shape
        return ((row, half) for row in range(h) for half in range(min(w, 2)))

    def coder(self, row: int, half: int) -> LogisticMixture | LatticeDistribution:
        """The distributions of a half row, of ``columns`` items."""
        fitted, at = self._halves[half], (row, slice(half, None, 2))
        around = [_neighbour(self.surprises, row, half, *where) for where in _NEIGHBOURS[half]]
        near = self._scaled(np.stack(around), _MEDIUM, at)
        self._features = np.concatenate([self._known[:, at[0], at[1]], near])
        for squares in fitted.local:
            squares.fit(row)
        local = np.stack([squares.predict(self._features) for squares in fitted.local])
        trust = np.clip(2 * (near[0] + near[1]), -LIMIT, LIMIT)
        blended = blend(local, np.stack([self._around(errors, row, half) for errors in self._errors]))
        self._stacked = np.stack([*local, trust, blended])
        self._wanted = (fitted.stacking.predict(self._stacked, self._class[at]) * self._deviation[at] + 128) >> 8
        self._shift = self._trust.applied(self._wanted, self._octave[at])
        count = self._around(np.full_like(self._energy, 256), row, half)
        own = _where(self._around(self._energy, row, half), count)
        where = np.stack([own, *(beside[at] for beside in self._beside)])
        self._entries, self._parts = self._class[at] * ENTRIES + (where >> 6), where & 63
        lookups = zip(self._scales, self._entries, self._parts, strict=False)
        offset = (sum(table.offsets(entry, part) for table, entry, part in lookups) + (1 << 11)) >> 12
        weights, centres, scales, _ = self._mixture
        self._coded = Mixture(
            weights[:, at[0], at[1]], centres[:, at[0], at[1]] + self._shift, scales[:, at[0], at[1]] + offset
        )
        calibrated = _Calibrated(self._coded, self._calibration, self._class[at], self._cells)
        if self._prior is None:
            return calibrated
        return LatticeDistribution(calibrated, self._coded, self._prior.at(row, half))

    def accept(self, row: int, half: int, values: np.ndarray) -> None:
        """Take the samples of a half row, int64 (columns,)."""
        fitted, at = self._halves[half], (row, slice(half, None, 2))
        surprise = (values << CENTRE_FRAC) - self._mean[at]
        self.surprises[at] = surprise
        self._energy[at] = self._scaled(np.abs(surprise - self._shift), _MEDIUM, at) ** 2
        target = self._scaled(surprise, _NARROW, at)
        self._errors[0][at] = target**2
        self._errors[1:, at[0], at[1]] = ((4 * target - self._stacked[:_LOCAL]) >> 2) ** 2
        for local in fitted.local:
            local.learn(self._features, target)
        fitted.stacking.learn(self._stacked, self._class[at], 4 * target)
        slopes, by_shift = _slopes(self._coded, values, self._wanted)
        self._trust.learn(self._octave[at], np.zeros_like(by_shift), by_shift)
        for table, entry, part in zip(self._scales, self._entries, self._parts, strict=False):
            table.learn(entry, part, slopes)
        function = DistributionFunction(*self._coded[:3])
        low, high = np.where(values > 0, function.below(values), 0), function.below(values + 1)
        self._calibration.learn(low, np.where(values < 255, high, 1 << TOTAL_BITS), self._class[at])

    def _around(self, squares: np.ndarray, row: int, half: int) -> np.ndarray:
        """Weighted sum of the squares (h, w) of known neighbours, with the prior: int64 (columns,)."""
        total = np.full(len(self._mean[row, half::2]), _PRIOR, np.int64)
        for down, right in _NEIGHBOURS[half]:
            total += _WEIGHTS[down * down + right * right] * _neighbour(squares, row, half, down, right)
        return total


def _where(squares: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """Where in a table of scales mean squares belong, in 1/64 entry: int64 (...)."""
    where: np.ndarray = np.clip(((log2(squares) - log2(np.asarray(count))) >> 9) + 512, 0, 1023)
    return where


def _moved(plane: np.ndarray, down: int, right: int) -> np.ndarray:
    """The numbers that lie below and to the right of each position, 0 outside, at most one away."""
    padded = np.pad(plane, 1)
    h, w = plane.shape
    return padded[1 + down : 1 + down + h, 1 + right : 1 + right + w]


def _neighbour(plane: np.ndarray, row: int, half: int, down: int, right: int) -> np.ndarray:
    """The numbers below and to the right of a half row, 0 outside: (columns,)."""
    w = plane.shape[1]
    if row + down < 0:
        return np.zeros((w + 1 - half) // 2, np.int64)
    padded = np.pad(plane[row + down], 1)
    return padded[1 + half + right : 1 + w + right : 2]


def _slopes(mixture: Mixture, values: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the log likelihoods of values by log-scales in octaves and by factors of ``shifts`` int64 (n,),
    in 1/256, at most 3: int64 (n,) each."""
    one = np.float32(1)
    slope = probability = moved = np.zeros(len(values), np.float32)
    for weights, centres, scales in zip(*mixture[:3], strict=True):
        inverse = INVERSE_SCALE[np.clip(scales, SCALE_MIN, SCALE_MAX) - SCALE_MIN]
        parts = []
        for edge in (values + 1, values):
            position = (edge << CENTRE_FRAC) - (1 << (CENTRE_FRAC - 1)) - centres
            steps = np.clip(position * inverse >> INVERSE_BITS, -Z_REACH, Z_REACH)
            below = SIGMOID[steps + Z_REACH].astype(np.float32) * np.float32(2**-24)
            below = np.where(edge <= 0, np.float32(0), np.where(edge > 255, one, below))
            z = steps.astype(np.float32) * np.float32(2**-Z_FRAC)
            parts.append((below, z * below * (one - below), below * (one - below)))
        (high, upper, right), (low, lower, left) = parts
        weight = weights.astype(np.float32)
        probability = probability + weight * (high - low)
        slope = slope + weight * (lower - upper)
        moved = moved + weight * (left - right) * inverse.astype(np.float32)
    each = slope / (probability + np.float32(2**-8)) * np.float32(256 * 0.6931)
    # What was all but impossible says little of shifts.
    per_shift = shifts.astype(np.float32) * np.float32(2 ** (8 - INVERSE_BITS - Z_FRAC))
    by_shift = moved / (probability + np.float32(2**8)) * per_shift
    return _whole(each), _whole(by_shift)


def _whole(slopes: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.rint(np.clip(slopes, -768, 768)).astype(np.int64)
    return whole
