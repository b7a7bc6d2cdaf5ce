"""Symbols on a stack that others lie on already: what bits-back needs, where pushes and pops alternate.

All lanes are in use from the start. A sequence of symbols is pushed from its last to its first, so that popping gives
it in order, and popping a sequence and pushing it again leaves the stack as it was, to the last bit.
"""

from __future__ import annotations

import math

import numpy as np

from .lanes import HEAD_LOW_BITS, WORD_BITS, Lanes
from .symbols import Finder, Group, Groups, pop_digits, pop_items, push_items


class Stack:
    """Puts symbols on lanes at once, and pops them: what is put last is got first.

    Each ``get`` undoes the last ``put``, and the other way round: a ``put`` of what a ``get`` gave leaves the lanes as
    they were. ``get`` and ``get_uniform`` are those of ``SymbolSource``; they raise ``ExhaustedError`` when the stack
    holds too little.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def put(self, start: np.ndarray, freq: np.ndarray, bits: int) -> None:
        """rANS symbols: intervals [start, start + freq) of [0, 2**bits), unsigned or int64 (n,), bits <= 24."""
        self.put_group((start, freq, bits))

    def put_uniform(self, digits: np.ndarray, radix: np.ndarray | int) -> None:
        """UBCS digits (n,), each in [0, radix); radix in 1..2**16, one for all or one each (n,)."""
        self.put_group((digits, radix, 0))

    def put_group(self, group: Group) -> None:
        """Any of these."""
        width = len(self._lanes.heads)
        for low in reversed(range(0, len(group[0]), width)):
            push_items(self._lanes, group, slice(low, low + width))

    def get(self, count: int, bits: int, find: Finder) -> np.ndarray:
        """The ``count`` rANS symbols on top, int64 (count,), identified by ``find``."""
        out, width = np.empty(count, np.int64), len(self._lanes.heads)
        for low in range(0, count, width):
            high = min(low + width, count)
            out[low:high] = pop_items(self._lanes, bits, find, low, high)
        return out

    def get_uniform(self, count: int, radix: np.ndarray | int) -> np.ndarray:
        """The ``count`` UBCS digits on top, int64 (count,)."""
        out, width = np.empty(count, np.int64), len(self._lanes.heads)
        for low in range(0, count, width):
            high = min(low + width, count)
            out[low:high] = pop_digits(self._lanes, radix, low, high)
        return out


class StackWriter(Groups):
    """Collects symbols in decoding order; ``push`` puts them on a stack."""

    def push(self, lanes: Lanes) -> None:
        """Push everything, so that a ``Stack`` with the same calls gets it back."""
        stack = Stack(lanes)
        for group in reversed(self.groups):
            stack.put_group(group)


def height(lanes: Lanes) -> int:
    """Whole bits on a stack: words, and heads beyond their first state. Computed by integers, since encoders plan
    batches by it and must do so alike on every machine."""
    states = math.prod(lanes.heads.tolist()).bit_length() - 1
    return int(WORD_BITS * lanes.stack.size + states - HEAD_LOW_BITS * len(lanes.heads))
