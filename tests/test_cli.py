"""The command line: files there and back, refusals that name the reason, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image, PngImagePlugin

import pil_neuralcodec
from pil_neuralcodec import cli, container, models
from pil_neuralcodec.cli import measure
from pil_neuralcodec.container import Frame, Header, ImageSpec, Method, Segment

COFFEE = Path(__file__).parents[1] / "docs" / "coffee.png"


def call(*args: object, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args])
    assert result.exit_code == code, (result.output, result.exception)
    return result


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


@pytest.fixture
def coded(photos: Path, tiny: str) -> Path:
    """A file of three frames that a network coded."""
    frames = [Image.open(photos / "rgb.png").rotate(90 * turn) for turn in range(3)]
    frames[0].save(photos / "turning.tiff", save_all=True, append_images=frames[1:])
    call("encode", photos / "turning.tiff", "--model", tiny, "--fallback", "none", "--device", "numpy")
    found = json.loads(call("info", photos / "turning.ifl", "--json").stdout)
    assert found["methods"] == ["network"] and found["n_frames"] == 3
    return photos / "turning.ifl"


def test_device_is_used(coded: Path) -> None:
    for command in (["decode"], ["decode", "--to", "npy"], ["verify", "--deep"]):
        assert "abacus" in call(command[0], coded, *command[1:], "--device", "abacus", code=1).stderr
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


@pytest.mark.parametrize("method", ["raw", "filtered", "predictor", "webp"])
def test_methods_by_name(photos: Path, method: str) -> None:
    call("encode", photos / "rgb.png", "--fallback", method, "--check")
    found = json.loads(call("info", photos / "rgb.ifl", "--json").stdout)
    assert found["methods"] == [method]
    assert (found["mode"], found["width"], found["height"]) == ("RGB", 40, 30)
    assert found["file_size"] == (photos / "rgb.ifl").stat().st_size
    assert found["metadata"]["icc_profile"] == "7 bytes"


def test_info_for_people(photos: Path) -> None:
    call("encode", photos, "--force")
    text = call("info", photos).stdout
    assert "rgb.ifl" in text and "CMYK" in text and "icc_profile 7 bytes" in text


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
    assert "cannot write mode CMYK as PNG" in call("decode", photos / "below" / "cmyk.ifl", code=1).stderr


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
])  # fmt: skip
def test_senseless_command_lines(photos: Path, tmp_path: Path, args: list[str], text: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": str(tmp_path / "empty"), "PHOTOS": str(photos)}
    result = call(*(places.get(arg, arg.replace("PHOTOS", str(photos))) for arg in args), code=2)
    assert text in " ".join(result.stderr.split())


def test_a_file_that_is_not_ours(photos: Path) -> None:
    assert "cannot identify image file" in call("decode", photos / "rgb.png", "--force", code=1).stderr
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
    assert "notes.txt" in result.stderr
    assert "rgb.png (1 image)" in result.stdout


def test_bench(photos: Path, tmp_path: Path) -> None:
    np.savez(photos / "set.npz", images=np.asarray(Image.open(COFFEE).crop((0, 0, 320, 32))).reshape(32, 10, 32, 3)
             .swapaxes(0, 1))  # fmt: skip
    (photos / "broken.png").write_bytes(b"broken")
    result = call("bench", photos, "--skip", "webp-max,jxl-e9,jxl-e10,lzma", "--crop", "16", "-o", tmp_path / "out")
    assert "not read: broken.png" in result.stderr
    figures = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert figures["images"] == 13
    left_out = {"webp-max", "jxl-e9", "jxl-e10", "lzma"}
    assert {row["codec"] for row in figures["rows"]} == set(measure.SELECTIONS["ifl"]) - left_out
    assert {row["image"]: tuple(row["shape"]) for row in figures["rows"]}["rgb.png"] == (16, 32, 3)
    assert len(figures["unreadable"]) == 1
    markdown = (tmp_path / "out" / "bench.md").read_text()
    assert markdown.startswith("## photos\n\n13 images") and "--crop 16" in markdown
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


@pytest.mark.parametrize("bands", [2, 3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_samples_of_16_bits_are_not_cut(tmp_path: Path, suffix: str, bands: int) -> None:
    pixels = np.random.default_rng(bands).integers(0, 2**16, (9, 8, bands), dtype=np.uint16)
    file = tmp_path / f"deep.{suffix}"
    if suffix == "png":
        file.write_bytes(imagecodecs.png_encode(pixels))
    else:
        tifffile.imwrite(file, pixels, photometric="rgb" if bands > 2 else "minisblack", planarconfig="contig")
    call("encode", file, "--check")
    np.testing.assert_array_equal(pil_neuralcodec.decode(tmp_path / "deep.ifl"), pixels, strict=True)
    for target in ("png", "tiff"):
        call("decode", tmp_path / "deep.ifl", "--to", target, "-o", tmp_path / f"back.{target}")
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "back.png").read_bytes()), pixels, strict=True)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "back.tiff"), pixels, strict=True)


def test_deep_samples_of_other_formats(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 2**16, (9, 8, 3), dtype=np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6\n# deep\n8 9\n65535\n" + pixels.astype(">u2").tobytes())
    (tmp_path / "b.jp2").write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True))
    call("encode", tmp_path / "a.ppm", tmp_path / "b.jp2", "--check")
    for name in ("a.ifl", "b.ifl"):
        np.testing.assert_array_equal(pil_neuralcodec.decode(tmp_path / name), pixels, strict=True)
    (tmp_path / "c.avif").write_bytes(imagecodecs.avif_encode(pixels >> 4, level=0, bitspersample=12))
    assert "convert it to TIFF" in call("encode", tmp_path / "c.avif", code=1).stderr
    assert not (tmp_path / "c.ifl").exists()


def test_frames_become_a_stack(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (5, 4), (i, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / "a.ifl", save_all=True, append_images=frames[1:])
    call("decode", tmp_path / "a.ifl", "--to", "npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.stack([np.asarray(frame) for frame in frames]))
    with pytest.raises(ValueError, match="3 frames: pass frame=0 to frame=2"):
        pil_neuralcodec.decode(tmp_path / "a.ifl")
    frames[0].save(tmp_path / "b.ifl", save_all=True, append_images=[Image.new("L", (5, 4))])
    assert "2 frames differ" in call("decode", tmp_path / "b.ifl", "--to", "npy", code=1).stderr
    assert not (tmp_path / "b.npy").exists()


def test_files_that_are_passed_over_are_named(photos: Path, tmp_path: Path) -> None:
    (photos / "old.ifl").write_bytes(b"")
    line = call("encode", photos, "-o", tmp_path / "out").stderr.strip()
    assert line.startswith("skipped 2 (") and "notes.txt" in line and "old.ifl" in line
    assert "rgb.png" in call("decode", tmp_path / "out", photos, "--to", "npy", code=1).stderr


def test_texts_and_comments_are_kept(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "a cup")
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png", pnginfo=texts)
    Image.new("RGB", (5, 4)).save(tmp_path / "b.gif", comment=b"hello")
    call("encode", tmp_path / "a.png", tmp_path / "b.gif", "--check")
    call("decode", tmp_path / "a.ifl", tmp_path / "b.ifl", "-o", tmp_path / "back")
    with Image.open(tmp_path / "back" / "a.png") as image:
        assert image.info["Title"] == "a cup"
    with Image.open(tmp_path / "back" / "b.png") as image:
        assert image.info["Comment"] == "hello"
    assert "do not hold these texts: Title" in call("decode", tmp_path / "a.ifl", "--to", "tiff").stderr


def test_tags_of_tiff_are_kept_or_named(tmp_path: Path) -> None:
    Image.new("L", (5, 4)).save(tmp_path / "a.tif", tiffinfo={270: "a cup", 65000: "private", 269: "a name"})
    stderr = call("encode", tmp_path / "a.tif").stderr
    assert "TIFF tags are not kept: DocumentName, 65000" in stderr
    with Image.open(tmp_path / "a.ifl") as image:
        assert image.getexif()[270] == "a cup"


def test_a_limit_is_one_line(tmp_path: Path) -> None:
    segment = Segment(Method.RAW, (0, 1), (b"x",))
    data = container.write(Header((Frame(ImageSpec.of("L", 2**31 - 1, 2**31 - 1), (segment,)),)))
    (tmp_path / "huge.ifl").write_bytes(data)
    stderr = call("decode", tmp_path / "huge.ifl", code=1).stderr
    assert "2147483647 x 2147483647" in stderr and len(stderr.splitlines()) == 1
