"""Distributions of a few symbols, by frequencies: static ones, and those that learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import native
from ..lazy import cached_property
from .engine import Distribution
from .symbols import SymbolSink, SymbolSource

if TYPE_CHECKING:
    from .. import _native

_SAMPLE, _MOST = 1 << 8, 1 << 20
"""What a symbol adds to the counts of ``AdaptiveTables``, and their sum from which on they are halved."""


class FrequencyTables:
    """Codes symbols by rANS, each by one of several tables.

    Parameters
    ----------
    freq : integers (tables, symbols), each table of total ``2**bits``; symbols of frequency 0 cannot be put.
    bits : 1..24.
    """

    def __init__(self, freq: np.ndarray, bits: int) -> None:
        self.freq, self.bits = freq, bits
        self._ends = np.cumsum(freq, axis=1, dtype=np.int64)
        self._start = self._ends - freq

    def put(self, sink: SymbolSink, tables: np.ndarray, symbols: np.ndarray) -> None:
        """Put symbols, each by the table of a number, both int64 (n,)."""
        sink.put(*self.intervals(tables, symbols), self.bits)

    def intervals(self, tables: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and frequencies of symbols, each by the table of a number, int64 (n,)."""
        return self._start[tables, symbols], self.freq[tables, symbols]

    def get(self, source: SymbolSource, tables: np.ndarray) -> np.ndarray:
        """Get symbols, int64 (n,), by ``tables`` int64 (n,). Raises ``FormatError`` where the data run out."""
        return source.get(len(tables), self.chosen(tables))

    def chosen(self, tables: np.ndarray) -> Distribution:
        """The distributions of items by ``tables`` int64 (n,)."""
        return _Chosen(self, tables)

    def find(self, slots: np.ndarray, tables: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The symbols whose intervals hold ``slots``, uint64 (n,): (symbols, start, freq)."""
        # Tables lie end to end. Absent symbols begin where their successor does: the last match is the symbol.
        wanted = (tables << self.bits) + slots.astype(np.int64)
        symbols = np.searchsorted(self._keys, wanted, side="right") - 1 - tables * self.freq.shape[1]
        return symbols, self._start[tables, symbols], self.freq[tables, symbols]

    @cached_property
    def _keys(self) -> np.ndarray:
        keys: np.ndarray = (self._start + (np.arange(len(self.freq), dtype=np.int64) << self.bits)[:, None]).reshape(-1)
        return keys

    @cached_property
    def compiled(self) -> _native.FrequencyTables | None:
        """The same for compiled code; None where there is none."""
        module = native.core()
        return None if module is None else module.FrequencyTables(self._ends.astype(np.uint32), self.bits)


class _Chosen:
    """The ``Distribution`` of items by ``tables``."""

    def __init__(self, of: FrequencyTables, tables: np.ndarray) -> None:
        self._of, self._tables, self.bits = of, tables, of.bits

    def find(self, slots: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See ``Distribution``."""
        return self._of.find(slots, self._tables[low:high])

    def compiled(self) -> _native.Distribution | None:
        """See ``Distribution``."""
        tables = self._of.compiled
        return None if tables is None else tables.items(np.ascontiguousarray(self._tables, np.int64))


class AdaptiveTables:
    """Codes symbols by rANS, group by group, each by one of several tables, which learn from every group.

    Counts begin with the frequencies, and each symbol adds ``_SAMPLE`` to its own. Those of a table that add up to
    ``_MOST`` are halved, so that the past is forgotten.

    Parameters
    ----------
    freq : integers (tables, symbols), each table of total ``2**bits``.
    bits : 1..24.
    """

    def __init__(self, freq: np.ndarray, bits: int) -> None:
        self._counts, self.bits = freq.astype(np.int64), bits
        self._freq = self._shares(self._counts)
        self._tables: FrequencyTables | None = None

    def put(self, sink: SymbolSink, tables: np.ndarray, symbols: np.ndarray) -> None:
        """Put a group of symbols, each by the table of a number, both int64 (n,)."""
        self._current().put(sink, tables, symbols)
        self._learn(tables, symbols)

    def get(self, source: SymbolSource, tables: np.ndarray) -> np.ndarray:
        """Get a group of symbols, int64 (n,), by ``tables`` int64 (n,). Raises ``FormatError`` where the data run
        out."""
        symbols = self._current().get(source, tables)
        self._learn(tables, symbols)
        return symbols

    def _current(self) -> FrequencyTables:
        if self._tables is None:
            self._tables = FrequencyTables(self._freq, self.bits)
        return self._tables

    def _learn(self, tables: np.ndarray, symbols: np.ndarray) -> None:
        np.add.at(self._counts, (tables, symbols), _SAMPLE)
        changed = np.unique(tables)
        counts = self._counts[changed]
        full = counts.sum(axis=1) >= _MOST
        counts[full] = (counts[full] + 1) >> 1
        self._counts[changed], self._freq[changed] = counts, self._shares(counts)
        self._tables = None

    def _shares(self, counts: np.ndarray) -> np.ndarray:
        """Frequencies in proportion to counts int64 (tables, symbols): none is 0, and the first of the largest gets
        what is left."""
        freq: np.ndarray = 1 + counts * ((1 << self.bits) - counts.shape[1]) // counts.sum(axis=1, keepdims=True)
        freq[np.arange(len(freq)), freq.argmax(axis=1)] += (1 << self.bits) - freq.sum(axis=1)
        return freq


class FrequencyTable:
    """Codes independent symbols by one table: ``freq`` (symbols,) and ``bits`` as of ``FrequencyTables``."""

    def __init__(self, freq: np.ndarray, bits: int) -> None:
        self._tables = FrequencyTables(freq[None], bits)

    def put(self, sink: SymbolSink, symbols: np.ndarray) -> None:
        """Put symbols, int64 (n,)."""
        self._tables.put(sink, np.zeros_like(symbols), symbols)

    def get(self, source: SymbolSource, count: int) -> np.ndarray:
        """Get the next ``count`` symbols, int64 (count,). Raises ``FormatError`` where the data run out."""
        return self._tables.get(source, np.zeros(count, np.int64))
