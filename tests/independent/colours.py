"""Planes from which a colour conversion makes RGB. Page: Colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .numbers import Fields, check
from .streams import Lanes, SymbolStream, pop_list

Pixels = list[list[list[int]]]


class Conversion(NamedTuple):
    """``unit``, L, r, b, and both parts of g."""

    unit: int
    luma: Callable[[int], int]
    red: Callable[[int], int]
    blue: Callable[[int], int]
    green_cb: Callable[[int], int]
    green_cr: Callable[[int], int]

    def limited(self, total: int) -> int:
        """A channel."""
        return min(max(total // self.unit, 0), 255)


CONVERSIONS = {
    1: Conversion(
        1 << 16,
        lambda y: (y << 16) + (1 << 15),
        lambda cr: 91881 * cr,
        lambda cb: 116130 * cb,
        lambda cb: -22554 * cb,
        lambda cr: -46802 * cr,
    ),
    2: Conversion(
        10000,
        lambda y: 13584 * y,
        lambda cr: 18215 * cr,
        lambda cb: 22179 * cb,
        lambda cb: -1940 * (22179 * cb // 10000),
        lambda cr: -5090 * (18215 * cr // 10000),
    ),
    3: Conversion(
        1,
        lambda y: 9539 * (y - 16) >> 13,
        lambda cr: 13075 * cr >> 13,
        lambda cb: 16525 * cb >> 13,
        lambda cb: -3209 * cb >> 13,
        lambda cr: -6660 * cr >> 13,
    ),
    4: Conversion(
        1,
        lambda y: 9539 * (y - 16) >> 13,
        lambda cr: 14686 * cr >> 13,
        lambda cb: 17305 * cb >> 13,
        lambda cb: -1747 * cb >> 13,
        lambda cr: -4366 * cr >> 13,
    ),
    5: Conversion(
        1,
        lambda y: y,
        lambda cr: 11485 * cr >> 13,
        lambda cb: 14516 * cb >> 13,
        lambda cb: -2819 * cb >> 13,
        lambda cr: -5850 * cr >> 13,
    ),
    6: Conversion(
        1 << 20,
        lambda y: 1220542 * max(0, y - 16) + (1 << 19),
        lambda cr: 1673527 * cr,
        lambda cb: 2116026 * cb,
        lambda cb: -409993 * cb,
        lambda cr: -852492 * cr,
    ),
}


@dataclass
class Colours:
    """A conversion, and the exceptions: counts of both classes, and their stream. Or the conversion whose lattice is a
    prior."""

    conversion: int = 0
    counts: tuple[int, int] = (0, 0)
    stream: SymbolStream | None = None
    lattice: int = 0

    def to_rgb(self, pixels: Pixels) -> Pixels:
        """The RGB of planes."""
        if not self.conversion:
            return pixels
        out = [[_converted(self.conversion, *pixel) for pixel in line] for line in pixels]
        if self.stream is not None:
            self._add(out, self.stream)
        return out

    def _add(self, out: Pixels, stream: SymbolStream) -> None:
        places: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        for y, x in _ordered(len(out), len(out[0])):
            places[any(channel in (0, 255) for channel in out[y][x])].append((y, x))
        chosen = []
        for count, of_class in zip(self.counts, places, strict=True):
            at = -1
            for gap in pop_numbers(stream, count):
                at += 1 + gap
                check(at < len(of_class), "an exception lies outside")
                chosen.append(of_class[at])
        symbols = pop_list(stream, len(chosen), 27)
        others = stream.pop_digits([256] * (3 * symbols.count(13)))
        check(stream.told() == 0, "a number is told")
        rest = iter(others)
        for (y, x), symbol in zip(chosen, symbols, strict=True):
            if symbol == 13:
                moves = [next(rest) for _ in range(3)]
            else:
                moves = [symbol // 9 - 1, symbol // 3 % 3 - 1, symbol % 3 - 1]
            out[y][x] = [(channel + move) & 255 for channel, move in zip(out[y][x], moves, strict=True)]


def _ordered(height: int, width: int) -> list[tuple[int, int]]:
    """Places by level, the coarsest first."""
    places = []
    for level in range(5, -1, -1):
        step = 1 << level
        for y in range(0, height, step):
            for x in range(0, width, step):
                if level == 5 or y % (2 * step) or x % (2 * step):
                    places.append((y, x))
    return places


def pop_numbers(stream: Lanes, count: int) -> list[int]:
    """A list of numbers."""
    octaves = pop_list(stream, count, 32)
    low = stream.pop_digits([1 << min(octave, 16) for octave in octaves])
    high = stream.pop_digits([1 << max(0, octave - 16) for octave in octaves])
    return [(1 << e) - 1 + a + (b << 16) for e, a, b in zip(octaves, low, high, strict=True)]


def read_colours(fields: Fields, tile: bool = False) -> Colours:
    """The fields of a tile or of a chain."""
    conversion = fields.u8()
    if tile and conversion - 8 in CONVERSIONS:
        return Colours(lattice=conversion - 8)
    check(conversion <= 6, "the conversion is not known")
    if not conversion:
        return Colours()
    size = fields.varint()
    if not size:
        return Colours(conversion)
    exceptions = Fields(fields.take(size))
    return Colours(conversion, (exceptions.varint(), exceptions.varint()), SymbolStream(exceptions.rest()))


def _converted(conversion: int, p: int, y: int, q: int) -> list[int]:
    made, cr, cb = CONVERSIONS[conversion], p - y, q - y
    luma = made.luma(y)
    return [made.limited(luma + part) for part in (made.red(cr), made.green_cb(cb) + made.green_cr(cr), made.blue(cb))]
