"""The kernels of methods without networks, against the numpy code that defines them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pil_neuralcodec import native
from pil_neuralcodec.coders.engine import NativeEngine, NumpyEngine
from pil_neuralcodec.coders.lanes import Lanes
from pil_neuralcodec.coders.stream import SymbolWriter
from pil_neuralcodec.coders.symbols import groups
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.methods import filtered, predictor
from pil_neuralcodec.methods.predictor_blend import level_table, weight_table

pytestmark = pytest.mark.skipif(native.core() is None, reason="no compiled core")

SHAPES = [(1, 1, 1), (1, 1, 4), (1, 9, 3), (9, 1, 2), (2, 2, 3), (3, 130, 1), (40, 33, 3), (33, 40, 2), (17, 300, 5)]
KINDS = ["noise", "extremes", "constant", "stripes", "smooth", "sparse"]


@pytest.fixture(params=native.instruction_sets())
def instruction_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(native.ENVIRONMENT, request.param)
    yield request.param


def drawn(kind: str, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x, band = np.ogrid[: shape[0], : shape[1], : shape[2]]
    values = {
        "noise": lambda: rng.integers(0, 256, shape),
        "extremes": lambda: rng.integers(0, 2, shape) * 255,
        "constant": lambda: np.full(shape, 255),
        "stripes": lambda: (x + y) % 2 * 255 + band * 0,
        "smooth": lambda: 3 * x + 2 * y + 40 * band + rng.integers(-2, 3, shape),
        "sparse": lambda: (rng.random(shape) < 0.02) * rng.integers(0, 256, shape),
    }[kind]()
    return values.astype(np.uint8)


def in_numpy(monkeypatch: pytest.MonkeyPatch, work: Any, *arguments: Any) -> Any:
    with monkeypatch.context() as patch:
        patch.setenv(native.ENVIRONMENT, "none")
        return work(*arguments)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kind", KINDS)
def test_predictor(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for shape in SHAPES:
        pixels = drawn(kind, shape)
        order = predictor._order(shape[2])
        core = predictor.compiled()
        assert core
        found, expected = core.residuals(pixels, order), predictor._residuals(pixels, order)
        assert all(map(np.array_equal, found, expected))
        body = predictor.encode(pixels)
        assert body == in_numpy(monkeypatch, predictor.encode, pixels)
        if body is not None:
            for decode in (predictor.decode, lambda *a: in_numpy(monkeypatch, predictor.decode, *a)):
                np.testing.assert_array_equal(decode(memoryview(body), shape, pixels.dtype), pixels)


def outcome(body: bytes, shape: tuple[int, int, int]) -> bytes:
    try:
        return predictor.decode(memoryview(body), shape, np.dtype(np.uint8)).tobytes()
    except FormatError as error:
        return f"{type(error).__name__}: {error}".encode()


def test_damage_to_the_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pixels or the same error as in numpy."""
    rng = np.random.default_rng(2)
    monkeypatch.setattr(predictor, "_STRIP", 700)
    for shape in ((24, 31, 3), (1, 20, 1)):
        body = predictor.encode(drawn("smooth", shape))
        assert body is not None
        damaged = [body[:size] for size in range(0, len(body), len(body) // 8)] + [body + b"\0", b""]
        for _ in range(20):
            flipped = bytearray(body)
            for at in rng.integers(0, len(body), 2):
                flipped[at] ^= 1 << int(rng.integers(8))
            damaged.append(bytes(flipped))
        damaged += [rng.bytes(int(size)) for size in rng.integers(1, 90, 20)]
        for bad in damaged:
            assert outcome(bad, shape) == in_numpy(monkeypatch, outcome, bad, shape)
    # A widening of lanes before what is read already, and one that never comes.
    pixels = drawn("noise", (60, 60, 1))
    whole = predictor.encode(pixels)
    assert whole is not None and whole[1] > 0
    for at in range(2, 8):
        for value in (0, 1, 127):
            bad = whole[:at] + bytes([value]) + whole[at + 1 :]
            assert outcome(bad, pixels.shape) == in_numpy(monkeypatch, outcome, bad, pixels.shape)


def test_groups_that_are_put_together() -> None:
    """Pushed as one after the other, whatever the lanes; read as such."""
    rng = np.random.default_rng(3)
    ends = np.cumsum(rng.integers(0, 40, 50)).astype(np.int64)
    count = int(ends[-1])
    freq = rng.integers(1, 1 << 10, count)
    start = rng.integers(0, (1 << 18) - freq)
    together = groups(start, freq, 18, ends)
    one_by_one = [groups(start[a:b], freq[a:b], 18, ends[:0])._replace(ends=None) for a, b in zip([0, *ends], ends)]  # noqa: B905
    for width in (1, 3, 16, 64):
        for high in (count, count - 7, int(ends[20]), 0):
            results = []
            for engine in (NativeEngine(native.core()), NumpyEngine()):  # type: ignore[arg-type]
                lanes = Lanes(width)
                engine.push_all(lanes, together, high)
                results.append((lanes.heads.tolist(), lanes.stack.to_array().tolist()))
            lanes = Lanes(width)
            for group, begin in zip(reversed(one_by_one), reversed([0, *ends[:-1]]), strict=True):
                if high > begin:
                    NumpyEngine().push(lanes, group, 0, min(len(group.first), high - int(begin)))
            assert results[0] == results[1] == (lanes.heads.tolist(), lanes.stack.to_array().tolist())
    writer, other = SymbolWriter(), SymbolWriter()
    writer.put_group(together)
    for group in one_by_one:
        other.put_group(group)
    assert writer.finish() == other.finish()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_filters(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    for shape in ((1, 1, 1), (1, 50, 3), (50, 1, 1), (23, 19, 1), (20, 21, 2), (11, 8, 4), (9, 7, 5)):
        ramp = np.add.outer(np.arange(shape[0]), np.arange(shape[1]))[:, :, None] * 251
        for values in (rng.integers(-(2**31), 2**31, shape), ramp + rng.integers(-2, 3, shape), np.full(shape, -1)):
            samples = filtered._unsigned(values.astype("int32").astype(f"u{np.dtype(dtype).itemsize}").view(dtype))
            filters = rng.integers(0, 4, shape[0]).astype(np.uint8)
            found, expected = samples.copy(), samples.copy()
            filtered._unfilter(found, filters)
            in_numpy(monkeypatch, filtered._unfilter, expected, filters)
            np.testing.assert_array_equal(found, expected)
            for choice in filtered._arrangements(samples, False):
                packed = filtered._arrange(samples, choice, None)
                np.testing.assert_array_equal(packed, in_numpy(monkeypatch, filtered._arrange, samples, choice, None))


def test_what_filters_do_not_take() -> None:
    core: Any = native.core()
    rows, filters = np.zeros((3, 4, 2), np.uint16), np.zeros(3, np.uint8)
    for wrong in (filters[:2], filters + 4):
        with pytest.raises(ValueError, match="filter"):
            core.unfilter_rows(rows, wrong)
    for rest in ((rows[:, ::2], filters), (rows.astype(np.int16), filters), (rows, filters.astype(np.int64))):
        with pytest.raises(TypeError):
            core.unfilter_rows(*rest)
    with pytest.raises(TypeError):
        core.filter_rows(rows[0])


def test_what_is_not_taken() -> None:
    core: Any = native.core()
    weights, levels = weight_table().astype(np.uint32), level_table()
    kernels: Any = native.fastest()
    for bad in (
        (weights[:-1], levels),
        (weights * 2, levels),
        (weights - weights.min(), levels),
        (weights, levels + 1),
    ):
        with pytest.raises(ValueError, match="table|weight|level"):
            kernels.predictor(*bad)
    loops = kernels.predictor(weights, levels)
    pixels = np.zeros((4, 6, 2), np.uint8)
    for order in ([0], [0, 2], [-1, 0], [0, 1, 1]):
        with pytest.raises(ValueError, match="band"):
            loops.residuals(pixels, order)
    with pytest.raises(ValueError, match="shape"):
        loops.residuals(pixels[:0], [0, 1])
    for wrong in (pixels.astype(np.int16), pixels[0], None):
        with pytest.raises(TypeError):
            loops.residuals(wrong, [0, 1])
    ends = np.full((1, 256), 1 << 18, np.uint32)
    tables, choices = core.FrequencyTables(ends, 18), np.zeros((2, 31), np.int64)
    residuals = np.zeros((2, 4, 6), np.uint8)
    for arguments in (
        (core.FrequencyTables(ends[:, :9].copy(), 18), choices, residuals, residuals),
        (tables, choices[:1], residuals, residuals),
        (tables, choices + 1, residuals, residuals),
        (tables, choices - 1, residuals, residuals),
        (tables, choices, residuals, residuals[:, :3].copy()),
        (tables, choices, residuals, residuals + 31),
    ):
        with pytest.raises(ValueError, match="table|level"):
            loops.symbols(*arguments)
    with pytest.raises(ValueError, match="table"):
        loops.decoder(tables, choices + 1, pixels, [0, 1])
    frozen = pixels.copy()
    frozen.setflags(write=False)
    with pytest.raises(TypeError):
        loops.decoder(tables, choices, frozen, [0, 1])
    decoder = loops.decoder(tables, choices, pixels, [0, 1])
    heads, words = np.full(3, 1 << 32, np.uint64), np.zeros(9, np.uint16)
    for arguments in ((heads[:0], words, 0, 1), (heads, words, 10, 1), (heads, words, 0, -1)):
        with pytest.raises(ValueError, match="lanes|stack|samples"):
            decoder.pop(*arguments)
    assert decoder.pop(heads, words, 0, 48) == 0
    with pytest.raises(ValueError, match="more samples"):
        decoder.pop(heads, words, 0, 1)
    interval = np.zeros(5, np.uint32), np.ones(5, np.uint32)
    for limits in ([3], [3, 2, 5], [-1, 5], [6], []):
        with pytest.raises(ValueError, match="group"):
            core.push_groups(*interval, 8, np.array(limits, np.int64), heads, np.zeros(99, np.uint16), 0, 5)
    for high, room in ((6, 99), (-1, 99), (5, 10)):
        with pytest.raises(ValueError, match="items|room"):
            core.push_groups(*interval, 8, np.array([5], np.int64), heads, np.zeros(room, np.uint16), 0, high)
