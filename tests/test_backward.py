"""Backward adaptation: the same by compiled and by numpy code, worth it where there is something to learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from conftest import random_layers

from pil_neuralcodec import native
from pil_neuralcodec.coders.lanes import Lanes
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter, read_narrowings
from pil_neuralcodec.coders.symbols import SymbolSink, groups, intervals
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.flow.architecture import TAPS, PhotoArchitecture
from pil_neuralcodec.flow.backward import Given, _compiled, get_adapted, half_row_ends, put_adapted
from pil_neuralcodec.flow.bands import BandParameters, Before, Mixture
from pil_neuralcodec.flow.learners import BINS, CLASSES, Calibration, Learned, Trust, blend, solve
from pil_neuralcodec.flow.outputs import Outputs
from pil_neuralcodec.flow.polyphase import OFFSETS, Near, level_shape
from pil_neuralcodec.flow.pyramid import Stage
from pil_neuralcodec.flow.surprises import Surprises
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.nets.backends import open_network

SETS = [*native.instruction_sets(), "none"] if native.core() is not None else ["none"]
compiled_only = pytest.mark.skipif(native.core() is None, reason="no compiled core")
Allow = Callable[[str], None]


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch) -> Allow:
    """Allows compiled code of one instruction set, or none."""
    return lambda name: monkeypatch.setenv(native.ENVIRONMENT, name)


def described(
    rng: np.random.Generator, bands: int, shape: tuple[int, int], parts: int = 4, kind: str = "waves"
) -> tuple[list[BandParameters], np.ndarray]:
    """Parameters of each band of a component, which know less than there is to know, and its samples (bands, h, w)."""
    h, w = shape
    y, x = np.mgrid[:h, :w]
    planes = []
    for _ in range(bands):
        plane = 120 + 50 * np.sin(x / 5 + rng.random()) * np.cos(y / 4) + np.cumsum(rng.normal(0, 2, shape), axis=1)
        planes.append(np.clip(np.rint(plane + rng.normal(0, 3, shape)), 0, 255).astype(np.int32))
    if kind == "flat":
        planes = [plane * 0 + int(rng.choice([0, 77, 255])) for plane in planes]
    elif kind == "noise":
        planes = [rng.integers(0, 256, shape).astype(np.int32) for _ in planes]
    elif kind == "ends":
        planes = [255 * rng.integers(0, 2, shape).astype(np.int32) for _ in planes]
    found: list[BandParameters] = []
    before: list[Before] = []
    known = [np.roll(plane, 1, axis=1) if kind == "waves" else rng.permutation(plane) for plane in planes]
    components = [np.stack([known[band % bands] for band in range(3)])[None].astype(np.int32)]
    for band, plane in enumerate(planes):
        rows = np.zeros((3 * parts + band + TAPS, *shape), np.int64)
        rows[:parts] = rng.integers(-40, 40, (parts, *shape))
        rows[parts : 2 * parts] = rng.integers(-300, 300, (parts, *shape))
        scale = (-200, -80, -30, 200) if kind in ("flat", "ends") else (16, 30, 50)
        rows[2 * parts : 3 * parts] = rng.choice(scale, (parts, *shape)) + rng.integers(-9, 9, (parts, *shape))
        if kind == "ends":
            rows[parts : 2 * parts] = rng.choice([-(2**24), 0, 2**20], (parts, *shape))
        near = Near.of(components, band)
        found.append(BandParameters.read(Outputs.of(rows, parts), near, list(before)))
        before.append(Before(plane, near))
    return found, np.stack(planes).astype(np.int64)


def limited(parameters: BandParameters) -> Mixture:
    """The mixture without side information."""
    return parameters.coded()


def near(parameters: BandParameters, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Surprises of the nearest samples: what is known, among it some that are as large as there can be."""
    surprises = parameters.near.taps[:4] * 8
    surprises[:, ::7, ::3] = np.where(surprises[:, ::7, ::3] > 9, 1 << 30, surprises[:, ::7, ::3])
    surprises[:, 1::9, ::5] -= 1 << 30
    h, w = shape or surprises.shape[1:]
    return surprises[:, :h, :w]


def coded(
    found: list[BandParameters], values: np.ndarray, learned: Learned | None = None
) -> tuple[bytes, list[np.ndarray]]:
    """The symbols of a component, and its surprises."""
    writer = SymbolWriter()
    writer.put_uniform(np.array([3]), 7)
    earlier: list[np.ndarray] = []
    for parameters, plane in zip(found, values, strict=True):
        given = Given(
            parameters, limited(parameters), near(parameters, plane.shape), list(earlier), learned or Learned()
        )
        earlier.append(put_adapted(writer, given, plane))
    return writer.finish(), earlier


def decoded(data: bytes, found: list[BandParameters], shape: tuple[int, int]) -> np.ndarray:
    reader = SymbolReader(data)
    reader.get_uniform(1, 7)
    earlier: list[np.ndarray] = []
    values = []
    for parameters in found:
        given = Given(parameters, limited(parameters), near(parameters, shape), list(earlier), Learned())
        plane, surprises = get_adapted(reader, given, shape)
        values.append(plane)
        earlier.append(surprises)
    reader.close()
    return np.stack(values)


@pytest.mark.parametrize("kind", ["waves", "flat", "noise", "ends"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 40), (3, 2), (5, 15), (6, 33), (3, 270)])
def test_every_engine_codes_the_same(allow: Allow, shape: tuple[int, int], kind: str) -> None:
    rng = np.random.default_rng(shape[1])
    found, values = described(rng, 3, shape, int(rng.choice([1, 2, 3, 4, 16])), kind)
    allow("none")
    expected, surprises = coded(found, values)
    for name in SETS:
        allow(name)
        data, others = coded(found, values)
        assert data == expected, name
        for one, two in zip(others, surprises, strict=True):
            np.testing.assert_array_equal(one, np.clip(two, -(1 << 29), 1 << 29) if kind == "ends" else two)
        np.testing.assert_array_equal(decoded(expected, found, shape), values)


def test_components_learn_from_those_before(allow: Allow) -> None:
    """The same by every engine, also where more has been learned than counts are kept for."""
    rng = np.random.default_rng(11)
    found, values = described(rng, 2, (33, 60), 2)
    taught = []
    for name in SETS:
        allow(name)
        learned = Learned()
        learned.counts[::2] = rng.integers(1 << 12, 1 << 21, BINS) if not taught else taught[0][0][::2]
        first = learned.counts.copy()
        data = [coded(found, values, learned)[0] for _ in range(3)]
        assert len(data[2]) < len(data[0])
        taught.append((first, data, *learned.arrays))
    for other in taught[1:]:
        for one, two in zip(taught[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_calibration_makes_even() -> None:
    rng = np.random.default_rng(12)
    counts = np.full((CLASSES, BINS), 1 << 12, np.int64)
    calibration, of = Calibration(counts), np.full(3000, 3)
    below = (rng.random(3000) ** 2 * (1 << 24)).astype(np.int64)
    calibration.learn(below, below + (1 << 14), of)
    ends = np.arange(BINS + 1) << 19
    assert np.abs(calibration.apply(ends, of[:33]) / (1 << 24) - np.sqrt(ends / (1 << 24))).max() < 0.03
    np.testing.assert_array_equal(calibration.apply(ends, of[:33] - 1), ends)
    steps = calibration.apply(np.arange(0, (1 << 24) + 1, 4096), np.full(4097, 3))
    assert steps[0] == 0 and steps[-1] == 1 << 24 and (np.diff(steps) >= 0).all()
    for _ in range(9):
        calibration.learn(below, below + (1 << 14), of)
    assert counts[3].sum() < 2 << 25 and counts[3].min() >= 1 << 12


def test_shifts_are_trusted_as_far_as_they_help() -> None:
    trust, at = Trust(np.zeros(14, np.int64), np.full(14, 1 << 30, np.int64)), np.arange(3)
    shifts = np.array([1000, -1001, 7])
    np.testing.assert_array_equal(trust.applied(shifts, at), shifts)
    for _ in range(200):
        trust.learn(at, at * 0, np.array([-500, 700, 0]))
    assert trust.applied(shifts, at).tolist() == [0, -1502, 7]


def test_lanes_become_fewer_in_the_middle_of_a_half_row(allow: Allow) -> None:
    """A band so large that the decoder begins with many lanes."""
    rng = np.random.default_rng(5)
    found, values = described(rng, 1, (90, 301), 2)
    data, _ = coded(found, values)
    items, _ = read_narrowings(memoryview(data), 0)
    assert items and len(SymbolReader(data)._lanes.heads) >= 16
    assert any((item - 1) % 301 not in (0, 151) for item in items)
    for name in SETS:
        allow(name)
        assert coded(found, values)[0] == data
        np.testing.assert_array_equal(decoded(data, found, (90, 301)), values)


def test_what_is_there_to_learn_is_learned(allow: Allow) -> None:
    rng = np.random.default_rng(2)
    found, values = described(rng, 3, (64, 64))
    adapted = len(coded(found, values)[0])
    plain = SymbolWriter()
    for parameters, plane in zip(found, values, strict=True):
        limited(parameters).flat(64, 64).coder().put(plain, plane.reshape(-1))
    assert adapted < 0.93 * len(plain.finish())


def test_parameters_may_have_more_rows_and_columns(allow: Allow) -> None:
    found, values = described(np.random.default_rng(3), 2, (20, 31))
    data = []
    for name in SETS:
        allow(name)
        data.append(coded(found, values[:, :19, :30])[0])
        np.testing.assert_array_equal(decoded(data[0], found, (19, 30)), values[:, :19, :30])
    assert len(set(data)) == 1


def test_damaged_data_raise_format_errors(allow: Allow) -> None:
    rng = np.random.default_rng(4)
    shape = (24, 37)
    found, values = described(rng, 2, shape, 2)
    allow(SETS[0])
    data, _ = coded(found, values)
    for _ in range(40):
        damaged = bytearray(data)
        at = int(rng.integers(4, len(data)))
        damaged[at] ^= int(rng.integers(1, 256))
        try:
            other = decoded(bytes(damaged[: int(rng.choice([at, len(data)]))]), found, shape)
        except FormatError:
            continue
        assert not np.array_equal(other, values)


@compiled_only
def test_half_rows_are_groups(allow: Allow) -> None:
    rng = np.random.default_rng(1)
    for row, count in ((1, 9), (2, 20), (7, 70), (70, 140), (301, 602)):
        freq = rng.integers(1, 1 << 20, count)
        start = rng.integers(0, (1 << 24) - freq)
        ends = half_row_ends(count // row, row)
        lengths = [part for _ in range(count // row) for part in ((row + 1) // 2, row // 2)]
        assert ends.tolist() == np.cumsum(lengths).tolist()
        parts = [
            intervals(start[end - n : end], freq[end - n : end], 24)
            for end, n in zip(ends.tolist(), lengths, strict=True)
            if n
        ]
        together = [groups(start, freq, 24, ends)]
        results = set()
        for content, name in ((together, SETS[0]), (parts, "none"), (together, "none")):
            allow(name)
            sink = SymbolWriter()
            sink.groups = content
            results.add(sink.finish())
        assert len(results) == 1


def test_the_solver_solves() -> None:
    rng = np.random.default_rng(6)
    z = rng.integers(-60, 60, (40, 13, 5))
    matrix = np.einsum("iab,icb->acb", z[:, :12], z)
    found = solve(matrix, 16)
    for block in range(5):
        normal = matrix[:, :12, block]
        exact = np.linalg.solve(normal + np.diag(16 + np.diag(normal) / 512), matrix[:, 12, block])
        assert np.abs(found[:, block] - 4096 * exact).max() < 2
    assert np.abs(solve(np.full((3, 4, 1), 1 << 29), 16)).max() <= 32767


def test_blending_trusts_what_was_right() -> None:
    predictions = np.array([[100, 100, 100, -256], [-40, -40, -40, -256]])
    errors = np.array([[9000, 1000, 900, 896], [9000, 9000, 900, 300000], [900, 9000, 900, 300000]])
    assert blend(predictions, errors).tolist() == [-40, 0, 20, 0]


@compiled_only
def test_what_is_not_taken(allow: Allow) -> None:
    allow(SETS[0])
    found, values = described(np.random.default_rng(7), 2, (6, 10), 2)
    first, second = found
    good = Given(first, limited(first), near(first), [], Learned())
    band: Any = _compiled(good, 6, 10)
    for bad in (values[0, :5].copy(), values[0] + 256, values[0] - 256):
        with pytest.raises(ValueError, match="value"):
            band.code(bad)
    start, freq = band.code(values[0])
    assert (freq > 0).all() and (start.astype(np.int64) + freq <= 1 << 24).all()
    with pytest.raises(ValueError, match="once"):
        band.code(values[0])
    lanes, out = Lanes(4), np.zeros(60, np.int64)
    with pytest.raises(ValueError, match="order"):
        native.core().pop(band, lanes.heads, lanes.stack.reserve(9), 9, 0, 60, out)  # type: ignore[union-attr]
    fresh: Any = _compiled(good, 6, 10)
    with pytest.raises(ValueError, match="order"):
        native.core().pop(fresh, lanes.heads, lanes.stack.reserve(9), 9, 3, 5, out)  # type: ignore[union-attr]
    surprises = np.zeros((6, 10), np.int32)
    with pytest.raises(ValueError, match="shape|number|before"):
        _compiled(Given(second, limited(second), near(second), [surprises[:5].copy()], Learned()), 6, 10)
    for component in (first.near.known[0][:, :, :5], np.concatenate(first.near.known * 2)):
        with pytest.raises(ValueError, match="shape"):
            _compiled(good._replace(parameters=replace(first, near=Near.of([component], 0))), 6, 10)
    with pytest.raises(ValueError, match="number"):
        _compiled(good._replace(nearest=near(first)[:3]), 6, 10)
    with pytest.raises(ValueError, match="add up"):
        wrong = good._replace(mixture=good.mixture._replace(weights=first.weights + 1))
        _compiled(wrong, 6, 10).code(values[0])  # type: ignore[union-attr]
    for at, number in enumerate((4000, 1 << 62, 0, 1 << 61)):
        changed, cut = Learned(), Learned()
        arrays = list(changed.arrays)
        arrays[at] = arrays[at] + number if number else arrays[at] * 0
        changed.arrays = tuple(arrays)  # type: ignore[assignment]
        with pytest.raises(ValueError, match="range"):
            _compiled(good._replace(learned=changed), 6, 10)
        arrays = list(cut.arrays)
        arrays[at] = arrays[at][:1]
        cut.arrays = tuple(arrays)  # type: ignore[assignment]
        with pytest.raises(ValueError, match="size"):
            _compiled(good._replace(learned=cut), 6, 10)


def test_surprises_of_the_nearest_samples() -> None:
    """Those of the coarser level belong to the component ``a``."""
    sides, rng = (9, 12), np.random.default_rng(3)
    known, whole = Surprises(sides), {level: np.zeros(level_shape(*sides, level), np.int64) for level in (2, 1, 0)}
    for level in (1, 0):
        whole[level][::2, ::2] = whole[level + 1]
        for stage in (Stage(level, number) for number in range(3)):
            row, column = OFFSETS[stage.number + 1]
            part = whole[level][row::2, column::2]
            assert part.shape == stage.shape(sides)
            near = known.nearest(stage, 1)
            for (i, j), total in np.ndenumerate(near.sum(axis=0)):
                y, x = 2 * i + row, 2 * j + column
                steps = (
                    [(1, 1), (1, -1), (-1, 1), (-1, -1)] if stage.number == 0 else [(0, 1), (0, -1), (1, 0), (-1, 0)]
                )
                at = [(y + down, x + right) for down, right in steps]
                h, w = whole[level].shape
                assert total == sum(whole[level][v, u] for v, u in at if 0 <= v < h and 0 <= u < w)
            part[...] = rng.integers(-(1 << 30), 1 << 30, part.shape)
            known.put(stage, 1, part)
            assert np.array_equal(known.earlier(stage, 2)[1], part) and not known.earlier(stage, 2)[0].any()


@pytest.mark.parametrize(
    ("ensemble", "bands", "size"), [(False, 3, (66, 65)), (True, 1, (66, 65)), (False, 1, (131, 130))]
)
def test_photo_flow(allow: Allow, ensemble: bool, bands: int, size: tuple[int, int]) -> None:
    """Tiles of one and of three bands, several in a batch, decoded by another engine."""
    arch = PhotoArchitecture(
        width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2, self_ensemble=ensemble, backward_adaptation=True
    )
    assert PhotoArchitecture.from_description(arch.describe()) == arch
    layers = random_layers(arch, 5)
    rng = np.random.default_rng(8)
    waves = np.sin(np.arange(size[1]) / 7)[None, :, None] + np.cos(np.arange(size[0]) / 5)[:, None, None]
    tiles = (100 + 30 * waves + rng.normal(0, 6, (2, *size, bands))).clip(0, 255).astype(np.uint8)
    payloads: list[bytes] = []
    for name in SETS:
        allow(name)
        coder = TileCoder(arch, open_network(layers))
        if name != "none" or not payloads:
            payloads = coder.encode(tiles, past=False)
            assert coder.encode(tiles[1:], past=False) == payloads[1:], "tiles do not depend on each other"
        assert np.array_equal(coder.decode(payloads[:1], (*size, bands)), tiles[:1])
    allow(SETS[0])
    coder = TileCoder(arch, open_network(layers))
    assert np.array_equal(coder.decode(payloads, (*size, bands)), tiles)
    plain = coder._replace(architecture=replace(arch, backward_adaptation=False)).encode(tiles, past=False)
    assert payloads[0] != plain[0]
    damaged = bytearray(payloads[0])
    for at in rng.integers(8, len(damaged), 4).tolist():
        damaged[at] ^= 85
        with pytest.raises(FormatError):
            coder.decode([bytes(damaged)], (*size, bands))


def test_samples_of_16_bits_are_not_adapted(allow: Allow) -> None:
    arch = PhotoArchitecture(width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2, backward_adaptation=True)
    tile = np.random.default_rng(9).integers(0, 4000, (1, 70, 66, 1)).astype(np.uint16)
    network = open_network(random_layers(arch, 5))
    payload = TileCoder(arch, network).encode(tile)
    assert payload == TileCoder(replace(arch, backward_adaptation=False), network).encode(tile)


@pytest.mark.parametrize("field", ["self_ensemble", "backward_adaptation"])
def test_a_field_of_an_architecture_is_true_or_false(field: str) -> None:
    described = PhotoArchitecture().describe()
    for value in (None, 1, "yes"):
        with pytest.raises(ValueError, match=field):
            PhotoArchitecture.from_description({**described, field: value})


def test_only_half_rows_have_ends() -> None:
    sink = SymbolSink()
    sink.put(np.array([0]), np.array([5]), 8)
    assert sink.groups[0].ends is None
