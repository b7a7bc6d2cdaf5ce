"""Samples of 16 bits. Page: there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from .numbers import Fields, check
from .streams import SymbolStream, pop_list


@dataclass
class DeepRange:
    """The ``Range`` of a tile's samples: indices of them are coded."""

    low: int
    top: int
    table: list[int] | None

    def __post_init__(self) -> None:
        octaves = 0
        while round(2 ** ((octaves + 1) / 16)) <= self.top + 1:
            octaves += 1
        self.log_gain = octaves - 128
        self.clipped = True

    def sample(self, index: int) -> int:
        """The sample of an index."""
        return self.low + index if self.table is None else self.table[index]

    def mapped(self, value: int) -> int:
        """What networks see."""
        return value * 256 // (self.top + 1)

    def mean(self, output: int, total: int) -> int:
        """A mean of indices."""
        c = 1 if total == 4 * self.top else -1 if total == 0 else 0
        return (output * (self.top + 1) >> 8) + (c * (self.top + 1) * 64 >> 10)

    def offset(self, offset: int) -> int:
        """An offset of means."""
        return offset * (self.top + 1) >> 8

    def seen_distance(self, value: int, mean: int) -> int:
        """In mapped values."""
        return self.mapped(value) - self.mapped(min(max((mean + 32) >> 6, 0), self.top))

    def brightness(self, total: int) -> int:
        """The class of a position."""
        return next((c for c in range(7, 0, -1) if total >= 4 * (self.top + 1) >> (8 - c)), 0)


def read_range(fields: Fields) -> DeepRange:
    """The mapping of a tile."""
    low, span, is_ranked = fields.u16(), fields.u16(), fields.u8()
    check(low + span <= 65535 and is_ranked < 2, "the range is impossible")
    if not is_ranked:
        return DeepRange(low, span, None)
    gaps = _gaps(SymbolStream(fields.take(fields.varint())))
    table = [low + distance for distance in accumulate(gaps, initial=0)]
    check(table[-1] == low + span and all(gap > 0 for gap in gaps), "the table does not fit")
    return DeepRange(low, len(table) - 1, table)


def _gaps(stream: SymbolStream) -> list[int]:
    (count,) = stream.pop_digits([1 << 16])
    tokens = pop_list(stream, count, 28)
    large = [1 << token - 12 for token in tokens if token >= 16]
    rests = iter([radix + digit for radix, digit in zip(large, stream.pop_digits(large), strict=True)])
    runs = tokens.count(0)
    lengths = iter([length + 16 for length in _numbers(stream, runs)])
    distances = iter([distance + 1 for distance in _numbers(stream, runs)])
    check(stream.told() == 0, "a number is told")
    gaps: list[int] = []
    for token in tokens:
        if token:
            gaps.append(token if token < 16 else next(rests))
            continue
        length, distance = next(lengths), next(distances)
        check(distance <= len(gaps) and len(gaps) + length < 1 << 16, "a run begins before the table")
        for _ in range(length):
            gaps.append(gaps[-distance])
    return gaps


def _numbers(stream: SymbolStream, count: int) -> list[int]:
    octaves = pop_list(stream, count, 17)
    digits = stream.pop_digits([1 << octave for octave in octaves])
    return [(1 << octave) - 1 + digit for octave, digit in zip(octaves, digits, strict=True)]
