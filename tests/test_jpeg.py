"""Images that were JPEG files: libjpeg's decoding restated, coefficients found again and coded."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace

import jpeg_reader
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pil_neuralcodec import decode, encode, read_info
from pil_neuralcodec.container import Method
from pil_neuralcodec.errors import FormatError
from pil_neuralcodec.jpeg import colour, polish
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


@pytest.mark.parametrize(
    ("subsampling", "rows", "columns"),
    [(2, slice(3, 176), slice(5, None)), (0, slice(1, None), slice(None)), (None, slice(3, None), slice(2, None))],
)
def test_large_images_are_recovered_in_strips(
    subsampling: int | None, rows: slice, columns: slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture(192, 152, 3)
    image[:56] = 250  # nothing is found there
    data = jpeg(image[:, :, 1], quality=88) if subsampling is None else jpeg(image, quality=88, subsampling=subsampling)
    pixels = np.ascontiguousarray(opened(data)[rows, columns])
    found = recover(pixels)
    assert found is not None
    monkeypatch.setattr("pil_neuralcodec.jpeg.recover._LARGE", 1 << 12)
    monkeypatch.setattr("pil_neuralcodec.jpeg.layout._DECODED", 1 << 12)
    parts = recover(pixels)
    assert parts is not None
    assert parts.layout == found.layout
    assert parts.layout.below == (subsampling == 2)
    assert len(parts.layout.strips(1)) == 3
    assert all((a == b).all() for a, b in zip(parts.tables, found.tables, strict=True))
    assert np.array_equal(found.layout.pixels(found.coefficients, found.tables), found.decoded)
    assert parts.wrong(pixels) <= found.wrong(pixels) + 0.01 * pixels[:, :, 0].size
    monkeypatch.setattr("pil_neuralcodec.methods.jpeg.recover", lambda _, ones: parts)
    payload = direct.encode(Method.JPEG, pixels)
    assert payload is not None
    assert np.array_equal(direct.decode(Method.JPEG, payload, pixels.shape, np.uint8), pixels)


def test_large_images_that_were_no_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pil_neuralcodec.jpeg.recover._LARGE", 1 << 12)
    pixels = picture(192, 112)
    assert recover(pixels) is None
    pixels[96:144] = opened(jpeg(pixels[96:144], quality=80))
    assert recover(pixels) is None


@pytest.mark.parametrize("subsampling", [1, 2])
def test_chroma_that_was_repeated_is_found(subsampling: int) -> None:
    """As decoders make it that are told to be quick."""
    layout, coefficients, tables = whole(jpeg(picture(128, 160, 3), quality=88, subsampling=subsampling))
    layout = replace(layout, fancy=False)
    pixels = layout.pixels(coefficients, tables)
    found = recover(pixels)
    assert found is not None
    assert found.layout == layout
    assert share_right(pixels) > 0.97
    payload = direct.encode(Method.JPEG, pixels)
    assert payload is not None
    assert np.array_equal(direct.decode(Method.JPEG, payload, pixels.shape, np.uint8), pixels)


def test_other_images_have_no_coefficients() -> None:
    pixels = picture(128, 160)
    assert recover(pixels) is None
    assert recover(pixels[:, :, :1]) is None
    shrunk = Image.fromarray(opened(jpeg(picture(256, 320), quality=85))).resize((160, 128), Image.Resampling.LANCZOS)
    assert recover(np.asarray(shrunk)) is None
    assert recover(np.zeros((128, 160, 3), np.uint8)) is None
    assert recover(np.random.default_rng(0).integers(0, 256, (128, 160, 1)).astype(np.uint8)) is None


def test_edited_images_are_no_jpeg() -> None:
    """What was resized, brightened or sharpened after decoding falls back to other methods, to the same pixels."""
    image = Image.open(io.BytesIO(jpeg(picture(192, 256, 1), quality=90, subsampling=0)))
    larger = Image.open(io.BytesIO(jpeg(picture(256, 320, 1), quality=90)))
    for edited in (
        larger.resize((200, 160), Image.Resampling.BICUBIC),
        image.point(lambda v: min(255, round(1.1 * v + 4))),
        image.filter(ImageFilter.SHARPEN),
        image.rotate(3),
    ):
        pixels = np.asarray(edited)
        assert recover(pixels) is None
    data = encode(pixels[:64, :80], model="photo-fast")
    assert "jpeg" not in read_info(data).methods
    assert np.array_equal(decode(data), pixels[:64, :80])


def test_pasted_text_leaves_a_jpeg() -> None:
    image = Image.open(io.BytesIO(jpeg(picture(192, 256, 1), quality=88, subsampling=2))).convert("RGB")
    ImageDraw.Draw(image).text((30, 90), "a text that was pasted in", fill=(255, 255, 0))
    pixels = np.asarray(image)
    data = encode(pixels, model="photo-fast")
    assert read_info(data).methods == ("jpeg",)
    assert np.array_equal(decode(data), pixels)
    with Image.open(io.BytesIO(data)) as opened:
        opened.thumbnail((24, 24))  # made of all of it, not of coefficients alone
        image.thumbnail((24, 24))
        assert np.array_equal(np.asarray(opened), np.asarray(image))


@pytest.mark.parametrize("subsampling", [0, 2])
def test_tables_of_other_encoders_are_found(subsampling: int) -> None:
    tables = [[5 + i // 3 for i in range(64)], [7 + i // 2 for i in range(64)]]
    pixels = opened(jpeg(picture(160, 192, 3), qtables=tables, subsampling=subsampling))
    assert share_right(pixels) > 0.95


def test_a_smooth_image_has_its_grid() -> None:
    y, x = np.mgrid[:160, :200]
    smooth = np.stack([100 + 50 * np.sin(x / 40), 120 + 40 * np.cos(y / 50), 90 + (x + y) / 8], axis=-1)
    smooth += 20 * ((x - 90) ** 2 + (y - 70) ** 2 < 900)[:, :, None]
    pixels = opened(jpeg(smooth.astype(np.uint8), quality=75, subsampling=0))[3:, 5:]
    found = recover(np.ascontiguousarray(pixels))
    assert found is not None
    assert (found.layout.top, found.layout.left) == (3, 5)


def test_limited_colours_are_found() -> None:
    """Where most of an image is over- or underexposed, components have to be judged together."""
    bright = np.clip(picture(160, 192, 3).astype(int) * 2 - 60, 0, 255).astype(np.uint8)
    for subsampling in (0, 2):
        pixels = opened(jpeg(bright, quality=80, subsampling=subsampling))
        assert ((pixels == 0) | (pixels == 255)).any(axis=2).mean() > 0.3
        assert share_right(pixels) > 0.97


def test_limited_colours_are_asked_for_once() -> None:
    """What is told of many pixels is what is told of each."""
    rng = np.random.default_rng(2)
    pixels = rng.choice(np.array([0, 90, 255], np.uint8), (400, 3))
    guess = rng.integers(100, 103, (3, 400))
    for component in range(3):
        both = colour.bounds(pixels, guess, component)
        for n in range(0, 400, 7):
            one = colour.bounds(pixels[n : n + 1], guess[:, n : n + 1], component)
            assert [part[n] for part in both] == [part[0] for part in one]


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_blocks_that_are_not_tried_again_would_not_change(subsampling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.clip((picture(128, 144, 3) - 128.0) * 1.5 + 128, 0, 255).astype(np.uint8)
    pixels = opened(jpeg(image, quality=90, subsampling=subsampling))[3:]
    found = recover(pixels)

    def all_again(part: polish._Part, _: np.ndarray) -> None:
        part.open[:] = True

    tried: list[int] = []
    wrong = polish._wrong
    monkeypatch.setattr(polish, "_wrong", lambda *args: tried.append(len((out := wrong(*args))[0])) or out)
    assert recover(pixels) is not None
    some, tried[:] = sum(tried), []
    monkeypatch.setattr(polish._Part, "reopen", all_again)
    again = recover(pixels)
    assert found is not None and again is not None and some < sum(tried)
    for one, other in zip(found.coefficients, again.coefficients, strict=True):
        assert np.array_equal(one, other)


def test_mirrored_images_are_not_taken_for_halved_chroma() -> None:
    """The filter that enlarges chroma leans to the right and to the left in turn; up and down it leans to none."""
    rng = np.random.default_rng(1)
    image = np.clip(picture(192, 192, 3) + rng.normal(0, 50, (192, 192, 3)), 40, 210).astype(np.uint8)
    pixels = opened(jpeg(image, quality=90))
    for turned, factors in ((pixels, (2, 2)), (pixels[::-1], (2, 2)), (pixels[:, ::-1], (1, 1))):
        found = recover(np.ascontiguousarray(turned))
        assert found is not None
        assert (found.layout.vertical, found.layout.horizontal) == factors


def test_files_of_quality_100_are_for_those_who_want_them() -> None:
    pixels = opened(jpeg(picture(160, 192, 3), quality=100, subsampling=0))
    assert recover(pixels) is not None
    assert recover(pixels, ones=False) is None
    assert read_info(encode(pixels, fallback="jpeg")).methods == ("jpeg",)
    assert recover(opened(jpeg(picture(160, 192, 3), quality=96, subsampling=0)), ones=False) is not None


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("cut", [(0, 0), (5, 11)])
def test_thumbnails_come_from_low_frequencies(subsampling: int, cut: tuple[int, int]) -> None:
    y, x = np.mgrid[:384, :512]
    base = 110 + 60 * np.sin(x / 37) * np.cos(y / 43) + np.random.default_rng(0).normal(0, 3, (384, 512))
    image = Image.fromarray(np.stack([base, base * 0.8 + 20, 200 - base / 2], axis=-1).astype(np.uint8))
    whole = Image.fromarray(opened(jpeg(np.asarray(image), quality=85, subsampling=subsampling)))
    whole = whole.crop((cut[1], cut[0], 512, 384))
    data = encode(np.asarray(whole), model="photo-fast")
    for size in (200, 100, 50, 25):
        with Image.open(io.BytesIO(data)) as reduced:
            assert reduced.draft(None, (2 * size, 2 * size)) is not None or size == 200
            assert size == 200 or max(reduced.size) <= -(-512 * 4 * size // 512)
        with Image.open(io.BytesIO(data)) as thumbnail:
            thumbnail.thumbnail((size, size))
            reference = whole.copy()
            reference.thumbnail((size, size))
            assert thumbnail.size == reference.size
            difference = np.asarray(thumbnail).astype(int) - np.asarray(reference)
            assert np.abs(difference).mean() < 1.5


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
    data = encode(pixels, model="photo-fast")
    with_network = encode(pixels, model="photo-fast", fallback=False)
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
    for at in [*range(12), *rng.integers(12, len(payload), 6).tolist()]:
        for change in (1, 128):
            damaged = bytearray(payload)
            damaged[at] ^= change
            with pytest.raises(FormatError):
                direct.decode(Method.JPEG, bytes(damaged), pixels.shape, np.uint8)
    for size in [*range(16), *rng.integers(16, len(payload), 5).tolist()]:
        with pytest.raises(FormatError):
            direct.decode(Method.JPEG, payload[:size], pixels.shape, np.uint8)


def test_other_sizes_and_types_are_refused() -> None:
    payload, pixels = _payload()
    for shape in ((64, 64, 3), (64, 72, 1), (64, 72, 2), (2000, 2000, 3)):
        with pytest.raises(FormatError):
            direct.decode(Method.JPEG, payload, shape, np.uint8)
    with pytest.raises(FormatError):
        direct.decode(Method.JPEG, payload, pixels.shape, np.uint16)


def test_every_machine_finds_the_same() -> None:
    """Kernels of numpy and its linear algebra for other processors, and another number of threads, change nothing."""
    code = (
        "import hashlib, golden; from pil_neuralcodec import encode; import numpy as np\n"
        "images = [golden.was_jpeg((2, 2), 80, (5, 11)), golden.was_jpeg((1, 1), 97)]\n"
        "print([hashlib.sha256(encode(np.asarray(image), fallback='jpeg')).hexdigest() for image in images])"
    )
    others: tuple[dict[str, str], ...] = (
        {},
        {"NPY_DISABLE_CPU_FEATURES": _features(), "OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "2"},
    )
    found = {
        subprocess.run([sys.executable, "-c", code], env=os.environ | other, capture_output=True, check=True).stdout
        for other in others
    }
    assert len(found) == 1


def _features() -> str:
    """What this machine has beyond numpy's baseline, which numpy can be told to leave alone."""
    config = np.show_config(mode="dicts")
    return " ".join(config.get("SIMD Extensions", {}).get("found", []))


def test_weights_and_tables_are_frozen() -> None:
    """They are part of the format."""
    digest = hashlib.sha256()
    *weights, frequencies = model()
    cumulative = np.pad(np.cumsum(frequencies, axis=1), ((0, 0), (1, 0)))
    for part in (*weights, cumulative):
        digest.update(part.astype("<i8").tobytes())
    assert digest.hexdigest() == "d26d9343469ed9067ecefd206a17e8acd68c3b9260d7569f8cc49af0f98aeb34"
    assert (frequencies > 0).all()
