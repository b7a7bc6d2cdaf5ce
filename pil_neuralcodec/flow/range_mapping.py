"""Dynamic-range mapping: how networks see samples of more than eight bits.

Networks know images of 256 tones. Samples of 16 bits are coded at full precision, but shown to networks as tones, equal
parts of the range between the smallest and the largest sample of a tile; what networks say in tones is brought back by
the number of samples that make one.

Where many numbers of that range never occur, as after a stretch of the contrast, or between what is dark and a few
bright spots, samples are first replaced by their ranks among those that do.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..coders.logistic import power_of_two
from ..errors import FormatError
from ..varint import read_varint, write_varint
from .sample_table import pack_flags, unpack_flags

TONES = 256
GAIN_FRAC = 8
_SPARSE = 4
"""Ranks are taken where at most one of so many numbers occurs, for what networks see of them."""


@dataclass(frozen=True, eq=False)
class RangeMapping:
    """Of one tile, whose samples are ``low .. low + span``, or, with ``present``, those of them that it flags: bool
    (span + 1,), True at both ends."""

    low: int
    span: int
    present: np.ndarray | None = None

    @staticmethod
    def of(samples: np.ndarray) -> RangeMapping:
        """For a tile's ``samples``, uint16."""
        low, high = int(samples.min()), int(samples.max())
        counts = np.bincount((samples - np.uint16(low)).reshape(-1))
        present = counts > 0
        used = np.flatnonzero(present)
        # A gap of n numbers beside a sample costs about log2(n) bits each time that the sample occurs.
        octaves = np.frexp(np.diff(used, append=high - low + 1))[1] - 1
        saved, price = int((counts[used] * octaves).sum()), 8 * len(pack_flags(present))
        sparse = len(used) * _SPARSE <= high - low and 4 * price < samples.size
        return RangeMapping(low, high - low, present if sparse or saved > 2 * price else None)

    def pack(self) -> bytes:
        """For ``unpack``."""
        head = struct.pack("<HHB", self.low, self.span, self.present is not None)
        if self.present is None:
            return head
        packed = pack_flags(self.present)
        return head + write_varint(len(packed)) + packed

    @staticmethod
    def unpack(view: memoryview) -> tuple[RangeMapping, int]:
        """What ``pack`` wrote at the beginning, and where it ends. Raises ``FormatError``."""
        if len(view) < 5:
            raise FormatError("a tile ends in its header: the file is damaged or truncated")
        low, span, ranked = struct.unpack_from("<HHB", view)
        if ranked > 1 or low + span > 65535:
            raise FormatError("a tile of unknown tones: the file is damaged")
        if not ranked:
            return RangeMapping(low, span), 5
        size, at = read_varint(view, 5)
        return RangeMapping(low, span, unpack_flags(view[at : at + size], span + 1)), at + size

    @cached_property
    def _used(self) -> np.ndarray:
        """The samples that coded numbers stand for, int32."""
        offsets = np.arange(self.span + 1) if self.present is None else np.flatnonzero(self.present)
        return (offsets + self.low).astype(np.int32)

    @property
    def top(self) -> int:
        """Coded numbers are 0 .. top."""
        return len(self._used) - 1

    def numbers(self, samples: np.ndarray) -> np.ndarray:
        """The coded numbers, int32, of samples."""
        offsets = samples.astype(np.int32) - self.low
        if self.present is None:
            return offsets
        ranks: np.ndarray = (np.cumsum(self.present, dtype=np.int32) - 1)[offsets]
        return ranks

    def samples(self, numbers: np.ndarray) -> np.ndarray:
        """Inverse of ``numbers``, int32. As in ``tones``, what is beyond the ends counts as these."""
        samples: np.ndarray = self._used.take(numbers, mode="clip")
        return samples

    def tones(self, numbers: np.ndarray) -> np.ndarray:
        """What networks see, int32 0..255, of numbers."""
        inside = np.minimum(np.maximum(numbers, 0), self.top)
        tones: np.ndarray = (inside * TONES // self.gain).astype(np.int32)
        return tones

    def light(self, total: np.ndarray) -> np.ndarray:
        """How bright it is where the four nearest numbers have a sum: 7 in the brighter half of the tones, 6 in the
        brighter half of the rest, and so on down to 0; int64."""
        begins = [4 * (self.top + 1) >> halvings for halvings in range(7, 0, -1)]
        return np.searchsorted(begins, total, side="right")

    @property
    def gain(self) -> int:
        """How many numbers make a tone, in 1/256."""
        return self.top + 1

    @cached_property
    def octaves(self) -> int:
        """log2 of that, in 1/16."""
        return int(np.searchsorted(_POWERS, self.gain, side="right")) - 1 - 16 * GAIN_FRAC


_POWERS = np.array([power_of_two(sixteenths, 0) for sixteenths in range(16 * 16 + 1)], np.int64)


def seen_as(mappings: Sequence[RangeMapping], numbers: np.ndarray) -> np.ndarray:
    """What networks see of tiles' numbers (N, ...): int32 likewise. Numbers beyond the ends count as these."""
    return np.stack([one.tones(tile) for one, tile in zip(mappings, numbers, strict=True)])
