"""Golden files: what was written once must open for ever, to the same pixels.

``python tests/golden.py`` adds the cases that have no file yet; it never rewrites one. ``tests/golden/manifest.json``
holds for each file the mode, size and SHA-256 of every frame, and whether writing it again must give the same bytes
(not so for methods that lean on the libraries libwebp and liblzma, and where a later encoder chooses otherwise).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
from PIL import Image, ImageSequence
from skimage import data

from pil_neuralcodec import decode, encode, read_info
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.jpeg import quantisation
from pil_neuralcodec.jpeg.layout import Layout
from pil_neuralcodec.jpeg.search import forward
from pil_neuralcodec.jpeg.transform import to_blocks

FOLDER = Path(__file__).parent / "golden"
MANIFEST = FOLDER / "manifest.json"


def _photograph(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(data.coffee()[150 : 150 + height, 200 : 200 + width]))


def _gray(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(data.camera()[60 : 60 + height, 200 : 200 + width]))


def _save(image: Image.Image, format: str = "IFL", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _transparent() -> Image.Image:
    image = _photograph(40, 50)
    image.putalpha(Image.linear_gradient("L").resize(image.size, Image.Resampling.NEAREST))
    return image


def _sixteen_bits() -> Image.Image:
    return Image.fromarray(np.arange(30 * 40, dtype=np.uint16).reshape(30, 40) * 53)


def _network(model: str, format: str = "IFL") -> dict[str, tuple[Callable[[], bytes], bool]]:
    images: dict[str, Callable[[], Image.Image]] = {
        "rgb": lambda: _photograph(97, 130),
        "gray": lambda: _gray(64, 71),
        "rgba": _transparent,
        "tiles": lambda: _photograph(20, 300).resize((600, 20), Image.Resampling.NEAREST),
        "one-pixel": lambda: _photograph(1, 1),
    }
    return {
        f"{model}-{name}": (
            # An encoder that looks for the past would now code ranks of this transparency.
            lambda make=make, name=name: _save(make(), format, model=model, fallback=False, past=name != "rgba"),
            True,
        )
        for name, make in images.items()
    }


def _set() -> np.ndarray:
    """Small images, uint8 (24, 32, 32, 3)."""
    coffee = data.coffee()[::2, ::2]
    at = [(53 * i % 160, 91 * i % 260) for i in range(24)]
    return np.stack([coffee[y : y + 32, x : x + 32] for y, x in at])


def _blocks() -> Image.Image:
    """A photograph in blocks of 8 x 8, as JPEG files leave them, without their decoder's own rounding."""
    offsets = np.random.default_rng(9).integers(-9, 10, (16, 20, 3)).repeat(8, 0).repeat(8, 1)
    return Image.fromarray((np.asarray(_photograph(128, 160)) + offsets).clip(0, 255).astype(np.uint8))


def _past(past: Past) -> Image.Image:
    """A photograph that came out of a colour conversion, and a white line on it."""
    pixels = conversion(past).to_rgb(np.asarray(_photograph(97, 130)) // 2 + 50)
    pixels[40, 20:90] = 255
    return Image.fromarray(pixels)


def _lattice(past: Past) -> Image.Image:
    """The same with half of its pixels moved off the conversion's lattice, more of them to the right."""
    pixels = np.asarray(_past(past)).astype(np.int16)
    rng = np.random.default_rng(12)
    off = rng.integers(0, 130, pixels.shape[:2]) < np.arange(130)
    pixels[off] += rng.integers(-1, 2, (off.sum(), 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def stretched(samples: np.ndarray) -> np.ndarray:
    """Of brightness that an editor has raised: every fifth sample no longer occurs."""
    return np.minimum(samples.astype(int) * 5 // 4, 255).astype(np.uint8)


def _stretched(image: Image.Image) -> Image.Image:
    return Image.fromarray(stretched(np.asarray(image)))


def lowered(samples: np.ndarray) -> np.ndarray:
    """Of contrast that an editor has lowered: every fourth sample stands for two."""
    return (samples.astype(int) * 4 // 5 + 25).astype(np.uint8)


def _lowered(image: Image.Image) -> Image.Image:
    return Image.fromarray(lowered(np.asarray(image)))


def was_jpeg(
    factors: tuple[int, int], quality: int, cut: tuple[int, int] = (0, 0), *, gray: bool = False, dark: bool = False
) -> Image.Image:
    """A photograph that was a JPEG file with chroma halved by ``factors``, of which rows and columns were cut."""
    image = _photograph(128, 160)
    if dark:
        image = image.point([v * 3 // 4 for v in range(256)] * 3)
    parts = [np.asarray(image.convert("L"))] if gray else list(np.moveaxis(np.asarray(image.convert("YCbCr")), 2, 0))
    layout = Layout(128, 160, len(parts), vertical=factors[0], horizontal=factors[1])
    tables = [
        quantisation.scaled(base, quality).reshape(8, 8) for base in (quantisation.LUMA, *[quantisation.CHROMA] * 2)
    ]
    coefficients = []
    for c, part in enumerate(parts):
        v, h = layout.factors(c)
        plane = part.reshape(128 // v, v, 160 // h, h).mean(axis=(1, 3)).round()
        steps = tables[c].reshape(64, 1)
        coefficients.append(
            np.rint(forward(to_blocks(plane).reshape(64, -1)) / steps).astype(np.int64).reshape(8, 8, -1)
        )
    pixels = layout.pixels(coefficients, tables[: len(parts)])[cut[0] :, cut[1] :]
    return Image.fromarray(pixels[:, :, 0] if gray else pixels)


def _with_line(image: Image.Image) -> Image.Image:
    pixels = np.array(image)
    pixels[40, 20:90] = 255
    return Image.fromarray(pixels)


CASES: dict[str, tuple[Callable[[], bytes], bool]] = {
    **_network("photo-best-6"),
    **_network("photo-9"),
    **_network("photo-fast-2"),
    **_network("photo-fast-3"),
    "photo-best-6-small": (lambda: _save(_photograph(9, 7), model="photo-best-6", fallback=False), True),
    "photo-9-deep": (lambda: encode(_deep((7, 9)), model="photo-9", fallback=False), True),
    "photo-9-blocks": (lambda: _save(_blocks(), model="photo-9", fallback=False), True),
    **{
        f"photo-fast-2-past-{past.name.lower()}": (
            lambda past=past: _save(_past(past), model="photo-fast-2", fallback=False),
            True,
        )
        for past in Past
        if past is not Past.NONE
    },
    "photo-9-lattice": (lambda: _save(_lattice(Past.JPEG), model="photo-9", fallback=False), True),
    "photo-fast-2-lattice": (lambda: _save(_lattice(Past.JPEG), model="photo-fast-2", fallback=False), True),
    "photo-fast-2-lattice-photocd": (
        lambda: _save(_lattice(Past.PHOTOCD), model="photo-fast-2", fallback=False),
        True,
    ),
    "bitswap-2-lattice": (lambda: _save(_lattice(Past.JPEG), "BSW", model="bitswap-2", fallback=False), True),
    "photo-9-cells": (lambda: _save(_lowered(_photograph(250, 250)), model="photo-9", fallback=False), True),
    "photo-fast-2-cells": (
        lambda: _save(_lowered(_photograph(300, 360).convert("L")), model="photo-fast-2", fallback=False),
        True,
    ),
    "photo-fast-2-lowered": (
        lambda: _save(_lowered(_photograph(250, 250)).convert("L"), model="photo-fast-2", fallback=False),
        True,
    ),
    "bitswap-2-cells": (
        lambda: _save(_lowered(_photograph(300, 360).convert("L")), "BSW", model="bitswap-2", fallback=False),
        True,
    ),
    "photo-9-ranks": (lambda: _save(_stretched(_photograph(97, 130)), model="photo-9", fallback=False), True),
    "photo-fast-2-ranks": (lambda: _save(_stretched(_transparent()), model="photo-fast-2", fallback=False), True),
    "patch-3-ranks": (lambda: _save(_stretched(_photograph(97, 130)), model="patch-3", fallback=False), True),
    "jpeg-ranks": (lambda: _save(_stretched(was_jpeg((2, 2), 80, (3, 6), dark=True))), True),
    "bitswap-2-ranks": (
        lambda: _save(_stretched(_gray(97, 130)), "BSW", model="bitswap-2", fallback=False),
        True,
    ),
    "patch-3-past": (lambda: _save(_past(Past.JPEG), model="patch-3", fallback=False), True),
    "bitswap-2-past": (lambda: _save(_past(Past.JPEG), "BSW", model="bitswap-2", fallback=False), True),
    **_network("patch-3"),
    "patch-3-set": (lambda: encode(_set(), axes="NYXC", model="patch-3", fallback=False), True),
    "patch-3-small": (lambda: encode(_set()[:8, :6, :5], axes="NYXC", model="patch-3", fallback=False), True),
    "patch-3-gray-set": (lambda: encode(_set()[..., 1], axes="NYX", model="patch-3", fallback=False), True),
    **_network("bitswap-2", "BSW"),
    "bitswap-2-blocks": (lambda: _save(_blocks(), "BSW", model="bitswap-2", fallback=False), True),
    "bitswap-2-bb-ans": (
        lambda: encode(np.asarray(_photograph(97, 130)), "bsw", model="bitswap-2", ordering="bb-ans", fallback=False),
        True,
    ),
    "jpeg-444": (lambda: _save(_with_line(was_jpeg((1, 1), 90))), True),
    "jpeg-422": (lambda: _save(was_jpeg((1, 2), 75)), True),
    "jpeg-420-cut": (lambda: _save(was_jpeg((2, 2), 80, (5, 11))), True),
    "jpeg-gray": (lambda: _save(was_jpeg((1, 1), 85, gray=True)), True),
    "predictor": (lambda: _save(_photograph(60, 61), fallback="predictor"), True),
    "raw": (lambda: _save(_gray(20, 21), fallback="raw"), True),
    "raw-bits": (lambda: _save(_gray(20, 21).convert("1"), fallback="raw"), True),
    "filtered-16": (lambda: _save(_sixteen_bits(), fallback="filtered"), False),
    "webp-palette": (lambda: _save(_photograph(40, 50).quantize(16), fallback="webp"), False),
    "frames": (
        lambda: _save(
            _gray(30, 31),
            save_all=True,
            append_images=[_gray(31, 30), _photograph(9, 8)],
            duration=[40, 50, 60],
            fallback="predictor",
        ),
        True,
    ),
    "metadata": (
        lambda: _save(
            _gray(9, 9),
            icc_profile=b"profile",
            exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0",
            xmp=b"<x/>",
            dpi=(72, 72),
            fallback="raw",
        ),
        True,
    ),
}


def _deep(shape: tuple[int, ...], dtype: str = "<u2") -> np.ndarray:
    """A scene of many tones with noise: a part of each numpy type's range, and its clipped ends."""
    y, x = (np.arange(n) for n in shape[:2])
    waves = (np.sin(x / 9)[None, :] + np.cos(y / 7)[:, None]).reshape(*shape[:2], *[1] * (len(shape) - 2))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    noise = np.random.default_rng(5).normal(0, 0.01, shape)
    return np.clip((waves / 4 + noise + 0.6) * (high - low) + low, low, high).astype(dtype)


ARRAYS: dict[str, tuple[dict[str, Any], Callable[[], np.ndarray]]] = {
    "gray": ({"id": "ifl", "fallback": False}, lambda: np.asarray(_gray(40, 50))),
    "deep-colours": ({"id": "ifl", "fallback": False}, lambda: _deep((70, 65, 3))),
    "deep-comb": ({"id": "ifl", "fallback": False}, lambda: _deep((70, 65)) // 16 * 16),
    "signed": ({"id": "ifl", "fallback": False, "axes": "YX"}, lambda: np.asfortranarray(_deep((70, 65), ">i2"))),
    "signed-bytes": ({"id": "ifl", "fallback": False, "axes": "YXZ"}, lambda: _deep((40, 35, 2), "i1")),
    "flags": ({"id": "ifl"}, lambda: np.asarray(_gray(40, 50)) > 90),
    "stack": ({"id": "ifl", "fallback": False, "axes": "TCYX"}, lambda: _set()[:6].transpose(0, 3, 1, 2)[None][0]),
    "bits-back": ({"id": "bsw", "fallback": False}, lambda: np.asarray(_photograph(40, 50))),
    "bits-back-deep": ({"id": "bsw"}, lambda: _deep((30, 35))),
}
"""Chunks of arrays: the configuration of a codec, and what it codes."""


def path_of(name: str) -> Path:
    """The file of a case."""
    return FOLDER / (name + (".bsw" if name.startswith("bitswap-") else ".ifl"))


def describe(payload: bytes) -> list[dict[str, Any]]:
    """Mode, size and pixels of every frame, as they stand in the manifest; of an array that is no image, its shape."""
    if not read_info(payload).mode:
        array = decode(payload)
        return [
            {
                "mode": "",
                "size": list(array.shape),
                "duration": None,
                "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
            }
        ]
    with Image.open(io.BytesIO(payload)) as image:
        return [
            {
                "mode": frame.mode,
                "size": list(frame.size),
                "duration": frame.info.get("duration"),
                "sha256": hashlib.sha256(frame.tobytes()).hexdigest(),
            }
            for frame in ImageSequence.Iterator(image)
        ]


def main() -> None:
    """Write the files that are not there yet."""
    FOLDER.mkdir(exist_ok=True)
    manifest = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    for name, (make, same_bytes) in CASES.items():
        path = path_of(name)
        if not path.exists():
            path.write_bytes(make())
            manifest[name] = {"frames": describe(path.read_bytes()), "same_bytes": same_bytes}
    for name, (config, array) in ARRAYS.items():
        base = FOLDER / "arrays" / name
        if not base.with_suffix(".chunk").exists():
            base.parent.mkdir(exist_ok=True)
            base.with_suffix(".json").write_text(json.dumps(config) + "\n")
            np.save(base.with_suffix(".npy"), array())
            base.with_suffix(".chunk").write_bytes(numcodecs.get_codec(config).encode(array()))
    MANIFEST.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
