"""One change at a time: ``python benchmarks/experiments.py --data DIR --out DIR [NAME...]``.

Each experiment trains a photo flow from random weights with the same budget of pixels, but for one change to the
network, the schedule or the data, and is measured on the photographs that training holds out: bits per subpixel after
rounding, tuning not counted. ``results.csv`` gets a row for each, ``curves.png`` their learning curves; those that are
done are not repeated. All of it is compared with ``base``; ``base, seed 1`` says how much is chance.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.training.__main__ import read_blocks as blocks
from pil_neuralcodec.training.data import Batch, Crops
from pil_neuralcodec.training.loop import Schedule, evaluate, train
from pil_neuralcodec.training.photo import TrainablePhotoNet


@dataclass(frozen=True)
class Experiment:
    """What differs from the base: fields of the architecture and of the schedule, the crops, the seed."""

    architecture: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    grain: float = 0.0
    hard: bool = False
    seed: int = 0


EXPERIMENTS = {
    "base": Experiment(),
    "base, seed 1": Experiment(seed=1),
    "width 64, more blocks": Experiment({"width": 64, "blocks": blocks("5,3,3/4,3,3/3,3,3")}),
    "width 128, fewer blocks": Experiment({"width": 128, "blocks": blocks("1,0,0/1,0,0/1,0,0")}),
    "width 64": Experiment({"width": 64}),
    "one block more everywhere": Experiment({"blocks": blocks("3,2,2/3,2,2/2,2,2")}),
    "no blocks": Experiment({"blocks": blocks("0,0,0/0,0,0/0,0,0")}),
    "one network for all levels": Experiment({"blocks": blocks("2,1,1")}),
    "two networks": Experiment({"blocks": blocks("2,1,1/2,1,1")}),
    "four networks": Experiment({"blocks": blocks("2,1,1/2,1,1/1,1,1/1,1,1")}),
    "2 logistics": Experiment({"mixtures": 2}),
    "8 logistics": Experiment({"mixtures": 8}),
    "one head for all bands": Experiment({"bandwise": False}),
    "told of grids": Experiment({"grid": True}),
    "blocks alike in all stages": Experiment({"blocks": blocks("1,1,2/1,1,2/1,1,1")}),
    "Adam": Experiment(schedule={"muon": False}),
    "rate 8e-4": Experiment(schedule={"learning_rate": 8e-4}),
    "rate 3e-3": Experiment(schedule={"learning_rate": 3e-3}),
    "falling from the start": Experiment(schedule={"hold": 0.0}),
    "falling late": Experiment(schedule={"hold": 0.7}),
    "1 crop of 128": Experiment(schedule={"batch": 1, "crop": 128}),
    "4 crops of 128": Experiment(schedule={"batch": 4, "crop": 128}),
    "never gray": Experiment(schedule={"gray": 0.0}),
    "a quarter gray": Experiment(schedule={"gray": 0.25}),
    "the harder half of twice as many crops": Experiment(hard=True),
    "a tenth grained": Experiment(grain=0.1),
    "a third grained": Experiment(grain=0.33),
    "rounded in the end alone": Experiment(schedule={"rounded": 0.0}),
    "rounded from the start": Experiment(schedule={"rounded": 1.0}),
}


class HarderCrops(Crops):
    """Crops that may be chosen: where ``hard``, of twice as many those with the larger differences between
    neighbours."""

    hard = False

    def batch(self, count: int, size: int) -> Batch:
        """As of ``Crops``."""
        if not self.hard:
            return super().batch(count, size)
        planes, grids = super().batch(2 * count, size)
        kept = planes.diff(dim=3).abs().mean(dim=(1, 2, 3)).topk(count).indices
        return Batch(planes[kept], [grids[i] for i in kept.tolist()])


BASE = Schedule(0.0, batch=4, crop=64, warm_up=50, rounded=0.2)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(EXPERIMENTS)))
@click.option("--data", "folders", type=click.Path(exists=True, file_okay=False, path_type=Path), multiple=True,
              required=True, help="Photographs, as for training.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--pixels", type=float, default=10.0, show_default=True, help="Budget of each, millions.")
@click.option("--device", default="cpu", show_default=True)
def main(names: tuple[str, ...], folders: tuple[Path, ...], out: Path, pixels: float, device: str) -> None:
    """Train each of the experiments NAMES, by default all."""
    out.mkdir(parents=True, exist_ok=True)
    results = out / "results.csv"
    done = {row["experiment"] for row in _rows(results)} if results.exists() else set()
    crops = HarderCrops(list(folders), device=device)
    for name in names or EXPERIMENTS:
        if name not in done:
            row = _run(EXPERIMENTS[name], crops, out / name.replace(",", "").replace(" ", "-"), pixels * 1e6, device)
            _append(results, {"experiment": name, **row})
    _plot(out)
    for row in _rows(results):
        click.echo(" | ".join(row.values()))


def _run(experiment: Experiment, crops: HarderCrops, out: Path, pixels: float, device: str) -> dict[str, Any]:
    schedule = replace(BASE, **experiment.schedule)
    schedule.steps = round(pixels / (schedule.batch * schedule.crop**2))
    torch.manual_seed(experiment.seed)
    arch = PhotoArchitecture(**experiment.architecture)
    net = TrainablePhotoNet(arch)
    crops.grain, crops.hard = experiment.grain, experiment.hard
    crops.rng = np.random.default_rng(experiment.seed)
    begin = time.monotonic()
    train(crops, out, net, schedule, device=device, seed=experiment.seed, interval=45.0)
    seconds = time.monotonic() - begin
    return {"held_out": f"{float(evaluate(net, crops, device).sum()):.4f}", "steps": schedule.steps,
            "macs_per_pixel": round(arch.macs_per_pixel()), "seconds": round(seconds), "seed": experiment.seed}


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _plot(out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="million pixels seen", ylabel="held-out bits per subpixel")
    for curve in sorted(out.glob("*/curve.csv")):
        rows = [row for row in _rows(curve) if row["held_out"] != "nan"]
        axes.plot([float(row["pixels"]) / 1e6 for row in rows], [float(row["held_out"]) for row in rows],
                  label=curve.parent.name, lw=2 if curve.parent.name == "base" else 0.8)
    axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=6, ncols=2)
    figure.savefig(out / "curves.png", dpi=120)


if __name__ == "__main__":
    main()
