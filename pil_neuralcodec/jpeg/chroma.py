"""The chroma samples that a plane was enlarged from by libjpeg's triangle filter.

Each output is 3/4 of the nearest sample and 1/4 of the next on each halved axis, rounded. There are more outputs than
samples, so least squares come near (0.29 off each), and moving samples by one until every rounding is met makes nearly
all of them exact. Where a move changes no output, both values are possible: the coefficients must decide.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .bounds import Bounds
from .transform import triangle_sums

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[Any]

_ITERATIONS = 16
_SWEEPS = 8
_EDGE = 18  # outputs of which the last two are compared with the others
_CLOSE = 4  # bounds that are as good as a value for least squares


class Samples(NamedTuple):
    """``values`` int64 (h, w), the likeliest; they lie between ``low`` and ``high``."""

    values: Ints
    low: Ints
    high: Ints


class Triangle:
    """Samples (h, w) by the ``bounds`` of their outputs (vertical * h, horizontal * w), which are wide where nothing is
    known: there they follow the likeliest outputs."""

    def __init__(self, bounds: Bounds, vertical: int, horizontal: int) -> None:
        low, high = bounds.low.astype(np.int64), bounds.high.astype(np.int64)
        self._known = high - low <= _CLOSE
        self._outputs = np.where(self._known, (low + high) / 2, 128).astype(np.float32)
        split = low.shape[0] // vertical, vertical, low.shape[1] // horizontal, horizontal
        likely = bounds.likely.reshape(split).sum(axis=(1, 3), dtype=np.int64) // (vertical * horizontal)
        self._likely = np.clip(likely, 0, 255).astype(np.float32)
        self._factors = vertical, horizontal
        self._weights = [_weights(n // f, f) for n, f in zip(low.shape, self._factors, strict=True)]
        self._bits = triangle_sums(low[:1, :1], *self._factors)[1]
        self._low, self._high = low << self._bits, (high << self._bits) + (1 << self._bits) - 1
        self.speaks = _transposed(self._known.astype(np.float32), self._factors) > 0.5
        """bool (h, w): where outputs say something of a sample."""

    def near(self) -> Ints:
        """Samples by least squares."""
        real = _least_squares(self._outputs, self._known, self._likely, self._factors)
        return np.clip(np.rint(real), 0, 255).astype(np.int64)

    def wrong(self, values: Ints) -> npt.NDArray[np.bool_]:
        """Which samples' own outputs are not those that are known, bool (h, w)."""
        return self._pool(self._excess(self._sums(values)) != 0, 0)

    def misfit(self) -> float:
        """The share of the least squares' samples that do not give their outputs."""
        wrong = self.wrong(self.near())[self.speaks]
        return float(wrong.mean()) if wrong.size else 0.0

    def misses_edge(self, axis: int) -> bool:
        """Whether the last rows (or columns, for axis 1) of outputs are much further from what samples can give than
        those before."""
        excess = np.abs(self._excess(self._sums(self.near())))
        lines = excess.sum(axis=1 - axis)
        pairs = lines[1:] + lines[:-1]
        return bool(pairs[-1] > 4 * int(np.median(pairs[-_EDGE:-2])) + excess.shape[1 - axis] // 4)

    def refine(self, values: Ints, free: npt.NDArray[np.bool_]) -> Samples:
        """Samples moved by one at a time, those that are ``free`` alone, until the known outputs are met."""
        values = values.copy()
        for _ in range(_SWEEPS):
            moved = 0
            for i in range(self._factors[0]):
                for j in range(self._factors[1]):  # every other sample: they share no output
                    sums = self._sums(values)
                    near = self._pool(self._excess(sums) != 0, 1) & free
                    part = np.zeros(values.shape, bool)
                    part[i :: self._factors[0], j :: self._factors[1]] = True
                    places = np.nonzero(near & part)
                    down, stay, up = self._costs(sums, places)
                    move = np.where(down < up, -1, 1) * (np.minimum(down, up) < stay)
                    values[places] += move
                    moved += int(np.count_nonzero(move))
            if not moved:
                break
        places = np.nonzero(free)
        down, stay, up = self._costs(self._sums(values), places)
        low, high = values.copy(), values.copy()
        low[places] -= (down <= stay) | (stay > 0)
        high[places] += (up <= stay) | (stay > 0)
        return Samples(values, low, high)

    def _sums(self, values: Ints) -> Ints:
        return triangle_sums(values, *self._factors)[0]

    def _excess(self, sums: Ints) -> Ints:
        """How far each sum lies beyond those that give the known output."""
        return sums - np.clip(sums, self._low, self._high)

    def _pool(self, marks: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
        """Samples of which an output is marked: their own, and those ``reach`` beyond."""
        for axis, factor in enumerate(self._factors):
            if factor == 2:
                marks = np.moveaxis(marks, axis, 0)
                out = marks[0::2] | marks[1::2]
                if reach:
                    out[1:] |= marks[1:-1:2]
                    out[:-1] |= marks[2::2]
                marks = np.moveaxis(out, 0, axis)
        return marks

    def _costs(self, sums: Ints, places: tuple[Ints, ...]) -> list[Ints]:
        """What samples (n,) would cost if they were one less, as they are, and one more."""
        rows, columns = places
        pad = [(f - 1, f - 1) for f in self._factors]
        at = [
            (f * place)[:, None] + np.arange(w.shape[1])
            for f, place, w in zip(self._factors, places, self._weights, strict=True)
        ]
        where = at[0][:, :, None], at[1][:, None, :]
        own, low, high = (np.pad(array, pad)[where] for array in (sums, self._low, self._high))
        weight = self._weights[0][rows][:, :, None] * self._weights[1][columns][:, None, :]
        out = []
        for moved in (own - weight, own, own + weight):
            beyond = moved - np.clip(moved, low, high)
            # What the padding says counts for nothing: its bounds are 0, and so are its weights and sums.
            out.append(np.einsum("nij,nij->n", beyond, beyond))
        return out


def _weights(count: int, factor: int) -> Ints:
    """What each of ``count`` samples gives to the outputs near it on one axis, int64 (count, 4): those from one before
    its own two to one after; or (count, 1) where the axis was not halved."""
    if factor == 1:
        return np.ones((count, 1), np.int64)
    out = np.tile(np.array([1, 3, 3, 1], np.int64), (count, 1))
    out[0, :2] = 0, 4
    out[-1, 2:] = 4, 0
    return out


def _least_squares(outputs: Reals, known: npt.NDArray[np.bool_], likely: Reals, factors: tuple[int, int]) -> Reals:
    """Real samples, float32 (h, w), by conjugate gradients; those of which nothing is known are the ``likely`` ones."""
    weight = known.astype(np.float32)
    target = outputs - _enlarged(likely, factors)
    if factors[1] == 2:
        lean = 1 / 32 if factors[0] == 2 else 1 / 8  # the roundings lean to the two sides in turn
        target[:, 0::2] += -lean if factors[0] == 2 else lean
        target[:, 1::2] += lean if factors[0] == 2 else -lean
    elif factors[0] == 2:
        target[0::2] += 1 / 8
        target[1::2] -= 1 / 8
    count = _transposed(weight, factors)
    right = _transposed(weight * target, factors)
    x = right / np.maximum(count, 0.1)
    small = np.float32(1e-3)  # holds samples that nothing speaks for

    def normal(v: Reals) -> Reals:
        return _transposed(weight * _enlarged(v, factors), factors) + small * v

    residual = right - normal(x)
    direction, size = residual.copy(), _dot(residual, residual)
    for _ in range(_ITERATIONS):
        if size < 1e-6 * x.size:
            break
        product = normal(direction)
        step = np.float32(size / max(_dot(direction, product), 1e-12))
        x += step * direction
        residual -= step * product
        before, size = size, _dot(residual, residual)
        direction = residual + np.float32(size / before) * direction
    return x + likely


def _dot(a: Reals, b: Reals) -> float:
    """Sum of products, one after the other: in any other order machines would round differently."""
    return float(np.cumsum((a * b).reshape(-1), dtype=np.float64)[-1])


def _enlarged(plane: Reals, factors: tuple[int, int]) -> Reals:
    for axis, factor in enumerate(factors):
        if factor == 2:
            plane = np.moveaxis(plane, axis, 0)
            out = np.empty((2 * len(plane), *plane.shape[1:]), np.float32)
            out[0::2] = out[1::2] = 0.75 * plane
            out[2::2] += 0.25 * plane[:-1]
            out[0] += 0.25 * plane[0]
            out[1:-1:2] += 0.25 * plane[1:]
            out[-1] += 0.25 * plane[-1]
            plane = np.moveaxis(out, 0, axis)
    return plane


def _transposed(plane: Reals, factors: tuple[int, int]) -> Reals:
    for axis, factor in enumerate(factors):
        if factor == 2:
            plane = np.moveaxis(plane, axis, 0)
            out = 0.75 * (plane[0::2] + plane[1::2])
            out[:-1] += 0.25 * plane[2::2]
            out[0] += 0.25 * plane[0]
            out[1:] += 0.25 * plane[1:-1:2]
            out[-1] += 0.25 * plane[-1]
            plane = np.moveaxis(out, 0, axis)
    return plane
