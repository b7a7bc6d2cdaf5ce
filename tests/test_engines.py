"""Devices by name, the same everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pil_neuralcodec import decode, encode


def test_devices_have_the_same_names_everywhere(tmp_path: Path) -> None:
    array = np.zeros((8, 8), np.uint8)
    path = tmp_path / "a.ifl"
    path.write_bytes(encode(array))
    with Image.open(path) as image:
        calls = [
            lambda: encode(array, device="gpu"),
            lambda: decode(path, device="gpu"),
            lambda: Image.fromarray(array).save(tmp_path / "b.ifl", device="gpu"),
            lambda: image.use(device="gpu"),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="unknown device 'gpu': choose from numpy, cpu, cuda"):
                call()
