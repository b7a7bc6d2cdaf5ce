"""JPEG block phase: the position of the 8 x 8 blocks of the JPEG file that an image came from.

Across the border of two blocks neighbouring pixels differ more than inside a block. If colours were stored at half the
resolution, this is also seen for 16 x 16 pixels, a pair of blocks in each direction. The encoder finds the phase and
writes it into the file, and the networks get a position encoding: which pixel of its block each position is. Without
blocks the encoding is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import FormatError

BLOCK, PAIR = 8, 16
"""Sides in pixels of a block, and of a pair of blocks with shared colours."""
_CODES = 1 + BLOCK + PAIR
PHASE_CHANNELS = 2 * (BLOCK + 1)
HOT = 64
"""The value 1 of a one-hot channel, in the network's input."""
_FRAC = 16
_MIN_CONTRAST = 1 << _FRAC - 4  # JPEG photographs have a contrast of 0.1 to 0.5, others below 0.03
_MIN_PAIR = 1 << _FRAC - 3


class BlockPhase(NamedTuple):
    """Positions of the first row and the first column of an image in their blocks.

    Each is a code: 0 without blocks, 1 + n for pixel n of a block, 9 + n for pixel n of a pair of blocks.
    """

    rows: int = 0
    columns: int = 0

    @property
    def number(self) -> int:
        """Both codes in one number, for ``numbered``: 0 without blocks."""
        return self.rows * _CODES + self.columns

    @staticmethod
    def numbered(number: int) -> BlockPhase:
        """The phase of a ``number``. Raises ``FormatError``."""
        if number >= _CODES**2:
            raise FormatError("the JPEG block phase is impossible: the file is damaged")
        return BlockPhase(*divmod(number, _CODES))

    @property
    def first(self) -> bool:
        """Whether a block begins at the first pixel, as in a JPEG file that was never cropped."""
        return all(code in (1, 1 + BLOCK) for code in self)

    def moved(self, down: int, right: int) -> BlockPhase:
        """The phase of the part of the image that begins ``down`` rows and ``right`` columns further on."""
        return BlockPhase(_moved(self.rows, down), _moved(self.columns, right))


NO_PHASE = BlockPhase()


def _moved(code: int, by: int) -> int:
    if code == 0:
        return 0
    first, period = (1, BLOCK) if code <= BLOCK else (1 + BLOCK, PAIR)
    return first + (code - first + by) % period


def mirrored_code(code: int) -> int:
    """The code of a row or column of the mirrored image, given its ``code`` in the image."""
    if code == 0:
        return 0
    return 1 + BLOCK - code if code <= BLOCK else 1 + 2 * BLOCK + PAIR - code


def position_encoding(code: int, count: int, stride: int) -> np.ndarray:
    """Position encoding of ``count`` rows, or columns, that are ``stride`` pixels apart: int8 (9, count).

    The first 8 channels are one-hot (64): the pixel of the block. The last is -64 in the first and 64 in the second
    block of a pair, and 0 without pairs. ``code`` is that of the first row.
    """
    seen = np.zeros((BLOCK + 1, count), np.int8)
    if code:
        paired = code > BLOCK
        at = (code - (1 + BLOCK if paired else 1) + stride * np.arange(count)) % PAIR
        seen[at % BLOCK, np.arange(count)] = HOT
        if paired:
            seen[BLOCK] = np.where(at < BLOCK, -HOT, HOT)
    return seen


def find_phase(planes: np.ndarray) -> BlockPhase:
    """Find the block phase of an image's planes, integers (bands, h, w), ``NO_PHASE`` if there are no blocks.

    Each difference between neighbours votes for a block border there if it is larger than the differences beside it,
    and against it if it is smaller. The votes for one phase must stand out, both in rows and in columns.
    """
    green = planes[0].astype(np.int16)
    seen = [green, *(plane.astype(np.int16) - green for plane in planes[1:])]
    rows, columns = _code([plane.T for plane in seen]), _code(seen)
    return BlockPhase(rows, columns) if rows and columns else NO_PHASE


def _code(planes: list[np.ndarray]) -> int:
    """The code of the first column of planes (h, w)."""
    height, width = planes[0].shape
    if width < 4 * PAIR or height < PAIR:
        return 0
    votes = [_votes(plane) for plane in planes]
    found = _means(sum(votes[1:], votes[0]), BLOCK)
    best = int(found.argmax())
    others = np.delete(found, best)
    middle = int(others.sum()) // len(others)
    contrast = int(found[best]) - middle
    # The standard deviation of random votes is about one over the root of their number.
    chance = (10 << _FRAC) ** 2 * BLOCK // (height * width)
    if contrast < _MIN_CONTRAST or contrast**2 < chance or contrast < int(np.abs(others - middle).max()):
        return 0
    # ``best`` is the phase of columns that begin a block: column 0 is pixel ``-best`` of its block.
    if len(planes) > 1:
        halves = _means(sum(votes[2:], votes[1]), PAIR)
        first, second = int(halves[best]), int(halves[best + BLOCK])
        if abs(first - second) > _MIN_PAIR:
            return 1 + BLOCK + (-(best if first > second else best + BLOCK)) % PAIR
    return 1 + -best % BLOCK


def _votes(plane: np.ndarray) -> np.ndarray:
    """Mean votes for a border before each of the columns 2 .. w - 2, int64 (w - 3,)."""
    steps = np.abs(plane[:, 1:] - plane[:, :-1])
    votes: np.ndarray = np.sign(2 * steps[:, 1:-1] - steps[:, :-2] - steps[:, 2:]).sum(axis=0, dtype=np.int64)
    return votes * (1 << _FRAC) // len(plane)


def _means(votes: np.ndarray, period: int) -> np.ndarray:
    """Mean votes by the phase of the column after the border: int64 (period,)."""
    phase = (np.arange(len(votes)) + 2) % period
    # Exact: sums of integers below 2**53.
    total = np.bincount(phase, votes, period).astype(np.int64)
    means: np.ndarray = total // np.bincount(phase, minlength=period)
    return means
