"""The compiled parts of the patch flow against the numpy code that defines them.

Inputs are random and extreme: needles and plains, centres far outside, cells with tails, places and noise beyond all
knots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pil_neuralcodec import native
from pil_neuralcodec.coders.lanes import Lanes, WordStack
from pil_neuralcodec.coders.logistic import DISTANT, SCALE_MAX, SCALE_MIN, compiled_tables, mixture_weights
from pil_neuralcodec.coders.stack import Stack
from pil_neuralcodec.coders.widths import widen
from pil_neuralcodec.flow import mst
from pil_neuralcodec.flow.monotone import LOG, Curves, Knots, curves

pytestmark = pytest.mark.skipif(native.core() is None, reason="no compiled core")


def random_mixtures(rng: np.random.Generator, parts: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = parts, count
    scales = rng.integers(SCALE_MIN - 20, SCALE_MAX + 20, shape)
    scales[:, rng.random(count) < 0.4] = rng.choice([SCALE_MIN, -20, 0, 40, SCALE_MAX])
    centres = rng.integers(-100 << 6, 356 << 6, shape)
    centres[rng.random(shape) < 0.02] = rng.choice([-DISTANT, DISTANT])
    return mixture_weights(rng.integers(-300, 300, shape)), centres, scales


def random_lanes(rng: np.random.Generator) -> Lanes:
    lanes = Lanes(1, WordStack(rng.integers(0, 1 << 16, 60000).astype(np.uint16)))
    widen(lanes, 16)
    return lanes


def pairs(count: int) -> Iterator[tuple[np.random.Generator, Curves, Knots]]:
    """Curves of mixtures of 1 to 9 logistics, compiled and in numpy."""
    rng = np.random.default_rng(count)
    for frac in (2, 5, 10, 14):
        mixtures = random_mixtures(rng, int(rng.choice([1, 2, 4, 9])), count)
        compiled = curves(*mixtures, frac)
        assert not isinstance(compiled, Knots)
        yield rng, compiled, Knots(*mixtures, frac)


def assert_equal(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("count", [1, 300, 2500])
def test_cells(count: int) -> None:
    for rng, compiled, knots in pairs(count):
        values = rng.integers(0, 256, count)
        values[::5] = rng.choice([0, 255])
        np.testing.assert_array_equal(compiled.fine(), knots.fine())
        intervals, expected = compiled.intervals(values), knots.intervals(values)
        total = intervals.totals()
        np.testing.assert_array_equal(total, expected.totals())
        for digits in (rng.integers(0, total), 0 * values, total.astype(np.int64) - 1):
            found = intervals.choose(digits)
            assert_equal(found, expected.choose(digits))
            places = found[0] + rng.integers(0, compiled.fine())
            assert_equal(compiled.cells(places), knots.cells(places))
        for far in (rng.integers(-(2**40), 2**40, count), rng.integers(-(2**20), 2**23, count)):
            assert_equal(compiled.cells(far), knots.cells(far))


@pytest.mark.parametrize("count", [1, 300, 2500])
def test_lines(count: int) -> None:
    for rng, compiled, knots in pairs(count):
        ends = [end << knots.shift for end in (knots.first, knots.last)]
        spread = rng.integers(*ends) if count > 1 else ends[0] + 1
        far = rng.integers(-(2**44), 2**44, count)
        for places in (spread, *ends, ends[0] - 1, ends[1] - 1, far):
            found = compiled.lines(places)
            assert_equal(found, knots.lines(places))
            _, image, up, _ = found
            for noise in (image, image + up - 1, image - 1):
                assert_equal(compiled.lines_of(noise), knots.lines_of(noise))


def test_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    for shape in ((0,), (1,), (3, 500)):
        for reach in (1, 300, 2**40):
            values = rng.integers(-reach, reach + 1, shape)
            factors = rng.integers(1, mst.MAX_FACTOR + 1, shape)
            for up, down in ((factors, 1024), (3, factors), (factors, factors[..., ::-1]), (1, mst.MAX_FACTOR)):
                results = []
                for allowed in ("", "none"):
                    monkeypatch.setenv(native.ENVIRONMENT, allowed)
                    stack = Stack(random_lanes(np.random.default_rng(2)))
                    there = mst.forward(values, up, down, stack)
                    back = mst.inverse(there, up, down, stack)
                    results.append((there, back))
                np.testing.assert_array_equal(results[0][0], results[1][0])
                np.testing.assert_array_equal(results[0][1], values)
                np.testing.assert_array_equal(results[1][1], values)


def test_what_is_not_taken() -> None:
    module: Any = native.core()
    kernels = native.fastest()
    assert kernels is not None
    logistic = compiled_tables(kernels)
    table = LOG.astype(np.int32)
    for bad in (table[1:], table[::-1].copy(), table + 1, table * 2):
        with pytest.raises(ValueError, match="table|logarithm"):
            module.knot_tables(logistic, bad)
    tables = module.knot_tables(logistic, table)
    weights, zeros = np.full((2, 5), 1 << 15, np.int32), np.zeros((2, 5), np.int32)
    for arguments, message in (
        ((weights, zeros[:1], zeros, 10), "of one shape"),
        ((weights, zeros, zeros[:, 1:].copy(), 10), "of one shape"),
        ((weights[:0], zeros[:0], zeros[:0], 10), "parts"),
        ((weights, zeros, zeros, 1), "fractional"),
        ((weights, zeros, zeros, 15), "fractional"),
        ((weights + 1, zeros, zeros, 10), "add up"),
        ((weights * np.array([[3], [-1]], np.int32), zeros, zeros, 10), "add up"),
    ):
        with pytest.raises(ValueError, match=message):
            tables.knots(*arguments)
    with pytest.raises(TypeError):
        tables.knots(weights, zeros, zeros.astype(np.int64), 10)
    knots, values = tables.knots(weights, zeros, zeros, 10), np.zeros(5, np.int64)
    for method in (knots.intervals, knots.cells, knots.lines, knots.lines_of):
        with pytest.raises(ValueError, match="for each"):
            method(values[1:])
    for wrong in (values - 1, values + 256):
        with pytest.raises(ValueError, match="out of range"):
            knots.intervals(wrong)
    with pytest.raises(ValueError, match="for each"):
        knots.intervals(values).choose(values[1:])
    ones = np.ones(5, np.uint32)
    for arguments in (
        (values, values[1:], ones, ones),
        (values, values, ones[1:], ones),
        (values, values, ones, 0 * ones),
        (values, values, ones + (1 << 16), ones),
    ):
        with pytest.raises(ValueError, match="for each|factor"):
            module.scaled(*arguments)
