"""The pictures of docs/tour.md: ``python benchmarks/pictures.py docs/coffee.png docs``.

``levels.jpg``: an ``.ifl`` file decoded to coarse levels, and how long each takes; ``bits.jpg``: how many bits each
pixel takes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pil_neuralcodec import decode, encode, models
from pil_neuralcodec.coders.symbols import SymbolSink
from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.flow.band_coder import BandByBand, BandEncoder
from pil_neuralcodec.flow.bands import Parameters
from pil_neuralcodec.flow.planes import to_planes
from pil_neuralcodec.flow.polyphase import component
from pil_neuralcodec.flow.pyramid import Stage, Walk

LEVELS = (3, 2, 1, 0)


class Measured(BandEncoder):
    """An encoder that adds up what the samples of each position take: ``bits`` float64 (h, w)."""

    def __init__(self, planes: np.ndarray, backward: bool) -> None:
        self._sink = SymbolSink()
        super().__init__(planes, [self._sink], backward)
        self.bits = np.zeros(planes.shape[2:])

    def _put(self, stage: Stage, band: int, parameters: Sequence[Parameters], target: np.ndarray) -> None:
        super()._put(stage, band, parameters, target)
        group = self._sink.groups[-1]
        if group.bits == 0:  # digits that were split off wide samples: only coarse levels have them
            return
        lengths = group.bits - np.log2(group.second)
        h, w = target.shape[1:]
        if group.ends is not None:  # half rows
            rows, even = lengths.reshape(h, w), (w + 1) // 2
            found = np.empty((h, w))
            found[:, ::2], found[:, 1::2] = rows[:, :even], rows[:, even:]
        else:
            found = lengths.reshape(h, w)
        component(self.bits[:: 1 << stage.level, :: 1 << stage.level], stage.number + 1)[...] += found


def bits_of(pixels: np.ndarray) -> np.ndarray:
    """Bits of each pixel (h, w, 3) of one tile, all levels together: float64 (h, w)."""
    model = models.load("photo")
    assert isinstance(model.architecture, PhotoArchitecture)
    planes = to_planes(pixels[None])
    with Measured(planes, model.architecture.backward_adaptation) as coder:
        Walk(model.network("cpu"), model.architecture, pixels.shape[:2]).whole(
            planes[..., :1, :1], BandByBand(coder, planes.shape[1])
        )
    return coder.bits


def levels(pixels: np.ndarray, path: Path) -> None:
    """What each level shows."""
    data = encode(pixels, past=False)
    decode(data, level=LEVELS[0])  # loads the model
    figure = Figure(figsize=(12, 2.5), layout="constrained")
    for axes, level in zip(figure.subplots(1, len(LEVELS)), LEVELS, strict=True):
        begin = time.perf_counter()
        shown = decode(data, level=level)
        seconds = time.perf_counter() - begin
        axes.imshow(shown, interpolation="nearest")
        axes.set_title(f"level {level}: {shown.shape[1]} x {shown.shape[0]}\n{1000 * seconds:.0f} ms", fontsize=10)
        axes.axis("off")
    figure.savefig(path, dpi=100)


def map_of_bits(pixels: np.ndarray, path: Path) -> None:
    """Where the bits are."""
    tile = pixels[: min(512, len(pixels)), : min(512, pixels.shape[1])]
    bits = bits_of(tile)
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(tile)
    left.axis("off")
    shown = right.imshow(bits, cmap="magma", vmax=float(np.quantile(bits, 0.995)))
    right.axis("off")
    right.set_title(f"bits of each pixel, {bits.mean() / 3:.2f} per subpixel on average", fontsize=10)
    figure.colorbar(shown, ax=right)
    figure.savefig(path, dpi=100)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(file: Path, folder: Path) -> None:
    """Draw both."""
    pixels = np.asarray(Image.open(file).convert("RGB"))
    levels(pixels, folder / "levels.jpg")
    map_of_bits(pixels, folder / "bits.jpg")


if __name__ == "__main__":
    main()
