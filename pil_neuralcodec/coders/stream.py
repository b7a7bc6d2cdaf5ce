"""A sequence of symbols as bytes.

The writer collects symbols in the order in which the decoder will want them, then codes them backwards, as a stack
demands. Many lanes make numpy fast, but every lane costs about 32 bits at the start. So the writer starts with one
or two lanes on the symbols that are decoded last, and once their words can seed the heads of a wider set of lanes it
goes on with that: the seeds are payload, and nothing is lost. The reader narrows its lanes at the same places.

Layout: varints ``lanes``, number of widenings, and for each widening (the decoder's order) the item index and the
number of seeded heads; then the heads (4 bits of length each, then their bits below the leading one); then the words,
top of the stack first, so that a prefix of the bytes decodes a prefix of the symbols.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import FormatError
from ..varint import read_varint, write_varint
from .engine import NO_LIMIT, Limit, engine
from .lanes import HEAD_LOW, Lanes, read_stack, write_stack
from .symbols import SymbolSink, SymbolSource

MAX_LANES = 512
_ITEMS_PER_LANE = 768  # a lane costs about four bits at the flush: 0.1-0.2 % at usual rates
_WIDEN_FACTOR = 16
_MAX_NARROW_STEPS = 1024  # on flat content, start lanes empty rather than crawl on with few of them
_STEPS_WORTH_WIDENING = 64


class SymbolWriter(SymbolSink):
    """Collects symbols in decoding order; ``finish`` codes them."""

    def finish(self) -> bytes:
        """The bytes that ``SymbolReader`` reads."""
        ends = np.cumsum([len(group.first) for group in self.groups], dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        first, *wider = _widths(total)
        lanes, push = Lanes(first), engine().push
        widenings: list[tuple[int, int]] = []  # (item index, seeded heads), the encoder's order
        steps = 0  # since the last widening
        for group, end in zip(reversed(self.groups), reversed(ends.tolist()), strict=True):
            begin, high = end - len(group.first), len(group.first)
            while high:
                width = len(lanes.heads)
                enough = Limit(2 * (wider[0] - width), _MAX_NARROW_STEPS - steps) if wider else NO_LIMIT
                # Steps are aligned to the beginning of their group or half row, so that the decoder finds them.
                low = push(lanes, group, 0, high, enough)
                steps += group.steps(low, high, width)
                high = low
                if wider and (lanes.stack.size >= enough.words or steps >= _MAX_NARROW_STEPS):
                    if begin + high >= wider[0] * _STEPS_WORTH_WIDENING:
                        widenings.append((begin + high, lanes.widen(wider.pop(0))))
                        steps = 0
                    else:
                        wider.clear()
        return _assemble(lanes, widenings[::-1])


class SymbolReader(SymbolSource):
    """Reads what ``SymbolWriter`` wrote; ``get`` calls must mirror its ``put`` calls.

    Raises ``FormatError`` when the data is malformed or runs out.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        count, at = read_varint(view, 0)
        n_widenings, at = read_varint(view, at)
        if not 1 <= count <= MAX_LANES or n_widenings > 8:
            raise FormatError("the compressed data has an impossible number of lanes: the file is damaged")
        self._widenings: list[tuple[int, int]] = []
        for _ in range(n_widenings):
            index, at = read_varint(view, at)
            seeded, at = read_varint(view, at)
            self._widenings.append((index, seeded))
        super().__init__(read_stack(view, at, count))
        self._position = 0

    def _runs(self, count: int) -> Iterator[tuple[int, int]]:
        begin = at = self._position
        end = begin + count
        while True:
            while self._widenings and self._widenings[0][0] == at:
                _, seeded = self._widenings.pop(0)
                self._lanes.narrow(max(1, len(self._lanes.heads) // _WIDEN_FACTOR), seeded)
            if at >= end:
                break
            stop = min(end, self._widenings[0][0]) if self._widenings else end
            if stop <= at:
                raise FormatError("the compressed data widens its lanes out of order: the file is damaged")
            yield at - begin, stop - begin
            at = stop
        self._position = end

    def close(self) -> None:
        """Check that everything was consumed, to the last word and the first state of each head."""
        if self._lanes.stack.size or self._widenings or (self._lanes.heads != HEAD_LOW).any():
            raise FormatError("the compressed data does not end where it should: the file is damaged")


def lane_count(total: int) -> int:
    """Lanes for ``total`` symbols, at the widest."""
    lanes = 1
    while lanes < MAX_LANES and lanes * 2 * _ITEMS_PER_LANE <= total:
        lanes *= 2
    return lanes


def _widths(total: int) -> list[int]:
    """Lane counts, narrow to wide, for a sequence of ``total`` symbols."""
    widths = [lane_count(total)]
    while widths[0] > 2:
        widths.insert(0, max(1, widths[0] // _WIDEN_FACTOR))
    return widths


def _assemble(lanes: Lanes, widenings: list[tuple[int, int]]) -> bytes:
    out = bytearray(write_varint(len(lanes.heads)) + write_varint(len(widenings)))
    for index, seeded in widenings:
        out += write_varint(index) + write_varint(seeded)
    return bytes(out + write_stack(lanes))
