"""What is asked of the engine, and what it does: ``python benchmarks/acceptance.py FILE... [--parts NAMES]``.

Small and deep images, sets, other formats, processes, memory and the build, on two cores, each figure beside its goal.
FILE are photographs, as for ``engine.py``, which measures times against pixels and beside other code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import click
import numpy as np
from engine import FILES, RESULTS, ROOT, Results, image, of_size, pixels_of, saved
from worker import Worker, digest

from pil_neuralcodec.benchmark import environment

THREADS = 2


class Line(NamedTuple):
    """A figure and what it should be at most."""

    what: str
    found: float
    goal: float
    unit: str


class Given(NamedTuple):
    """What there is to measure with."""

    files: tuple[Path, ...]
    set: Path | None
    results: Path


def both(pixels: np.ndarray, times: int, suffix: str = "ifl", **options: Any) -> tuple[float, float]:
    """Seconds to encode and to decode, medians of ``times`` after the first run."""
    with saved(pixels) as (array,), Worker(ROOT, THREADS) as worker:
        file = array.with_suffix("." + suffix)
        found = []
        for do, given in (
            ("encode", {"pixels": array, "file": file, "options": {"format": suffix, **options}}),
            ("decode", {"file": file, "options": {}}),
        ):
            worker.ask(do, **given)
            answer = worker.ask(do, **given, times=times, seconds=20)
            found.append(median(answer["seconds"]))
        if answer["digest"] != digest(pixels):
            raise click.ClickException("other pixels")
    return found[0], found[1]


def _each(what: str, seconds: tuple[float, float], goals: tuple[float, float], unit: str = "s") -> Iterator[Line]:
    for do, found, goal in zip(("encode", "decode"), seconds, goals, strict=True):
        yield Line(f"{what}, {do}", found * (1000 if unit == "ms" else 1), goal, unit)


def small(given: Given) -> Iterator[Line]:
    """64 x 64 pixels."""
    yield from _each("64 x 64 RGB", both(image(64, 64, given.files), 51), (40, 15), "ms")


def deep(given: Given) -> Iterator[Line]:
    """512 x 512 pixels of 16 bits."""
    from arrays import DEEP, scene

    pixels = DEEP["16 bits, RGB, sRGB curve"](scene(image(1024, 1024, given.files)), np.random.default_rng(0))
    yield from _each("512 x 512 RGB of 16 bits", both(pixels, 5), (float("nan"), 0.6))


def chain(given: Given) -> Iterator[Line]:
    """A set of small images, as one chain."""
    if given.set is None:
        raise click.UsageError("the part chain takes --set")
    with np.load(given.set) as archive:
        images = archive["images"]
    yield from _each(f"{len(images)} images of {given.set.stem}", both(images, 1, model="patch"), (3, 3))


def formats(given: Given) -> Iterator[Line]:
    """``.bsw`` beside ``.ifl``."""
    for path in given.files[:2]:
        pixels = pixels_of(path)
        ifl, bsw = both(pixels, 3), both(pixels, 3, "bsw")
        yield from _each(f"{path.name}, .bsw / .ifl", (bsw[0] / ifl[0], bsw[1] / ifl[1]), (1.5, 1.2), "x")


def process(given: Given) -> Iterator[Line]:
    """CPU time of a process that opens a small image, above what importing Pillow and numpy takes."""
    with saved(image(64, 64, given.files)) as (array,), Worker(ROOT, THREADS) as worker:
        file = array.with_suffix(".ifl")
        worker.ask("encode", pixels=array, file=file, options={})
        # The threads of numpy's OpenBLAS look for work for some time before they sleep.
        imports = "import PIL.Image, numpy, time; time.sleep(0.3)"
        opens = f"{imports}; import pil_neuralcodec; PIL.Image.open({str(file)!r}).load()"
        seconds: dict[str, list[float]] = {imports: [], opens: []}
        for number in range(12):
            for code, spent in seconds.items():
                used = _cpu(code)
                if number:  # the first writes bytecode
                    spent.append(used)
    yield Line("open a 64 x 64 .ifl, CPU", median(seconds[opens]) - median(seconds[imports]), 0.15, "s")


def _cpu(code: str) -> float:
    """Seconds of CPU time of a fresh interpreter, which may keep bytecode as that of an installed package is kept."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, env=env | {"PYTHONPATH": str(ROOT)})
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def memory(given: Given) -> Iterator[Line]:
    """24 megapixels, as ``engine.py time`` measures them, or has measured them."""
    for do, goal in (("encode", 1.1), ("decode", 0.8)):
        found, _ = of_size(Results(given.results), given.files, "4096x6000", THREADS, do, None)
        yield Line(f"24 megapixels, memory to {do} ({found['seconds']:.1f} s)", found["peak"] / 2**30, goal, "GiB")


def build(given: Given) -> Iterator[Line]:
    """A wheel from a clone, with what pip fetches for it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "-q", str(ROOT), f"{folder}/clone"], check=True)
        begin = time.perf_counter()
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, f"{folder}/clone"]
        subprocess.run(command, check=True)
        yield Line("wheel from a clone", time.perf_counter() - begin, 60, "s")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            weights = sum(one.compress_size for one in archive.infolist() if "/weights/" in one.filename)
        yield Line("wheel without weights", (wheel.stat().st_size - weights) / 1e6, 3, "MB")


PARTS: dict[str, Callable[[Given], Iterator[Line]]] = {
    part.__name__: part for part in (small, deep, process, formats, chain, build, memory)
}


@click.command(help=__doc__)
@FILES
@RESULTS
@click.option("--parts", default=",".join(PARTS), show_default=True)
@click.option("--set", "set_", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Of images (.npz).")
def main(files: tuple[Path, ...], results: Path, parts: str, set_: Path | None) -> None:
    """See the module's documentation."""
    unknown = set(parts.split(",")) - PARTS.keys()
    if unknown:
        raise click.BadParameter(f"no {', '.join(unknown)}", param_hint="--parts")
    with Worker(ROOT, THREADS) as worker:
        print(f"{environment()['processor']}, {THREADS} cores, layers by {worker.ask('about')}")
    for name in parts.split(","):
        for line in PARTS[name](Given(files, set_, results)):
            verdict = (
                "" if np.isnan(line.goal) else f"at most {line.goal:g}: {'yes' if line.found <= line.goal else 'NO'}"
            )
            print(f"{line.what:48}{line.found:9.3f} {line.unit:4}{verdict}", flush=True)


if __name__ == "__main__":
    main()
