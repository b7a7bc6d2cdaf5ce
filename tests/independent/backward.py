"""Bands whose predictions are corrected by what has just been decoded. Page: Backward adaptation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import log2, sqrt

from .learners import CLASSES, ENTRIES, Calibrated, Learned, Local, Squares, dot, single, solve, trusted, within
from .logistic import Mixture, inverse_scale, pop_values, sigmoid
from .pyramid import OFFSETS, Plane, Position
from .streams import Lanes

Surprises = dict[tuple[int, int], int]
"""Of a band's samples, by row and column in the tile."""
Weigh = Callable[[Mixture, int, int], None]
"""Moves the intervals of the final mixture of a row and column."""
NEAREST = (
    ((-1, -1), (-1, 1), (1, -1), (1, 1)),
    ((0, -1), (0, 1), (-1, 0), (1, 0)),
    ((-1, 0), (1, 0), (0, -1), (0, 1)),
)
"""Of each stage, in pixels of the level."""
NEIGHBOURS = (
    ((-1, 0), (-1, -1), (-1, 1), (-2, 0)),
    ((-1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (-2, 0)),
)
"""Of even and odd columns."""
WEIGHT = {1: 5, 2: 3, 4: 2}
"""By squared distance."""


@cache
def deviation(s: int) -> tuple[int, int]:
    """INV and SD."""
    sd = sqrt(3.29 * 4 ** (s / 16) + 1 / 12)
    return round(2**14 / sd), round(2**8 * sd)


class Half:
    """What is fitted for the even or the odd columns of a component."""

    def __init__(self, features: int, columns: int, stacking: list[Squares]) -> None:
        self.local = [Local(features, columns, 3, 7, 4, 1), Local(features, columns, 6, 27, 5, 4)]
        self.stacking = stacking


@dataclass
class Grid:
    """Where the positions of a component lie in the tile."""

    level: int
    stage: int

    def place(self, y: int, x: int) -> tuple[int, int]:
        """Row and column of a position."""
        down, right = OFFSETS[self.stage + 1]
        return (2 * y + down) << self.level, (2 * x + right) << self.level


class Known:
    """A band that is being decoded. ``surprises``: of the bands before, and its own."""

    def __init__(
        self, mixtures: list[list[Mixture]], positions: list[list[Position]], grid: Grid, surprises: list[Surprises]
    ) -> None:
        self.mixtures, self.positions, self.grid = mixtures, positions, grid
        *self.earlier, self.own = surprises
        self.height, self.width = len(mixtures), len(mixtures[0])
        self.mu = [[_mean(m.weights, m.centres) for m in line] for line in mixtures]
        self.scale = [[min(max(_mean(m.weights, m.scales), -80), 128) for m in line] for line in mixtures]
        self.energy = self._plane(0)
        self.errors = [self._plane(0) for _ in range(3)]
        """e0, e1 and e2."""
        self.inside = self._plane(256)

    def _plane(self, number: int) -> Plane:
        return [[number] * self.width for _ in range(self.height)]

    def z(self, distance: int, y: int, x: int) -> int:
        """A distance in the terms of a position."""
        return distance * deviation(self.scale[y][x])[0] >> 16

    def nearest(self, y: int, x: int) -> list[int]:
        """The features of the four nearest samples."""
        row, column = self.grid.place(y, x)
        step = 1 << self.grid.level
        places = [(row + down * step, column + right * step) for down, right in NEAREST[self.grid.stage]]
        return [within(self.z(self.own.get(place, 0), y, x), 64) for place in places]

    def around(self, y: int, x: int) -> list[int]:
        """The features of neighbours."""
        places = [self.grid.place(y + down, x + right) for down, right in NEIGHBOURS[x % 2]]
        return [within(self.z(self.own.get(place, 0), y, x), 64) for place in places]

    def features(self, y: int, x: int) -> list[int]:
        """Of a position."""
        own = self.positions[y][x]
        out = [within(self.z(16 * (t + own.total) - self.mu[y][x], y, x), 127) for t in own.taps[:8]]
        out += self.nearest(y, x)
        for surprises, (r, taps) in zip(self.earlier, own.before, strict=True):
            places = [self.grid.place(y, x + right) for right in (0, 1, -1)]
            out += [within(self.z(surprises.get(place, 0), y, x), 64) for place in places]
            out += [within(self.z(16 * (t - r), y, x), 127) for t in taps[:3]]
        return out + self.around(y, x)

    def sum(self, plane: Plane, y: int, x: int) -> int:
        """A of a plane."""
        total = 896
        for down, right in NEIGHBOURS[x % 2]:
            if 0 <= y + down and 0 <= x + right < self.width:
                total += WEIGHT[down * down + right * right] * plane[y + down][x + right]
        return total

    def blend(self, predictions: list[int], y: int, x: int) -> int:
        """Of the short and the long prediction."""
        r = [single(1 / self.sum(plane, y, x)) for plane in self.errors]
        for _ in range(2):
            r = [single(each * each) for each in r]
        above = single(single(r[1] * predictions[0]) + single(r[2] * predictions[1]))
        return round(single(above / single(single(r[0] + r[1]) + r[2])))

    def class_of(self, y: int, x: int) -> int:
        """Of the scale."""
        return min(max(self.scale[y][x] + 16 >> 3, 0), CLASSES - 1)

    def entries(self, y: int, x: int) -> list[tuple[int, int]]:
        """The entry of each table of offsets, and how far it is from the next."""
        near = self.nearest(y, x)
        quotients = [(self.sum(self.energy, y, x), self.sum(self.inside, y, x)), (192 + dot(near, near), 1216)]
        if self.earlier:
            place = self.grid.place(y, x)
            before = [within(self.z(surprises.get(place, 0), y, x), 64) for surprises in self.earlier]
            quotients.append((192 + 4 * dot(before, before), 192 + 1024 * len(before)))
        out = []
        for n, m in quotients:
            t = min(max((_log2(n) - _log2(m) >> 9) + 512, 0), 1023)
            out.append((ENTRIES * self.class_of(y, x) + (t >> 6), t & 63))
        return out

    def accept(self, y: int, x: int, value: int, shift: int, predictions: list[int]) -> int:
        """A sample is known. Returns what its features were to predict."""
        surprise = 64 * value - self.mu[y][x]
        self.own[self.grid.place(y, x)] = surprise
        self.energy[y][x] = min(self.z(abs(surprise - shift), y, x), 64) ** 2
        target = within(self.z(surprise, y, x), 48)
        for plane, error in zip(self.errors, [target, *(4 * target - p >> 2 for p in predictions)], strict=True):
            plane[y][x] = error**2
        return target


def decode_adapted(
    lanes: Lanes,
    mixtures: list[list[Mixture]],
    positions: list[list[Position]],
    grid: Grid,
    surprises: list[Surprises],
    learned: Learned,
    weigh: Weigh | None = None,
) -> Plane:
    """A band, whose surprises are added to the last of ``surprises``; the others are those of the bands before.
    ``learned``: by the components of the band before, and by this one."""
    band = Known(mixtures, positions, grid, surprises)
    values = [[0] * band.width for _ in range(band.height)]
    for table in (*learned.tables, learned.trust):
        table.begin()
    halves = [
        Half(len(band.features(0, x)), (band.width + 1 - x) // 2, learned.stacking[x])
        for x in range(min(2, band.width))
    ]
    for y in range(band.height):
        for half, fitted in enumerate(halves):
            values[y][half::2] = _half_row(lanes, band, fitted, learned, y, range(half, band.width, 2), weigh)
    return values


def _half_row(
    lanes: Lanes, band: Known, fitted: Half, learned: Learned, y: int, columns: range, weigh: Weigh | None
) -> list[int]:
    features = [band.features(y, x) for x in columns]
    local = [list(pair) for pair in zip(*(each.predictions(features, y) for each in fitted.local), strict=True)]
    trust = [solve(squares.sums, 16384) for squares in fitted.stacking]
    pairs = [band.class_of(y, x) // 2 for x in columns]
    stacked, wanted, shifts, entries = [], [], [], []
    octaves = [band.scale[y][x] + 80 >> 4 for x in columns]
    coded: list[Mixture] = []
    ends = [calibration.ends for calibration in learned.calibrations]
    for x, predictions, pair, octave in zip(columns, local, pairs, octaves, strict=True):
        first, second = band.around(y, x)[:2]
        stacked.append([*predictions, within(2 * (first + second), 256), band.blend(predictions, y, x)])
        wanted.append(within(dot(trust[pair], stacked[-1]) >> 12, 256) * deviation(band.scale[y][x])[1] + 128 >> 8)
        shift = trusted(wanted[-1], learned.trust, octave)
        shifts.append(shift)
        entries.append(band.entries(y, x))
        offset = (
            sum(table.offset(e, p) for table, (e, p) in zip(learned.tables, entries[-1], strict=False)) + 2048 >> 12
        )
        m = band.mixtures[y][x]
        mixture = Calibrated(m.weights, [c + shift for c in m.centres], [s + offset for s in m.scales], whole=True)
        mixture.ends, mixture.cells = ends[band.class_of(y, x)], m.cells
        if weigh is not None:
            weigh(mixture, y, x)
        coded.append(mixture)
    found = pop_values(lanes, coded)
    known = zip(columns, found, shifts, local, strict=True)
    targets = [band.accept(y, x, value, shift, predictions) for x, value, shift, predictions in known]
    for each in fitted.local:
        each.learn(features, targets)
    for pair, squares in enumerate(fitted.stacking):
        of_pair = [i for i, other in enumerate(pairs) if other == pair]
        squares.learn([stacked[i] for i in of_pair], [4 * targets[i] for i in of_pair])
    pairs_of_slopes = [slope(mixture, value, shift) for mixture, value, shift in zip(coded, found, wanted, strict=True)]
    slopes = [by_scale for by_scale, _ in pairs_of_slopes]
    learned.trust.learn([(octave, 0) for octave in octaves], [by_shift for _, by_shift in pairs_of_slopes])
    for table, of_table in zip(learned.tables, zip(*entries, strict=True), strict=False):
        table.learn(list(of_table), slopes)
    for number, calibration in enumerate(learned.calibrations):
        inside = [i for i, x in enumerate(columns) if band.class_of(y, x) == number]
        calibration.learn([_edges(coded[i], found[i]) for i in inside])
    return found


def _edges(mixture: Mixture, value: int) -> tuple[int, int]:
    """F at both edges of a value, not calibrated."""
    low = Mixture.below(mixture, value) if value > 0 else 0
    return low, Mixture.below(mixture, value + 1) if value < 255 else 1 << 24


def slope(mixture: Mixture, value: int, shift: int) -> tuple[int, int]:
    """The derivatives of a value's log likelihood by the log-scales and by the trust in the shift."""
    p = d = moved = 0.0
    for weight, centre, scale in zip(mixture.weights, mixture.centres, mixture.scales, strict=True):
        parts = []
        for edge in (value + 1, value):
            z = within((64 * edge - 32 - centre) * inverse_scale(scale) >> 20, 18432)
            below = 0.0 if edge == 0 else 1.0 if edge == 256 else single(sigmoid(z) * 2.0**-24)
            density = single(below * single(1 - below))
            parts.append((below, single(single(z / 1024 * below) * single(1 - below)), density))
        (high, upper, right), (low, lower, left) = parts
        p = single(p + single(weight * single(high - low)))
        d = single(d + single(weight * single(lower - upper)))
        steep = single(float(inverse_scale(scale)))
        moved = single(moved + single(single(weight * single(left - right)) * steep))
    by_scales = single(single(d / single(p + 2.0**-8)) * single(256 * 0.6931))
    slopes = by_scales, single(single(moved / single(p + 2.0**8)) * single(single(shift) * 2.0**-22))
    by_scale, by_shift = (round(min(max(each, -768.0), 768.0)) for each in slopes)
    return by_scale, by_shift


def _mean(weights: Sequence[int], numbers: Sequence[int]) -> int:
    return dot(weights, numbers) >> 16


@cache
def _log2(number: int) -> int:
    """In 1/65536, by the 12 bits below the leading one."""
    exponent = number.bit_length() - 1
    bits = (number << 12 >> exponent) - 4096
    return (exponent << 16) + int(65536 * log2((8193 + 2 * bits) / 8192))
