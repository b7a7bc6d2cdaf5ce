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

    def widen(self, count: int) -> int:
        """Add lanes up to ``count``, seeding their heads with payload from the stack, two words each.

        A seeded head costs nothing at the start, since it carries data that would be stored anyway. Returns how many
        were seeded; where the stack runs out, further heads start empty at 2**32.
        """
        new = count - len(self.heads)
        seeded = min(new, self.stack.size // 2)
        words = self.stack.pop(2 * seeded).astype(np.uint64).reshape(2, seeded)
        heads = np.full(count, HEAD_LOW, np.uint64)
        heads[: len(self.heads)] = self.heads
        heads[count - new : count - new + seeded] |= (words[0] << _WORD_SHIFT) | words[1]
        self.heads = heads
        return seeded

    def narrow(self, count: int, seeded: int) -> None:
        """Undo ``widen``: give the seeds of the lanes from ``count`` on back to the stack."""
        extra = self.heads[count:]
        full = extra[:seeded] >= HEAD_LOW * np.uint64(2)
        if seeded > len(extra) or full.any() or (extra[seeded:] != HEAD_LOW).any():
            raise FormatError("the compressed data is inconsistent (lane seeds): the file is damaged")
        payload = extra[:seeded] - HEAD_LOW
        self.stack.push(payload >> _WORD_SHIFT)
        self.stack.push(payload & _WORD_MASK)
        self.heads = self.heads[:count].copy()


def write_stack(lanes: Lanes) -> bytes:
    """Heads and words as bytes.

    Layout: 4 bits of length for each head, low half of a byte first; the heads' bits below their leading ones, low
    first; the words, top of the stack first, so that a prefix of the bytes decodes a prefix of the symbols.
    """
    heads = lanes.heads
    lengths = np.array([int(h).bit_length() - 1 for h in heads], np.int64)  # bits below the leading one, 32..47
    codes = np.zeros(len(heads) + len(heads) % 2, np.uint8)
    codes[: len(heads)] = lengths - HEAD_LOW_BITS
    nibbles = codes[0::2] | (codes[1::2] << 4)
    bits = (heads[:, None] >> np.arange(48, dtype=np.uint64)) & np.uint64(1)
    used = np.arange(48) < lengths[:, None]
    packed = np.packbits(bits[used].astype(np.uint8), bitorder="little")
    return nibbles.tobytes() + packed.tobytes() + lanes.stack.to_array()[::-1].astype("<u2").tobytes()


def read_stack(view: memoryview, at: int, count: int) -> Lanes:
    """What ``write_stack`` wrote of ``count`` lanes, from ``at`` to the end. Raises ``FormatError``."""
    nibbles = _read_bytes(view, at, (count + 1) // 2)
    at += len(nibbles)
    codes = np.stack([nibbles & 15, nibbles >> 4], 1).reshape(-1)
    lengths = codes[:count].astype(np.int64) + HEAD_LOW_BITS
    total = int(lengths.sum())
    packed = _read_bytes(view, at, (total + 7) // 8)
    at += len(packed)
    flat = np.unpackbits(packed, bitorder="little")
    if codes[count:].any() or flat[total:].any():
        raise FormatError("the compressed data has non-zero padding: the file is damaged")
    if (len(view) - at) % 2:
        raise FormatError("the compressed data ends within a word: the file is damaged or truncated")
    bits = np.zeros((count, 48), np.uint64)
    bits[np.arange(48) < lengths[:, None]] = flat[:total]
    below = (bits << np.arange(48, dtype=np.uint64)).sum(1, dtype=np.uint64)
    lanes = Lanes(0, WordStack(np.frombuffer(view[at:], "<u2")[::-1].astype(np.uint16)))
    lanes.heads = below | (np.uint64(1) << lengths.astype(np.uint64))
    return lanes


def _read_bytes(view: memoryview, at: int, size: int) -> np.ndarray:
    found = np.frombuffer(view[at : at + size], np.uint8)
    if len(found) < size:
        raise ExhaustedError()
    return found
