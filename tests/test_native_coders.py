"""The coders' kernels under every instruction set of this machine, against the numpy code that defines them.

Inputs are random and extreme: the narrowest and the widest logistics, centres far outside, slots at the ends of
intervals, symbols of a single slot and of all of them, streams that are damaged or run out.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pil_neuralcodec import native
from pil_neuralcodec.coders.engine import Distribution, Engine, NativeEngine, NumpyEngine
from pil_neuralcodec.coders.lanes import HEAD_HIGH, HEAD_LOW, ExhaustedError, Lanes, WordStack
from pil_neuralcodec.coders.logistic import SCALE_MAX, SCALE_MIN, LogisticMixture, compiled_tables, mixture_weights
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter
from pil_neuralcodec.coders.symbols import SymbolSink, digits, intervals
from pil_neuralcodec.coders.table import FrequencyTable, FrequencyTables
from pil_neuralcodec.errors import FormatError

pytestmark = pytest.mark.skipif(native.core() is None, reason="no compiled core")

TOTAL = 1 << 24
SHAPES = [(256, False), (1, False), (2, True), (3, True), (200, False), (200, True), (1 << 16, True), (1 << 16, False)]
"""Numbers of values, and whether the ends are clipped."""


@pytest.fixture(params=native.instruction_sets())
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The compiled engine, with all compiled code of one instruction set."""
    monkeypatch.setenv(native.ENVIRONMENT, request.param)
    return NativeEngine(native.core())


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Allows no compiled code from the call on."""
    return lambda: monkeypatch.setenv(native.ENVIRONMENT, "none")


def random_mixture(rng: np.random.Generator, count: int, values: int, clipped: bool) -> LogisticMixture:
    parts = int(rng.choice([1, 2, 3, 4, 5, 64]))
    shape = parts, count
    logits = rng.integers(-300, 300, shape) if rng.integers(2) else rng.integers(-20, 20, shape)
    scales = rng.integers(SCALE_MIN - 20, SCALE_MAX + 20, shape)
    scales[:, rng.random(count) < 0.3] = rng.choice([SCALE_MIN, 0, 127, SCALE_MAX])
    centres = rng.integers(-values * 16, values * 80 + 1, shape)
    centres[rng.random(shape) < 0.02] = rng.choice([-(2**33), 2**33, 2**30, 2**31, -(2**30) - 1])
    return LogisticMixture(mixture_weights(logits), centres, scales, values, clipped)


def random_lanes(rng: np.random.Generator, width: int, words: int) -> Lanes:
    lanes = Lanes(width, WordStack(rng.integers(0, 1 << 16, words).astype(np.uint16)))
    lanes.heads = rng.integers(int(HEAD_LOW), int(HEAD_HIGH), width).astype(np.uint64)
    return lanes


def assert_same(a: Lanes, b: Lanes) -> None:
    np.testing.assert_array_equal(a.heads, b.heads)
    np.testing.assert_array_equal(a.stack.to_array(), b.stack.to_array())


def assert_pops_alike(compiled: Engine, lanes: Lanes, distribution: Distribution, count: int) -> np.ndarray:
    """Pop with both engines; returns the symbols."""
    other, found, expected = lanes.copy(), np.zeros(count, np.int64), np.zeros(count, np.int64)
    compiled.pop(lanes, distribution, 0, count, found)
    NumpyEngine().pop(other, distribution, 0, count, expected)
    np.testing.assert_array_equal(found, expected)
    assert_same(lanes, other)
    return expected


@pytest.mark.parametrize(("values", "clipped"), SHAPES)
def test_mixtures(compiled: Engine, without: Callable[[], None], values: int, clipped: bool) -> None:
    rng = np.random.default_rng(values)
    for count in (1, 7, 64, 500):
        mixture = random_mixture(rng, count, values, clipped)
        assert mixture.compiled() is not None
        lanes = random_lanes(rng, count, 4 * count)
        symbols = assert_pops_alike(compiled, lanes, mixture, count)
        # At both ends of the intervals, and beside them.
        start, freq = mixture.intervals(symbols)
        for slots in (start, start + freq - 1, start - 1, start + freq, 0 * start, 0 * start + TOTAL - 1):
            lanes = random_lanes(rng, count, 4 * count)
            slot = np.clip(slots, 0, TOTAL - 1).astype(np.uint64)
            lanes.heads = (lanes.heads >> np.uint64(24) << np.uint64(24)) | slot
            assert_pops_alike(compiled, lanes, mixture, count)
        for drawn in (rng.integers(0, values, count), np.zeros(count, np.int64), np.full(count, values - 1)):
            sink = SymbolSink()
            mixture.put(sink, drawn)
            found = mixture.costs(drawn)
            first = mixture.split(drawn)[0]
            finished = mixture._finish(first)
            assert mixture.compiled() is not None
            reference = LogisticMixture(mixture._weights, mixture._centres, mixture._scales, values, clipped)
            reference.__dict__["_compiled"] = None
            expected = SymbolSink()
            reference.put(expected, drawn)
            assert len(sink.groups) == len(expected.groups)
            for one, two in zip(sink.groups, expected.groups, strict=True):
                assert one.first.dtype == two.first.dtype == np.uint32 and one.bits == two.bits
                np.testing.assert_array_equal(one.first, two.first)
                np.testing.assert_array_equal(one.second, two.second)
            np.testing.assert_array_equal(found, reference.costs(drawn))
            symbols = reference.split(drawn)[0]
            for one, two in zip(finished, reference._finish(symbols), strict=True):
                np.testing.assert_array_equal(one, two)
            np.testing.assert_array_equal(first, symbols)


def test_tables(compiled: Engine) -> None:
    rng = np.random.default_rng(1)
    for symbols in (1, 2, 3, 33, 256):
        for bits in (8, 16, 24):
            ends = np.sort(rng.integers(0, (1 << bits) + 1, (5, symbols)), axis=1)
            ends[:, -1] = 1 << bits
            tables = FrequencyTables(np.diff(ends, axis=1, prepend=0), bits)
            count = 300
            rows = rng.integers(0, 5, count)
            assert_pops_alike(compiled, random_lanes(rng, 64, 3000), tables.chosen(rows), count)


def test_digits(compiled: Engine) -> None:
    rng = np.random.default_rng(2)
    radixes: list[Any] = [1, 2, 3, 10, 255, 256, 65535, 65536]
    radixes += [rng.integers(1, 65537, 300), np.full(300, 65536), 1 << rng.integers(0, 17, 300)]
    for radix in radixes:
        each = radix if isinstance(radix, int) else radix.astype(np.uint32)
        for width, low, high in ((1, 0, 300), (7, 3, 299), (64, 64, 300), (512, 0, 300), (64, 5, 5)):
            lanes = random_lanes(rng, width, 1000)
            if rng.integers(2):
                lanes.heads[:] = rng.choice(np.array([HEAD_LOW, HEAD_HIGH - np.uint64(1)]), width)
            before, other = lanes.copy(), lanes.copy()
            found, expected = np.zeros(300, np.int64), np.zeros(300, np.int64)
            compiled.pop_uniform(lanes, each, low, high, found)
            NumpyEngine().pop_uniform(other, each, low, high, expected)
            np.testing.assert_array_equal(found, expected)
            assert_same(lanes, other)
            assert compiled.push(lanes, digits(found, radix), low, high) == low
            assert_same(lanes, before)


def test_pushes(compiled: Engine) -> None:
    """Intervals of all sizes; pushes stop at the same step."""
    rng = np.random.default_rng(3)
    for bits in (1, 8, 16, 24):
        freq = np.minimum(1 << bits, 2 ** rng.uniform(0, bits + 1, 400)).astype(np.int64)
        freq[::7], freq[3::7] = 1, 1 << bits
        start = (rng.random(400) * ((1 << bits) - freq + 1)).astype(np.int64)
        group = intervals(start, freq, bits)
        for width, low, high in ((1, 0, 400), (7, 7, 390), (64, 0, 400), (512, 0, 400), (7, 3, 3)):
            for enough in (1 << 62, 1030, 1001):
                lanes = random_lanes(rng, width, 1000)
                other = lanes.copy()
                stopped = compiled.push(lanes, group, low, high, enough)
                assert stopped == NumpyEngine().push(other, group, low, high, enough)
                assert_same(lanes, other)


def stream(rng: np.random.Generator) -> tuple[SymbolWriter, Callable[[SymbolReader], list[np.ndarray]]]:
    """A stream with everything in it, long enough for many lanes, and what reads it."""
    writer = SymbolWriter()
    mixture, table = random_mixture(rng, 20_000, 1 << 16, True), FrequencyTable(np.array([3, 0, 250, 3]), 8)
    mixture.put(writer, rng.integers(0, 1 << 16, 20_000))
    table.put(writer, rng.choice([0, 2, 2, 3], 5000))
    writer.put_uniform(rng.integers(0, 1000, 1001), 1000)

    def read(reader: SymbolReader) -> list[np.ndarray]:
        found = [mixture.get(reader), table.get(reader, 5000), reader.get_uniform(1001, 1000)]
        reader.close()
        return found

    return writer, read


def test_streams(compiled: Engine, without: Callable[[], None]) -> None:
    """The same bytes, and the same symbols or the same error from damaged ones."""
    rng = np.random.default_rng(4)
    writer, read = stream(rng)
    data = writer.finish()
    variants = [data, data[:-2], data[:1000], data + b"ab", data[:3] + b"\x01" + data[4:]]
    for _ in range(3):
        bad = bytearray(data)
        for at in rng.integers(0, len(bad) if rng.integers(2) else 3000, 3):
            bad[at] ^= 1 << int(rng.integers(8))
        variants.append(bytes(bad))
    found = [outcome(read, variant) for variant in variants]
    assert not isinstance(found[0], str)
    without()
    assert writer.finish() == data
    for one, variant in zip(found, variants, strict=True):
        two = outcome(read, variant)
        assert (one == two) if isinstance(one, str) else all(map(np.array_equal, one, two))


def outcome(read: Callable[[SymbolReader], list[np.ndarray]], data: bytes) -> Any:
    try:
        return read(SymbolReader(data))
    except FormatError as error:
        return f"{type(error).__name__}: {error}"


def test_many_threads_at_once() -> None:
    writer, read = stream(np.random.default_rng(5))
    data = writer.finish()
    expected = read(SymbolReader(data))
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: read(SymbolReader(data)), range(16)):
            assert all(map(np.array_equal, found, expected))


def test_nothing_is_popped_that_is_not_there(compiled: Engine) -> None:
    rng = np.random.default_rng(6)
    mixture, out = random_mixture(rng, 500, 256, False), np.zeros(500, np.int64)
    with pytest.raises(ExhaustedError):
        compiled.pop(random_lanes(rng, 8, 10), mixture, 0, 500, out)
    with pytest.raises(ExhaustedError):
        compiled.pop_uniform(random_lanes(rng, 8, 10), 65536, 0, 500, out)


def test_what_is_not_taken() -> None:
    module: Any = native.core()
    weights, zeros = np.full((2, 5), 1 << 15, np.int32), np.zeros((2, 5), np.int32)
    tables: Any = compiled_tables(native.fastest())
    heads, words, out = np.full(3, HEAD_LOW), np.zeros(100, np.uint16), np.zeros(5, np.int64)
    numbers = np.arange(5).astype(np.uint32)
    for bad in (zeros[:1], zeros[:, :4].copy()):
        with pytest.raises(ValueError, match="of one shape"):
            tables.mixtures(weights, bad, zeros, 256)
    for values in (0, -1, (1 << 16) + 1):
        with pytest.raises(ValueError, match="values"):
            tables.mixtures(weights, zeros, zeros, values)
    for many in (0, 65):
        with pytest.raises(ValueError, match="1..64 parts"):
            tables.mixtures(*[np.zeros((many, 5), np.int32)] * 3, 256)
    for bad in (zeros.astype(np.int64), zeros.astype(float), zeros[:, ::2], zeros.T, zeros[0], None):
        with pytest.raises(TypeError):
            tables.mixtures(weights, zeros, bad, 256)
    good = tables.mixtures(weights, zeros, zeros, 256)
    for wrong in (weights + 1, -weights, weights * np.array([[3], [-1]], np.int32), weights ^ (1 << 30)):
        with pytest.raises(ValueError, match="add up"):
            tables.mixtures(wrong, zeros, zeros, 256).code(out)
        with pytest.raises(ValueError, match="add up"):
            module.pop(tables.mixtures(wrong, zeros, zeros, 256), heads, words, 100, 0, 5, out)
    for wrong in (out - 1, out + 256):
        for method in (good.code, good.costs, good.first):
            with pytest.raises(ValueError, match="out of range"):
                method(wrong.copy())
    for method in (good.code, good.costs, good.first):
        with pytest.raises(ValueError, match="for each"):
            method(out[:4].copy())
    for sizes, message in (
        ((101, 0, 5), "as large"),
        ((-1, 0, 5), "as large"),
        ((100, -1, 5), "there are not"),
        ((100, 4, 3), "there are not"),
        ((100, 0, 6), "there are not"),
    ):
        with pytest.raises(ValueError, match=message):
            module.pop(good, heads, words, *sizes, out)
        with pytest.raises(ValueError, match=message):
            module.pop_digits(numbers[1:2], heads, words, *sizes, out)
        with pytest.raises(ValueError, match=message):
            module.push(numbers, numbers, 24, heads, words, *sizes, 1000)
    with pytest.raises(ValueError, match="more items"):
        module.pop(good, heads, words, 100, 0, 6, np.zeros(6, np.int64))
    with pytest.raises(ValueError, match="no lanes"):
        module.pop(good, heads[:0], words, 100, 0, 5, out)
    for radix in (numbers, numbers[:1], np.array([65537], np.uint32)):
        with pytest.raises(ValueError, match=r"1\.\.2\*\*16"):
            module.pop_digits(radix, heads, words, 100, 0, 5, out)
    with pytest.raises(ValueError, match="or each"):
        module.pop_digits(numbers[1:3], heads, words, 100, 0, 5, out)
    with pytest.raises(ValueError, match="too little room"):
        module.push(numbers, numbers, 24, heads, words, 95, 0, 5, 1000)
    for start, freq in ((numbers, numbers), (numbers, numbers + 253), (numbers - 1, numbers + 1)):
        with pytest.raises(ValueError, match="an interval"):
            module.push(start, freq, 8, heads, words, 0, 0, 5, 1000)
    for bits in (0, 25, -1):
        with pytest.raises(ValueError, match="a total"):
            module.push(numbers, numbers + 1, bits, heads, words, 0, 0, 5, 1000)
    with pytest.raises(ValueError, match="not below its radix"):
        module.push_digits(numbers, np.array([4], np.uint32), heads, words, 0, 0, 5, 1000)
    frozen = heads.copy()
    frozen.flags.writeable = False
    for bad in (frozen, heads.astype(np.int64), heads[::2]):
        with pytest.raises(TypeError):
            module.pop(good, bad, words, 100, 0, 5, out)
    for ends in ([[1, 3, 2, 4]], [[1, 2, 3]], [[5, 6]], [[]]):
        with pytest.raises(ValueError, match="frequenc"):
            module.FrequencyTables(np.array(ends, np.uint32), 2)
    for frequencies in ([[1, 2, 2]], [[3, 2]], [[1, 1]], [[1, 3], [2, 3]], [[4, 0, 0, 0, 0]], [[]], [[2**32 - 1, 5]]):
        with pytest.raises(ValueError, match="frequenc|symbols"):
            module.AdaptiveTables(np.array(frequencies, np.uint32), 2)
    table = module.FrequencyTables(np.array([[1, 4]], np.uint32), 2)
    for rows in (out - 1, out + 1):
        with pytest.raises(ValueError, match="no such table"):
            module.pop(table.items(rows), heads, words, 100, 0, 5, out)
