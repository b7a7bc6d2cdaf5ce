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
from .lanes import HEAD_LOW, Lanes, read_stack, write_stack
from .symbols import SymbolSink, SymbolSource, push_items

MAX_LANES = 512
_ITEMS_PER_LANE = 768  # a lane costs about four bits at the flush: 0.1-0.2 % at usual rates
_WIDEN_FACTOR = 16
_MAX_NARROW_STEPS = 1024  # on flat content, start lanes empty rather than crawl on with few of them
_STEPS_WORTH_WIDENING = 64


class SymbolWriter(SymbolSink):
    """Collects symbols in decoding order; ``finish`` codes them."""

    def finish(self) -> bytes:
        """The bytes that ``SymbolReader`` reads."""
        ends = np.cumsum([len(g[0]) for g in self.groups], dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        widths = _widths(total)
        lanes = Lanes(widths[0])
        widenings: list[tuple[int, int]] = []  # (item index, seeded heads), the encoder's order
        phase_steps = 0
        high = total
        for (first, second, bits), end in zip(reversed(self.groups), reversed(ends), strict=True):
            begin = int(end) - len(first)
            while high > begin:
                width = len(lanes.heads)
                # Steps are aligned to the beginning of their group, so that the decoder finds them.
                low = begin + (high - begin - 1) // width * width
                item = slice(low - begin, high - begin)
                push_items(lanes, (first, second, bits), item)
                high = low
                phase_steps += 1
                if len(widenings) + 1 < len(widths):
                    wider = widths[len(widenings) + 1]
                    ready = lanes.stack.size >= 2 * (wider - width) or phase_steps >= _MAX_NARROW_STEPS
                    if ready and high >= wider * _STEPS_WORTH_WIDENING:
                        widenings.append((high, lanes.widen(wider)))
                        phase_steps = 0
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

    def _steps(self, count: int) -> Iterator[tuple[int, int]]:
        begin = at = self._position
        end = begin + count
        while True:
            while self._widenings and self._widenings[0][0] == at:
                _, seeded = self._widenings.pop(0)
                self._lanes.narrow(max(1, len(self._lanes.heads) // _WIDEN_FACTOR), seeded)
            if at >= end:
                break
            width = len(self._lanes.heads)
            stop = min(end, begin + ((at - begin) // width + 1) * width)
            if self._widenings:
                stop = min(stop, max(self._widenings[0][0], at + 1))
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
