"""Images of one kind, to train a model for them: ``python benchmarks/narrow.py LOOK DIR OUT``.

From photographs under DIR come as many PNG files in OUT that share a look: ``grain``, scans of film, or ``camera``,
straight from a sensor that sees one band at each position, the others interpolated (Malvar, He, Cutler 2004). Then
``neuralcodec train --data OUT`` says what a model of one's own is worth for them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from PIL import Image

from pil_neuralcodec.training.data import IMAGE_SUFFIXES, read_rgb

_GAMMA = 2.2
_GREEN = np.array([[0, 0, -2, 0, 0], [0, 0, 4, 0, 0], [-2, 4, 8, 4, -2], [0, 0, 4, 0, 0], [0, 0, -2, 0, 0]]) / 16
_ALONG = np.array([[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]]) / 16
_ACROSS = np.array([[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]) / 16


def grain(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of 5 to 12 levels, larger than a pixel and partly the same in all bands, strongest at medium light."""
    noise = 0.4 * rng.normal(size=pixels.shape) + rng.normal(size=(*pixels.shape[:2], 1))
    for axis in (0, 1):
        noise = noise / 2 + (np.roll(noise, 1, axis) + np.roll(noise, -1, axis)) / 4
    light = pixels / 255
    return pixels + 14 * noise * (0.6 + 0.8 * np.sqrt(4 * light * (1 - light)))


def camera(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light on a Bayer sensor (RGGB) with the noise of its photons, interpolated and turned into levels again."""
    light = (pixels / 255) ** _GAMMA
    height, width = pixels.shape[:2]
    rows, columns = np.mgrid[:height, :width] % 2
    raw = np.take_along_axis(light, (rows + columns)[..., None], 2)[..., 0]
    raw = raw + rng.normal(size=raw.shape) * np.sqrt(raw / 8000 + 1e-7)
    green, along, down, across = (_filtered(raw, kernel) for kernel in (_GREEN, _ALONG, _ALONG.T, _ACROSS))
    red = np.where(rows == 0, np.where(columns == 0, raw, along), np.where(columns == 0, down, across))
    blue = np.where(rows == 1, np.where(columns == 1, raw, along), np.where(columns == 1, down, across))
    bands = np.stack([red, np.where(rows == columns, green, raw), blue], -1)
    levels: np.ndarray = 255 * np.clip(bands, 0, 1) ** (1 / _GAMMA)
    return levels


def _filtered(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padded = np.pad(plane, 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    filtered: np.ndarray = np.einsum("hwij,ij->hw", windows, kernel)
    return filtered


LOOKS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {"grain": grain, "camera": camera}


@click.command()
@click.argument("look", type=click.Choice(list(LOOKS)))
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=64, show_default=True, help="Of the first photographs, by name.")
@click.option("--seed", default=0, show_default=True)
def main(look: str, folder: Path, out: Path, count: int, seed: int) -> None:
    """Make the images."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)[:count]:
        made = LOOKS[look](read_rgb(path).astype(np.float64), rng)
        Image.fromarray(np.clip(np.rint(made), 0, 255).astype(np.uint8)).save(out / f"{path.stem}.png")


if __name__ == "__main__":
    main()
