"""Coding without a network: exact round trips, sizes, frozen bytes and damaged data."""

from __future__ import annotations

import hashlib
import io
import lzma
import struct
import tracemalloc
import zlib

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from pil_neuralcodec import gate
from pil_neuralcodec.container import Method
from pil_neuralcodec.errors import ChecksumError, FormatError, LimitError, TruncatedError, UnsupportedError
from pil_neuralcodec.methods import choice, direct, filtered, predictor, predictor_tables, webp

METHODS = [method for method in Method if not method.needs_model and method is not Method.JPEG]
"""JPEG takes only what was a JPEG file: see `test_jpeg.py`."""


def blur(values: np.ndarray) -> np.ndarray:
    """Means over 8 x 8, twice: smooth random fields from (H + 14, W + 14, B)."""
    for _ in range(2):
        sums = np.pad(values, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)
        values = sums[8:, 8:] - sums[:-8, 8:] - sums[8:, :-8] + sums[:-8, :-8]
    return values // 4096


KINDS = ("noise", "flat", "ramp", "few", "texture", "extremes")


def make(kind: str, shape: tuple[int, int, int], dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Planes of a kind, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    height, width, bands = shape
    y, x, b = np.ogrid[:height, :width, :bands]
    if kind == "noise":
        return rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8).view(dtype)[..., 0]
    values = {
        "flat": np.full(shape, 7),
        "ramp": 3 * x + 2 * y + 5 * b,
        "few": rng.integers(0, 3, (height, width, 1)) * np.array([85, 20, 3, 60, 1])[:bands],
        "texture": (
            blur(rng.integers(0, 1536, (height + 14, width + 14, bands)))
            - 640
            + rng.integers(-2, 3, (height, width, 1))
        ),
        "extremes": rng.integers(0, 2, shape) * 0xFFFF,
    }[kind]
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray(values.astype(dtype))


def screen(mode: str = "RGB", size: tuple[int, int] = (300, 200)) -> np.ndarray:
    """A mock-up of a window: a gradient bar, boxes, text, discs."""
    image = Image.new("RGB", size, (240, 240, 245))
    draw = ImageDraw.Draw(image)
    for y in range(24):
        draw.line([(0, y), (size[0], y)], fill=(60 + y, 90 + y, 160 + y))
    for i in range(6):
        draw.rectangle([10, 30 + i * 28, 90, 52 + i * 28], fill="white", outline=(200, 200, 210))
        draw.text((16, 34 + i * 28), f"Item {i}", fill=(30, 30, 30))
        draw.text((110, 34 + i * 28), f"row {i * 7919 % 1000}: value {i * 1.618:.3f}", fill=(60, 60, 60))
        draw.ellipse([260, 32 + i * 28, 280, 52 + i * 28], fill=(200 - 20 * i, 30 * i, 120))
    planes = np.asarray(image.convert(mode)).astype(np.uint8)
    return planes if planes.ndim == 3 else planes[:, :, None]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to the last bit, NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(SHAPES, st.sampled_from(KINDS), st.integers(0, 99))
def test_round_trip_8_bit(method: Method, shape: tuple[int, int, int], kind: str, seed: int) -> None:
    planes = make(kind, shape, seed=seed)
    payload = direct.encode(method, planes)
    if payload is None:
        assert method is Method.WEBP and shape[2] == 5
        return
    assert same(direct.decode(method, payload, shape, np.uint8), planes)


@pytest.mark.parametrize("method", [Method.RAW, Method.FILTERED])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_round_trip_wide_samples(method: Method, dtype: str, kind: str) -> None:
    for shape in ((1, 1, 1), (23, 17, 1), (9, 31, 3)):
        planes = make(kind, shape, dtype)
        payload = direct.encode(method, planes)
        assert payload is not None
        assert same(direct.decode(method, payload, shape, dtype), planes)
    assert direct.encode(Method.WEBP, planes) is None
    assert direct.encode(Method.PREDICTOR, planes) is None


@pytest.mark.parametrize("planar", [False, True])
def test_rows_name_their_filters(planar: bool) -> None:
    """In numbers: each row with the filter that leaves least, low bytes first."""
    rows = [[1000, 1300, 1600, 1900], [7, 5000, 40000, 9], [7, 5000, 40000, 9], [8, 4999, 40001, 10]]
    kept = [[1000, 300, 300, 300], [7, 5000, 40000, 9], [0, 0, 0, 0], [1, -1, 1, 1]]
    names = [1, 0, 2, 2]
    samples = np.array(rows, np.uint16)[:, :, None]
    arranged = filtered._arrange(samples, filtered._Arrangement(0, False, planar, 7), None).tobytes()
    numbers = [[number % 65536 for number in row] for row in kept]
    halves = [[*(number % 256 for number in row), *(number // 256 for number in row)] for row in numbers]
    ordered = bytes(sum(halves, [])) if planar else b"".join(struct.pack("<4H", *row) for row in numbers)
    assert arranged == bytes(names) + ordered


@pytest.mark.parametrize("depth", range(1, 17))
def test_raw_is_packed(depth: int) -> None:
    dtype = "uint8" if depth <= 8 else "uint16"
    planes = np.random.default_rng(depth).integers(0, 2**depth, (37, 41, 1)).astype(dtype)
    planes[0, 0, 0] = 2**depth - 1
    payload = direct.encode(Method.RAW, planes)
    assert payload is not None
    assert len(payload) == 1 + (37 * 41 * depth + 7) // 8 + 4
    assert same(direct.decode(Method.RAW, payload, planes.shape, dtype), planes)


def test_raw_packs_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = make("few", (50, 61, 1)) // 60
    whole = direct.encode(Method.RAW, planes)
    assert whole is not None
    monkeypatch.setattr("pil_neuralcodec.methods.raw._BLOCK", 64)
    assert direct.encode(Method.RAW, planes) == whole
    assert same(direct.decode(Method.RAW, whole, planes.shape, "uint8"), planes)


@pytest.mark.parametrize("shape", [(67, 53, 3), (53, 67, 1), (40, 90, 4)])
def test_predictor_does_not_depend_on_its_blocks(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int]) -> None:
    planes = make("texture", shape)
    body = predictor.encode(planes)
    for block in (1, 200, 1 << 20):
        monkeypatch.setattr(predictor, "_BLOCK", block)
        assert predictor.encode(planes) == body


def test_predictor_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = make("texture", (67, 53, 3))
    monkeypatch.setattr(predictor, "_STRIP", 1200)
    body = predictor.encode(planes)
    assert body is not None
    assert same(predictor.decode(memoryview(body), planes.shape, planes.dtype), planes)
    for size in range(0, len(body), len(body) // 7):
        with pytest.raises(FormatError):
            predictor.decode(memoryview(body)[:size], planes.shape, planes.dtype)


def test_predictor_leaves_thin_lines_alone() -> None:
    assert predictor.encode(np.zeros((1, 5000, 1), np.uint8)) is None
    with pytest.raises(FormatError):
        predictor.decode(memoryview(b"1234567890"), (1, 1 << 30, 1), np.dtype(np.uint8))


def test_predictor_tables_are_proper() -> None:
    family = predictor_tables._family()
    assert family.min() >= 1
    assert (family.sum(axis=1) == predictor_tables._TOTAL).all()
    assert (family[:, 128] == family.max(axis=1)).all()
    exact = np.log2(np.arange(1, 5000)) * 256
    assert np.abs(predictor_tables._log2(np.arange(1, 5000)) - exact).max() <= 2.5


def test_predictor_needs_no_colour_transform() -> None:
    # The same noise in all bands, uniform over 16 values: 4 bits for a pixel, not for a sample.
    noise = np.random.default_rng(1).integers(0, 16, (160, 160, 1))
    planes = (noise + np.array([40, 90, 130])).astype(np.uint8)
    payload = direct.encode(Method.PREDICTOR, planes)
    assert payload is not None
    assert len(payload) * 8 <= 160 * 160 * 4.7


def test_predictor_beats_the_others_on_texture() -> None:
    planes = make("texture", (128, 128, 3))
    ours, theirs = predictor.encode(planes), webp.encode(planes, effort=4)
    assert ours is not None and theirs is not None
    assert len(ours) <= 0.97 * len(theirs)
    assert len(ours) <= 0.95 * len(filtered.encode(planes))


def test_webp_keeps_hidden_colours() -> None:
    planes = make("noise", (20, 30, 4))
    planes[..., 3] = 0
    for case in (planes, planes[:, :, 2:], np.concatenate([planes[:, :, :3], np.full((20, 30, 1), 255, np.uint8)], 2)):
        payload = direct.encode(Method.WEBP, case)
        assert payload is not None
        assert same(direct.decode(Method.WEBP, payload, case.shape, "uint8"), np.ascontiguousarray(case))


def test_webp_and_pillows_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = make("few", (20, 30, 3))
    payload = direct.encode(Method.WEBP, planes)
    assert payload is not None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)  # between the two: Image.open would warn
    assert same(direct.decode(Method.WEBP, payload, planes.shape, "uint8"), planes)
    if int(PIL.__version__.split(".")[0]) < 13:
        return  # before Pillow 13 only Image.open refuses; our own limit on the header holds with any Pillow
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    with pytest.raises(LimitError, match="MAX_IMAGE_PIXELS"):
        direct.decode(Method.WEBP, payload, planes.shape, "uint8")


def test_without_libwebp(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = make("few", (20, 30, 3))
    payload = direct.encode(Method.WEBP, planes)
    assert payload is not None
    monkeypatch.setattr(webp, "available", lambda: False)
    assert direct.encode(Method.WEBP, planes) is None
    with pytest.raises(UnsupportedError, match="WebP"):
        direct.decode(Method.WEBP, payload, planes.shape, "uint8")
    found = choice.smallest(planes)
    assert found is not None and found[0] is not Method.WEBP


@pytest.mark.parametrize(
    "planes",
    [screen("RGB"), screen("RGBA"), screen("L"), screen("1"), screen("RGB", (48, 48))],
    ids=["RGB", "RGBA", "L", "1", "icon"],
)
def test_screens_within_three_percent_of_webp(planes: np.ndarray) -> None:
    file = io.BytesIO()
    rgb = planes * 255 if planes.max() == 1 else planes
    Image.fromarray(rgb if rgb.shape[2] > 1 else np.repeat(rgb, 3, axis=2)).save(
        file, "WEBP", lossless=True, quality=100, method=6, exact=True
    )
    found = choice.smallest(planes)
    assert found is not None
    assert len(found[1]) <= 1.03 * len(file.getvalue())
    assert same(direct.decode(found[0], found[1], planes.shape, "uint8"), planes)


@pytest.mark.parametrize("dtype,bands", [("uint8", 1), ("uint8", 3), ("uint8", 4), ("uint16", 1), ("float32", 1)])
def test_noise_costs_its_own_size(dtype: str, bands: int) -> None:
    planes = make("noise", (150, 160, bands), dtype)
    found = choice.smallest(planes)
    assert found is not None
    assert len(found[1]) <= planes.nbytes + 8


def test_wide_ramps_and_palettes_get_small() -> None:
    for planes, most in (
        (make("ramp", (90, 80, 1), "uint16"), 100),
        (make("ramp", (90, 80, 1), "int32"), 100),
        (make("ramp", (90, 80, 3)), 100),
        (make("few", (90, 80, 3)), 90 * 80 * 1.7 / 8),
    ):
        found = choice.smallest(planes)
        assert found is not None
        assert len(found[1]) <= most


def test_smallest_is_the_smallest_and_obeys_its_limit() -> None:
    planes = make("texture", (60, 50, 3))
    sizes = {m: len(p) for m in METHODS if (p := direct.encode(m, planes)) is not None}
    found = choice.smallest(planes)
    assert found is not None
    assert len(found[1]) == min(sizes.values()) == sizes[found[0]]
    assert choice.smallest(planes, below=len(found[1])) is None
    assert choice.smallest(planes, below=len(found[1]) + 1) == found
    assert choice.smallest(planes, methods=[Method.RAW]) == (Method.RAW, direct.encode(Method.RAW, planes))
    assert choice.smallest(planes, methods=[]) is None


def test_slow_methods_are_left_out_where_they_are_hopeless(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    encode = direct.encode

    def spy(method: int, planes: np.ndarray) -> bytes | None:
        tried.append(method)
        return encode(method, planes)

    monkeypatch.setattr(direct, "encode", spy)
    monkeypatch.setattr(filtered, "encode", lambda *_: tried.append(Method.FILTERED))
    noise = make("noise", (150, 150, 3))
    for planes in (noise, make("texture", (150, 150, 3))):
        tried.clear()
        assert choice.smallest(planes) is not None
        assert sorted(tried) == [Method.RAW, Method.PREDICTOR]
    texture = make("texture", (150, 150, 3))
    whole = len(encode(Method.PREDICTOR, texture) or b"")
    for below, count in ((whole // 2, 1), (whole * 11 // 10, 2)):  # of a few rows alone, then of all
        tried.clear()
        assert (choice.smallest(texture, below=below) is None) == (count == 1)
        assert tried.count(Method.PREDICTOR) == count
    tried.clear()
    choice.smallest(screen())
    assert sorted(tried) == [Method.RAW, Method.FILTERED, Method.PREDICTOR]


def webp_passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What WebP will be asked for: rows, and effort."""
    passes: list[tuple[int, int]] = []
    encode = webp.encode

    def spy(pixels: np.ndarray, *, quality: int = 100, effort: int = 6) -> bytes | None:
        passes.append((len(pixels), effort))
        return encode(pixels, quality=quality, effort=effort)

    monkeypatch.setattr(webp, "encode", spy)
    return passes


def test_best_effort_of_webp_is_spent_where_it_finds_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """Areas of twelve colours, of which it makes four fifths of what a good effort does, and dots, of which no less."""
    passes = webp_passes(monkeypatch)
    colours = np.random.default_rng(3).integers(0, 256, (12, 3)).astype(np.uint8)
    areas = colours[make("texture", (200, 200, 1))[:, :, 0] // 24]
    dots = np.where(make("noise", (200, 200, 1)) < 250, 255, 0).repeat(3, axis=2).astype(np.uint8)
    for pixels, is_worth_it in ((areas, True), (dots, False)):
        passes.clear()
        found = choice.smallest(pixels)
        assert found is not None and same(direct.decode(*found, pixels.shape, "uint8"), pixels)
        assert ((200, 6) in passes) == is_worth_it
        assert len(found[1]) <= len(direct.encode(Method.WEBP, pixels) or b"")


def test_best_effort_of_webp_is_not_spent_on_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = webp_passes(monkeypatch)
    for shape in ((100, 100, 3), (64, 64, 1)):
        passes.clear()
        found = choice.smallest(make("noise", shape))
        assert found is not None and found[0] is Method.RAW
        assert passes == [(shape[0], 4)]


def test_one_colour_takes_the_least_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.full((300, 300, 3), 77, np.uint8)
    passes = webp_passes(monkeypatch)
    found = choice.smallest(pixels)
    assert found is not None and found[0] is Method.WEBP
    assert max(effort for _, effort in passes) < 5
    assert len(found[1]) <= len(direct.encode(Method.WEBP, pixels) or b"")
    assert same(direct.decode(*found, pixels.shape, "uint8"), pixels)


@pytest.mark.parametrize("height", [1, 2, 9, 40])
def test_filters_of_wide_images_look_at_some_columns(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.cumsum(make("noise", (height, 400000 // height, 3)) % 5, axis=1).astype(np.uint8)
    looked: list[int] = []
    compress = filtered._compress
    monkeypatch.setattr(
        filtered,
        "_compress",
        lambda data, *args, **options: looked.append(len(data)) or compress(data, *args, **options),
    )
    estimate = filtered.estimate(pixels)
    assert max(looked) <= filtered._WIDE * filtered._ESTIMATE + height
    looked.clear()
    body = filtered.encode(pixels)
    assert body is not None and len(body) < estimate * 9 // 8
    assert sum(size < pixels.nbytes for size in looked) == len(looked) - 1
    assert max(looked[:-1]) <= filtered._WIDE * filtered._TRY_ALL + height
    assert same(filtered.decode(memoryview(body), pixels.shape, pixels.dtype), pixels)


@pytest.mark.parametrize("kind", ["texture", "screen", "small"])
def test_quick_passes_may_run_beside_a_network(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = screen() if kind == "screen" else make("texture", (40, 40, 3) if kind == "small" else (150, 150, 3))
    passes = webp_passes(monkeypatch)
    for below in (None, 300, pixels.nbytes):
        expected = choice.smallest(pixels, below=below)
        passes.clear()
        monkeypatch.setattr(gate, "threads", lambda: 2)
        begun = choice.begin(pixels)
        monkeypatch.setattr(gate, "threads", lambda: 1)
        assert begun is not None and choice.begin(pixels) is None
        begun.done.result()
        assert [effort for _, effort in passes] == [4 if kind == "small" else 0]
        assert choice.smallest(pixels, below=below, begun=begun) == expected
        assert len(passes) == len(set(passes))


def small_images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(12)
    drawing = Image.new("RGB", (192, 192), (230, 240, 250))
    draw = ImageDraw.Draw(drawing)
    for _ in range(6):
        x, y, w, h = rng.integers(0, 120, 4).tolist()
        draw.ellipse((x, y, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist()))
    steps = np.arange(48, dtype=np.uint8)
    smooth = rng.integers(0, 40, (40, 40, 3)).cumsum(axis=0).cumsum(axis=1) // 200
    return {
        "icon": np.asarray(drawing.resize((48, 48), Image.Resampling.BOX)),
        "drawing": np.asarray(drawing)[::4, ::4],
        "gray": np.asarray(drawing.convert("L").resize((40, 40), Image.Resampling.BOX))[:, :, None],
        "gradient": np.stack(np.broadcast_arrays(steps[:, None] * 5, steps[:, None] + steps, steps * 4), 2),
        "noise": rng.integers(0, 256, (24, 24, 3), np.uint8),
        "smooth": (smooth + rng.integers(0, 3, smooth.shape)).astype(np.uint8),
        "sparse": (rng.random((32, 32, 1)) < 0.1).astype(np.uint8) * 255,
        "deep": (np.add.outer(steps, steps)[..., None] * np.uint16(300) + rng.integers(0, 9, (48, 48, 1))).astype("u2"),
    }


@pytest.mark.parametrize("name", small_images())
def test_what_is_left_out_on_small_images_would_not_win(name: str) -> None:
    pixels = np.ascontiguousarray(small_images()[name])
    every = [direct.encode(method, pixels) for method in Method if not method.needs_model]
    best = min(len(payload) for payload in every if payload is not None)
    found = choice.smallest(pixels)
    assert found is not None and len(found[1]) <= best * 1.01
    within = choice.smallest(pixels, below=best + 8)  # less is tried then
    assert within is not None and len(within[1]) <= best * 1.01 + 1
    assert choice.smallest(pixels, below=len(found[1]) // 2) is None
    for method, payload in (found, within):
        assert np.array_equal(direct.decode(method, payload, pixels.shape, pixels.dtype), pixels)


def test_webps_best_effort_is_for_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    efforts: list[tuple[int, int]] = []
    encode = webp.encode

    def spy(planes: np.ndarray, *, quality: int = 100, effort: int = 6) -> bytes | None:
        efforts.append((quality, effort))
        return encode(planes, quality=quality, effort=effort)

    monkeypatch.setattr(webp, "encode", spy)
    monkeypatch.setitem(direct._CODECS, Method.WEBP, direct._CODECS[Method.WEBP]._replace(encode=spy))
    rng = np.random.default_rng(6)
    many = rng.integers(0, 256, (60, 3), np.uint8)[rng.integers(0, 60, (200, 200))]
    for planes, last in ((many, (75, 6)), (screen(), (100, 6))):
        efforts.clear()
        found = choice.smallest(planes)
        assert found is not None
        assert efforts[-1] == last
        if found[0] == Method.WEBP:
            assert np.array_equal(direct.decode(*found, planes.shape, "uint8"), planes)


def test_unsupported_samples_and_methods() -> None:
    for planes in (np.zeros((2, 2, 1), np.float64), np.zeros((2, 2), np.uint8), np.zeros((0, 2, 1), np.uint8)):
        with pytest.raises(UnsupportedError):
            choice.smallest(planes)
    with pytest.raises(UnsupportedError, match="method 9"):
        direct.decode(9, b"12345", (1, 1, 1), "uint8")
    with pytest.raises(UnsupportedError):
        direct.decode(Method.RAW, b"12345", (0, 1, 1), "uint8")


def test_results_belong_to_the_caller() -> None:
    for method in METHODS:
        for planes in (make("few", (24, 20, 3)), make("noise", (24, 20, 1))):
            payload = direct.encode(method, np.asfortranarray(planes))
            assert payload is not None
            back = direct.decode(method, payload, planes.shape, "uint8")
            assert same(back, planes)
            back[...] = 0  # neither read-only nor tied to the payload
            assert same(direct.decode(method, payload, planes.shape, "uint8"), planes)


CASES = [(m, make(kind, shape)) for m in METHODS for kind, shape in (("few", (4, 5, 3)), ("texture", (6, 5, 1)))]


@pytest.mark.parametrize("method,planes", CASES, ids=lambda v: v.name if isinstance(v, Method) else f"{v.shape[2]}")
def test_damage_is_seen(method: Method, planes: np.ndarray) -> None:
    payload = direct.encode(method, planes)
    assert payload is not None
    for size in range(len(payload)):
        with pytest.raises(FormatError):
            direct.decode(method, payload[:size], planes.shape, "uint8")
    if method is not Method.WEBP:  # libwebp stops at the last pixel; the container's lengths see to the rest
        with pytest.raises(FormatError):
            direct.decode(method, payload[:-4] + b"\0" + payload[-4:], planes.shape, "uint8")
    for bit in range(0, len(payload) * 8, 3):
        damaged = bytearray(payload)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            back = direct.decode(method, damaged, planes.shape, "uint8")
        except FormatError:
            continue
        # Some bits say nothing about pixels (spare bits of a bitstream); wrong pixels never get through.
        assert same(back, planes)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), SHAPES, st.sampled_from(["uint8", "uint16", "float32"]))
def test_nonsense_is_refused(method: Method, data: bytes, shape: tuple[int, int, int], dtype: str) -> None:
    with pytest.raises(FormatError):
        direct.decode(method, data + b"\x13\x57\x9b\xdf", shape, dtype)


def test_the_pixel_checksum_is_checked() -> None:
    payload = direct.encode(Method.RAW, make("noise", (3, 3, 1)))
    assert payload is not None
    with pytest.raises(ChecksumError):
        direct.decode(Method.RAW, bytes([payload[0], payload[1] ^ 1]) + payload[2:], (3, 3, 1), "uint8")
    with pytest.raises(TruncatedError):
        direct.decode(Method.RAW, payload[:-5] + payload[-4:], (3, 3, 1), "uint8")


def test_bombs_stay_packed() -> None:
    filters = filtered._lzma_filters(0, 100)
    bomb = bytes(2) + lzma.compress(bytes(1 << 25), lzma.FORMAT_RAW, filters=filters) + bytes(4)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more LZMA data"):
            direct.decode(Method.FILTERED, bomb, (10, 10, 1), "uint8")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    huge = webp.encode(np.zeros((16383, 4, 3), np.uint8))
    assert huge is not None
    with pytest.raises(FormatError, match="another image size"):
        direct.decode(Method.WEBP, huge + bytes(4), (4, 4, 3), "uint8")


def test_frozen_bytes() -> None:
    """Files once written open for ever: payloads of this version, and the predictor's exact bytes."""
    y, x, b = np.ogrid[:48, :64, :3]
    planes = ((x * x + 3 * y * y + 40 * b) // 16 + (x * 7 + y * 13) % 5).astype(np.uint8)
    payload = direct.encode(Method.PREDICTOR, planes)
    assert payload is not None
    assert hashlib.sha256(payload).hexdigest() == FROZEN_PREDICTOR
    small = (np.arange(48).reshape(4, 4, 3) * 5 % 11).astype(np.uint8)
    for method, text in FROZEN.items():
        assert same(direct.decode(method, bytes.fromhex(text), small.shape, "uint8"), small)
    assert zlib.crc32(small.tobytes()).to_bytes(4, "little").hex() == FROZEN[Method.RAW][-8:]


FROZEN_PREDICTOR = "b6d718961ee3bf0e5c56f8ff00d9550c4ee0b41660c22ef351528a42b98b81ef"
FROZEN: dict[Method, str] = {
    Method.RAW: "0405a4938271605a4938271605a4938271605a4938271605a464749265",
    Method.FILTERED: "0000e0002f0011030000018a189e39aa5835859f2d88937e20000064749265",
    Method.WEBP: "2f03c000008582006418ecebdf78256eb0ff02fdfe17a1ba45ef8319243b797a64749265",
    Method.PREDICTOR: "00d1291d6608047c8bba55185a6993badfd55cb2962a33a5ad038939909a2f27459b6663809fb2883f52eb5ed63224",
}
