"""The command line: files there and back, refusals that name the reason, exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import call
from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from pil_neuralcodec import Metadata, decode, encode, models, read_info
from pil_neuralcodec.cli import measure
from pil_neuralcodec.cli.kept import values_of_exif
from pil_neuralcodec.container import Frame, Header, ImageSpec, Method, Segment, write
from pil_neuralcodec.metadata import Text

COFFEE = Path(__file__).parents[1] / "docs" / "coffee.png"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with photographs of several kinds, one below another folder, and a file that is no image."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    image = Image.open(COFFEE).crop((200, 100, 240, 130))
    exif = Image.Exif()
    exif[0x010E] = "a cup"
    image.save(folder / "rgb.png", exif=exif, icc_profile=b"profile", dpi=(72, 72))
    image.convert("L").save(folder / "gray.bmp")
    image.convert("CMYK").save(folder / "below" / "cmyk.tif")
    (folder / "notes.txt").write_text("no image")
    return folder


def same(one: Path, other: Path) -> None:
    with Image.open(one) as first, Image.open(other) as second:
        assert first.mode == second.mode
        np.testing.assert_array_equal(np.asarray(first), np.asarray(second), strict=True)


def test_folders_there_and_back(photos: Path, tmp_path: Path) -> None:
    coded, back = tmp_path / "coded", tmp_path / "back"
    result = call("encode", photos, "-o", coded, "--check")
    assert len(result.stdout.splitlines()) == 3
    assert {path.relative_to(coded).as_posix() for path in coded.rglob("*.*")} == {
        "rgb.ifl", "gray.ifl", "below/cmyk.ifl",
    }  # fmt: skip
    with Image.open(coded / "rgb.ifl") as image:
        assert image.format == "IFL"
        assert image.info["icc_profile"] == b"profile"
        assert image.getexif()[0x010E] == "a cup"
    call("verify", coded, "--deep")
    call("decode", coded, "-o", back, "--to", "tiff")
    for name in ("rgb.png", "gray.bmp", "below/cmyk.tif"):
        same(photos / name, (back / name).with_suffix(".tiff"))


def test_one_file_to_a_named_file(photos: Path, tmp_path: Path) -> None:
    call("encode", photos / "rgb.png", "-o", tmp_path / "x" / "named.ifl")
    call("decode", tmp_path / "x" / "named.ifl", "-o", tmp_path / "y.webp")
    same(photos / "rgb.png", tmp_path / "y.webp")
    call("decode", tmp_path / "x" / "named.ifl")
    same(photos / "rgb.png", tmp_path / "x" / "named.png")
    with Image.open(tmp_path / "x" / "named.png") as image:
        assert image.info["icc_profile"] == b"profile"
        assert image.getexif()[0x010E] == "a cup"
    call("decode", tmp_path / "x" / "named.ifl", "--to", "npy")
    np.testing.assert_array_equal(np.load(tmp_path / "x" / "named.npy"), np.asarray(Image.open(photos / "rgb.png")))


def test_animations_keep_frames_and_durations(tmp_path: Path) -> None:
    frames = [Image.open(COFFEE).crop((x, 0, x + 20, 10)) for x in (0, 50, 99)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:], duration=[100, 200, 300])
    call("encode", tmp_path / "a.png", "--check")
    with Image.open(tmp_path / "a.ifl") as image:
        assert image.n_frames == 3
        for index, frame in enumerate(frames):
            image.seek(index)
            assert image.tobytes() == frame.tobytes()
            assert image.info["duration"] == 100 * (index + 1)
    call("decode", tmp_path / "a.ifl", "--to", "tiff")
    with Image.open(tmp_path / "a.tiff") as image:
        assert image.n_frames == 3


CUPS = [Image.open(COFFEE).convert("RGB").crop((x, 0, x + 20, 10)) for x in (0, 50, 99)]


def seen(path: Path) -> tuple[list[bytes], list[int | None], int | None]:
    """Colours and alpha of the frames of a file, their durations, and how often they are played."""
    frames: list[bytes] = []
    durations: list[int | None] = []
    with Image.open(path) as image:
        for frame in range(image.n_frames):
            image.seek(frame)
            frames.append(image.convert("RGBA").tobytes())
            durations.append(image.info.get("duration"))
        return frames, durations, image.info.get("loop")


def spots(path: Path, **options: Any) -> None:
    """A GIF file whose frames Pillow gives in several modes."""
    frames = []
    for i in range(4):
        frame = Image.new("P", (40, 30), 3)
        frame.putpalette([value for k in range(20) for value in (12 * k, 255 - 9 * k, 5 * k)])
        frame.paste(4 * i + 5, (6 * i, 3, 6 * i + 15, 25))
        frames.append(frame)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40, 330, 30, 30], loop=2, **options)


@pytest.mark.parametrize("name", ["a.webp", "a.gif", "a.png"])
def test_animations_come_back(tmp_path: Path, name: str) -> None:
    if name == "a.gif":
        spots(tmp_path / name)
    else:
        lossless = {"lossless": True} if name == "a.webp" else {}
        times = {"duration": [40, 400, 900], "loop": 3}
        CUPS[0].save(tmp_path / name, save_all=True, append_images=CUPS[1:], **times, **lossless)
    call("encode", tmp_path / name, "--keep-suffix")
    result = call("decode", tmp_path / f"{name}.ifl", "-o", f"{tmp_path}/back/")
    assert "not kept" not in result.stderr
    assert seen(tmp_path / "back" / name) == seen(tmp_path / name)


@pytest.mark.parametrize("options", [{}, {"transparency": 3, "disposal": 2}])
def test_frames_of_several_modes_come_back(tmp_path: Path, options: dict[str, Any]) -> None:
    spots(tmp_path / "a.gif", **options)
    call("encode", tmp_path / "a.gif")
    call("decode", tmp_path / "a.ifl")
    assert seen(tmp_path / "a.png") == seen(tmp_path / "a.gif")


def test_frames_that_are_alike_stay_apart(tmp_path: Path) -> None:
    frames = [CUPS[i] for i in (0, 1, 1, 1, 1, 0, 0)]
    times = [33, 66, 5, 1, 7, 80, 100]
    frames[0].save(tmp_path / "a.ifl", save_all=True, append_images=frames[1:], duration=times)
    call("decode", tmp_path / "a.ifl")
    assert seen(tmp_path / "a.png")[:2] == seen(tmp_path / "a.ifl")[:2]


def test_a_still_before_the_animation_is_kept(tmp_path: Path) -> None:
    times = {"duration": [50, 60], "default_image": True}
    CUPS[0].save(tmp_path / "a.png", save_all=True, append_images=CUPS[1:], **times)
    call("encode", tmp_path / "a.png")
    call("decode", tmp_path / "a.ifl", "--force")
    with Image.open(tmp_path / "a.png") as image:
        assert image.default_image
    assert seen(tmp_path / "a.png")[:2] == ([one.convert("RGBA").tobytes() for one in CUPS], [None, 50, 60])
    told = call("decode", tmp_path / "a.ifl", "--to", "webp").stderr
    assert "not kept: that the first frame is no part of the animation\n" in told


def test_durations_that_others_do_not_hold_are_told(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 3), value) for value in (0, 90)]
    frames[0].save(tmp_path / "a.ifl", save_all=True, append_images=frames[1:], duration=[20, 33], loop=0)
    told = call("decode", tmp_path / "a.ifl", "--to", "gif").stderr
    assert "not kept: durations (33 ms became 30 ms)\n" in told
    assert "not kept: durations\n" in call("decode", tmp_path / "a.ifl", "--to", "tiff").stderr


@pytest.mark.skipif(not features.check("avif"), reason="needs Pillow with AVIF")
def test_durations_of_avif(tmp_path: Path) -> None:
    CUPS[0].save(tmp_path / "a.ifl", save_all=True, append_images=CUPS[1:], duration=[40, 400, 900])
    call("decode", tmp_path / "a.ifl", "--to", "avif", "--lossy")
    assert seen(tmp_path / "a.avif")[1] == [40, 400, 900]


@pytest.mark.parametrize("to", ["bmp", "jpg", "ico"])
def test_formats_of_one_image_refuse_several(tmp_path: Path, to: str) -> None:
    CUPS[0].save(tmp_path / "a.ifl", save_all=True, append_images=CUPS[1:])
    told = call("decode", tmp_path / "a.ifl", "--to", to, code=1).stderr
    assert "holds one image, and this file 3 frames: use --to png\n" in told


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    CUPS[0].save(tmp_path / "a.ifl", xmp=b"<x/>")
    told = call("decode", tmp_path / "a.ifl", "--to", "pdf", code=1).stderr
    assert "what Pillow writes as PDF it does not read again, to compare: use --to png, or --lossy" in told
    assert "not kept: xmp" in call("decode", tmp_path / "a.ifl", "--to", "pdf", "--lossy").stderr
    assert (tmp_path / "a.pdf").exists()


@pytest.fixture
def coded(photos: Path, tiny: str) -> Path:
    """A file of three frames that a network coded."""
    frames = [Image.open(photos / "rgb.png").rotate(90 * turn) for turn in range(3)]
    frames[0].save(photos / "turning.tiff", save_all=True, append_images=frames[1:])
    call("encode", photos / "turning.tiff", "--model", tiny, "--fallback", "none", "--device", "numpy")
    found = json.loads(call("info", photos / "turning.ifl", "--json").stdout)
    assert found["methods"] == ["photo"] and found["n_frames"] == 3
    return photos / "turning.ifl"


def test_device_is_used(coded: Path) -> None:
    for command in (["decode"], ["decode", "--to", "npy"], ["verify", "--deep"]):
        found = call(command[0], coded, *command[1:], "--device", "abacus", code=2).stderr
        assert "unknown device 'abacus': choose from numpy, cpu, cuda" in found
    call("verify", coded, "--deep", "--device", "numpy")
    call("decode", coded, "--to", "png", "--device", "numpy")
    with Image.open(coded.with_suffix(".png")) as back, Image.open(coded.with_suffix(".tiff")) as image:
        for frame in range(3):
            back.seek(frame)
            image.seek(frame)
            assert back.convert("RGB").tobytes() == image.tobytes()


def test_a_model_that_is_missing_is_named(coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = json.loads(call("info", coded, "--json").stdout)["model"]
    monkeypatch.delenv(models.ENVIRONMENT)
    assert model in call("decode", coded, "--force", "--jobs", "1", code=1).stderr


def test_patterns(photos: Path) -> None:
    result = call("encode", photos / "**" / "*.[bt]*", code=1)  # beside each image; notes.txt matches too, and fails
    assert "notes.txt" in result.stderr and "1 of 3 files failed" in result.stderr
    assert {path.name for path in photos.rglob("*.ifl")} == {"gray.ifl", "cmyk.ifl"}


def test_a_method_by_name(photos: Path) -> None:
    call("encode", photos / "rgb.png", "--fallback", "raw", "--check")
    found = json.loads(call("info", photos / "rgb.ifl", "--json").stdout)
    assert found["methods"] == ["raw"]
    assert (found["mode"], found["width"], found["height"]) == ("RGB", 40, 30)
    assert found["file_size"] == (photos / "rgb.ifl").stat().st_size
    assert found["metadata"]["icc_profile"] == "7 bytes"


def test_axes_are_not_for_images(photos: Path) -> None:
    np.save(photos / "a.npy", np.zeros((4, 5, 6), "u1"))
    told = call("encode", photos / "rgb.png", photos / "a.npy", "--axes", "ZYX", "--check").stderr
    assert f"warning: {photos}/rgb.png: it holds images, not an array with axes: --axes ZYX means nothing" in told
    assert "a.npy:" not in told and read_info(photos / "a.ifl").metadata.axes is not None


def test_info_for_people(photos: Path) -> None:
    call("encode", photos, "--force", "--fallback", "raw")
    text = call("info", photos).stdout
    assert "rgb.ifl" in text and "CMYK" in text and "icc_profile 7 bytes" in text
    assert "1 of 2 files failed" in call("info", photos / "rgb.ifl", photos / "rgb.png", code=1).stderr


def test_the_engine(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs, why, and what was tried."""
    model = models.load(tiny)
    monkeypatch.setattr(models, "load", lambda: model)
    engine = model.network().device
    found = json.loads(call("info", "--engine", "--json").stdout)
    assert found["engine"].startswith(engine) and found["model"] == tiny and found["threads"] >= 1
    assert found["self_tests"][-1]["problem"] == "" and found["self_tests"][-1]["milliseconds"] > 0
    text = call("info", "--engine", "--device", "numpy").stdout
    assert "engine           numpy fp32" in text and "self tests       numpy fp32 right in " in text
    monkeypatch.setenv("NEURALCODEC_ISA", "none")
    assert "not allowed by NEURALCODEC_ISA" in call("info", "--engine").stdout
    assert "'abacus'" in call("info", "--engine", "--device", "abacus", code=2).stderr
    assert "pass --engine" in call("info", code=2).stderr


def test_several_processes(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(COFFEE.read_bytes()[:5000])
    one, two = (call("encode", photos, "-o", tmp_path / jobs, "--jobs", jobs, code=1) for jobs in ("1", "2"))
    assert "1 of 4 files failed" in one.stderr and "1 of 4 files failed" in two.stderr
    assert "broken.png" in one.stderr
    files = {path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.ifl")}
    assert len(files) == 3
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes()
    assert not list((tmp_path / "1").rglob(".*"))  # nothing half-written is left


def test_damage_is_found(photos: Path) -> None:
    call("encode", photos / "rgb.png", photos / "gray.bmp")
    data = bytearray((photos / "rgb.ifl").read_bytes())
    data[-20] ^= 1
    (photos / "rgb.ifl").write_bytes(data)
    result = call("verify", photos, code=1)
    assert "rgb.ifl" in result.stderr and "checksum" in result.stderr
    assert "gray.ifl: every byte checksum is right" in result.stdout
    assert "gray.ifl" not in call("verify", "--quiet", photos, code=1).stdout
    call("decode", photos / "rgb.ifl", "-o", photos / "out.png", code=1)
    assert not (photos / "out.png").exists()
    (photos / "rgb.ifl").write_bytes(data[:30])
    assert "rgb.ifl" in call("info", photos, code=1).stderr


def test_nothing_is_overwritten_unasked(photos: Path) -> None:
    (photos / "rgb.ifl").write_text("precious")
    result = call("encode", photos / "rgb.png", code=2)
    assert "rgb.ifl exists" in result.stderr and "--force" in result.stderr
    assert (photos / "rgb.ifl").read_text() == "precious"
    call("encode", photos / "rgb.png", "--force")
    call("verify", photos / "rgb.ifl")


def test_two_files_for_one_place_are_refused(photos: Path) -> None:
    Image.open(photos / "gray.bmp").save(photos / "rgb.webp")
    result = call("encode", photos, code=2)
    assert "would both be written to" in result.stderr
    assert not list(photos.rglob("*.ifl"))


def test_targets_that_lose_something_are_refused(photos: Path) -> None:
    call("encode", photos / "rgb.png")
    result = call("decode", photos / "rgb.ifl", "--to", "jpg", code=1)
    assert "exactly" in result.stderr
    assert not (photos / "rgb.jpg").exists()
    call("decode", photos / "rgb.ifl", "--to", "jpg", "--lossy")
    with Image.open(photos / "rgb.jpg") as image:
        assert image.size == (40, 30)
    call("encode", photos / "below" / "cmyk.tif")
    refused = call("decode", photos / "below" / "cmyk.ifl", "--to", "png", code=1).stderr
    assert "cannot write mode CMYK as PNG" in refused


@pytest.mark.parametrize(("args", "text"), [
    (["encode"], "Missing argument"),
    (["encode", "nowhere.png"], "nowhere.png: no such file or folder"),
    (["encode", "no*where"], "nothing matches"),
    (["encode", "EMPTY"], "no fitting files"),
    (["decode", "PHOTOS"], "no fitting files"),
    (["decode", "PHOTOS/rgb.png", "--to", "zip"], "cannot write .zip files"),
    (["encode", "PHOTOS", "--fallback", "magic"], "magic"),
    (["compare", "PHOTOS", "--only", "png,tiff"], "unknown codec 'tiff': choose from raw, gzip"),
    (["compare", "PHOTOS", "--only", "png", "--skip", "png"], "no codec is left"),
    (["compare", "PHOTOS", "--json", "PHOTOS/nowhere/x.json"], "there is no folder"),
])  # fmt: skip
def test_senseless_command_lines(photos: Path, tmp_path: Path, args: list[str], text: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": str(tmp_path / "empty"), "PHOTOS": str(photos)}
    result = call(*(places.get(arg, arg.replace("PHOTOS", str(photos))) for arg in args), code=2)
    assert text in " ".join(result.stderr.split())


def test_a_file_that_is_not_ours(photos: Path) -> None:
    assert "not an .ifl or .bsw file" in call("decode", photos / "rgb.png", "--force", code=1).stderr
    assert "rgb.png" in call("verify", photos / "rgb.png", code=1).stderr


def test_a_model_that_is_not_there(photos: Path) -> None:
    result = call("encode", photos / "rgb.png", "--model", "no-such-model", code=1)
    assert "no-such-model" in result.stderr
    assert not (photos / "rgb.ifl").exists()


def test_compare(photos: Path, tmp_path: Path) -> None:
    result = call("compare", photos / "rgb.png", photos / "below", "--only", "raw,png,jxl-e7,ifl", "--keep",
                  tmp_path / "kept", "--json", tmp_path / "figures.json")  # fmt: skip
    assert result.stdout.count("JPEG XL e7") == 2
    assert "3,600" in result.stdout  # raw bytes of 40 x 30 x 3
    same(tmp_path / "kept" / "rgb.ifl", photos / "rgb.png")
    first, second = json.loads((tmp_path / "figures.json").read_text())
    sizes = {row["codec"]: row["bytes"] for row in first["rows"]}
    assert sizes["ifl"] == (tmp_path / "kept" / "rgb.ifl").stat().st_size
    assert list(sizes) == ["raw", "png", "jxl-e7", "ifl"]
    assert second["rows"][0]["image"] == "cmyk.tif"
    assert first["command"].startswith("neuralcodec compare ")


def test_compare_shows_the_table_of_bit_swap(photos: Path, tmp_path: Path) -> None:
    call("compare", photos / "rgb.png", "--format", "bsw", "--json", tmp_path / "figures.json")
    [figures] = json.loads((tmp_path / "figures.json").read_text())
    assert [row["codec"] for row in figures["rows"]] == [
        "raw", "gzip", "bzip2", "lzma", "png", "webp-max", "bb-ans", "bsw",
    ]  # fmt: skip


def test_compare_names_what_it_cannot_read(photos: Path) -> None:
    result = call("compare", photos / "notes.txt", photos / "rgb.png", "--only", "raw", code=1)
    assert f"1 of 2 files failed: {photos}/notes.txt" in result.stderr
    assert "rgb.png (1 image)" in result.stdout


def test_bench(photos: Path, tmp_path: Path) -> None:
    np.savez(photos / "set.npz", images=np.asarray(Image.open(COFFEE).crop((0, 0, 128, 32))).reshape(32, 4, 32, 3)
             .swapaxes(0, 1))  # fmt: skip
    (photos / "broken.png").write_bytes(b"broken")
    result = call(
        "bench", photos, "--skip", "webp-max,jxl-e9,jxl-e10,lzma", "--crop", "16", "-o", tmp_path / "out", code=1
    )
    assert "not read: broken.png" in result.stderr
    figures = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert figures["images"] == 7
    left_out = {"webp-max", "jxl-e9", "jxl-e10", "lzma"}
    assert {row["codec"] for row in figures["rows"]} == set(measure.SELECTIONS["ifl"]) - left_out
    assert {row["image"]: tuple(row["shape"]) for row in figures["rows"]}["rgb.png"] == (16, 32, 3)
    assert len(figures["unreadable"]) == 1
    markdown = (tmp_path / "out" / "bench.md").read_text()
    assert markdown.startswith("## photos\n\n7 images") and "--crop 16" in markdown
    with Image.open(tmp_path / "out" / "bench.png") as plot:
        assert plot.width > 1000


def test_bench_of_two_folders_of_one_layout(photos: Path, tmp_path: Path) -> None:
    Image.open(photos / "gray.bmp").save(photos / "below" / "gray.bmp")
    other = photos.rename(tmp_path / "others") / "below"
    call("bench", tmp_path / "others" / "gray.bmp", other, "--only", "raw", "--rgb", "-o", tmp_path / "out")
    figures = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert figures["images"] == 3
    assert sorted(row["image"] for row in figures["rows"]) == ["below/cmyk.tif", "below/gray.bmp", "others/gray.bmp"]
    assert {tuple(row["shape"]) for row in figures["rows"]} == {(30, 40, 3)}


def test_bench_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    assert "no image could be read" in call("bench", tmp_path, "--only", "raw", code=1).stderr


def test_version() -> None:
    assert call("--version").stdout.startswith("neuralcodec, version ")


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A folder of files that Pillow does not read as they are."""
    folder = tmp_path / "deep"
    folder.mkdir()
    array = DEEP
    cup: dict[str, Any] = {"photometric": "rgb", "description": "a cup", "resolution": (72, 72)}
    # Without tifffile's own description behind the other: Pillow 12.0 and older take the last of two.
    tifffile.imwrite(folder / "rgb16.tif", array[..., :3], metadata=None, **cup)
    tifffile.imwrite(folder / "lzw.tif", array[..., :3], photometric="rgb", compression="lzw", byteorder=">")
    planes = np.ascontiguousarray(np.moveaxis(array[..., :3], 2, 0))
    tifffile.imwrite(folder / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    tifffile.imwrite(folder / "float.tif", array[..., :3].astype("f4"), **cup)
    (folder / "rgb16.png").write_bytes(imagecodecs.png_encode(array[..., :3].copy()))
    (folder / "rgba16.png").write_bytes(imagecodecs.png_encode(array))
    (folder / "la16.png").write_bytes(imagecodecs.png_encode(array[..., :2].copy()))
    (folder / "rgb16.ppm").write_bytes(b"P6 # comment\n5 6 65535\n" + array[..., :3].astype(">u2").tobytes())
    (folder / "plain.ppm").write_text(f"P3 5 6 65535 {' '.join(map(str, array[..., :3].ravel()))}")
    (folder / "gray12.pgm").write_bytes(b"P5 5 6 4095\n" + (array[..., 0] >> 4).astype(">u2").tobytes())
    jp2 = imagecodecs.jpeg2k_encode(array[..., :3].copy(), reversible=True, level=0)
    (folder / "rgb16.jp2").write_bytes(jp2)
    return folder


DEEP = (np.arange(6 * 5 * 4, dtype="u2") * 521).reshape(6, 5, 4)
DEEP_FILES = {
    "rgb16.tif": 3, "lzw.tif": 3, "planes.tif": 3, "float.tif": 3, "rgb16.png": 3, "rgba16.png": 4, "la16.png": 2,
    "rgb16.ppm": 3, "plain.ppm": 3, "rgb16.jp2": 3, "gray12.pgm": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", DEEP_FILES)
def test_all_bits_of_a_file_are_kept(deep: Path, name: str) -> None:
    call("encode", deep / name, "-o", deep / "a.ifl", "--check")
    bands = DEEP_FILES[name]
    expected = DEEP[..., :bands] if bands > 1 else DEEP[..., 0] >> 4
    expected = expected.astype("f4") if name == "float.tif" else expected
    np.testing.assert_array_equal(decode(deep / "a.ifl"), expected, strict=True)


@pytest.mark.parametrize("name", ["rgb16", "float"])  # read by Pillow, and by tifffile
def test_metadata_of_a_deep_file_is_kept(deep: Path, name: str) -> None:
    call("encode", deep / f"{name}.tif")
    metadata = read_info(deep / f"{name}.ifl").metadata
    exif = Image.Exif()
    exif.load(metadata.exif)
    assert (metadata.dpi, exif[270]) == ((72.0, 72.0), "a cup")


@pytest.mark.parametrize("to", ["npy", "tiff", "png"])
def test_deep_files_come_back(deep: Path, to: str) -> None:
    call("encode", deep / "rgb16.jp2")
    call("decode", deep / "rgb16.ifl", "--to", to, "-o", deep / f"back.{to}")
    read = {"npy": np.load, "tiff": tifffile.imread, "png": lambda path: imagecodecs.png_decode(path.read_bytes())}
    np.testing.assert_array_equal(read[to](deep / f"back.{to}"), DEEP[..., :3], strict=True)
    assert "use --to npy" in call("decode", deep / "rgb16.ifl", "--to", "webp", code=1).stderr


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_png_files_of_16_bits_keep_metadata(tmp_path: Path, bands: int) -> None:
    exif = Image.Exif()
    exif[270] = "a cup"
    texts = (Text("Title", "cup"), Text("Titel", "\u6807", "de", "Titel"))
    metadata = Metadata(icc_profile=b"profile", exif=exif.tobytes(), xmp=b"<x/>", dpi=(72, 72), text=texts)
    array = DEEP[..., :bands].copy()
    (tmp_path / "a.ifl").write_bytes(encode(array, metadata=metadata))
    assert "not kept" not in call("decode", tmp_path / "a.ifl").stderr
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "a.png").read_bytes()), array, strict=True)
    with Image.open(tmp_path / "a.png") as image:
        image.verify()
    call("encode", tmp_path / "a.png", "-o", tmp_path / "b.ifl")
    back = read_info(tmp_path / "b.ifl").metadata
    assert back.dpi == pytest.approx((72, 72), abs=0.02)  # PNG holds whole dots per metre
    assert (back.icc_profile, back.xmp, set(back.text or ())) == (b"profile", b"<x/>", set(texts))
    assert values_of_exif(back.exif) == {270: "a cup"}
    (tmp_path / "c.ifl").write_bytes(encode(array, metadata=Metadata(comment=b"words")))
    assert "not kept: comment\n" in call("decode", tmp_path / "c.ifl").stderr


@pytest.mark.parametrize(("name", "packages"), [("rgb16.tif", "tifffile imagecodecs"), ("rgb16.png", "imagecodecs")])
def test_what_would_be_cut_is_refused(deep: Path, name: str, packages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in packages.split():
        monkeypatch.setitem(sys.modules, package, None)
    result = call("encode", deep / name, code=1)
    assert f"Pillow would cut samples of 16 bits: install {' and '.join(packages.split())}" in result.stderr
    assert f"pip install {packages}" in result.stderr
    assert not (deep / name).with_suffix(".ifl").exists()


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_signed_tiff_files_of_16_bits_stay_so(pages: int, byteorder: Any, tmp_path: Path) -> None:
    """Pillow makes 32 bits of them, which no network codes."""
    array = DEEP[..., 0].astype("i2") - np.int16(9999)
    with tifffile.TiffWriter(tmp_path / "ct.tif", byteorder=byteorder) as file:
        for _ in range(pages):
            file.write(array, description="a cup", metadata=None)
    call("encode", tmp_path / "ct.tif", "--keep-suffix", "--check")
    assert read_info(tmp_path / "ct.tif.ifl").metadata.exif is not None
    (tmp_path / "ct.tif").unlink()
    call("decode", tmp_path / "ct.tif.ifl")
    with tifffile.TiffFile(tmp_path / "ct.tif") as file:
        for page, frame in zip(file.pages, decode(tmp_path / "ct.tif.ifl", frames="all"), strict=True):
            np.testing.assert_array_equal(page.asarray(), array, strict=True)
            np.testing.assert_array_equal(frame[..., 0], array, strict=True)


def test_signed_tiff_files_without_tifffile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = DEEP[..., 0].astype("i2")
    tifffile.imwrite(tmp_path / "ct.tif", array)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    call("encode", tmp_path / "ct.tif", "--check")
    np.testing.assert_array_equal(decode(tmp_path / "ct.ifl"), array.astype("i4"), strict=True)


def test_files_that_do_not_seek(tmp_path: Path) -> None:
    array = np.arange(3600, dtype="f4").reshape(60, 60)
    Image.fromarray(array).save(tmp_path / "x.spi", format="SPIDER")
    call("encode", tmp_path / "x.spi", "--check")
    with Image.open(tmp_path / "x.spi") as image:
        image.save(tmp_path / "y.ifl", save_all=True)
    for name in "xy":
        np.testing.assert_array_equal(decode(tmp_path / f"{name}.ifl"), array, strict=True)


def test_frames_become_one_array(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 4), (i, 2, 3)) for i in range(3)]
    frames[0].save(tmp_path / "a.ifl", save_all=True, append_images=frames[1:])
    call("decode", tmp_path / "a.ifl", "--to", "npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.stack(list(map(np.asarray, frames))), strict=True)
    frames[0].save(tmp_path / "b.ifl", save_all=True, append_images=[Image.new("L", (5, 4))])
    assert "the 2 frames differ" in call("decode", tmp_path / "b.ifl", "--to", "npy", code=1).stderr
    assert not (tmp_path / "b.npy").exists()


def test_skipped_files_are_named(photos: Path) -> None:
    Image.open(photos / "gray.bmp").save(photos / "old.ifl")
    result = call("encode", photos, "-q", "--fallback", "raw")
    assert result.stderr == (
        "2 files skipped: old.ifl (encoded already); notes.txt (no suffix of an image that can be read)\n"
    )
    for i in range(9):
        (photos / f"notes{i}.txt").touch()
    assert "notes0.txt" in call("encode", photos, "--force", "--fallback", "raw").stderr
    assert "and 5 more" in call("encode", photos, "--force", "--fallback", "raw").stderr


def test_texts_and_comments_come_back(tmp_path: Path) -> None:
    image, info = Image.new("RGB", (4, 4)), PngInfo()
    info.add_text("Title", "a cup")
    info.add_itxt("XML:com.adobe.xmp", "<x/>")
    image.save(tmp_path / "a.png", pnginfo=info)
    call("encode", tmp_path / "a.png")
    call("decode", tmp_path / "a.ifl", "--force")
    with Image.open(tmp_path / "a.png") as back:
        assert (back.text["Title"], back.info["xmp"]) == ("a cup", b"<x/>")
    assert "not kept: xmp, text Title" in call("decode", tmp_path / "a.ifl", "--to", "bmp").stderr
    image.convert("L").save(tmp_path / "b.gif", comment=b"words")
    call("encode", tmp_path / "b.gif")
    assert "not kept: comment" in call("decode", tmp_path / "b.ifl", "-o", tmp_path / "b.png").stderr
    call("decode", tmp_path / "b.ifl", "--to", "gif", "--force", "--lossy")
    with Image.open(tmp_path / "b.gif") as back:
        assert back.info["comment"] == b"words"


def test_a_limit_is_one_line(tmp_path: Path) -> None:
    segment = Segment(Method.RAW, (0, 1), (b"x",))
    (tmp_path / "a.ifl").write_bytes(write(Header((Frame(ImageSpec.of("L", 70000, 70000), (segment,)),))))
    for to in ("png", "npy"):
        result = call("decode", tmp_path / "a.ifl", "--to", to, code=1)
        assert len(result.stderr.splitlines()) == 1 and "70000 x 70000 pixels exceeds the limit" in result.stderr


def test_encode_has_no_ordering(photos: Path) -> None:
    assert "--ordering" in call("encode", photos / "rgb.png", "--ordering", "bb-ans", code=2).stderr


@pytest.mark.parametrize("key", ["file", "allow_pickle", "args", "arr_0"])
def test_keys_of_npz_files_may_be_names_of_arguments(tmp_path: Path, key: str) -> None:
    array = np.arange(12, dtype=np.int16).reshape(3, 4)
    with ZipFile(tmp_path / "a.npz", "w") as file, file.open(f"{key}.npy", "w") as part:
        np.save(part, array)
    call("encode", tmp_path / "a.npz")
    call("decode", tmp_path / "a.ifl", "-o", tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz") as found:
        assert list(found) == [key]
        np.testing.assert_array_equal(found[key], array, strict=True)


@pytest.mark.parametrize("mode", ["HSV", "La", "RGBa", "RGBX"])
def test_modes_that_no_image_file_holds_become_arrays(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / "a.ifl")
    assert f"not kept: mode {mode}\n" in call("decode", tmp_path / "a.ifl").stderr
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.asarray(Image.new(mode, (3, 2))), strict=True)
    assert "use --to npy" in call("decode", tmp_path / "a.ifl", "--to", "tiff", code=1).stderr


def test_pages_of_several_modes_become_tiff(tmp_path: Path) -> None:
    frames = [CUPS[0], CUPS[1].convert("L"), CUPS[2].resize((3, 4))]
    for count in (2, 3):
        frames[0].save(tmp_path / "a.ifl", save_all=True, append_images=frames[1:count])
        call("decode", tmp_path / "a.ifl", "--force")
        with Image.open(tmp_path / "a.tiff") as image:
            for frame in range(count):
                image.seek(frame)
                assert (image.mode, image.tobytes()) == (frames[frame].mode, frames[frame].tobytes())


def test_pages_of_several_depths_become_tiff(tmp_path: Path) -> None:
    pages = [DEEP[..., :3].astype("u1"), DEEP[..., :3], DEEP[..., 0].astype("u1")]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, photometric="rgb" if page.ndim == 3 else "minisblack", metadata=None)
    call("encode", tmp_path / "a.tif", "--check")
    call("decode", tmp_path / "a.ifl")
    with tifffile.TiffFile(tmp_path / "a.tiff") as file:
        for page, back in zip(pages, file.pages, strict=True):
            np.testing.assert_array_equal(back.asarray(), page, strict=True)


def test_metadata_that_png_does_not_hold_is_told(tmp_path: Path) -> None:
    texts = {"\u6807\u9898": "a", "Title": "\u6807"}
    Image.new("L", (2, 2)).save(tmp_path / "a.ifl", text=texts, xmp="<x/>".encode("utf-16"))
    result = call("decode", tmp_path / "a.ifl")
    assert "not kept: xmp, text \u6807\u9898\n" in result.stderr
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["Title"] == "\u6807"


def test_texts_do_not_govern_the_terminal(tmp_path: Path) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.ifl", text={"a\x1b[2J": "b\x1b]0;c\x07"})
    assert "a\\x1b[2J: b\\x1b]0;c\\x07\n" in call("info", tmp_path / "a.ifl").stdout


def test_info_of_a_malformed_file_is_one_line(tmp_path: Path) -> None:
    """A header alone does not tell that a sample of 64 bits lacks its other half."""
    frame = Frame(ImageSpec("", 2, 2, 64), (Segment(Method.RAW, (0, 1), (bytes(21),)),))
    (tmp_path / "a.ifl").write_bytes(write(Header((frame,))))
    assert call("info", tmp_path / "a.ifl", code=1).stderr.startswith(f"error: {tmp_path / 'a.ifl'}: 1 stored bands")


@pytest.mark.parametrize("dpi", [float("nan"), float("inf"), -1.0, 2.0**32])
@pytest.mark.parametrize("to", ["png", "tiff", "bmp"])
def test_dpi_that_others_do_not_hold_are_told(tmp_path: Path, dpi: float, to: str) -> None:
    """Pillow and tifffile raise for them; TIFF files say 0 / 0, too."""
    Image.new("L", (2, 2)).save(tmp_path / "a.ifl", dpi=(dpi, 72))
    data = encode(np.zeros((3, 4, 3), np.uint16), metadata=Metadata(dpi=(dpi, 72)))
    (tmp_path / "b.ifl").write_bytes(data)
    for name in "ab" if to != "bmp" else "a":
        assert "not kept: dpi" in call("decode", tmp_path / f"{name}.ifl", "--to", to).stderr


@pytest.mark.parametrize("exif", [b"Exif\0\0junkjunk", b"Exif\0\0II*\0"])
def test_exif_that_cannot_be_read_is_told(tmp_path: Path, exif: bytes) -> None:
    """And needs no more than itself: there are the pixels, and a thumbnail."""
    Image.new("CMYK", (3, 2), "red").save(tmp_path / "a.ifl", exif=exif)
    (tmp_path / "b.ifl").write_bytes(encode(np.zeros((3, 4, 3), np.int16), metadata=Metadata(exif=exif)))
    for name in "ab":
        assert "not kept: exif\n" in call("decode", tmp_path / f"{name}.ifl", "--to", "tiff").stderr
    same(tmp_path / "a.ifl", tmp_path / "a.tiff")
    call("thumbnail", tmp_path / "a.ifl", tmp_path / "a.png")
