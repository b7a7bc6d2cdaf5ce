"""Symbols a second of the coders on one thread, of each instruction set and of numpy.

python benchmarks/coders.py [--lanes 512] [--parts 4] [--values 256]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import click
import numpy as np

from pil_neuralcodec import native
from pil_neuralcodec.coders.lanes import Lanes
from pil_neuralcodec.coders.logistic import LogisticMixture, mixture_weights
from pil_neuralcodec.coders.stack import Stack, StackWriter


def best(work: Callable[[], object], rounds: int = 7) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def parameters(count: int, parts: int, values: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mixtures as of photographs, and values that follow them: weights, centres, scales, values."""
    rng = np.random.default_rng(0)
    middle = rng.uniform(0.1, 0.9, count) * values
    spread = 2 ** rng.uniform(-1, 4, count) * values / 256
    centres = (middle + rng.normal(0, 0.4, (parts, count)) * spread) * 64
    scales = np.log2(spread * 2 ** rng.normal(0, 0.5, (parts, count))) * 16
    weights = mixture_weights(rng.integers(-40, 40, (parts, count)))
    drawn = np.clip(np.rint(middle + rng.logistic(0, 1, count) * spread), 0, values - 1)
    return weights, centres.astype(np.int64), scales.astype(np.int64), drawn.astype(np.int64)


@click.command(help=__doc__)
@click.option("--lanes", default=512)
@click.option("--parts", default=4)
@click.option("--values", default=256)
@click.option("--count", default=1 << 18)
def main(lanes: int, parts: int, values: int, count: int) -> None:
    """See the module's documentation."""
    given = parameters(count, parts, values)
    print(f"{'million symbols/s':20}{'mixtures':>18}{'rANS':>9}{'UBCS':>18}")
    print(f"{'':20}" + f"{'encode':>9}{'decode':>9}{'push':>9}" + f"{'push':>9}{'pop':>9}")
    for name in (*native.instruction_sets(), "none"):
        os.environ[native.ENVIRONMENT] = name
        print(f"{name:20}" + "".join(f"{rate:9.1f}" for rate in rates(lanes, values, *given)), flush=True)


def rates(
    lanes: int, values: int, weights: np.ndarray, centres: np.ndarray, scales: np.ndarray, drawn: np.ndarray
) -> list[float]:
    """A million symbols a second: mixtures encoding and decoding, rANS alone pushing, UBCS pushing and popping."""
    count = len(drawn)

    def mixture() -> LogisticMixture:
        return LogisticMixture(weights, centres, scales, values, values > 256)

    def encode() -> Lanes:
        writer, state = StackWriter(), Lanes(lanes)
        mixture().put(writer, drawn)
        writer.push(state)
        return state

    state = encode()
    found = mixture().get(Stack(state.copy()))
    assert np.array_equal(found, drawn)
    start, freq = mixture().intervals(mixture().split(drawn)[0])
    radix = np.random.default_rng(1).integers(1, 65537, count)
    digits = radix - 1
    copies = iter([state.copy() for _ in range(7)])
    pushed = Lanes(lanes)
    Stack(pushed).put_uniform(digits, radix)
    others = iter([pushed.copy() for _ in range(7)])
    seconds = [
        best(encode),
        best(lambda: mixture().get(Stack(next(copies)))),
        best(lambda: Stack(Lanes(lanes)).put(start, freq, 24)),
        best(lambda: Stack(Lanes(lanes)).put_uniform(digits, radix)),
        best(lambda: Stack(next(others)).get_uniform(count, radix)),
    ]
    return [count / each / 1e6 for each in seconds]


if __name__ == "__main__":
    main()
