"""What several test modules need: a small model with random weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pil_neuralcodec import models
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.nets.spec import ConvSpec


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the model "tiny", whose predictions are poor but exact."""
    rng = np.random.default_rng(5)
    architecture = PhotoArchitecture(width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2)
    layers = {}
    for shape in architecture.layers():
        weight = rng.normal(0, 20, (shape.outputs, shape.inputs, shape.kernel, shape.kernel)).clip(-64, 64)
        bias = rng.integers(-2000, 2000, shape.outputs)
        if shape.head:
            bias[4:6] = 60 << 6  # log-scales: about 14 grey levels
        shift = np.full(shape.outputs, 6 if shape.head else 9, np.int32)
        layers[shape.name] = ConvSpec(
            np.rint(weight).astype(np.int8), bias.astype(np.int32), shift, shape.pixel_input, shape.head
        )
    folder = tmp_path_factory.mktemp("models")
    models.save(folder / "tiny.safetensors", architecture, layers)
    return folder


@pytest.fixture(scope="module")
def tiny(model_folder: Path) -> Iterator[str]:
    """Name of a small model that is found, by name and by id, while a module's tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(model_folder))
        yield "tiny"
