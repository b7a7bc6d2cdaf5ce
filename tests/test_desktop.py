"""What Linux desktops find: MIME types, and thumbnails."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import call
from PIL import Image
from proof.desktop import missing, show

from pil_neuralcodec import container, encode
from pil_neuralcodec.cli.desktop import _program

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "pil_neuralcodec" / "desktop"
NONE = ("La", "PA", "LAB")
"""Modes that Pillow converts nothing to."""
NAMESPACE = "{http://www.freedesktop.org/standards/shared-mime-info}"


@pytest.fixture
def photo() -> Image.Image:
    with Image.open(ROOT / "docs" / "coffee.png") as image:
        return image.convert("RGB").crop((200, 100, 400, 220))


def test_mime_types_are_those_that_pillow_knows() -> None:
    found = {}
    for kind in ElementTree.parse(FOLDER / "pil_neuralcodec.xml").getroot():
        (match,), (glob,) = kind.iter(f"{NAMESPACE}match"), kind.iter(f"{NAMESPACE}glob")
        assert match.get("type") == "string" and match.get("offset") == "0"
        magic = str(match.get("value")).encode().decode("unicode_escape").encode("latin-1")
        found[str(kind.get("type"))] = magic, glob.get("pattern")
    assert found == {Image.MIME[name.upper()]: (magic, f"*.{name}") for name, magic in container.MAGIC.items()}
    entry = (FOLDER / "pil_neuralcodec.thumbnailer").read_text()
    assert f"MimeType={';'.join(found)};\n" in entry
    assert "Exec=neuralcodec thumbnail --size %s %i %o\n" in entry


@pytest.mark.parametrize("mode", container.MODES)
def test_thumbnails_of_all_modes(tmp_path: Path, photo: Image.Image, mode: str) -> None:
    image = (
        Image.new(mode, photo.size)
        if mode in ("La", "PA", "LAB")
        else photo.convert("L").convert("RGBA" if mode == "RGBa" else "L").convert(mode)
    )
    image.save(tmp_path / "a.ifl", fallback="filtered" if mode in ("I", "F") else "raw")
    call("thumbnail", tmp_path / "a.ifl", tmp_path / "a.png", "-s", 50)
    with Image.open(tmp_path / "a.png") as small:
        assert small.size == (50, 30)
        if mode not in NONE:
            expected = photo.convert("L").resize((50, 30), reducing_gap=2.0)
            error = np.asarray(small.convert("L"), float) - np.asarray(expected, float)
            if mode.startswith("I") or mode == "F":  # stretched from darkest to brightest
                assert small.getextrema()[0] < 30 and small.getextrema()[1] > 200
            elif mode != "HSV":
                assert np.abs(error).mean() < 20


@pytest.mark.parametrize(("shape", "dtype", "axes", "size"), [
    ((90, 120, 3), "u2", None, (40, 30)),
    ((90, 120, 2), "u2", None, (40, 30)),
    ((5, 90, 120), "f4", "ZYX", (40, 30)),
    ((5, 2, 90, 120), "u2", "ZCYX", (40, 30)),
    ((9, 7), "i8", None, (7, 9)),
    ((9, 7), "b1", None, (7, 9)),
])  # fmt: skip
def test_thumbnails_of_arrays(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, axes: str | None, size: tuple[int, int]
) -> None:
    array = np.random.default_rng(0).poisson(90, shape).astype(dtype)
    (tmp_path / "a.ifl").write_bytes(encode(array, axes=axes))
    call("thumbnail", tmp_path / "a.ifl", tmp_path / "a.png", "-s", 40)
    with Image.open(tmp_path / "a.png") as small:
        assert small.size == size


def test_thumbnails_stand_upright_and_keep_transparency(tmp_path: Path, photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[274] = 6
    photo.save(tmp_path / "a.ifl", exif=exif, fallback="raw")
    photo.convert("P").save(tmp_path / "b.bsw", transparency=3, fallback="raw")
    for name, size, mode in (("a.ifl", (60, 100), "RGB"), ("b.bsw", (100, 60), "RGBA")):
        call("thumbnail", tmp_path / name, tmp_path / "a.png", "-s", 100)
        with Image.open(tmp_path / "a.png") as small:
            assert (small.size, small.mode) == (size, mode)


def test_thumbnails_are_png_whatever_desktops_name_them(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.ifl", fallback="raw")
    for name in ("a.PNG", "a.X7Q2ZB", "a"):
        call("thumbnail", tmp_path / "a.ifl", tmp_path / name)
        with Image.open(tmp_path / name) as small:
            assert small.format == "PNG"
    assert "thumbnails are PNG files" in call("thumbnail", tmp_path / "a.ifl", tmp_path / "a.jpg", code=2).stderr
    assert not (tmp_path / "a.jpg").exists()


def test_a_damaged_file_has_no_thumbnail(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.ifl", fallback="raw")
    (tmp_path / "a.ifl").write_bytes((tmp_path / "a.ifl").read_bytes()[:-40])
    assert "error: " in call("thumbnail", tmp_path / "a.ifl", tmp_path / "a.png", code=1).stderr
    assert not (tmp_path / "a.png").exists()


def test_the_desktop_is_told_and_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    calls = []
    monkeypatch.setattr(subprocess, "run", lambda line, check: calls.append(line))
    call("desktop")
    entry = (tmp_path / "data/thumbnailers/pil_neuralcodec.thumbnailer").read_text()
    assert f"Exec={_program()} thumbnail --size %s %i %o\n" in entry
    assert f"TryExec={_program()}\n" in entry
    assert calls == [["update-mime-database", str(tmp_path / "data" / "mime")]]
    call("desktop", "--remove")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_desktop_without_shared_mime_info(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert "install shared-mime-info" in call("desktop", code=1).stderr


@pytest.mark.skipif(
    not all(map(shutil.which, ("update-mime-database", "gio"))), reason="needs shared-mime-info and gio"
)
def test_the_type_of_files_is_found_by_name_and_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: Image.Image
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    call("desktop")
    for name, kind in (("ifl", "image/x-ifl"), ("bsw", "image/x-bsw")):
        photo.save(tmp_path / f"a.{name}", fallback="raw")
        shutil.copy(tmp_path / f"a.{name}", tmp_path / name)
        for path in (tmp_path / f"a.{name}", tmp_path / name):
            line = ["gio", "info", "-a", "standard::content-type", str(path)]
            told = subprocess.run(line, capture_output=True, text=True, check=True, env=os.environ).stdout
            assert f"standard::content-type: {kind}" in told


@pytest.mark.skipif(bool(missing()), reason="needs a file manager and a virtual screen")
@pytest.mark.skipif("NEURALCODEC_DESKTOP" not in os.environ, reason="takes a minute: set NEURALCODEC_DESKTOP=1")
def test_a_file_manager_shows_thumbnails(tmp_path: Path) -> None:
    """See proof/desktop.py, which makes docs/thumbnails.png."""
    assert len(list(show(tmp_path))) == 6


@pytest.mark.parametrize("value", [b"abc", (1,), 2**32 - 1])
def test_transparency_that_means_nothing(tmp_path: Path, value: object) -> None:
    path = tmp_path / "a.ifl"
    Image.new("RGB", (4, 4)).save(path, transparency=value)
    assert call("thumbnail", path, tmp_path / "a.png", code=1).stderr.startswith(f"error: {path}: ")
