"""Pixels that coefficients do not give. Page: Exceptions, of a JPEG file."""

from __future__ import annotations

from .logistic import Mixture, pop_values, weights_of
from .numbers import Fields, check
from .streams import SymbolStream, by_table

LOGITS = (-96, -64, -40, -16, 8, 32, 256)
SCALES = tuple(range(-32, 113, 16))


class Exceptions:
    """Shares of the classes of inner tiles and of those at edges; shapes by context."""

    def __init__(self, fields: Fields) -> None:
        self.shares = [(fields.u16(), fields.u16()) for _ in range(2)]
        self.shapes = list(fields.take(24))
        check(all(sum(shares) < 1 << 16 and min(shares) > 0 for shares in self.shares), "shares are impossible")
        check(all(shape < len(LOGITS) * len(SCALES) for shape in self.shapes), "a shape is impossible")


def read_exceptions(stream: SymbolStream, told: Exceptions, pixels: list[list[list[int]]]) -> None:
    """Mend pixels."""
    height, width = len(pixels), len(pixels[0])
    rows, columns = -(-height // 8), -(-width // 8)
    tables = [by_table([(1 << 16) - sum(shares), *shares]) for shares in told.shares]

    def at_edge(item: int) -> bool:
        row, column = divmod(item, columns)
        return row in (0, rows - 1) or column in (0, columns - 1)

    classes = stream.pop(rows * columns, lambda item, slot: tables[at_edge(item)](slot), 16)
    wrong = [
        (y, x, classes[y // 8 * columns + x // 8])
        for y in range(height)
        for x in range(width)
        if classes[y // 8 * columns + x // 8]
    ]
    bands = len(pixels[0][0])
    order = [1, 0, 2] if bands == 3 else [0]
    found: list[list[int]] = []
    for number in range(bands):
        mixtures = []
        for i, (y, x, of) in enumerate(wrong):
            last = y == height - 1 or x == width - 1
            context = 12 * (of - 1) + 6 * last + 2 * number + (number > 0 and found[0][i] == 0)
            logit, scale = divmod(told.shapes[context], len(SCALES))
            weights = weights_of([0, -LOGITS[logit]])
            mixtures.append(Mixture(weights, [128 * 64] * 2, [-80, SCALES[scale]]))
        found.append([value - 128 for value in pop_values(stream, mixtures)])
    for i, (y, x, _) in enumerate(wrong):
        for number, band in enumerate(order):
            move = found[number][i] + (found[0][i] if number else 0)
            pixels[y][x][band] = (pixels[y][x][band] + move) & 255
