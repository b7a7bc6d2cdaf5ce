"""Symbols in groups: a sink that collects them, and a source that gives them back.

A group is what one call puts: symbols of rANS, or digits of UBCS. Item ``i`` of a group goes on lane ``i`` modulo the
number of lanes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np

from . import rans, ubcs
from .lanes import Lanes

Finder = Callable[[np.ndarray, int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""``find(slots, low, high)`` for items low..high of a ``get``: slots uint64 -> (symbols, start, freq), all (high -
low,)."""

Group = tuple[np.ndarray, np.ndarray | int, int]
"""rANS: starts, freqs, bits. UBCS: digits, radix, 0."""


class SymbolSink:
    """Collects ``groups`` of symbols in decoding order."""

    def __init__(self) -> None:
        self.groups: list[Group] = []

    def put(self, start: np.ndarray, freq: np.ndarray, bits: int) -> None:
        """Put rANS symbols: intervals [start, start + freq) of [0, 2**bits), unsigned or int64 (n,), bits <= 24."""
        if not 1 <= bits <= rans.MAX_BITS:
            raise ValueError(f"bits must be 1..{rans.MAX_BITS}")
        if len(start):
            self.groups.append((np.asarray(start), np.asarray(freq), bits))

    def put_uniform(self, digits: np.ndarray, radix: np.ndarray | int) -> None:
        """Put UBCS digits (n,), each in [0, radix); radix in 1..2**16, one for all or one each (n,)."""
        if len(digits):
            self.groups.append((np.asarray(digits), radix, 0))


class SymbolSource(ABC):
    """Gets symbols from lanes, by calls that mirror those of a ``SymbolSink``."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    @abstractmethod
    def _steps(self, count: int) -> Iterator[tuple[int, int]]:
        """Items (low, high) of a group of ``count`` that are popped at once, each from a lane of its own."""

    def get(self, count: int, bits: int, find: Finder) -> np.ndarray:
        """Get the next ``count`` rANS symbols, int64 (count,), identified by ``find``.

        Raises ``FormatError`` where the data run out.
        """
        out = np.empty(count, np.int64)
        for low, high in self._steps(count):
            slots = rans.peek(self._lanes, high - low, bits)
            out[low:high], start, freq = find(slots, low, high)
            rans.pop(self._lanes, slots, start.astype(np.uint64), freq.astype(np.uint64), bits)
        return out

    def get_uniform(self, count: int, radix: np.ndarray | int) -> np.ndarray:
        """Get the next ``count`` UBCS digits, int64 (count,). Raises ``FormatError`` where the data run out."""
        out = np.empty(count, np.int64)
        for low, high in self._steps(count):
            part = radix if isinstance(radix, int) else radix[low:high].astype(np.uint64)
            out[low:high] = ubcs.pop(self._lanes, high - low, part)
        return out


def push_items(lanes: Lanes, group: Group, items: slice) -> None:
    """Push some items of a group, one on each of the first lanes."""
    first, second, bits = group
    values = first[items].astype(np.uint64)
    part = second if isinstance(second, int) else second[items].astype(np.uint64)
    if not bits:
        ubcs.push(lanes, values, part)
    else:
        assert isinstance(part, np.ndarray)
        rans.push(lanes, values, part, bits)
