"""Colour conversions, undone and made again: exact for every colour, recognised, and refused where damaged."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from conftest import random_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from pil_neuralcodec import decode, encode
from pil_neuralcodec.coders.static import get_numbers, put_numbers
from pil_neuralcodec.coders.stream import SymbolReader, SymbolWriter
from pil_neuralcodec.colour.conversions import Past, conversion
from pil_neuralcodec.colour.exceptions import apply_exceptions, pack_exceptions
from pil_neuralcodec.colour.past import ColourHeader, find_past, undo
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.flow.tile import TileCoder
from pil_neuralcodec.nets.backends import open_network
from pil_neuralcodec.numcodecs import Ifl
from pil_neuralcodec.reader import Reader

PASTS = [past for past in Past if past is not Past.NONE]
TOOLS = {Past.BT601: 0xF82D4F9B, Past.BT709: 0x9247C79F, Past.FULL601: 0x080D9156, Past.OPENCV601: 0xC5F115A3}
"""CRC-32 of what libswscale 9.5 (PyAV 18.1, yuv420p and yuvj420p to rgb24) and OpenCV 5.0 (COLOR_YUV2RGB_I420) make of
``_grid``."""
ARCH = PhotoArchitecture(width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2)


def _grid() -> np.ndarray:
    """Planes of lumas and chromas, uint8 (n, 3)."""
    y, u, v = np.meshgrid(np.arange(16, 236, 3), *[np.arange(64, 192, 3)] * 2, indexing="ij")
    planes = np.stack([y + v - 128, y, y + u - 128], axis=-1).reshape(-1, 3)
    inside = ((planes >= 0) & (planes < 256)).all(axis=1)
    return planes[inside].astype(np.uint8)


def _jpeg(photograph: np.ndarray, quality: int = 92) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(photograph).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _made(past: Past) -> np.ndarray:
    """A photograph that came out of a conversion, uint8 (h, w, 3)."""
    return conversion(past).to_rgb(np.ascontiguousarray(data.coffee()[100:228, 200:360] // 2 + 50))


@pytest.mark.parametrize("past", TOOLS)
def test_conversions_are_those_of_the_tools(past: Past) -> None:
    assert zlib.crc32(conversion(past).to_rgb(_grid()).tobytes()) == TOOLS[past]


def test_conversion_is_that_of_libjpeg() -> None:
    file = io.BytesIO()
    Image.fromarray(data.coffee()).save(file, "JPEG", quality=80)
    rgb = np.asarray(Image.open(file))
    image = Image.open(file)
    image.draft("YCbCr", image.size)
    y, cb, cr = np.moveaxis(np.asarray(image).astype(int), 2, 0)
    assert image.mode == "YCbCr"
    planes = np.stack([y + cr - 128, y, y + cb - 128], axis=2)
    inside = ((planes >= 0) & (planes < 256)).all(axis=2)
    assert inside.mean() > 0.99
    assert np.array_equal(conversion(Past.JPEG).to_rgb(planes[inside].astype(np.uint8)), rgb[inside])


@pytest.mark.parametrize("past", PASTS)
def test_every_colour_that_has_planes_comes_back_from_them(past: Past) -> None:
    packed = np.arange(past, 1 << 24, 127)
    planes = (packed[:, None] >> (16, 8, 0)).astype(np.uint8)
    rgb = conversion(past).to_rgb(planes)
    assert np.array_equal(conversion(past).to_rgb(conversion(past).to_planes(rgb)), rgb)


@pytest.mark.parametrize("past", PASTS)
def test_every_colour_comes_back_with_its_exception(past: Past) -> None:
    packed = np.arange(past, 1 << 24, 509)[: 128 * 256].reshape(128, 256)
    rgb = (packed[..., None] >> (16, 8, 0)).astype(np.uint8)
    planes = conversion(past).to_planes(rgb)
    made = conversion(past).to_rgb(planes)
    assert (rgb != made).any(axis=2).mean() > 0.5
    assert int(abs(rgb.astype(int) - made).max()) <= 8
    assert np.array_equal(ColourHeader(past, pack_exceptions(rgb, made)).rgb(planes), rgb)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(PASTS),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["noise", "clipped", "one", "far"]),
    st.integers(0, 99),
)
def test_any_image_comes_back_at_every_level(past: Past, height: int, width: int, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "clipped":
        rgb = np.where(rgb < 128, rgb // 128 * 255, rgb).astype(np.uint8)
    elif kind == "one":
        rgb = conversion(past).to_rgb(rgb)
        rgb[height // 2, width // 2] ^= 1
    planes = rng.integers(0, 256, rgb.shape, np.uint8) if kind == "far" else conversion(past).to_planes(rgb)
    header = ColourHeader(past, pack_exceptions(rgb, conversion(past).to_rgb(planes)))
    again, rest = ColourHeader.unpack(memoryview(header.pack() + b"rest"))
    assert again == header
    assert bytes(rest) == b"rest"
    for level in range(6):
        step = 1 << level
        assert np.array_equal(again.rgb(np.ascontiguousarray(planes[::step, ::step]), level), rgb[::step, ::step])


@pytest.mark.parametrize("past", PASTS)
def test_a_past_is_recognised_and_undone(past: Past) -> None:
    header, planes = undo(_made(past))
    assert header == ColourHeader(past)
    assert np.array_equal(header.rgb(planes), _made(past))


def test_jpeg_files_are_recognised_and_what_was_changed_is_not() -> None:
    photograph = data.coffee()
    decoded = _jpeg(photograph)
    assert find_past(decoded) is Past.JPEG
    assert undo(photograph)[0] == ColourHeader()
    resized = np.asarray(Image.fromarray(decoded).resize((400, 300)))
    brighter = np.minimum(decoded.astype(int) * 9 // 8, 255).astype(np.uint8)
    gray = np.repeat(np.asarray(Image.fromarray(decoded).convert("L"))[..., None], 3, axis=2)
    noise = np.random.default_rng(1).integers(0, 256, decoded.shape, np.uint8)
    for other in (resized, brighter, gray, noise, decoded * 0, decoded[:1, :1]):
        header, planes = undo(other)
        assert header == ColourHeader()
        assert planes is other


def test_a_pasted_text_is_an_exception() -> None:
    pasted = _jpeg(data.coffee()).copy()
    pasted[100:120, 100:140] = data.coffee()[100:120, 100:140]
    header, planes = undo(pasted)
    assert header.past is Past.JPEG
    assert 0 < len(header.exceptions) < 600
    assert np.array_equal(header.rgb(planes), pasted)


def test_few_exceptions_take_few_bytes() -> None:
    rng = np.random.default_rng(2)
    made = rng.integers(1, 255, (512, 512, 3), np.uint8)
    rgb = made.copy()
    rgb.reshape(-1, 3)[rng.choice(512 * 512, 262, replace=False)] += np.array([1, 0, 255], np.uint8)
    # Places are log2(262144 choose 262) bits, 375 bytes.
    assert len(pack_exceptions(rgb, made)) < 410


def test_damaged_exceptions_are_refused_or_put_other_pixels() -> None:
    rng = np.random.default_rng(3)
    made = rng.integers(0, 256, (40, 40, 3), np.uint8)
    rgb = np.where(rng.random((40, 40, 1)) < 0.02, rng.integers(0, 256, made.shape), made).astype(np.uint8)
    payload = pack_exceptions(rgb, made)
    unnoticed = 0
    for position in range(len(payload)):
        broken = bytearray(payload)
        broken[position] ^= 1 << position % 8
        found = made.copy()
        try:
            apply_exceptions(bytes(broken), found)
        except FormatError:
            continue
        unnoticed += np.array_equal(found, rgb)
    assert unnoticed <= 2  # frequencies of a list with one symbol
    with pytest.raises(FormatError, match="more exceptions"):
        apply_exceptions(b"\xff\xff\xff\x7f\x00", made.copy())
    for length in range(1, len(payload), 7):
        with pytest.raises(FormatError):
            apply_exceptions(payload[:length], made.copy())


def test_headers_that_no_encoder_writes_are_refused() -> None:
    with pytest.raises(FormatError, match="an impossible colour conversion 7"):
        ColourHeader.unpack(memoryview(b"\x07\x00"))
    with pytest.raises(FormatError, match="end too early"):
        ColourHeader.unpack(memoryview(b"\x01\x05abcd"))
    with pytest.raises(FormatError):
        ColourHeader.unpack(memoryview(b""))


@pytest.mark.parametrize("past", [Past.JPEG, Past.PHOTOCD])
def test_tiles_come_back_at_every_level(past: Past) -> None:
    coder = TileCoder(ARCH, open_network(random_layers(ARCH, 5), "numpy"))
    pixels = _made(past)
    pixels[::9, ::7] = 255
    payloads = coder.encode(pixels[None], 3)
    assert len(payloads[0]) < len(coder.encode(pixels[None], 3, past=False)[0])
    for level in range(3):
        decoded = coder.decode(payloads, pixels.shape, 3, level)
        assert np.array_equal(decoded[0], pixels[:: 1 << level, :: 1 << level])


def test_tiles_without_a_past_take_a_byte_more() -> None:
    coder = TileCoder(ARCH, open_network(random_layers(ARCH, 5), "numpy"))
    pixels = np.ascontiguousarray(data.coffee()[100:140, 200:240])
    assert coder.encode(pixels[None]) == coder.encode(pixels[None], past=False)
    assert coder.encode(pixels[None])[0][1] == Past.NONE


def test_damaged_tiles_are_refused_or_the_same() -> None:
    coder = TileCoder(ARCH, open_network(random_layers(ARCH, 5), "numpy"))
    pixels = _made(Past.JPEG)[:12, :20]
    pixels[3:5, 11:14] = (1, 2, 3)
    [payload] = coder.encode(pixels[None])
    assert payload[1] == Past.JPEG
    refused = 0
    for position in [*range(24), *range(24, len(payload), 331)]:
        broken = bytearray(payload)
        broken[position] ^= 1 << position % 8
        try:
            found = coder.decode([bytes(broken)], pixels.shape)
        except FormatError:
            refused += 1
        else:  # the share of a symbol that is the only one of a list
            assert np.array_equal(found[0], pixels)
    assert refused >= 23


def test_numbers_of_many_bits_come_back() -> None:
    numbers = np.array([0, 1, 2, 65534, 65535, 65536, 2**31, 2**32 - 2, *range(40)])
    writer = SymbolWriter()
    put_numbers(writer, numbers, 32)
    assert np.array_equal(get_numbers(SymbolReader(writer.finish()), len(numbers), 32), numbers)


def test_the_option_reaches_every_way_to_encode(tiny: str) -> None:
    pixels = _made(Past.JPEG)[:20, :24]
    options = {"model": tiny, "fallback": False}
    undone, plain = (encode(pixels, past=past, **options) for past in (True, False))
    assert undone == encode(pixels, **options) != plain
    assert np.array_equal(decode(undone), pixels)
    for past, expected in ((True, undone), (False, plain)):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "IFL", past=past, **options)
        assert file.getvalue() == expected
    codec = Ifl(past=False, **options)
    assert codec.get_config()["past"] is False
    assert codec.encode(pixels) != Ifl(**options).encode(pixels)
    with pytest.raises(TypeError, match="past='no' should be True or False"):
        Image.fromarray(pixels).save(io.BytesIO(), "IFL", past="no", **options)


def test_regions_and_previews_of_what_was_undone(tiny: str) -> None:
    pixels = np.tile(_made(Past.JPEG), (1, 4, 1))
    pixels[::9, ::7] = 255
    payload = encode(pixels, model=tiny, fallback=False)
    with Image.open(io.BytesIO(payload)) as image:
        assert np.array_equal(image, pixels)
    assert np.array_equal(decode(payload, region=(300, 20, 420, 100)), pixels[20:100, 300:420])
    reader = Reader(io.BytesIO(payload))
    assert reader.max_level() >= 2
    assert np.array_equal(reader.frame(level=2), pixels[::4, ::4])


def test_alpha_is_coded_beside_colours(tiny: str) -> None:
    pixels = np.dstack([_made(Past.JPEG)[:40, :48], np.arange(40 * 48, dtype=np.uint8).reshape(40, 48)])
    undone, plain = (encode(pixels, model=tiny, fallback=False, past=past) for past in (True, False))
    assert undone != plain
    assert np.array_equal(decode(undone), pixels)


def test_chains_are_of_planes(tiny_latents: str) -> None:
    pixels = _made(Past.JPEG)[:32, :40]
    pixels[3:5, 3:9] = 255
    undone, plain = (encode(pixels, "bsw", model=tiny_latents, fallback=False, past=past) for past in (True, False))
    assert undone != plain
    assert np.array_equal(decode(undone), pixels)
