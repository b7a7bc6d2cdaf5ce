"""Images that were JPEG files: libjpeg's decoding restated, coefficients found again and coded."""

from __future__ import annotations

import hashlib
import io

import jpeg_reader
import numpy as np
import pytest
from PIL import Image

from pil_neuralcodec import decode, encode
from pil_neuralcodec.container import Method
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.jpeg.coefficients import model
from pil_neuralcodec.jpeg.layout import Layout
from pil_neuralcodec.jpeg.recover import recover
from pil_neuralcodec.methods import direct


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something like a photograph: smooth colours, edges, noise, and parts that are over- and underexposed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = 120 + 80 * np.sin(x / 17 + seed) * np.cos(y / 23) + 40 * ((x // 29 + y // 37) % 2)
    tint = np.stack([30 * np.sin(y / 31), -20 * np.cos(x / 41), 40 * np.sin((x + y) / 51)], axis=-1)
    return np.clip(base[:, :, None] + tint + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, **options: object) -> bytes:
    """A file as Pillow writes it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def opened(data: bytes) -> np.ndarray:
    """Its pixels (H, W, B) as Pillow decodes them."""
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    return pixels.reshape(*pixels.shape[:2], -1)


def whole(data: bytes) -> tuple[Layout, list[np.ndarray], list[np.ndarray]]:
    """What a file has, without the blocks that fill up its last MCUs."""
    file = jpeg_reader.read(data)
    v, h = file.factors[-1]
    layout = Layout(*file.size, len(file.factors), vertical=v, horizontal=h)
    parts = []
    for c, coefficients in enumerate(file.coefficients):
        rows, columns = layout.blocks(c)
        parts.append(coefficients[:, :, :rows, :columns].reshape(8, 8, -1))
    return layout, parts, file.tables


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [30, 75, 90, 96, 100])
def test_decoder_is_libjpegs(quality: int, subsampling: str) -> None:
    data = jpeg(picture(67, 90, quality), quality=quality, subsampling=subsampling)
    layout, coefficients, tables = whole(data)
    assert np.array_equal(layout.pixels(coefficients, tables), opened(data))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 5), (8, 8), (17, 4), (16, 33), (40, 1)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_decoder_at_odd_sizes(size: tuple[int, int], subsampling: int) -> None:
    data = jpeg(picture(*size), quality=85, subsampling=subsampling)
    layout, coefficients, tables = whole(data)
    assert np.array_equal(layout.pixels(coefficients, tables), opened(data))


def test_decoder_of_gray() -> None:
    data = jpeg(picture(50, 61)[:, :, 1], quality=80)
    layout, coefficients, tables = whole(data)
    assert layout.components == 1
    assert np.array_equal(layout.pixels(coefficients, tables), opened(data))


def test_decoder_where_only_rows_of_chroma_are_halved() -> None:
    """4:4:0, which turning a 4:2:2 file without loss makes."""
    imagecodecs = pytest.importorskip("imagecodecs")
    data = imagecodecs.jpeg8_encode(picture(67, 90), level=90, subsampling="440")
    layout, coefficients, tables = whole(data)
    assert (layout.vertical, layout.horizontal) == (2, 1)
    assert np.array_equal(layout.pixels(coefficients, tables), opened(data))


def share_right(pixels: np.ndarray) -> float:
    """The share of pixels that recovered coefficients give."""
    found = recover(pixels)
    assert found is not None
    return 1 - found.wrong(pixels) / (pixels.shape[0] * pixels.shape[1])


@pytest.mark.parametrize("quality", [40, 75, 90, 96])
def test_coefficients_are_found(quality: int) -> None:
    data = jpeg(picture(128, 160), quality=quality, subsampling=0)
    assert share_right(opened(data)) > 0.99
    assert share_right(opened(jpeg(picture(128, 160)[:, :, 0], quality=quality))) > 0.99


@pytest.mark.parametrize(("subsampling", "factors"), [(1, (1, 2)), (2, (2, 2))])
def test_coefficients_of_halved_chroma_are_found(subsampling: int, factors: tuple[int, int]) -> None:
    pixels = opened(jpeg(picture(128, 160, 3), quality=88, subsampling=subsampling))
    found = recover(pixels)
    assert found is not None
    assert (found.layout.vertical, found.layout.horizontal) == factors
    assert share_right(pixels) > 0.97


@pytest.mark.parametrize(("top", "left"), [(3, 0), (0, 5), (8, 8), (13, 2)])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_cut_image_has_its_grid(top: int, left: int, subsampling: int) -> None:
    pixels = opened(jpeg(picture(128, 144, 5), quality=85, subsampling=subsampling))[top:, left:]
    found = recover(np.ascontiguousarray(pixels))
    assert found is not None
    assert (found.layout.top % 8, found.layout.left % 8) == (top % 8, left % 8)
    assert share_right(pixels) > 0.85  # what lies at the cut is not determined


def test_other_images_have_no_coefficients() -> None:
    pixels = picture(128, 160)
    assert recover(pixels) is None
    assert recover(pixels[:, :, :1]) is None
    shrunk = Image.fromarray(opened(jpeg(picture(256, 320), quality=85))).resize((160, 128), Image.Resampling.LANCZOS)
    assert recover(np.asarray(shrunk)) is None
    assert recover(np.zeros((128, 160, 3), np.uint8)) is None
    assert recover(np.random.default_rng(0).integers(0, 256, (128, 160, 1)).astype(np.uint8)) is None


def test_method_keeps_pixels_and_is_smaller_than_the_file() -> None:
    for options in (
        {"subsampling": 0},
        {"subsampling": 2},
        {"subsampling": 1, "optimize": True},
        {"progressive": True},
    ):
        data = jpeg(picture(128, 160, 7), quality=90, **options)
        pixels = opened(data)
        payload = direct.encode(Method.JPEG, pixels)
        assert payload is not None
        assert np.array_equal(direct.decode(Method.JPEG, payload, pixels.shape, np.uint8), pixels)
        assert len(payload) < len(data)


def test_a_pasted_part_is_coded_as_exceptions() -> None:
    data = jpeg(picture(192, 256, 1), quality=90, subsampling=0)
    pixels = opened(data).copy()
    pixels[60:80, 100:140] = np.random.default_rng(2).integers(0, 256, (20, 40, 3))
    payload = direct.encode(Method.JPEG, pixels)
    assert payload is not None
    assert np.array_equal(direct.decode(Method.JPEG, payload, pixels.shape, np.uint8), pixels)
    assert len(payload) < len(data) + 20 * 40 * 3 * 1.6


def test_other_decoders_give_the_same_pixels() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    for subsampling in (0, 1, 2):
        data = jpeg(picture(128, 160, 9), quality=85, subsampling=subsampling)
        assert np.array_equal(imagecodecs.jpeg8_decode(data), opened(data))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_files_of_what_was_a_jpeg(mode: str) -> None:
    image = Image.open(io.BytesIO(jpeg(picture(128, 160, 4), quality=85, subsampling=0))).convert(mode)
    if mode == "L":
        image = Image.open(io.BytesIO(jpeg(np.asarray(image), quality=85)))
    pixels = np.asarray(image)
    data = encode(pixels, model="photo-6")
    with_network = encode(pixels, model="photo-6", fallback=False)
    assert len(data) < 0.8 * len(with_network)
    assert np.array_equal(decode(data), pixels)
    assert np.array_equal(decode(data, region=(30, 20, 90, 100)), pixels[20:100, 30:90])


def _payload() -> tuple[bytes, np.ndarray]:
    pixels = opened(jpeg(picture(64, 72, 6), quality=80, subsampling=2))
    payload = direct.encode(Method.JPEG, pixels)
    assert payload is not None
    return payload, pixels


def test_damage_is_refused() -> None:
    payload, pixels = _payload()
    rng = np.random.default_rng(0)
    for at in [*range(12), *rng.integers(12, len(payload), 12).tolist()]:
        for change in (1, 128):
            damaged = bytearray(payload)
            damaged[at] ^= change
            with pytest.raises(FormatError):
                direct.decode(Method.JPEG, bytes(damaged), pixels.shape, np.uint8)
    for size in [*range(16), *rng.integers(16, len(payload), 10).tolist()]:
        with pytest.raises(FormatError):
            direct.decode(Method.JPEG, payload[:size], pixels.shape, np.uint8)


def test_other_sizes_and_types_are_refused() -> None:
    payload, pixels = _payload()
    for shape in ((64, 64, 3), (64, 72, 1), (64, 72, 2), (2000, 2000, 3)):
        with pytest.raises(FormatError):
            direct.decode(Method.JPEG, payload, shape, np.uint8)
    with pytest.raises(FormatError):
        direct.decode(Method.JPEG, payload, pixels.shape, np.uint16)


def test_weights_and_tables_are_frozen() -> None:
    """They are part of the format."""
    digest = hashlib.sha256()
    *weights, tables = model()
    cumulative = np.pad(np.cumsum(tables.freq, axis=1), ((0, 0), (1, 0)))
    for part in (*weights, cumulative):
        digest.update(part.astype("<i8").tobytes())
    assert digest.hexdigest() == "d26d9343469ed9067ecefd206a17e8acd68c3b9260d7569f8cc49af0f98aeb34"
    assert (tables.freq > 0).all()
