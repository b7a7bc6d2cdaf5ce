"""Range asymmetric numeral system (Duda 2013), vectorised over lanes. Totals up to 2**24."""

from __future__ import annotations

import numpy as np

from .lanes import HEAD_LOW, HEAD_LOW_BITS, WORD_BITS, Lanes

MAX_BITS = 24
_HEAD_BITS = np.uint64(HEAD_LOW_BITS + WORD_BITS)
_TINY = np.uint64(1 << (HEAD_LOW_BITS - WORD_BITS))


def push(lanes: Lanes, start: np.ndarray, freq: np.ndarray, bits: int) -> None:
    """Push one symbol on each of the first ``n`` lanes.

    ``start``, ``freq`` uint64 (n,): the symbol's interval [start, start + freq) of [0, 2**bits), freq >= 1.
    Renormalises before the multiply: a head goes out by words until the push cannot overflow its interval. A word may
    go out twice, since ``freq`` can be much smaller than ``2**(bits - 16)``.
    """
    n = len(freq)
    limit = freq << (_HEAD_BITS - np.uint64(bits))
    lanes.send(n, limit)
    lanes.send(n, limit)
    heads = lanes.heads[:n]
    quotient = heads // freq
    lanes.heads[:n] = (quotient << np.uint64(bits)) + (heads - quotient * freq) + start


def peek(lanes: Lanes, count: int, bits: int) -> np.ndarray:
    """The slots of the next symbols of the first ``count`` lanes, uint64 (count,) in [0, 2**bits)."""
    return lanes.heads[:count] & np.uint64((1 << bits) - 1)


def pop(lanes: Lanes, slots: np.ndarray, start: np.ndarray, freq: np.ndarray, bits: int) -> None:
    """Remove the symbols found for ``slots`` (from ``peek``): the exact inverse of ``push``, all uint64 (n,)."""
    n = len(freq)
    lanes.heads[:n] = freq * (lanes.heads[:n] >> np.uint64(bits)) + (slots - start)
    # Heads that had sent two words are below 2**16 now; their second word lies on top of the first ones of all.
    lanes.take(n, _TINY)
    lanes.take(n, HEAD_LOW)
