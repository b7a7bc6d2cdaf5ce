"""What several test modules need: small models with random weights, and calls of the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Threads that wait for others are not to keep a core busy. Several workers share the cores: pools of threads in each of
# them would only wait for each other. Both are read at import.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# Processes that tests start import what the tests import, not what lies in the folder where they begin.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
os.environ["PYTHONSAFEPATH"] = "1"

import numpy as np
import pytest

from pil_neuralcodec import models
from pil_neuralcodec.bitswap.architecture import BitswapArchitecture
from pil_neuralcodec.canvas import Canvas
from pil_neuralcodec.container import ImageSpec, Method, Segment
from pil_neuralcodec.flow.architecture import SCALE_FRAC, PatchArchitecture, PhotoArchitecture, Pyramid
from pil_neuralcodec.flow.tile import TileCoder, checked_levels, tile_size
from pil_neuralcodec.methods.photo import tile_decoder
from pil_neuralcodec.methods.tiles import decode_tiles, encode_tiles
from pil_neuralcodec.nets.spec import ConvSpec

if TYPE_CHECKING:
    from click.testing import Result


def random_layers(architecture: models.Architecture, seed: int, scale: int = 60) -> dict[str, ConvSpec]:
    """Layers whose predictions are poor but exact; log-scales are about ``scale``, in 1/16 octave."""
    rng = np.random.default_rng(seed)
    layers = {}
    for shape in architecture.layers():
        weight = rng.normal(0, 20, (shape.outputs, shape.inputs, shape.kernel, shape.kernel)).clip(-64, 64)
        bias = rng.integers(-2000, 2000, shape.outputs)
        if shape.is_output:
            bias[np.array(shape.frac) == SCALE_FRAC] = scale << 6
        shift = np.full(shape.outputs, 6 if shape.is_output else 9, np.int32)
        if shape.name.endswith(".matrix"):  # nearly the unit matrix
            weight = 64 * np.eye(shape.outputs)[:, :, None, None] + weight / 4
            bias, shift = bias * 0, shift + 4
        layers[shape.name] = ConvSpec(
            np.rint(weight).astype(np.int8),
            bias.astype(np.int32),
            shift,
            shape.pixel_input,
            shape.is_output,
            shape.positions,
        )
    return layers


def encode_image(
    pixels: np.ndarray, network: Any, architecture: PhotoArchitecture
) -> tuple[tuple[int, int], list[bytes]]:
    """(height, width) of the tiles of an image (H, W, bands), and their payloads, for ``decode_image``."""
    coder, tile = TileCoder(architecture, network), (tile_size(pixels.shape[0]), tile_size(pixels.shape[1]))
    return tile, encode_tiles(pixels, tile, lambda tiles: coder.encode(tiles, checked_levels(*tile)))


def decode_image(
    payloads: list[bytes],
    shape: tuple[int, ...],
    tile: tuple[int, int],
    network: Any,
    architecture: PhotoArchitecture,
    *,
    level: int = 0,
    dtype: Any = np.uint8,
    lost: list[int] | None = None,
) -> np.ndarray:
    """An image of ``shape`` (H, W, bands) from the payloads of its tiles, at a level. Tiles that do not decode are put
    down in ``lost`` and stay zero; without it, their error is raised."""
    height, width, bands = shape
    spec = ImageSpec("", width, height)
    tiles = list(Segment[bytes](Method.PHOTO, (0, bands), (), tile[1], tile[0]).tiles(spec))
    canvas = Canvas([(0, 0, width, height)], bands, np.dtype(dtype), level)
    shapes = {i: (bottom - top, right - left) for i, (left, top, right, bottom) in enumerate(tiles)}
    decode = tile_decoder((*tile, bands), network, architecture, level, dtype)
    found = decode_tiles(payloads.__getitem__, shapes, decode, level=level)
    for number, result in found:
        if not isinstance(result, OSError):
            canvas.paste(tiles[number], (0, bands), result)
        elif lost is None:
            raise result
        else:
            lost.append(number)
    image: np.ndarray = canvas.pixels[0]
    return image


def save_models(folder: Path) -> None:
    """Save the models "tiny", "tiny-latents" and "tiny-patch", whose predictions are poor but exact."""
    photo = PhotoArchitecture(width=8, blocks=((1, 0, 0), (0, 0, 1)), mixtures=2)
    likelihood = PhotoArchitecture(photo.width, photo.blocks, photo.mixtures, backward_adaptation=True)
    latents = BitswapArchitecture(likelihood, latents=(3, 4, 5), depth=1)
    models.save(folder / "tiny.safetensors", photo, random_layers(photo, 5))
    patch = PatchArchitecture(Pyramid(photo.width, photo.blocks, photo.mixtures), ((0, 2), (3, 1)))
    models.save(folder / "tiny-patch.safetensors", patch, random_layers(patch, 7, 30))
    models.save(folder / "tiny-latents.safetensors", latents, random_layers(latents, 6, 30))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the models of ``save_models``."""
    folder = tmp_path_factory.mktemp("models")
    save_models(folder)
    return folder


@pytest.fixture(scope="module")
def tiny(model_folder: Path) -> Iterator[str]:
    """Name of a small model that is found, by name and by id, while a module's tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(model_folder))
        yield "tiny"


@pytest.fixture(scope="module")
def tiny_patch(tiny: str) -> str:
    """Name of a small patch model, found as ``tiny`` is."""
    return f"{tiny}-patch"


@pytest.fixture(scope="module")
def tiny_latents(tiny: str) -> str:
    """Name of a small Bit-Swap model, found as ``tiny`` is."""
    return f"{tiny}-latents"


def call(*args: object, code: int = 0, stdin: bytes | None = None) -> Result:
    """What ``neuralcodec`` makes of arguments, in this process; it must leave with ``code``."""
    from click.testing import CliRunner

    from pil_neuralcodec import cli

    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], input=stdin)
    assert result.exit_code == code, (result.output, result.exception)
    return result
