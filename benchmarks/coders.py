"""Speed of the coders, symbol search included: ``python benchmarks/coders.py``.

Streams of the lengths that tiles have, so that lanes are those that files really use (printed). A mixture is given by
its parameters; encoding turns values into intervals and codes them, decoding searches the symbol of every slot.
"""

from __future__ import annotations

from collections.abc import Callable
from timeit import repeat

import numpy as np

from pil_neuralcodec.coders.logistic import LogisticMixture, mixture_weights
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter
from pil_neuralcodec.varint import read_varint

REPEATS = 3


def row(name: str, count: int, write: Callable[[], bytes], read: Callable[[bytes], object]) -> None:
    """Print one line."""
    data = write()
    lanes, _ = read_varint(memoryview(data), 0)
    rates = [count / min(repeat(work, number=1, repeat=REPEATS)) / 1e6 for work in (write, lambda: read(data))]
    print(f"| {name} | {count} | {lanes} | {rates[0]:.2f} | {rates[1]:.2f} |")


def main() -> None:
    """Print a table in M symbols/s."""
    rng = np.random.default_rng(0)
    print("| coder | symbols | lanes | encode | decode |\n|---|---|---|---|---|")
    for side in (32, 128, 512):
        count = 3 * side * side

        k = 4
        weights = mixture_weights(rng.integers(-60, 60, (k, count)))
        values = rng.integers(0, 256, count)
        scales = rng.integers(-16, 50, (k, count))
        centres = (values << 6) + rng.integers(-120, 120, (k, count))

        def write_mixture() -> bytes:
            mixture = LogisticMixture(weights, centres, scales, 256)  # noqa: B023
            writer = SymbolWriter()
            writer.put(*mixture.intervals(values), 24)  # noqa: B023
            return writer.finish()

        def read_mixture(data: bytes) -> None:
            mixture = LogisticMixture(weights, centres, scales, 256)  # noqa: B023
            assert np.array_equal(SymbolReader(data).get(count, 24, mixture.find), values)  # noqa: B023

        row("rANS, mixture of 4 logistics", count, write_mixture, read_mixture)

        freq = rng.integers(1, 1 << 20, count)
        start = rng.integers(0, (1 << 24) - freq)

        def write_rans() -> bytes:
            writer = SymbolWriter()
            writer.put(start, freq, 24)  # noqa: B023
            return writer.finish()

        def read_rans(data: bytes) -> None:
            SymbolReader(data).get(count, 24, lambda _, a, b: (start[a:b], start[a:b], freq[a:b]))  # noqa: B023

        row("rANS, intervals known", count, write_rans, read_rans)

        for radix in (256, 1000):
            digits = rng.integers(0, radix, count)

            def write_ubcs() -> bytes:
                writer = SymbolWriter()
                writer.put_uniform(digits, radix)  # noqa: B023
                return writer.finish()

            def read_ubcs(data: bytes) -> None:
                assert np.array_equal(SymbolReader(data).get_uniform(count, radix), digits)  # noqa: B023

            row(f"UBCS, radix {radix}", count, write_ubcs, read_ubcs)


if __name__ == "__main__":
    main()
