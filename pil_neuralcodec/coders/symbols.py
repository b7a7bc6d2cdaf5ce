"""Groups of symbols, and some of a group's items on the lanes: what all ways to arrange symbols share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from . import rans, ubcs
from .lanes import Lanes

Finder = Callable[[np.ndarray, int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""``find(slots, lo, hi)`` for items lo..hi of a ``get``: slots uint64 -> (symbols, start, freq), all (hi - lo,)."""

Group = tuple[np.ndarray, np.ndarray | int, int]
"""rANS: starts, freqs, bits. UBCS: digits, radix, 0."""


class SymbolSink(Protocol):
    """Takes symbols in decoding order."""

    def put(self, start: np.ndarray, freq: np.ndarray, bits: int) -> None:
        """rANS symbols: intervals [start, start + freq) of [0, 2**bits), unsigned or int64 (n,), bits <= 24."""

    def put_uniform(self, digits: np.ndarray, radix: np.ndarray | int) -> None:
        """UBCS digits (n,), each in [0, radix); radix in 1..2**16, one for all or one each (n,)."""


class SymbolSource(Protocol):
    """Gives back the symbols that a ``SymbolSink`` took, for calls that mirror its own."""

    def get(self, count: int, bits: int, find: Finder) -> np.ndarray:
        """The next ``count`` rANS symbols, int64 (count,), identified by ``find``."""

    def get_uniform(self, count: int, radix: np.ndarray | int) -> np.ndarray:
        """The next ``count`` UBCS digits, int64 (count,)."""


class Groups:
    """A ``SymbolSink`` that keeps what it takes: ``groups``, in decoding order."""

    def __init__(self) -> None:
        self.groups: list[Group] = []

    def put(self, start: np.ndarray, freq: np.ndarray, bits: int) -> None:
        """As of ``SymbolSink``."""
        if not 1 <= bits <= rans.MAX_BITS:
            raise ValueError(f"bits must be 1..{rans.MAX_BITS}")
        if len(start):
            self.groups.append((np.asarray(start), np.asarray(freq), bits))

    def put_uniform(self, digits: np.ndarray, radix: np.ndarray | int) -> None:
        """As of ``SymbolSink``."""
        if len(digits):
            self.groups.append((np.asarray(digits), radix, 0))


def push_items(lanes: Lanes, group: Group, items: slice) -> None:
    """Push some items of a group, one on each of the first lanes."""
    first, second, bits = group
    if bits:
        assert isinstance(second, np.ndarray)
        rans.push(lanes, first[items].astype(np.uint64), second[items].astype(np.uint64), bits)
    else:
        radix = second if isinstance(second, int) else second[items].astype(np.uint64)
        ubcs.push(lanes, first[items].astype(np.uint64), radix)


def pop_items(lanes: Lanes, bits: int, find: Finder, low: int, high: int) -> np.ndarray:
    """Pop rANS symbols, items low..high of a group, from the first lanes: the inverse of ``push_items``."""
    slots = rans.peek(lanes, high - low, bits)
    symbols, start, freq = find(slots, low, high)
    rans.pop(lanes, slots, start.astype(np.uint64), freq.astype(np.uint64), bits)
    return symbols


def pop_digits(lanes: Lanes, radix: np.ndarray | int, low: int, high: int) -> np.ndarray:
    """Pop UBCS digits, items low..high of a group, from the first lanes: the inverse of ``push_items``."""
    return ubcs.pop(lanes, high - low, radix if isinstance(radix, int) else radix[low:high].astype(np.uint64))
