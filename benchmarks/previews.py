"""Thumbnails from coarse levels: ``python benchmarks/previews.py SIDE FILE...``.

For each image: seconds to decode the whole file, seconds for ``thumbnail((SIDE, SIDE))``, and its PSNR against
the one made from the full image.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pil_neuralcodec.benchmark import load_samples


def main() -> None:
    """Print a line per image and the worst case."""
    side = int(sys.argv[1])
    worst = np.inf
    print("| image | full decode, s | thumbnail, s | share | PSNR, dB |\n|---|---|---|---|---|")
    for path in map(Path, sys.argv[2:]):
        file = io.BytesIO()
        original = Image.fromarray(load_samples(path)[0].pixels).convert("RGB")
        original.save(file, "IFL", fallback=False)
        times = []
        for preview in (False, True):
            file.seek(0)
            begin = time.perf_counter()
            image = Image.open(file)
            if preview:
                image.thumbnail((side, side))
            else:
                image.load()
            times.append(time.perf_counter() - begin)
        original.thumbnail((side, side))
        error = np.mean((np.asarray(original, float) - np.asarray(image, float)) ** 2)
        psnr = 10 * np.log10(255**2 / error) if error else np.inf
        worst = min(worst, psnr)
        print(f"| {path.name} | {times[0]:.2f} | {times[1]:.2f} | {times[1] / times[0]:.2f} | {psnr:.1f} |")
    print(f"worst PSNR: {worst:.1f} dB")


if __name__ == "__main__":
    main()
