"""Images that were JPEG files: libjpeg's decoding restated, coefficients found again and coded."""

from __future__ import annotations

import io

import jpeg_reader
import numpy as np
import pytest
from PIL import Image

from pil_neuralcodec.jpeg.layout import Layout


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something like a photograph: smooth colours, edges, noise, and parts that are over- and underexposed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = 128 + 90 * np.sin(x / 17 + seed) * np.cos(y / 23) + 60 * ((x // 29 + y // 37) % 2)
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
