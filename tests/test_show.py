"""`neuralcodec info` and `neuralcodec models`, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import call
from PIL import Image

from pil_neuralcodec import Metadata, encode, models
from pil_neuralcodec.cli import show
from pil_neuralcodec.metadata import Text


def test_an_image_in_plain_words(tmp_path: Path, tiny: str) -> None:
    pixels = np.add.outer(np.arange(64), np.arange(65)).astype("u1")
    texts = Text("Title", "Cup"), Text("Description", "long" * 100)
    metadata = Metadata(comment=b"words", text=texts)
    (tmp_path / "a.ifl").write_bytes(encode(pixels, model=tiny, fallback=False, metadata=metadata))
    size = (tmp_path / "a.ifl").stat().st_size
    text = call("info", tmp_path / "a.ifl").stdout
    for part in (
        f"{tmp_path / 'a.ifl'}: ifl, {size:,} bytes",
        "an image of mode L, 65 x 64, 1 band of uint8",
        f"{8 * size / 64 / 65:.3f} bits/subpixel",
        "a network, tile by tile (photo)",
        f"{tiny} ({models.load(tiny).id.hex()})",
        "comment 5 bytes\n",
        "Title: Cup; Description: longlong",
        "long... (400 characters)\n",
    ):
        assert part in text
    assert json.loads(call("info", tmp_path / "a.ifl", "--json").stdout)["model_name"] == tiny


def test_what_is_no_number_is_json(tmp_path: Path) -> None:
    (tmp_path / "a.ifl").write_bytes(encode(np.zeros((4, 5), "u1"), metadata=Metadata(dpi=(float("nan"), 72.0))))
    told = json.loads(call("info", tmp_path / "a.ifl", "--json").stdout, parse_constant=pytest.fail)
    assert told["metadata"]["dpi"] == ["nan", 72.0]


def test_arrays_and_frames_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "a.ifl").write_bytes(encode(np.zeros((5, 5, 9, 3), "u2"), axes="TYXC", fallback="raw"))
    text = call("info", tmp_path / "a.ifl").stdout
    assert "an array with axes TYXC, 5 x 5 x 9 x 3, 3 bands of uint16" in text and "samples as they are (raw)" in text
    axes = json.loads(call("info", tmp_path / "a.ifl", "--json").stdout)["metadata"]["axes"]
    assert axes["letters"] == "TYXC" and axes["sizes"] == [5, 5, 9, 3]
    frames = [Image.new("L", (4, 4), shade) for shade in (1, 2, 3)]
    frames[0].save(tmp_path / "b.ifl", save_all=True, append_images=frames[1:], duration=[40, 40, 80])
    assert "3, shown for 40 ms, 80 ms each" in call("info", tmp_path / "b.ifl").stdout


def test_every_method_has_words() -> None:
    from pil_neuralcodec.container import Method

    assert set(show._METHODS) == {method.name.lower() for method in Method}


def test_models_are_listed(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "_SIDE", 64)
    monkeypatch.setattr(models, "known", lambda: [path for path in known() if path.stem in ("photo-9", "tiny")])
    known = models.find.known
    rows = {row["name"]: row for row in map(json.loads, call("models", "--json", "--time").stdout.splitlines())}
    assert rows["photo-9"]["default_of"] == "ifl" and rows["tiny"]["default_of"] is None
    assert rows["tiny"]["id"] == models.load(tiny).id.hex()
    assert rows["tiny"]["bytes"] == Path(rows["tiny"]["file"]).stat().st_size
    assert rows["tiny"]["encode_seconds_per_megapixel"] > 0 and rows["tiny"]["decode_seconds_per_megapixel"] > 0
    assert models.load("photo-9").id.hex() in call("models").stdout


def test_every_released_model_is_known(tiny: str) -> None:
    names = [path.stem for path in models.known()]
    assert {*models.NEWEST.values(), tiny} <= set(names) and len(names) == len(set(names))
