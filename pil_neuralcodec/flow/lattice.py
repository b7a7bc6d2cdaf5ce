"""A colour conversion as a prior: most photographs on the web were JPEG files, and then were shrunk.

Where such an image is smooth, its pixels still are what the conversion makes of luma and chroma: on its lattice, which
has a quarter of all colours or less. Where it is not, resampling has moved them off. So of the values that the last of
three bands may have, given the two before, those on the lattice are more likely, the more so the more of the nearest
known pixels lie on it. By how much is learned, of each number of them apart, from component to component.

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
from .architecture import CHANNELS
from .bands import Mixture
from .level_planes import LevelPlanes
from .pyramid import Stage

if TYPE_CHECKING:
    from .. import _native

_LAST = CHANNELS - 1
_LEVELS = 3
"""Number of finest levels that have a prior."""
_SMALLEST = 1024
"""Positions of a component that has one."""
_WINDOW = 15
"""Values of a distribution that are weighed."""
_ONE = 256
"""Weight of a value on the lattice."""
_OCTAVE = 1024
_MOST = 8 * _OCTAVE
"""Of what is learned, in 1/1024 octave."""
_WEIGHTS = np.array([power_of_two(-step, 8) for step in range(8 * 16 + 1)], np.int64)
"""Weights of values off the lattice, of each 16th of an octave by which they are less likely."""
_FIRST = (148, 591, 1182, 1773, 2659)
"""What is learned begins with this, in 1/1024 octave, by how many of the nearest pixels are on the lattice."""
_PRIOR = 20 << 16
"""Of the second derivative that is known before there is a sample, in 1/65536."""
_STEP = 1477
"""1024 / ln 2: from a Newton step to 1/1024 octave."""


class Prior(NamedTuple):
    """What is known of the last band of (h, w) pixels before it is coded.

    Parameters
    ----------
    past
        The conversion.
    green, red
        The bands before, int32 (h, w).
    weights
        Of values off the lattice, where those on it have 256: int32 (h, w).
    shares
        To be filled in with how likely the lattice was, in 1/65536: int32 (h, w).
    """

    past: Past
    green: np.ndarray
    red: np.ndarray
    weights: np.ndarray
    shares: np.ndarray

    def at(self, row: int, half: int) -> Prior:
        """That of a half row, views of (columns,)."""
        return Prior(self.past, *(part[row, half::2] for part in self[1:]))

    def flat(self) -> Prior:
        """That of all pixels, one after the other: views of (h * w,)."""
        return Prior(self.past, *(part.reshape(-1) for part in self[1:]))

    def compiled(self) -> tuple[_native.Lattice, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The same for compiled code."""
        return compiled_lattice(self.past), self.green, self.red, self.weights, self.shares


class TileLattice:
    """Which known pixels of a tile of ``sides`` (h, w) lie on the lattice of a conversion, and what that has taught."""

    def __init__(self, past: Past, sides: tuple[int, int]) -> None:
        self._past = past
        self._known = LevelPlanes(sides)
        self._before: list[np.ndarray] = []
        self._near = np.zeros((0, 0), np.int32)
        """How many of the nearest pixels are on the lattice, of the component that is coded."""
        self._logs = np.array(_FIRST, np.int64)
        self._curvatures = np.zeros(len(_FIRST), np.int64)

    def prior(self, stage: Stage, band: int) -> Prior | None:
        """That of a band, whose component's other bands are put; None where there is none."""
        if band != _LAST or stage.level >= _LEVELS or self._before[0].size < _SMALLEST:
            return None
        green, red = self._before
        self._near = self._known.nearest(stage, 0).sum(axis=0)
        weights = _WEIGHTS[(self._logs + 32) >> 6].astype(np.int32)
        return Prior(self._past, green, red, weights[self._near], np.empty_like(green))

    def put(self, stage: Stage, band: int, values: np.ndarray, prior: Prior | None) -> None:
        """Take a band of a component, integers (h, w), coded by what ``prior`` gave, whose ``shares`` are filled in."""
        if band < _LAST:
            self._before = [*self._before[:band], np.ascontiguousarray(values, np.int32)]
            return
        green, red = self._before
        on = _covers(self._past, green, red, np.ascontiguousarray(values, np.int32))
        if prior is not None:
            self._learn(on, prior.shares)
        self._known.put(stage, 0, on)

    def _learn(self, on: np.ndarray, shares: np.ndarray) -> None:
        """A Newton step along the gradient of the code length, of all positions (h, w)."""
        slopes = self._sums((on.astype(np.int32) << 16) - shares)
        self._curvatures = (self._curvatures >> 2) + self._sums(shares * ((1 << 16) - shares) >> 16) + _PRIOR
        self._logs = (self._logs + _STEP * slopes // self._curvatures).clip(0, _MOST)

    def _sums(self, numbers: np.ndarray) -> np.ndarray:
        """Of integers (h, w), by how many of the nearest pixels are on the lattice: int64 (5,)."""
        # Exact: sums of integers below 2**53.
        return np.bincount(self._near.reshape(-1), numbers.reshape(-1), len(_FIRST)).astype(np.int64)


def has_prior(sides: tuple[int, int]) -> bool:
    """Whether a tile of ``sides`` (h, w) has components that are large enough."""
    h, w = Stage(0, 1).shape(sides)
    return h * w >= _SMALLEST


class LatticeDistribution:
    """The distributions of the last band of ``n`` pixels: those ``of`` values 0 .. 255, weighed by a flat ``prior``.

    This fills in the prior's ``shares``."""

    bits = TOTAL_BITS

    def __init__(self, of: LogisticMixture, mixture: Mixture, prior: Prior) -> None:
        """``mixture`` (K, n) says where the windows are."""
        self._of = of
        self._low = np.clip(_middles(mixture) - _WINDOW // 2, 0, 256 - _WINDOW)
        values = self._low + np.arange(_WINDOW + 1)[:, None]
        edges = np.stack([of.lower(each) for each in values])
        on = lattice(prior.past)[_numbers(prior.green, prior.red, values[:-1])]
        freq = np.diff(edges, axis=0)
        weighed = freq * np.where(on, _ONE, prior.weights)
        sums = np.concatenate([np.zeros_like(edges[:1]), weighed.cumsum(axis=0)])
        prior.shares[:] = ((weighed * on).sum(axis=0) << 16) // sums[-1]
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
    return source.get(prior.green.size, Compiled(compiled, TOTAL_BITS))


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
