"""Files among machines: ``python tests/machines/check.py golden DONE [NAME...]``, ``write DIR``, ``read DIR``.

``golden`` opens the golden files and chunks, small ones first, or those whose names begin with a ``NAME``, and puts
their names down in the file ``DONE``, so that a run that was stopped goes on from there. ``write`` codes arrays by
every method, and puts each into a folder beside its file, as numpy itself saves it; ``read``, on another machine, opens
the files, compares values with those arrays, and codes them again to the same bytes. Both leave out what is done
already. Nothing is needed but the package's dependencies.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

import pil_neuralcodec
from pil_neuralcodec import native
from pil_neuralcodec.colour.conversions import Past, conversion

FOLDER = Path(__file__).parents[1] / "golden"
TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
LIBRARIES = ("filtered", "webp")
"""Methods whose bytes depend on the liblzma or libwebp that writes."""


def golden(put_down: Path, names: list[str]) -> None:
    """Open golden files, and chunks of arrays."""
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    done = put_down.read_text().split() if put_down.exists() else []
    found = [path for path in FOLDER.glob("**/*.*") if path.suffix in (".ifl", ".bsw", ".chunk")]
    chosen = [path for path in found if path.name.startswith(tuple(names) or "")]
    for path in sorted(chosen, key=lambda path: path.stat().st_size):
        if path.name in done:
            continue
        if path.suffix == ".chunk":
            same(pil_neuralcodec.decode(path), np.load(path.with_suffix(".npy")))
        else:
            frames = manifest[path.stem]["frames"]
            values = _frames(path) if frames[0]["mode"] else [_little(pil_neuralcodec.decode(path))]
            assert [hashlib.sha256(frame).hexdigest() for frame in values] == [frame["sha256"] for frame in frames]
        with put_down.open("a") as file:
            file.write(f"{path.name}\n")
        print(path.name, flush=True)
    print(f"{len(chosen)} of {len(found)} golden files: all read, with the right values")


def _frames(path: Path) -> list[bytes]:
    with Image.open(path) as image:
        return [frame.tobytes() for frame in ImageSequence.Iterator(image)]


def _little(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def same(found: np.ndarray, array: np.ndarray) -> None:
    """The same shape, kind of samples and values; in which byte order they are is a machine's own matter."""
    assert found.dtype.newbyteorder("<") == array.dtype.newbyteorder("<"), (found.dtype, array.dtype)
    np.testing.assert_array_equal(found, array)


def scene(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Ramps with noise over the range of a type, rows and columns first."""
    rng = np.random.default_rng(7)
    y, x, rest = np.ogrid[: shape[0], : shape[1], : max(1, int(np.prod(shape[2:])))]
    values = (9 * y + 5 * x + 31 * rest + rng.integers(0, 12, (*shape[:2], rest.size))) % 251
    wide = np.dtype(dtype)
    if wide.kind == "f":
        return (values.astype(wide) / 64 - 1).reshape(shape)
    if wide.itemsize > 1:
        values = (values << 8 * wide.itemsize - 9) + rng.integers(0, 1 << 4, values.shape)
    middle = 1 << 8 * wide.itemsize - 2 if wide.itemsize > 1 else 124
    return (values - middle * (wide.kind == "i")).astype(wide).reshape(shape)


def mixed(dtype: str) -> np.ndarray:
    """Rows of noise that repeat the one above, and ramps between them: each wants another filter."""
    y, x, _ = np.ogrid[:24, :40, :1]
    noise = np.random.default_rng(3).integers(0, 1 << 14, (4, 40, 1)).repeat(6, axis=0)
    return np.where(y % 6 < 2, 37 * x + 911 * y, noise).astype(dtype)


def cases() -> Iterator[tuple[str, np.ndarray, dict[str, Any]]]:
    """Name, array and how it is coded."""
    for dtype in TYPES:
        for order, letter in (("little", "<"), ("big", ">")):
            array = scene((6, 7, 2), dtype).astype(f"{letter}{dtype}")
            for method in ("raw", "filtered"):
                yield f"{method}-{dtype}-{order}", array, {"axes": "YXC", "fallback": method}
    colours, deep = scene((40, 33, 3), "u1"), scene((40, 33, 3), "u2")
    for dtype in ("u2", "i4"):
        yield f"filtered-{dtype}-rows", mixed(dtype), {"fallback": "filtered"}
    yield "gray-16", deep[..., 0], {"fallback": "raw"}
    yield "webp", colours, {"fallback": "webp"}
    yield "predictor", colours, {"fallback": "predictor"}
    yield "photo", colours, {"fallback": False}
    yield "photo-16", deep, {"fallback": False}
    yield "photo-16-signed", scene((40, 33), "i2").astype(">i2"), {"fallback": False, "axes": "YX"}
    yield "patch", np.stack([colours[:16, i : i + 16] for i in range(6)]), {"fallback": False, "model": "patch"}
    yield "bitswap", colours, {"fallback": False, "format": "bsw"}
    large = colours.repeat(3, axis=0).repeat(3, axis=1)
    edited = np.minimum(large.astype(int) * 5 // 4, 255).astype("u1")
    yield "photo-ranks", edited, {"fallback": False, "model": "photo-fast"}
    shrunk = conversion(Past.JPEG).to_rgb(large)
    shrunk[:40] ^= large[:40] & 1
    yield "photo-lattice", shrunk, {"fallback": False}
    file = io.BytesIO()
    Image.fromarray(colours).resize((66, 80)).save(file, "JPEG", quality=85)
    yield "jpeg", np.asarray(Image.open(file)), {"fallback": "jpeg"}


def write(folder: Path) -> None:
    """Code all cases."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array, options in cases():
        if (folder / f"{name}.file").exists():
            continue
        np.save(folder / f"{name}.npy", array)
        (folder / f"{name}.json").write_text(json.dumps(options))
        data = pil_neuralcodec.encode(array, **options)
        (folder / f"{name}.file").write_bytes(data)


def read(folder: Path) -> None:
    """Open what another machine wrote, and write it again."""
    same_bytes = 0
    for path in sorted(folder.glob("*.file"), key=lambda path: path.stat().st_size):
        if path.with_suffix(".read").exists():
            same_bytes += int(path.with_suffix(".read").read_text())
            continue
        array, options = np.load(path.with_suffix(".npy")), json.loads(path.with_suffix(".json").read_text())
        data = path.read_bytes()
        found = pil_neuralcodec.decode(data)
        same(found, array)
        if "axes" in options:  # then the file says in which byte order the array was
            assert found.dtype == array.dtype
        else:
            array = array.astype(array.dtype.newbyteorder("="))
        alike = pil_neuralcodec.encode(array, **options) == data
        assert alike or options["fallback"] in LIBRARIES, f"{path.name}: other bytes"
        path.with_suffix(".read").write_text(str(int(alike)))
        same_bytes += alike
        print(path.stem, flush=True)
    count = len(list(folder.glob("*.file")))
    print(f"{count} files: all read, with the right values; {same_bytes} written with the same bytes")


if __name__ == "__main__":
    print(f"{sys.byteorder}-endian, numpy {np.__version__}, kernels {native.instruction_sets()}", flush=True)
    command, *arguments = sys.argv[1:]
    if command == "golden":
        golden(Path(arguments[0]), arguments[1:])
    else:
        {"write": write, "read": read}[command](*map(Path, arguments))
