"""JPEG block phase: where the blocks lie of the JPEG file that an image once was.

Photographs that were JPEG files still show the borders of their blocks of 8 x 8 pixels, and of 16 x 16 where colours
were stored at half the resolution: across a border neighbours differ more than inside. An encoder finds the phase of
the blocks, the file says it, and networks get a position encoding: for every position, which pixel of its block it is.
Where there are no blocks the encoding is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK, PAIR = 8, 16
"""Sides of a block, and of a pair of blocks that share their colours."""
PHASE_CHANNELS = 2 * (BLOCK + 1)
HOT = 64
"""What networks see where a position is the one that a channel stands for."""
_FRAC = 16
_MIN_CONTRAST = 1 << _FRAC - 4  # of votes: on JPEG photographs 0.1 to 0.5, on others below 0.03
_MIN_PAIR = 1 << _FRAC - 3


class BlockPhase(NamedTuple):
    """Where the first row and the first column lie in their blocks, each as a code: 0 if there are none, 1 + n for
    pixel n of 8, 9 + n for pixel n of a pair of blocks, 0..15."""

    rows: int = 0
    columns: int = 0

    @property
    def sound(self) -> bool:
        """Whether these are codes."""
        return all(0 <= code <= BLOCK + PAIR for code in self)

    @property
    def first(self) -> bool:
        """Whether a block, or pair, begins at the first pixel, as where a JPEG file was never cut."""
        return all(code in (1, 1 + BLOCK) for code in self)

    def moved(self, down: int, right: int) -> BlockPhase:
        """That of a part of the image which begins there."""
        return BlockPhase(_moved(self.rows, down), _moved(self.columns, right))


NO_PHASE = BlockPhase()


def _moved(code: int, by: int) -> int:
    if code == 0:
        return 0
    first, period = (1, BLOCK) if code <= BLOCK else (1 + BLOCK, PAIR)
    return first + (code - first + by) % period


def mirrored_code(code: int) -> int:
    """Code of the last row or column of a block, or pair, where ``code`` is the first when looked at the other way."""
    if code == 0:
        return 0
    return 1 + BLOCK - code if code <= BLOCK else 1 + 2 * BLOCK + PAIR - code


def position_encoding(code: int, count: int, stride: int) -> np.ndarray:
    """What networks see of ``count`` rows (or columns) that are ``stride`` pixels apart: int8 (9, count). For each
    pixel of a block a channel, 64 where a row is that pixel; and -64 or 64 in the first or second block of a pair."""
    seen = np.zeros((BLOCK + 1, count), np.int8)
    if code:
        paired = code > BLOCK
        at = (code - (1 + BLOCK if paired else 1) + stride * np.arange(count)) % PAIR
        seen[at % BLOCK, np.arange(count)] = HOT
        if paired:
            seen[BLOCK] = np.where(at < BLOCK, -HOT, HOT)
    return seen


def position_planes(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What networks see of positions, int8 (18, h, w), from what they see of rows (9, h) and columns (9, w)."""
    seen = np.empty((PHASE_CHANNELS, rows.shape[1], columns.shape[1]), np.int8)
    seen[: BLOCK + 1] = rows[:, :, None]
    seen[BLOCK + 1 :] = columns[:, None, :]
    return seen


def find_phase(planes: np.ndarray) -> BlockPhase:
    """The grid of an image's planes, integers (bands, h, w), 3 in coding order G, R, B or a single one.

    Every difference between neighbours votes for or against a border there, whether it is larger than those beside it
    or not; counted are integers. The votes of one phase must stand out, in rows and in columns.
    """
    green = planes[0].astype(np.int16)
    seen = [green, *(plane.astype(np.int16) - green for plane in planes[1:])]
    rows, columns = _code([plane.T for plane in seen]), _code(seen)
    return BlockPhase(rows, columns) if rows and columns else NO_PHASE


def _code(planes: list[np.ndarray]) -> int:
    """Of the columns of planes (h, w)."""
    height, width = planes[0].shape
    if width < 4 * PAIR or height < PAIR:
        return 0
    votes = [_votes(plane) for plane in planes]
    found = _means(sum(votes[1:], votes[0]), BLOCK)
    best = int(found.argmax())
    others = np.delete(found, best)
    middle = int(others.sum()) // len(others)
    contrast = int(found[best]) - middle
    # By chance votes differ by about one over the root of their number.
    chance = (10 << _FRAC) ** 2 * BLOCK // (height * width)
    if contrast < _MIN_CONTRAST or contrast**2 < chance or contrast < int(np.abs(others - middle).max()):
        return 0
    # ``best`` is the phase of columns that begin a block: column 0 is ``-best`` in its own.
    if len(planes) > 1:
        halves = _means(sum(votes[2:], votes[1]), PAIR)
        first, second = int(halves[best]), int(halves[best + BLOCK])
        if abs(first - second) > _MIN_PAIR:
            return 1 + BLOCK + (-(best if first > second else best + BLOCK)) % PAIR
    return 1 + -best % BLOCK


def _votes(plane: np.ndarray) -> np.ndarray:
    """Of the borders before columns 2 .. w - 2, int64 (w - 3,)."""
    steps = np.abs(plane[:, 1:] - plane[:, :-1])
    votes: np.ndarray = np.sign(2 * steps[:, 1:-1] - steps[:, :-2] - steps[:, 2:]).sum(axis=0, dtype=np.int64)
    return votes * (1 << _FRAC) // len(plane)


def _means(votes: np.ndarray, period: int) -> np.ndarray:
    """By phase of the column behind the border: int64 (period,)."""
    phase = (np.arange(len(votes)) + 2) % period
    # Exact: sums of integers below 2**53.
    total = np.bincount(phase, votes, period).astype(np.int64)
    means: np.ndarray = total // np.bincount(phase, minlength=period)
    return means
