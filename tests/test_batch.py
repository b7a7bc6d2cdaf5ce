"""Many files on the command line: where they go, what is told of them, how work stops and goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from conftest import call
from PIL import Image
from proof.batch import prove

from pil_neuralcodec import decode, jxl_head, plugins, save
from pil_neuralcodec.atomic import part_of, written_whole
from pil_neuralcodec.cli import batch
from pil_neuralcodec.cli.growth import growing
from pil_neuralcodec.cli.sources import Job
from pil_neuralcodec.pillow_cut import what_is_cut

COFFEE = Path(__file__).parents[1] / "docs" / "coffee.png"
FAST = ("--fallback", "raw")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder with two photographs of one stem, one below, a broken one, a text and a link that leads nowhere."""
    folder = tmp_path / "mixed"
    (folder / "below").mkdir(parents=True)
    image = Image.open(COFFEE).convert("RGB").crop((200, 100, 240, 130))
    image.save(folder / "IMG_1.png")
    image.save(folder / "IMG_1.jpg")
    image.convert("CMYK").save(folder / "below" / "ink.tif")
    (folder / "broken.png").write_bytes(COFFEE.read_bytes()[:5000])
    (folder / "notes.txt").touch()
    (folder / "gone.png").symlink_to("nowhere.png")
    return folder


def test_a_batch_is_told_file_by_file_and_in_sum(mixed: Path, tmp_path: Path) -> None:
    assert ": --keep-suffix keeps them apart" in call("encode", mixed, "-o", tmp_path / "out", code=2).stderr
    result = call("encode", mixed, "-o", tmp_path / "out", "--keep-suffix", *FAST, code=1)
    out = tmp_path / "out"
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.*")} == {
        "IMG_1.png.ifl", "IMG_1.jpg.ifl", "below/ink.tif.ifl",
    }  # fmt: skip
    size, source = ((folder / name).stat().st_size for folder, name in ((out, "IMG_1.png.ifl"), (mixed, "IMG_1.png")))
    told = f"{mixed}/IMG_1.png: {out}/IMG_1.png.ifl, {size:,} bytes, {100 * size / source:.1f} % of the source, "
    assert told in result.stdout
    assert "3 files done, " in result.stderr
    assert "2 files skipped: gone.png (a link that leads nowhere); notes.txt (no suffix" in result.stderr
    assert f"1 of 4 files failed: {mixed}/broken.png" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="links")
def test_patterns_follow_links_to_folders_that_they_name_alone(mixed: Path, tmp_path: Path) -> None:
    (mixed / "linked").symlink_to(mixed / "below")
    told = call("encode", mixed / "**" / "*.tif", *FAST)
    assert told.stdout.count("\n") == 1 and f"{mixed}/below/ink.tif: " in told.stdout
    assert "1 file skipped: linked (a link to a folder)" in told.stderr
    for index, pattern in enumerate(("linked/*.tif", "l*/*.tif", "**/linked/*.tif", "linked/**/*.tif", "be*/**")):
        assert "ink.tif: " in call("encode", mixed / pattern, "-o", f"{tmp_path}/{index}/", *FAST).stdout


def test_each_file_gets_its_own_format_back(mixed: Path, tmp_path: Path) -> None:
    call("encode", mixed, "-o", tmp_path / "out", "--keep-suffix", *FAST, code=1)
    (tmp_path / "out" / "plain.ifl").write_bytes((tmp_path / "out" / "below" / "ink.tif.ifl").read_bytes())
    call("decode", tmp_path / "out", "-o", tmp_path / "back")
    assert {path.relative_to(tmp_path / "back").as_posix() for path in (tmp_path / "back").rglob("*.*")} == {
        "IMG_1.png", "IMG_1.jpg.png", "below/ink.tif", "plain.tiff",
    }  # fmt: skip
    for name in ("IMG_1.png", "below/ink.tif"):
        with Image.open(mixed / name) as one, Image.open(tmp_path / "back" / name) as other:
            assert (one.format, one.mode, one.tobytes()) == (other.format, other.mode, other.tobytes())


def test_json_lines(mixed: Path, tmp_path: Path) -> None:
    result = call("encode", mixed, "-o", tmp_path / "out", "--keep-suffix", "--json", *FAST, code=1)
    *files, summary = map(json.loads, result.stdout.splitlines())
    assert result.stderr == ""
    assert summary == {"summary": {"done": 3, "failed": 1, "skipped": 2, "stopped": None}}
    found = {Path(one["file"]).name: one for one in files}
    assert found["notes.txt"]["status"] == "skipped" and found["broken.png"]["status"] == "failed"
    done = found["IMG_1.png"]
    assert done["target"] == str(tmp_path / "out" / "IMG_1.png.ifl")
    assert done["target_bytes"] == Path(done["target"]).stat().st_size
    assert done["source_bytes"] == (mixed / "IMG_1.png").stat().st_size
    assert json.loads(call("verify", done["target"], "--json").stdout.splitlines()[0])["status"] == "done"


def test_nothing_is_written_over_itself(mixed: Path) -> None:
    """Unless that is asked for."""
    call("encode", mixed / "IMG_1.png", "-o", mixed / "a.ifl", *FAST)
    before = (mixed / "a.ifl").read_bytes()
    assert "would be written over itself" in call("encode", mixed / "a.ifl", code=2).stderr
    assert "would be written over itself" in call("decode", mixed / "IMG_1.png", code=2).stderr
    call("encode", mixed / "a.ifl", "--force", "--fallback", "predictor")
    assert len((mixed / "a.ifl").read_bytes()) < len(before)


def test_a_plugin_that_is_missing_is_named(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "registered_extensions", lambda: {".png": "PNG", ".jpg": "JPEG"})
    for name in ("IMG_2.HEIC", "gone.avif"):
        (mixed / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (mixed / "jpeg.heic").write_bytes((mixed / "IMG_1.jpg").read_bytes())  # as some telephones have it
    assert plugins.needed(".heic") == "pillow_heif" and plugins.needed(".png") is None
    told = call("encode", mixed, "-o", mixed / "out", "--keep-suffix", *FAST, code=1).stderr
    assert "gone.avif (needs pillow-avif-plugin); IMG_2.HEIC, jpeg.heic (needs pillow_heif)" in told
    told = call("encode", mixed / "IMG_2.HEIC", code=1).stderr
    assert "install pillow_heif to read it (pip install pillow_heif)" in told
    call("encode", mixed / "jpeg.heic", *FAST)


def test_what_is_done_is_left_alone(mixed: Path) -> None:
    call("encode", mixed / "IMG_1.png", *FAST)
    (mixed / "IMG_1.ifl").write_bytes(b"precious")
    assert "--skip-existing" in call("encode", mixed / "IMG_1.png", code=2).stderr
    both = call("encode", mixed / "IMG_1.png", mixed / "below" / "ink.tif", "--skip-existing", *FAST)
    assert "1 file skipped: IMG_1.png (done before)" in both.stderr
    assert (mixed / "IMG_1.ifl").read_bytes() == b"precious" and (mixed / "below" / "ink.ifl").exists()
    assert "contradict" in call("encode", mixed, "--skip-existing", "--force", code=2).stderr


def test_folders_that_are_not_entered_are_told(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mixed / "linked").symlink_to(mixed / "below")
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "below":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    told = call("encode", mixed, "-o", mixed.parent / "out", "--keep-suffix", *FAST, code=1).stderr
    assert "below (Permission denied); gone.png (a link that leads nowhere); linked (a link to a folder)" in told


def test_folders_below_or_not(mixed: Path, tmp_path: Path) -> None:
    (mixed / "broken.png").unlink()
    call("encode", mixed, "-o", tmp_path / "out", "--keep-suffix", "--no-recursive", *FAST)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["IMG_1.jpg.ifl", "IMG_1.png.ifl"]


def test_times_and_permissions(mixed: Path) -> None:
    source = mixed / "IMG_1.png"
    source.chmod(0o640)
    os.utime(source, (10**9, 10**9))
    call("encode", source, "--preserve", *FAST)
    call("decode", mixed / "IMG_1.ifl", "-o", mixed / "back.png", "--preserve")
    for name in ("IMG_1.ifl", "back.png"):
        stat = (mixed / name).stat()
        assert (stat.st_mtime, stat.st_mode & 0o777) == (10**9, 0o640)


def test_streams(mixed: Path, tmp_path: Path) -> None:
    data = (mixed / "IMG_1.png").read_bytes()
    coded = call("encode", "-", *FAST, stdin=data)
    assert coded.stdout_bytes.startswith(b"\x89IFL")
    share = f"{100 * len(coded.stdout_bytes) / len(data):.1f} % of the source"
    assert f"-: {len(coded.stdout_bytes):,} bytes, {share}, 8." in coded.stderr
    assert call("encode", mixed / "IMG_1.png", "-o", "-", *FAST).stdout_bytes == coded.stdout_bytes
    call("encode", "-", "-o", tmp_path / "a.ifl", *FAST, stdin=data)
    assert (tmp_path / "a.ifl").read_bytes() == coded.stdout_bytes
    assert call("decode", "-", stdin=coded.stdout_bytes).stdout_bytes.startswith(b"\x89PNG")
    assert call("decode", tmp_path / "a.ifl", "-o", "-", "--to", "webp").stdout_bytes.startswith(b"RIFF")
    assert call("decode", "-", code=1, stdin=b"nothing").stdout_bytes == b""
    assert call("verify", "-", stdin=coded.stdout_bytes).stdout == "-: every byte checksum is right\n"
    call("verify", "-", tmp_path / "a.ifl", "--deep", "--jobs", "2", stdin=coded.stdout_bytes)
    assert "error: -: " in call("verify", "-", code=1, stdin=b"nothing").stderr
    assert "-: ifl, " in call("info", "-", stdin=coded.stdout_bytes).stdout
    assert "- (1 image)" in call("compare", "-", "--only", "raw", stdin=data).stdout
    call("bench", "-", "--only", "raw", "-o", tmp_path / "out", stdin=data)


@pytest.mark.skipif(sys.platform == "win32", reason="no such shell")
@pytest.mark.parametrize("command", ["encode", "info"])
def test_a_closed_stdin_is_told(command: str) -> None:
    line = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", START]
    done = subprocess.run([*line, command, "-"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: -: stdin is closed\n")


@pytest.mark.parametrize(("args", "text"), [
    (["IMG_1.png", "-o", "new"], "--output new: a file (new.ifl) or a folder (new/)?"),
    (["IMG_1.png", "-o", "new.png"], "should end in .bsw, .ifl, or be a folder (new.png/)"),
    (["IMG_1.png", "-o", "IMG_1.jpg"], "IMG_1.jpg is a file that does not end in .bsw, .ifl"),
    (["IMG_1.png", "-o", "new.bsw", "--format", "ifl"], "new.bsw does not end in .ifl"),
    (["below", "-o", "new.ifl"], "new.ifl is one file, for several: name a folder (new.ifl/)"),
    (["*.png", "-o", "new.ifl"], "is one file, for several"),
    (["below", "-o", "-"], "--output - takes one file"),
    (["-", "below", "-o", "new/"], "stdin (-) needs a file or - as --output"),
    ([""], "an empty name stands for no file: pass . for this folder"),
    (["IMG_1.png", "-o", ""], "--output is empty: pass . for this folder"),
])  # fmt: skip
def test_outputs_are_not_guessed(mixed: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], text: str) -> None:
    monkeypatch.chdir(mixed)
    before = sorted(mixed.rglob("*"))
    assert text in " ".join(call("encode", *args, code=2).stderr.split())
    assert sorted(mixed.rglob("*")) == before


def test_outputs_that_are_clear(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mixed)
    call("encode", "IMG_1.png", "-o", "new.bsw", *FAST)
    call("encode", "IMG_1.png", "-o", "new/", *FAST)
    call("encode", "IMG_1.png", "-o", "below", *FAST)
    with Image.open("new.bsw") as image:
        assert image.format == "BSW"
    assert Path("new", "IMG_1.ifl").is_file() and Path("below", "IMG_1.ifl").is_file()
    assert "does not end in .webp" in call("decode", "new.bsw", "-o", "x.png", "--to", "webp", code=2).stderr


@pytest.fixture
def photo(tmp_path: Path) -> Image.Image:
    with Image.open(COFFEE) as image:
        return image.convert("RGB").crop((200, 100, 360, 228))


def test_a_jpeg_file_that_grows_is_told(mixed: Path, photo: Image.Image) -> None:
    path = mixed / "photo.jpg"
    photo.save(path, quality=90)
    told = call("encode", path, *FAST).stderr.splitlines()
    assert told[0].startswith("warning: JPEG files that may grow (--skip-larger") and "photo.jpg" in told[0]
    assert told[1].startswith(f"warning: {path}: larger than the JPEG file")
    found = call("encode", path, "--force")
    assert found.stderr == "" and found.stdout.endswith("as the coefficients of a JPEG file\n")
    assert call("encode", mixed / "IMG_1.png", "--force", *FAST).stderr == ""


@pytest.mark.parametrize(("mode", "options", "why", "grows"), [
    ("RGB", {"quality": 95}, None, False),
    ("RGB", {"quality": 100, "subsampling": 0}, None, False),
    ("L", {"quality": 90}, None, False),
    ("RGB", {"quality": 99}, "quality 99", False),  # smooth enough for networks
    ("L", {"quality": 100}, "quality 99", False),
    ("CMYK", {"quality": 90}, "CMYK", True),
    ("RGB", {"quality": 90, "keep_rgb": True}, "RGB without", True),
])  # fmt: skip
def test_growth_is_told_before_the_work(
    tmp_path: Path, photo: Image.Image, mode: str, options: dict[str, Any], why: str | None, grows: bool
) -> None:
    photo.convert(mode).save(tmp_path / "a.jpg", **options)
    job = Job(tmp_path / "a.jpg", tmp_path / "a.ifl", {"past": True, "fallback": True})
    told = growing([job]).get(job.source)
    assert told is None if why is None else told is not None and why in told
    result = call("encode", tmp_path / "a.jpg", "--skip-larger", "--model", "photo-fast")
    assert (tmp_path / "a.ifl").exists() != grows
    assert ("1 file skipped: a.jpg (larger than the source)" in result.stderr) == grows


def test_growth_of_what_cannot_be_read_is_not_told(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:100])
    options = {"past": False, "fallback": True}
    assert growing([Job(path, path, options) for path in (tmp_path / "cut.jpg", COFFEE, Path("-"))]) == {}


def test_other_files_that_grow_are_left_out_as_well(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.png")
    told = [json.loads(line) for line in call(
        "encode", tmp_path / "a.png", "--fallback", "raw", "--skip-larger", "--json").stdout.splitlines()]  # fmt: skip
    assert (told[0]["status"], told[0]["message"]) == ("skipped", "larger than the source")
    assert told[1]["summary"] == {"done": 0, "failed": 0, "skipped": 1, "stopped": None}
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_photographs_become_tiff(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.open(COFFEE).convert("RGB").crop((0, 0, 30, 20)).save(tmp_path / "a.png", exif=exif)
    call("encode", tmp_path / "a.png")
    call("decode", tmp_path / "a.ifl", "--to", "tiff")
    with Image.open(tmp_path / "a.tiff") as image:
        image.load()
        assert image.size == ((20, 30) if orientation == 6 else (30, 20))


START = """import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs tests in the background may have it ignored
from pil_neuralcodec.cli import main
main()"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes")
@pytest.mark.parametrize(("jobs", "number"), [(2, signal.SIGTERM), (1, signal.SIGINT)])
def test_a_batch_stops_and_goes_on(tmp_path: Path, jobs: int, number: signal.Signals) -> None:
    """Interrupted by a signal, resumed, verified, decoded."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    image = Image.open(COFFEE).convert("RGB")
    image.crop((0, 0, 32, 32)).save(folder / "a.png")
    for name in "bcd":
        image.resize((1500, 1000)).save(folder / f"{name}.bmp")
    line = [sys.executable, "-c", START, "encode", str(folder), "-o", str(out), "--keep-suffix", "--jobs", str(jobs)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    assert "a.png.ifl" in process.stdout.readline()  # a line as soon as the first is done
    time.sleep(0.3)
    process.send_signal(number)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}, 3 files left: --skip-existing goes on from here" in told
    assert "semaphore" not in told
    assert [path.name for path in out.iterdir()] == ["a.png.ifl"]
    for path in "bcd":
        Image.open(folder / f"{path}.bmp").crop((0, 0, 40, 40)).save(folder / f"{path}.bmp")
    again = call("encode", folder, "-o", out, "--keep-suffix", "--skip-existing")
    assert "1 file skipped: a.png (done before)" in again.stderr
    call("verify", out)
    call("decode", out, "-o", tmp_path / "back")
    for path in folder.iterdir():
        assert Image.open(tmp_path / "back" / path.name).tobytes() == Image.open(path).tobytes()


def test_what_is_no_batch_stops_with_the_same_code() -> None:
    interrupted = """from pil_neuralcodec import benchmark
benchmark.load_samples = lambda *rest: signal.raise_signal(signal.SIGINT)
"""
    start = START.replace("main()", interrupted + "main()")
    line = [sys.executable, "-c", start, "compare", "--only", "raw", str(COFFEE)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", "stopped by SIGINT\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
@pytest.mark.parametrize("args", [("encode", COFFEE, *FAST, "-o", "{}/a.ifl"), ("compare", COFFEE, "--only", "raw")])
def test_no_space_for_what_is_printed(tmp_path: Path, args: tuple[object, ...]) -> None:
    line = [sys.executable, "-c", START, *(str(arg).format(tmp_path) for arg in args)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "Error: [Errno 28] No space left on device\n")


def test_a_folder_of_everything(tmp_path: Path) -> None:
    """Interrupted, resumed, verified, decoded: each file comes back, or it is told why not. In full: proof/batch.py."""
    told = list(prove(tmp_path, 16, "--model", "photo-fast"))
    assert told[0].startswith("16 files; SIGTERM after 5: all processes ended in ")
    assert re.search(r"^ +\d+ came back, all of it$", "\n".join(told), re.MULTILINE)


def _dies_of_some(job: Job) -> str:
    if job.source.stem == "large":
        os.kill(os.getpid(), signal.SIGKILL)
    return "well"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_process_that_is_killed_fails_its_file_alone(tmp_path: Path) -> None:
    import test_batch  # the module that other processes import

    jobs = [Job(tmp_path / name, tmp_path / name) for name in ("a", "large", "b", "c", "d", "e", "f", "g")]
    outcomes = list(batch.run(test_batch._dies_of_some, jobs, 2, batch.progress_bar(False), ""))
    assert {one.source.name: one.status for one in outcomes} == dict.fromkeys("abcdefg", "done") | {"large": "failed"}


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def interrupted() -> Any:
        with written_whole(tmp_path / "a.txt") as part:
            part.write_text("half")
            assert part == part_of(tmp_path / "a.txt", os.getpid())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_save_leaves_the_old_file_until_the_new_one_is_whole(tmp_path: Path, photo: Image.Image) -> None:
    path, link = tmp_path / "a.ifl", tmp_path / "link.ifl"
    photo.save(path, fallback="raw")
    path.chmod(0o640)
    link.symlink_to(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="lossless"):
        save(photo, path, lossless=False)
    assert path.read_bytes() == before
    save(photo, link, fallback="predictor")
    assert link.is_symlink() and len(path.read_bytes()) < len(before) and path.stat().st_mode & 0o777 == 0o640
    with pytest.raises(FileNotFoundError, match="nowhere.a.ifl"):
        save(photo, tmp_path / "nowhere" / "a.ifl")
    assert sorted(tmp_path.iterdir()) == [path, link]


SAMPLES = np.random.default_rng(0).integers(0, 2**16, (2, 6, 5, 3)).astype("u2")
JXL = {
    "8": (SAMPLES[0] >> 8).astype("u1"), "16": SAMPLES[0], "gray16": SAMPLES[0, ..., 0], "la16": SAMPLES[0, ..., :2],
    "float": (SAMPLES[0] / 65535).astype("f4"), "two": (SAMPLES >> 8).astype("u1"),
}  # fmt: skip


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("name", JXL)
def test_all_of_a_jpeg_xl_file_is_kept(tmp_path: Path, name: str, container: bool) -> None:
    """Pillow's plugin cuts samples and frames."""
    array = JXL[name]
    coded = imagecodecs.jpegxl_encode(array, lossless=True, usecontainer=container)
    (tmp_path / "a.jxl").write_bytes(coded)
    result = call("encode", tmp_path / "a.jxl", "--check")
    found = [decode(tmp_path / "a.ifl", frame=frame) for frame in range(len(array) if array.ndim == 4 else 1)]
    np.testing.assert_array_equal(np.stack(found) if array.ndim == 4 else found[0], array, strict=True)
    assert ("not kept: durations" in result.stderr) == (array.ndim == 4)


def test_jpeg_xl_is_written(mixed: Path) -> None:
    coded = imagecodecs.jpegxl_encode(JXL["8"], lossless=True)
    (mixed / "a.jxl").write_bytes(coded)
    call("encode", mixed / "a.jxl", "--keep-suffix")
    (mixed / "a.jxl").unlink()
    call("decode", mixed / "a.jxl.ifl")
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode((mixed / "a.jxl").read_bytes()), JXL["8"])


def test_what_the_kept_suffix_does_not_hold_becomes_what_does(tmp_path: Path) -> None:
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(JXL["16"], lossless=True))
    call("encode", tmp_path / "a.jxl", "--keep-suffix")
    call("decode", tmp_path / "a.jxl.ifl")  # a.jxl, which is there, would be refused
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "a.jxl.png").read_bytes()), JXL["16"])


@pytest.mark.parametrize(("suffix", "frames"), [("gif", 2), ("bmp", 2), ("bmp", 1)])
def test_frames_that_the_kept_suffix_does_not_hold_become_png(tmp_path: Path, suffix: str, frames: int) -> None:
    images = [Image.new("RGBA", (3, 2), (9, i, 9, 128)) for i in range(frames)]
    images[0].save(tmp_path / f"a.{suffix}.ifl", save_all=True, append_images=images[1:])
    call("decode", tmp_path / f"a.{suffix}.ifl")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".ifl"] == [f"a.{suffix}.png"]


@pytest.mark.parametrize(("bits", "held"), [(8, True), (10, False)])
def test_heic_of_more_than_8_bits_is_not_cut(bits: int, held: bool) -> None:
    """As far as this can be tested without pillow_heif, which tells the bits."""
    image = Image.new("RGB", (4, 4))
    image.format, image.info = "HEIF", {"bit_depth": bits}
    assert (what_is_cut(image, b"") is None) == held


def test_damaged_heads_of_jpeg_xl() -> None:
    coded = imagecodecs.jpegxl_encode(JXL["16"], lossless=True)
    assert jxl_head.read(coded) == jxl_head.Head(bits=16)
    assert {jxl_head.read(coded[:size]) for size in range(len(coded))} == {None, jxl_head.Head(bits=16)}
    rng = np.random.default_rng(0)
    for _ in range(300):
        jxl_head.read(jxl_head.CONTAINER + rng.bytes(40))
        jxl_head.read(jxl_head.CODESTREAM + rng.bytes(40))


def test_damage_that_libraries_have_no_word_for_fails_its_file_alone(tmp_path: Path) -> None:
    """Pillow and zlib raise errors of many kinds."""
    image = Image.new("RGB", (8, 8))
    image.save(tmp_path / "a.dds")
    dds = bytearray((tmp_path / "a.dds").read_bytes())
    dds[80:84] = bytes(4)  # flags of pixels
    (tmp_path / "a.dds").write_bytes(dds)
    np.savez_compressed(tmp_path / "b.npz", np.arange(4000).reshape(40, 100))
    npz = bytearray((tmp_path / "b.npz").read_bytes())
    npz[60:70] = b"\xff" * 10
    (tmp_path / "b.npz").write_bytes(npz)
    image.save(tmp_path / "c.png")
    result = call("encode", tmp_path, *FAST, code=1)
    assert "2 of 3 files failed" in result.stderr and (tmp_path / "c.ifl").exists()
    assert "Unknown pixel format flags" in result.stderr and "while decompressing" in result.stderr


def test_transparency_that_means_nothing_fails_its_file_alone(tmp_path: Path) -> None:
    Image.new("P", (4, 4)).save(tmp_path / "a.ifl", transparency=2**32 - 1)
    Image.new("P", (4, 4)).save(tmp_path / "b.ifl", transparency=3)
    result = call("decode", tmp_path, code=1)
    assert "1 of 2 files failed" in result.stderr and (tmp_path / "b.png").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes")
def test_names_are_told_in_a_line_that_prints(tmp_path: Path) -> None:
    names = [os.fsdecode(b"\xff.png"), "two\nlines.png", "red\x1b[31m.png"]
    for name in names:
        Image.new("L", (2, 2)).save(tmp_path / name)
    listed = [json.loads(line) for line in call("encode", tmp_path, *FAST, "--json").stdout.splitlines()]
    assert {one["file"] for one in listed[:-1]} == {str(tmp_path / name) for name in names}
    told = call("verify", tmp_path).stdout
    assert len(told.splitlines()) == 3
    assert all(text in told for text in ("\\udcff.ifl", "two\\nlines.ifl", "red\\x1b[31m.ifl"))


@pytest.mark.skipif(sys.platform == "win32", reason="names of 255 bytes")
@pytest.mark.parametrize("letter", ["x", "\u00fc"])
def test_names_may_be_as_long_as_any(tmp_path: Path, letter: str) -> None:
    name = letter * (250 // len(letter.encode()))
    Image.new("L", (2, 2)).save(tmp_path / f"{name}.png")
    call("encode", tmp_path, *FAST)
    save(Image.open(tmp_path / f"{name}.ifl"), tmp_path / f"{name}.ifl")
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".ifl", ".png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize("args", [("encode",), ("encode", "-o", "b.ifl"), ("decode", "-o", "b.png"), ("verify",)])
def test_pipes_are_refused(tmp_path: Path, args: tuple[str, ...]) -> None:
    """They would be waited for when they are opened again."""
    pipe = tmp_path / "pipe.ifl"
    os.mkfifo(pipe)
    assert "neither a file nor a folder" in call(args[0], pipe, *args[1:], code=2).stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_save_leaves_a_pipe_or_a_device_what_it_is(tmp_path: Path) -> None:
    pipe, image = tmp_path / "pipe.ifl", Image.new("L", (4, 3), 7)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        save(image, pipe)
        assert pipe.is_fifo() and np.array_equal(decode(os.read(reader, 1 << 12)), image)
    finally:
        os.close(reader)
    with pytest.raises(ValueError, match="unknown file extension: $"):
        save(image, tmp_path / "name")
