"""Files to begin with, and other files made of them whose checksums are right.

A changed byte would end at the first checksum. So every input is sealed before it is read: ``seal`` makes the checksums
of header and chunks agree with what they cover. ``mutate`` changes one thing of a file as its layout has it, such as
a payload, a width or a table of metadata, and leaves the rest in order.

Images are as small as they can be with several levels, tiles, blocks, strips and lanes, since an execution's time is
that of its levels and tiles; files are drawn the less often the longer they take.
"""

from __future__ import annotations

import math
import random
import statistics
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from conftest import random_layers, save_models

from pil_neuralcodec import encode, models, ranks
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.colour.exceptions import pack_exceptions
from pil_neuralcodec.colour.past import ColourHeader
from pil_neuralcodec.container import (
    CRC_SIZE,
    MODES,
    ChunkRef,
    Frame,
    Header,
    ImageSpec,
    MetadataType,
    Method,
    SampleKind,
    Segment,
    write,
)
from pil_neuralcodec.container.parse import header_size, parse_header
from pil_neuralcodec.flow import band_coder, lattice, tile
from pil_neuralcodec.flow.architecture import PatchArchitecture, PhotoArchitecture, Pyramid
from pil_neuralcodec.flow.tile import TileCoder, checked_levels
from pil_neuralcodec.jpeg import coefficients, compiled, quantisation
from pil_neuralcodec.jpeg.contexts import ZIGZAG
from pil_neuralcodec.jpeg.layout import Layout
from pil_neuralcodec.jpeg.solver import Recovered
from pil_neuralcodec.metadata import Metadata, Text
from pil_neuralcodec.methods import bitsback, bitswap, direct, filtered, jpeg, photo
from pil_neuralcodec.methods import patch as patches
from pil_neuralcodec.methods.tiles import encode_tiles
from pil_neuralcodec.samples import Picture
from pil_neuralcodec.writer import encode_frames

from . import programs

Mutator = Callable[[bytes, int], bytes]
"""Changes bytes somehow, to at most so many."""

MODELS = ("tiny", "tiny-best", "tiny-patch", "tiny-pairs", "tiny-latents")
BARE = ("coders",)
"""Targets whose data are no files."""
LARGEST = 1 << 12
"""Bytes of a file."""
ADAPTED = 2
"""Samples of the smallest band that is adapted to, instead of 1,024, which would take images of 64 x 64."""


FEW = ZIGZAG[:4] + ZIGZAG[12::16]
"""The frequencies of JPEG files of an odd width. The others have all 64, which take five times as long."""


@contextmanager
def small() -> Iterator[None]:
    """Small images are coded as large ones are, with side information, backward adaptation, and lattices as priors."""
    before = band_coder._ADAPTED_MIN, lattice._SMALLEST
    band_coder._ADAPTED_MIN = lattice._SMALLEST = ADAPTED
    try:
        yield
    finally:
        band_coder._ADAPTED_MIN, lattice._SMALLEST = before
        frequencies(0)


def frequencies(width: int) -> None:
    """From now on JPEG files have the frequencies that are those of images of this width."""
    coefficients.ZIGZAG = compiled.ZIGZAG = FEW if width % 2 else ZIGZAG  # type: ignore[attr-defined]


def save_all_models(folder: Path) -> None:
    """The small models of the tests, "tiny-best", which has what they lack, and "tiny-pairs", whose couplings are those
    of released models, fewer than in "tiny-patch"."""
    save_models(folder)
    best = PhotoArchitecture(8, ((1, 0, 0), (0, 0, 1)), 2, self_ensemble=True, backward_adaptation=True)
    models.save(folder / "tiny-best.safetensors", best, random_layers(best, 8))
    pairs = PatchArchitecture(Pyramid(8, ((1, 0, 0), (0, 0, 1)), 2))
    models.save(folder / "tiny-pairs.safetensors", pairs, random_layers(pairs, 9, 30))


def scene(shape: tuple[int, ...], dtype: str = "u1") -> np.ndarray:
    """Ramps with some noise."""
    y, x, rest = np.ogrid[: shape[0], : shape[1], : int(np.prod(shape[2:]))]
    values = 9 * y + 5 * x + 31 * rest + np.random.default_rng(7).integers(0, 9, (*shape[:2], rest.size))
    wide = 8 * np.dtype(dtype).itemsize - 8
    return (values % 251 << wide if wide else values % 251).astype(dtype).reshape(shape)


def _coefficients(layout: Layout, wrong: bool = False, ranked: bool = False) -> bytes:
    """A file of coefficients, of an image smaller than those in which an encoder looks for them."""
    rng = np.random.default_rng(5)
    tables = [quantisation.scaled(quantisation.LUMA if c == 0 else quantisation.CHROMA, 85).reshape(8, 8)
              for c in range(layout.components)]  # fmt: skip
    shapes = [(8, 8, math.prod(layout.blocks(c))) for c in range(layout.components)]
    known = [rng.integers(-3, 4, shape) * (rng.random(shape) < 0.2) for shape in shapes]
    known[0][0, 0, -1] = 400  # beyond what a symbol can be
    frequencies(layout.width)
    for values in known:
        values.reshape(64, -1)[[at for at in ZIGZAG if at not in coefficients.ZIGZAG]] = 0  # type: ignore[attr-defined]
    pixels = layout.pixels(known, tables)
    seen = pixels.copy()
    if wrong:
        seen[5:9, 3:9] += 40
        seen[-1, -1] += 1
    with patch.object(jpeg, "recover", lambda _, ones: Recovered(layout, tables, known, pixels)):
        payload = direct.encode(Method.JPEG, seen)
    assert payload is not None
    first = int(seen.max() == 255)  # all samples but one, so these are ranks
    tables = (bytes([first, 0xFE]) + b"\xff" * 31,) * layout.components if ranked else ()
    return _file(Segment(Method.JPEG, (0, layout.components), (payload,), ranks=tables), seen.shape)


def _arranged(pixels: np.ndarray) -> Iterator[bytes]:
    """Files of row filters, by every arrangement of few values."""
    samples = pixels.view(f"u{pixels.itemsize}")
    palette = filtered._find_palette(samples)
    for number, choice in enumerate(filtered._arrangements(samples, palette is not None)):
        body = filtered._body(choice, number % 4, palette, filtered._arrange(samples, choice, palette))
        segment = Segment(Method.FILTERED, (0, pixels.shape[2]), (direct.with_checksum(body, pixels),))
        yield _file(segment, pixels.shape, bits=8 * pixels.itemsize)


def _file(segment: Segment[bytes], shape: tuple[int, ...], model: bytes | None = None, bits: int = 8) -> bytes:
    spec = ImageSpec.of("RGB" if shape[2] == 3 else "L" if bits == 8 else "I;16", shape[1], shape[0])
    return write(Header((Frame(spec, (segment,)),), model=model))


def _ranked(array: np.ndarray, **options: Any) -> bytes:
    """Samples by the network as ranks, however few occur."""

    def tables(samples: np.ndarray) -> ranks.Tables:
        return ranks.tables(ranks.histograms(samples))

    with patch.object(ranks, "worthwhile", tables):
        return encode(array, fallback=False, **options)


def _uneven(array: np.ndarray, **options: Any) -> bytes:
    """Samples whose cells have unequal widths."""
    moves = np.pad(np.random.default_rng(4).integers(-31, 32, (3 if array.ndim == 3 else 1, 255)), ((0, 0), (1, 1)))

    def cells(_: np.ndarray) -> np.ndarray:
        return moves.astype(np.int32)

    with patch.object(photo, "find_cells", cells), patch.object(bitswap, "find_cells", cells):
        return encode(array, fallback=False, **options)


def _tiled(pixels: np.ndarray, model: str, side: int) -> bytes:
    """Pixels by the photo flow in tiles smaller than an encoder makes them."""
    found = models.load(model)
    coder, checked = TileCoder(found.architecture, found.network()), checked_levels(side, side)
    payloads = encode_tiles(pixels, (side, side), lambda tiles: coder.encode(tiles, checked))
    return _file(Segment(Method.PHOTO, (0, pixels.shape[2]), tuple(payloads), side, side), pixels.shape, found.id)


def _converted(past: Past, array: np.ndarray, is_prior: bool = False, **options: Any) -> bytes:
    """Colours that have been through a conversion, one pixel apart, of which there are too few to see it. It is undone,
    or its lattice is a prior."""

    def undo(rgb: np.ndarray, lattices: bool = False) -> tuple[ColourHeader, np.ndarray]:
        if is_prior:
            assert lattices
            return ColourHeader(lattice=past), rgb
        planes = conversion(past).to_planes(rgb)
        return ColourHeader(past, pack_exceptions(rgb, conversion(past).to_rgb(planes))), planes

    rgb = conversion(past).to_rgb(array)
    rgb[-1, 1] ^= 3
    with patch.object(tile, "undo", undo), patch.object(bitsback, "undo", undo):
        return encode(rgb, fallback=False, **options)


def seeds() -> dict[str, list[bytes]]:
    """Data by the target that begins with them; the models of ``save_all_models`` must be found."""
    with small(), patch.object(patches, "_ADAPTED_PIXELS", 1):
        return _seeds()


def _seeds() -> dict[str, list[bytes]]:
    colours, gray, deep = scene((9, 13, 3)), scene((9, 13)), scene((9, 13, 3), "u2")
    flat, few, large = np.full((20, 20, 3), 7, np.uint8), colours // 90 * 90, scene((33, 40, 3))
    set_of = np.stack([large[:4, i : i + 5] for i in range(5)])
    little = gray[:5, :3], colours[:5, :6], deep[:5, :6], deep[:5, :6] >> 15
    least = gray[:2, :4], gray[:2, :2], colours[:2, :2], colours[:1, :2], deep[:2, :1], deep[:2, :2] >> 15
    pairs, square, wider = (np.stack([colours[:h, i : i + w] for i in range(3)]) for h, w in ((1, 2), (2, 2), (2, 3)))
    sparse = np.where(colours > 120, 50000, colours // 100 * np.uint16(300)).astype("u2")
    network = {"fallback": False}
    chains = {"format": "bsw", "model": "tiny-latents", **network}
    found = {
        "raw": [encode(gray.astype(t), fallback="raw") for t in ("u1", "u2", "i4", "f4")]
        + [encode(array, fallback="raw") for array in (gray > 99, deep)]
        + [encode(scene((9, 7, 5), "f8"), axes="YXC", fallback="raw")],
        "filtered": [encode(array, fallback="filtered") for array in (gray, deep, scene((9, 13, 1), "i8"))]
        + [data for array in (few, few[..., :1].astype("u2") * 255) for data in _arranged(array)],
        "webp": [encode(array, fallback="webp") for array in (gray, colours, few, scene((9, 13, 4)))],
        "predictor": [encode(array, fallback="predictor") for array in (gray, colours, flat, scene((24, 33, 4)))],
        "jpeg": [
            _coefficients(Layout(*layout), wrong) for layout, wrong in (
                ((9, 13, 1, 3, 5), False), ((9, 13), False), ((9, 13), True), ((9, 5, 1), True), ((5, 8, 1), True),
                ((18, 20, 3, 0, 0, 2, 2, True, True, True), False), ((18, 21, 3, 0, 0, 2, 2, True, True, True), True),
                ((9, 13, 3, 0, 11, 1, 2, False), False), ((12, 15, 3, 7, 9, 2, 2), False),
                ((12, 14, 3, 7, 9, 2, 2), True), ((5, 7, 1), False),
                ((5, 7, 3), True), ((5, 7, 3, 2, 3, 2, 2), False), ((4, 6, 3), False),
            )
        ] + [_coefficients(Layout(5, 7, components), ranked=True) for components in (1, 3)],
        "photo": [encode(array, model="tiny", **network)
                  for array in (*little, *least, gray, colours, colours[:1, :1], sparse[:2, :4], sparse)]
        + [encode(array, model="tiny-best", **network)
           for array in (*little, *least, gray, sparse[:4, :2, 0], sparse[..., 0])]
        + [_converted(past, colours[:2, :3], model="tiny") for past in Past if past]
        + [_converted(past, colours[:4, :5], True, model=model)
           for past, model in ((Past.JPEG, "tiny"), (Past.BT709, "tiny-best"), (Past.PHOTOCD, "tiny"))]
        + [_ranked(array, model="tiny") for array in (gray[:2, :4], gray[:2, :2].view("i1"), colours[:4, :5])]
        + [_uneven(array, model=model)
           for array, model in ((gray[:2, :4], "tiny"), (gray[:4, :4], "tiny-best"), (colours[:4, :5], "tiny-best"))]
        + [_tiled(*three) for three in ((colours[:3, :4], "tiny", 2), (gray[:4, :4, None], "tiny-best", 3),
                                        (colours, "tiny", 8), (gray[..., None], "tiny-best", 8))],
        "patch": [encode(array, model=model, axes=axes, **network)
                  for model in ("tiny-pairs", "tiny-patch")
                  for array, axes in ((pairs, "NYXC"), (pairs[..., 0].copy(), "ZYX"), (colours[:2, :3], "YXC"),
                                      (square, "NYXC"), (square[..., 0].copy(), "ZYX"), (wider, "NYXC"),
                                      (set_of, "NYXC"), (set_of[..., 0].copy(), "ZYX"), (colours, "YXC"))]
        + [encode(np.concatenate([pairs[..., :1]] * 5), model="tiny-pairs", axes="NYXC", **network)]
        + [encode(np.concatenate([set_of] * 4), model="tiny-patch", axes="NYXC", **network)]
        + [_ranked(colours[:2, :3], model="tiny-pairs", axes="YXC")]
        + [_converted(Past.JPEG, colours[:2, :3], model="tiny-pairs", axes="YXC")],
        "bitswap": [
            encode(array, ordering=ordering, **chains)
            for ordering in ("bit-swap", "bb-ans")
            for array in (gray[:1, :2], gray[:2, :2], gray[:4, :5], gray,
                          colours[:2, :2], colours[:2, :3], colours, large)
        ] + [
            _ranked(colours[:2, :3], format="bsw", model="tiny-latents"),
            _uneven(gray[:3, :4], format="bsw", model="tiny-latents"),
            _uneven(colours[:4, :5], format="bsw", model="tiny-latents"),
            _converted(Past.BT709, colours[:3, :2], format="bsw", model="tiny-latents"),
            _converted(Past.JPEG, colours[:4, :5], True, format="bsw", model="tiny-latents"),
        ],
    }  # fmt: skip
    arrays = [
        encode(scene((6, 7, 2), dtype).astype(f">{dtype}"), axes=axes, fallback="raw")
        for dtype, axes in (("u1", "YXC"), ("i2", "ZYX"), ("b1", "CXY"), ("u8", "YXT"))
    ]
    found["arrays"] = arrays + [found[name][0] for name in ("patch", "filtered", "bitswap")]
    metadata = Metadata(
        b"icc", b"Exif\0\0", b"<x/>", ("RGB", bytes(range(9))), 2, (72.0, 96.0), 3, None,
        (Text("key", "value"), Text("a", "b", "en", "c")), b"hello",
    )  # fmt: skip
    pixels = gray[:, :, None]
    frames = [
        Picture("P", pixels, 40, metadata),
        Picture("P", pixels // 2, 50, replace(metadata, transparency=b"\0\xff", loop=None)),
        Picture("RGBA", scene((12, 10, 4)), 60, replace(metadata, palette=None, transparency=(1, 2, 3))),
    ]
    every = [encode_frames(iter(frames), "ifl", fallback="raw")]
    every += [encode(scene((5, 4), "u1") % 2 > 0, mode="1"), encode(scene((5, 4, 4)), mode="CMYK", fallback="raw")]
    found["container"] = every + [files[0] for files in found.values()]
    found["coders"] = programs.seeds()
    return found


def seal(data: bytes) -> bytes:
    """The same file with right checksums, as far as its header can be read."""
    try:
        size = header_size(data[:64])
    except OSError:
        return data
    head = data[: size - CRC_SIZE]
    sealed = bytearray(head + zlib.crc32(head).to_bytes(CRC_SIZE, "little") + data[size:])
    try:
        header = parse_header(bytes(sealed[:size]), 0, None)
    except OSError:
        return bytes(sealed)
    for ref in header.chunks():
        end = ref.offset + ref.length
        if end + CRC_SIZE > len(sealed):
            break
        sealed[end : end + CRC_SIZE] = ref.crc(bytes(sealed[ref.offset : end])).to_bytes(CRC_SIZE, "little")
    return bytes(sealed)


def opened(data: bytes) -> Header[bytes] | None:
    """A sealed file with its payloads, or None where it is none."""
    try:
        header = parse_header(data[: header_size(data[:64])], 0, None)
    except OSError:
        return None
    if header.file_size != len(data):
        return None
    return _each(header, lambda ref: data[ref.offset : ref.offset + ref.length])


def _each(header: Header[Any], change: Callable[[Any], bytes]) -> Header[bytes]:
    """The header with every chunk changed, in the order of the file."""

    def table(metadata: Any) -> dict[MetadataType, bytes]:
        return {kind: change(chunk) for kind, chunk in sorted(metadata.items())}

    metadata = table(header.metadata)
    frames = []
    for frame in header.frames:
        own = table(frame.metadata)
        segments = tuple(replace(one, chunks=tuple(map(change, one.chunks))) for one in frame.segments)
        frames.append(replace(frame, segments=segments, metadata=own))
    return replace(header, frames=tuple(frames), metadata=metadata)


def mutate(data: bytes, change: Mutator, seed: int) -> bytes:
    """A file that differs in one thing from another; bytes are changed by ``change``."""
    return _mutated(data, change, random.Random(seed), _SHALLOW)[0]


_parsed = lru_cache(256)(lambda data: opened(seal(data)))
"""Files to begin with come again and again."""


@lru_cache(256)
def _refs(data: bytes) -> list[ChunkRef]:
    """Where the chunks of a sealed file are, those that are not empty."""
    try:
        return [ref for ref in parse_header(data[: header_size(data[:64])], 0, None).chunks() if ref.length]
    except OSError:
        return []


def _overwritten(data: bytes, refs: list[ChunkRef], rng: random.Random) -> bytes:
    """Some bytes of a chunk set to others, which takes a tenth of the time of a file that is written anew."""
    ref = refs[int(rng.random() * len(refs))]
    end = ref.offset + ref.length
    chunk = bytearray(data[ref.offset : end])
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = int(rng.random() * ref.length)
        if rng.random() < 0.3:
            chunk[at] ^= 1 << int(rng.random() * 8)
        elif rng.random() < 0.8:
            some = rng.choice((1, 1, 2, 4, 16))
            chunk[at : at + some] = rng.randbytes(min(some, ref.length - at))
        else:  # what lies between moves on
            to = int(rng.random() * ref.length)
            chunk.insert(to, chunk.pop(at))
    return data[: ref.offset] + chunk + ref.crc(bytes(chunk)).to_bytes(CRC_SIZE, "little") + data[end + CRC_SIZE :]


def _mutated(data: bytes, change: Mutator, rng: random.Random, often: list[int]) -> tuple[bytes, bool]:
    """A mutation, and whether its checksums are right; ``often``: each kind of it, summed up."""
    header = _parsed(data)
    (kind,) = rng.choices(_KINDS, cum_weights=often)
    if header is None or kind == "any":
        return change(data, LARGEST), False
    if kind == "body":
        start = 9 + 1 + (header_size(data[:64]) > 9 + 1 + CRC_SIZE + 127)
        size = header_size(data[:64]) - CRC_SIZE
        body = change(data[start:size], LARGEST)
        return data[:9] + _varint(len(body)) + body + bytes(CRC_SIZE) + data[size + CRC_SIZE :], False
    try:
        return write(_CHANGES[kind](header, change, rng))[: 4 * LARGEST], True
    except (ValueError, OSError):  # not a file that can be written
        return change(data, LARGEST), False


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value % 128 + 128]) + _varint(value // 128)


def _payload(header: Header[bytes], change: Mutator, rng: random.Random) -> Header[bytes]:
    chosen = rng.randrange(sum(1 for _ in header.chunks()))
    numbers = iter(range(1 << 30))
    return _each(header, lambda chunk: change(chunk, LARGEST) if next(numbers) == chosen else chunk)


def _frame(header: Header[bytes], rng: random.Random, change: Callable[[Frame[bytes]], Frame[bytes]]) -> Header[bytes]:
    frames = list(header.frames)
    chosen = rng.randrange(len(frames))
    frames[chosen] = change(frames[chosen])
    return replace(header, frames=tuple(frames))


def _image(header: Header[bytes], change: Mutator, rng: random.Random) -> Header[bytes]:
    def other(frame: Frame[bytes]) -> Frame[bytes]:
        spec = frame.spec
        sides = [
            rng.choice((side, side - 1, side + 1, side // 2, 2 * side, rng.randint(1, 99)))
            for side in (spec.width, spec.height)
        ]
        mode = rng.choice(("", spec.mode, spec.mode, *MODES))
        if mode:
            return replace(frame, spec=ImageSpec.of(mode, *sides))
        bits = rng.choice((1, 8, 16, 32, 64, rng.randint(1, 64)))
        return replace(frame, spec=ImageSpec("", *sides, bits, rng.choice(list(SampleKind))))

    return _frame(header, rng, other)


def _method(header: Header[bytes], change: Mutator, rng: random.Random) -> Header[bytes]:
    """Another method, or the bands cut otherwise into segments."""

    def other(frame: Frame[bytes]) -> Frame[bytes]:
        segments = list(frame.segments)
        chosen = rng.randrange(len(segments))
        one = segments[chosen]
        first, count = one.bands
        if rng.random() < 0.5:
            method = rng.choice(list(Method))
            segments[chosen] = replace(one, method=method, tile_w=one.tile_w or 512 * method.is_tiled,
                                       tile_h=one.tile_h or 512 * method.is_tiled)  # fmt: skip
        elif count > 1:
            segments[chosen : chosen + 1] = [
                replace(one, bands=(first, 1)), replace(one, bands=(first + 1, count - 1))
            ]  # fmt: skip
        else:
            more = tuple(replace(one, bands=(first + k, 1)) for k in range(1, rng.randint(1, 9)))
            segments[chosen + 1 :] = more
        return replace(frame, segments=tuple(segments))

    return _frame(header, rng, other)


def _tiles(header: Header[bytes], change: Mutator, rng: random.Random) -> Header[bytes]:
    """Other tiles, with the payloads that are there in turn."""

    def other(frame: Frame[bytes]) -> Frame[bytes]:
        def cut(one: Segment[bytes]) -> Segment[bytes]:
            if not one.method.is_tiled:
                return one
            w, h = (rng.choice((1, 16, 32, 512, 513, rng.randint(1, 99))) for _ in range(2))
            empty = replace(one, chunks=(), tile_w=w, tile_h=h)
            columns, rows = empty.tile_counts(frame.spec)
            if columns * rows > 999:
                return one
            return replace(empty, chunks=tuple(one.chunks[i % len(one.chunks)] for i in range(columns * rows)))

        return replace(frame, segments=tuple(map(cut, frame.segments)))

    return _frame(header, rng, other)


def _metadata(header: Header[bytes], change: Mutator, rng: random.Random) -> Header[bytes]:
    table = dict(rng.choice((header, *header.frames)).metadata)
    kind = rng.choice(list(MetadataType))
    if rng.random() < 0.2:
        table.pop(kind, None)
    else:
        table[kind] = change(table.get(kind) or b"\0\3YXCabc", LARGEST)
    if rng.random() < 0.5:
        return replace(header, metadata=table)
    return _frame(header, rng, lambda frame: replace(frame, metadata=table))


def _frames(header: Header[bytes], change: Mutator, rng: random.Random) -> Header[bytes]:
    """Another order or number of frames, model or format."""
    what = rng.randrange(4)
    if what == 0:
        return replace(header, model=rng.choice((None, bytes(8), *(models.load(name).id for name in MODELS))))
    if what == 1:
        return replace(header, format=rng.choice(("ifl", "bsw")))
    if what == 2:
        return _frame(header, rng, lambda frame: replace(frame, duration=rng.choice((None, 0, rng.getrandbits(62)))))
    return replace(header, frames=tuple(rng.choices(header.frames, k=rng.randint(1, 3))))


_CHANGES = {
    "payload": _payload,
    "image": _image,
    "method": _method,
    "tiles": _tiles,
    "metadata": _metadata,
    "frames": _frames,
}
_KINDS = ("payload", "any", "body", "image", "method", "metadata", "frames", "tiles")
_SHALLOW = list(accumulate((5, 1, 2, 1, 1, 1, 1, 1)))
_DEEP = list(accumulate((40, 1, 1, 3, 1, 1, 1, 3)))
_TOLD = list(accumulate((9, 1, 1, 3, 2, 3, 1, 0)))
"""How often each of them is changed: everywhere; for targets that are about pixels; for arrays."""
_OVERWRITTEN = 0.7
"""Share of mutations of payloads that leave their size as it is."""


def changed(data: bytes, most: int, rng: random.Random) -> bytes:
    """A ``Mutator`` for where libFuzzer's own is not there: a few bytes set, taken out, put in, doubled."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        size = rng.choice((1, 1, 2, 4, rng.randint(0, 64)))
        what = rng.randrange(5)
        if what == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            out[at : at + size] = rng.randbytes(min(size, len(out) - at))
        elif what == 2:
            del out[at : at + size]
        elif what == 3:
            out[at:at] = rng.choice((rng.randbytes(size), b"\0" * size, b"\xff" * size))
        else:
            out[at:at] = out[at : at + size]
    return bytes(out[:most])


def stream(
    begin: list[bytes], seed: int, target: str = "container", seconds: list[float] | None = None
) -> Iterator[bytes]:
    """Ever new data for a target, files with right checksums: each a mutation or two away from one of ``begin``. Those
    that take longer, by their ``seconds`` or else by their size, are drawn less often, but all quick ones alike."""
    rng = random.Random(seed)
    costs = seconds or [20 + len(data) for data in begin]
    quick = max(statistics.median(costs) / 3, 1e-6)  # clocks of virtual machines have stood still
    weights = list(accumulate(1 / max(cost, quick) for cost in costs))
    often = {"container": _SHALLOW, "arrays": _TOLD}.get(target, _DEEP)
    bare = target in BARE
    while True:
        (before,) = rng.choices(begin, cum_weights=weights)
        data, is_sealed, refs = before, bare, [] if bare else _refs(before)
        for _ in range(rng.choice((1, 1, 1, 2))):
            if bare:
                data = changed(data, LARGEST, rng)
            elif refs and rng.random() * often[-1] < _OVERWRITTEN * often[0]:
                data, is_sealed = _overwritten(data, refs, rng), True
            else:
                data, is_sealed = _mutated(data, lambda one, most: changed(one, most, rng), rng, often)
                refs = []
        if data != before:
            yield data if is_sealed else seal(data)
