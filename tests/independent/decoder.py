"""A file to values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bitswap import decode_bitswap
from .chain import Chain, decode_chunk
from .container import BITSWAP, PATCH, PHOTO, SIGNED, Image, Segment, read_file
from .direct import decode_direct
from .network import find_model
from .numbers import check
from .patch import decode_patch
from .photo import decode_tile
from .samples import from_sheet, values

AXES = 8


@dataclass(frozen=True)
class Decoded:
    """A frame: ``values`` are row by row, bands side by side; of an array with axes in C order of its own axes."""

    image: Image
    duration: int | None
    metadata: dict[int, Any]
    values: list[int] | list[float]


def decode(data: bytes, models: Path) -> list[Decoded]:
    """All frames of a file. ``models`` is the folder in which the file's model lies."""
    file = read_file(data)
    frames = []
    for frame in file.frames:
        image = frame.image
        parts = [(segment.bands, _segment(segment, image, file.model, models)) for segment in frame.segments]
        stored = []
        for pixel in range(image.width * image.height):
            for bands, samples in parts:
                stored += samples[pixel * bands : (pixel + 1) * bands]
        found = values(stored, image)
        if AXES in frame.metadata:
            check(len(file.frames) == 1 and not image.mode, "axes are of an only frame without a mode")
            letters, sizes, _, _ = frame.metadata[AXES]
            found = from_sheet(found, letters, sizes)
        frames.append(Decoded(image, frame.duration, frame.metadata, found))
    return frames


def _segment(segment: Segment, image: Image, model: bytes | None, models: Path) -> list[int]:
    """Stored samples."""
    size, shape = image.word_size, (image.height, image.width, segment.bands)
    if segment.method < PHOTO:
        (payload,) = segment.payloads
        return decode_direct(segment.method, payload, shape, size)
    check(model is not None, "a model is missing")
    found = find_model(models, model or b"")
    check(size in (1, 2) and segment.bands in (1, 3), "no network codes such samples")
    check(found.kind == {PHOTO: "photo", PATCH: "patch", BITSWAP: "bitswap"}[segment.method], "another kind of model")
    check(segment.method == PATCH or max(segment.tile) <= 512, "a tile is too large")

    def decode_planes(chain: Chain, shape: tuple[int, int, int]) -> list[list[list[int]]]:
        if segment.method == PATCH:
            return decode_patch(chain, shape, found)
        return decode_bitswap(chain, shape, found, segment.cells)

    samples = [0] * (shape[0] * shape[1] * shape[2])
    for (left, top, right, bottom), payload in zip(segment.boxes, segment.payloads, strict=True):
        sides = bottom - top, right - left, segment.bands
        if segment.method == PHOTO:
            part = decode_tile(payload, sides, segment.tile, size, found, segment.cells)
        else:
            check(size == 1, "chains are of samples of 8 bits")
            part = decode_chunk(payload, sides, decode_planes, segment.method == BITSWAP)
        row = (right - left) * segment.bands
        for y in range(top, bottom):
            begin = (y * image.width + left) * segment.bands
            samples[begin : begin + row] = part[(y - top) * row : (y - top + 1) * row]
    if segment.meanings:
        of = [segment.meanings[at % segment.bands] for at in range(len(samples))]
        check(all(rank in table for rank, table in zip(samples, of, strict=True)), "a rank that no sample has")
        samples = [table[rank] for rank, table in zip(samples, of, strict=True)]
    if image.kind == SIGNED:
        samples = [sample ^ 1 << 8 * size - 1 for sample in samples]
    return samples
