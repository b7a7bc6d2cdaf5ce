"""What a reader of code finds: names, help, types of errors, files that stay whole."""

from __future__ import annotations

import io
import pydoc
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pil_neuralcodec
from pil_neuralcodec import decode, encode, read_info, save
from pil_neuralcodec.errors import LimitError


def test_names_and_help() -> None:
    assert set(pil_neuralcodec.__all__) <= set(dir(pil_neuralcodec))
    assert not {"annotations", "import_module", "varint"} & set(dir(pil_neuralcodec))
    text = re.sub(r"\(\s+", "(", pydoc.plain(pydoc.render_doc(pil_neuralcodec)))  # newer ones break lines there
    for name in ("encode(array", "decode(data", "read_info(data", "save(image", "class Info", "class Metadata"):
        assert name in text
    for name in pil_neuralcodec.__all__:
        assert getattr(pil_neuralcodec, name).__doc__


def test_all_frames() -> None:
    frames = [Image.new("L", (5, 4), shade) for shade in (1, 2, 3)]
    frames[1] = Image.new("RGB", (7, 6), "red")
    file = io.BytesIO()
    frames[0].save(file, "IFL", save_all=True, append_images=frames[1:])
    found = decode(file.getvalue(), frames="all")
    for array, frame in zip(found, frames, strict=True):
        np.testing.assert_array_equal(array, np.asarray(frame), strict=True)
    (alone,) = decode(encode(np.ones((4, 5), "u1")), frames="all")
    assert alone.shape == (4, 5)
    with pytest.raises(ValueError, match='frames="all"'):
        decode(file.getvalue())
    for wrong in ({"frames": "some"}, {"frames": "all", "frame": 0}):
        with pytest.raises(ValueError, match="the only choice"):
            decode(file.getvalue(), **wrong)  # type: ignore[call-overload]


def test_a_limit_is_that_of_pillow() -> None:
    with pytest.raises(Image.DecompressionBombError) as error:
        decode(encode(np.zeros((9, 9), "u1")), max_pixels=80)
    assert isinstance(error.value, LimitError) and isinstance(error.value, OSError)


@pytest.mark.parametrize("function", [decode, read_info])
def test_what_cannot_be_read_from(function: object) -> None:
    with pytest.raises(TypeError, match="cannot read from NoneType: pass bytes, a path or an open file"):
        function(None)  # type: ignore[operator]


def test_devices_that_are_not_proven_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown device 'mps': choose from numpy, cpu, cuda"):
        encode(np.zeros((4, 4), "u1"), device="mps")


@pytest.mark.parametrize(("options", "error"), [
    ({"fallback": 1}, TypeError), ({"past": "no"}, TypeError), ({"format": "IFL"}, ValueError),
    ({"axes": "XYZ"}, ValueError), ({"axes": "YY"}, ValueError), ({"mode": "L", "axes": "YX"}, ValueError),
])  # fmt: skip
def test_options_are_checked(options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        encode(np.zeros((4, 4), "u1"), **options)  # type: ignore[arg-type]


def test_save_leaves_the_old_file_alone_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ifl"
    path.write_bytes(b"precious")

    class Interrupted(Image.Image):
        def save(self, fp: object, format: object = None, **options: object) -> None:
            Path(str(fp)).write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(Interrupted(), path)
    assert path.read_bytes() == b"precious" and len(list(tmp_path.iterdir())) == 1
    save(Image.new("L", (3, 3), 7), path, comment=b"well")
    with Image.open(path) as image:
        assert image.info["comment"] == b"well" and image.getpixel((0, 0)) == 7
