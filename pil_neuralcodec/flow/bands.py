"""What networks predict of a component: for each band its mixture of logistics, given the bands before it.

Centres are in 1/64 of a grey level, filters and chains in integers of 1/64. With ``total`` the sum of the four nearest
samples, ``t`` how far a tap lies from their mean and ``r`` how far a band before lies from its own, both in quarters
of a level, ``f`` the filter's coefficients and ``c`` the chain's:

    centre = mean + 16 total + (64 (sum_j f_j t_j + sum_i c_i r_i) - sum_i c_i sum_j f_j t_ij) >> 8

so the filter sees what the chain leaves of the band, its difference from the bands before, which is smoother.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..coders.logistic import CENTRE_FRAC, SCALE_MAX, SCALE_MIN, LogisticMixture, mixture_weights
from ..nets.backends import Network
from .architecture import CHAIN_FRAC, CHANNELS, COEFFICIENT_MAX, MEAN_FRAC, Pyramid
from .polyphase import extend, taps
from .range_mapping import GAIN_FRAC, RangeMapping, seen_as

assert MEAN_FRAC - 2 == CENTRE_FRAC  # a mean's unit is 4 grey levels, so its integers count 1/64 levels
assert CHAIN_FRAC == CENTRE_FRAC

SCALE_TOP = 128
"""Log-scales that networks give end at 8 octaves, 256 grey levels."""
CLASSES = 8
"""Classes of positions along an axis, to which log-scales are adapted; see ``adaptation``."""
_LIMIT = round(COEFFICIENT_MAX * 2**CHAIN_FRAC)
_BLOCK = 1024
"""Positions that are turned into rows at once: they fit the cache, which makes it three times as fast."""


class Mixture(NamedTuple):
    """Parameters of ``coders.logistic.LogisticMixture`` on positions, mostly of a plane: int64 (K, ...) each.

    Of values 0..255, or 0..``top``, clipped there.
    """

    weights: np.ndarray
    centres: np.ndarray
    scales: np.ndarray
    top: int | None = None

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> Mixture:
        """With all three parameters changed likewise."""
        return Mixture(change(self.weights), change(self.centres), change(self.scales), self.top)

    def flat(self, h: int, w: int) -> Mixture:
        """The first ``h`` x ``w`` positions of a plane, in one row."""
        return self.each(lambda part: part[:, :h, :w].reshape(len(part), h * w))

    def limited(self, octaves: int = 0, offset: int | np.ndarray = 0) -> Mixture:
        """With log-scales limited to what networks may give, of samples of which ``2**(octaves / 16)`` make a tone, and
        ``offset`` added to them, one for all or (...)."""
        scales = np.minimum(np.maximum(self.scales, SCALE_MIN + octaves), SCALE_TOP + octaves) + offset
        return self._replace(scales=scales)

    def coder(self) -> LogisticMixture:
        """Of positions in a row."""
        if self.top is None:
            return LogisticMixture(self.weights, self.centres, self.scales, 256)
        return LogisticMixture(self.weights, self.centres, self.scales, self.top + 1, clipped=True)

    def mean(self) -> np.ndarray:
        """Weighted mean of the centres, int64 (h, w)."""
        mean: np.ndarray = (self.weights * self.centres).sum(axis=0) >> 16
        return mean


class Parameters(Protocol):
    """What a network predicts of one band of one tile."""

    def coded(self) -> Mixture:
        """The mixture that codes the band where there is no side information."""


class Bands(Protocol):
    """The bands of a component in coding order: ask for a band's parameters, say what it is, go on with the next."""

    def parameters(self, band: int) -> list[Parameters]:
        """Of each tile, on the planes that networks see; or of all together, one tile's plane below the other."""

    def accept(self, band: int, values: np.ndarray) -> None:
        """The band's samples, int32 (N, h, w), perhaps smaller than the planes that networks see."""


def runs_of(tiles: int, together: bool) -> list[slice]:
    """The tiles whose planes lie below each other."""
    return [slice(0, tiles)] if together else [slice(i, i + 1) for i in range(tiles)]


def below(planes: np.ndarray) -> np.ndarray:
    """(..., n, h, w) as (..., n * h, w)."""
    return planes.reshape(*planes.shape[:-3], -1, planes.shape[-1])


@dataclass(frozen=True)
class BandParameters:
    """Of a band's own head: what ``mixture`` combines, on a plane of positions.

    ``weights``, ``means``, ``scales`` int64 (K, h, w); ``chain`` int64 (band, h, w) and ``filters`` int32 (TAPS, h, w)
    in 1/64; ``total`` int32 (h, w) and ``taps`` int32 (TAPS, h, w) of the band; ``before``, of each band before: how
    far it lies from its baseline, int32 (h, w), and its taps. Lengths of taps and ``before`` are in quarters.
    ``mapping``: how networks see the samples, if not as they are; means and scales are those of samples. ``is_set``:
    the plane holds many images, one below the other.
    """

    weights: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    chain: np.ndarray
    filters: np.ndarray
    total: np.ndarray
    taps: np.ndarray
    before: list[tuple[np.ndarray, np.ndarray]]
    mapping: RangeMapping | None = None
    is_set: bool = False

    @staticmethod
    def read(
        rows: np.ndarray,
        mixtures: int,
        total: np.ndarray,
        deviations: np.ndarray,
        before: list[tuple[np.ndarray, np.ndarray]],
        mapping: RangeMapping | None = None,
        is_set: bool = False,
    ) -> BandParameters:
        """From a network's outputs, ``rows`` int64 (outputs, h, w), the neighbours, and the bands before."""
        k, band = mixtures, len(before)
        means, scales = rows[k : 2 * k], rows[2 * k : 3 * k]
        if mapping is not None:
            means = means * mapping.gain >> GAIN_FRAC
            # Among samples at an end of the range the next is there too, or would lie beyond.
            clipped = (total == 4 * mapping.top).astype(np.int64) - (total == 0)
            means += (clipped * mapping.gain << CENTRE_FRAC) >> (GAIN_FRAC + 2)
            scales = scales + mapping.octaves
        return BandParameters(
            plane_weights(rows[:k]),
            means,
            scales,
            rows[3 * k : 3 * k + band],
            rows[3 * k + band :].astype(np.int32),
            total,
            deviations,
            before,
            mapping,
            is_set,
        )

    @cached_property
    def classes(self) -> np.ndarray:
        """The class of every position along each axis, int64 (axes, h, w), numbers below ``CLASSES``.

        Classes are of equal size, by how bright positions are and by how noisy they are expected to be. With a mapping
        there is one axis, by brightness alone: the noise of sensors grows with the light, in proportions that samples
        of 8 bits never show. Of a set of images there is one class. Of the plane as a whole, not of a part ``at``.
        """
        if self.is_set:
            return np.zeros((1, *self.total.shape), np.int64)
        if self.mapping is not None:
            return self.mapping.light(self.total)[None]
        octaves = (self.weights * self.scales).sum(axis=0) >> 16
        noise = np.minimum(np.maximum(octaves, SCALE_MIN), SCALE_MAX) - SCALE_MIN
        return np.stack([_ranked(self.total), _ranked(noise)])

    def at(self, rows: slice, columns: slice) -> BandParameters:
        """The same at some of the positions."""
        return self.each(lambda plane: plane[..., rows, columns])

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> BandParameters:
        """With all planes (..., h, w) changed likewise."""
        weights, means, scales, chain, filters, total, deviations = (
            change(plane)
            for plane in (self.weights, self.means, self.scales, self.chain, self.filters, self.total, self.taps)
        )
        before = [(change(moved), change(part)) for moved, part in self.before]
        return replace(
            self,
            weights=weights,
            means=means,
            scales=scales,
            chain=chain,
            filters=filters,
            total=total,
            taps=deviations,
            before=before,
        )

    @property
    def axes(self) -> int:
        """Along how many axes there are ``classes``."""
        return 2 if self.mapping is None and not self.is_set else 1

    @property
    def octaves(self) -> int:
        """How many samples make a tone, log2 in 1/16."""
        return 0 if self.mapping is None else self.mapping.octaves

    def coded(self) -> Mixture:
        """As of ``Parameters``."""
        return self.plain.limited(self.octaves)

    @property
    def offsets(self) -> int:
        """How many numbers ``mixture`` takes: one for the means, one for each coefficient of the chain and filter."""
        return 1 + len(self.chain) + len(self.filters)

    def _coefficients(self, offsets: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        chain, filters = self.chain, self.filters
        if offsets is not None:
            chain = chain + offsets[1 : 1 + len(chain), None, None]
            filters = filters + offsets[1 + len(chain) :, None, None].astype(np.int32)
        return _limited(chain), _limited(filters)

    @cached_property
    def plain(self) -> Mixture:
        """The mixture as the network has it."""
        return self._mixture(None)

    def mixture(self, offsets: np.ndarray | None = None) -> Mixture:
        """As the network has it, or with int64 (offsets,) added everywhere: to the means, the chain, the filter."""
        return self.plain if offsets is None else self._mixture(offsets)

    def _mixture(self, offsets: np.ndarray | None) -> Mixture:
        chain, filters = self._coefficients(offsets)
        moved = _filtered(filters, self.taps) << CHAIN_FRAC
        for coefficients, (residuals, deviations) in zip(chain, self.before, strict=True):
            moved += coefficients * ((residuals.astype(np.int64) << CHAIN_FRAC) - _filtered(filters, deviations))
        shift = (self.total.astype(np.int64) << (CENTRE_FRAC - 2)) + (moved >> (CHAIN_FRAC + 2))
        if offsets is not None:
            shift += offsets[0] if self.mapping is None else offsets[0] * self.mapping.gain >> GAIN_FRAC
        return Mixture(
            self.weights, self.means + shift, self.scales, None if self.mapping is None else self.mapping.top
        )

    def slopes(self) -> np.ndarray:
        """How much an offset of one moves the centres, in 1/256 of a tone: int64 (offsets, h, w)."""
        chain, filters = self._coefficients(None)
        left = self.taps.astype(np.int64)
        chained = []
        for coefficients, (residuals, deviations) in zip(chain, self.before, strict=True):
            chained.append(residuals - (_filtered(filters, deviations) >> CHAIN_FRAC))
            left -= (coefficients * deviations) >> CHAIN_FRAC
        if self.mapping is not None:
            left = (left << GAIN_FRAC) // self.mapping.gain
            chained = [(part << GAIN_FRAC) // self.mapping.gain for part in chained]
        return np.stack([np.full_like(self.total, 4, dtype=np.int64), *chained, *left])


class NetworkBands:
    """``Bands`` by the output layers of a pyramid.

    Parameters
    ----------
    net, stage, features : the stage, and its features.
    known, base : the components known, and the baseline in what networks see: int32 (N, 3, h, w) each.
    mappings : for each tile how networks see its samples, if not as they are; not ``together``.
    together : parameters of all tiles come as one plane (N * h, w), which is much faster for many small tiles.
    """

    def __init__(
        self,
        network: Network[Any],
        architecture: Pyramid,
        net: int,
        stage: int,
        features: Any,
        known: list[np.ndarray],
        base: np.ndarray,
        mappings: Sequence[RangeMapping] | None,
        together: bool,
    ) -> None:
        self._network, self._architecture = network, architecture
        self._net, self._stage = net, stage
        self._features, self._known, self._base, self._mappings = features, known, base, mappings
        self._together, self._runs = together, runs_of(len(base), together)
        self._seen: list[np.ndarray] = []
        self._found: list[BandParameters] = []
        self._before: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in self._runs]

    def parameters(self, band: int) -> list[Parameters]:
        """As of ``Bands``."""
        pixels = None
        if band:
            pixels = self._network.from_pixels(np.ascontiguousarray(np.stack(self._seen, axis=-1)))
        self._features, out = self._architecture.band_outputs(
            self._network, self._net, self._stage, band, self._features, pixels
        )
        self._found = []
        outputs = self._network.to_numpy(out)
        mappings: Sequence[RangeMapping | None] = self._mappings or [None] * len(self._runs)
        for tiles, before, mapping in zip(self._runs, self._before, mappings, strict=True):
            total, deviations = (below(part) for part in taps([plane[tiles, band] for plane in self._known]))
            self._found.append(
                BandParameters.read(
                    band_rows(outputs[tiles]),
                    self._architecture.mixtures,
                    total,
                    deviations,
                    list(before),
                    mapping,
                    self._together,
                )
            )
        return [*self._found]

    def accept(self, band: int, values: np.ndarray) -> None:
        """As of ``Bands``."""
        if band + 1 == CHANNELS:
            return
        values = extend(values, self._known[0][:, band])
        for before, found, tiles in zip(self._before, self._found, self._runs, strict=True):
            before.append((4 * below(values[tiles]) - found.total, found.taps))
        means = np.concatenate([found.plain.mean() for found in self._found]).reshape(values.shape)
        half = 1 << (CENTRE_FRAC - 1)
        if self._mappings is None:
            surprise = ((values.astype(np.int64) << CENTRE_FRAC) - means + half) >> CENTRE_FRAC
        else:
            expected = (means + half) >> CENTRE_FRAC
            tones = seen_as(self._mappings, values)
            surprise = tones - seen_as(self._mappings, expected)
            values = tones
        moved = values - self._base[:, band]
        self._seen += [np.clip(x, -128, 127).astype(np.int8) for x in (moved, surprise)]


def _ranked(plane: np.ndarray) -> np.ndarray:
    """The share of positions with smaller numbers than each, in 1/CLASSES, int64 (h, w); numbers are small and not
    negative."""
    counts = np.bincount(plane.reshape(-1))
    ranked: np.ndarray = ((np.cumsum(counts) - counts) * CLASSES // plane.size)[plane]
    return ranked


def _limited(coefficients: np.ndarray) -> np.ndarray:
    """Clamped to what heads may give; the same array where nothing is beyond, which is usual."""
    if not coefficients.size or -_LIMIT <= coefficients.min() and coefficients.max() <= _LIMIT:
        return coefficients
    limited: np.ndarray = np.minimum(np.maximum(coefficients, -_LIMIT), _LIMIT)
    return limited


def _filtered(filters: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Sum over the taps, int64 (h, w)."""
    # In int32: 12 taps of at most 4 * 65535 quarters times 255 are below 2**31.
    total: np.ndarray = np.einsum("thw,thw->hw", filters, deviations)
    return total.astype(np.int64)


def band_rows(outputs: np.ndarray) -> np.ndarray:
    """A head's outputs (n, h, w, outputs) as int64 (outputs, n * h, w)."""
    n, height, width, count = outputs.shape
    positions = outputs.reshape(-1, count)
    rows = np.empty((count, len(positions)), np.int64)
    for at in range(0, len(positions), _BLOCK):
        rows[:, at : at + _BLOCK] = positions[at : at + _BLOCK].T
    return rows.reshape(count, n * height, width)


def plane_weights(logits: np.ndarray) -> np.ndarray:
    """``mixture_weights`` of planes int64 (K, h, w), likewise."""
    return mixture_weights(logits.reshape(len(logits), -1)).reshape(logits.shape)
