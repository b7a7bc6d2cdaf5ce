"""One change at a time: ``python benchmarks/experiments.py --data DIR --out DIR [NAME...]``.

Each experiment trains a photo flow from random weights with the same budget of pixels, but for one change to the
network, the schedule or the data, and is measured on the photographs that training holds out: bits per subpixel after
rounding, tuning not counted. ``results.csv`` gets a row for each, ``curves.png`` their learning curves; those that are
done are not repeated. All of it is compared with ``base``; ``base, seed 1`` says how much is chance.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch
import torch.nn.functional as F

from pil_neuralcodec.flow.architecture import PhotoArchitecture
from pil_neuralcodec.training import photo
from pil_neuralcodec.training.__main__ import FOLDER
from pil_neuralcodec.training.__main__ import numbers as blocks
from pil_neuralcodec.training.data import Batch, Crops
from pil_neuralcodec.training.loop import Schedule, append_row, evaluate, train
from pil_neuralcodec.training.photo import TrainablePhotoNet


@dataclass(frozen=True)
class Experiment:
    """What differs from the base: fields of the architecture, of the schedule and of the crops, what functions of
    ``training.photo`` do, what happens to the network before it is trained, the seed."""

    architecture: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    crops: dict[str, Any] = field(default_factory=dict)
    functions: dict[str, Any] = field(default_factory=dict)
    prepare: Callable[[TrainablePhotoNet], None] = lambda net: None
    seed: int = 0


def _c_without_b(
    known: list[torch.Tensor], baseline: Callable[[list[torch.Tensor]], torch.Tensor] = photo.baseline
) -> torch.Tensor:
    """The baseline, and hides ``b`` from the last stage, as if it were coded at once with ``c``."""
    if len(known) == 3:
        known[2] = baseline(known[:2])
    return baseline(known)


def _dilate(net: TrainablePhotoNet) -> None:
    """Let the second convolution of each stage's first block see every second position, twice as far."""
    convolve = F.conv2d

    def dilated(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, padding: int) -> torch.Tensor:
        return convolve(x, weight, bias, padding=2 * padding, dilation=2)

    def seen_with_gaps(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def run(*inputs: Any) -> torch.Tensor:
            with patch.object(F, "conv2d", dilated):
                return forward(*inputs)

        return run

    for shape in net.shapes:
        if shape.name.endswith(".0.b"):
            layer = net.layer(shape.name)
            layer.forward = seen_with_gaps(layer.forward)  # type: ignore[method-assign]


def _start_afresh(net: TrainablePhotoNet) -> None:
    """Let no level see the features of the coarser one."""
    net.upsample = (
        lambda x, height, width: x.new_zeros(  # type: ignore[method-assign]
            *x.shape[:2], height, width
        ).contiguous(memory_format=torch.channels_last)
    )


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
    "blocks alike in all stages": Experiment({"blocks": blocks("1,1,2/1,1,2/1,1,1")}),
    "b and c at once": Experiment(functions={"baseline": _c_without_b}),
    "one dilated convolution in each stage": Experiment(prepare=_dilate),
    "no features of the coarser level": Experiment(prepare=_start_afresh),
    "Adam": Experiment(schedule={"muon": False}),
    "rate 8e-4": Experiment(schedule={"learning_rate": 8e-4}),
    "rate 3e-3": Experiment(schedule={"learning_rate": 3e-3}),
    "rate 3e-3, seed 1": Experiment(schedule={"learning_rate": 3e-3}, seed=1),
    "falling from the start": Experiment(schedule={"hold": 0.0}),
    "falling late": Experiment(schedule={"hold": 0.7}),
    "1 crop of 128": Experiment(schedule={"batch": 1, "crop": 128}),
    "4 crops of 128": Experiment(schedule={"batch": 4, "crop": 128}),
    "never gray": Experiment(schedule={"gray": 0.0}),
    "a quarter gray": Experiment(schedule={"gray": 0.25}),
    "the harder half of twice as many crops": Experiment(crops={"hard": True}),
    "the same, seed 1": Experiment(crops={"hard": True}, seed=1),
    "a tenth grained": Experiment(crops={"grain": 0.1}),
    "a third grained": Experiment(crops={"grain": 0.33}),
    "a fifth sharpened": Experiment(crops={"sharp": 0.2}),
    "never shrunk": Experiment(crops={"shrunk": (1, 0)}),
    "always shrunk": Experiment(crops={"shrunk": (0, 1)}),
    "rounded in the end alone": Experiment(schedule={"rounded": 0.0}),
    "rounded from the start": Experiment(schedule={"rounded": 1.0}),
}


class ChangedCrops(Crops):
    """Crops that may be chosen and sharpened: where ``hard``, of twice as many those with the larger differences
    between neighbours; a share ``sharp`` of them. ``shrunk`` weighs photographs as they are against smaller copies."""

    hard, sharp, shrunk = False, 0.0, (1, 1)

    def batch(self, count: int, size: int) -> Batch:
        """As of ``Crops``."""
        weights = self._chance * np.resize(self.shrunk, len(self))  # each is followed by its smaller copy
        with patch.object(self, "_chance", weights):
            planes, phases = super().batch(count * (1 + self.hard), size)
        if self.hard:
            kept = planes.diff(dim=3).abs().mean(dim=(1, 2, 3)).topk(count).indices
            planes, phases = planes[kept], phases[kept]
        if self.sharp:
            chosen = np.flatnonzero(self.rng.random(count) < self.sharp)
            blurred = F.avg_pool2d(F.pad(planes[chosen], (1, 1, 1, 1), mode="replicate"), 3, 1)
            planes[chosen] = torch.round(1.7 * planes[chosen] - 0.7 * blurred).clamp(0.0, 255.0)
        return Batch(planes, phases)


BASE = Schedule(0.0, batch=4, crop=64, warm_up=50, rounded=0.2)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(EXPERIMENTS)))
@click.option(
    "--data",
    "folders",
    type=FOLDER,
    multiple=True,
    required=True,
    help="Photographs, as for training.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--pixels", type=float, default=10.0, show_default=True, help="Budget of each, millions.")
@click.option("--device", default="cpu", show_default=True)
def main(names: tuple[str, ...], folders: tuple[Path, ...], out: Path, pixels: float, device: str) -> None:
    """Train each of the experiments NAMES, by default all."""
    out.mkdir(parents=True, exist_ok=True)
    results = out / "results.csv"
    done = {row["experiment"] for row in _rows(results)} if results.exists() else set()
    crops = ChangedCrops(list(folders), device=device)
    for name in names or EXPERIMENTS:
        if name not in done:
            row = _run(EXPERIMENTS[name], crops, out / name.replace(",", "").replace(" ", "-"), pixels * 1e6, device)
            append_row(results, {"experiment": name, **row})
    _plot(out)
    for row in _rows(results):
        click.echo(" | ".join(row.values()))


def _run(experiment: Experiment, crops: ChangedCrops, out: Path, pixels: float, device: str) -> dict[str, Any]:
    schedule = replace(BASE, **experiment.schedule)
    schedule.steps = round(pixels / (schedule.batch * schedule.crop**2))
    torch.manual_seed(experiment.seed)
    arch = PhotoArchitecture(**experiment.architecture)
    net = TrainablePhotoNet(arch)
    experiment.prepare(net)
    crops.rng = np.random.default_rng(experiment.seed)
    with ExitStack() as stack:
        for whole, changes in ((crops, experiment.crops), (photo, experiment.functions)):
            for name, by in changes.items():
                stack.enter_context(patch.object(whole, name, by))
        begin = time.monotonic()
        train(crops, out, net, schedule, device=device, seed=experiment.seed, interval=45.0)
        seconds = time.monotonic() - begin
        held_out = float(evaluate(net, crops, device).sum())
    return {
        "held_out": f"{held_out:.4f}",
        "steps": schedule.steps,
        "macs_per_pixel": round(arch.macs_per_pixel()),
        "seconds": round(seconds),
        "seed": experiment.seed,
    }


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def _plot(out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="million pixels seen", ylabel="held-out bits per subpixel")
    for curve in sorted(out.glob("*/curve.csv")):
        rows = [row for row in _rows(curve) if row["held_out"] != "nan"]
        axes.plot(
            [float(row["pixels"]) / 1e6 for row in rows],
            [float(row["held_out"]) for row in rows],
            label=curve.parent.name,
            lw=2 if curve.parent.name == "base" else 0.8,
        )
    axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=6, ncols=2)
    figure.savefig(out / "curves.png", dpi=120)


if __name__ == "__main__":
    main()
