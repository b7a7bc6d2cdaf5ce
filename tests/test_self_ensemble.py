"""The self-ensemble: transforms and their inverses, averages, exact for every size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conftest import random_layers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pil_neuralcodec.flow.architecture import TAPS, PhotoArchitecture
from pil_neuralcodec.flow.bands import BandParameters
from pil_neuralcodec.flow.outputs import Outputs
from pil_neuralcodec.flow.polyphase import OFFSETS, Near, component, nearest_sum, taps
from pil_neuralcodec.flow.self_ensemble import TRANSFORMS, AveragedParameters, Transform
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.nets.backends import open_network

ARCH = PhotoArchitecture(width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2)
TRANSFORM = st.sampled_from(TRANSFORMS)


@given(TRANSFORM, st.integers(0, 3), st.integers(1, 9), st.integers(1, 9))
def test_what_is_seen_comes_back(transform: Transform, index: int, height: int, width: int) -> None:
    part = np.arange(2 * height * width).reshape(2, height, width)
    seen = transform.apply(part, index)
    assert seen.shape == (2, *transform.size(height, width))
    assert np.array_equal(transform.invert(seen, index), part)


@given(TRANSFORM, st.integers(0, 2), st.integers(3, 9), st.integers(3, 9), st.integers(0, 2**32))
def test_neighbours_stay_neighbours(transform: Transform, stage: int, height: int, width: int, seed: int) -> None:
    """Away from the border, every transform keeps the sum of the four nearest samples and the set of taps."""
    image = np.random.default_rng(seed).integers(0, 256, (1, 2 * height, 2 * width)).astype(np.int32)
    known = [component(image, index) for index in range(stage + 1)]
    seen = [transform.apply(part, index) for index, part in enumerate(known)]
    inside = (slice(None), slice(2, -2), slice(2, -2))
    assert np.array_equal(transform.invert(nearest_sum(seen), stage + 1)[inside], nearest_sum(known)[inside])
    deviations = transform.invert(taps(seen)[1], stage + 1)[:, *inside]
    assert np.array_equal(np.sort(deviations, axis=0), np.sort(taps(known)[1][:, *inside], axis=0))


@given(TRANSFORM, st.integers(1, 9), st.integers(1, 9))
def test_coarser_features_lie_where_they_belong(transform: Transform, height: int, width: int) -> None:
    """Each sample of a level is shown beside the features of the coarser level's sample whose square it lies in."""
    image = np.indices((height, width)).sum(0)[None] * 0 + np.arange(height * width).reshape(1, height, width)
    coarse = component(image, 0)
    features = transform.apply(coarse, 0)
    top, left = transform.start(height, width)
    rows, columns = transform.size(height, width)
    upsampled = features.repeat(2, 1).repeat(2, 2)[:, top : top + rows, left : left + columns]
    assert upsampled.shape == (1, rows, columns)
    back = transform.invert(upsampled, 0)[0]
    for (row, column), found in np.ndenumerate(back):
        # The image as it is has the squares (2i, 2i + 1), a mirrored one (2i - 1, 2i); beyond the edge lies the edge.
        expected = [
            min((n + mirrored) // 2, side - 1)
            for n, mirrored, side in zip((row, column), transform, coarse.shape[1:], strict=True)
        ]
        assert found == coarse[0, expected[0], expected[1]]


@settings(max_examples=8, deadline=None)
@example(1, 1, 3, "uint8", 0)
@example(24, 17, 3, "uint8", 0)
@example(2, 23, 1, "uint16", 0)
@given(
    st.integers(1, 24),
    st.integers(1, 24),
    st.sampled_from([1, 3]),
    st.sampled_from(["uint8", "uint16"]),
    st.integers(0, 2**32),
)
def test_any_size_round_trips(height: int, width: int, bands: int, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    waves = np.sin(np.arange(width) / 7)[None, :, None] + np.cos(np.arange(height) / 5)[:, None, None]
    pixels = (100 + 30 * waves + rng.normal(0, 3, (height, width, bands))).astype(dtype)
    coder = TileCoder(replace(ARCH, self_ensemble=True), open_network(random_layers(ARCH, 5), "numpy"))
    [payload] = coder.encode(pixels[None])
    assert np.array_equal(coder.decode([payload], (height, width, bands), dtype=dtype)[0], pixels)


def test_the_average_is_that_of_distributions() -> None:
    rng = np.random.default_rng(1)
    near = Near.of([rng.integers(0, 256, (1, 3, 20, 30)).astype(np.int32)], 0)
    opinions = []
    for _ in TRANSFORMS:
        rows = rng.integers(-20, 40, (6 + TAPS, 20, 30))
        opinions.append(BandParameters.read(Outputs.of(rows.astype(np.int64), 2), near, []))
    averaged = AveragedParameters.of(opinions[0], [opinion.plain for opinion in opinions[1:]])
    symbols = np.full(600, 100)
    freq = [opinion.plain.flat(20, 30).coder().intervals(symbols)[1] for opinion in opinions]
    assert np.abs(averaged.plain.flat(20, 30).coder().intervals(symbols)[1] - np.mean(freq, axis=0)).max() < 2**10

    offsets = rng.integers(-9, 10, 1 + TAPS)
    moved = opinions[0].mixture(offsets).centres[0] - opinions[0].plain.centres[0]
    assert np.abs(moved).max() > 0
    for before, after in zip(averaged.plain.centres, averaged.mixture(offsets).centres, strict=True):
        assert np.array_equal(after - before, moved)
    few = averaged.at(slice(None, None, 3), slice(0, 29)).mixture(offsets)
    for whole, part in zip(averaged.mixture(offsets)[:3], few[:3], strict=True):
        assert np.array_equal(whole[:, ::3, :29], part)


def test_the_ensemble_costs_four_times_the_work() -> None:
    arch = replace(ARCH, self_ensemble=True)
    assert PhotoArchitecture.from_description(arch.describe()) == arch
    assert arch.macs_per_pixel() == 4 * ARCH.macs_per_pixel()
    assert [OFFSETS[0], TRANSFORMS[0]] == [(0, 0), (False, False)]
