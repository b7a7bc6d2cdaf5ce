"""Matrix products on one thread.

Libraries share out products among threads, which then spin, to wait for more: some 20 ms of a core after each, though
the product itself may take 0.1 ms.
"""

from __future__ import annotations

import numpy as np

LONE = 1 << 18
"""Multiply-adds of a product up to which OpenBLAS, which numpy's wheels come with, keeps to the calling thread."""


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b`` of floats, (m, k) by (k, n), by blocks of rows."""
    count = len(a)
    step = max(1, min(count, max(2, LONE // b.size)))
    out = np.empty((count, b.shape[1]), np.result_type(a, b))
    for low in range(0, count, step):
        low = min(low, count - step)  # a single row would be a product of another kind, with a lower limit
        np.matmul(a[low : low + step], b, out=out[low : low + step])
    return out
