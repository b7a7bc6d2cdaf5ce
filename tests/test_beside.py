"""What other programs find: MIME types, URLs, napari's reader."""

from __future__ import annotations

import mimetypes
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
