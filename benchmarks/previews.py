"""Thumbnails from coarse levels: ``python benchmarks/previews.py SIDE[,SIDE...] FILE...``.

For each image: CPU seconds to decode the whole file, CPU seconds for ``thumbnail((SIDE, SIDE))``, the best of three,
and the PSNR of the thumbnail against the one made from the whole image.
"""

from __future__ import annotations

import io
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pil_neuralcodec.benchmark import load_samples


def main() -> None:
    """Print a line for each image and side, and the worst case."""
    sides = [int(side) for side in sys.argv[1].split(",")]
    worst = np.inf
    print("| image | size | thumbnail | whole, CPU s | thumbnail, CPU s | share | PSNR, dB |\n" + "|---" * 7 + "|")
    for path in map(Path, sys.argv[2:]):
        file = io.BytesIO()
        original = Image.fromarray(load_samples(path)[0].pixels).convert("RGB")
        original.save(file, "IFL", fallback=False)
        whole = _seconds(lambda file=file: Image.open(file).load())  # type: ignore[misc]
        for side in sides:

            def shrunk(file: io.BytesIO = file, side: int = side) -> Image.Image:
                image = Image.open(file)
                image.thumbnail((side, side))
                return image

            taken, image, expected = _seconds(shrunk), shrunk(), original.copy()
            expected.thumbnail((side, side))
            error = np.mean((np.asarray(expected, float) - np.asarray(image, float)) ** 2)
            psnr = 10 * np.log10(255**2 / error) if error else np.inf
            worst = min(worst, psnr)
            sizes = f"{original.width} x {original.height} | {image.width} x {image.height}"
            times = f"{whole:.2f} | {taken:.2f} | {taken / whole:.2f}"
            print(f"| {path.name} | {sizes} | {times} | {psnr:.1f} |", flush=True)
    print(f"worst PSNR: {worst:.1f} dB")


def _seconds(work: Callable[[], object]) -> float:
    """The least CPU time of three runs."""
    return min(timeit.repeat(work, number=1, repeat=3, timer=time.process_time))


if __name__ == "__main__":
    main()
