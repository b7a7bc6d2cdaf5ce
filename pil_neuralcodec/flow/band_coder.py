"""Encode and decode components band by band."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeGuard

import numpy as np

from .. import gate
from ..coders.symbols import SymbolSink, SymbolSource
from ..colour.conversions import Past
from .adaptation import SideInformation, adapt
from .architecture import CHANNELS
from .backward import Given, get_adapted, put_adapted
from .bands import BandParameters, Bands, Mixture, Parameters
from .cells import Cells
from .lattice import Prior, TileLattice, get_weighed, has_prior, put_weighed
from .pyramid import Stage
from .surprises import Surprises

_ADAPTED_LEVELS, _BACKWARD_LEVELS = 2, 3
"""Numbers of finest levels that are adapted by side information and backward."""
_ADAPTED_MIN = 1024
"""Positions of a band below which adaptation costs more than it saves."""
_AT_ONCE = 1024
"""Samples below which to hand a band to another thread takes longer than to code it."""
_AHEAD = 3
"""Most bands whose parameters wait for the coder while the network goes on: they take memory."""


class BandCoder(Protocol):
    """Encodes or decodes a band of each tile."""

    def band(self, stage: Stage, band: int, parameters: Sequence[Parameters]) -> np.ndarray:
        """The samples of the band, integers (N, h, w), coded by the ``parameters`` of each tile."""


class BandByBand:
    """A ``ComponentCoder`` that passes the bands of a component to a ``BandCoder``, one by one."""

    def __init__(self, coder: BandCoder, bands: int) -> None:
        self._coder, self._bands = coder, bands

    def component(self, stage: Stage, bands: Bands, features: Any) -> np.ndarray:
        """See ``ComponentCoder``."""
        target = []
        for band in range(self._bands):
            target.append(self._coder.band(stage, band, bands.parameters(band)))
            bands.accept(band, target[-1])
        return np.concatenate([values[:, None] for values in target], axis=1)  # np.stack takes three times as long


class BandEncoder:
    """The encoding ``BandCoder``: ``planes`` int32 (N, bands, h, w), each image into a sink of its own.

    A thread makes the symbols while the network runs on, save those of the coarsest levels. Use it in a ``with``
    statement, whose end waits for them.
    ``backward``: large bands are adapted backward, too, if their samples have 8 bits.
    ``lattices``: the conversion of each image whose lattice is a prior, or none.
    ``cells``: of each image whose samples have cells of unequal widths, those of each band (see `cells`), or none.
    """

    def __init__(
        self,
        planes: np.ndarray,
        sinks: Sequence[SymbolSink],
        backward: bool = False,
        lattices: Sequence[Past] | None = None,
        cells: Sequence[Cells | None] | None = None,
    ) -> None:
        self._planes, self._sinks = planes, sinks
        self._cells = _cells(cells, len(sinks))
        sides = planes.shape[2], planes.shape[3]
        self._surprises = [Surprises(sides) for _ in sinks] if backward else None
        self._lattices = _lattices(lattices, len(sinks), sides)
        self._pool = ThreadPoolExecutor(1)
        self._behind: deque[Future[None]] = deque()

    def band(self, stage: Stage, band: int, parameters: Sequence[Parameters]) -> np.ndarray:
        """See ``BandCoder``."""
        target = stage.cut(self._planes[:, band])
        if not self._behind and target.size < _AT_ONCE:
            self._put(stage, band, parameters, target)
            return target
        put = gate.submitted(self._pool, self._put, stage, band, parameters, target, after=self._behind)
        self._behind.append(put)
        if len(self._behind) > _AHEAD:
            self._behind.popleft().result()
        return target

    def _put(self, stage: Stage, band: int, parameters: Sequence[Parameters], target: np.ndarray) -> None:
        tiles = zip(self._sinks, parameters, target.astype(np.int64), strict=True)
        for tile, (sink, described, values) in enumerate(tiles):
            mixture = described.coded()
            if isinstance(described, BandParameters) and is_adapted(stage, values.shape):
                side = adapt(described, values)
                side.put(sink)
                mixture = side.mixture(described)
            known = None if self._surprises is None else self._surprises[tile]
            lattice = self._lattices[tile]
            prior = None if lattice is None else lattice.prior(stage, band)
            cells = self._cells[tile][band]
            if known is not None and _is_adapted_backward(described, stage, values.shape):
                given = _given(known, stage, band, described, mixture, prior, cells)
                known.put(stage, band, put_adapted(sink, given, values))
            elif prior is not None:
                put_weighed(sink, mixture.flat(*values.shape), values.reshape(-1), prior.flat())
            else:
                put_values(sink, mixture, values, cells)
            if lattice is not None:
                lattice.put(stage, band, values, prior)

    def __enter__(self) -> BandEncoder:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=any(error))
        if not any(error):
            for future in self._behind:
                future.result()


class BandDecoder:
    """The decoding ``BandCoder``: images of ``sides`` (h, w), each from a source of its own; ``backward``, ``lattices``
    and ``cells`` as in ``BandEncoder``."""

    def __init__(
        self,
        sides: tuple[int, int],
        sources: Sequence[SymbolSource],
        backward: bool = False,
        lattices: Sequence[Past] | None = None,
        cells: Sequence[Cells | None] | None = None,
    ) -> None:
        self._sides, self._sources = sides, sources
        self._cells = _cells(cells, len(sources))
        self._surprises = [Surprises(sides) for _ in sources] if backward else None
        self._lattices = _lattices(lattices, len(sources), sides)

    def band(self, stage: Stage, band: int, parameters: Sequence[Parameters]) -> np.ndarray:
        """See ``BandCoder``."""
        shape = stage.shape(self._sides)
        found = []
        for tile, (source, described) in enumerate(zip(self._sources, parameters, strict=True)):
            mixture = described.coded()
            if isinstance(described, BandParameters) and is_adapted(stage, shape):
                mixture = SideInformation.get(source, described.axes, described.offsets).mixture(described)
            known = None if self._surprises is None else self._surprises[tile]
            lattice = self._lattices[tile]
            prior = None if lattice is None else lattice.prior(stage, band)
            cells = self._cells[tile][band]
            if known is not None and _is_adapted_backward(described, stage, shape):
                given = _given(known, stage, band, described, mixture, prior, cells)
                values, surprises = get_adapted(source, given, shape)
                known.put(stage, band, surprises)
            elif prior is not None:
                values = get_weighed(source, mixture.flat(*shape), prior.flat()).reshape(shape)
            else:
                values = get_values(source, mixture, shape, cells)
            if lattice is not None:
                lattice.put(stage, band, values, prior)
            found.append(values)
        return found[0][None] if len(found) == 1 else np.stack(found)  # a stack takes long for small arrays


def is_adapted(stage: Stage, shape: tuple[int, ...]) -> bool:
    """Whether a band of this shape has side information."""
    return stage.level < _ADAPTED_LEVELS and shape[0] * shape[1] >= _ADAPTED_MIN


def _is_adapted_backward(described: Parameters, stage: Stage, shape: tuple[int, ...]) -> TypeGuard[BandParameters]:
    return (
        isinstance(described, BandParameters)
        and described.mapping is None
        and stage.level < _BACKWARD_LEVELS
        and shape[0] * shape[1] >= _ADAPTED_MIN
    )


def _given(
    known: Surprises,
    stage: Stage,
    band: int,
    parameters: BandParameters,
    mixture: Mixture,
    prior: Prior | None,
    cells: np.ndarray | None,
) -> Given:
    nearest, earlier = known.nearest(stage, band), known.earlier(stage, band)
    return Given(parameters, mixture, nearest, earlier, known.learned(band), prior, cells)


def _lattices(pasts: Sequence[Past] | None, count: int, sides: tuple[int, int]) -> list[TileLattice | None]:
    if pasts is None or not has_prior(sides):
        return [None] * count
    return [None if past is Past.NONE else TileLattice(past, sides) for past in pasts]


def _cells(cells: Sequence[Cells | None] | None, count: int) -> list[Sequence[np.ndarray | None]]:
    """Of each image, those of each band."""
    return [[None] * CHANNELS if one is None else list(one) for one in cells or [None] * count]


def put_values(sink: SymbolSink, mixture: Mixture, values: np.ndarray, cells: np.ndarray | None = None) -> None:
    """Code int64 (h, w), each by its own mixture; ``cells`` as of ``LogisticMixture``."""
    mixture.flat(*values.shape).coder(cells=cells).put(sink, values.reshape(-1))


def get_values(
    source: SymbolSource, mixture: Mixture, shape: tuple[int, int], cells: np.ndarray | None = None
) -> np.ndarray:
    """Decode what ``put_values`` coded, int64 (h, w)."""
    return mixture.flat(*shape).coder(cells=cells).get(source).reshape(shape)
