"""Time of the methods without networks on one thread, under each instruction set and in numpy.

python benchmarks/methods.py FILE...
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if __name__ == "__main__":  # before numpy is imported, which reads it
    os.environ["OPENBLAS_NUM_THREADS"] = "1"

import click
import numpy as np
from PIL import Image

from pil_neuralcodec import native
from pil_neuralcodec.methods import filtered, predictor


def best(work: Callable[[], object], rounds: int = 5) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def seconds(pixels: np.ndarray) -> Iterator[float]:
    """Of the predictor, encoding and decoding; of row filters, choosing and applying them, and undoing them."""
    body = predictor.encode(pixels)
    if body is None:
        yield from (np.nan, np.nan)
    else:
        yield best(lambda: predictor.encode(pixels))
        yield best(lambda: predictor.decode(memoryview(body), pixels.shape, pixels.dtype))
    samples, filters = filtered._unsigned(pixels), np.arange(len(pixels)).astype(np.uint8) % 4
    rows = samples.copy()
    yield best(lambda: filtered._arrange(samples, filtered._Arrangement(0, False, False, 7), None))
    yield best(lambda: filtered._unfilter(rows, filters))


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(files: tuple[Path, ...]) -> None:
    """See the module's documentation."""
    print(f"{'milliseconds':32}{'predictor':>20}{'row filters':>20}")
    print(f"{'':32}" + f"{'encode':>10}{'decode':>10}" + f"{'choose':>10}{'undo':>10}")
    for file in files:
        image = Image.open(file)
        pixels = np.ascontiguousarray(np.atleast_3d(np.asarray(image.convert("RGB") if image.mode == "P" else image)))
        print(f"{file.name}: {image.width} x {image.height}, {image.mode}")
        for name in (*native.instruction_sets(), "none"):
            os.environ[native.ENVIRONMENT] = name
            print(f"  {name:30}" + "".join(f"{1000 * each:10.2f}" for each in seconds(pixels)), flush=True)
        os.environ.pop(native.ENVIRONMENT, None)


if __name__ == "__main__":
    main()
