"""Modular scale transform (iFlow, Zhang et al. 2021, section 3.1): integers times a fraction, and nothing lost.

To scale by ``up / down``: ``y = up * x + r`` with a digit ``r`` in [0, up) from the stack, ``z = y div down``, and the
digit ``y mod down`` goes to the stack. So the stack gains ``log2(down / up)`` bits a value, and the way back is exact.
"""

from __future__ import annotations

import numpy as np

from .. import native
from ..coders.engine import each
from ..coders.stack import Stack

MAX_FACTOR = 1 << 16
"""Largest ``up`` and ``down``: digits go through UBCS."""


def forward(values: np.ndarray, up: np.ndarray | int, down: np.ndarray | int, stack: Stack) -> np.ndarray:
    """``values`` int64 of any shape, scaled by ``up / down``: integers 1..2**16, one for all or an array of that
    shape."""
    return _scaled(values, _flat(up), _flat(down), stack)


def inverse(values: np.ndarray, up: np.ndarray | int, down: np.ndarray | int, stack: Stack) -> np.ndarray:
    """What ``forward`` took, from what it gave."""
    return _scaled(values, _flat(down), _flat(up), stack)


def _scaled(values: np.ndarray, up: np.ndarray | int, down: np.ndarray | int, stack: Stack) -> np.ndarray:
    flat = np.ascontiguousarray(values.reshape(-1), np.int64)
    popped = stack.get_uniform(len(flat), up)
    module = native.core()
    if module is not None:
        result, digits = module.scaled(flat, popped, each(up), each(down))
    else:
        scaled = flat * up + popped
        result = scaled // down
        digits = scaled - result * down
    stack.put_uniform(digits, down)
    shaped: np.ndarray = result.reshape(values.shape)
    return shaped


def _flat(factor: np.ndarray | int) -> np.ndarray | int:
    return factor if isinstance(factor, int) else factor.reshape(-1)
