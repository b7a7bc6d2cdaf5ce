"""Golden files decode to the pixels that they were made from, and are written again as they were."""

from __future__ import annotations

import hashlib
import json

import golden
import pytest

import pil_neuralcodec

MANIFEST = json.loads(golden.MANIFEST.read_text())
MANY = ("-tiles", "-set")
"""Files of many parts, by networks that other files have too: opened by one backend, not by two."""


def test_every_case_has_its_file() -> None:
    assert set(MANIFEST) == set(golden.CASES) == {path.stem for path in golden.FOLDER.glob("*.???")}


@pytest.mark.parametrize("name", MANIFEST)
def test_old_files_open(name: str) -> None:
    payload = golden.path_of(name).read_bytes()
    assert golden.describe(payload) == MANIFEST[name]["frames"]


@pytest.mark.parametrize("name", [name for name in MANIFEST if MANIFEST[name]["same_bytes"]])
def test_writing_them_again_gives_the_same_bytes(name: str) -> None:
    make, _ = golden.CASES[name]
    assert make() == golden.path_of(name).read_bytes()


@pytest.mark.parametrize(
    "name",
    [name for name in MANIFEST if name.startswith(("photo-", "patch-", "bitswap-")) and not name.endswith(MANY)],
)
def test_they_open_without_torch(name: str) -> None:
    pixels = pil_neuralcodec.decode(golden.path_of(name).read_bytes(), device="numpy")
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == MANIFEST[name]["frames"][0]["sha256"]
