"""A static distribution of a few symbols, by frequencies."""

from __future__ import annotations

import numpy as np

from .symbols import SymbolSink, SymbolSource


class FrequencyTable:
    """Codes independent symbols by rANS.

    Parameters
    ----------
    freq : int64 (symbols,), of total ``2**bits``; symbols of frequency 0 cannot be put.
    bits : 1..24.
    """

    def __init__(self, freq: np.ndarray, bits: int) -> None:
        self._freq, self._bits = freq, bits
        self._end = np.cumsum(freq)
        self._start = self._end - freq

    def put(self, sink: SymbolSink, symbols: np.ndarray) -> None:
        """Put symbols, int64 (n,)."""
        sink.put(self._start[symbols], self._freq[symbols], self._bits)

    def get(self, source: SymbolSource, count: int) -> np.ndarray:
        """Get the next ``count`` symbols, int64 (count,). Raises ``FormatError`` where the data run out."""
        return source.get(count, self._bits, self._find)

    def _find(self, slots: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = np.searchsorted(self._end, slots.astype(np.int64), side="right")
        return found, self._start[found], self._freq[found]
