"""``python -m pil_neuralcodec.training photo --data DIR --out DIR``: train, or go on, and export."""

from __future__ import annotations

import csv
import json
import platform
from pathlib import Path

import click
import numpy as np
import torch

from .. import models
from ..flow.architecture import PhotoArchitecture
from ..flow.photo import BAND_ORDER, PhotoCoder, checked_levels
from .data import Crops, read_rgb
from .loop import Schedule, evaluate, train
from .photo import TrainablePhotoNet


@click.group()
def main() -> None:
    """Train models for pil_neuralcodec."""


@main.command()
@click.option("--data", "folders", type=click.Path(exists=True, file_okay=False, path_type=Path), multiple=True,
              required=True, help="A folder of photographs, searched recursively; may be given more than once.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True,
              help="Run folder: checkpoint, curve.csv, curve.png, photo.safetensors. An interrupted run goes on.")
@click.option("--minutes", type=float, default=60.0, show_default=True, help="Optimisation time over all runs.")
@click.option("--steps", type=int, help="Optimisation steps over all runs, instead of a time.")
@click.option("--width", type=int, default=96, show_default=True, help="Channels of every hidden layer.")
@click.option("--blocks", default="2,1,1/2,1,1/1,1,1", show_default=True,
              help="Residual blocks per stage, levels split by '/', the finest first.")
@click.option("--mixtures", type=int, default=4, show_default=True, help="Logistics in each mixture.")
@click.option("--start", type=str, help="Begin with a released model (its name, hash or path) instead of afresh.")
@click.option("--batch", type=int, default=Schedule.batch, show_default=True, help="Crops per step.")
@click.option("--crop", type=int, default=Schedule.crop, show_default=True, help="Side of a crop, a power of two.")
@click.option("--learning-rate", type=float, default=Schedule.learning_rate, show_default=True)
@click.option("--rounded", type=float, default=Schedule.rounded, show_default=True,
              help="The last share of the time, trained with rounding.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--half/--full", default=None, help="Convolutions in bfloat16; by default on GPUs.")
@click.option("--compile/--eager", "compiled", default=False, help="Run what torch.compile makes of the network.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--note", "notes", multiple=True, help="A line for the model card: a data set and its licence, say.")
def photo(folders: tuple[Path, ...], out: Path, minutes: float, steps: int | None, width: int, blocks: str,
          mixtures: int, start: str | None, batch: int, crop: int, learning_rate: float, rounded: float, device: str,
          half: bool | None, compiled: bool, seed: int, notes: tuple[str, ...]) -> None:
    """Train the photo flow of ``.ifl``."""
    net = None
    if start is not None:
        model = models.load(start)
        arch = model.architecture
        net = TrainablePhotoNet(arch)
        net.load(model.layers)
    else:
        levels = [[int(n) for n in level.split(",")] for level in blocks.split("/")]
        arch = PhotoArchitecture.from_description({"width": width, "blocks": levels, "mixtures": mixtures})
    schedule = Schedule(minutes, steps=steps, warm_up=min(200, (steps or 2000) // 10), learning_rate=learning_rate,
                        rounded=rounded, batch=batch, crop=crop)
    crops = Crops(list(folders), seed=seed, device=device)
    click.echo(f"{len(crops)} photographs and shrunken copies, {len(crops.validation)} held out; "
               f"{arch.macs_per_pixel() / 1e6:.3f} M multiply-adds per pixel")
    net = train(crops, out, arch, schedule, device=device, start=net, seed=seed,
                half=device.startswith("cuda") if half is None else half, compiled=compiled)
    card = {
        "name": out.name,
        "task": "photo flow for .ifl (lossless image compression)",
        "data": [folder.name for folder in folders],
        "notes": list(notes),
        "length": f"{steps} steps" if steps else f"{minutes:g} minutes",
        "started_from": start or "random weights",
        "hardware": f"{device}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}",
        "steps_and_crops": {"batch": batch, "crop": crop, "learning_rate": learning_rate, "seed": seed},
        "held_out_bits_per_subpixel": round(evaluate(net, crops), 4),
        "held_out_images": len(crops.validation),
        "multiply_adds_per_pixel": round(arch.macs_per_pixel()),
    }
    target = out / "photo.safetensors"
    models.save(target, arch, net.export(), card)
    plot_curve(out)
    click.echo(f"{target}: {json.dumps(card, indent=2)}")


@main.command()
@click.argument("files", type=click.Path(exists=True, dir_okay=False, path_type=Path), nargs=-1, required=True)
@click.option("--model", type=str, help="Name, hash or path of a model; the default one otherwise.")
def likelihood(files: tuple[Path, ...], model: str | None) -> None:
    """Compare code length with the network's own negative log-likelihood, as a mixture in floating point.

    Each image is cropped to its largest centred square with a power of two as side, at most 512.
    """
    loaded = models.load(model)
    net = TrainablePhotoNet(loaded.architecture)
    net.load(loaded.layers)
    net.set_rounded(True)
    net.eval()
    coder = PhotoCoder(loaded.architecture, loaded.network())
    total_ideal = total_real = 0.0
    for path in files:
        pixels = read_rgb(path)
        side = min(512, 2 ** (min(pixels.shape[:2]).bit_length() - 1))
        y, x = ((n - side) // 2 for n in pixels.shape[:2])
        crop = np.ascontiguousarray(pixels[y:y + side, x:x + side])
        planes = torch.as_tensor(crop[..., list(BAND_ORDER)].transpose(2, 0, 1)[None].astype(np.float32))
        with torch.no_grad():
            ideal = float(net(planes).sum()) + 8 * 3  # and the coarsest pixel
        real = 8 * sum(map(len, coder.encode(crop[None], checked_levels(side, side))))
        click.echo(f"{path.name}: likelihood {ideal / crop.size:.4f}, payload {real / crop.size:.4f} bits per subpixel")
        total_ideal += ideal
        total_real += real
    click.echo(f"payload / likelihood = {total_real / total_ideal:.5f}")


def plot_curve(out: Path) -> None:
    """``curve.png`` from ``curve.csv``."""
    from matplotlib.figure import Figure

    with (out / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="minutes", ylabel="bits per subpixel", title="photo flow")
    minutes = [float(row["minutes"]) for row in rows]
    axes.plot(minutes, [float(row["train"]) for row in rows], label="training crops, running mean")
    axes.plot(minutes, [float(row["held_out"]) for row in rows], label="held-out photographs")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(out / "curve.png", dpi=120)


if __name__ == "__main__":
    main()
