"""Symbols a second of the coders on one thread, by lanes, of each instruction set and of numpy.

python benchmarks/coders.py [--lanes 32,512] [--parts 4] [--values 256] [--count 65536]

Where constriction is installed (``pip install constriction``), its rANS coder is measured in the same run: digits by
its uniform distribution, symbols of one table by its categorical one, and in place of mixtures, which it has not got,
quantised Gaussians, and a table of probabilities for each symbol.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click
import numpy as np

from pil_neuralcodec import native
from pil_neuralcodec.coders.lanes import Lanes
from pil_neuralcodec.coders.logistic import LogisticMixture, mixture_weights
from pil_neuralcodec.coders.stack import Stack, StackWriter
from pil_neuralcodec.coders.static import FrequencyTable

BITS = 16
"""Precision of the one table."""
SIX = ("mixtures encode", "mixtures decode", "rANS push", "rANS pop", "UBCS push", "UBCS pop")


def best(work: Callable[[Any], object], prepare: Callable[[], Any] = lambda: None) -> float:
    """Seconds of the fastest of many rounds, without what ``prepare`` takes, which gives the argument of each."""
    times: list[float] = []
    while len(times) < 3 or (len(times) < 100 and sum(times) < 0.25):
        given = prepare()
        start = time.thread_time()
        work(given)
        times.append(time.thread_time() - start)
    return min(times)


def parameters(count: int, parts: int, values: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mixtures as of photographs, int32 (parts, n) as networks give them, and values that follow them, int64 (n,):
    weights, centres, scales, values."""
    rng = np.random.default_rng(0)
    middle = rng.uniform(0.1, 0.9, count) * values
    spread = 2 ** rng.uniform(-1, 4, count) * values / 256
    centres = (middle + rng.normal(0, 0.4, (parts, count)) * spread) * 64
    scales = np.log2(spread * 2 ** rng.normal(0, 0.5, (parts, count))) * 16
    weights = mixture_weights(rng.integers(-40, 40, (parts, count)))
    drawn = np.clip(np.rint(middle + rng.logistic(0, 1, count) * spread), 0, values - 1)
    return weights.astype(np.int32), centres.astype(np.int32), scales.astype(np.int32), drawn.astype(np.int64)


def one_table(values: int, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies out of 2**BITS of what is left of ``drawn`` by the value before it, and these symbols, int64 (n,)."""
    symbols = np.diff(drawn, prepend=0) % values
    counts = np.bincount(symbols, minlength=values)
    freq = 1 + counts * ((1 << BITS) - values) // counts.sum()
    freq[freq.argmax()] += (1 << BITS) - freq.sum()
    return freq, symbols


@click.command(help=__doc__)
@click.option("--lanes", default="32,64,128,256,512", show_default=True)
@click.option("--parts", default=4, show_default=True)
@click.option("--values", default=256, show_default=True)
@click.option("--count", default=1 << 16, show_default=True)
def main(lanes: str, parts: int, values: int, count: int) -> None:
    """See the module's documentation."""
    given = parameters(count, parts, values)
    columns = ("million symbols/s", "lanes", *SIX, "UBCS beats rANS", "both beat constriction")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    peers: list[list[float]] = []
    for name in (*native.instruction_sets(), "none"):
        os.environ[native.ENVIRONMENT] = name
        for width in map(int, lanes.split(",")):
            found = rates(width, values, *given)
            beaten = "?"
            if find_spec("constriction"):  # beside each row, since clocks change
                peers.append(list(constriction(values, *given)))
                beaten = _beaten(found[2:], peers[-1][2:6], SIX[2:])
            _row(name, str(width), found, _beaten(found[4:], found[2:4], ("push", "pop")), beaten)
    if peers:
        *fastest, each = map(max, zip(*peers, strict=True))
        _row("constriction", "", fastest, "", "")
        _row("constriction, a table each", "", [each], "", "")


def _beaten(ours: list[float], others: list[float], names: tuple[str, ...]) -> str:
    """Whether all are faster, or which are not."""
    slower = [name for our, other, name in zip(ours, others, names, strict=True) if our <= other]
    return "not in " + ", ".join(slower) if slower else "yes"


def _row(name: str, lanes: str, found: list[float], *more: str) -> None:
    cells = [f"{rate:.1f}" for rate in found] + [""] * (len(SIX) - len(found))
    print("| " + " | ".join([name, lanes, *cells, *more]) + " |", flush=True)


def rates(
    lanes: int, values: int, weights: np.ndarray, centres: np.ndarray, scales: np.ndarray, drawn: np.ndarray
) -> list[float]:
    """A million symbols a second, as ``SIX`` says: mixtures with their search; rANS by known intervals pushing, and by
    one table popping; UBCS with a radix for each digit."""
    count = len(drawn)

    def mixture() -> LogisticMixture:
        return LogisticMixture(weights, centres, scales, values, values > 256)

    def encode() -> Lanes:
        writer, state = StackWriter(), Lanes(lanes)
        mixture().put(writer, drawn)
        writer.push(state)
        return state

    def coded(put: Callable[[Stack], None]) -> Lanes:
        state = Lanes(lanes)
        put(Stack(state))
        return state

    freq, symbols = one_table(values, drawn)
    table, start, chosen = FrequencyTable(freq, BITS), (np.cumsum(freq) - freq)[symbols], freq[symbols]
    start, chosen = start.astype(np.uint32), chosen.astype(np.uint32)
    digits, radix = _digits(count)
    pairs: list[tuple[Callable[[], Lanes], Callable[[Stack], np.ndarray], np.ndarray]] = [
        (encode, lambda stack: mixture().get(stack), drawn),
        (lambda: coded(lambda s: s.put(start, chosen, BITS)), lambda s: table.get(s, count), symbols),
        (lambda: coded(lambda s: s.put_uniform(digits, radix)), lambda s: s.get_uniform(count, radix), digits),
    ]
    found = []
    for put, get, expected in pairs:
        state = put()
        assert np.array_equal(get(Stack(state.copy())), expected)
        found += [
            count / best(lambda _, put=put: put()) / 1e6,
            count / best(lambda s, get=get: get(Stack(s)), state.copy) / 1e6,
        ]
    return found


def _digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits and the radix of each, uint32 (n,)."""
    radix = np.random.default_rng(1).integers(2, 65537, count).astype(np.uint32)
    return radix - 1, radix


def constriction(
    values: int, weights: np.ndarray, centres: np.ndarray, scales: np.ndarray, drawn: np.ndarray
) -> Iterator[float]:
    """A million symbols a second of constriction: as ``SIX`` says, with quantised Gaussians for mixtures; then encoding
    by a table of probabilities for each symbol."""
    stream: Any = import_module("constriction").stream
    coder, model = stream.stack.AnsCoder, stream.model
    count = len(drawn)
    freq, symbols = one_table(values, drawn)
    digits, radix = _digits(count)
    means = (weights / 65536 * centres).sum(axis=0) / 64
    spreads = 1.8 * 2 ** (scales.mean(axis=0) / 16)
    few = min(count // 2, 4096)  # tables take much memory
    tables = np.random.default_rng(2).random((few, values), np.float32)
    pairs = [
        (drawn, model.QuantizedGaussian(0, values - 1), (means, spreads)),
        (symbols, model.Categorical(freq / (1 << BITS), perfect=False), ()),
        (digits, model.Uniform(), (radix.astype(np.int32),)),
        (drawn[:few], model.Categorical(perfect=False), (tables,)),
    ]
    for message, distribution, given in pairs:
        message = message.astype(np.int32)

        def encode(message=message, distribution=distribution, given=given) -> Any:
            state = coder()
            state.encode_reverse(message, distribution, *given)
            return state

        def decode(state: Any, message=message, distribution=distribution, given=given) -> Any:
            return state.decode(distribution, *(given or (len(message),)))

        state = encode()
        assert np.array_equal(decode(state.clone()), message)
        yield len(message) / best(lambda _, encode=encode: encode()) / 1e6
        if message.size == count:
            yield len(message) / best(decode, state.clone) / 1e6


if __name__ == "__main__":
    main()
