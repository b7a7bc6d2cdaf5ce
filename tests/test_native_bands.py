"""The kernels for the bands of the photo flow under every instruction set of this machine, against the numpy code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pil_neuralcodec import native
from pil_neuralcodec.coders.logistic import WEIGHT, LogisticMixture
from pil_neuralcodec.flow.adaptation import SideInformation, adapt
from pil_neuralcodec.flow.architecture import TAPS
from pil_neuralcodec.flow.bands import BandParameters, Before
from pil_neuralcodec.flow.classes import CLASSES
from pil_neuralcodec.flow.network_bands import accepted
from pil_neuralcodec.flow.polyphase import Near, network_input, tap_samples
from pil_neuralcodec.flow.range_mapping import RangeMapping

pytestmark = pytest.mark.skipif(native.core() is None, reason="no compiled core")

SHAPES = [(1, 1, 1), (2, 1, 3), (1, 5, 2), (3, 4, 5), (1, 9, 300), (2, 33, 17)]


@pytest.fixture(params=native.instruction_sets())
def allow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Switches compiled code on, of one instruction set, or off."""
    return lambda on: monkeypatch.setenv(native.ENVIRONMENT, request.param if on else "none")


def assert_equal(found: Any, expected: Any) -> None:
    for one, two in zip(found, expected, strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("parts", [1, 4, 9])
def test_parameters(allow: Any, shape: tuple[int, int, int], parts: int) -> None:
    rng = np.random.default_rng(parts)
    for band in range(3):
        for size in (30, 2**12, 2**22):
            count = 3 * parts + band + TAPS
            wide = rng.integers(-size, size + 1, (*shape[:2], shape[2] + 2, count + 3)).astype(np.int32)
            outputs = wide[:, :, 1:-1, :count]
            outputs[..., :parts] = rng.integers(-300, 300, (*shape, parts)) // rng.choice([1, 20, 400])
            top = int(rng.choice([255, 65535, 300, 0]))
            bands = [rng.integers(0, top + 1, (shape[0], 3, *shape[1:])).astype(np.int32) for _ in range(1 + size % 3)]
            if rng.integers(3) == 0:
                bands = [plane[..., ::-1, ::-1] if i else 0 * plane + top for i, plane in enumerate(bands)]
            mapping = None if top == 255 else RangeMapping(0, top)
            allow(True)
            found = made(outputs, parts, band, bands, mapping)
            allow(False)
            assert_equal(found, made(outputs, parts, band, bands, mapping))


def made(
    outputs: np.ndarray, parts: int, band: int, components: list[np.ndarray], mapping: RangeMapping | None
) -> list[np.ndarray]:
    """Everything that follows from a network's outputs and the known components, (N, 3, h, w) each."""
    rng = np.random.default_rng(2)
    near = [Near.of(components, which) for which in range(band + 1)]
    shape = len(near[0].rows), near[0].columns
    before = [Before(rng.integers(0, 256, shape).astype(np.int32), one) for one in near[:band]]
    described = BandParameters.predicted(near[band], outputs, parts, before, mapping)
    offsets = rng.integers(-128, 128, described.offsets)
    few = described.at(slice(0, shape[0] - 1, 3), slice(0, shape[1] - 1)) if min(shape) > 1 else described
    side = SideInformation(rng.integers(-128, 128, (described.axes, CLASSES)), offsets)
    mixtures = [
        described.plain,
        described.coded(),
        side.mixture(described),
        few.plain,
        few.coded(),
        few.mixture(offsets),
    ]
    values = rng.integers(0, 256 if mapping is None else mapping.top + 1, described.total.shape).astype(np.int32)
    base = rng.integers(0, 256, values.shape).astype(np.int32)
    assert {mixture.top for mixture in mixtures} == {None if mapping is None else mapping.top}
    return [
        *(getattr(described, name) for name in ("weights", "means", "scales", "chain", "filters", "total")),
        *(part for mixture in mixtures for part in mixture[:3]),
        described.classes,
        few.slopes(),
        accepted(described, values, base),
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_networks_see(allow: Any, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(3)
    for count in (1, 2, 3):
        known = [rng.integers(0, 256, (shape[0], 3, *shape[1:])).astype(np.int32) for _ in range(count)]
        for part in (known, [255 * (plane & 1) for plane in known]):
            allow(True)
            found = network_input(part)
            allow(False)
            assert_equal(found, network_input(part))


@pytest.mark.parametrize("shape", [(1, 150, 200), (40, 16, 17), (3, 1, 5000), (9000, 1, 1)])
@pytest.mark.parametrize("mapping", [None, (999, 31)])
def test_threads_share_positions(shape: tuple[int, int, int], mapping: tuple[int, int] | None) -> None:
    """Tasks of some rows each, rows longer than a task, and images of a single position."""
    rng = np.random.default_rng(5)
    work: Any = native.kernels().bands(WEIGHT)
    n, height, width = shape
    known = [rng.integers(0, 256, (n, 3, height, width)).astype(np.int32) for _ in range(2)]
    outputs = rng.integers(-99, 99, (13 + TAPS, *shape)).astype(np.int32)
    before = [rng.integers(0, 256, (n * height, width)).astype(np.int32)]
    given = known, tap_samples(2), outputs, 4, before, 255, (-80, 128), mapping
    assert_equal(work.parameters(*given, 4), work.parameters(*given, 1))


def test_mapped_values(allow: Any) -> None:
    rng = np.random.default_rng(4)
    for top in (0, 1, 2, 254, 255, 256, 999, 65534, 65535):
        mapping = RangeMapping(0, top)
        indices = np.concatenate([rng.integers(-9, top + 10, 5000), [-(2**31), 2**31 - 1]]).astype(np.int32)
        allow(True)
        found = mapping.mapped(indices)
        allow(False)
        assert_equal([found], [mapping.mapped(indices)])
        values = np.arange(top + 1, dtype=np.int32)
        allow(True)
        np.testing.assert_array_equal(mapping.mapped(values), values * 256 // (top + 1))


def test_what_is_not_taken() -> None:
    kernels: Any = native.kernels()
    for table, kind in ((WEIGHT[1:].copy(), ValueError), (WEIGHT * 2, ValueError), (WEIGHT.astype(float), TypeError)):
        with pytest.raises(kind):
            kernels.bands(table)
    work = kernels.bands(WEIGHT)
    plane, table = np.zeros((1, 3, 4, 5), np.int32), np.zeros((TAPS, 2, 3), np.int32)
    outputs, total = np.zeros((3 + TAPS, 1, 4, 5), np.int32), plane[0, 0]
    fine = [[plane], table, outputs, 1, [], 255, (-80, 128), None]
    assert work.parameters(*fine).shape == (1 + 3, 4, 5)
    for at, bad in (
        (0, []),
        (0, [plane] * 4),
        (0, [plane, plane[:, :, :3].copy()]),
        (0, [plane[:, :2].copy()]),
        (0, [plane[:, :, :3].copy()]),
        (1, table[1:]),
        (1, table + np.array([1, 0, 0], np.int32)),
        (1, table - np.array([0, 3, 0], np.int32)),
        (1, table + np.array([0, 0, 3], np.int32)),
        (2, outputs[:-1]),
        (2, outputs[::2]),
        (2, outputs[:, :0]),
        (2, outputs[:, :, 1:]),
        (2, outputs[..., 1:]),
        (2, outputs[..., :-1]),
        (2, np.repeat(outputs, 2, axis=3)[..., ::2]),
        (2, np.repeat(outputs, 2, axis=2)[:, :, ::2]),
        (2, outputs[..., ::-1]),
        (3, 0),
        (3, 2),
        (4, [total]),
        (5, -1),
        (5, 2**16),
        (6, (2, 0)),
        (6, (1, 5000)),
        (7, (65536, 0)),
        (7, (-1, 0)),
    ):
        with pytest.raises(ValueError, match="components|bands|shape|reach|number|side by side|limit|mapping"):
            work.parameters(*fine[:at], bad, *fine[at + 1 :])
    apart = np.repeat(outputs, 2, axis=0)[::2]  # planes may be apart
    assert work.parameters([plane], table, apart, *fine[3:]).shape == (1 + 3, 4, 5)
    linked = np.zeros((4 + TAPS, 1, 4, 5), np.int32)
    for before in ([total[1:]], [total[:, 1:].copy()], [total] * 3):
        with pytest.raises(ValueError, match="shape|number"):
            work.parameters([plane], table, linked, 1, before, *fine[5:])
    means, chain = np.zeros((2, 4, 5), np.int32), np.zeros((0, 4, 5), np.int32)
    filters, offsets = np.zeros((TAPS, 4, 5), np.int32), np.zeros(13, np.int64)
    good = [[plane], table, 1, means, chain, filters, [], offsets, 255]
    assert (work.centres(*good) == 0).all()
    few = [part[:, :2, :4].copy() for part in (means, chain, filters)]
    assert work.centres([plane], table, 3, *few, [], offsets, 255).shape == (2, 2, 4)
    for at, bad in (
        (0, [plane[:, :, :3].copy()]),
        (0, [plane[..., :4].copy()]),
        (0, [plane[:0]]),
        (1, table[1:]),
        (2, 0),
        (2, 2),
        (2, 2**62),
        (3, means[:, :3].copy()),
        (3, means[:0]),
        (4, means),
        (5, filters[1:]),
        (6, [total]),
        (6, [total] * 3),
        (6, [total[1:]]),
        (7, offsets[1:]),
        (7, offsets + 2**16),
        (8, -1),
        (8, 2**16),
    ):
        with pytest.raises(ValueError, match="shape|number|offset|limit|three bands"):
            work.centres(*good[:at], bad, *good[at + 1 :])
    of, moves = np.zeros((2, 4, 5), np.uint8), np.zeros((2, CLASSES), np.int32)
    for name, arguments in (
        ("classes", (total - 1, means, means, None)),
        ("classes", (total + 2**20, means, means, None)),
        ("classes", (total, means[:1].copy(), means, None)),
        ("limited", (means, 1, 0, None, None)),
        ("limited", (means, 0, 1, of, None)),
        ("limited", (means, 0, 1, of[:, 1:].copy(), moves)),
        ("limited", (means, 0, 1, of, moves[1:])),
        ("limited", (means, 0, 1, of, moves + 2**20)),
        ("accepted", (total, total[1:], means, means, None)),
        ("accepted", (total, total, means, means[:1], None)),
        ("mapped", (total[0], None, total[0].copy())),
        ("mapped", (total[0], (9, 0), total[0, 1:].copy())),
        ("input", ([np.zeros((1, 2, 4, 5), np.int32)], table)),
    ):
        with pytest.raises(ValueError, match="shape|range|limits|mapped value"):
            getattr(work, name)(*arguments)


@pytest.mark.parametrize("top", [255, 65535])
def test_adaptation(allow: Any, top: int) -> None:
    rng = np.random.default_rng(top)
    mapping = None if top == 255 else RangeMapping(0, top)
    for band, shape in ((0, (1, 33, 40)), (2, (1, 90, 110)), (1, (1, 32, 300))):
        outputs = rng.integers(-60, 61, (*shape, 12 + band + TAPS)).astype(np.int32)
        outputs[..., 8:12] = rng.integers(-90, 140, (*shape, 4))
        outputs[..., 12:] = 0
        planes = [np.cumsum(rng.integers(-9, 10, shape), axis=2) + top // 2 for _ in range(band + 1)]
        planes = [np.clip(plane, 0, top).astype(np.int32) for plane in planes]
        values = planes[-1][0].astype(np.int64)
        values[:, ::3] = np.clip(values[:, ::3] + rng.integers(-40, 90, values[:, ::3].shape), 0, top)
        results = []
        for on in (True, False):
            allow(on)
            known = [np.stack([planes[which % len(planes)] for which in range(3)], axis=1)]
            before = [Before(plane[0], Near.of(known, which)) for which, plane in enumerate(planes[:-1])]
            described = BandParameters.predicted(Near.of(known, band), outputs, 4, before, mapping)
            results.append(adapt(described, values))
        for one, two in ((results[0].scales, results[1].scales), (results[0].offsets, results[1].offsets)):
            assert (one is None) == (two is None)
            if one is not None:
                np.testing.assert_array_equal(one, two)
        assert results[0].scales is not None


def test_what_adaptation_does_not_take() -> None:
    shape = 4, 50
    mixture: Any = LogisticMixture(np.full(shape, 1 << 14), *np.zeros((2, *shape), np.int64), 256).compiled()
    values, classes, slopes = np.zeros(50, np.int64), np.zeros((2, 50), np.uint8), np.zeros((3, 50), np.int32)
    table = np.ones(209, np.int64)
    assert not mixture.class_scales(values, classes, 8, (8, 2), 1 << 40).any()
    for arguments in (
        (values[1:], classes, 8, (4,), 1),
        (values, classes[:, 1:].copy(), 8, (4,), 1),
        (values, classes[:0], 8, (4,), 1),
        (values, classes, 0, (4,), 1),
        (values, classes + 8, 8, (4,), 1),
        (values, np.zeros((3, 50), np.uint8), 8, (4,), 1),
        (values, classes, 8, (-1,), 1),
        (values, classes, 8, (4,), -1),
        (values + 256, classes, 8, (4,), 1),
    ):
        with pytest.raises(ValueError, match="class|step|price|for each|out of range"):
            mixture.class_scales(*arguments)
    for bad in (
        (values[1:], slopes, table, table, 0, 256),
        (values, slopes[:, 1:].copy(), table, table, 0, 256),
        (values, slopes[:0], table, table, 0, 256),
        (values, slopes, table[1:], table, 0, 256),
        (values, slopes, table[:0], table[:0], 0, 256),
        (values, slopes, table, table, 0, 0),
        (values, slopes, table, table, 2**40, 256),
    ):
        with pytest.raises(ValueError, match="for each|slopes|gain"):
            mixture.least_squares(*bad)
