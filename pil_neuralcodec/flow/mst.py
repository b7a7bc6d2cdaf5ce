"""Modular scale transform (iFlow, Zhang et al. 2021, section 3.1): integers times a fraction, and nothing lost.

To scale by ``up / down``: ``y = up * x + r`` with a digit ``r`` in [0, up) from the stack, ``z = y div down``, and the
digit ``y mod down`` goes to the stack. So the stack gains ``log2(down / up)`` bits a value, and the way back is exact.
"""

from __future__ import annotations

import numpy as np

from ..coders.stack import Stack

MAX_FACTOR = 1 << 16
"""Largest ``up`` and ``down``: digits go through UBCS."""


def forward(values: np.ndarray, up: np.ndarray | int, down: np.ndarray | int, stack: Stack) -> np.ndarray:
    """``values`` int64 of any shape, scaled by ``up / down``: integers 1..2**16, one for all or int64 of that shape."""
    scaled = values * up + _pop(stack, up, values.shape)
    result: np.ndarray = scaled // down
    _push(stack, scaled - result * down, down)
    return result


def inverse(values: np.ndarray, up: np.ndarray | int, down: np.ndarray | int, stack: Stack) -> np.ndarray:
    """What ``forward`` took, from what it gave."""
    scaled = values * down + _pop(stack, down, values.shape)
    result: np.ndarray = scaled // up
    _push(stack, scaled - result * up, up)
    return result


def _pop(stack: Stack, radix: np.ndarray | int, shape: tuple[int, ...]) -> np.ndarray:
    flat = radix if isinstance(radix, int) else radix.reshape(-1)
    return stack.get_uniform(int(np.prod(shape)), flat).reshape(shape)


def _push(stack: Stack, digits: np.ndarray, radix: np.ndarray | int) -> None:
    stack.put_uniform(digits.reshape(-1), radix if isinstance(radix, int) else radix.reshape(-1))
