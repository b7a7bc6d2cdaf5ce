"""Symbols on a stack that others lie on already: what bits-back needs, where pushes and pops alternate.

All lanes are in use from the start. A sequence of symbols is pushed from its last to its first, so that popping gives
it in order, and popping a sequence and pushing it again leaves the stack as it was, to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from .engine import Group
from .lanes import HEAD_LOW_BITS, WORD_BITS, Lanes
from .symbols import SymbolSink, SymbolSource, SymbolTarget


class Stack(SymbolSource, SymbolTarget):
    """Puts symbols on lanes at once, and pops them: what is put last is got first.

    Each ``get`` undoes the last ``put``, and the other way round: a ``put`` of what a ``get`` gave leaves the lanes as
    they were. ``get`` and ``get_uniform`` raise ``ExhaustedError`` when the stack holds too little.
    """

    def put_group(self, group: Group) -> None:
        """See ``SymbolTarget``: push it."""
        if len(group.first):
            self._engine.push_all(self._lanes, group, len(group.first))

    def _runs(self, count: int) -> Iterator[tuple[int, int]]:
        return iter([(0, count)] if count else [])


class StackWriter(SymbolSink):
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
