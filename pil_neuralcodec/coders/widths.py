"""More and fewer lanes, at no cost in bits, and lanes as bytes.

A head of 2**32 .. 2**48 is a symbol like any other: the octave that it lies in, all of which are as likely, and its
bits below the leading one. So lanes are added by popping their heads from the lanes that there are, and taken away by
pushing their heads on those that stay; what one does the other undoes. Heads carry payload from the first, and in the
end they are payload again: what remains, and is written, is one head over the words.
"""

from __future__ import annotations

import numpy as np

from ..errors import FormatError
from .lanes import HEAD_LOW_BITS, ExhaustedError, Lanes, WordStack
from .stack import Stack

FACTOR = 16
"""Lanes come and go by this factor: one lane needs little payload to seed so many, and they code at full speed."""
MOST_STEPS = 2
"""Times that one lane is widened at most, to 256."""
_OCTAVES = 16
_WORD = 1 << 16
_SHORT = 5
"""Bytes of a head below 2**40; others have one more."""


def words_to_widen(count: int) -> int:
    """Words on the stack that are enough to widen ``count`` lanes: 3.5 for each new one, of at most 51 bits."""
    return (FACTOR - 1) * count * 7 // 2


def widen(lanes: Lanes, count: int) -> None:
    """Add lanes up to ``count``. Raises ``ExhaustedError``, and spoils ``lanes``, where the stack holds too little."""
    stack, new = Stack(lanes), count - len(lanes.heads)
    octaves = stack.get_uniform(new, _OCTAVES)
    heads = np.ones(new, np.int64)
    for _ in range(HEAD_LOW_BITS // 16):
        heads = heads << 16 | stack.get_uniform(new, _WORD)
    heads = heads << octaves | stack.get_uniform(new, 1 << octaves)
    lanes.heads = np.concatenate([lanes.heads, heads.astype(np.uint64)])


def narrow(lanes: Lanes, count: int) -> None:
    """Undo ``widen``: take away the lanes from ``count`` on."""
    heads = lanes.heads[count:].astype(np.int64)
    lanes.heads = lanes.heads[:count].copy()
    stack = Stack(lanes)
    octaves = np.frexp(heads)[1].astype(np.int64) - 1 - HEAD_LOW_BITS
    stack.put_uniform(heads & (1 << octaves) - 1, 1 << octaves)
    for shift in range(0, HEAD_LOW_BITS, 16):
        stack.put_uniform(heads >> octaves + shift & _WORD - 1, _WORD)
    stack.put_uniform(octaves, _OCTAVES)


def widen_by_steps(lanes: Lanes, steps: int) -> None:
    """Widen ``steps`` times."""
    for _ in range(steps):
        widen(lanes, FACTOR * len(lanes.heads))


def narrow_to_one(lanes: Lanes) -> None:
    """Undo ``widen_by_steps``, to one lane."""
    while len(lanes.heads) > 1:
        narrow(lanes, len(lanes.heads) // FACTOR)


def write_lanes(lanes: Lanes) -> bytes:
    """Lanes, which are a power of ``FACTOR``, as bytes: they are narrowed to one, and spoilt for other use.

    Layout: the head, little-endian, in 5 bytes, or 6 where it needs them; the words, top of the stack first, so that
    whole words from the beginning decode the first symbols. That the bytes are odd or even tells how many the head has.
    """
    narrow_to_one(lanes)
    head = int(lanes.heads[0])
    start = head.to_bytes(_SHORT + (head >> 8 * _SHORT > 0), "little")
    return start + lanes.stack.to_array()[::-1].astype("<u2").tobytes()


def read_lanes(data: memoryview, steps: int) -> Lanes:
    """What ``write_lanes`` wrote, widened ``steps`` times again. Raises ``FormatError``."""
    size = _SHORT + 1 - len(data) % 2
    if len(data) < size:
        raise ExhaustedError()
    head = int.from_bytes(data[:size], "little")
    if not head >> max(HEAD_LOW_BITS, 8 * (size - 1)):
        raise FormatError("the compressed data begins with an impossible state: the file is damaged")
    lanes = Lanes(1, WordStack(np.frombuffer(data[size:], "<u2")[::-1].astype(np.uint16)))
    lanes.heads[0] = head
    widen_by_steps(lanes, steps)
    return lanes
