"""A sequence of symbols as bytes.

The writer collects symbols in the order in which the decoder will want them, then codes them backwards, as a stack
demands. Many lanes are fast, but need payload to seed them. So the writer starts with one lane on the symbols that are
decoded last, and goes on with more as soon as what it has coded can seed them; where symbols cost next to nothing, that
is late, or never. The reader narrows its lanes at the same places. What the first lane starts with is paid for as well:
its 32 bits are free to tell something, such as a checksum.

Layout: varint, number of narrowings; a varint for each, the symbols before it, in the decoder's order; then the lanes,
see ``widths.write_lanes``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import FormatError
from ..varint import read_varint, write_varint
from .engine import engine
from .lanes import HEAD_LOW_BITS, Lanes
from .symbols import SymbolSink, SymbolSource
from .widths import FACTOR, MOST_STEPS, narrow, read_lanes, widen, words_to_widen, write_lanes

_WORTH_WIDENING = 128
"""Symbols for each lane that make wider lanes worth the bytes that tell where."""


def first_lane(told: int) -> Lanes:
    """A lane on an empty stack, whose 32 bits tell a number."""
    lanes = Lanes(1)
    lanes.heads += told
    return lanes


def last_told(lanes: Lanes) -> int:
    """The number of ``first_lane``, once everything else is popped. Raises ``FormatError`` where there is more."""
    head = int(lanes.heads[0])  # numpy 1 shifts no unsigned 64-bit number by an integer
    if lanes.stack.size or len(lanes.heads) > 1 or head >> HEAD_LOW_BITS != 1:
        raise FormatError("the compressed data does not end where it should: the file is damaged")
    return head - (1 << HEAD_LOW_BITS)


class SymbolWriter(SymbolSink):
    """Collects symbols in decoding order; ``finish`` codes them."""

    def finish(self, told: int = 0) -> bytes:
        """The bytes that ``SymbolReader`` reads; ``told`` is a number below 2**32 that costs nothing."""
        lanes = first_lane(told)
        return write_narrowings(self.push(lanes)) + write_lanes(lanes)

    def push(self, lanes: Lanes) -> list[int]:
        """Push everything, from one lane on. Returns where a ``NarrowingSource`` narrows."""
        coder = engine()
        narrowings: list[int] = []
        begin = sum(len(group.first) for group in self.groups)
        for group in reversed(self.groups):
            high = len(group.first)
            begin -= high
            while high:
                width = len(lanes.heads)
                if len(narrowings) == MOST_STEPS or begin + high < _WORTH_WIDENING * FACTOR * width:
                    coder.push_all(lanes, group, high)
                    break
                # Steps are aligned to the beginning of their group, so that the decoder finds them.
                part, floor = group.last(high)
                high = floor + coder.push(lanes, part, 0, high - floor, words_to_widen(width))
                if lanes.stack.size >= words_to_widen(width):
                    narrowings.append(begin + high)
                    widen(lanes, FACTOR * width)
        return narrowings[::-1]


class NarrowingSource(SymbolSource):
    """Reads what ``SymbolWriter.push`` pushed on lanes, which it narrows; ``get`` calls must mirror ``put`` calls.

    Raises ``FormatError`` when the data is malformed or runs out.
    """

    def __init__(self, lanes: Lanes, narrowings: list[int]) -> None:
        super().__init__(lanes)
        self._narrowings = list(narrowings)
        self._position = 0

    def _runs(self, count: int) -> Iterator[tuple[int, int]]:
        begin = at = self._position
        end = begin + count
        while True:
            while self._narrowings and self._narrowings[0] == at:
                del self._narrowings[0]
                narrow(self._lanes, len(self._lanes.heads) // FACTOR)
            if at >= end:
                break
            stop = min(end, self._narrowings[0]) if self._narrowings else end
            if stop <= at:
                raise FormatError("the compressed data narrows its lanes out of order: the file is damaged")
            yield at - begin, stop - begin
            at = stop
        self._position = end

    def told(self) -> int:
        """What the writer was told; checks that everything was consumed, to the last word."""
        return last_told(self._lanes)

    def close(self) -> None:
        """Check that everything was consumed, and that the writer was told nothing."""
        if self.told():
            raise FormatError("the compressed data does not end as it should: the file is damaged")


class SymbolReader(NarrowingSource):
    """A ``NarrowingSource`` of the bytes of ``SymbolWriter.finish``."""

    def __init__(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        narrowings, at = read_narrowings(view, 0)
        super().__init__(read_lanes(view[at:], len(narrowings)), narrowings)


def write_narrowings(narrowings: list[int]) -> bytes:
    """Where a reader narrows its lanes: their number and each of them."""
    return b"".join(map(write_varint, [len(narrowings), *narrowings]))


def read_narrowings(view: memoryview, at: int) -> tuple[list[int], int]:
    """What ``write_narrowings`` wrote at ``at``, and where it ends. Raises ``FormatError``."""
    count, at = read_varint(view, at)
    if count > MOST_STEPS:
        raise FormatError("the compressed data has an impossible number of lanes: the file is damaged")
    narrowings = []
    for _ in range(count):
        narrowing, at = read_varint(view, at)
        narrowings.append(narrowing)
    return narrowings, at
