"""The measuring: every peer is lossless, liars are caught, figures add up."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, features

from pil_neuralcodec import benchmark
from pil_neuralcodec.benchmark import Codec, Pixels, Report, Sample, codecs
from pil_neuralcodec.benchmark import report as report_module
from pil_neuralcodec.cli import measure

COFFEE = Path(__file__).parents[1] / "docs" / "coffee.png"


def photo(shape: tuple[int, ...] = (24, 31, 3), dtype: str = "uint8") -> Pixels:
    pixels = np.asarray(Image.open(COFFEE))[100 : 100 + shape[0], 200 : 200 + shape[1]]
    if len(shape) == 2:
        pixels = pixels[..., 0]
    elif shape[2] == 4:
        pixels = np.dstack([pixels, pixels[..., 1] // 2])  # alpha with zeros: hidden colours must survive
    return np.ascontiguousarray(pixels.astype(dtype) * (257 if dtype == "uint16" else 1))


@pytest.mark.parametrize("pixels", [
    photo((15, 19, 3)), photo((15, 19)), photo((15, 19, 4)), photo((15, 19), "uint16"), photo((1, 1, 3)),
    photo((15, 19, 3), "uint16"), photo((15, 19, 4), "uint16"),
    photo((1, 17)), np.zeros((5, 7, 4), np.uint8), np.random.default_rng(1).integers(0, 2**16, (9, 8), dtype=np.uint16),
], ids=lambda x: f"{x.shape}-{x.dtype}-{x.max()}")  # fmt: skip
@pytest.mark.parametrize(
    "codec", [*benchmark.peers(2), *map(benchmark.ours, benchmark.OURS)], ids=lambda codec: codec.name
)
def test_every_codec_is_lossless(codec: Codec, pixels: Pixels) -> None:
    if codec.name.startswith("webp"):
        assert codec.accepts(pixels) == (pixels.dtype == np.uint8)
    else:
        assert codec.accepts(pixels)
    if codec.accepts(pixels):
        row, data = benchmark.measure(codec, Sample("x", pixels))
        assert row.error is None
        assert row.bytes == len(data) > 0
        np.testing.assert_array_equal(codec.decode(data, pixels), pixels, strict=True)


def test_settings_reach_the_codecs() -> None:
    pixels = photo((96, 96, 3))
    data = {codec.name: codec.encode(pixels) for codec in benchmark.peers(2)}
    assert len({data["jxl-e7"], data["jxl-e9"], data["jxl-e10"]}) == 3
    assert data["webp"] != data["webp-max"]
    assert len(data["jpeg2000"]) < len(data["png"]) < len(data["raw"]) == pixels.nbytes


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2).flatmap(
            lambda shape: st.sampled_from([shape, (*shape, 3), (*shape, 4)])
        ),
    )
)
def test_hp1_is_reversible(pixels: Pixels) -> None:
    np.testing.assert_array_equal(codecs.hp1_inverse(codecs.hp1(pixels)), pixels, strict=True)


def test_hp1_values() -> None:
    pixels = np.array([[[10, 20, 30], [255, 0, 127]]], np.uint8)
    assert codecs.hp1(pixels).tolist() == [[[118, 20, 138], [127, 0, 255]]]


def lossy(bad: bool = True) -> Codec:
    return Codec("lossy", "Lossy", ".bad", lambda x: x.tobytes(), lambda data, like: like ^ np.uint8(bad))


def failing() -> Codec:
    def fail(pixels: Pixels) -> bytes:
        raise RuntimeError("no luck")

    return Codec("failing", "Failing", ".bad", fail, lambda data, like: like)


def wrong_type() -> Codec:
    return Codec("wide", "Wide", ".bad", lambda x: x.tobytes(), lambda data, like: like.astype(np.uint16))


@pytest.mark.parametrize(("codec", "text"), [
    (lossy(), "not lossless"), (failing(), "RuntimeError: no luck"), (wrong_type(), "not lossless"),
])  # fmt: skip
def test_failures_are_rows(codec: Codec, text: str) -> None:
    report = Report("x", [codec, lossy(bad=False)])
    report.add(Sample("image", photo()))
    assert [row.error is None for row in report.rows] == [False, True]
    assert text in report.errors[0]
    assert report.errors[0].startswith(f"{codec.name}: image: ")
    assert "(1 FAILED)" in report.to_markdown()
    assert report.rows[0].bytes == 0


def half() -> Codec:
    """Half a byte for each subpixel, whatever it is."""
    memory: dict[bytes, Pixels] = {}

    def encode(pixels: Pixels) -> bytes:
        data = bytes(pixels.size // 2)
        memory[data] = pixels
        return data

    return Codec("half", "Half", ".half", encode, lambda data, like: memory[data])


def test_figures_add_up(tmp_path: Path) -> None:
    raw, webp = benchmark.peers(1)[0], benchmark.peers(1)[5]
    report = Report("set", [raw, half(), webp], command="neuralcodec bench set")
    for name, pixels in (("a.png", photo((40, 50, 3))), ("b.png", photo((10, 20))), ("c", photo((6, 8), "uint16"))):
        report.add(Sample(name, pixels), keep=tmp_path / "kept")
    first, second, third = report.summaries()
    assert (first.bytes, first.images, first.percent_of_raw) == (6000 + 200 + 96, 3, 100.0)
    assert first.bits_per_subpixel == pytest.approx(8 * 6296 / 6248)
    assert first.mean_bits_per_subpixel == pytest.approx((8 + 8 + 16) / 3)
    assert (second.bits_per_subpixel, second.bytes) == (4.0, 3124)
    assert second.percent_of_raw == pytest.approx(100 * 3124 / 6296)
    assert second.encode_seconds_per_megapixel == pytest.approx(second.encode_seconds * 3 / 0.002248)
    assert third.images == 2
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "a.raw", "b.raw", "c.raw", "a.half", "b.half", "c.half", "a.webp", "b.webp",
    }  # fmt: skip
    assert (tmp_path / "kept" / "b.raw").read_bytes() == photo((10, 20)).tobytes()

    markdown = report.to_markdown()
    assert "| Half | 3,124 | 4.000 | 49.6 |" in markdown
    assert f"WebP q75 m4 (libwebp {features.version('webp')}) (2 of 3 images)" in markdown
    assert "`neuralcodec bench set`" in markdown
    loaded = json.loads(report.to_json())
    assert [row["image"] for row in loaded["rows"] if row["codec"] == "raw"] == ["a.png", "b.png", "c"]
    assert loaded["summary"][1]["bits_per_subpixel"] == 4.0
    assert loaded["environment"]["imagecodecs"]


def test_repeat_takes_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 5.0, 6.0, 10.0, 12.0, 20.0])
    monkeypatch.setattr(report_module.time, "perf_counter", lambda: next(ticks))
    row, _ = benchmark.measure(benchmark.peers(1)[0], Sample("x", photo()), repeat=2)
    assert (row.encode_seconds, row.decode_seconds) == (2.0, 1.0)


def test_plot(tmp_path: Path) -> None:
    report = Report("a plot", [codec for codec in benchmark.peers(1) if codec.name in ("raw", "gzip", "png")])
    report.add(Sample("x", photo()))
    report.plot(tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.width > 2 * image.height
        assert len(image.convert("L").getcolors() or ()) > 2
    report.plot(tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert "gzip" in text and "<!-- raw" not in text


@pytest.mark.parametrize(("mode", "bands", "dtype"), [
    ("1", 1, "uint8"), ("L", 1, "uint8"), ("LA", 4, "uint8"), ("P", 4, "uint8"), ("RGB", 3, "uint8"),
    ("RGBA", 4, "uint8"), ("I;16", 1, "uint16"),
])  # fmt: skip
def test_images_of_every_mode_are_read(tmp_path: Path, mode: str, bands: int, dtype: str) -> None:
    image = Image.fromarray(photo((9, 11), "uint16") if mode == "I;16" else photo((9, 11, 4))).convert(mode)
    image.save(tmp_path / "x.png")
    (sample,) = benchmark.load_samples(tmp_path / "x.png")
    assert sample.name == "x.png"
    assert sample.pixels.shape == ((9, 11) if bands == 1 else (9, 11, bands))
    assert sample.pixels.dtype == dtype
    if mode in ("L", "RGB", "RGBA", "I;16"):
        np.testing.assert_array_equal(sample.pixels, np.asarray(image))


def test_sets_and_jpeg_xl_are_read(tmp_path: Path) -> None:
    images = np.stack([photo((8, 8, 3)), 255 - photo((8, 8, 3))])
    np.savez(tmp_path / "two.npz", images=images)
    samples = benchmark.load_samples(tmp_path / "two.npz", "sets/two.npz")
    assert [sample.name for sample in samples] == ["sets/two-0", "sets/two-1"]
    np.testing.assert_array_equal(np.stack([sample.pixels for sample in samples]), images)
    (tmp_path / "x.jxl").write_bytes(imagecodecs.jpegxl_encode(images[1], lossless=True))
    (sample,) = benchmark.load_samples(tmp_path / "x.jxl")
    np.testing.assert_array_equal(sample.pixels, images[1])


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    with pytest.raises(ValueError, match="no array 'images'.*pictures"):
        benchmark.load_samples(tmp_path / "other.npz")
    np.savez(tmp_path / "float.npz", images=np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match="float64"):
        benchmark.load_samples(tmp_path / "float.npz")
    (tmp_path / "x.jxl").write_bytes(b"nothing of the kind")
    with pytest.raises(OSError, match="x.jxl"):
        benchmark.load_samples(tmp_path / "x.jxl")
    for array in (np.zeros((3, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), np.zeros((3, 4, 3), np.int16),
                  np.zeros(3, np.uint8)):  # fmt: skip
        with pytest.raises(ValueError, match="cannot measure"):
            benchmark.as_pixels(array)


def test_crop_keeps_the_top_left() -> None:
    pixels = photo((70, 100, 3))
    cropped = benchmark.crop_to_multiple(Sample("x", pixels), 32)
    np.testing.assert_array_equal(cropped.pixels, pixels[:64, :96])
    with pytest.raises(ValueError, match="smaller than 128"):
        benchmark.crop_to_multiple(cropped, 128)


def test_gray_as_rgb() -> None:
    gray = Sample("x", photo((5, 6)))
    assert benchmark.to_rgb(gray).pixels.shape == (5, 6, 3)
    assert (benchmark.to_rgb(gray).pixels == gray.pixels[..., None]).all()
    for pixels in (photo((5, 6), "uint16"), photo((5, 6, 4))):
        assert benchmark.to_rgb(Sample("x", pixels)).pixels is pixels


def test_names_agree() -> None:
    assert benchmark.NAMES == measure.CODECS
    known = [*benchmark.peers(), *map(benchmark.ours, benchmark.OURS)]
    labels, suffixes = [codec.label for codec in known], [codec.suffix for codec in known]
    assert len(set(labels)) == len(set(suffixes)) == len(benchmark.NAMES)


def test_peers_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "find_spec", lambda name: None)
    assert [codec.name for codec in benchmark.available(benchmark.peers())] == [
        "raw", "gzip", "bzip2", "lzma", "png", "webp", "webp-max",
    ]  # fmt: skip


def test_loading_leaves_no_file_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        benchmark.load_samples(COFFEE)


def test_jpeg_xl_names_its_libjxl(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = next(codec for codec in benchmark.peers(2) if codec.name == "jxl-e7")
    deep = photo((24, 31, 3), "uint16")
    assert re.fullmatch(r"libjxl 0\.1[2-9]\.\d+", new := codec.version(photo()))
    old = "libjxl 0.11.9"
    monkeypatch.setattr(imagecodecs, "jpegxl_version", lambda: old)
    assert (codec.version(deep), codec.version(deep[..., 0])) == (old, new)
    report = Report("x", [codec])
    for name, pixels in (("a", photo()), ("b", deep), ("c", photo((9, 9)))):
        report.add(Sample(name, pixels))
    assert f"| JPEG XL e7 ({new}; {old} for 1 image) |" in report.to_markdown()
    loaded = json.loads(report.to_json())
    assert [row["version"] for row in loaded["rows"]] == [new, old, new]
    assert loaded["summary"][0]["versions"] == [new, old]
    monkeypatch.setattr(codecs, "find_spec", lambda name: None if name == "pillow_jxl" else name)
    row, _ = benchmark.measure(codec, Sample("x", photo()))
    assert (row.error, row.version) == (None, old)


def test_the_plugin_without_a_list_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs.metadata, "files", lambda name: None)
    assert codecs._libjxl_of_plugin.__wrapped__().startswith("pillow-jxl-plugin 1.")


def test_only_the_benchmark_imports_the_plugin() -> None:
    code = (
        "import sys, numpy, pil_neuralcodec, pil_neuralcodec.benchmark as b; b.available(b.peers());"
        "pil_neuralcodec.decode(pil_neuralcodec.encode(numpy.zeros((4, 4, 3), 'u1')));"
        "assert 'pillow_jxl' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_16_bits_are_read_as_they_are(tmp_path: Path, bands: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 2**16, (9, 11, bands), dtype=np.uint16)
    (tmp_path / "x.png").write_bytes(imagecodecs.png_encode(pixels))
    names = ["x.png"]
    if bands > 2:
        extra = ["unassalpha"] if bands == 4 else None
        tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=extra)
        tifffile.imwrite(tmp_path / "z.tif", pixels, photometric="rgb", extrasamples=extra, compression="zlib")
        tifffile.imwrite(tmp_path / "p.tif", np.moveaxis(pixels, 2, 0), photometric="rgb", extrasamples=extra,
                         planarconfig="separate")  # fmt: skip
        (tmp_path / "x.jp2").write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True))
        names += ["x.tif", "z.tif", "p.tif", "x.jp2"]
    if bands == 3:
        (tmp_path / "x.ppm").write_bytes(b"P6 11 9 65535\n" + pixels.astype(">u2").tobytes())
        names.append("x.ppm")
    expected = pixels if bands > 2 else pixels[..., [0, 0, 0, 1]]
    for name in names:
        (sample,) = benchmark.load_samples(tmp_path / name)
        np.testing.assert_array_equal(sample.pixels, expected, strict=True, err_msg=name)


def test_every_frame_is_measured(tmp_path: Path) -> None:
    frames = [Image.fromarray(photo((5, 6, 3)) ^ np.uint8(bits)) for bits in (0, 255)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "y.jxl").write_bytes(imagecodecs.jpegxl_encode(np.stack(frames), lossless=True))
    samples = [sample for name in ("x.tif", "y.jxl") for sample in benchmark.load_samples(tmp_path / name)]
    assert [sample.name for sample in samples] == ["x-0", "x-1", "y-0", "y-1"]
    for sample, frame in zip(samples, frames * 2, strict=True):
        np.testing.assert_array_equal(sample.pixels, frame, strict=True)


SGI_16 = struct.pack(">HBBHHHH", 474, 0, 2, 3, 2, 1, 3) + bytes(500 + 12)
"""An SGI image, 2 x 1 pixels of three bands of 16 bits."""


def test_what_would_be_cut_is_left_out_by_name(tmp_path: Path) -> None:
    for name, shape, dtype in (("gray", (5, 6), "f4"), ("colour", (5, 6, 3), "f4"), ("integers", (5, 6), "i4")):
        tifffile.imwrite(
            tmp_path / f"{name}.tif", np.ones(shape, dtype), photometric="rgb" if len(shape) > 2 else "minisblack"
        )
        with pytest.raises(ValueError, match="cannot measure.*(float32|int32)"):
            benchmark.load_samples(tmp_path / f"{name}.tif")
    (tmp_path / "x.sgi").write_bytes(SGI_16)
    with pytest.raises(OSError, match="Pillow would cut samples of 16 bits, and nothing else reads SGI files"):
        benchmark.load_samples(tmp_path / "x.sgi")
