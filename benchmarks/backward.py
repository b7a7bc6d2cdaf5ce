"""What backward adaptation gains and costs: ``python benchmarks/backward.py FILE...``.

Of the middle of each photograph, at most 512 x 512 pixels, coded with and without it by the same weights: bytes, and
CPU seconds of encoding and decoding, the least of some runs that alternate.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from pil_neuralcodec import models
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.flow.tile import TILE, TileCoder
from pil_neuralcodec.training.data import read_rgb


@click.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", default="photo", show_default=True)
@click.option("--runs", default=3, show_default=True)
def main(files: tuple[Path, ...], model: str, runs: int) -> None:
    """Compare."""
    weights = models.load(model)
    assert isinstance(weights.architecture, PhotoArchitecture)
    coders = [
        TileCoder(replace(weights.architecture, backward_adaptation=on), weights.network("cpu")) for on in (False, True)
    ]
    sums = np.zeros((2, 3))
    for path in files:
        pixels = read_rgb(path)
        rows, columns = (slice(max(0, n - TILE) // 2, max(0, n - TILE) // 2 + TILE) for n in pixels.shape[:2])
        middle = np.ascontiguousarray(pixels[rows, columns])[None]
        found = np.min([[run(coder, middle) for coder in coders] for _ in range(runs)], axis=0)
        sums += found
        show(path.name, found)
    show("all", sums)


def run(coder: TileCoder, pixels: np.ndarray) -> tuple[float, float, float]:
    """Bytes, and seconds of encoding and decoding."""
    begin = time.process_time()
    payloads = coder.encode(pixels, past=False)
    middle = time.process_time()
    found = coder.decode(payloads, (pixels.shape[1], pixels.shape[2], pixels.shape[3]))
    end = time.process_time()
    assert np.array_equal(found, pixels)
    return len(payloads[0]), middle - begin, end - middle


def show(name: str, found: np.ndarray) -> None:
    """A row of the table."""
    (size, encoding, decoding), (less, slower, later) = found.tolist()
    click.echo(
        f"| {name} | {size:.0f} | {less:.0f} | {less / size - 1:+.2%} | {encoding:.2f} s | {slower:.2f} s |"
        f" {decoding:.2f} s | {later:.2f} s |"
    )


if __name__ == "__main__":
    main()
