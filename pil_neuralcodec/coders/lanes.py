"""The stack of 16-bit words and the vector of heads that rANS and UBCS share.

Heads live in [2**32, 2**48) between operations (Duda 2013; interleaved heads: Giesen 2014). Both coders use this
interval and this word size, so their pushes and pops may be mixed freely on the same lanes.
"""

from __future__ import annotations

import numpy as np

from ..errors import FormatError

WORD_BITS = 16
HEAD_LOW_BITS = 32
HEAD_LOW = np.uint64(1 << HEAD_LOW_BITS)
HEAD_HIGH = np.uint64(1 << (HEAD_LOW_BITS + WORD_BITS))
_WORD_MASK = np.uint64((1 << WORD_BITS) - 1)
_WORD_SHIFT = np.uint64(WORD_BITS)


class ExhaustedError(FormatError):
    """More was popped than there is: the file is damaged, or an encoder borrows bits that it has not got."""

    def __init__(self) -> None:
        super().__init__("the compressed data ends too early: the file is damaged or truncated")


class WordStack:
    """A stack of 16-bit words. ``words`` is its first content, bottom first, uint16 (n,)."""

    def __init__(self, words: np.ndarray | None = None) -> None:
        self._buffer = np.zeros(256, np.uint16) if words is None else words
        self.size = 0 if words is None else len(words)

    def push(self, words: np.ndarray) -> None:
        """Push words, uint64 or uint16 (n,), the last of them on top."""
        end = self.size + len(words)
        self.reserve(len(words))[self.size : end] = words
        self.size = end

    def reserve(self, count: int) -> np.ndarray:
        """The words and room for ``count`` more, bottom first, uint16; those from ``size`` on are any words."""
        end = self.size + count
        if end > len(self._buffer):
            grown = np.empty(max(end, 2 * len(self._buffer)), np.uint16)
            grown[: self.size] = self._buffer[: self.size]
            self._buffer = grown
        return self._buffer

    def pop(self, count: int) -> np.ndarray:
        """The top ``count`` words in the order in which they were pushed, uint16 (count,).

        Raises ``ExhaustedError`` when there are fewer: a decoder never invents data.
        """
        if count > self.size:
            raise ExhaustedError()
        self.size -= count
        return self._buffer[self.size : self.size + count]

    def to_array(self) -> np.ndarray:
        """Copy of all words, bottom first, uint16 (size,)."""
        return self._buffer[: self.size].copy()


class Lanes:
    """Heads over a word stack. ``heads`` uint64 (lanes,), each in [2**32, 2**48)."""

    def __init__(self, count: int, stack: WordStack | None = None) -> None:
        self.stack = WordStack() if stack is None else stack
        self.heads = np.full(count, HEAD_LOW, np.uint64)

    def copy(self) -> Lanes:
        """The same state, apart from this one."""
        other = Lanes(len(self.heads), WordStack(self.stack.to_array()))
        other.heads = self.heads.copy()
        return other

    def send(self, count: int, limit: np.ndarray | np.uint64) -> None:
        """Push one word from each of the first ``count`` heads that is at least ``limit``."""
        heads = self.heads[:count]
        full = heads >= limit
        if full.any():
            big = heads[full]
            self.stack.push(big & _WORD_MASK)
            heads[full] = big >> _WORD_SHIFT

    def take(self, count: int, limit: np.ndarray | np.uint64) -> None:
        """Pop one word into each of the first ``count`` heads that is below ``limit``."""
        heads = self.heads[:count]
        low = heads < limit
        needed = int(np.count_nonzero(low))
        if needed:
            heads[low] = (heads[low] << _WORD_SHIFT) | self.stack.pop(needed)
