"""A reader of baseline JPEG files, as far as their coefficients: what tests compare with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8, -(i // 8))[(i // 8 + i % 8) % 2 == 0]))
"""Row-major index of each place in the file's order."""


class Jpeg(NamedTuple):
    """``factors`` (vertical, horizontal), ``coefficients`` int64 (8, 8, rows, columns) and ``tables`` (8, 8), by
    component; blocks that only fill up the last MCU are included."""

    size: tuple[int, int]
    factors: list[tuple[int, int]]
    coefficients: list[np.ndarray]
    tables: list[np.ndarray]


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)
        self.bits = bin(self.value)[2:].zfill(8 * len(data))
        self.at = 0

    def number(self, size: int) -> int:
        if not size:
            return 0
        value = int(self.bits[self.at : self.at + size], 2)
        self.at += size
        return value if value >> (size - 1) else value - (1 << size) + 1

    def symbol(self, codes: dict[str, int]) -> int:
        for end in range(self.at + 1, self.at + 17):
            if (symbol := codes.get(self.bits[self.at : end])) is not None:
                self.at = end
                return symbol
        raise ValueError("no such code")


def read(data: bytes) -> Jpeg:
    """Coefficients of a baseline file without restarts, all components in one scan."""
    at, tables, huffman = 2, {}, {}
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xDB:
            while body:
                table = np.zeros(64, np.int64)
                table[ZIGZAG] = np.frombuffer(body[1:65], np.uint8)
                tables[body[0]], body = table.reshape(8, 8), body[65:]
        elif marker == 0xC4:
            while body:
                counts, symbols, code = body[1:17], iter(body[17:]), 0
                codes = huffman[body[0]] = {}
                for size, count in enumerate(counts, 1):
                    for _ in range(count):
                        codes[f"{code:0{size}b}"] = next(symbols)
                        code += 1
                    code <<= 1
                body = body[17 + sum(counts) :]
        elif marker in (0xC0, 0xC1):
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
            parts = [(body[6 + i], body[7 + i] & 15, body[7 + i] >> 4, body[8 + i]) for i in range(0, 3 * body[5], 3)]
        elif marker == 0xDA:
            coders = [(huffman[body[2 + 2 * i] >> 4], huffman[16 + (body[2 + 2 * i] & 15)]) for i in range(body[0])]
            break
    vmax, hmax = max(p[1] for p in parts), max(p[2] for p in parts)
    if len(parts) == 1:
        parts, vmax, hmax = [(parts[0][0], 1, 1, parts[0][3])], 1, 1
    rows, columns = -(-height // (8 * vmax)), -(-width // (8 * hmax))
    out = [np.zeros((rows * v, columns * h, 64), np.int64) for _, v, h, _ in parts]
    bits = _Bits(data[at:-2].replace(b"\xff\x00", b"\xff"))
    last = [0] * len(parts)
    for mcu in range(rows * columns):
        for c, (_, v, h, _) in enumerate(parts):
            for i in range(v * h):
                block = out[c][mcu // columns * v + i // h, mcu % columns * h + i % h]
                last[c] += bits.number(bits.symbol(coders[c][0]))
                block[0], k = last[c], 1
                while k < 64 and (symbol := bits.symbol(coders[c][1])):
                    k += symbol >> 4
                    block[ZIGZAG[k]] = bits.number(symbol & 15)
                    k += 1
    return Jpeg(
        (height, width),
        [(vmax // v, hmax // h) for _, v, h, _ in parts],
        [o.reshape(*o.shape[:2], 8, 8).transpose(2, 3, 0, 1) for o in out],
        [tables[t] for *_, t in parts],
    )
