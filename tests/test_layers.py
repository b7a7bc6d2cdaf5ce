"""Layers of flows: every one inverts on integers of all sizes, and gives the stack back as it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pil_neuralcodec.coders.lanes import ExhaustedError, Lanes, WordStack
from pil_neuralcodec.coders.logistic import SCALE_MAX, SCALE_MIN, LogisticMixture, costs, mixture_weights
from pil_neuralcodec.coders.stack import Stack, height
from pil_neuralcodec.coders.widths import widen
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.flow import mst
from pil_neuralcodec.flow.layers import AffineCoupling, Convolution1x1, FactorOut, Flow, Layer
from pil_neuralcodec.flow.monotone import Dequantiser, Knots, MixtureMap

SEEDS = st.integers(0, 2**32 - 1)
REACH = st.sampled_from([1, 300, 2**20, 2**40])
FRACS = st.integers(2, 14)


def tall_stack(words: int = 60000, lanes: int = 16) -> Lanes:
    stack = Lanes(1, WordStack(np.random.default_rng(0).integers(0, 2**16, words).astype(np.uint16)))
    widen(stack, lanes)
    return stack


def comes_back(layer: Layer, values: np.ndarray) -> tuple[np.ndarray, float]:
    """What a layer makes of values, and the bits that it takes from the stack; both come back."""
    lanes = tall_stack()
    kept, before = values.copy(), lanes.copy()
    out = layer.forward(values, Stack(lanes))
    borrowed = height(before) - height(lanes)
    assert np.array_equal(values, kept)  # arguments stay as they are
    found = layer.inverse(out, Stack(lanes))
    assert found.dtype == values.dtype == np.int64 and np.array_equal(found, values)
    assert np.array_equal(lanes.heads, before.heads)
    assert np.array_equal(lanes.stack.to_array(), before.stack.to_array())
    return out, borrowed


def integers(rng: np.random.Generator, reach: int, *shape: int) -> np.ndarray:
    """Integers up to ``reach`` either way, both ends among them."""
    values = rng.integers(-reach, reach + 1, shape)
    values.flat[:2] = -reach, reach
    return values


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, reach=REACH, up=st.integers(1, mst.MAX_FACTOR), down=st.integers(1, mst.MAX_FACTOR))
def test_modular_scale_transform(seed: int, reach: int, up: int, down: int) -> None:
    rng = np.random.default_rng(seed)
    values = integers(rng, reach, 5, 7)
    for factors in (
        (up, down),
        (rng.integers(1, mst.MAX_FACTOR + 1, (5, 7)), down),
        (up, rng.integers(1, mst.MAX_FACTOR + 1, (5, 7))),
    ):
        lanes = tall_stack()
        before = lanes.copy()
        out = mst.forward(values, *factors, Stack(lanes))
        low, high = values * factors[0] // factors[1], (values * factors[0] + factors[0] - 1) // factors[1]
        assert ((low <= out) & (out <= high)).all()
        assert np.array_equal(mst.inverse(out, *factors, Stack(lanes)), values)
        assert np.array_equal(lanes.heads, before.heads)
        assert np.array_equal(lanes.stack.to_array(), before.stack.to_array())


def test_a_scaling_takes_what_it_should() -> None:
    lanes = tall_stack()
    before = height(lanes)
    mst.forward(np.random.default_rng(0).integers(-(10**6), 10**6, 10000), 3000, 1024, Stack(lanes))
    assert before - height(lanes) == pytest.approx(10000 * np.log2(3000 / 1024), rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, reach=REACH, count=st.integers(1, 3), rows=st.integers(1, 5), columns=st.integers(2, 5))
def test_couplings_and_convolutions(seed: int, reach: int, count: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    shape = count, 3, rows, columns
    values, shift = integers(rng, reach, *shape), integers(rng, reach, *shape)
    where = rng.random(shape[2:]) < 0.5
    ones = np.ones(shape, np.int64)
    shifting = AffineCoupling(where, ~where, lambda _: (shift[..., where], ones[..., where]), 1)
    out, borrowed = comes_back(shifting, values)
    assert borrowed == 0 and np.array_equal(out, values - np.where(where, shift, 0))
    up, down = rng.integers(1, 2**16 + 1, shape), int(rng.integers(1, 2**16 + 1))

    def coefficients(given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert not given[..., where].any()
        return shift[..., where] + (given.sum() & 255), up[..., where]

    out, _ = comes_back(AffineCoupling(where, ~where, coefficients, down), values)
    assert np.array_equal(out[..., ~where], values[..., ~where])
    matrix = rng.integers(-64, 65, (3, 3))
    np.fill_diagonal(matrix, rng.integers(1, 128, 3))
    comes_back(Convolution1x1(matrix, 6), values)
    comes_back(Flow([Convolution1x1(matrix, 6), shifting, FactorOut(shape, 8)]), values)


def test_a_convolution_is_its_matrix() -> None:
    rng = np.random.default_rng(1)
    values = integers(rng, 10**6, 1, 3, 40, 40)
    matrix = np.array([[80, -20, 7], [33, 50, -64], [1, 9, 70]])
    out, borrowed = comes_back(Convolution1x1(matrix, 6), values)
    lower, upper = np.tril(matrix, -1) / 64 + np.eye(3), np.triu(matrix, 1) / 64 + np.eye(3)
    diagonal = matrix.diagonal() / 64
    expected = np.einsum("ij,njhw->nihw", lower @ np.diag(diagonal) @ upper, values)
    assert np.abs(out - expected).max() < 8
    assert borrowed == pytest.approx(1600 * np.log2(diagonal).sum(), rel=1e-2)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, reach=REACH, frac=st.integers(0, 14))
def test_factoring_out(seed: int, reach: int, frac: int) -> None:
    rng = np.random.default_rng(seed)
    values = integers(rng, reach, 3, 50)
    out, _ = comes_back(FactorOut(values.shape, frac), values)
    assert out.size == 0


def test_a_prior_costs_its_entropy() -> None:
    rng = np.random.default_rng(2)
    values = np.rint(rng.logistic(size=40000) * 2.0**10).astype(np.int64)
    _, borrowed = comes_back(FactorOut((40000,), 10), values)
    assert -borrowed / 40000 == pytest.approx(2 / np.log(2) + 10, abs=0.03)


def mixtures(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of two logistics each, from needles to plains, inside and outside of 0..255."""
    weights = mixture_weights(rng.integers(-200, 200, (2, count)))
    scales = rng.integers(SCALE_MIN - 9, SCALE_MAX + 9, (2, count))
    return weights, rng.integers(-100 << 6, 356 << 6, (2, count)), scales


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, frac=FRACS)
def test_dequantisation_and_monotone_maps(seed: int, frac: int) -> None:
    rng = np.random.default_rng(seed)
    knots = Knots(*mixtures(rng, 64), frac)
    values = rng.integers(0, 256, 64)
    values[:8] = [0, 255] * 4
    places, _ = comes_back(Dequantiser(knots), values)
    assert np.array_equal(np.clip(places >> frac, 0, 255), values)
    comes_back(MixtureMap(knots), places)
    far = integers(rng, 2**30, 64)
    noise, _ = comes_back(MixtureMap(knots), far)
    for there in (far, noise):  # the map's inverse is a map of all integers, too
        lanes = tall_stack()
        back = MixtureMap(knots).forward(MixtureMap(knots).inverse(there, Stack(lanes)), Stack(lanes))
        assert np.array_equal(back, there)


def test_a_monotone_map_rises() -> None:
    rng = np.random.default_rng(3)
    for frac in (2, 8, 14):
        knots = Knots(*(part.repeat(3000, axis=1) for part in mixtures(rng, 1)), frac)
        grid = np.sort(rng.integers(knots.first[0], knots.last[0] + 1, 3000))
        image = knots.image(grid)
        assert (np.diff(image) >= np.diff(grid)).all()
        assert (knots.image(grid + 1) - image <= mst.MAX_FACTOR).all()


def test_a_flow_costs_what_its_mixture_does() -> None:
    """Bits-back dequantisation gives back nearly all that it borrows."""
    rng = np.random.default_rng(4)
    for scale, centre in ((-40, 128), (0, 128), (0, 254), (30, 128), (60, 5)):
        weights = np.full((1, 20000), 1 << 16)
        centres, scales = np.full((1, 20000), centre << 6), np.full((1, 20000), scale)
        values = np.clip(np.rint(centre + rng.logistic(size=20000) * 2 ** (scale / 16)), 0, 255).astype(np.int64)
        knots = Knots(weights, centres, scales, 10)
        lanes = tall_stack()
        before = height(lanes)
        places = Dequantiser(knots).forward(values, Stack(lanes))
        FactorOut((20000,), 10).forward(MixtureMap(knots).forward(places, Stack(lanes)), Stack(lanes))
        mixture = LogisticMixture(weights, centres, scales, 256)
        direct = costs(mixture.intervals(values >> mixture.shift)[1]).sum() / 65536 + mixture.shift.sum()
        assert height(lanes) - before == pytest.approx(direct, rel=0.01)


def test_places_without_probability_are_damage() -> None:
    knots = Knots(np.full((1, 1), 1 << 16), np.full((1, 1), 10 << 6), np.full((1, 1), SCALE_MIN), 10)
    with pytest.raises(FormatError, match="no probability"):
        Dequantiser(knots).inverse(np.array([(200 << 10) + 700]), Stack(tall_stack()))


@pytest.mark.parametrize(
    "layer",
    [
        lambda: (
            AffineCoupling(
                np.ones(99, bool), np.zeros(99, bool), lambda _: (np.zeros(99, np.int64), np.full(99, 999)), 7
            ),
            np.zeros(99, np.int64),
        ),
        lambda: (Dequantiser(Knots(np.full((1, 99), 1 << 16), *np.zeros((2, 1, 99), np.int64), 14)), np.full(99, 7)),
    ],
)
def test_an_exhausted_stack_is_an_error(layer: Callable[[], tuple[Layer, np.ndarray]]) -> None:
    transform, values = layer()
    with pytest.raises(ExhaustedError):
        transform.forward(values, Stack(Lanes(2, WordStack(np.arange(5, dtype=np.uint16)))))
