"""Pixels that a JPEG file's coefficients give. Page: Coefficients of a JPEG file."""

from __future__ import annotations

import struct
import zipfile
from bisect import bisect_right
from collections.abc import Callable
from functools import cache
from math import prod
from operator import mul
from pathlib import Path

from .jpeg_contexts import ZIGZAG, Blocks, Context
from .jpeg_exceptions import Exceptions, read_exceptions
from .numbers import Fields, check
from .samples import crc_of
from .streams import Interval, SymbolStream, by_item, by_table

LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *([99] * 32),
)
HALF_ROWS, HALF_COLUMNS, FANCY, EXCEPTIONS, BELOW, RIGHT = 1, 2, 4, 8, 16, 32
WEIGHTS = Path(__file__).parents[2] / "pil_neuralcodec" / "jpeg" / "model.npz"
Plane = list[list[int]]


@cache
def _weights() -> dict[str, list[list[int]]]:
    """Arrays by name, as lists of their last axis."""
    arrays = {}
    with zipfile.ZipFile(WEIGHTS) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            (size,) = struct.unpack_from("<H", data, 8)
            header = data[10 : 10 + size].decode()
            shape = [int(n) for n in header.split("(")[1].split(")")[0].split(",") if n.strip()]
            code = {"<i2": "h", "<u2": "H"}[header.split("'descr': '")[1][:3]]
            flat = struct.unpack(f"<{prod(shape)}{code}", data[10 + size :])
            arrays[name.removesuffix(".npy")] = [list(flat[i : i + shape[-1]]) for i in range(0, len(flat), shape[-1])]
    return arrays


class Tables:
    """Tables that learn."""

    def __init__(self) -> None:
        self.counts = [list(row) for row in _weights()["frequencies"]]
        self.shared: dict[int, Callable[[int], Interval]] = {}

    def chosen(self, table: int) -> Callable[[int], Interval]:
        """A table as it is now."""
        if table not in self.shared:
            counts, total = self.counts[table], sum(self.counts[table])
            shares = [1 + count * (65536 - 33) // total for count in counts]
            shares[shares.index(max(shares))] += 65536 - sum(shares)
            self.shared[table] = by_table(shares)
        return self.shared[table]

    def learn(self, tables: list[int], symbols: list[int]) -> None:
        """A group ends."""
        for table, symbol in zip(tables, symbols, strict=True):
            self.counts[table][symbol] += 256
        for table in set(tables):
            del self.shared[table]
            if sum(self.counts[table]) >= 1 << 20:
                self.counts[table] = [(count + 1) // 2 for count in self.counts[table]]


def decode_jpeg(body: bytes, shape: tuple[int, int, int]) -> list[int]:
    """Samples (H, W, B) of 8 bits."""
    height, width, bands = shape
    check(bands in (1, 3), "one or three bands")
    fields = Fields(body)
    mode, top, left = fields.u8(), fields.u8(), fields.u8()
    check(mode < 64 and (bands == 3 or mode in (0, EXCEPTIONS)), "the mode is not known")
    v, h = (2 if mode & HALF_ROWS else 1), (2 if mode & HALF_COLUMNS else 1)
    fancy = mode & FANCY
    check(v * h > 1 or not fancy, "nothing is enlarged")
    check((fancy and v == 2) or not mode & BELOW, "nothing goes on below")
    check((fancy and h == 2) or not mode & RIGHT, "nothing goes on to the right")
    check(top < 8 * v and left < 8 * h, "the grid begins too early")
    tables = [_steps(fields, base) for base in (LUMA, CHROMA)[: 1 if bands == 1 else 2]]
    exceptions = Exceptions(fields) if mode & EXCEPTIONS else None
    sizes, components = [], []
    for c in range(bands):
        rows, columns = top + height, left + width
        if c:
            rows, columns = -(-rows // v), -(-columns // h)
            rows += bool(mode & BELOW)
            columns += bool(mode & RIGHT)
        sizes.append((rows, columns))
        components.append(Blocks(-(-rows // 8), -(-columns // 8), tables[min(c, 1)]))
    stream = SymbolStream(fields.rest())
    _coefficients(stream, components)
    planes = [_component(component, *size) for component, size in zip(components, sizes, strict=True)]
    area = [slice(top, top + height), slice(left, left + width)]
    enlarged = [planes[0], *(_enlarged(plane, v, h, bool(mode & FANCY)) for plane in planes[1:])]
    cut = [[line[area[1]] for line in plane[area[0]]] for plane in enlarged]
    if bands == 1:
        pixels = [[[sample] for sample in line] for line in cut[0]]
    else:
        pixels = [[_rgb(*three) for three in zip(*lines, strict=True)] for lines in zip(*cut, strict=True)]
    if exceptions is not None:
        read_exceptions(stream, exceptions, pixels)
    samples = [sample for line in pixels for pixel in line for sample in pixel]
    check(stream.told() == crc_of(samples), "the samples' CRC is wrong")
    return samples


def _steps(fields: Fields, base: tuple[int, ...]) -> list[int]:
    """A quantisation table, row by row."""
    quality = fields.u8()
    check(quality <= 100, "the quality is impossible")
    if quality:
        p = 5000 // quality if quality < 50 else 200 - 2 * quality
        return [min(max((step * p + 50) // 100, 1), 255) for step in base]
    steps = [0] * 64
    for frequency in ZIGZAG:
        steps[frequency] = fields.varint()
        check(1 <= steps[frequency] <= 255, "a step is impossible")
    return steps


def _coefficients(stream: SymbolStream, components: list[Blocks]) -> None:
    weights, luma, chroma = _weights(), Tables(), Tables()
    for c, component in enumerate(components):
        for kind, blocks, step in component.pyramid():
            row = 3 * min(c, 1) + kind
            contexts = [component.mean_context(kind, block, step) for block in blocks]
            both = weights["mean_sizes"][row], weights["mean_edges"][row]
            _group(stream, component, chroma if c else luma, 0, blocks, contexts, *both)
    for frequency in ZIGZAG[1:]:
        for c, component in enumerate(components):
            for part, blocks in enumerate(component.sets):
                row = (2 * c + part) * 64 + frequency
                contexts = [component.context(frequency, part, block, components[:c]) for block in blocks]
                both = weights["sizes"][row], weights["edges"][row]
                _group(stream, component, chroma if c else luma, frequency, blocks, contexts, *both)


THRESHOLDS = [round(2 ** (8 + i / 4)) for i in range(1, 60)]


def _group(
    stream: SymbolStream,
    component: Blocks,
    tables: Tables,
    frequency: int,
    blocks: list[int],
    contexts: list[Context],
    size_weights: list[int],
    edge_weights: list[int],
) -> None:
    """Coefficients of some blocks."""
    q = component.steps[frequency]
    expected = []
    for sizes, edges in contexts:
        ratio = (sum(map(mul, size_weights, sizes)) << 6) // q
        level = bisect_right(THRESHOLDS, ratio)
        limit = 16 * ((1 << 15) // q)
        value = min(max((sum(map(mul, edge_weights, edges)) >> 8) // q, -limit), limit)
        centre = (value + 8) >> 4
        fraction = value - 16 * centre
        s = (level - 36) // 4 + 1 if level >= 36 else 0
        table = 5 * (level - 4 * s) + (0 if s else (abs(fraction) + 1) // 2)
        expected.append((table, s, centre, fraction < 0 and s == 0))
    numbers = [table for table, *_ in expected]
    symbols = stream.pop(len(blocks), by_item([tables.chosen(table) for table in numbers]), 16)
    tables.learn(numbers, symbols)
    rests = [symbol - 16 for symbol in symbols]
    low = iter(stream.pop_digits([1 << s for _, s, _, _ in expected if s]))
    ends = [i for i, rest in enumerate(rests) if abs(rest) == 16]
    octaves = stream.pop_digits([16] * len(ends))
    below = stream.pop_digits([1 << octave for octave in octaves])
    for i, octave, digit in zip(ends, octaves, below, strict=True):
        excess = 15 + (1 << octave) + digit
        rests[i] = excess if rests[i] > 0 else -excess
    for block, rest, (_, s, centre, mirrored) in zip(blocks, rests, expected, strict=True):
        r = (rest << s) + (next(low) if s else 0) - ((1 << s) // 2)
        coefficient = (-r if mirrored else r) + centre
        check(abs(coefficient * q) < 1 << 15, "a coefficient is too large")
        component.put(frequency, block, coefficient)


def _component(component: Blocks, rows: int, columns: int) -> Plane:
    """Samples of a component."""
    plane = [[0] * (8 * component.columns) for _ in range(8 * component.rows)]
    for block in range(component.rows * component.columns):
        values = [component.values[frequency][block] for frequency in range(64)]
        # Columns first: by horizontal frequency, the places down.
        down = [_pass(values[v::8], 11) for v in range(8)]
        top, left = block // component.columns * 8, block % component.columns * 8
        for y in range(8):
            line = _pass([down[v][y] for v in range(8)], 18)
            plane[top + y][left : left + 8] = [min(max(sample + 128, 0), 255) for sample in line]
    return [line[:columns] for line in plane[:rows]]


def _pass(d: list[int], bits: int) -> list[int]:
    """Eight frequencies to eight places."""
    half = 1 << bits - 1
    z = (d[2] + d[6]) * 4433
    even = (z + d[2] * 6270, z - d[6] * 15137)
    t0, t1 = (d[0] + d[4] << 13) + half, (d[0] - d[4] << 13) + half
    e = (t0 + even[0], t1 + even[1], t1 - even[1], t0 - even[0])
    z5 = (d[7] + d[3] + d[5] + d[1]) * 9633
    z1, z2 = (d[7] + d[1]) * -7373, (d[5] + d[3]) * -20995
    z3, z4 = (d[7] + d[3]) * -16069 + z5, (d[5] + d[1]) * -3196 + z5
    o = (
        d[1] * 12299 + z1 + z4,
        d[3] * 25172 + z2 + z3,
        d[5] * 16819 + z2 + z4,
        d[7] * 2446 + z1 + z3,
    )
    return [e[k] + o[k] >> bits for k in range(4)] + [e[k] - o[k] >> bits for k in (3, 2, 1, 0)]


def _enlarged(plane: Plane, v: int, h: int, fancy: bool) -> Plane:
    """A plane in the size of luma's, or larger."""
    if not fancy or (h == 2 and len(plane[0]) <= 2):
        return [[sample for sample in line for _ in range(h)] for line in plane for _ in range(v)]
    if v == 2:
        plane = list(map(list, zip(*_triangle(list(map(list, zip(*plane, strict=True)))), strict=True)))
    if h == 2:
        plane = _triangle(plane)
    first, second, bits = (8, 7, 4) if v == h == 2 else (1, 2, 2) if v * h == 2 else (0, 0, 0)
    return [
        [sample + (second if (x if h == 2 else y) % 2 else first) >> bits for x, sample in enumerate(line)]
        for y, line in enumerate(plane)
    ]


def _triangle(plane: Plane) -> Plane:
    """Twice as many columns, times four."""
    out = []
    for line in plane:
        padded = [line[0], *line, line[-1]]
        out.append([3 * padded[k + 1] + padded[k + 2 * i] for k in range(len(line)) for i in (0, 1)])
    return out


def _rgb(y: int, cb: int, cr: int) -> list[int]:
    d, e = cb - 128, cr - 128
    red, blue = y + (91881 * e + 32768 >> 16), y + (116130 * d + 32768 >> 16)
    green = y + (-22554 * d - 46802 * e + 32768 >> 16)
    return [min(max(channel, 0), 255) for channel in (red, green, blue)]
