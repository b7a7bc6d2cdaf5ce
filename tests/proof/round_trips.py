"""Random images and arrays, there and back: ``python -m proof.round_trips COUNT``.

Mode, shape from 1 x 1 on, type, byte order, memory order and options are drawn by chance, with the small models of the
tests. What comes back must be the same to the last bit, in the same type; what is refused must be so by name.

A run that was stopped goes on where it was: blocks of trips, whose seeds are their numbers, are put down in
``runs/round-trips.jsonl``, with the state of the code.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.files import save_all_models
from PIL import Image

from pil_neuralcodec import decode, encode, models
from pil_neuralcodec.container import MODES
from pil_neuralcodec.errors import UnsupportedError
from pil_neuralcodec.samples import mode_dtype

TYPES = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")
SIDES = 1, 2, 3, 5, 8, 17, 33
"""Most of one side, mostly small ones."""
BLOCK = 1000
"""Trips of a seed."""


def pixels(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Noise, few values, one value, or something smooth, over the range of a type."""
    wide = np.dtype(dtype)
    kind = rng.integers(5)
    if kind == 0:
        data = rng.integers(0, 256, (*shape, wide.itemsize), np.uint8)
        return (data % 2 if wide.kind == "b" else data).view(wide)[..., 0]
    if kind == 1:
        values = rng.integers(0, rng.integers(1, 5), shape) * 77
    elif kind == 2:
        values = np.full(shape, rng.integers(256))
    else:
        values = np.indices(shape).sum(axis=0) * rng.integers(1, 9) + rng.integers(0, 3, shape)
    scaled = values % 251 << max(0, 8 * wide.itemsize - 9) * int(kind == 3)
    return (scaled % 2 if wide.kind == "b" else scaled).astype(wide)


def laid(rng: np.random.Generator, array: np.ndarray) -> np.ndarray:
    """The same values in another order in memory, or as a view of something larger."""
    way = rng.integers(4)
    if way == 0:
        return np.asfortranarray(array)
    if way == 1:
        return array[::-1][::-1]
    if way == 2:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return array


def options(rng: np.random.Generator, bands: int) -> dict[str, Any]:
    """Arguments of ``encode``."""
    format = str(rng.choice(["ifl", "bsw"], p=[0.7, 0.3]))
    names = ["tiny-latents"] if format == "bsw" else ["tiny", "tiny-best", "tiny-patch"]
    fallback = rng.choice(np.array([True, True, False, "raw", "filtered", "webp", "predictor", "jpeg"], object))
    found = {"format": format, "model": str(rng.choice(names)), "fallback": fallback, "past": bool(rng.integers(2))}
    if format == "bsw" and rng.integers(2):
        found["ordering"] = "bb-ans"
    return found


def as_image(rng: np.random.Generator, sides: tuple[int, int]) -> str:
    """One image by Pillow."""
    mode = str(rng.choice(list(MODES)))
    bands = MODES[mode].bands
    found = options(rng, bands)
    found.pop("ordering", None)
    array = pixels(rng, (*sides, bands), "u1" if MODES[mode].bit_depth == 1 else mode_dtype(mode).str)
    data = array.tobytes() if mode != "1" else np.packbits(array[..., 0] & 1, axis=1).tobytes()
    image = Image.frombytes(mode, sides[::-1], data)
    file = io.BytesIO()
    format = found.pop("format").upper()
    image.save(file, format, **found)
    with Image.open(file) as back:
        back.load()
        assert (back.mode, back.size, back.format) == (image.mode, image.size, format)
        assert back.tobytes() == image.tobytes(), mode
    return f"image {mode}"


def as_array(rng: np.random.Generator, sides: tuple[int, int]) -> str:
    """An array, with axes or without."""
    dtype = str(rng.choice(TYPES))
    if rng.integers(2):
        letters = "".join(rng.permutation(list(str(rng.choice(["YX", "YXC", "ZYX", "NYXC", "TZCYX"])))))
        shape = tuple(sides["YX".index(a)] if a in "YX" else int(rng.integers(1, 4)) for a in letters)
        array = pixels(rng, shape, dtype).astype(rng.choice([">", "<"]) + dtype)
        found = options(rng, 0)
        back = decode(encode(laid(rng, array), axes=letters, **found))
        assert back.dtype == array.dtype, dtype
    else:
        shape = (*sides, int(rng.integers(1, 5)))[: rng.integers(2, 4)]
        array = pixels(rng, shape, dtype)
        back = decode(encode(laid(rng, array), **options(rng, 0)))
        assert back.dtype.newbyteorder("=") == array.dtype.newbyteorder("="), dtype
    assert back.shape == array.shape and back.tobytes() == array.tobytes(), dtype
    return f"array {dtype}"


def trips(count: int, seed: int, most_sides: Sequence[int] = SIDES) -> Counter[str]:
    """So many, besides those that are refused; what they were of. The models must be found."""
    done: Counter[str] = Counter(refused=0)
    number = 0
    while done.total() - done["refused"] < count:
        number += 1
        rng = np.random.default_rng([seed, number])
        most = int(rng.choice(most_sides))
        sides = int(rng.integers(1, most + 1)), int(rng.integers(1, most + 1))
        try:
            done[(as_image if rng.integers(2) else as_array)(rng, sides)] += 1
        except UnsupportedError:
            done["refused"] += 1
        except BaseException as error:
            error.add_note(f"seed {seed}, trip {number}")
            raise
    return done


def main(count: int) -> None:
    """Blocks of trips, those that were made already left out."""
    from fuzz.run import ROOT, code

    path, here = ROOT / "runs" / "round-trips.jsonl", code()
    path.parent.mkdir(exist_ok=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found = {line["seed"]: Counter(line["trips"]) for line in lines if line["code"] == here}
    for seed in range(-(-count // BLOCK)):
        if seed not in found:
            found[seed] = trips(BLOCK, seed)
            with path.open("a") as file:
                file.write(json.dumps({"code": here, "seed": seed, "trips": found[seed]}) + "\n")
    done = sum((found[seed] for seed in range(-(-count // BLOCK))), Counter[str]())
    print(f"{done.total() - done['refused']:,} round trips, all exact; {dict(done)}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ[models.ENVIRONMENT] = folder
        save_all_models(Path(folder))
        main(int(sys.argv[1]))
