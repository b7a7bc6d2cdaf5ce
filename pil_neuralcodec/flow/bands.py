"""What networks predict of a band: a mixture of logistics, given the bands before it.

Centres are in 1/64 of a grey level, coefficients of the filter and of the chain in 1/64. With ``total`` the sum of the
four nearest samples (the baseline is a quarter of it), ``t`` the distance of a tap from the baseline, ``r`` that of a
band before from its own baseline, both in quarters of a grey level, ``f`` the coefficients of the filter, and ``c``
those of the chain:

    centre = mean + 16 total + (64 (sum_j f_j t_j + sum_i c_i r_i) - sum_i c_i sum_j f_j t_ij) >> 8

So the filter applies to what the chain leaves of the band: its difference from the bands before, which is smoother.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import isqrt
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import gate
from ..coders.logistic import CENTRE_FRAC, SCALE_MIN, LogisticMixture
from ..lazy import cached_property
from .architecture import CHAIN_FRAC, COEFFICIENT_MAX, MEAN_FRAC, TAPS
from .classes import classes, limited
from .compiled import compiled
from .outputs import Outputs, as_centres, band_rows
from .polyphase import Near
from .range_mapping import GAIN_FRAC, RangeMapping, numbers_of

assert MEAN_FRAC - 2 == CENTRE_FRAC  # the unit of a mean is 4 grey levels, so its integers are in 1/64 of a grey level
assert CHAIN_FRAC == CENTRE_FRAC

SCALE_TOP = 128
"""Largest log-scale of a network in 1/16 octave: 8 octaves, 256 grey levels."""
_LIMIT = round(COEFFICIENT_MAX * 2**CHAIN_FRAC)
_SHARED = 1 << 17
"""Outputs of a network above which threads share the work on them."""


_Given = tuple[
    list[np.ndarray],
    np.ndarray,
    int,
    np.ndarray,
    np.ndarray,
    np.ndarray,
    list[np.ndarray],
    np.ndarray,
    int,
]

VARIANCE_BITS = 64


@cache
def rounded_variances() -> tuple[int, ...]:
    """For each log-scale from ``SCALE_MIN`` to ``SCALE_TOP`` the variance of the rounded logistic, in 1/2**64."""
    one = 1 << VARIANCE_BITS
    eighth = 2 * one  # becomes 2**(1/8)
    for _ in range(3):
        eighth = isqrt(eighth * one)
    variances = []
    for scale in range(SCALE_MIN, SCALE_TOP + 1):
        square = one  # becomes 2**(scale / 8), the square of the logistic's scale
        for _ in range(abs(scale)):
            square = square * eighth // one
        square = square if scale >= 0 else one * one // square
        # The variance is pi**2 / 3 times that, plus 1/12 for the rounding of samples.
        variances.append(square * 3290 // 1000 + one // 12)
    return tuple(variances)


class Mixture(NamedTuple):
    """A mixture of K logistics for each position, of values 0..255 or 0..``top``.

    ``weights``, ``centres``, ``scales`` are int32 (K, ...), as in ``coders.logistic.LogisticMixture``; centres are
    limited to ``DISTANT``. With ``top``, the first and the last value have the tails of the distribution.
    """

    weights: np.ndarray
    centres: np.ndarray
    scales: np.ndarray
    top: int | None = None

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Mixture:
        """The mixture with ``change`` applied to weights, centres and scales."""
        return Mixture(change(self.weights), change(self.centres), change(self.scales), self.top)

    def flat(self, h: int, w: int) -> Mixture:
        """The first ``h`` rows and ``w`` columns, flattened: (K, h * w)."""
        return self.each(lambda part: part[:, :h, :w].reshape(len(part), h * w))

    def limited(self, log_gain: int = 0, of: np.ndarray | None = None, offsets: np.ndarray | None = None) -> Mixture:
        """With log-scales (K, h, w) clamped to the range of networks, shifted by ``log_gain``, and then those
        ``offsets`` added, int (axes, CLASSES), that belong to the classes ``of`` positions, uint8 (axes, h, w)."""
        return self._replace(scales=limited(self.scales, SCALE_MIN + log_gain, SCALE_TOP + log_gain, of, offsets))

    def coder(self, whole: bool = False, cells: np.ndarray | None = None) -> LogisticMixture:
        """The distribution of flattened positions; ``whole`` and ``cells`` as in ``LogisticMixture``."""
        if self.top is None:
            whole |= cells is not None
            return LogisticMixture(self.weights, self.centres, self.scales, 256, whole=whole, cells=cells)
        return LogisticMixture(self.weights, self.centres, self.scales, self.top + 1, clipped=True)

    def mean(self) -> np.ndarray:
        """Weighted mean of the centres, int64 (...)."""
        mean: np.ndarray = (self.weights.astype(np.int64) * self.centres).sum(axis=0) >> 16
        return mean


class Parameters(Protocol):
    """What a network predicts of one band of one tile."""

    def coded(self) -> Mixture:
        """The mixture that codes the band if there is no side information."""


class Before(NamedTuple):
    """A band before another one: its samples, int32 (h, w), and what lies near."""

    values: np.ndarray
    near: Near

    def residuals(self) -> np.ndarray:
        """Distances from the baseline in quarters, int64 (h, w)."""
        distances: np.ndarray = (self.values.astype(np.int64) << 2) - self.near.total
        return distances


class Bands(Protocol):
    """The bands of a component in coding order: ``parameters`` of a band, then ``accept`` its samples, and so on."""

    def parameters(self, band: int) -> Sequence[Parameters]:
        """Parameters of the band for each tile, or one for all tiles, stacked below each other."""

    def accept(self, band: int, values: np.ndarray) -> None:
        """Take the samples of the band, int32 (N, h, w), which may have fewer rows and columns than the parameters."""


@dataclass(frozen=True, eq=False)
class BandParameters:
    """Parameters of a band that has its own output layer, at each position of a tile.

    Parameters
    ----------
    weights, means, scales
        int32 (K, h, w); means and scales are those of coded samples.
    chain
        int32 (band, h, w) in 1/64.
    filters
        int32 (TAPS, h, w) in 1/64.
    near
        What lies near.
    before
        For each band before: its samples, int32 (h, w), and what lies near.
    mapping
        Dynamic-range mapping of the samples, None for samples of 8 bits.
    is_set
        Whether these are many images, stacked below each other.
    """

    weights: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    chain: np.ndarray
    filters: np.ndarray
    near: Near
    before: list[Before]
    mapping: RangeMapping | None = None
    is_set: bool = False

    @staticmethod
    def read(
        outputs: Outputs, near: Near, before: list[Before], mapping: RangeMapping | None = None, is_set: bool = False
    ) -> BandParameters:
        """Parameters from the outputs of a network for coded samples; the others as in the class."""
        return BandParameters(*outputs, near, before, mapping, is_set)

    @staticmethod
    def predicted(
        near: Near,
        outputs: np.ndarray,
        mixtures: int,
        before: list[Before],
        mapping: RangeMapping | None = None,
        is_set: bool = False,
    ) -> BandParameters:
        """Parameters of images stacked below each other, from an output layer's results for the band, int32 (n, h, w,
        outputs), for mixtures of so many; the others as in the class."""
        work = compiled()
        if work is None:
            predicted = Outputs.of(band_rows(outputs), mixtures).unmapped(near.total, mapping)
            return BandParameters.read(predicted, near, before, mapping, is_set)
        gain = 0 if mapping is None else mapping.log_gain
        planes = outputs.transpose(3, 0, 1, 2)
        if planes.strides[3] != planes.itemsize:  # those of the compiled core lie so
            planes = np.ascontiguousarray(planes)
        own = work.parameters(
            *near.samples,
            planes,
            mixtures,
            [int32(values) for values, _ in before],
            _LIMIT,
            (SCALE_MIN + gain, SCALE_TOP + gain),
            numbers_of(mapping),
            gate.spare(gate.threads()) if outputs.size > _SHARED else 1,
        )
        total = own[0]
        weights, centres, coded, *unmapped = (own[at : at + mixtures] for at in range(1, len(own), mixtures))
        told = planes.reshape(len(planes), *total.shape)
        links = 3 * mixtures
        means, scales = unmapped or (told[mixtures : 2 * mixtures], told[2 * mixtures : links])
        chain, filters = told[links:-TAPS], told[-TAPS:]
        found = BandParameters(weights, means, scales, chain, filters, near, before, mapping, is_set)
        top = None if mapping is None else mapping.top
        found.__dict__["total"] = total
        found.__dict__["plain"] = Mixture(weights, centres, scales, top)
        found.__dict__["_coded"] = Mixture(weights, centres, coded, top)
        return found

    @cached_property
    def total(self) -> np.ndarray:
        """The sum of the four nearest samples, int32 (h, w)."""
        return self.near.total

    @cached_property
    def classes(self) -> np.ndarray:
        """The class of every position along each axis, uint8 (axes, h, w), below ``CLASSES``.

        For 8 bits there are two axes, the brightness of a position and its predicted noise, with classes of equal size
        over the whole tile. For 16 bits there is brightness alone: the noise of a sensor grows with the light, in
        proportions that 8-bit samples never show. In a set of images there is a single class.
        """
        if self.is_set:
            return np.zeros((1, *self.total.shape), np.uint8)
        return classes(self.total, self.weights, self.scales, self.mapping)

    def at(self, rows: slice, columns: slice) -> BandParameters:
        """The parameters at some of the positions. Their ``classes`` are not those of the whole."""

        def cut(part: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(part[..., rows, columns])

        parts: dict[str, Any] = {name: cut(getattr(self, name)) for name in _ARRAYS}
        before = [Before(cut(values), near.at(rows, columns)) for values, near in self.before]
        return replace(self, **parts, near=self.near.at(rows, columns), before=before)

    @property
    def axes(self) -> int:
        """Number of axes of ``classes``."""
        return 2 if self.mapping is None and not self.is_set else 1

    def coded(self) -> Mixture:
        """See ``Parameters``."""
        return self._coded

    @cached_property
    def _coded(self) -> Mixture:
        return self.plain.limited(self.log_gain)

    @property
    def log_gain(self) -> int:
        """That of the mapping; 0 without one."""
        return 0 if self.mapping is None else self.mapping.log_gain

    @property
    def offsets(self) -> int:
        """How many offsets ``mixture`` takes: one for the means, one for each coefficient of chain and filter."""
        return 1 + len(self.chain) + len(self.filters)

    def _coefficients(self, offsets: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        chain, filters = self.chain, self.filters
        if offsets is not None:
            moves = offsets[1:, None, None].astype(np.int32)
            chain, filters = chain + moves[: len(chain)], filters + moves[len(chain) :]
        return _limited(chain), _limited(filters)

    @cached_property
    def plain(self) -> Mixture:
        """The mixture without offsets."""
        return self._mixture(None)

    def mixture(self, offsets: np.ndarray | None = None) -> Mixture:
        """The mixture with int64 (offsets,) added to the means and to the coefficients of chain and filter."""
        return self.plain if offsets is None else self._mixture(offsets)

    def _mixture(self, offsets: np.ndarray | None) -> Mixture:
        top = None if self.mapping is None else self.mapping.top
        return Mixture(self.weights, self._centres(offsets), self.scales, top)

    def _centres(self, offsets: np.ndarray | None) -> np.ndarray:
        work = compiled()
        if work is not None:
            return work.centres(*self._given(offsets))
        chain, filters = self._coefficients(offsets)
        moved = _filtered(filters, self.near.taps) << CHAIN_FRAC
        for coefficients, before in zip(chain, self.before, strict=True):
            moved += coefficients * ((before.residuals() << CHAIN_FRAC) - _filtered(filters, before.near.taps))
        shift = (self.total.astype(np.int64) << (CENTRE_FRAC - 2)) + (moved >> (CHAIN_FRAC + 2))
        if offsets is not None:
            shift += self._mean_offset(offsets)
        return as_centres(self.means + shift)

    def _given(self, offsets: np.ndarray | None) -> _Given:
        """What compiled code makes centres of."""
        moved = np.zeros(self.offsets, np.int64)
        if offsets is not None:
            moved[0], moved[1:] = self._mean_offset(offsets), offsets[1:]
        own = int32(self.means), int32(self.chain), int32(self.filters), [int32(values) for values, _ in self.before]
        return *self.near.samples, self.near.rows.step, *own, moved, _LIMIT

    def _mean_offset(self, offsets: np.ndarray) -> int:
        offset = int(offsets[0])
        return offset if self.mapping is None else offset * self.mapping.gain >> GAIN_FRAC

    def slopes(self) -> np.ndarray:
        """Derivatives of the centres by the offsets, in 1/256 of a grey level (of mapped samples): int32 (offsets, h,
        w)."""
        work = compiled()
        if work is not None:
            return work.slopes(*self._given(None), numbers_of(self.mapping))
        chain, filters = self._coefficients(None)
        left = self.near.taps.astype(np.int64)
        chained = []
        for coefficients, before in zip(chain, self.before, strict=True):
            chained.append(before.residuals() - (_filtered(filters, before.near.taps) >> CHAIN_FRAC))
            left -= (coefficients * before.near.taps) >> CHAIN_FRAC
        if self.mapping is not None:
            left = (left << GAIN_FRAC) // self.mapping.gain
            chained = [(part << GAIN_FRAC) // self.mapping.gain for part in chained]
        return np.stack([np.full_like(self.total, 4), *chained, *left]).astype(np.int32)


_ARRAYS = ("weights", "means", "scales", "chain", "filters")
"""The fields of ``BandParameters`` that are arrays (..., h, w)."""


def int32(numbers: np.ndarray) -> np.ndarray:
    """Numbers as compiled code takes them, int32 of the same shape."""
    return np.ascontiguousarray(numbers, np.int32)


def _limited(coefficients: np.ndarray) -> np.ndarray:
    """Coefficients clamped to their limit; the same array if none is beyond it, which is usual."""
    if not coefficients.size or -_LIMIT <= coefficients.min() and coefficients.max() <= _LIMIT:
        return coefficients
    limited: np.ndarray = np.minimum(np.maximum(coefficients, -_LIMIT), _LIMIT)
    return limited


def _filtered(filters: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Sum over the taps, int64 (h, w)."""
    # In int32: 12 taps of at most 4 * 65535 quarters times 255 are below 2**31.
    total: np.ndarray = np.einsum("thw,thw->hw", filters, deviations)
    return total.astype(np.int64)
