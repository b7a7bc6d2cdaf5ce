"""Symbols on a stack that others lie on already: what bits-back needs, where pushes and pops alternate.

All lanes are in use from the start. A sequence of symbols is pushed from its last to its first, so that popping gives
it in order, and popping a sequence and pushing it again leaves the stack as it was, to the last bit.
"""

from __future__ import annotations

import numpy as np

from .lanes import HEAD_LOW_BITS, WORD_BITS, Lanes
from .symbols import Finder, Groups, pop_digits, pop_items, push_items


class StackWriter(Groups):
    """Collects symbols in decoding order; ``push`` puts them on a stack."""

    def push(self, lanes: Lanes) -> None:
        """Push everything, so that a ``StackReader`` with the same calls gets it back."""
        width = len(lanes.heads)
        for group in reversed(self.groups):
            for low in reversed(range(0, len(group[0]), width)):
                push_items(lanes, group, slice(low, low + width))


class StackReader:
    """Pops symbols from a stack. Raises ``FormatError`` when it is exhausted."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    def get(self, count: int, bits: int, find: Finder) -> np.ndarray:
        """The next ``count`` rANS symbols, int64 (count,), identified by ``find``."""
        out, width = np.empty(count, np.int64), len(self._lanes.heads)
        for low in range(0, count, width):
            high = min(low + width, count)
            out[low:high] = pop_items(self._lanes, bits, find, low, high)
        return out

    def get_uniform(self, count: int, radix: np.ndarray | int) -> np.ndarray:
        """The next ``count`` UBCS digits, int64 (count,)."""
        out, width = np.empty(count, np.int64), len(self._lanes.heads)
        for low in range(0, count, width):
            high = min(low + width, count)
            out[low:high] = pop_digits(self._lanes, radix, low, high)
        return out


def height(lanes: Lanes) -> float:
    """Bits on a stack: words, and heads beyond their first state. For reports and plans, not for coding."""
    return WORD_BITS * lanes.stack.size + float(np.log2(lanes.heads.astype(np.float64)).sum()
                                                ) - HEAD_LOW_BITS * len(lanes.heads)
