"""Uniform base conversion system (iFlow, Zhang et al. 2021, section 3.2, algorithm 2), vectorised over lanes.

Unlike rANS, a push multiplies first and renormalises after: this inverts exactly for every radix, also one that
does not divide the interval, and loses nothing.
"""

from __future__ import annotations

import numpy as np

from .lanes import HEAD_HIGH, HEAD_LOW, HEAD_LOW_BITS, Lanes

_LOW_BITS = np.uint64(HEAD_LOW_BITS)


def push(lanes: Lanes, digits: np.ndarray, radix: np.ndarray | int) -> None:
    """Push one digit on each of the first ``n`` lanes: ``digits`` uint64 (n,) in [0, radix), radix in 1..2**16 an
    integer for all or uint64 (n,)."""
    n = len(digits)
    if isinstance(radix, int) and radix & (radix - 1) == 0:
        lanes.heads[:n] = (lanes.heads[:n] << np.uint64(radix.bit_length() - 1)) | digits
    else:
        lanes.heads[:n] = lanes.heads[:n] * np.asarray(radix, np.uint64) + digits
    lanes.send(n, HEAD_HIGH)


def pop(lanes: Lanes, count: int, radix: np.ndarray | int) -> np.ndarray:
    """Pop one digit from each of the first ``count`` lanes: the exact inverse of ``push``. Returns uint64 (count,)."""
    if isinstance(radix, int) and radix & (radix - 1) == 0:
        shift = np.uint64(radix.bit_length() - 1)
        lanes.take(count, HEAD_LOW << shift)
        heads = lanes.heads[:count]
        digits = heads & np.uint64(radix - 1)
        lanes.heads[:count] = heads >> shift
        return digits
    r = np.asarray(radix, np.uint64)
    lanes.take(count, r << _LOW_BITS)
    heads = lanes.heads[:count]
    quotient = heads // r
    digits = heads - quotient * r
    lanes.heads[:count] = quotient
    return digits
