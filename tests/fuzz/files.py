"""Files to begin with, and other files made of them whose checksums are right.

A changed byte would end at the first checksum. So every input is sealed before it is read: ``seal`` makes the checksums
of header and chunks agree with what they cover. ``mutate`` changes one thing of a file as its layout has it, such as
a payload, a width or a table of metadata, and leaves the rest in order.
"""

from __future__ import annotations

import io
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from conftest import random_layers, save_models
from PIL import Image

from pil_neuralcodec import encode, models
from pil_neuralcodec.container import (
    CRC_SIZE,
    MODES,
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
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.metadata import Metadata, Text
from pil_neuralcodec.samples import Picture
from pil_neuralcodec.writer import encode_frames

Mutator = Callable[[bytes, int], bytes]
"""Changes bytes somehow, to at most so many."""

MODELS = ("tiny", "tiny-best", "tiny-patch", "tiny-latents")
LARGEST = 1 << 12
"""Bytes of a file."""


def save_all_models(folder: Path) -> None:
    """The small models of the tests, and "tiny-best", which has what they lack."""
    save_models(folder)
    best = PhotoArchitecture(8, ((1, 0, 0), (0, 0, 1)), 2, self_ensemble=True, backward_adaptation=True)
    models.save(folder / "tiny-best.safetensors", best, random_layers(best, 8))


def scene(shape: tuple[int, ...], dtype: str = "u1") -> np.ndarray:
    """Ramps with some noise."""
    y, x, rest = np.ogrid[: shape[0], : shape[1], : int(np.prod(shape[2:]))]
    values = 9 * y + 5 * x + 31 * rest + np.random.default_rng(7).integers(0, 9, (*shape[:2], rest.size))
    wide = 8 * np.dtype(dtype).itemsize - 8
    return (values % 251 << wide if wide else values % 251).astype(dtype).reshape(shape)


def _jpeg(pixels: np.ndarray, mode: str) -> np.ndarray:
    """What becomes of pixels in a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).resize((66, 80)).save(file, "JPEG", quality=85)
    return np.asarray(Image.open(file))


def seeds() -> dict[str, list[bytes]]:
    """Files by the target that begins with them; the models of ``save_all_models`` must be found."""
    colours, gray, deep = scene((20, 33, 3)), scene((20, 33)), scene((20, 33, 3), "u2")
    flat, few = np.full((40, 40, 3), 7, np.uint8), scene((40, 33, 3)) // 90 * 90
    set_of = np.stack([colours[:16, i : i + 16] for i in range(6)])
    photo, single = (_jpeg(scene((40, 33, 3)), mode) for mode in ("RGB", "L"))
    pasted = photo.copy()
    pasted[5:12, 9:20] = 255
    network = {"fallback": False}
    chains = {"format": "bsw", "model": "tiny-latents", **network}
    found = {
        "raw": [encode(gray.astype(t), fallback="raw") for t in ("u1", "u2", "i4", "f4")]
        + [encode(array, fallback="raw") for array in (gray > 99, deep)]
        + [encode(scene((9, 7, 5), "f8"), axes="YXC", fallback="raw")],
        "filtered": [encode(array, fallback="filtered") for array in (colours, few, deep, scene((20, 33, 1), "i8"))],
        "webp": [encode(array, fallback="webp") for array in (gray, colours, few, scene((20, 33, 4)))],
        "predictor": [encode(array, fallback="predictor") for array in (gray, colours, flat, scene((90, 80, 4)))],
        "jpeg": [encode(array, fallback="jpeg") for array in (photo, single, pasted)],
        "photo": [
            encode(array, model=model, **network)
            for model in ("tiny", "tiny-best")
            for array in (gray, colours, deep, photo, scene((600, 5)), colours[:1, :1])
        ],
        "patch": [encode(array, model="tiny-patch", axes=axes, **network)
                  for array, axes in ((set_of, "NYXC"), (set_of[..., 0].copy(), "ZYX"), (colours, "YXC"))]
        + [encode(np.concatenate([set_of] * 12), model="tiny-patch", axes="NYXC", **network)],
        "bitswap": [
            encode(array, ordering=ordering, **chains)
            for ordering in ("bit-swap", "bb-ans")
            for array in (gray, colours, scene((40, 60, 3)))
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
    rng = random.Random(seed)
    header = opened(seal(data))
    if header is None or rng.random() < 0.1:
        return change(data, LARGEST)
    kind = rng.choice(("payload",) * 5 + ("body",) * 2 + ("image", "method", "metadata", "frames", "tiles"))
    if kind == "body":
        start = 9 + 1 + (header_size(data[:64]) > 9 + 1 + CRC_SIZE + 127)
        size = header_size(data[:64]) - CRC_SIZE
        body = change(data[start:size], LARGEST)
        return data[:9] + _varint(len(body)) + body + bytes(CRC_SIZE) + data[size + CRC_SIZE :]
    try:
        return write(_CHANGES[kind](header, change, rng))[: 4 * LARGEST]
    except (ValueError, OSError):  # not a file that can be written
        return change(data, LARGEST)


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


def stream(begin: list[bytes], seed: int) -> Iterator[bytes]:
    """Ever new files: each a few mutations away from one of ``begin``."""
    rng = random.Random(seed)
    while True:
        data = rng.choice(begin)
        for _ in range(rng.choice((1, 1, 2, 3))):
            data = mutate(seal(data), lambda one, most: changed(one, most, rng), rng.getrandbits(32))
        yield data
