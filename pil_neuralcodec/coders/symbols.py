"""Symbols in groups: a sink that collects them, and a source that gives them back.

A group is what one call puts: symbols of rANS, or digits of UBCS. Item ``i`` of a group goes on lane ``i`` modulo the
number of lanes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np

from . import rans
from .engine import Compiled, Distribution, Group, engine, words
from .lanes import Lanes


def intervals(start: np.ndarray, freq: np.ndarray, bits: int) -> Group:
    """Symbols by their intervals [start, start + freq) of [0, 2**bits), integers (n,), bits 1..24."""
    if not 1 <= bits <= rans.MAX_BITS:
        raise ValueError(f"bits must be 1..{rans.MAX_BITS}")
    return Group(words(start), words(freq), bits)


def groups(start: np.ndarray, freq: np.ndarray, bits: int, ends: np.ndarray) -> Group:
    """Groups of ``intervals`` put together, end to end; ``ends`` int64 (groups,) are where they end."""
    return intervals(start, freq, bits)._replace(ends=ends)


def digits(digits: np.ndarray, radix: np.ndarray | int) -> Group:
    """Digits (n,), each in [0, radix); radix in 1..2**16, one for all or one each (n,)."""
    return Group(words(digits), radix if isinstance(radix, int) else words(radix), 0)


class SymbolTarget(ABC):
    """Takes symbols, group by group."""

    def put(self, start: np.ndarray, freq: np.ndarray, bits: int) -> None:
        """Put rANS symbols: see ``intervals``."""
        self.put_group(intervals(start, freq, bits))

    def put_uniform(self, numbers: np.ndarray, radix: np.ndarray | int) -> None:
        """Put UBCS digits: see ``digits``."""
        self.put_group(digits(numbers, radix))

    @abstractmethod
    def put_group(self, group: Group) -> None:
        """Put any group."""


class SymbolSink(SymbolTarget):
    """Collects ``groups`` of symbols in decoding order."""

    def __init__(self) -> None:
        self.groups: list[Group] = []

    def put_group(self, group: Group) -> None:
        """See ``SymbolTarget``."""
        if len(group.first):
            self.groups.append(group)


class SymbolSource(ABC):
    """Gets symbols from lanes, by calls that mirror those of a ``SymbolSink``."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes, self._engine = lanes, engine()

    @abstractmethod
    def _runs(self, count: int) -> Iterator[tuple[int, int]]:
        """Items (low, high) of a group of ``count`` that are popped while the number of lanes stays the same."""

    def get(self, count: int, distribution: Distribution | Compiled) -> np.ndarray:
        """Get the next ``count`` rANS symbols, int64 (count,). Raises ``FormatError`` where the data run out."""
        out = np.empty(count, np.int64)
        for low, high in self._runs(count):
            self._engine.pop(self._lanes, distribution, low, high, out)
        return out

    def get_by(self, count: int, pop: Callable[[Lanes, int], None]) -> None:
        """Let ``pop`` get the next ``count`` symbols from the lanes, of as many groups as it likes: a number of them at
        each call."""
        for low, high in self._runs(count):
            pop(self._lanes, high - low)

    def get_uniform(self, count: int, radix: np.ndarray | int) -> np.ndarray:
        """Get the next ``count`` UBCS digits, int64 (count,). Raises ``FormatError`` where the data run out."""
        out = np.empty(count, np.int64)
        each = radix if isinstance(radix, int) else words(radix)
        for low, high in self._runs(count):
            self._engine.pop_uniform(self._lanes, each, low, high, out)
        return out
