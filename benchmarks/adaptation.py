"""What side information gains, and what more or less work on it would: ``python benchmarks/adaptation.py FILE...``.

Files of the middle of each photograph, at most 512 x 512 pixels, against those of the encoder as it is.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np

from pil_neuralcodec.api import encode
from pil_neuralcodec.flow import adaptation
from pil_neuralcodec.flow.tile import TILE
from pil_neuralcodec.training.data import read_rgb

AS_IT_IS = "as it is"
NO_CLASSES = {"_class_scales": lambda *of: None}
NO_OFFSETS = {"_least_squares": lambda slopes, *of: np.zeros(len(slopes), np.int64)}
VARIANTS: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
    "no offsets of log-scales": NO_CLASSES,
    "no offsets of means, chain and filter": NO_OFFSETS,
    "neither": {**NO_CLASSES, **NO_OFFSETS},
    "by a quarter as many positions": {"_SAMPLES": 2048},
    "by half as many": {"_SAMPLES": 4096},
    "by all of them": {"_SAMPLES": TILE**2},
    "offsets of log-scales in twice the unit": {"_STEPS": (4,)},
}


@click.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", default="photo", show_default=True)
def main(files: tuple[Path, ...], model: str) -> None:
    """Compare."""
    sizes = Counter[str]()
    for path in files:
        pixels = read_rgb(path)
        rows, columns = (slice(max(0, n - TILE) // 2, max(0, n - TILE) // 2 + TILE) for n in pixels.shape[:2])
        middle = np.ascontiguousarray(pixels[rows, columns])
        for name, changes in VARIANTS.items():
            with ExitStack() as stack:
                for what, by in changes.items():
                    stack.enter_context(patch.object(adaptation, what, by))
                sizes[name] += len(encode(middle, model=model, fallback=False))
    for name in VARIANTS:
        click.echo(f"| {name} | {sizes[name]} | {sizes[name] / sizes[AS_IT_IS] - 1:+.2%} |")


if __name__ == "__main__":
    main()
