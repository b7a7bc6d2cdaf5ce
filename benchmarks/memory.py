"""Peak memory of coding one large image: ``python benchmarks/memory.py WIDTH HEIGHT FILE...``.

The files, RGB each, are laid side by side to a picture of that size, again from the first where they do not suffice (a
picture that repeats itself is better coded by WebP: give enough of them). Encoding and decoding run in a process of
their own each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from pil_neuralcodec import read_info
from pil_neuralcodec.benchmark import load_samples

STEP = """
import resource, sys, time
import numpy as np
import pil_neuralcodec
begin = time.perf_counter()
if sys.argv[1] == "encode":
    data = pil_neuralcodec.encode(np.load(sys.argv[2]))
    open(sys.argv[3], "wb").write(data)
else:
    pixels = pil_neuralcodec.decode(sys.argv[3])
    assert np.array_equal(pixels, np.load(sys.argv[2], mmap_mode="r"))
seconds = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"{sys.argv[1]}: {peak:.2f} GiB at most, {seconds:.1f} s")
"""


def main() -> None:
    """Print peak memory and time of both directions."""
    width, height = int(sys.argv[1]), int(sys.argv[2])
    parts = [load_samples(path)[0].pixels for path in map(Path, sys.argv[3:])]
    pixels = np.empty((height, width, 3), np.uint8)
    top = i = 0
    while top < height:
        left = rows = 0
        while left < width:
            part = parts[i % len(parts)][: height - top, : width - left]
            rows = min(rows or len(part), len(part))
            pixels[top : top + rows, left : left + part.shape[1]] = part[:rows]
            left += part.shape[1]
            i += 1
        top += rows
    with tempfile.TemporaryDirectory() as folder:
        array, file = Path(folder) / "pixels.npy", Path(folder) / "image.ifl"
        np.save(array, pixels)
        for step in ("encode", "decode"):
            subprocess.run([sys.executable, "-c", STEP, step, array, file], check=True)
        methods = ", ".join(read_info(file).methods)
        print(f"{width} x {height}: {8 * file.stat().st_size / pixels.size:.3f} bits per subpixel by {methods}")


if __name__ == "__main__":
    main()
