"""Random small files of every method: images and arrays of every kind, coded by small models with random weights, of
random architectures, with random options.

A file follows from its method and number alone. Where images must be large before side information, backward
adaptation, several tiles or wider lanes are used, both sides are told lower limits.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from conftest import random_layers
from golden import _photograph
from independent import bitswap as decoder_bitswap
from independent import lattice as decoder_lattice
from independent import patch as decoder_patch
from independent import photo as decoder_photo
from independent.container import read_file
from numpy.random import Generator
from PIL import Image, ImageSequence

import pil_neuralcodec
from pil_neuralcodec import Metadata, models, ranks
from pil_neuralcodec.bitswap.architecture import BitswapArchitecture
from pil_neuralcodec.coders import stream
from pil_neuralcodec.colour import past
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.container import MODES, Method
from pil_neuralcodec.errors import UnsupportedError
from pil_neuralcodec.flow import band_coder, lattice, tile
from pil_neuralcodec.flow.architecture import PatchArchitecture, PhotoArchitecture, Pyramid
from pil_neuralcodec.flow.block_phase import BlockPhase
from pil_neuralcodec.flow.cells import Cells
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.jpeg import quantisation
from pil_neuralcodec.jpeg.layout import Layout
from pil_neuralcodec.jpeg.solver import Recovered
from pil_neuralcodec.metadata import Text
from pil_neuralcodec.methods import bitswap, jpeg, patch, photo
from pil_neuralcodec.reader import Reader

NETWORKS = ("photo", "patch", "bitswap")
METHODS = tuple(method.name.lower() for method in Method)
MODELS = 16
"""Of each kind."""
DTYPES = ("b1", "u1", "i1", "<u2", ">u2", "<i2", "<u4", ">i4", "<f2", "<f4", ">f8", "<u8", "<i8")


MOST, SHARES = (4, 24, 72), (0.4, 0.58, 0.02)
"""The largest sides of images, and of how many it is that."""
Limit = tuple[Any, str, Any]
"""Where a constant stands, and what it is to be."""


class Case(NamedTuple):
    """A file; what it was made of, with its frames' samples; limits that were lowered while it was made."""

    data: bytes
    frames: list[np.ndarray]
    metadata: list[Metadata]
    limits: list[Limit]


def random_side(rng: Generator, most: int) -> int:
    """1 .. most."""
    return int(rng.integers(1, most + 1))


@cache
def _scene() -> np.ndarray:
    return np.asarray(_photograph(128, 160))


def content(rng: Generator, height: int, width: int, bands: int) -> np.ndarray:
    """Samples float (h, w, bands) within 0 .. 1, of a random kind."""
    kind, shape = rng.integers(9), (height, width, bands)
    if kind == 0:
        return rng.random(shape)
    if kind == 1:
        return np.full(shape, rng.choice([0, 1, rng.random()]))
    if kind == 2:
        return rng.choice(rng.random(rng.integers(1, 20)), shape)
    if kind == 3:
        return (rng.random(shape) < rng.random()).astype(float)
    if kind == 4:
        y, x, c = np.mgrid[:height, :width, :bands]
        return (y * rng.normal() / 30 + x * rng.normal() / 30 + c * rng.normal() / 30) % 1
    if kind == 5:
        return np.clip(0.5 + np.cumsum(rng.normal(0, 0.03, shape), axis=rng.integers(2)), 0, 1)
    rows, columns, colours = (rng.integers(40) + np.arange(count) for count in shape)
    scene = _scene()[np.ix_(rows % 128, columns % 160, colours % 3)] / 255
    return scene if kind < 8 else np.clip(2 * scene - 0.5, 0, 1)


def samples(rng: Generator, shape: tuple[int, int, int], dtype: str) -> np.ndarray:
    """(h, w, bands) of a type: a part of its range, or all of it."""
    values, kind = content(rng, *shape), np.dtype(dtype)
    if kind.kind == "b":
        return values > 0.5
    if kind.kind == "f":
        with np.errstate(over="ignore"):
            made = (values * 10.0 ** rng.integers(-3, 5) - rng.integers(2)).astype(kind)
        made[rng.random(shape) < 0.05] = rng.choice([np.nan, np.inf, -0.0, 1])
        return made
    info = np.iinfo(kind)
    if rng.random() < 0.5:
        low, high = info.min, info.max
    else:
        low, high = sorted(int(n) for n in rng.integers(info.min, info.max, 2, kind.newbyteorder("="), endpoint=True))
        high = max(low, min(high, low + int(2 ** rng.integers(0, 8 * kind.itemsize))))
    scaled = [low + min(high - low, int(value * (high - low + 1))) for value in values.reshape(-1)]
    made = np.array(scaled, kind).reshape(shape)
    return made // 60 * 60 if rng.random() < 0.2 else made


def random_metadata(rng: Generator) -> Metadata:
    """Some of what a file may keep."""

    def maybe(make: Callable[[], Any]) -> Any:
        return make() if rng.random() < 0.2 else None

    return Metadata(
        icc_profile=maybe(lambda: rng.bytes(rng.integers(1, 300))),
        exif=maybe(lambda: b"Exif\0\0" + rng.bytes(9)),
        xmp=maybe(lambda: b"<x/>"),
        transparency=maybe(lambda: [7, b"\0\xff", (1, 2, 300)][rng.integers(3)]),
        dpi=maybe(lambda: (float(rng.random() * 300), 72.0)),
        loop=maybe(lambda: int(rng.integers(0, 1 << 32))),
        text=maybe(lambda: (Text("Title", "é" * int(rng.integers(200)), "fr", "Titre"), Text("key", ""))),
        comment=maybe(lambda: rng.bytes(3)),
    )


def random_model(rng: Generator, kind: str) -> tuple[models.Architecture, int]:
    """An architecture, and about what log-scales its layers give."""
    blocks = tuple(tuple(int(n) for n in rng.integers(0, 2, 3)) for _ in range(rng.integers(1, 4)))
    width, mixtures = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    scale = int(rng.choice([-90, 0, 30, 60, 120, 200]))
    adapted = bool(rng.integers(2))
    if kind == "photo":
        return PhotoArchitecture(width, blocks, mixtures, bool(rng.integers(2)), adapted), scale
    if kind == "bitswap":
        latents = tuple(int(n) for n in rng.integers(1, 4, rng.integers(1, 4)))
        likelihood = PhotoArchitecture(width, blocks, mixtures, backward_adaptation=adapted)
        return BitswapArchitecture(likelihood, latents, int(rng.integers(3))), scale
    lattices = (((0, 1), (1, 0)), ((0, 0), (0, 0)), ((0, 2), (3, 1)), ((1, 0), (0, 2)))
    lattice = lattices[rng.integers(len(lattices))]
    return PatchArchitecture(Pyramid(width, blocks, mixtures), lattice, int(rng.integers(2, 15))), scale


def random_model_file(rng: Generator, kind: str, folder: Path) -> Path:
    """One of ``MODELS`` models of a kind, which is made when it is first used."""
    number = int(rng.integers(MODELS))
    path = folder / f"{kind}-{number}.safetensors"
    if not path.exists():
        own = np.random.default_rng([zlib.crc32(kind.encode()), number])
        architecture, scale = random_model(own, kind)
        models.save(path, architecture, random_layers(architecture, number, scale))
    return path


def random_limits(rng: Generator) -> list[Limit]:
    """Limits that are lowered on both sides, or on the encoder's alone, so that small images are coded like large ones
    are."""
    limits: list[Limit] = []

    def lower(values: list[int], *places: tuple[Any, str]) -> None:
        value = int(rng.choice(values))
        if value:
            limits.extend((*place, value) for place in places)

    lower([0, 1, 1, 20], (band_coder, "_ADAPTED_MIN"), (decoder_photo, "ADAPTED"))
    lower([0, 1, 1, 20], (lattice, "_SMALLEST"), (decoder_lattice, "SMALLEST"))
    lower([0, 1], (patch, "_ADAPTED_PIXELS"))
    lower([0, 0, 3, 8], (patch, "MAX_BLOCK"))
    lower([0, 0, 64, 1024], (patch, "_BATCH_PIXELS"), (decoder_patch, "PIXELS"))
    lower([0, 1, 4], (stream, "_WORTH_WIDENING"))
    lower([0, 1], (bitswap, "_SEEDS"))
    if rng.random() < 0.3:
        limits += [
            (tile, "TILE", 16),
            (tile, "TILE_ALIGN", 8),
            (decoder_bitswap, "TILE", 16),
            (decoder_bitswap, "ALIGN", 8),
        ]
    if rng.random() < 0.3:
        phase = BlockPhase.numbered(int(rng.integers(625)))
        limits.append((TileCoder, "phase_of", lambda *_: phase))
    return limits


@contextmanager
def lowered(limits: list[Limit]) -> Iterator[None]:
    """Both sides with these limits."""
    with ExitStack() as stack:
        for limit in limits:
            stack.enter_context(mock.patch.object(*limit))
        yield


def _past(rng: Generator, array: np.ndarray) -> np.ndarray:
    """Colours after a conversion, with a few exceptions."""
    pasts = [one for one in Past if one is not Past.NONE]
    made = conversion(pasts[rng.integers(len(pasts))]).to_rgb(np.ascontiguousarray(array))
    made[rng.random(made.shape[:2]) < 0.03] = rng.integers(0, 256, 3)
    return made


def _recovered(rng: Generator) -> tuple[np.ndarray, Recovered]:
    """Pixels of random coefficients in a random layout, on which something may be pasted."""
    halved = [1, 1, 1] if rng.random() < 0.3 else [3, *rng.integers(1, 3, 2)]
    components, v, h = (int(n) for n in halved)
    fancy, below, right = rng.integers(2, size=3).astype(bool).tolist()
    flags = fancy, below and fancy and v == 2, right and fancy and h == 2
    corner = int(rng.integers(8 * v)), int(rng.integers(8 * h))
    layout = Layout(random_side(rng, 24), random_side(rng, 24), components, *corner, v, h, *flags)
    bases = quantisation.LUMA, quantisation.CHROMA
    tables = [
        quantisation.scaled(base, int(rng.integers(1, 101))) if rng.random() < 0.7 else rng.integers(1, 256, 64)
        for base in bases
    ]
    tables = [table.reshape(8, 8) for table in (tables * 2 if components == 3 else tables)[:components]]
    if components == 3:
        tables[2] = tables[1]
    found = []
    for component, table in enumerate(tables):
        shape = (8, 8, int(np.prod(layout.blocks(component))))
        values = rng.normal(0, rng.choice([1, 30, 300]), shape) * (rng.random(shape) < rng.choice([0.05, 0.3, 1]))
        values[0, 0] = rng.normal(0, 500, shape[2:])
        if rng.random() < 0.05:
            values[rng.integers(8), rng.integers(8)] = rng.choice([-32767, 32767], shape[2:])
        found.append((np.clip(values, -32767, 32767) / table[:, :, None]).astype(np.int64))
    decoded = layout.pixels(found, tables)
    pixels = decoded.copy()
    if rng.random() < 0.5:
        places = rng.random(pixels.shape[:2]) < rng.choice([0.02, 0.3])
        pixels[places] += rng.integers(-2, 3, (places.sum(), components)).astype(np.uint8)
    if rng.random() < 0.3:
        pixels[rng.integers(len(pixels)), : rng.integers(12)] = rng.integers(256)
    return pixels, Recovered(layout, tables, found, decoded)


def _image_file(rng: Generator, name: str, options: dict[str, Any], most: int) -> Case:
    """Pillow images, one or several frames."""
    format, frames, metadata = options.pop("format"), [], random_metadata(rng)
    options.pop("ordering", None)
    fits = [mode for mode, (_, bands, _, bits) in MODES.items() if (bands, bits) in _FITS.get(name, _ALL)]
    images: list[Image.Image] = []
    for _ in range(rng.integers(1, 4) if rng.random() < 0.2 else 1):
        mode = fits[rng.integers(len(fits))]
        size = random_side(rng, most), random_side(rng, most)
        row = len(Image.new(mode, (size[0], 1)).tobytes())
        raw = (content(rng, size[1], row, 1) * 255).astype(np.uint8)
        image = Image.frombytes(mode, size, raw.tobytes())
        if mode in ("P", "PA"):
            image.putpalette(rng.bytes(3 * int(rng.integers(1, 257))))
        images.append(image)
    if len(images) > 1:
        options["duration"] = [int(n) for n in rng.integers(0, 999, len(images))]
    file = io.BytesIO()
    images[0].save(
        file,
        format.upper(),
        save_all=True,
        append_images=images[1:],
        text={text.key: text.value for text in metadata.text or ()},
        **{key: getattr(metadata, key) for key in ("icc_profile", "exif", "xmp", "dpi", "loop", "comment")},
        **options,
    )
    with Image.open(io.BytesIO(file.getvalue())) as again:
        for number, frame in enumerate(ImageSequence.Iterator(again)):
            assert frame.mode == images[number].mode
            assert frame.tobytes() == images[number].tobytes()
            frames.append(np.asarray(images[number]))
    reader = Reader(io.BytesIO(file.getvalue()))
    kept = [reader.metadata(number) for number in range(len(images))]
    return Case(file.getvalue(), frames, kept, [])


_ALL = {(bands, bits) for bands in range(1, 5) for bits in (1, 8, 16, 32)}
_BYTES = {(bands, bits) for bands, bits in _ALL if bits <= 8}
_FITS: dict[str, set[tuple[int, int]]] = {
    "webp": _BYTES,
    "predictor": _BYTES,
    "patch": _BYTES,
    "bitswap": _BYTES,
    "photo": {(bands, bits) for bands, bits in _ALL if bits <= 16},
}


def _array_file(rng: Generator, name: str, options: dict[str, Any], most: int) -> Case:
    """An array, with or without named axes."""
    if name in NETWORKS and rng.random() < 0.2:
        return _past_file(rng, options, most)
    options = dict(options)
    small = _FITS.get(name) == _BYTES
    names = [d for d in DTYPES if np.dtype(d).itemsize <= (1 if small else 2 if name == "photo" else 8)]
    dtype = names[rng.integers(len(names))]
    height, width = random_side(rng, most), random_side(rng, most)
    if rng.random() < 0.5:
        letters = ["Y", "X", *(["C"] if rng.random() < 0.5 else []), *["T", "Z"][: rng.integers(3)]]
        rng.shuffle(letters)
        sizes = {
            "Y": height,
            "X": width,
            "C": int(rng.integers(1, 5)),
            "T": random_side(rng, 9 if most < 24 else 3),
            "Z": 2,
        }
        shape = tuple(sizes[letter] for letter in letters)
        rest = int(np.prod(shape)) // (height * width)
        moved = samples(rng, (height, width, rest), dtype)
        count = [letter for letter in letters if letter not in "YX"]
        array = moved.reshape(height, width, *(sizes[letter] for letter in count))
        order = ["Y", "X", *count]
        array = array.transpose([order.index(letter) for letter in letters])
        options["axes"] = "".join(letters)
    elif rng.random() < 0.4:
        dtype = [d for d in ("b1", "u1", "<u2", ">u2", "<i4", "<f4") if name != "photo" or np.dtype(d).itemsize < 4][
            rng.integers(2 if small else 4 if name == "photo" else 6)
        ]
        array = samples(rng, (height, width, 1), dtype)[:, :, 0]
    else:
        dtype = np.dtype(dtype if dtype != "b1" else "u1").newbyteorder("=").str
        array = samples(rng, (height, width, int(rng.integers(1, 8))), dtype)
        if array.shape[2] > 4:  # without names it might be a stack of gray images
            options["axes"] = "YXC"
    array = np.asarray(array, order="F" if rng.random() < 0.3 else "C")
    if name in NETWORKS and options["fallback"] is False and array.dtype.itemsize > 2:
        raise UnsupportedError("no network codes such samples")
    return _of_array(array, rng, options)


def _past_file(rng: Generator, options: dict[str, Any], most: int) -> Case:
    """Colours that came out of a conversion."""
    array = _past(rng, samples(rng, (random_side(rng, most), random_side(rng, most), 3), "u1"))
    # Undone also where too few pixels tell, or exceptions cost more than is gained.
    limits: dict[str, Any] = {"_MARGIN": -1000}
    if rng.random() < 0.5:  # never: the lattice is a prior of tiles, however few pixels lie on it
        limits = {"_SHARE": (9, 8), "_PRIOR_SHARE": (0, 1)}
        places = rng.random(array.shape[:2]) < rng.choice([0, 0.2, 0.7])
        array[places] += rng.integers(-1, 2, (places.sum(), 3)).astype(np.uint8)
    with mock.patch.multiple(past, _ENOUGH=4, **limits):
        return _of_array(array, rng, options)


def _jpeg_file(rng: Generator, name: str, options: dict[str, Any], most: int) -> Case:
    """Pixels of a JPEG file, which need not be looked for."""
    pixels, found = _recovered(rng)
    with mock.patch.object(jpeg, "recover", lambda _, ones: found):
        return _of_array(pixels, rng, options)


def _of_array(array: np.ndarray, rng: Generator, options: dict[str, Any]) -> Case:
    data = pil_neuralcodec.encode(array, metadata=random_metadata(rng), **options)
    found = pil_neuralcodec.decode(data)
    assert found.dtype == array.dtype.newbyteorder("=") or found.dtype == array.dtype
    assert found.tobytes() == np.ascontiguousarray(array, found.dtype).tobytes()
    metadata = pil_neuralcodec.read_info(data).metadata
    return Case(data, [array], [metadata], [])


def _tables(seed: int, samples: np.ndarray) -> ranks.Tables:
    """Tables of the samples that occur, and of some others, from any rank on; () where that is all, and of what may be
    booleans."""
    rng = np.random.default_rng(seed)
    others = rng.random((samples.shape[2], 256)) < rng.choice([0, 0.5])
    occur = (ranks.histograms(samples) > 0) | others
    if occur.all() or samples.max() <= 1:
        return ()
    firsts = rng.integers(0, 257 - occur.sum(axis=1))
    bits = np.packbits(occur, axis=1, bitorder="little")
    return tuple(bytes([first]) + row.tobytes() for first, row in zip(firsts.tolist(), bits, strict=True))


def _cells(seed: int, samples: np.ndarray) -> Cells | None:
    """Cells of any widths, but of what may be booleans."""
    if samples.max() <= 1:
        return None
    rng = np.random.default_rng(seed)
    moves = rng.integers(-31, 32, (samples.shape[2], 257)) * (rng.random((samples.shape[2], 257)) < rng.random())
    moves[:, [0, 256]] = 0
    return moves.astype(np.int32)


def make_case(name: str, number: int, folder: Path) -> Case:
    """File ``number`` of a method."""
    for attempt in range(1000):
        rng = np.random.default_rng([zlib.crc32(name.encode()), number, attempt])
        format = (
            "bsw" if name == "bitswap" else "ifl" if name in ("photo", "patch") else ("ifl", "bsw")[rng.integers(2)]
        )
        options: dict[str, Any] = {"format": format, "fallback": name, "past": bool(rng.integers(4))}
        if name in NETWORKS:
            # Beside the network what needs none is kept where it is smaller: of other bands, as a rule.
            options |= {"model": random_model_file(rng, name, folder), "fallback": rng.random() < 0.1}
        if name == "bitswap" and rng.random() < 0.4:
            options["ordering"] = "bb-ans"
        limits = random_limits(rng)
        if name in NETWORKS and rng.random() < 0.3:
            limits.append((ranks, "worthwhile", partial(_tables, int(rng.integers(1 << 30)))))
        if name in ("photo", "bitswap") and rng.random() < 0.3:
            method = photo if name == "photo" else bitswap
            limits.append((method, "find_cells", partial(_cells, int(rng.integers(1 << 30)))))
        most = int(rng.choice(MOST, p=SHARES))
        make = _jpeg_file if name == "jpeg" else _image_file if rng.random() < 0.4 else _array_file
        try:
            with lowered(limits):
                case = make(rng, name, options, most)
        except UnsupportedError:
            continue
        used = {segment.method for frame in read_file(case.data).frames for segment in frame.segments}
        if Method[name.upper()] in used:
            return case._replace(limits=limits)
    raise AssertionError(f"no {name} file number {number}")
