"""Polyphase components of an image, and the input of a stage's network. Integers only.

``a = x[0::2, 0::2]``, ``d = x[1::2, 1::2]``, ``b = x[0::2, 1::2]``, ``c = x[1::2, 0::2]``. For odd sizes ``d``, ``b``
and ``c`` are smaller than ``a``; for the networks they are extended to the size of ``a``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ..lazy import cached_property
from .compiled import compiled

OFFSETS = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Row and column offsets of the components ``a``, ``d``, ``b``, ``c``, in coding order."""

Tap = tuple[tuple[int, int, int], ...]
"""One sample, or two of which the mean is taken: (known component, rows down, columns right)."""
TAP_TABLE: tuple[tuple[Tap, ...], ...] = (
    # x11 from x00: the four diagonal neighbours, the pairs beyond them above, below, left and right, the far corners
    (
        ((0, 0, 0),),
        ((0, 0, 1),),
        ((0, 1, 0),),
        ((0, 1, 1),),
        ((0, -1, 0), (0, -1, 1)),
        ((0, 2, 0), (0, 2, 1)),
        ((0, 0, -1), (0, 1, -1)),
        ((0, 0, 2), (0, 1, 2)),
        ((0, -1, -1),),
        ((0, -1, 2),),
        ((0, 2, -1),),
        ((0, 2, 2),),
    ),
    # x01 from x00 (left, right) and x11 (above, below), pairs beyond them, and the next on each axis
    (
        ((0, 0, 0),),
        ((0, 0, 1),),
        ((1, -1, 0),),
        ((1, 0, 0),),
        ((0, -1, 0), (0, -1, 1)),
        ((0, 1, 0), (0, 1, 1)),
        ((1, -1, -1), (1, 0, -1)),
        ((1, -1, 1), (1, 0, 1)),
        ((0, 0, -1),),
        ((0, 0, 2),),
        ((1, -2, 0),),
        ((1, 1, 0),),
    ),
    # x10 from x00 (above, below) and x11 (left, right), x01 at the corners, and pairs of x00 and x11 two away
    (
        ((0, 0, 0),),
        ((0, 1, 0),),
        ((1, 0, -1),),
        ((1, 0, 0),),
        ((2, 0, -1),),
        ((2, 0, 0),),
        ((2, 1, -1),),
        ((2, 1, 0),),
        ((0, 0, -1), (0, 1, -1)),
        ((0, 0, 1), (0, 1, 1)),
        ((1, -1, -1), (1, -1, 0)),
        ((1, 1, -1), (1, 1, 0)),
    ),
)
"""The taps of each stage. The first four are the nearest samples, whose mean is the baseline."""
_REACH = 2


def component(x: np.ndarray, index: int) -> np.ndarray:
    """Component ``index`` (0 ``a``, 1 ``d``, 2 ``b``, 3 ``c``) of ``x`` (..., h, w), not copied."""
    row, column = OFFSETS[index]
    return x[..., row::2, column::2]


def level_shape(height: int, width: int, level: int) -> tuple[int, int]:
    """Size of ``x[::2**level, ::2**level]``."""
    return -(-height >> level), -(-width >> level)


def level_count(height: int, width: int) -> int:
    """How often an image is split until one sample is left."""
    return max(height - 1, width - 1).bit_length()


def component_shape(height: int, width: int, index: int) -> tuple[int, int]:
    """Size of component ``index`` of an image (height, width); all but ``a`` may be empty."""
    row, column = OFFSETS[index]
    return (height + 1 - row) // 2, (width + 1 - column) // 2


def extend(part: np.ndarray, like: np.ndarray) -> np.ndarray:
    """``part`` (..., h', w') extended to the size of ``like`` (..., h, w) by repeating its last row and column. If it
    is empty, ``like`` is returned."""
    if part.shape == like.shape:
        return part
    if not part.size:
        return like
    rows, columns = like.shape[-2] - part.shape[-2], like.shape[-1] - part.shape[-1]
    return np.pad(part, [(0, 0)] * (part.ndim - 2) + [(0, rows), (0, columns)], mode="edge")


def _moved(x: np.ndarray, down: int, right: int) -> np.ndarray:
    """The sample ``down`` rows below and ``right`` columns to the right of each position, -1..1, edges repeated."""
    if down:
        x = np.concatenate([x[..., 1:, :], x[..., -1:, :]] if down > 0 else [x[..., :1, :], x[..., :-1, :]], axis=-2)
    if right:
        x = np.concatenate([x[..., 1:], x[..., -1:]] if right > 0 else [x[..., :1], x[..., :-1]], axis=-1)
    return x


def nearest_sum(known: list[np.ndarray]) -> np.ndarray:
    """Sum of the four nearest known samples at each position of the next component, int32 (..., h, w).

    ``known`` are the known components, int32 (..., h, w), all of the size of ``a``.
    """
    a, b, c, d = (_moved(known[index], down, right) for ((index, down, right),) in TAP_TABLE[len(known) - 1][:4])
    total: np.ndarray = a + b + c + d
    return total


def baseline(known: list[np.ndarray]) -> np.ndarray:
    """Rounded mean of the four nearest known samples: the prediction that networks correct. Shapes as above."""
    mean: np.ndarray = (nearest_sum(known) + 2) >> 2
    return mean


def taps(known: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the four nearest samples, int32 (N, h, w), and the distance of each tap from their mean in quarters of
    a grey level, int32 (TAPS, N, h, w). ``known`` are the known components of one band, int32 (N, h, w) each."""
    table, total = TAP_TABLE[len(known) - 1], nearest_sum(known)
    height, width = total.shape[1:]
    padded = [np.pad(part, ((0, 0), (_REACH, _REACH), (_REACH, _REACH)), mode="edge") for part in known]
    deviations = np.empty((len(table), *total.shape), np.int32)
    for out, tap in zip(deviations, table, strict=True):
        samples = [
            padded[index][:, _REACH + down : _REACH + down + height, _REACH + right : _REACH + right + width]
            for index, down, right in tap
        ]
        np.multiply(samples[0] if len(samples) == 1 else samples[0] + samples[1], 4 // len(samples), out=out)
        out -= total
    return total, deviations


def stacked(planes: np.ndarray) -> np.ndarray:
    """(..., n, h, w) as (..., n * h, w)."""
    return planes.reshape(*planes.shape[:-3], -1, planes.shape[-1])


@dataclass(frozen=True, eq=False)
class Near:
    """What lies near the positions of a band: its samples in the known components.

    Parameters
    ----------
    known
        The known components, int32 (N, 3, h, w) each.
    band
        Which of the three bands.
    rows, columns
        Positions are in these rows of all images, stacked below each other, and in the first columns.
    """

    known: list[np.ndarray]
    band: int
    rows: range
    columns: int

    @staticmethod
    def of(known: list[np.ndarray], band: int) -> Near:
        """Of all positions."""
        n, _, height, width = known[0].shape
        return Near([np.ascontiguousarray(part, np.int32) for part in known], band, range(n * height), width)

    def at(self, rows: slice, columns: slice) -> Near:
        """Of some of the positions: of rows from the first one on, and of the first columns."""
        few, width = self.rows[rows], range(self.columns)[columns]
        if few.start or width.start or width.step != 1:
            raise ValueError("positions are of rows from the first one on, and of the first columns")
        return replace(self, rows=few, columns=len(width))

    @property
    def samples(self) -> tuple[list[np.ndarray], np.ndarray]:
        """For compiled code, the known components and the samples of taps."""
        return self.known, tap_samples(len(self.known))

    @property
    def total(self) -> np.ndarray:
        """The sum of the four nearest samples, int32 (h, w)."""
        return self._taps[0]

    @property
    def taps(self) -> np.ndarray:
        """Distances of the taps from the mean of the nearest samples in quarters, int32 (TAPS, h, w)."""
        return self._taps[1]

    @cached_property
    def _taps(self) -> tuple[np.ndarray, np.ndarray]:
        whole = map(stacked, taps([part[:, self.band] for part in self.known]))
        total, deviations = (np.ascontiguousarray(part[..., :: self.rows.step, : self.columns]) for part in whole)
        return total[: len(self.rows)], deviations[:, : len(self.rows)]


@cache
def tap_samples(known: int) -> np.ndarray:
    """For compiled code, the two samples of each tap, the only one twice: int32 (TAPS, 2, 3)."""
    return np.array([tap * (2 // len(tap)) for tap in TAP_TABLE[known - 1]], np.int32)


def to_int8(numbers: np.ndarray) -> np.ndarray:
    """Integers clamped to 8 bits, int8 (...). ``np.clip`` takes several times as long on small arrays."""
    clamped: np.ndarray = np.minimum(np.maximum(numbers, -128), 127).astype(np.int8)
    return clamped


def network_input(known: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Baseline and pixels of a stage's network: the baseline less 128, and each known component less the baseline,
    clipped to 8 bits.

    Parameters
    ----------
    known
        int32 (N, 3, h, w) each.

    Returns
    -------
    int32 (N, 3, h, w), and int8 (N, h, w, 3 * (1 + len(known)))
    """
    work = compiled()
    if work is not None:
        known = [np.ascontiguousarray(part, np.int32) for part in known]
        return work.input(known, tap_samples(len(known)))
    base = baseline(known)
    parts = [(base - 128).astype(np.int8)] + [to_int8(k - base) for k in known]
    return base, np.ascontiguousarray(np.concatenate(parts, axis=1).transpose(0, 2, 3, 1))
