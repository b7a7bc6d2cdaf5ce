"""Samples of 16 bits through the photo flow: what networks see, mixtures that end at both ends, exact inverses."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
from conftest import decode_image, encode_image
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_flow import ARCH, random_layers

from pil_neuralcodec import decode, encode, read_info
from pil_neuralcodec.coders.logistic import LogisticMixture, mixture_weights
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.flow.range_mapping import MAPPED_VALUES, RangeMapping
from pil_neuralcodec.flow.sample_table import pack_flags, unpack_flags
from pil_neuralcodec.flow.tile import TileCoder, checked_levels
from pil_neuralcodec.nets.backends import open_network

KINDS = ("noise", "dark", "spots", "comb", "two", "flat", "clipped", "narrow", "ramp")


def content(kind: str, height: int, width: int, bands: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = height, width, bands
    noise = rng.normal(0, 1, shape)
    y, x = np.mgrid[:height, :width]
    samples = {
        "noise": rng.integers(0, 65536, shape),
        "dark": 100 + rng.poisson(30, shape),
        "spots": np.where(rng.random(shape) < 0.02, rng.integers(0, 65536, shape), 200 + 5 * noise),
        "comb": 16 * rng.integers(0, 4096, shape),
        "two": rng.integers(0, 2, shape) * 65535,
        "flat": np.full(shape, seed % 65536),
        "clipped": 30000 + 30000 * noise,
        "narrow": 40000 + 3 * noise,
        "ramp": np.broadcast_to((257 * (x + y))[..., None] % 65536, shape),
    }[kind]
    return np.clip(samples, 0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def network() -> Any:
    return open_network(random_layers(ARCH), "numpy")


@given(kind=st.sampled_from(KINDS), size=st.integers(1, 60), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_indices_come_back_as_their_samples(kind: str, size: int, seed: int) -> None:
    samples = content(kind, size, size, 1, seed)
    mapping = RangeMapping.of(samples)
    packed = mapping.pack()
    again, end = RangeMapping.unpack(memoryview(packed + b"behind"))
    assert end == len(packed)
    indices = again.indices(samples)
    assert indices.min() == 0 and indices.max() == again.top
    assert np.array_equal(again.samples(indices), samples)
    seen = again.mapped(np.arange(again.top + 1))
    assert seen.min() >= 0 and seen.max() < MAPPED_VALUES and (np.diff(seen) >= 0).all()
    # As many indices have the same mapped value as the gain says.
    assert abs(int((seen == seen[-1]).sum()) - again.gain / 256) <= 1
    assert abs(2 ** (again.log_gain / 16) - again.gain / 256) <= again.gain / 256 * 0.045 + 1 / 256


@pytest.mark.parametrize("kind", ["comb", "spots", "dark", "two", "noise", "stretch"])
def test_the_table_is_about_as_small_as_by_zlib(kind: str) -> None:
    samples = content("noise" if kind == "stretch" else kind, 200, 200, 1, 0).reshape(-1)
    if kind == "stretch":
        samples = (samples % 5000 * 3.3).astype(np.uint16)
    present = np.bincount(samples - samples.min()) > 0
    packed = pack_flags(present)
    assert np.array_equal(unpack_flags(memoryview(packed), len(present)), present)
    assert len(packed) <= 1.05 * len(zlib.compress(np.packbits(present).tobytes(), 9)) + 24


def test_ranks_are_used_where_values_are_missing() -> None:
    assert RangeMapping.of(content("comb", 300, 300, 1, 0)).top < 4096
    assert RangeMapping.of(content("spots", 200, 200, 1, 0)).top < 1200
    assert RangeMapping.of(content("dark", 300, 300, 1, 0)).present is None


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\0\0\0\0",
        b"\0\0\0\0\2",
        b"\1\0\xff\xff\0",
        b"\0\0\3\0\1",
        b"\0\0\3\0\1\3abc",
        b"\0\0\3\0\1\x09x\x9c\x03\0\0",
    ],
)
def test_damaged_mappings_are_refused(damage: bytes) -> None:
    with pytest.raises(FormatError):
        RangeMapping.unpack(memoryview(damage))


@given(seed=st.integers(0, 2**32), values=st.sampled_from([1, 2, 3, 4, 255, 256, 1000, 4097, 65536]))
@settings(deadline=None)
def test_clipped_mixtures_cover_their_values(seed: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    k, n = int(rng.integers(1, 6)), 64
    centres = rng.integers(-(values << 6), values << 7, (k, n))
    mixture = LogisticMixture(
        mixture_weights(rng.integers(-400, 400, (k, n))), centres, rng.integers(-100, 300, (k, n)), values, clipped=True
    )
    chosen = (rng.random(n) * values).astype(np.int64)
    chosen[:2] = 0, values - 1
    symbols, wide, rest = mixture.split(chosen)
    start, freq = mixture.intervals(symbols)
    assert (freq >= 1).all() and (start >= 0).all() and (start + freq <= 1 << 24).all()
    found, found_start, found_freq = mixture.find(
        (start + (rng.random(n) * freq).astype(np.int64)).astype(np.uint64), 0, n
    )
    assert np.array_equal(found, symbols) and np.array_equal(found_start, start) and np.array_equal(found_freq, freq)
    back = mixture.first(found)
    assert np.array_equal(mixture.wide(found), wide)
    assert (rest < 1 << mixture.shift[wide]).all()
    back[wide] += rest
    assert np.array_equal(back, chosen)
    if values > 2:  # both ends are symbols of their own
        assert not wide[:2].any()


@example(kind="comb", height=40, width=33, bands=3, seed=0)
@example(kind="two", height=1, width=1, bands=3, seed=0)
@example(kind="spots", height=5, width=40, bands=1, seed=0)
@given(
    kind=st.sampled_from(KINDS),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    bands=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=12, deadline=None)
def test_round_trip(network: Any, kind: str, height: int, width: int, bands: int, seed: int) -> None:
    tiles = np.stack([content(kind, height, width, bands, seed), content("noise", height, width, bands, seed)])
    coder = TileCoder(ARCH, network)
    checked = checked_levels(height, width)
    payloads = coder.encode(tiles, checked)
    assert payloads == [coder.encode(tile[None], checked)[0] for tile in tiles]  # whatever the batch
    for level in range(checked):
        found = coder.decode(payloads, (height, width, bands), checked, level, np.uint16)
        assert found.dtype == np.uint16 and np.array_equal(found, tiles[:, :: 1 << level, :: 1 << level])


@pytest.mark.parametrize("bands", [1, 3])
def test_tiles_and_levels(network: Any, bands: int) -> None:
    pixels = content("ramp", 130, 530, bands, 0) // 7
    tile, chunks = encode_image(pixels, network, ARCH)
    for level in (0, 2):
        found = decode_image(chunks, pixels.shape, tile, network, ARCH, level=level, dtype=np.uint16)
        assert np.array_equal(found, pixels[:: 1 << level, :: 1 << level])


def test_no_flipped_bit_goes_unnoticed(network: Any) -> None:
    pixels = content("two", 6, 5, 1, 3)
    coder = TileCoder(ARCH, network)
    [payload] = coder.encode(pixels[None])
    assert payload[4] == 1  # with a table of samples
    for bit in range(8 * len(payload)):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = coder.decode([bytes(damaged)], (6, 5, 1), dtype=np.uint16)
        except FormatError:
            continue
        assert np.array_equal(found[0], pixels)
    for end in range(len(payload)):
        with pytest.raises(FormatError):
            coder.decode([payload[:end]], (6, 5, 1), dtype=np.uint16)


@pytest.mark.parametrize("dtype", ["u2", ">u2", "i2", ">i2", "i1"])
@pytest.mark.parametrize("shape", [(40, 50), (45, 33, 3), (3, 20, 21, 2)])
def test_arrays_of_the_type_go_through_networks(tiny: str, dtype: str, shape: tuple[int, ...]) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    array = np.clip(np.random.default_rng(1).normal(0, 9, shape).cumsum(axis=1), low, high).astype(dtype)
    axes = {2: "YX", 3: "YXC", 4: "NYXC"}[len(shape)]
    data = encode(array, axes=axes, model=tiny, fallback=False)
    assert {*read_info(data).methods} == {"photo"}
    found = decode(data)
    assert found.dtype == array.dtype and np.array_equal(found, array)
    assert data == encode(array, axes=axes, model=tiny, fallback=False, device="numpy")


def test_noise_costs_what_it_holds() -> None:
    """Far beyond eight bits the low bits are split off, and cost no more than they are."""
    pixels = content("noise", 128, 128, 1, 0)
    assert len(encode(pixels, model="photo", fallback=False)) < 1.05 * pixels.nbytes


def test_noise_below_a_mapped_value_is_coded_nearly_as_tightly_as_it_can_be() -> None:
    """A flat scene of 12 bits, noise of known entropy, all of it smaller than the step of mapped values."""
    rng = np.random.default_rng(0)
    pixels = np.clip(np.rint(600 + 6 * rng.normal(0, 1, (256, 256))), 0, 4095).astype(np.uint16)
    pixels[:2] = 4095 * rng.integers(0, 2, (2, 256))  # the range of a brighter scene
    entropy = np.log2(6 * np.sqrt(2 * np.pi * np.e))
    assert 8 * len(encode(pixels, model="photo", fallback=False)) / pixels.size < 1.06 * entropy
