"""Samples of 8 bits as ranks among those that occur."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import golden
import numpy as np
import pytest
from golden import stretched
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageEnhance, ImageOps
from skimage import data

import pil_neuralcodec as nc
from pil_neuralcodec import container, ranks
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.container import Header, Method, Segment, read_header
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.reader import Reader


def photograph() -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(data.coffee()[60:290, 120:420]))


def occurring(table: bytes) -> list[int]:
    """The samples that a table says occur."""
    return [v for v in range(256) if table[1 + v // 8] >> v % 8 & 1]


def occurs_what_does(tables: ranks.Tables, samples: np.ndarray) -> bool:
    """Whether tables tell the samples (..., B) that occur, in each band or in any, and the lowest or the highest are
    their own ranks."""
    found = list(map(occurring, tables))
    firsts = [table[0] for table in tables]
    assert firsts in ([min(one) for one in found], [max(one) + 1 - len(one) for one in found])
    own = [np.unique(band).tolist() for band in np.moveaxis(samples, -1, 0)]
    return found in (own, [np.unique(samples).tolist()] * len(tables))


def header_of(payload: bytes) -> Header[container.ChunkRef]:
    return read_header(io.BytesIO(payload))


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(1.25),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "equalised": ImageOps.equalize,
    "gamma": lambda image: image.point([round(255 * (v / 255) ** 0.6) for v in range(256)] * 3),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_photographs_are_smaller(edit: str) -> None:
    image = EDITS[edit](photograph())
    pixels = np.asarray(image)
    ranked, plain = (nc.encode(pixels, model="photo-fast", past=past) for past in (True, False))
    (segment,) = header_of(ranked).frames[0].segments
    assert segment.method is Method.PHOTO
    assert occurs_what_does(segment.ranks, pixels)
    assert header_of(plain).frames[0].segments[0].ranks == ()
    assert len(ranked) < 0.97 * len(plain)
    for payload in (ranked, plain):
        assert np.array_equal(nc.decode(payload), pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.asarray(photograph()),
        np.asarray(photograph())[:40, :50],
        stretched(np.asarray(photograph()))[:6, :7],
        np.full((40, 50, 3), 7, np.uint8),
        np.zeros((1, 1, 1), np.uint8),
        np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8),
    ],
    ids=["photograph", "small", "smallest", "flat", "pixel", "noise"],
)
def test_where_ranks_gain_nothing(pixels: np.ndarray) -> None:
    assert ranks.worthwhile(pixels) == ()


@pytest.mark.parametrize("past", [Past.BT601, Past.BT709, Past.OPENCV601])
def test_gaps_of_a_conversion(past: Past) -> None:
    """Of limited range, which leaves gaps where the colours are gray. It is undone instead."""
    gray = np.asarray(photograph().convert("L"))
    pixels = conversion(past).to_rgb(np.dstack([gray // 40 * 2 + gray // 2 + 16, gray // 2 + 16, gray // 2 + 16]))
    assert ranks.worthwhile(pixels)
    payload = nc.encode(pixels, model="photo-fast", fallback=False)
    assert header_of(payload).frames[0].segments[0].ranks == ()
    assert np.array_equal(nc.decode(payload), pixels)


def test_one_band_of_three() -> None:
    pixels = np.asarray(photograph()).copy()
    pixels[..., 2] = stretched(pixels[..., 2])
    assert occurs_what_does(ranks.worthwhile(pixels), pixels)
    assert np.array_equal(nc.decode(nc.encode(pixels, model="photo-fast", fallback=False)), pixels)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ("gray", {"model": "photo-fast"}),
        ("rgba", {"model": "photo-fast"}),
        ("signed", {"model": "photo-fast", "axes": "YX"}),
        ("rgb", {"format": "bsw"}),
        ("rgb", {"model": "patch"}),
        ("stack", {"model": "photo-fast", "axes": "ZYX"}),
    ],
)
def test_round_trips(shape: str, options: dict[str, Any]) -> None:
    colours = stretched(np.asarray(photograph())[:120, :140])
    array = {
        "rgb": colours,
        "gray": np.ascontiguousarray(colours[..., 1]),
        "rgba": np.dstack([colours, colours[::-1, :, 0]]),
        "signed": (colours[..., 1] ^ 128).view(np.int8),
        "stack": np.ascontiguousarray(np.moveaxis(colours, 2, 0)),
    }[shape]
    payload = nc.encode(array, fallback=False, **options)
    assert all(segment.ranks for segment in header_of(payload).frames[0].segments)
    assert np.array_equal(nc.decode(payload), array)


def test_bands_that_were_edited_alike_have_one_table() -> None:
    """So gray stays gray, though its darkest red is lighter than its darkest green."""
    pixels = np.maximum(np.asarray(photograph()), (60, 10, 30)).astype(np.uint8)
    tables = ranks.worthwhile(stretched(pixels))
    assert len(set(tables)) == 1
    assert np.array_equal(np.ptp(ranks.to_ranks(stretched(pixels), tables), axis=2), np.ptp(np.minimum(pixels, 204), 2))


@pytest.mark.parametrize("factor", [1.1, 1.25, 1.6])
def test_darkened(factor: float) -> None:
    before = np.maximum(np.asarray(photograph()), 23)
    edited = np.asarray(ImageEnhance.Brightness(Image.fromarray(before)).enhance(factor))
    found = ranks.to_ranks(edited, ranks.darkened(ranks.worthwhile(edited)))
    assert np.array_equal(found[edited < 255], before[edited < 255])


def test_a_converted_photograph_that_was_edited() -> None:
    """Ranks lie on the lattice of the conversion, wherever they begin, so it is undone."""
    pixels = conversion(Past.JPEG).to_rgb(conversion(Past.JPEG).to_planes(np.asarray(photograph())))
    edited = stretched(pixels)
    small, plain = (len(nc.encode(edited, model="photo-fast", past=past)) for past in (True, False))
    assert small < 0.8 * plain


@pytest.mark.parametrize("gray", [False, True])
def test_a_jpeg_file_that_was_brightened(gray: bool) -> None:
    """Its coefficients are found in the ranks."""
    pixels = stretched(np.asarray(golden.was_jpeg((1, 1), 80, gray=gray, dark=True)))
    payload = nc.encode(pixels)
    (segment,) = header_of(payload).frames[0].segments
    assert segment.method is Method.JPEG and segment.ranks
    assert len(payload) < 0.7 * len(nc.encode(pixels, fallback=False))
    assert np.array_equal(nc.decode(payload), pixels)
    with Image.open(io.BytesIO(payload)) as opened:
        opened.thumbnail((40, 32))
        wanted = Image.fromarray(pixels)
        wanted.thumbnail((40, 32))
        assert np.abs(np.asarray(opened).astype(int) - np.asarray(wanted)).mean() < 3


def test_regions_and_coarse_levels() -> None:
    pixels = stretched(np.asarray(photograph()))
    payload = nc.encode(pixels, model="photo-fast", fallback=False)
    assert np.array_equal(nc.decode(payload, region=(20, 30, 99, 77)), pixels[30:77, 20:99])
    reader = Reader(io.BytesIO(payload))
    for level in range(1, reader.max_level() + 1):
        assert np.array_equal(reader.frame(level=level), pixels[:: 1 << level, :: 1 << level])


samples = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)))


@given(samples, st.binary(min_size=96, max_size=96), st.integers(0, 255))
def test_ranks_and_back(array: np.ndarray, more: bytes, first: int) -> None:
    """Tables of the samples that occur, and of others besides, with ranks from anywhere on."""
    for others in (bytes(96), more):
        tables = []
        for band in range(array.shape[2]):
            bits = int.from_bytes(others[32 * band : 32 * band + 32], "little")
            for sample in array[..., band].reshape(-1).tolist():
                bits |= 1 << sample
            tables.append(bytes([min(first, 256 - bits.bit_count())]) + bits.to_bytes(32, "little"))
        found = ranks.to_ranks(array, tuple(tables))
        for band, table in enumerate(tables):
            assert np.array_equal(found[..., band], table[0] + np.searchsorted(occurring(table), array[..., band]))
        assert np.array_equal(ranks.from_ranks(found, tuple(tables)), array)


@pytest.mark.parametrize("rank", [0, 6, 10, 255])
def test_ranks_that_no_sample_has(rank: int) -> None:
    table = bytes([7, 0b10101, *bytes(31)])
    assert ranks.from_ranks(np.array([[7, 8, 9]], np.uint8).T, (table,)).T.tolist() == [[0, 2, 4]]
    with pytest.raises(FormatError, match="a rank beyond the 3 samples that occur"):
        ranks.from_ranks(np.full((1, 1), rank, np.uint8), (table,))


def test_samples_that_were_limited_keep_their_place() -> None:
    """255 of a photograph that was brightened, 0 of one whose contrast was raised in the dark."""
    pixels = np.asarray(photograph())
    bright, dark = stretched(pixels // 2 + 120), stretched(np.maximum(pixels, 99) - 99)
    assert ranks.to_ranks(bright, ranks.worthwhile(bright)).max() == 255
    assert ranks.to_ranks(dark, ranks.worthwhile(dark)).min() == 0


def rewritten(payload: bytes, change: Callable[[Segment[bytes]], Segment[bytes]]) -> bytes:
    """The file with its first segment changed, and right checksums."""
    header = header_of(payload)
    file = io.BytesIO(payload)
    (frame,) = header.frames
    first, *rest = (
        replace(segment, chunks=tuple(container.read_chunk(file, ref) for ref in segment.chunks))  # type: ignore[misc]
        for segment in frame.segments
    )
    segments: Any = (change(first), *rest)  # type: ignore[arg-type]
    return container.write(Header((replace(frame, segments=segments),), header.model, format=header.format))


def test_ranks_beyond_the_samples_that_occur() -> None:
    """What a hostile writer could do: right checksums, and a table that is too short. No pixel is made up."""
    pixels = stretched(np.asarray(photograph())[:60, :70])
    payload = nc.encode(pixels, model="photo-fast", fallback=False)
    short = bytes([0, 255, *bytes(31)])
    bad = rewritten(payload, lambda segment: replace(segment, ranks=(short, *segment.ranks[1:])))
    with pytest.raises(FormatError, match="a rank beyond the 8 samples that occur"):
        nc.decode(bad)
    assert not Reader(io.BytesIO(bad)).frame(keep_going=True).any()


@pytest.mark.parametrize("dtype", ["u1", "i1"])
def test_what_is_damaged_stays_zero(dtype: str) -> None:
    """Not the lowest sample that occurs, which rank 0 is."""
    gray = np.maximum(stretched(np.asarray(photograph())[..., 1]), 20)
    if dtype == "i1":
        gray = (gray ^ 128).view(dtype)
    payload = nc.encode(gray, model="photo-fast", fallback=False, axes="YX")
    assert header_of(payload).frames[0].segments[0].ranks
    damaged = payload[:-9] + bytes([payload[-9] ^ 1]) + payload[-8:]
    assert not Reader(io.BytesIO(damaged)).frame(keep_going=True).any()
