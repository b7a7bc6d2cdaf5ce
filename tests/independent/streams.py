"""Lanes of rANS and UBCS over a stack of words, and symbol streams. Page: Symbol stream, Lists of symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import isqrt

from .numbers import Fields, check

Interval = tuple[int, int, int]
"""Symbol, start, frequency."""
Find = Callable[[int, int], Interval]
"""Of an item of a group and a slot: the symbol whose interval holds the slot."""
LOW = 1 << 32
TOTAL = 24


class Lanes:
    """Heads over a stack of words, whose last is the top. A group may be popped, or pushed."""

    def __init__(self, heads: list[int], words: list[int]) -> None:
        self.heads, self.words = heads, words

    def _take(self, limits: Sequence[int]) -> None:
        for lane in reversed(range(len(limits))):
            if self.heads[lane] < limits[lane]:
                check(bool(self.words), "the stack is empty")
                self.heads[lane] = self.heads[lane] << 16 | self.words.pop()

    def _send(self, limits: Sequence[int]) -> None:
        for lane, limit in enumerate(limits):
            if self.heads[lane] >= limit:
                self.words.append(self.heads[lane] & 0xFFFF)
                self.heads[lane] >>= 16

    def _steps(self, count: int) -> Iterator[range]:
        """The items of each step of a group."""
        for low in range(0, count, len(self.heads)):
            yield range(low, min(count, low + len(self.heads)))

    def _pop_steps(self, count: int) -> Iterator[range]:
        """The same, where a group is popped."""
        return self._steps(count)

    def _pop_step(self, items: range, find: Find, bits: int) -> list[int]:
        symbols, mask = [], (1 << bits) - 1
        for lane, item in enumerate(items):
            head = self.heads[lane]
            symbol, start, freq = find(item, head & mask)
            self.heads[lane] = freq * (head >> bits) + (head & mask) - start
            symbols.append(symbol)
        self._take([1 << 16] * len(items))
        self._take([LOW] * len(items))
        return symbols

    def _pop_digits_step(self, radices: Sequence[int]) -> list[int]:
        self._take([LOW * radix for radix in radices])
        digits = []
        for lane, radix in enumerate(radices):
            self.heads[lane], digit = divmod(self.heads[lane], radix)
            digits.append(digit)
        return digits

    def pop(self, count: int, find: Find, bits: int = TOTAL) -> list[int]:
        """A group of rANS symbols out of ``2**bits``."""
        return [symbol for items in self._pop_steps(count) for symbol in self._pop_step(items, find, bits)]

    def pop_digits(self, radices: Sequence[int]) -> list[int]:
        """A group of UBCS digits, each of a radix."""
        return [
            digit
            for items in self._pop_steps(len(radices))
            for digit in self._pop_digits_step(radices[items.start : items.stop])
        ]

    def push(self, intervals: Sequence[tuple[int, int]], bits: int = TOTAL) -> None:
        """Undo ``pop`` of symbols with these starts and frequencies."""
        for items in reversed(list(self._steps(len(intervals)))):
            step = intervals[items.start : items.stop]
            limits = [freq << (48 - bits) for _, freq in step]
            self._send(limits)
            self._send(limits)
            for lane, (start, freq) in enumerate(step):
                quotient, rest = divmod(self.heads[lane], freq)
                self.heads[lane] = (quotient << bits) + rest + start

    def push_digits(self, digits: Sequence[int], radices: Sequence[int]) -> None:
        """Undo ``pop_digits``."""
        for items in reversed(list(self._steps(len(digits)))):
            for lane, item in enumerate(items):
                self.heads[lane] = self.heads[lane] * radices[item] + digits[item]
            self._send([1 << 48] * len(items))

    def widen(self) -> None:
        """Sixteen times as many lanes, whose heads are popped from those that there are."""
        new = 15 * len(self.heads)
        octaves = self.pop_digits([16] * new)
        first, second = self.pop_digits([1 << 16] * new), self.pop_digits([1 << 16] * new)
        third = self.pop_digits([1 << octave for octave in octaves])
        for octave, a, b, c in zip(octaves, first, second, third, strict=True):
            self.heads.append((1 << 32 | a << 16 | b) << octave | c)

    def narrow(self) -> None:
        """Undo ``widen``."""
        removed = self.heads[len(self.heads) // 16 :]
        del self.heads[len(self.heads) // 16 :]
        octaves = [head.bit_length() - 33 for head in removed]
        tops = [head >> octave for head, octave in zip(removed, octaves, strict=True)]
        radices = [1 << octave for octave in octaves]
        self.push_digits([head % radix for head, radix in zip(removed, radices, strict=True)], radices)
        self.push_digits([top & 0xFFFF for top in tops], [1 << 16] * len(tops))
        self.push_digits([top >> 16 & 0xFFFF for top in tops], [1 << 16] * len(tops))
        self.push_digits(octaves, [16] * len(octaves))

    def told(self) -> int:
        """At the end, when nothing is left: the number that the first head began with."""
        check(not self.words and len(self.heads) == 1 and self.heads[0] >> 32 == 1, "the stream does not end here")
        return self.heads[0] - LOW


def read_lanes(data: bytes, widenings: int) -> Lanes:
    """A head and words, then widened."""
    size = 5 + (len(data) + 1) % 2
    fields = Fields(data)
    head = int.from_bytes(fields.take(size), "little")
    check(head >= max(LOW, 1 << 8 * (size - 1)), "the head is impossible")
    words = []
    while not fields.done():
        words.append(fields.u16())
    lanes = Lanes([head], words[::-1])
    for _ in range(widenings):
        lanes.widen()
    return lanes


def read_narrowings(fields: Fields) -> list[int]:
    """Their positions."""
    count = fields.varint()
    check(count <= 2, "an impossible number of lanes")
    return [fields.varint() for _ in range(count)]


class NarrowingLanes(Lanes):
    """Lanes that narrow at given positions."""

    def __init__(self, lanes: Lanes, narrowings: list[int]) -> None:
        super().__init__(lanes.heads, lanes.words)
        self._narrowings, self._position = narrowings, 0

    def _pop_steps(self, count: int) -> Iterator[range]:
        begin, low = self._position, 0
        while True:
            while self._narrowings and self._narrowings[0] == begin + low:
                del self._narrowings[0]
                self.narrow()
            if low == count:
                break
            high = min(count, (low // len(self.heads) + 1) * len(self.heads))
            if self._narrowings:
                check(self._narrowings[0] > begin + low, "narrowings are out of order")
                high = min(high, self._narrowings[0] - begin)
            yield range(low, high)
            low = high
        self._position += count

    def told(self) -> int:
        """As of ``Lanes``."""
        check(not self._narrowings, "a narrowing is missing")
        return super().told()


class SymbolStream(NarrowingLanes):
    """The same, of bytes."""

    def __init__(self, data: bytes) -> None:
        fields = Fields(data)
        narrowings = read_narrowings(fields)
        super().__init__(read_lanes(fields.rest(), len(narrowings)), narrowings)


def by_table(frequencies: Sequence[int]) -> Callable[[int], Interval]:
    """Of a slot the symbol, in a table of frequencies."""
    starts = [0, *accumulate(frequencies)]

    def find(slot: int) -> Interval:
        low, high = 0, len(frequencies)
        while high - low > 1:  # the last symbol that starts at the slot or before it
            middle = (low + high) // 2
            low, high = (middle, high) if starts[middle] <= slot else (low, middle)
        return low, starts[low], frequencies[low]

    return find


def by_item(tables: Sequence[Callable[[int], Interval]]) -> Find:
    """Of an item and a slot the symbol, each item having a table."""
    return lambda item, slot: tables[item](slot)


def pop_list(stream: Lanes, count: int, alphabet: int) -> list[int]:
    """A list of symbols, which begins with their frequencies."""
    if not count:
        return []
    occurs = stream.pop_digits([2] * alphabet)
    check(any(occurs), "a list has no symbols")
    weights = iter(stream.pop_digits([32] * sum(occurs)))
    shares = [isqrt(1 << (next(weights) + 9)) if there else 0 for there in occurs]
    frequencies = [max(1, (share << 16) // sum(shares)) if share else 0 for share in shares]
    frequencies[frequencies.index(max(frequencies))] += (1 << 16) - sum(frequencies)
    find = by_table(frequencies)
    return stream.pop(count, lambda _, slot: find(slot), 16)
