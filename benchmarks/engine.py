"""Time and memory of the engine: ``python benchmarks/engine.py COMMAND``.

``time``   seconds and memory of encoding and decoding, against the number of pixels; ``plot`` draws them
``pair``   this checkout beside another, in turn, on the same files
``sets``   CPU time by model and instruction set
``split``  what the time of a decoder is spent on

Each image is coded in processes of their own (``worker.py``) that may use so many cores. ``time`` and ``pair`` write
what they found into a file, a line each, and stop after some time: the same command goes on from there.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time as clock
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
from worker import Worker, digest

from pil_neuralcodec.benchmark import environment, load_samples, to_rgb

ROOT = Path(__file__).resolve().parent.parent
SIZES = ("64x64", "128x128", "256x256", "512x512", "1024x1024", "2048x2048", "4096x6000")
CELL = 512
"""Side of the parts of photographs that large images are made of; images for warming up are not larger."""
FILES = click.argument(
    "files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True, metavar="FILE..."
)
RESULTS = click.option("--results", type=click.Path(dir_okay=False, path_type=Path), default="engine.jsonl")
SECONDS = click.option("--seconds", default=120, help="Begin nothing that would end later.", show_default=True)


class Results:
    """What was found, by what it is of, in a file of lines of JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._found = {json.dumps(of, sort_keys=True): found for of, found in map(json.loads, lines)}

    def get(self, **of: Any) -> Any:
        """What was found last, or None."""
        return self._found.get(json.dumps(of, sort_keys=True))

    def add(self, found: Any, **of: Any) -> Any:
        """Keep what was found, and return it."""
        self._found[json.dumps(of, sort_keys=True)] = found
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([of, found]) + "\n")
        return found


@cache
def pixels_of(path: Path) -> np.ndarray:
    """uint8 (H, W, 3)."""
    pixels = to_rgb(load_samples(path)[0]).pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or min(pixels.shape[:2]) < CELL:
        raise click.ClickException(f"{path}: no image in colours of 8 bits that is {CELL} pixels high and wide")
    return np.ascontiguousarray(pixels[:, :, :3])


def image(height: int, width: int, files: tuple[Path, ...]) -> np.ndarray:
    """An image like a photograph, uint8 (height, width, 3): of the middles of photographs, in turn, all with noise of
    their own, so that none comes twice."""
    found = np.empty((height, width, 3), np.uint8)
    for number, (top, left) in enumerate(product(range(0, height, CELL), range(0, width, CELL))):
        cell = found[top : top + CELL, left : left + CELL]
        photograph = pixels_of(files[number % len(files)])
        row, column = ((whole - part) // 2 for whole, part in zip(photograph.shape[:2], cell.shape[:2], strict=True))
        noise = np.random.default_rng(number).normal(0, 1, cell.shape)
        middle = photograph[row : row + cell.shape[0], column : column + cell.shape[1]]
        cell[...] = np.clip(np.rint(middle + noise), 0, 255)
    return found


@contextmanager
def saved(*arrays: np.ndarray) -> Iterator[list[Path]]:
    """Arrays as files (.npy), and room for more beside them, for a while."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.npy" for number in range(len(arrays))]
        for path, array in zip(paths, arrays, strict=True):
            np.save(path, array)
        yield paths


def coded(
    pixels: np.ndarray, warm: np.ndarray, do: str, file: Path, threads: int, times: int, seconds: float, **options: Any
) -> Any:
    """The answer of a fresh process that encodes ``pixels`` to ``file``, or decodes it, after ``warm``."""
    with saved(pixels, warm) as (path, other), Worker(ROOT, threads) as worker:
        sets, small = worker.ask("about"), other.with_suffix(".file")
        worker.ask("encode", pixels=other, file=small, options=options)
        if do == "encode":
            answer = worker.ask("encode", pixels=path, file=file, options=options, times=times, seconds=seconds)
        else:
            worker.ask("decode", file=small, options={})
            answer = worker.ask("decode", file=file, options={}, times=times, seconds=seconds)
            if answer["digest"] != digest(pixels):
                raise click.ClickException(f"{file}: other pixels")
    return answer | {"sets": sets, "seconds": median(answer["seconds"]), "pixels": pixels.shape[0] * pixels.shape[1]}


def of_size(
    results: Results, files: tuple[Path, ...], size: str, threads: int, do: str, model: str | None
) -> tuple[Any, bool]:
    """Time and memory to code an image of a size, and whether they had to be measured."""
    key = {"size": size, "threads": threads, "do": do, "model": model}
    if found := results.get(**key):
        return found, False
    height, width = map(int, size.split("x"))
    folder = results.path.with_suffix(".files")
    folder.mkdir(exist_ok=True)
    file, options = folder / f"{size}-{model}.ifl", {"model": model} if model else {}
    pixels = image(height, width, files)
    warm = pixels[:CELL, :CELL]
    if do == "decode" and not file.exists():
        raise click.ClickException(f"{file} is gone: encode it again")
    return results.add(coded(pixels, warm, do, file, threads, 15, 2, **options), **key), True


@click.group()
def main() -> None:
    """Measure the engine."""


@main.command("time")
@FILES
@RESULTS
@SECONDS
@click.option("--sizes", default=",".join(SIZES), show_default=True)
@click.option("--threads", default="1,2", show_default=True)
@click.option("--model")
def time_(files: tuple[Path, ...], results: Path, seconds: int, sizes: str, threads: str, model: str | None) -> None:
    """Images made of the photographs FILE, by default of 64 x 64 to 24 megapixels."""
    end, known, rate, first = clock.monotonic() + seconds, Results(results), dict[Any, float](), True
    for size, number, do in product(sizes.split(","), map(int, threads.split(",")), ("encode", "decode")):
        height, width = map(int, size.split("x"))
        expected = height * width * rate.get((number, do), 0)
        if not known.get(size=size, threads=number, do=do, model=model):
            if not first and clock.monotonic() + expected > end:
                raise click.ClickException("stopped: the same command goes on from here")
            first = False
        found, new = of_size(known, files, size, number, do, model)
        rate[number, do] = found["seconds"] / found["pixels"]
        if new:
            spent = f"{found['seconds']:.4f} s, {found['peak'] / 2**20:.0f} MiB"
            print(f"{size} {do}, {_threads(number)}: {spent}", flush=True)


def _threads(number: int) -> str:
    return f"{number} thread{'s' * (number > 1)}"


@main.command()
@RESULTS
@click.option("--model")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path), default="docs/engine-time.png")
def plot(results: Path, model: str | None, out: Path) -> None:
    """Print the table of ``time``, and draw it into OUT."""
    from matplotlib.figure import Figure

    known = Results(results)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    cells: dict[str, list[str]] = {size: [size.replace("x", " x ")] for size in SIZES}
    for axes, do in zip(panels, ("encode", "decode"), strict=True):
        for threads, marker in ((1, "o"), (2, "s")):
            found = [known.get(size=size, threads=threads, do=do, model=model) for size in SIZES]
            for size, one in zip(SIZES, found, strict=True):
                ms = "" if one is None else f"{1000 * one['seconds']:.1f}"
                cells[size].append(f"{ms} ({one['pixels'] / one['seconds'] / 1e6:.2g})" if ms else "")
            points = [(one["pixels"] / 1e6, one["seconds"]) for one in found if one]
            if points:
                axes.plot(*zip(*points, strict=True), marker + "-", label=_threads(threads))
        if points:  # of two threads
            (low, _), (high, seconds) = points[0], points[-1]
            axes.plot((low, high), (seconds * low / high, seconds), "k:", label="linear")
        axes.set(xscale="log", yscale="log", title=do, xlabel="megapixels")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("seconds")
    panels[0].legend()
    for size in SIZES:
        for do in ("encode", "decode"):
            one = known.get(size=size, threads=2, do=do, model=model)
            cells[size].append(f"{one['peak'] / 2**20:.0f}" if one else "")
    head = ["pixels, ms (megapixels/s)"] + [f"{do}, {_threads(n)}" for do in ("encode", "decode") for n in (1, 2)]
    _table([*head, "MiB to encode", "to decode"], list(cells.values()))
    figure.savefig(out, dpi=120)


def _table(head: list[str], rows: list[list[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |", flush=True)


def _commit(folder: Path) -> str:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or folder.name


@main.command()
@click.argument("other", type=click.Path(exists=True, file_okay=False, path_type=Path))
@FILES
@RESULTS
@SECONDS
@click.option("--model", default="photo", show_default=True)
@click.option("--isa", "caps", multiple=True, help="This checkout with that cap too; none: by numpy alone.")
@click.option("--threads", default=2, show_default=True)
@click.option("--past/--no-past", default=True, show_default=True)
def pair(
    other: Path,
    files: tuple[Path, ...],
    results: Path,
    seconds: int,
    model: str,
    caps: tuple[str, ...],
    threads: int,
    past: bool,
) -> None:
    """This checkout beside that in the folder OTHER, each file encoded and decoded by one after the other.

    Both are warm: they have coded the first file before. What they decode is compared with the image.
    """
    begin, known, slowest = clock.monotonic(), Results(results), 0.0
    this = _commit(ROOT)
    sides = {_commit(other): (other, None), this: (ROOT, None)} | {f"{this}, {cap}": (ROOT, cap) for cap in caps}
    if len(sides) < 2 + len(caps):
        raise click.ClickException("both folders hold the same code")

    def key(side: str, path: Path) -> dict[str, Any]:
        return {"pair": side, "file": path.name, "model": model, "past": past, "threads": threads}

    left = [path for path in files if not all(known.get(**key(side, path)) for side in sides)]
    with ExitStack() as stack:
        workers = {}
        for side, (code, cap) in sides.items() if left else ():
            # Without compiled code torch would run the layers, where it is installed.
            device = {"device": "numpy"} if cap == "none" else {}
            workers[side] = stack.enter_context(Worker(code, threads, cap)), device
        first = True
        for path in left:
            at = clock.monotonic()
            if not first and at + slowest > begin + seconds:
                raise click.ClickException(f"stopped before {path.name}: the same command goes on from here")
            pixels = pixels_of(path)
            with saved(pixels) as (array,):
                for side, (worker, device) in workers.items():
                    options = {"model": model, "past": past, **device}
                    if first:
                        _both(worker, pixels, array, options, device)
                    found = _both(worker, pixels, array, options, device)
                    known.add(found | {"sets": worker.ask("about")}, **key(side, path))
            print(f"{path.name}: {clock.monotonic() - at:.1f} s", flush=True)
            slowest = max(slowest, (clock.monotonic() - at) / (2 if first else 1))
            first = False
    print(f"{len(files)} files, model {model}, {threads} threads, {environment()['processor']}")
    _beside({side: [known.get(**key(side, path)) for path in files] for side in sides})


def _beside(found: dict[str, list[Any]]) -> None:
    """A row for each side: medians, and medians of ratios to the first; how many files are those of the second."""
    before, now = list(found.values())[:2]
    rows = []
    for side, ones in found.items():
        cells = [side, ones[0]["sets"]]
        for do in ("encode", "decode"):
            cells.append(f"{median(one[do] for one in ones):.3f}")
            for what in (do, f"{do}, CPU"):
                cells.append(f"{median(one[what] / other[what] for one, other in zip(ones, before, strict=True)):.2f}")
        same = sum(one["digest"] == other["digest"] for one, other in zip(ones, now, strict=True))
        rows.append([*cells, f"{sum(one['bytes'] for one in ones)}", f"{same} of {len(ones)}"])
    head = ["code", "layers by", "encode, s", "x", "CPU x", "decode, s", "x", "CPU x", "bytes", "the same files"]
    _table(head, rows)


def _both(worker: Worker, pixels: np.ndarray, array: Path, options: dict[str, Any], reading: dict[str, Any]) -> Any:
    """Seconds and CPU seconds to encode and to decode, bytes, and the digest of the file."""
    file = array.with_suffix(".file")
    encoded = worker.ask("encode", pixels=array, file=file, options=options)
    decoded = worker.ask("decode", file=file, options=reading)
    if decoded["digest"] != digest(pixels):
        raise click.ClickException("other pixels")
    return {
        "encode": encoded["seconds"][0],
        "decode": decoded["seconds"][0],
        "encode, CPU": encoded["cpu"],
        "decode, CPU": decoded["cpu"],
        "bytes": encoded["bytes"],
        "digest": encoded["digest"],
    }


@main.command()
@FILES
@click.option("--models", default="photo-fast,photo,photo-best", show_default=True)
@click.option("--isa", "caps", default="avx512vnni,avx2,portable", show_default=True, help="none: by numpy alone.")
@click.option("--side", default=CELL, show_default=True, help="Pixels across and down, of the middle of each.")
def sets(files: tuple[Path, ...], models: str, caps: str, side: int) -> None:
    """CPU seconds for a megapixel of the images FILE, without the past, on one core, which hardly depend on others that
    use the machine."""
    rows = []
    middles = [_middle(pixels_of(path), side) for path in files]
    for model, cap in product(models.split(","), caps.split(",")):
        device = {"device": "numpy"} if cap == "none" else {}
        options = {"model": model, "past": False, "fallback": False, **device}
        with Worker(ROOT, 1, cap) as worker:
            found = []
            for pixels in (middles[0][:64, :64], *middles):  # the first to warm up
                with saved(pixels) as (array,):
                    found.append(_both(worker, pixels, array, options, device))
        means = [sum(one[f"{do}, CPU"] for one in found[1:]) / len(files) for do in ("encode", "decode")]
        rows.append([model, cap, *(f"{1e6 * mean / side**2:.2f}" for mean in means)])
        print(*rows[-1], flush=True)
    _table(["model", "cap", "encode, CPU s/megapixel", "decode, CPU s/megapixel"], rows)


def _middle(pixels: np.ndarray, side: int) -> np.ndarray:
    top, left = ((whole - side) // 2 for whole in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


@main.command()
@FILES
@click.option("--model", default="photo", show_default=True)
@click.option("--isa", help="A cap of instruction sets.")
@click.option("--times", default=3, show_default=True)
@click.option("--past/--no-past", default=True, show_default=True)
def split(files: tuple[Path, ...], model: str, isa: str | None, times: int, past: bool) -> None:
    """CPU time to decode the images FILE, and the shares of parts. On one core, so that a part is done by the thread
    that asks for it."""
    sums: dict[str, float] = {}
    with Worker(ROOT, 1, isa) as worker:
        print(f"layers by {worker.ask('about')}")
        for path in files:
            with saved(pixels_of(path)) as (array,):
                file = array.with_suffix(".file")
                worker.ask("encode", pixels=array, file=file, options={"model": model, "past": past})
                for part, seconds in worker.ask("split", file=file, options={}, times=times).items():
                    sums[part] = sums.get(part, 0) + seconds
    for part, seconds in sums.items():
        print(f"{part:20}{seconds / len(files):8.4f} s {seconds / sums['all']:7.1%}")


if __name__ == "__main__":
    main()
