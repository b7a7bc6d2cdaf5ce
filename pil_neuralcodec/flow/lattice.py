"""A colour conversion as a prior: most photographs on the web were JPEG files, and then were shrunk.

Where such an image is smooth, its pixels still are what the conversion makes of luma and chroma: on its lattice, which
has a quarter of all colours or less, and of the same chroma as pixels beside them, so that R - G is the same to the
integer. Where it is not, resampling has moved them off. So some values are *likely*: of R those that are as far from G
as at one of the four nearest pixels, of B those that are on the lattice, with the G and R of the pixel. They are the
more likely, the more of the nearest pixels lie on the lattice. By how much is learned, for each number of these apart,
from component to component.

A distribution is changed within a window around its mean. It keeps the window's share.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import native
from ..coders.engine import Compiled
from ..coders.logistic import CENTRE_FRAC, DISTANT, TOTAL_BITS, LogisticMixture, compiled_tables, power_of_two
from ..coders.symbols import SymbolSink, SymbolSource
from ..colour.conversions import Past, conversion
from .architecture import STAGES
from .bands import Mixture
from .level_planes import LevelPlanes
from .pyramid import Stage

if TYPE_CHECKING:
    from .. import _native

_RED, _BLUE = 1, 2
"""Bands in coding order."""
_LEVELS = 3
"""Number of finest levels that have priors."""
_SMALLEST = 1024
"""Positions of a component that has them."""
_WINDOW = 7
"""Values of a distribution that are weighed."""
_ONE = 256
"""Weight of a likely value."""
_MOST = 8 << 10
"""Of what is learned, in 1/1024 octave."""
_WEIGHTS = np.array([power_of_two(-step, 8) for step in range(8 * 16 + 1)], np.int32)
"""Weights of other values, of each 16th of an octave by which they are less likely."""
_FIRST = (148, 591, 1182, 1773, 2659)
"""What is learned begins with this, in 1/1024 octave, by how many of the nearest pixels are on the lattice."""
_PRIOR = 20 << 16
"""Of the second derivative that is known before there is a sample, in 1/65536."""
_STEP = 1477
"""1024 / ln 2: from a Newton step to 1/1024 octave."""


class Prior(NamedTuple):
    """What is known of a band of (h, w) pixels before it is coded.

    Parameters
    ----------
    past
        The conversion on whose lattice likely values are; ``Past.NONE`` where they are told.
    known
        G and R, int32 (2, h, w), or four likely values, int32 (4, h, w).
    weights
        Of other values, where likely ones have 256: int32 (h, w).
    shares
        To be filled in with how likely those were in all, in 1/65536: int32 (h, w).
    """

    past: Past
    known: np.ndarray
    weights: np.ndarray
    shares: np.ndarray

    def at(self, row: int, half: int) -> Prior:
        """That of a half row, views of (columns,)."""
        return Prior(self.past, *(part[..., row, half::2] for part in self[1:]))

    def flat(self) -> Prior:
        """That of all pixels, one after the other: views of (h * w,)."""
        return Prior(self.past, self.known.reshape(len(self.known), -1), *(part.reshape(-1) for part in self[2:]))

    def compiled(self) -> tuple[_native.Lattice | None, np.ndarray, np.ndarray, np.ndarray]:
        """The same for compiled code."""
        return None if self.past is Past.NONE else compiled_lattice(self.past), *self[1:]

    def likely(self, values: np.ndarray) -> np.ndarray:
        """Which of ``values`` (m, n) of each pixel are likely, bool (m, n); of a flat prior."""
        if self.past is Past.NONE:
            found: np.ndarray = (values[:, None] == self.known).any(axis=1)
            return found
        green, red = self.known
        covered: np.ndarray = lattice(self.past)[_numbers(green, red, values)]
        return covered


class TileLattice:
    """Which known pixels of a tile of ``sides`` (h, w) lie on the lattice of a conversion, and what that has taught."""

    def __init__(self, past: Past, sides: tuple[int, int]) -> None:
        self._past = past
        self._on, self._differences = LevelPlanes(sides), LevelPlanes(sides)
        """Whether pixels lie on it, and R - G."""
        self._bands: list[np.ndarray] = []
        """Of the component that is coded."""
        self._near = np.zeros((0, 0), np.int32)
        """How many of its nearest pixels are on the lattice."""
        self._learned = {band: _Learned() for band in (_RED, _BLUE)}

    def prior(self, stage: Stage, band: int) -> Prior | None:
        """That of a band, whose component's bands before are put; None where there is none."""
        if band not in self._learned or stage.level >= _LEVELS or self._bands[0].size < _SMALLEST:
            return None
        if band == _RED:
            self._near = self._on.nearest(stage, 0).sum(axis=0, dtype=np.int32)
            past, known = Past.NONE, self._bands[0] + self._differences.nearest(stage, 0)
        else:
            past, known = self._past, np.stack(self._bands)
        return Prior(past, known, self._learned[band].weights()[self._near], np.empty_like(self._near))

    def put(self, stage: Stage, band: int, values: np.ndarray, prior: Prior | None) -> None:
        """Take a band of a component, integers (h, w), coded by what ``prior`` gave, whose ``shares`` are filled in."""
        values = np.ascontiguousarray(values, np.int32)
        if band < _BLUE:
            self._bands = [*self._bands[:band], values]
            likely = np.zeros(0) if prior is None else (prior.known == values).any(axis=0)
        else:
            green, red = self._bands
            likely = _covers(self._past, green, red, values)
            self._on.put(stage, 0, likely)
            self._differences.put(stage, 0, red - green)
        if prior is not None:
            self._learned[band].learn(likely, prior.shares, self._near)


class _Learned:
    """By how much values are less likely that are not of those that are, by how many of the nearest pixels are on the
    lattice."""

    def __init__(self) -> None:
        self._logs = np.array(_FIRST, np.int64)
        self._curvatures = np.zeros(len(_FIRST), np.int64)

    def weights(self) -> np.ndarray:
        """Of these values, int32 (5,)."""
        weights: np.ndarray = _WEIGHTS[(self._logs + 32) >> 6]
        return weights

    def learn(self, likely: np.ndarray, shares: np.ndarray, near: np.ndarray) -> None:
        """A Newton step along the gradient of the code length, of all positions (h, w): whether their value was likely,
        how likely that was, and how many of the nearest pixels are on the lattice."""

        def sums(numbers: np.ndarray) -> np.ndarray:
            # Exact: sums of integers below 2**53.
            return np.bincount(near.reshape(-1), numbers.reshape(-1), len(_FIRST)).astype(np.int64)

        slopes = sums((likely.astype(np.int32) << 16) - shares)
        self._curvatures = (self._curvatures >> 2) + sums(shares * ((1 << 16) - shares) >> 16) + _PRIOR
        self._logs = (self._logs + _STEP * slopes // self._curvatures).clip(0, _MOST)


def has_prior(sides: tuple[int, int]) -> bool:
    """Whether a tile of ``sides`` (h, w) has a component that is large enough."""
    return any(h * w >= _SMALLEST for h, w in (Stage(0, number).shape(sides) for number in range(STAGES)))


class LatticeDistribution:
    """The distributions of a band of ``n`` pixels: those ``of`` values 0 .. 255, weighed by a flat ``prior``.

    This fills in the prior's ``shares``."""

    bits = TOTAL_BITS

    def __init__(self, of: LogisticMixture, mixture: Mixture, prior: Prior) -> None:
        """``mixture`` (K, n) says where the windows are."""
        self._of = of
        self._low = np.clip(_middles(mixture) - _WINDOW // 2, 0, 256 - _WINDOW)
        values = self._low + np.arange(_WINDOW + 1)[:, None]
        edges = np.stack([of.lower(each) for each in values])
        likely = prior.likely(values[:-1])
        freq = np.diff(edges, axis=0)
        weighed = freq * np.where(likely, _ONE, prior.weights)
        sums = np.concatenate([np.zeros_like(edges[:1]), weighed.cumsum(axis=0)])
        prior.shares[:] = ((weighed * likely).sum(axis=0) << 16) // sums[-1]
        share = (edges[-1] - edges[0] - _WINDOW).astype(np.float64) / sums[-1].astype(np.float64)
        moved = (sums.astype(np.float64) * share).astype(np.int64) + edges[0] + np.arange(_WINDOW + 1)[:, None]
        moved[-1] = edges[-1]
        self._edges = moved

    def put(self, sink: SymbolSink, values: np.ndarray) -> None:
        """Put values, int64 (n,)."""
        start, freq = self._of.intervals(values)
        at = values - self._low
        inside = np.flatnonzero((at >= 0) & (at < _WINDOW))
        start[inside] = self._edges[at[inside], inside]
        freq[inside] = self._edges[at[inside] + 1, inside] - start[inside]
        sink.put(start, freq, TOTAL_BITS)

    def get(self, source: SymbolSource) -> np.ndarray:
        """Get what ``put`` put, int64 (n,). Raises ``FormatError`` where the data run out."""
        return source.get(len(self._low), self)

    def find(self, slots: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``Distribution``."""
        symbols, start, freq = self._of.find(slots, low, high)
        edges, target = self._edges[:, low:high], slots.astype(np.int64)
        at = (edges <= target).sum(axis=0) - 1
        inside = np.flatnonzero((at >= 0) & (at < _WINDOW))
        symbols[inside] = self._low[low:high][inside] + at[inside]
        start[inside] = edges[at[inside], inside]
        freq[inside] = edges[at[inside] + 1, inside] - start[inside]
        return symbols, start, freq

    def compiled(self) -> None:
        """None: see ``Distribution``."""


def put_weighed(sink: SymbolSink, mixture: Mixture, values: np.ndarray, prior: Prior) -> None:
    """Code values, int64 (n,), by a flat mixture (K, n) and a flat prior."""
    compiled = _compiled(mixture, prior)
    if compiled is None:
        _distribution(mixture, prior).put(sink, values)
    else:
        start, freq, *_ = compiled.code(np.ascontiguousarray(values))
        sink.put(start, freq, TOTAL_BITS)


def get_weighed(source: SymbolSource, mixture: Mixture, prior: Prior) -> np.ndarray:
    """Decode what ``put_weighed`` coded, int64 (n,)."""
    compiled = _compiled(mixture, prior)
    if compiled is None:
        return _distribution(mixture, prior).get(source)
    return source.get(prior.shares.size, Compiled(compiled, TOTAL_BITS))


def _distribution(mixture: Mixture, prior: Prior) -> LatticeDistribution:
    return LatticeDistribution(mixture.coder(whole=True), mixture, prior)


def _compiled(mixture: Mixture, prior: Prior) -> _native.Mixtures | None:
    kernels = native.fastest()
    if kernels is None:
        return None
    weights, centres, scales = (np.ascontiguousarray(part, np.int32) for part in mixture[:3])
    return compiled_tables(kernels).mixtures(weights, centres, scales, 256, False, True, prior.compiled())


def _middles(mixture: Mixture) -> np.ndarray:
    """Values next to the means of mixtures (K, n), int64 (n,)."""
    near = np.clip(mixture.centres.astype(np.int64), -DISTANT, DISTANT) + (1 << (CENTRE_FRAC - 1))
    middles: np.ndarray = (mixture.weights * near).sum(axis=0) >> (16 + CENTRE_FRAC)
    return middles


def _covers(past: Past, green: np.ndarray, red: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Which pixels of bands int32 (h, w) lie on a lattice: bool (h, w)."""
    if native.fastest() is None:
        covered: np.ndarray = lattice(past)[_numbers(green, red, blue)]
        return covered
    return compiled_lattice(past).covers(green, red, blue)


def _numbers(green: np.ndarray, red: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Where colours stand in ``lattice``."""
    numbers: np.ndarray = (red.astype(np.int32) << 16) + (green.astype(np.int32) << 8) + blue
    return numbers


@cache
def lattice(past: Past) -> np.ndarray:
    """Which of all colours the conversion makes of some planes, bool (2**24,), by 2**16 R + 2**8 G + B."""
    found = np.zeros(1 << 24, bool)
    others = np.stack(np.meshgrid(np.arange(256), np.arange(256), indexing="ij"), axis=-1).astype(np.uint8)
    planes = np.empty((256, 256, 3), np.uint8)
    planes[..., ::2] = others
    for luma in range(256):
        planes[..., 1] = luma
        rgb = conversion(past).to_rgb(planes).astype(np.int32)
        found[_numbers(rgb[..., 1], rgb[..., 0], rgb[..., 2])] = True
    return found


@cache
def compiled_lattice(past: Past) -> _native.Lattice:
    """``lattice`` for compiled code."""
    module = native.core()
    assert module is not None
    made = conversion(past)
    tables = [part.astype(np.int32) for part in (made.luma, made.red, made.blue, made.green_cb, made.green_cr)]
    found: _native.Lattice = module.Lattice(*tables, made.unit)
    return found
