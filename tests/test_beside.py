"""What other programs find: MIME types, URLs, napari's reader; imageio, scikit-image and dask, by Pillow."""

from __future__ import annotations

import mimetypes
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pil_neuralcodec import decode, encode, napari, read_info

MANIFEST = Path(napari.__file__).with_suffix(".yaml")


def test_mime_types() -> None:
    assert [mimetypes.guess_type(f"a{suffix}")[0] for suffix in (".ifl", ".bsw")] == ["image/x-ifl", "image/x-bsw"]
    assert Image.MIME["IFL"] == "image/x-ifl"


@pytest.mark.parametrize("before", ["", "mimetypes.init(); "])
def test_mime_types_are_known_however_late_the_systems_list_is_read(before: str) -> None:
    code = f"""import mimetypes; {before}import pil_neuralcodec
assert mimetypes.inited == {bool(before)}  # not read by the import
assert mimetypes.guess_type("a.ifl")[0] == "image/x-ifl" and mimetypes.guess_extension("image/x-bsw") == ".bsw"
assert mimetypes.guess_type("a.png")[0] == "image/png"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(find_spec("fsspec") is None, reason="needs fsspec")
def test_urls() -> None:
    import fsspec

    array = np.arange(30, dtype="u1").reshape(5, 6)
    with fsspec.open("memory://a.ifl", "wb") as file:
        file.write(encode(array))
    np.testing.assert_array_equal(decode("memory://a.ifl"), array, strict=True)
    assert read_info("memory://a.ifl").shape == (5, 6)
    with pytest.raises(FileNotFoundError):
        decode("memory://nowhere.ifl")


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)


def test_imageio(tmp_path: Path) -> None:
    import imageio.v3 as iio

    path = tmp_path / "a.ifl"
    iio.imwrite(path, PIXELS[0], fallback="raw")  # arguments go to Image.save
    np.testing.assert_array_equal(iio.imread(path), PIXELS[0], strict=True)
    np.testing.assert_array_equal(iio.imread(path.read_bytes(), extension=".ifl"), PIXELS[0], strict=True)
    assert iio.improps(path).shape == PIXELS[0].shape and iio.immeta(path)["mode"] == "RGB"
    iio.imwrite(tmp_path / "a.bsw", PIXELS, is_batch=True, fallback="raw")
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.bsw", index=...), PIXELS, strict=True)
    deep = PIXELS[0, ..., 0].astype("u2") * 257
    iio.imwrite(path, deep, fallback="raw")
    np.testing.assert_array_equal(iio.imread(path), deep, strict=True)


def test_scikit_image(tmp_path: Path) -> None:
    import skimage.io

    skimage.io.imsave(tmp_path / "a.ifl", PIXELS[0], check_contrast=False)
    np.testing.assert_array_equal(skimage.io.imread(tmp_path / "a.ifl"), PIXELS[0], strict=True)
    found = skimage.io.imread_collection(str(tmp_path / "*.ifl"))
    np.testing.assert_array_equal(found[0], PIXELS[0], strict=True)


def test_dask(tmp_path: Path) -> None:
    from dask.array.image import imread

    for number, pixels in enumerate(PIXELS):
        (tmp_path / f"{number}.ifl").write_bytes(encode(pixels))
    lazy = imread(str(tmp_path / "*.ifl"), imread=decode)
    assert lazy.shape == PIXELS.shape and lazy.chunks[0] == (1, 1)
    np.testing.assert_array_equal(lazy.compute(), PIXELS, strict=True)


def test_pillow_opens_our_files_where_a_pth_file_imports_this_package(tmp_path: Path) -> None:
    """As docs/pillow.md describes."""
    (tmp_path / "pil_neuralcodec_always.pth").write_text("import pil_neuralcodec\n")
    (tmp_path / "a.ifl").write_bytes(encode(PIXELS[0], fallback="raw"))
    open_ = f"from PIL import Image; print(Image.open({str(tmp_path / 'a.ifl')!r}).size)"
    for before, told in (
        ("", "UnidentifiedImageError"),
        (f"import site; site.addsitedir({str(tmp_path)!r}); ", "(30, 20)"),
    ):
        done = subprocess.run([sys.executable, "-c", before + open_], capture_output=True, text=True)
        assert told in done.stdout + done.stderr


def test_napari(tmp_path: Path) -> None:
    photo, volume = tmp_path / "photo.ifl", tmp_path / "volume.ifl"
    pixels = np.arange(90, dtype="u1").reshape(5, 6, 3)
    photo.write_bytes(encode(pixels))
    volume.write_bytes(encode(np.zeros((7, 5, 6), "u2"), axes="ZYX"))
    frames = [Image.new("L", (4, 4), shade) for shade in (1, 2)]
    frames[0].save(tmp_path / "clip.ifl", save_all=True, append_images=frames[1:])
    assert napari.reader([str(photo), "a.png"]) is None
    read = napari.reader([str(photo), str(volume), str(tmp_path / "clip.ifl")])
    assert read is not None
    layers = read([str(photo), str(volume), str(tmp_path / "clip.ifl")])
    assert [(kind, about["name"], about["rgb"], array.shape) for array, about, kind in layers] == [
        ("image", "photo", True, (5, 6, 3)), ("image", "volume", False, (7, 5, 6)),
        ("image", "clip 0", False, (4, 4)), ("image", "clip 1", False, (4, 4)),
    ]  # fmt: skip
    np.testing.assert_array_equal(layers[0][0], pixels)


def test_the_manifest_of_napari_names_what_there_is() -> None:
    text = MANIFEST.read_text(encoding="utf-8")
    module, _, function = text.partition("python_name: ")[2].split()[0].partition(":")
    assert (module, getattr(napari, function)) == (napari.__name__, napari.reader)
    assert text.count("pil_neuralcodec.read") == 2 and '["*.ifl", "*.bsw"]' in text
