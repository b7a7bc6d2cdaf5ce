"""Tuning: found the same everywhere, written and read back, worth its bytes, and left out where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pil_neuralcodec import native
from pil_neuralcodec.coders.logistic import costs
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter
from pil_neuralcodec.flow.adaptation import SideInformation, _solve, _thinned, adapt
from pil_neuralcodec.flow.architecture import TAPS
from pil_neuralcodec.flow.bands import BandParameters, Before
from pil_neuralcodec.flow.classes import CLASSES
from pil_neuralcodec.flow.outputs import Outputs
from pil_neuralcodec.flow.polyphase import Near


def smooth(seed: int, size: int = 48) -> np.ndarray:
    """A plane of slow waves, int32 (size, size)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    return np.rint(128 + 60 * np.sin(x / 9 + rng.random()) * np.cos(y / 7 + rng.random())).astype(np.int32)


def parameters(band: int, scale: int = 16) -> tuple[BandParameters, np.ndarray]:
    """What a head without an idea says, and values that follow the band before and the neighbours, with noise."""
    rng = np.random.default_rng(band)
    k = 2
    known = [[smooth(b)] for b in range(band + 1)]
    noise = [rng.normal(0, 6, (48, 48)) for _ in range(band + 1)]
    values = [
        np.rint(known[b][0] + noise[b] + (0.9 * noise[b - 1] if b else 0)).clip(0, 255).astype(np.int32)
        for b in range(band + 1)
    ]
    rows = np.zeros((3 * k + band + TAPS, 48, 48), np.int64)
    rows[2 * k : 3 * k] = scale
    planes = [np.stack([known[b % len(known)][0] for b in range(3)])[None]]
    before = [Before(values[b], Near.of(planes, b)) for b in range(band)]
    return BandParameters.read(Outputs.of(rows, k), Near.of(planes, band), before), values[band].astype(np.int64)


def round_trip(side: SideInformation, described: BandParameters) -> SideInformation:
    writer = SymbolWriter()
    side.put(writer)
    reader = SymbolReader(writer.finish())
    found = SideInformation.get(reader, described.axes, described.offsets)
    reader.close()
    return found


@pytest.mark.parametrize("band", [0, 1, 2])
def test_a_wrong_prediction_is_corrected(band: int) -> None:
    described, values = parameters(band)
    found = adapt(described, values)
    assert found.scales is not None and found.scales.sum() > 0, (
        "its scale of 2 grey levels is too small for a noise of 6"
    )
    misses = {
        name: np.abs((values << 6) - side.mixture(described).mean()).mean() / 64
        for name, side in (("plain", SideInformation()), ("adapted", found))
    }
    assert found.offsets is not None and misses["adapted"] < misses["plain"]
    if band:
        assert misses["adapted"] < 0.9 * misses["plain"], "the chain explains most of the noise"
    again = round_trip(found, described)
    assert np.array_equal(again.scales, found.scales) and np.array_equal(again.offsets, found.offsets)


def test_what_the_encoder_finds_is_pinned() -> None:
    found = adapt(*parameters(2))
    assert found.offsets is not None
    assert found.scales is not None
    assert (found.scales.tolist(), found.offsets.tolist()) == PINNED


def noise_that_grows_with_brightness(is_set: bool = False) -> tuple[BandParameters, np.ndarray]:
    """A prediction that is the same everywhere, but for a corner that it expects to be smooth."""
    rng = np.random.default_rng(4)
    plane = smooth(0, 120)
    near = Near.of([np.stack([plane] * 3)[None]], 0)
    total = near.total
    rows = np.zeros((6 + TAPS, 120, 120), np.int64)
    rows[4:6] = 32
    rows[4:6, :40, :40] = 16
    values = np.rint(total / 4 + rng.normal(0, 1, plane.shape) * np.where(total > 4 * 128, 9, 3)).clip(0, 255)
    return BandParameters.read(Outputs.of(rows, 2), near, [], is_set=is_set), values.astype(np.int64)


def test_classes_of_brightness_and_of_noise_are_told_apart() -> None:
    described, values = noise_that_grows_with_brightness()
    brightness, noise = described.classes
    assert described.classes.shape == (2, 120, 120)
    assert np.bincount(brightness.reshape(-1)).tolist() == pytest.approx([14400 // CLASSES] * CLASSES, rel=0.1)
    assert (noise[:40, :40] == 0).all() and (noise.reshape(-1)[noise.reshape(-1) > 0] == noise[-1, -1]).all()
    found = adapt(described, values)
    assert found.scales is not None
    by_brightness = found.scales[0]
    assert by_brightness[0] + 8 < by_brightness[-1], "the noise of the brighter half is three times that of the other"
    assert np.array_equal(round_trip(found, described).scales, found.scales)
    with_classes, plainly = (bits(*noise_that_grows_with_brightness(is_set)) for is_set in (False, True))
    assert with_classes < 0.97 * plainly


def bits(described: BandParameters, values: np.ndarray) -> float:
    """Code length of an adapted band."""
    mixture = adapt(described, values).mixture(described).flat(*values.shape).coder()
    symbols, _, _ = mixture.split(values.reshape(-1))
    return float(costs(mixture.intervals(symbols)[1]).sum()) / 65536


@given(st.integers(1, 600), st.integers(1, 600))
def test_positions_that_choose_the_offsets_are_never_few_nor_many(height: int, width: int) -> None:
    sample = np.zeros((height, width))[_thinned(height, width)]
    assert min(height * width, 2048) <= sample.size <= max(10240, height + width)
    assert _thinned(height, width)[0].step % 2


def test_what_the_encoder_finds_for_classes_is_pinned() -> None:
    found = adapt(*noise_that_grows_with_brightness()).scales
    assert found is not None and found.tolist() == PINNED_CLASSES


@given(st.lists(st.integers(-128, 127), min_size=2 * CLASSES, max_size=2 * CLASSES))
@settings(max_examples=30, deadline=None)
def test_any_offsets_of_classes_come_back(numbers: list[int]) -> None:
    described, _ = parameters(1)
    scales = np.array(numbers).reshape(2, CLASSES)
    assert np.array_equal(round_trip(SideInformation(scales), described).scales, scales)


def test_nothing_is_stored_where_it_saves_nothing() -> None:
    described, _ = parameters(1)
    rng = np.random.default_rng(3)
    values = (described.mixture().mean() + rng.logistic(0, 128, (48, 48))).astype(np.int64) >> 6
    found = adapt(described, values.clip(0, 255))
    assert found.offsets is None
    again = round_trip(found, described)
    assert again.offsets is None and np.array_equal(again.scales, found.scales)


@given(st.integers(0, 2), st.integers(-7, 7), st.data())
@settings(max_examples=30, deadline=None)
def test_any_offsets_come_back(band: int, scale: int, data: st.DataObject) -> None:
    described, _ = parameters(band)
    offsets = np.array(
        data.draw(st.lists(st.integers(-128, 127), min_size=described.offsets, max_size=described.offsets))
    )
    scales = np.full((2, CLASSES), scale)
    found = round_trip(SideInformation(scales, offsets), described)
    assert np.array_equal(found.scales, scales) and np.array_equal(found.offsets, offsets)
    plain, mixture = SideInformation(None, offsets).mixture(described), found.mixture(described)
    assert np.array_equal(mixture.scales, plain.scales + 4 * scale), "both axes move log-scales, by units of 1/8 octave"
    assert np.array_equal(mixture.centres, plain.centres)


def test_slopes_are_what_offsets_do() -> None:
    described, _ = parameters(2)
    slopes = described.slopes()
    plain = described.mixture().centres
    for i in range(described.offsets):
        offsets = np.zeros(described.offsets, np.int64)
        offsets[i] = 8
        moved = described.mixture(offsets).centres - plain
        assert np.abs(4 * moved - 8 * slopes[i]).max() <= 8, i  # 1/256 of a grey level, and the rounding of both


@given(st.integers(1, 15), st.integers(0, 2**32))
def test_the_solver_solves(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes = rng.normal(0, 1, (size, 40))
    matrix = slopes @ slopes.T + np.eye(size)
    right = rng.normal(0, 1, size)
    found = _solve(matrix.tolist(), right.tolist())
    assert np.allclose(found, np.linalg.solve(matrix, right))
    core = native.core()
    assert core is None or core.solve(matrix, right).tolist() == found


@pytest.mark.skipif(native.core() is None, reason="no compiled core")
def test_systems_that_are_not_solved() -> None:
    core = native.core()
    assert core is not None
    for rows, columns, right in ((2, 2, 3), (2, 3, 2), (0, 0, 0), (65, 65, 65)):
        with pytest.raises(ValueError, match="square"):
            core.solve(np.zeros((rows, columns)), np.zeros(right))


PINNED = ([[6, 6, 6, 6, 7, 7, 6, 5], [0] * 8], [25, -53, 58, 50, -36, -10, -4, 29, 0, 2, -2, -10, -2, 1, 2])
PINNED_CLASSES = [[-8, -8, -9, -8, 4, 5, 4, 4], [0] * 8]
