"""Coders: exact inverses, pinned words, honest code length, errors on damaged streams."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pil_neuralcodec.coders import logistic, rans, ubcs
from pil_neuralcodec.coders.lanes import HEAD_HIGH, HEAD_LOW, ExhaustedError, Lanes, WordStack
from pil_neuralcodec.coders.stack import Stack, StackWriter, height
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter, read_narrowings, write_narrowings
from pil_neuralcodec.coders.table import AdaptiveTables, FrequencyTables
from pil_neuralcodec.coders.widths import narrow, read_lanes, widen
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.flow import monotone
from pil_neuralcodec.varint import read_varint, write_varint


class Found(NamedTuple):
    """A distribution without compiled code."""

    bits: int
    find: Any

    def compiled(self) -> None:
        return None


def intervals(rng: np.random.Generator, n: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Random intervals with many extreme ones: single slots, nearly everything, everything."""
    total = 1 << bits
    freq = np.minimum(total, np.exp(rng.uniform(0, np.log(total + 1), n)).astype(np.int64).clip(1))
    freq[rng.random(n) < 0.05] = total
    freq[rng.random(n) < 0.05] = 1
    start = (rng.random(n) * (total - freq + 1)).astype(np.int64)
    return start, freq


@given(seed=st.integers(0, 2**32), lanes=st.sampled_from([1, 2, 7, 64]), steps=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_long_mixtures_of_both_coders_invert_exactly(seed: int, lanes: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    state = Lanes(lanes)
    done: list[tuple[str, np.ndarray, np.ndarray | int, int]] = []
    for _ in range(steps):
        n = int(rng.integers(1, lanes + 1))
        if rng.random() < 0.5:
            bits = int(rng.integers(1, 25))
            start, freq = intervals(rng, n, bits)
            rans.push(state, start.astype(np.uint64), freq.astype(np.uint64), bits)
            done.append(("rans", start, freq, bits))
        else:
            radix: np.ndarray | int = int(rng.choice([1, 2, 3, 10, 255, 256, 65535, 65536]))
            if rng.random() < 0.5:
                radix = rng.integers(1, 65537, n).astype(np.uint64)
            digits = (rng.random(n) * radix).astype(np.uint64)
            ubcs.push(state, digits, radix)
            done.append(("ubcs", digits, radix, 0))
        assert (state.heads >= HEAD_LOW).all() and (state.heads < HEAD_HIGH).all()
    for kind, first, second, bits in reversed(done):
        if kind == "rans":
            slots = rans.peek(state, len(first), bits).astype(np.int64)
            assert ((slots >= first) & (slots < first + second)).all()
            rans.pop(state, slots.astype(np.uint64), first.astype(np.uint64), np.asarray(second, np.uint64), bits)
        else:
            assert np.array_equal(ubcs.pop(state, len(first), second), first)
    assert (state.heads == HEAD_LOW).all() and state.stack.size == 0


def test_pinned_words() -> None:
    state = Lanes(2)
    for i in range(6):
        rans.push(state, np.array([100 * i, 7], np.uint64), np.array([3, 1], np.uint64), 24)
        ubcs.push(state, np.array([i, 40 + i], np.uint64), 50)
        ubcs.push(state, np.array([i, 255 - i], np.uint64), 256)
    assert [int(h) for h in state.heads] == PINNED_HEADS
    assert state.stack.to_array().tolist() == PINNED_WORDS


def random_groups(rng: np.random.Generator, sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray | int, int]]:
    groups: list[tuple[np.ndarray, np.ndarray | int, int]] = []
    for n in sizes:
        if rng.random() < 0.6:
            bits = int(rng.choice([8, 16, 24]))
            start, freq = intervals(rng, n, bits)
            groups.append((start, freq, bits))
        else:
            radix = int(rng.integers(1, 65537))
            groups.append((rng.integers(0, radix, n), radix, 0))
    return groups


def write(groups: list[tuple[np.ndarray, np.ndarray | int, int]], told: int = 0) -> bytes:
    writer = SymbolWriter()
    for first, second, bits in groups:
        if bits:
            assert isinstance(second, np.ndarray)
            writer.put(first, second, bits)
        else:
            writer.put_uniform(first, second)
    return writer.finish(told)


def read(
    data: bytes, groups: list[tuple[np.ndarray, np.ndarray | int, int]], told: int = 0, *, close: bool = True
) -> None:
    reader = SymbolReader(data)
    for first, second, bits in groups:
        if bits:
            assert isinstance(second, np.ndarray)
            start, freq = first, second

            def find(
                slots: np.ndarray, low: int, high: int, start: np.ndarray = start, freq: np.ndarray = freq
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
                inside = (slots >= start[low:high]) & (slots < start[low:high] + freq[low:high])
                return inside.astype(np.int64), start[low:high], freq[low:high]

            assert reader.get(len(first), Found(bits, find)).all()
        else:
            assert np.array_equal(reader.get_uniform(len(first), second), first)
    if close:
        assert reader.told() == told


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.one_of(st.integers(0, 3000), st.integers(0, 30_000)), max_size=6),
    told=st.integers(0, 2**32 - 1),
)
@example(seed=0, sizes=[], told=2**32 - 1)
@settings(max_examples=25, deadline=None)
def test_streams_round_trip(seed: int, sizes: list[int], told: int) -> None:
    groups = random_groups(np.random.default_rng(seed), sizes)
    read(write(groups, told), groups, told)


def code_length(groups: list[tuple[np.ndarray, np.ndarray | int, int]]) -> float:
    """In bytes."""
    bits = 0.0
    for first, second, of in groups:
        bits += of * len(first) - np.log2(second).sum() if of else np.log2(second) * len(first)  # type: ignore[operator]
    return bits / 8


def test_a_long_stream_uses_many_seeded_lanes_and_wastes_little() -> None:
    rng = np.random.default_rng(1)
    groups = random_groups(rng, [200_000, 100_001, 99_999])
    data = write(groups)
    read(data, groups)
    narrowings, _ = read_narrowings(memoryview(data), 0)
    assert len(narrowings) == 2 and narrowings == sorted(narrowings)
    assert 400_000 - narrowings[0] < 10_000
    waste = len(data) - code_length(groups)
    assert 0 < waste < 40, waste


@pytest.mark.parametrize("cost", [0.5, 0.05, 0.005, 0.0005])
def test_cheap_symbols_waste_little_too(cost: float) -> None:
    """Lanes are added once they can be seeded, however long that takes: none ever starts empty."""
    n, rng = 150_000, np.random.default_rng(2)
    likely = round(2 ** (24 - cost))
    rare = rng.random(n) > 2**-cost
    groups: list[tuple[np.ndarray, np.ndarray | int, int]] = [
        (np.where(rare, likely, 0), np.where(rare, (1 << 24) - likely, likely), 24),
        (rng.integers(0, 2, 100), 2, 0),
    ]
    data = write(groups)
    read(data, groups)
    waste = len(data) - code_length(groups)
    assert 0 < waste < 30, waste


def test_a_stream_of_certain_symbols_costs_nothing() -> None:
    n = 20_000
    groups: list[tuple[np.ndarray, np.ndarray | int, int]] = [(np.zeros(n, np.int64), np.full(n, 1 << 24), 24)]
    data = write(groups, 77)
    read(data, groups, 77)
    assert len(data) == 6  # no narrowings, and a head that is as it was


@given(seed=st.integers(0, 2**32), steps=st.lists(st.integers(1, 9), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_widening_and_narrowing_undo_each_other(seed: int, steps: list[int]) -> None:
    rng = np.random.default_rng(seed)
    counts = np.cumprod(steps).tolist()
    lanes = Lanes(counts[0], WordStack(rng.integers(0, 2**16, 4 * counts[-1] + 8).astype(np.uint16)))
    lanes.heads = (2 ** rng.uniform(32, 48, counts[0])).astype(np.uint64)
    lanes.heads[0] = [HEAD_LOW, HEAD_HIGH - np.uint64(1)][seed % 2]
    before = []
    for count in counts[1:]:
        before.append(lanes.copy())
        widen(lanes, count)
        assert len(lanes.heads) == count
        assert (lanes.heads >= HEAD_LOW).all() and (lanes.heads < HEAD_HIGH).all()
    for kept in reversed(before):
        narrow(lanes, len(kept.heads))
        assert np.array_equal(lanes.heads, kept.heads)
        assert np.array_equal(lanes.stack.to_array(), kept.stack.to_array())
    # Any heads can be taken away, and are there again.
    lanes.heads = (2 ** rng.uniform(32, 48, 12)).astype(np.uint64)
    lanes.heads[:4] = [HEAD_LOW, HEAD_HIGH - np.uint64(1), (1 << 40) - 1, 1 << 40]
    heads = lanes.heads.copy()
    narrow(lanes, 2)
    widen(lanes, 12)
    assert np.array_equal(lanes.heads, heads)


def test_seeds_take_what_heads_give_back() -> None:
    """Heads that have coded symbols are as likely as seeds, so that lanes cost nothing."""
    rng = np.random.default_rng(6)
    lanes = Lanes(1, WordStack(rng.integers(0, 2**16, 40_000).astype(np.uint16)))
    before = height(lanes)
    for count in (16, 256):
        widen(lanes, count)
    n = 256 * 80
    Stack(lanes).put_uniform(rng.integers(0, 1000, n), 1000)
    for count in (16, 1):
        narrow(lanes, count)
    assert abs(height(lanes) - before - n * np.log2(1000)) < 256


@pytest.mark.parametrize("head, size", [(0, 5), (2**32 - 1, 5), (2**32, 6), (2**40 - 1, 6)])
def test_a_head_out_of_range_is_refused(head: int, size: int) -> None:
    with pytest.raises(FormatError, match="impossible state"):
        read_lanes(memoryview(head.to_bytes(size, "little")), 0)


def test_a_prefix_decodes_the_first_symbols_and_then_says_so() -> None:
    groups = random_groups(np.random.default_rng(5), [4000, 4000, 60_000])
    data = write(groups)
    prefix = data[: len(data) // 2 + (len(data) - len(data) // 2) % 2]  # whole words
    read(prefix, groups[:2], close=False)
    with pytest.raises(FormatError, match="ends too early"):
        read(prefix, groups)


@pytest.mark.parametrize("damage", ["extra", "odd", "short", "lanes", "order", "late", "narrow"])
def test_damage_is_refused(damage: str) -> None:
    groups = random_groups(np.random.default_rng(9), [5000])
    data = write(groups)
    narrowings, at = read_narrowings(memoryview(data), 0)
    assert len(narrowings) == 1
    bad = {
        "extra": data + b"\0\0",
        "odd": data + b"\0",
        "short": data[:-2],
        "lanes": b"\xff\x7f" + data[1:],
        "order": write_narrowings([5, 4]) + data[at:],
        "late": write_narrowings([2**62]) + data[at:],
        "narrow": write_narrowings([]) + data[at:],
    }[damage]
    with pytest.raises((FormatError, AssertionError)):
        read(bad, groups)


def test_lanes_that_nothing_seeds_are_refused() -> None:
    with pytest.raises(FormatError, match="ends too early"):
        SymbolReader(write_narrowings([1, 2]) + b"\0\0\0\0\1" + bytes(100))
    for size in range(5):
        with pytest.raises(FormatError, match="ends too early"):
            SymbolReader(b"\0" + bytes(size))


@given(st.integers(0, 2**60))
def test_varints(value: int) -> None:
    assert read_varint(memoryview(write_varint(value) + b"x"), 0) == (value, len(write_varint(value)))


def test_stream_bytes_are_pinned() -> None:
    n = 20_000
    i = np.arange(n)
    freq = 1 + (i * 7919) % 65535
    start = (i * 104729) % (2**24 - freq)
    writer = SymbolWriter()
    writer.put(start, freq, 24)
    writer.put_uniform(i % 1000, 1000)
    data = writer.finish()
    assert hashlib.sha256(data).hexdigest() == PINNED_STREAM


PINNED_HEADS = [1404436480005, 15623782401]
PINNED_WORDS = [
    0,
    0,
    12800,
    34559,
    0,
    1,
    5051,
    391,
    1,
    254,
    0,
    10002,
    35069,
    2,
    1,
    36356,
    39683,
    35324,
    58,
    1,
    394,
    34820,
    78,
    251,
    24352,
    25005,
    35834,
]
PINNED_STREAM = "67c2fa1b8bdcd8210301c37852a002ec400cfa4fd1537de8e93024003e29e3e8"


@given(seed=st.integers(0, 2**32), lanes=st.sampled_from([1, 2, 7, 64]), steps=st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_popping_from_a_stack_and_pushing_again_changes_nothing(seed: int, lanes: int, steps: int) -> None:
    """Bits-back: what lies on the stack are any bits, and they are there again afterwards."""
    rng = np.random.default_rng(seed)
    state = Lanes(1, WordStack(rng.integers(0, 2**16, 20000).astype(np.uint16)))
    widen(state, lanes)
    before = [(state.heads.copy(), state.stack.to_array())]
    popped: list[StackWriter] = []
    for _ in range(steps):
        reader, writer = Stack(state), StackWriter()
        count, bits = int(rng.integers(1, 4 * lanes + 2)), int(rng.integers(1, 25))
        radix = rng.integers(1, 65537, count)
        writer.put_uniform(reader.get_uniform(count, radix), radix)
        # Symbols 0, 1, 2 of random intervals, the same for all items.
        ends = np.sort(rng.integers(1, max(2, 1 << bits), 2)).tolist() if bits > 2 else [1, 2]
        edges = np.array([0, ends[0], max(ends[1], ends[0] + 1), 1 << bits])
        edges = edges[: 4 if edges[3] > edges[2] else 3]

        def find(slots: np.ndarray, low: int, high: int, edges: np.ndarray = edges) -> tuple[np.ndarray, ...]:
            symbols = np.searchsorted(edges, slots.astype(np.int64), side="right") - 1
            return symbols, edges[symbols], edges[symbols + 1] - edges[symbols]

        symbols = reader.get(count, Found(bits, find))
        writer.put(edges[symbols], edges[symbols + 1] - edges[symbols], bits)
        popped.append(writer)
        before.append((state.heads.copy(), state.stack.to_array()))
    assert height(state) < 16 * 20000
    for writer in reversed(popped):
        heads, words = before.pop()
        assert np.array_equal(state.heads, heads) and np.array_equal(state.stack.to_array(), words)
        writer.push(state)
    heads, words = before.pop()
    assert np.array_equal(state.heads, heads) and np.array_equal(state.stack.to_array(), words)


def test_a_stack_does_not_lend_more_than_it_has() -> None:
    state = Lanes(2, WordStack(np.arange(5, dtype=np.uint16)))
    copy = state.copy()
    with pytest.raises(ExhaustedError):
        Stack(state).get_uniform(20, 65536)
    assert copy.stack.size == 5 and (copy.heads == HEAD_LOW).all()


@pytest.mark.parametrize("clipped", [False, True])
def test_a_value_above_the_largest_is_refused(clipped: bool) -> None:
    numbers = np.array([1 << 16, 500 << 6, 150], np.int32)
    mixture = logistic.LogisticMixture(*np.repeat(numbers, 2).reshape(3, 1, 2), 1000, clipped)
    largest = 999 - clipped  # the last value has a symbol of its own
    symbols, wide, digits = mixture.split(np.array([largest, 3]))
    shift = int(mixture.shift[0])
    assert wide.all() and shift == 6
    for more in (0, 1):
        writer = SymbolWriter()
        writer.put(*mixture.intervals(symbols), logistic.TOTAL_BITS)
        writer.put_uniform(digits + [more, 0], 1 << shift)
        reader = SymbolReader(writer.finish())
        if more:
            with pytest.raises(FormatError, match="above the largest"):
                mixture.get(reader)
        else:
            assert mixture.get(reader).tolist() == [largest, 3]


def test_tables_learn_from_groups() -> None:
    rng = np.random.default_rng(5)
    begin = np.array([[60000, 5000, 500, 36], [16384, 16384, 16384, 16384]])
    groups = [(rng.integers(0, 2, n), rng.choice(4, n, p=[0.05, 0.05, 0.1, 0.8])) for n in (0, 1, 300, 9000, 20000)]
    writer, fixed = SymbolWriter(), SymbolWriter()
    learning, static = AdaptiveTables(begin, 16), FrequencyTables(begin, 16)
    for rows, symbols in groups:
        learning.put(writer, rows, symbols)
        static.put(fixed, rows, symbols)
    data = writer.finish()
    assert len(data) < 0.6 * len(fixed.finish())
    reader, again = SymbolReader(data), AdaptiveTables(begin, 16)
    for rows, symbols in groups:
        assert np.array_equal(again.get(reader, rows), symbols)
    reader.close()
    assert abs(again._freq[1, 0] - 65536 / 20) < 600 and (again._freq.sum(axis=1) == 65536).all()


def test_tables_are_those_of_exact_arithmetic() -> None:
    """They are made in doubles, which is fast; integers of 128 bits give the same."""
    one, step = 1 << 128, logistic._exp_minus(1 << 10)
    power, upper = one, []
    for _ in range(18 << 10):
        upper.append((((one << 25) // (one + power)) + 1) >> 1)
        power = power * step >> 128
    assert logistic.SIGMOID[18 << 10 :].tolist() == [*upper, 1 << 24]
    assert (logistic.SIGMOID + logistic.SIGMOID[::-1] == 1 << 24).all()
    for m, found in enumerate(logistic._LOG2.tolist()):
        x, bits = (8192 + 2 * m + 1) << 47, 0  # 1 <= x / 2**60 < 2
        for _ in range(16):
            x = x * x >> 60
            bits = bits << 1 | x >> 61
            x >>= x >> 61
        assert found == bits
    for i, found in enumerate(monotone.LOG.tolist()):
        y = (i << 96) // (8192 + i)
        square, power, total, n = y * y >> 96, y, 0, 1
        while power:
            total, power, n = total + power // n, power * square >> 96, n + 2
        assert found == ((total << 21) + (1 << 95)) >> 96
