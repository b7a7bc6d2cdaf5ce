"""Bands of components to symbols and back, one after the other: a ``ComponentCoder`` that encodes, one that decodes."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from ..coders.symbols import SymbolSink, SymbolSource
from .adaptation import SideInformation, adapt
from .bands import BandParameters, Bands, Mixture, Parameters
from .pyramid import Stage

_ADAPTED_LEVELS = 2
_ADAPTED_MIN = 1024
"""Finest levels whose bands are adapted to, and the positions below which that costs more than it saves."""
_AHEAD = 3
"""Bands that an encoder's network is ahead of its coder at most: their parameters take memory."""


class BandCoder(Protocol):
    """Codes a band of each tile, or decodes it."""

    def band(self, stage: Stage, band: int, parameters: list[Parameters]) -> np.ndarray:
        """The band, integers (N, h, w); ``parameters`` are those of each tile."""


class BandByBand:
    """A ``ComponentCoder`` that codes each band alone, with a ``BandCoder``."""

    def __init__(self, coder: BandCoder, bands: int) -> None:
        self._coder, self._bands = coder, bands

    def component(self, stage: Stage, bands: Bands, features: Any) -> np.ndarray:
        """As of ``ComponentCoder``."""
        target = []
        for band in range(self._bands):
            target.append(self._coder.band(stage, band, bands.parameters(band)))
            bands.accept(band, target[-1])
        return np.stack(target, axis=1)


class BandEncoder:
    """The ``BandCoder`` that encodes: ``planes`` int32 (N, bands, h, w), each image into a sink of its own.

    The network knows all samples already, so it runs ahead of the symbols, which a thread makes: a ``with`` statement
    ends when all of them are made.
    """

    def __init__(self, planes: np.ndarray, sinks: Sequence[SymbolSink]) -> None:
        self._planes, self._sinks = planes, sinks
        self._pool = ThreadPoolExecutor(1)
        self._behind: deque[Future[None]] = deque()

    def band(self, stage: Stage, band: int, parameters: list[Parameters]) -> np.ndarray:
        """As of ``BandCoder``."""
        target = stage.cut(self._planes[:, band])
        self._behind.append(self._pool.submit(self._put, stage, parameters, target))
        if len(self._behind) > _AHEAD:
            self._behind.popleft().result()
        return target

    def _put(self, stage: Stage, parameters: list[Parameters], target: np.ndarray) -> None:
        for sink, described, values in zip(self._sinks, parameters, target, strict=True):
            put_band(sink, described, values, is_adapted(stage, values.shape))

    def __enter__(self) -> BandEncoder:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=any(error))
        if not any(error):
            for future in self._behind:
                future.result()


class BandDecoder:
    """The ``BandCoder`` that decodes: images of ``sides`` (h, w), each from a source of its own."""

    def __init__(self, sides: tuple[int, int], sources: Sequence[SymbolSource]) -> None:
        self._sides, self._sources = sides, sources

    def band(self, stage: Stage, band: int, parameters: list[Parameters]) -> np.ndarray:
        """As of ``BandCoder``."""
        shape = stage.shape(self._sides)
        found = [
            get_band(source, described, shape, is_adapted(stage, shape))
            for source, described in zip(self._sources, parameters, strict=True)
        ]
        return np.stack(found)


def is_adapted(stage: Stage, shape: tuple[int, ...]) -> bool:
    """Whether side information is sent for a band of this shape."""
    return not stage.is_coarse and stage.level < _ADAPTED_LEVELS and shape[0] * shape[1] >= _ADAPTED_MIN


def put_band(sink: SymbolSink, parameters: Parameters, values: np.ndarray, adapted: bool) -> None:
    """Put a band of one tile, integers (h, w); ``adapted`` to it by side information."""
    values = values.astype(np.int64)
    mixture = parameters.coded()
    if adapted:
        assert isinstance(parameters, BandParameters)
        side = adapt(parameters, values)
        side.put(sink)
        mixture = side.mixture(parameters)
    put_values(sink, mixture, values)


def get_band(source: SymbolSource, parameters: Parameters, shape: tuple[int, int], adapted: bool) -> np.ndarray:
    """What ``put_band`` put, int64 (h, w)."""
    if not adapted:
        return get_values(source, parameters.coded(), shape)
    assert isinstance(parameters, BandParameters)
    return get_values(source, SideInformation.get(source, parameters).mixture(parameters), shape)


def put_values(sink: SymbolSink, mixture: Mixture, values: np.ndarray) -> None:
    """Put int64 (h, w), each by its own mixture."""
    coder = mixture.flat(*values.shape).coder()
    symbols, wide, rest = coder.split(values.reshape(-1))
    sink.put(*coder.intervals(symbols), 24)
    if len(rest):
        sink.put_uniform(rest, 1 << coder.shift[wide])


def get_values(source: SymbolSource, mixture: Mixture, shape: tuple[int, int]) -> np.ndarray:
    """What ``put_values`` put, int64 (h, w)."""
    coder = mixture.flat(*shape).coder()
    symbols = source.get(shape[0] * shape[1], 24, coder.find)
    values, wide = coder.first(symbols), coder.wide(symbols)
    if wide.any():
        radix = 1 << coder.shift[wide]
        values[wide] += source.get_uniform(len(radix), radix)
    return values.reshape(shape)
