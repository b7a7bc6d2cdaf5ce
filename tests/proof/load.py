"""Many callers and long runs, with figures: ``python -m proof.load [threads | opens | forks]``.

``threads``: 32 threads, 100 decodes of mixed files each. ``opens``: 2,000 files opened and loaded one after the other,
and by how much the process grows with each. ``forks``: 100 children that decode, forked while threads decode. Files are
the seeds of fuzzing, of every method, and some of 96 x 96 pixels, and must give what one caller alone gets.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from fuzz.files import BARE, save_all_models, scene, seeds, small
from PIL import Image
from test_concurrency import fork_while

from pil_neuralcodec import decode, encode, models, read_info

File = tuple[bytes, bytes]
"""A file, and the bytes of its values."""


def values(data: bytes) -> bytes:
    """Of the last frame."""
    return decode(data, frame=read_info(data).n_frames - 1).tobytes()


def right(file: File) -> bool:
    """Whether it gives what it gave before."""
    return values(file[0]) == file[1]


def has_all_frequencies(data: bytes) -> bool:
    """Not so JPEG files of fuzzing that leave some out."""
    info = read_info(data)
    return info.methods != ("jpeg",) or info.width % 2 == 0


def larger() -> list[bytes]:
    """Files of which layers and tiles are shared out among threads."""
    pixels = scene((96, 96, 3))
    chosen = [{"fallback": name} for name in ("raw", "filtered", "webp", "predictor")]
    chosen += [{"fallback": False, "model": name} for name in ("tiny", "tiny-best", "tiny-patch")]
    return [encode(pixels, **options) for options in chosen] + [
        encode(pixels, format="bsw", model="tiny-latents", fallback=False)
    ]


def threads(files: list[File]) -> None:
    """Many callers at once."""
    start, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(lambda number: right(files[number % len(files)]), range(32 * 100)))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"32 threads x 100 decodes: all exact, {seconds:.1f} s ({cpu:.1f} s of CPU time)")


def opens(files: list[File]) -> None:
    """Growth of the resident memory, by least squares over the second half."""
    images = [data for data, _ in files if read_info(data).mode]
    sizes = []
    for number in range(2000):
        with Image.open(io.BytesIO(images[number % len(images)])) as image:
            image.load()
        if number % 10 == 9:
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    half = len(sizes) // 2
    slope = np.polyfit(10 * np.arange(half), sizes[half:], 1)[0]
    print(f"2,000 opens and loads: {sizes[-1] / 2**20:.1f} MiB, growth {slope:.0f} bytes each over the second 1,000")


def forks(files: list[File]) -> None:
    """Children of a process whose threads are at work."""
    works = [partial(right, file) for file in files]
    fork_while([works[0], works[-1], works[-3]], [works[number % len(works)] for number in range(100)], 0.01)
    print("100 children forked while 3 threads decode: all exact, none hangs")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, small():
        os.environ[models.ENVIRONMENT] = folder
        save_all_models(Path(folder))
        made = chain.from_iterable(found for name, found in seeds().items() if name not in BARE)
        files = [(data, values(data)) for data in chain(larger(), filter(has_all_frequencies, made))]
        for name in sys.argv[1:] or ("threads", "opens", "forks"):
            {"threads": threads, "opens": opens, "forks": forks}[name](files)
