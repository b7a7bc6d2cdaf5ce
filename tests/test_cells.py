"""Cells of unequal widths: found where contrast was lowered, the same by every engine, and worth their bytes."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from golden import lowered
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

import pil_neuralcodec as nc
from pil_neuralcodec import native
from pil_neuralcodec.coders.logistic import LogisticMixture, compiled_tables
from pil_neuralcodec.coders.symbols import SymbolSink
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.container import ChunkRef, Segment, read_header
from pil_neuralcodec.flow.cells import find_cells, pack_cells, unpack_cells
from pil_neuralcodec.reader import Reader


def photograph() -> np.ndarray:
    return np.ascontiguousarray(data.coffee()[60:360, 120:420])


def segment_of(payload: bytes) -> Segment[ChunkRef]:
    return read_header(io.BytesIO(payload)).frames[0].segments[0]


@pytest.mark.parametrize("model", ["photo", "photo-fast", "bitswap"])
@pytest.mark.parametrize("bands", [1, 3])
def test_lowered_contrast(model: str, bands: int) -> None:
    pixels = lowered(photograph() if bands == 3 else np.asarray(Image.fromarray(photograph()).convert("L")))
    format = "bsw" if model == "bitswap" else "ifl"
    told, plain = (nc.encode(pixels, format, model=model, past=past) for past in (True, False))
    assert len(segment_of(told).cells) == bands
    assert segment_of(plain).cells == ()
    assert len(told) < 0.995 * len(plain)
    assert np.array_equal(nc.decode(told), pixels)
    reader = Reader(io.BytesIO(told))
    for level in range(1, reader.max_level() + 1):
        coarse = pixels[:: 1 << level, :: 1 << level]
        assert np.array_equal(reader.frame(level=level).reshape(coarse.shape), coarse)


@pytest.mark.parametrize("format", ["ifl", "bsw"])
def test_gray_of_a_conversion(format: str) -> None:
    """Luma of PhotoCD lies closer than the gray levels made of it."""
    made = conversion(Past.PHOTOCD).to_rgb(conversion(Past.PHOTOCD).to_planes(photograph()))
    gray = np.asarray(Image.fromarray(made).convert("L"))
    told, plain = (nc.encode(gray, format, past=past) for past in (True, False))
    assert segment_of(told).cells
    assert len(told) < 0.995 * len(plain)
    assert np.array_equal(nc.decode(told), gray)


@pytest.mark.parametrize(
    "pixels",
    [
        photograph(),
        photograph()[:40, :50],
        lowered(photograph())[:2, :9],
        np.full((40, 50, 3), 7, np.uint8),
        np.zeros((1, 1, 1), np.uint8),
        np.random.default_rng(1).integers(0, 2, (200, 200, 1), np.uint8),
        np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8),
    ],
    ids=["photograph", "small", "smallest", "flat", "pixel", "flags", "noise"],
)
def test_where_cells_are_even(pixels: np.ndarray) -> None:
    assert find_cells(pixels) is None


@pytest.mark.parametrize("model", ["photo-fast", "bitswap"])
def test_conversions_come_first(model: str) -> None:
    pixels = lowered(conversion(Past.BT601).to_rgb(conversion(Past.BT601).to_planes(photograph())) // 2)
    made = conversion(Past.JPEG).to_rgb(conversion(Past.JPEG).to_planes(pixels))
    payload = nc.encode(made, "bsw" if model == "bitswap" else "ifl", model=model, fallback=False)
    assert segment_of(payload).cells == ()
    assert np.array_equal(nc.decode(payload), made)


def test_packed() -> None:
    cells = find_cells(lowered(photograph()))
    assert cells is not None
    assert cells.shape == (3, 257) and (np.diff(cells) > -64).all() and np.abs(cells).max() < 64
    green, red, blue = (band.astype(np.int8).tobytes() for band in cells[:, 1:-1])
    assert pack_cells(cells) == (red, green, blue)
    assert np.array_equal(unpack_cells(pack_cells(cells)), cells)
    assert np.array_equal(unpack_cells(pack_cells(cells[:1])), cells[:1])
    assert pack_cells(None) == () and unpack_cells(()) is None


class Sink(SymbolSink):
    def put(self, start: np.ndarray, freq: np.ndarray, bits: int) -> None:
        self.found = start.astype(np.int64), freq.astype(np.int64)

    def put_uniform(self, digits: np.ndarray, radix: np.ndarray | int) -> None:
        assert len(digits) == 0


def rising(seed: int, most: int) -> np.ndarray:
    """Moves of edges that rise, from 0 to 256."""
    rng = np.random.default_rng(seed)
    edges = 64 * np.arange(257) + rng.integers(-most, most + 1, 257)
    edges[[0, 256]] = 0, 256 * 64
    edges = np.maximum.accumulate(np.minimum(edges, 256 * 64) - np.arange(257)) + np.arange(257)
    edges[256] = 256 * 64
    moves = edges - 64 * np.arange(257)
    return moves.astype(np.int32)


@pytest.mark.skipif(native.fastest() is None, reason="there is no compiled core")
@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 70), st.sampled_from([0, 1, 20, 31]))
def test_every_engine(seed: int, parts: int, count: int, most: int) -> None:
    """Intervals tile the range of slots, and are those of numpy."""
    rng = np.random.default_rng(seed)
    weights = np.ascontiguousarray(rng.multinomial(1 << 16, np.full(parts, 1 / parts), count).T, np.int32)
    centres = rng.integers(-2000, 18000, (parts, count)).astype(np.int32)
    scales = rng.integers(-90, 140, (parts, count)).astype(np.int32)
    cells = rising(seed, most)
    plain = LogisticMixture(weights, centres, scales, 256, whole=True, cells=cells)
    edges = np.stack([plain.lower(np.full(count, value)) for value in range(257)])
    assert (np.diff(edges, axis=0) > 0).all()
    values = rng.integers(0, 256, count)
    for name in native.instruction_sets():
        tables = compiled_tables(native.kernels(name))
        compiled = tables.mixtures(weights, centres, scales, 256, False, True, cells=cells)
        start, freq, *_ = compiled.code(values)
        assert np.array_equal(start, edges[values, np.arange(count)])
        assert np.array_equal(start.astype(np.int64) + freq, edges[values + 1, np.arange(count)])
    slots = rng.integers(0, 1 << 24, count)
    symbols, begin, width = plain.find(slots, 0, count)
    assert ((begin <= slots) & (slots < begin + width)).all()
    assert np.array_equal(begin, edges[symbols, np.arange(count)])


@pytest.mark.skipif(native.fastest() is None, reason="there is no compiled core")
@pytest.mark.parametrize(
    "change",
    [lambda m: m.__setitem__(0, 1), lambda m: m.__setitem__(256, -1), lambda m: m.__setitem__(9, 64),
     lambda m: m.__setitem__(slice(9, 11), (40, -24))],
)  # fmt: skip
def test_edges_that_do_not_rise(change: Callable[[np.ndarray], None]) -> None:
    kernels = native.fastest()
    assert kernels is not None
    moves = np.zeros(257, np.int32)
    change(moves)
    one = np.zeros((1, 1), np.int32)
    with pytest.raises(ValueError, match="edges of cells rise"):
        compiled_tables(kernels).mixtures(one + 65536, one, one, 256, False, True, cells=moves)
    with pytest.raises(ValueError, match="257 edges"):
        compiled_tables(kernels).mixtures(one + 65536, one, one, 256, False, True, cells=moves[1:].copy())
    with pytest.raises(ValueError, match="whole values"):
        compiled_tables(kernels).mixtures(one + 65536, one, one, 300, False, True, cells=np.zeros(257, np.int32))
