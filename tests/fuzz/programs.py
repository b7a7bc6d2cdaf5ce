"""What is asked of the coders: lists of symbols by distributions of every kind, from a few hostile bytes.

The first byte of the data is the number of a program, the rest is what its symbols are read from: a symbol stream, or
where the number is odd a stack with one, 16 or 256 lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pil_neuralcodec import native
from pil_neuralcodec.coders import static
from pil_neuralcodec.coders.logistic import LogisticMixture, mixture_weights
from pil_neuralcodec.coders.stack import Stack, StackWriter
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter
from pil_neuralcodec.coders.symbols import SymbolSource, SymbolTarget
from pil_neuralcodec.coders.table import AdaptiveTables, FrequencyTables
from pil_neuralcodec.coders.widths import MOST_STEPS, read_lanes
from pil_neuralcodec.errors import FormatError

COUNT = 64
"""Programs."""
_LONG = 0, 1
"""Programs of as many symbols as lanes are widened for."""


class Step(NamedTuple):
    """Symbols of one distribution: how they are got, and how symbols that were got are put."""

    get: Callable[[SymbolSource], np.ndarray]
    put: Callable[[SymbolTarget, np.ndarray], None]
    top: np.ndarray | int
    """Symbols are below it."""
    count: int


def steps(number: int) -> list[Step]:
    """The program of a number, for the engine that is allowed now."""
    return _steps(number % COUNT, native.core() is not None)


@lru_cache
def _steps(number: int, _: bool) -> list[Step]:
    rng = np.random.default_rng(number)
    if number in _LONG:
        return [_uniform(16, 2500), _tables(rng, 700)]
    makers = (
        _tables,
        _mixture,
        _digits,
        lambda rng, count: _uniform(int(rng.integers(1, 1 << 16, endpoint=True)), count),
    )
    return [makers[rng.integers(len(makers))](rng, int(rng.choice([1, 5, 17, 40]))) for _ in range(rng.integers(1, 5))]


def _frequencies(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    shape, bits = (int(rng.integers(1, 6)), int(rng.integers(2, 40))), int(rng.integers(6, 25))
    freq = (rng.integers(0, 4, shape) ** 9).astype(np.int64)
    freq = (freq << bits) // (1 + freq.sum(axis=1, keepdims=True)) >> int(rng.integers(2))
    freq[:, rng.integers(shape[1])] += (1 << bits) - freq.sum(axis=1)
    return freq, bits


def _tables(rng: np.random.Generator, count: int) -> Step:
    freq, bits = _frequencies(rng)
    shape = freq.shape
    tables, which = FrequencyTables(freq, bits), rng.integers(0, shape[0], count)
    top = shape[1] - (freq[:, ::-1] > 0).argmax(axis=1)
    return Step(
        lambda source: tables.get(source, which), lambda to, values: tables.put(to, which, values), top[which], count
    )


def _learning(rng: np.random.Generator, count: int) -> Step:
    freq, bits = _frequencies(rng)
    which = rng.integers(0, len(freq), count)
    groups = np.array_split(np.arange(count), 3)

    def get(source: SymbolSource) -> np.ndarray:
        tables = AdaptiveTables(freq, bits)
        return np.concatenate([tables.get(source, which[group]) for group in groups])

    def put(to: SymbolTarget, values: np.ndarray) -> None:
        tables = AdaptiveTables(freq, bits)
        for group in groups:
            tables.put(to, which[group], values[group])

    return Step(get, put, freq.shape[1], count)


def _mixture(rng: np.random.Generator, count: int) -> Step:
    shape, values = (int(rng.integers(1, 6)), count), int(rng.choice([1, 2, 3, 200, 256, 1024, 65536]))
    weights = mixture_weights(rng.integers(-300, 300, shape))
    centres = rng.integers(-64 * values, 128 * values, shape)
    scales = rng.integers(-90, 270 if rng.integers(2) else 40, shape)
    mixture = LogisticMixture(
        weights, centres, scales, values, bool(rng.integers(2)), values < 4 or bool(rng.integers(2))
    )
    return Step(mixture.get, mixture.put, values, count)


def _digits(rng: np.random.Generator, count: int) -> Step:
    radix = rng.integers(1, 1 << rng.integers(1, 17, count), endpoint=True)
    return Step(lambda source: source.get_uniform(count, radix), lambda to, v: to.put_uniform(v, radix), radix, count)


def _uniform(radix: int, count: int) -> Step:
    return Step(lambda source: source.get_uniform(count, radix), lambda to, v: to.put_uniform(v, radix), radix, count)


def _any_uniform(rng: np.random.Generator, count: int) -> Step:
    return _uniform(int(rng.integers(1, 1 << 16, endpoint=True)), count)


def run(data: bytes) -> list[bytes] | None:
    """Symbols that a program reads, as bytes; None where the data are refused, by a ``FormatError``."""
    try:
        return (_stack if data[0] % 2 else _stream)(data)
    except FormatError:
        return None


def _stream(data: bytes) -> list[bytes]:
    reader = SymbolReader(memoryview(data)[1:])
    found = [_checked(step, reader) for step in steps(data[0])]
    if data[0] & 64:
        found += [static.get_numbers(reader, 9, 20), static.get_symbols(reader, 30, 5)]
    return [values.tobytes() for values in (*found, np.array(reader.told()))]


def _stack(data: bytes) -> list[bytes]:
    """Pops, and pushes what was popped, after which everything is as it was."""
    program, steps_of_lanes = steps(data[0]), data[0] // COUNT % (MOST_STEPS + 1)
    lanes = read_lanes(memoryview(data)[1:], steps_of_lanes)
    before, stack, writer = lanes.copy(), Stack(lanes), StackWriter()
    found = [_checked(step, stack) for step in program]
    popped = [lanes.heads.tobytes(), lanes.stack.to_array().tobytes()]
    for step, values in zip(program, found, strict=True):
        step.put(writer, values)
    writer.push(lanes)
    assert (lanes.heads == before.heads).all() and (lanes.stack.to_array() == before.stack.to_array()).all()
    return popped + [values.tobytes() for values in found]


def _checked(step: Step, source: SymbolSource) -> np.ndarray:
    values = step.get(source)
    assert values.dtype == np.int64 and len(values) == step.count
    assert (values.view(np.uint64) < step.top).all()  # negative ones are large then
    return values


def seeds() -> list[bytes]:
    """Data that programs read to the end."""
    found = []
    for number in range(0, 256, 3):
        rng = np.random.default_rng(number)
        lanes = read_lanes(memoryview(rng.bytes(4) + b"\1" + rng.bytes(8000)), 0)
        values = [step.get(Stack(lanes)) for step in steps(number)]
        if number % 2:  # a stack that is used up nearly
            size = sum(len(one) * 2 for one in values) + (0, 140, 2000, 0)[number // COUNT]
            found.append(bytes([number]) + rng.bytes(4) + b"\1" + rng.bytes(size // 2 * 2))
            continue
        writer = SymbolWriter()
        for step, symbols in zip(steps(number), values, strict=True):
            step.put(writer, symbols)
        if number & 64:
            static.put_numbers(writer, rng.integers(0, 1 << 19, 9), 20)
            static.put_symbols(writer, rng.integers(0, 5, 30), 5)
        found.append(bytes([number]) + writer.finish(int(rng.integers(1 << 32))))
    return found
