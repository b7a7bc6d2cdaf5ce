"""Pixels by a blend of simple predictors. Page: Predictor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from math import isqrt

from .numbers import Fields, check
from .samples import crc_of
from .streams import SymbolStream, by_item, by_table

TOTAL = 1 << 18
LEVELS = 31
EXPLICIT = 5
STRIP = 1 << 22


def decode_predictor(body: bytes, shape: tuple[int, int, int]) -> list[int]:
    """Samples (H, W, B) of 8 bits."""
    height, width, bands = shape
    rows, columns = (width, height) if height > width else (height, width)
    check(columns + 2 * rows <= 1024 + rows * columns // 16, "the image is too thin")
    strips = -(-rows * columns // STRIP)
    edges = [rows * i // strips for i in range(strips + 1)]
    fields, lines = Fields(body), []
    for number, (top, bottom) in enumerate(zip(edges, edges[1:], strict=False)):
        data = fields.rest() if number == strips - 1 else fields.take(fields.varint())
        lines += _strip(SymbolStream(data), bottom - top, columns, bands)
    check(fields.done(), "bytes are left over")
    if height > width:
        lines = [[lines[x][y] for x in range(width)] for y in range(height)]
    return [sample for line in lines for pixel in line for sample in pixel]


class _Band:
    """What is known of a band of a strip."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.pixels: dict[tuple[int, int], int] = {}
        self.finals: dict[tuple[int, int], int] = {}
        self.misses: dict[tuple[int, int], list[int]] = {}
        self.devs: dict[tuple[int, int], list[int]] = {}

    def pixel(self, y: int, x: int) -> int:
        """Of a neighbour, which may lie outside."""
        return self.pixels.get((y - 1, 0) if x < 0 else (y, min(x, self.width - 1)), 0)


# Rows up and columns right.
W, N, NW, NE, WW, NN, NNE, NWW = (0, -1), (1, 0), (1, -1), (1, 1), (0, -2), (2, 0), (2, 1), (1, -2)
NEAR = (W, N, NW, NE, WW, NN)


def _strip(stream: SymbolStream, height: int, width: int, count: int) -> list[list[list[int]]]:
    order = [1, 0, *range(2, count)] if count >= 3 else list(range(count))
    tables = [[by_table(table) for table in levels] for levels in _tables(stream, count)]
    bands = [_Band(height, width) for _ in range(count)]
    for step in range(width + 2 * (height - 1) + count - 1):
        known = []
        for number in range(count):
            for y in range(height):
                x = step - number - 2 * y
                if 0 <= x < width:
                    known.append((number, y, x, *_predict(bands, number, y, x)))
        finds = [tables[item[0]][item[-1]] for item in known]
        found = stream.pop(len(known), by_item(finds), 18)
        for (number, y, x, predictions, blend, _), residual in zip(known, found, strict=True):
            band, pixel = bands[number], (blend + residual - 128) & 255
            band.pixels[y, x] = pixel
            band.finals[y, x] = abs(pixel - blend)
            band.misses[y, x] = [min(255, abs(pixel - prediction)) for prediction in predictions]
            band.devs[y, x] = [pixel - prediction for prediction in predictions[:7]]
    lines = [
        [[bands[order.index(plane)].pixels[y, x] for plane in range(count)] for x in range(width)]
        for y in range(height)
    ]
    flat = [sample for line in lines for pixel in line for sample in pixel]
    check(stream.told() == crc_of(flat), "a strip's CRC is wrong")
    return lines


def _predict(bands: list[_Band], number: int, y: int, x: int) -> tuple[list[int], int, int]:
    """The predictions, their blend, and the level of activity."""
    band, before = bands[number], bands[max(0, number - 2) : number]
    w, n, nw, ne, ww, nn = (band.pixel(y - up, x + right) for up, right in NEAR)
    base = [w, n, w + n - nw, ne, 2 * n - nn, w + ne - n, 2 * w - ww]
    predictions = base + [b + dev for one in before for b, dev in zip(base, one.devs[y, x], strict=True)]
    nothing = [0] * len(predictions)
    near = [band.misses.get((y - up, x + right), nothing) for up, right in (*NEAR, NNE, NWW)]
    sums = [2 * sum(misses[:6]) + misses[6] + misses[7] for misses in zip(*near, strict=True)]
    weights = [isqrt((1 << 47) // (s + 4) ** 3) for s in sums]
    total = sum(weights)
    blend = (2 * sum(a * b for a, b in zip(weights, predictions, strict=True)) + total) // (2 * total)
    blend = min(max(blend, 0), 255)
    disagreement = sum(abs(prediction - blend) for prediction in predictions) * 8 // len(predictions)
    w, n, nw, ne, ww, nn = (band.finals.get((y - up, x + right), 0) for up, right in NEAR)
    activity = 2 * (w + n) + nw + ne + ww + nn + disagreement * 3 // 8
    if len(before) == 1:
        activity += 3 * before[0].finals[y, x]
    elif before:
        activity += 2 * before[1].finals[y, x] + before[0].finals[y, x]
    level = sum((activity + 4) ** 3 >= 64 << j for j in range(1, LEVELS))
    return predictions, blend, level


def _normalised(weights: list[int], absent: list[bool]) -> list[int]:
    whole = sum(weights)
    frequencies = [0 if a else max(1, w * (TOTAL - 256) // whole) for w, a in zip(weights, absent, strict=True)]
    frequencies[weights.index(max(weights))] += TOTAL - sum(frequencies)
    return frequencies


@cache
def _family(kind: int, scale: int) -> list[int]:
    m, s = (1, 2, 3, 5, 12)[kind], isqrt(1 << (scale + 8))
    weights = []
    for x in range(-128, 128):
        weight = ratio = (m * s << 30) // (m * s + (x * x << 12))
        for _ in range(m - 1):
            weight = weight * ratio >> 30
        weights.append(weight)
    return _normalised(weights, [False] * 256)


def _explicit(codes: list[int]) -> list[int]:
    check(any(codes) and all(0 <= code < 64 for code in codes), "the frequencies are impossible")
    weights = [isqrt(isqrt(1 << (code + 32))) if code else 0 for code in codes]
    return _normalised(weights, [code == 0 for code in codes])


def _tables(stream: SymbolStream, count: int) -> Iterator[list[list[int]]]:
    """Frequencies for each level of each band."""
    ranges = stream.pop_digits([LEVELS] * (2 * count))
    spans = list(zip(ranges[::2], ranges[1::2], strict=True))
    total = sum(high - low + 1 for low, high in spans)
    kind_table = by_table([27 << 13] + [1 << 13] * 5)
    changes = stream.pop(total, lambda _, slot: kind_table(slot), 18)
    kinds = [kind % 6 for kind in accumulate(changes)]
    move_table = by_table(_family(1, 17))

    def moves(count: int) -> list[int]:
        return [move - 128 for move in stream.pop(count, lambda _, slot: move_table(slot), 18)]

    scales = iter(moves(sum(kind != EXPLICIT for kind in kinds)))
    described: list[list[list[int] | None]] = []
    kind = iter(kinds)
    for low, high in spans:
        scale = low * 4 // 3 + 4
        described.append([])
        for _ in range(low, high + 1):
            shape = next(kind)
            scale += 1 if shape == EXPLICIT else next(scales) + 1
            described[-1].append(None if shape == EXPLICIT else _family(shape, scale))
    for (low, high), levels in zip(spans, described, strict=True):
        tables = []
        for table in levels:
            if table is None:
                first, last = stream.pop_digits([256] * 2)
                codes = list(accumulate(moves(last - first + 1)))
                table = _explicit([0] * first + codes + [0] * (255 - last))
            tables.append(table)
        yield [tables[0]] * low + tables + [tables[-1]] * (LEVELS - 1 - high)
