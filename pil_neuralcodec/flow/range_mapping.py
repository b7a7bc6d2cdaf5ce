"""Dynamic-range mapping: how networks for 8-bit images see samples of 16 bits.

Samples are coded at full precision, as indices 0..top: the sample less the smallest of its tile. The networks see the
index mapped linearly to 0..255. Their predictions are scaled back by the gain, the number of indices per mapped value.

If most values between the smallest and the largest sample do not occur, as after a contrast stretch, or in a dark image
with a few bright spots, the index of a sample is its rank among the values that do occur.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..coders.logistic import power_of_two
from ..errors import FormatError
from ..lazy import cached_property
from ..varint import read_varint, write_varint
from .compiled import compiled
from .sample_table import pack_flags, unpack_flags

MAPPED_VALUES = 256
GAIN_FRAC = 8
_SPARSE = 4
"""Ranks are used if at most one of so many values occurs: the networks then see differences that were too small."""
_POWERS = np.array([power_of_two(sixteenths, 0) for sixteenths in range(16 * 16 + 1)], np.int64)


@dataclass(frozen=True, eq=False)
class RangeMapping:
    """The mapping of one tile.

    Parameters
    ----------
    low, span
        Samples are low .. low + span.
    present
        Which of these values occur, bool (span + 1,), True at both ends; None if indices are not ranks.
    """

    low: int
    span: int
    present: np.ndarray | None = None

    @staticmethod
    def of(samples: np.ndarray) -> RangeMapping:
        """The mapping for the samples of a tile, uint16 of any shape."""
        low, high = int(samples.min()), int(samples.max())
        counts = np.bincount((samples - np.uint16(low)).reshape(-1))
        present = counts > 0
        used = np.flatnonzero(present)
        # A gap of n values behind a sample costs about log2(n) bits each time that the sample occurs.
        gap_bits = np.frexp(np.diff(used, append=high - low + 1))[1] - 1
        saved, price = int((counts[used] * gap_bits).sum()), 8 * len(pack_flags(present))
        sparse = len(used) * _SPARSE <= high - low and 4 * price < samples.size
        return RangeMapping(low, high - low, present if sparse or saved > 2 * price else None)

    def pack(self) -> bytes:
        """The mapping as bytes, for ``unpack``."""
        head = struct.pack("<HHB", self.low, self.span, self.present is not None)
        if self.present is None:
            return head
        packed = pack_flags(self.present)
        return head + write_varint(len(packed)) + packed

    @staticmethod
    def unpack(view: memoryview) -> tuple[RangeMapping, int]:
        """The mapping at the beginning of ``view``, and the position of its end. Raises ``FormatError``."""
        if len(view) < 5:
            raise FormatError("a tile ends in its header: the file is damaged or truncated")
        low, span, ranked = struct.unpack_from("<HHB", view)
        if ranked > 1 or low + span > 65535:
            raise FormatError("a tile's dynamic-range mapping is invalid: the file is damaged")
        if not ranked:
            return RangeMapping(low, span), 5
        size, at = read_varint(view, 5)
        return RangeMapping(low, span, unpack_flags(view[at : at + size], span + 1)), at + size

    @cached_property
    def _used(self) -> np.ndarray:
        """The sample of each index, int32."""
        offsets = np.arange(self.span + 1) if self.present is None else np.flatnonzero(self.present)
        return (offsets + self.low).astype(np.int32)

    @cached_property
    def top(self) -> int:
        """Largest index."""
        return len(self._used) - 1

    def indices(self, samples: np.ndarray) -> np.ndarray:
        """Indices of samples, int32."""
        offsets = samples.astype(np.int32) - self.low
        if self.present is None:
            return offsets
        ranks: np.ndarray = (np.cumsum(self.present, dtype=np.int32) - 1)[offsets]
        return ranks

    def samples(self, indices: np.ndarray) -> np.ndarray:
        """Inverse of ``indices``, int32. Indices beyond 0..top are clipped."""
        samples: np.ndarray = self._used.take(indices, mode="clip")
        return samples

    def mapped(self, indices: np.ndarray) -> np.ndarray:
        """The network's input, int32 0..255, for indices. Indices beyond 0..top are clipped."""
        work = compiled()
        if work is not None:
            out = np.empty(indices.shape, np.int32)
            work.mapped(np.ascontiguousarray(indices, np.int32).reshape(-1), self.numbers, out.reshape(-1))
            return out
        inside = np.minimum(np.maximum(indices, 0), self.top)
        mapped: np.ndarray = (inside * MAPPED_VALUES // self.gain).astype(np.int32)
        return mapped

    def brightness(self, total: np.ndarray) -> np.ndarray:
        """Class of brightness, uint8, from the sum of the four nearest indices: 7 in the upper half of the range, 6 in
        the upper half of the rest, and so on down to 0."""
        begins = [4 * (self.top + 1) >> halvings for halvings in range(7, 0, -1)]
        return np.searchsorted(begins, total, side="right").astype(np.uint8)

    @property
    def numbers(self) -> tuple[int, int]:
        """What compiled code is told: ``top`` and ``log_gain``."""
        return self.top, self.log_gain

    @property
    def gain(self) -> int:
        """Indices per mapped value, in 1/256."""
        return self.top + 1

    @cached_property
    def log_gain(self) -> int:
        """log2 of the gain, in 1/16."""
        return int(np.searchsorted(_POWERS, self.gain, side="right")) - 1 - 16 * GAIN_FRAC


def mapped_all(mappings: Sequence[RangeMapping], indices: np.ndarray) -> np.ndarray:
    """``RangeMapping.mapped`` for each tile of ``indices`` (N, ...): int32."""
    return np.stack([mapping.mapped(tile) for mapping, tile in zip(mappings, indices, strict=True)])


def numbers_of(mapping: RangeMapping | None) -> tuple[int, int] | None:
    """``RangeMapping.numbers``; None without a mapping."""
    return None if mapping is None else mapping.numbers
