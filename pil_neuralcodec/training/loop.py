"""The training loop: resumable, with a learning curve, real arithmetic first and rounded arithmetic last."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..flow.block_phase import BlockPhase, find_phase
from ..nets.training import TrainableNet
from .data import Crops
from .muon import Muon

Objective = Callable[[torch.Tensor, int, Sequence[BlockPhase]], torch.Tensor]
"""Bits of planes (N, 3, H, W), of which so many bands count and whose blocks lie there, by parts and summed over the
batch: (parts,)."""

_ROUND_AGAIN = 64
"""Steps after which the rounding of weights is fitted to them again."""


@dataclass
class Schedule:
    """How long, how fast. ``minutes`` of optimisation in all, over all runs, or so many ``steps`` where given; the last
    ``rounded`` share of them with straight-through rounding. The learning rate warms up for ``warm_up`` steps, holds,
    and falls to ``floor`` times its peak. Kernels between hidden features are trained by Muon, or without ``muon`` by
    Adam, as all else."""

    minutes: float
    steps: int | None = None
    learning_rate: float = 1.5e-3
    floor: float = 0.01
    hold: float = 0.3
    rounded: float = 0.2
    batch: int = 6
    crop: int = 64
    gray: float = 0.08
    warm_up: int = 200
    muon: bool = True

    @property
    def length(self) -> str:
        """How long, in words."""
        return f"{self.steps} steps" if self.steps else f"{self.minutes:g} minutes"

    def progress(self, step: int, seconds: float) -> float:
        """The share of the run that is done, 0..1."""
        return step / self.steps if self.steps else seconds / (self.minutes * 60)

    def rate(self, progress: float, step: int) -> float:
        """Learning rate at a share ``progress`` of the time."""
        fall = max(0.0, progress - self.hold) / max(1 - self.hold, 1e-9)
        cosine = 0.5 * (1 + np.cos(np.pi * min(fall, 1.0)))
        warm = min(1.0, (step + 1) / max(1, self.warm_up))
        return self.learning_rate * warm * (self.floor + (1 - self.floor) * float(cosine))


@dataclass
class _Run:
    """How far training has come: steps, seconds, and with patience the best look so far (bits per subpixel), the
    network as it was then, and the looks in vain since."""

    step: int = 0
    spent: float = 0.0
    best: float = float("nan")
    kept: dict[str, torch.Tensor] | None = None
    looks: int = 0


def _optimisers(net: TrainableNet, schedule: Schedule, half: bool) -> list[torch.optim.Optimizer]:
    """Muon for the kernels between hidden features, Adam for the layers that touch pixels or parameters."""
    hidden = [
        p
        for name, p in net.named_parameters()
        if schedule.muon
        and name.endswith(".weight")
        and not name.endswith(("_embed.weight", "_head.weight", "_linear.weight", "_matrix.weight"))
    ]
    chosen = {id(p) for p in hidden}
    others = [p for p in net.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(others, schedule.learning_rate, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    return [Muon(hidden, schedule.learning_rate, weight_decay=0.01, half=half), adam] if hidden else [adam]


def evaluate(objective: Objective, crops: Crops, device: str = "cpu", size: int = 128) -> np.ndarray:
    """Bits per subpixel by parts, float64 (parts,), on centre crops of the held-out photographs."""
    bits, subpixels = np.zeros(1), 0
    with torch.no_grad():
        for _, planes in crops.validation:
            side = min(size, 2 ** int(np.log2(min(planes.shape[1:]))))
            y, x = ((n - side) // 2 for n in planes.shape[1:])
            crop = torch.as_tensor(planes[None, :, y : y + side, x : x + side].astype(np.float32), device=device)
            found = objective(crop, 3, [find_phase(planes).moved(y, x)]).double().cpu().numpy()
            parts = max(len(bits), len(found))  # a smaller crop may have fewer levels
            bits = np.pad(bits, (0, parts - len(bits))) + np.pad(found, (0, parts - len(found)))
            subpixels += crop.numel()
    return bits / subpixels


def is_half_faster(device: str) -> bool:
    """Whether convolutions in bfloat16 are much faster there: on GPUs, and on CPUs with tiles for them (AMX)."""
    if device.startswith("cuda"):
        return True
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in the oldest versions that we take
    return bool(known.get("amx_bf16"))


def train(
    crops: Crops,
    out: Path,
    net: TrainableNet,
    schedule: Schedule,
    *,
    device: str = "cpu",
    seed: int = 0,
    half: bool | None = None,
    compiled: bool = False,
    objective: Objective | None = None,
    interval: float = 180.0,
    patience: int | None = None,
) -> float:
    """Train ``net``, or go on from ``out/checkpoint.pt``. Writes there a checkpoint every few minutes and
    ``curve.csv``.

    ``half`` runs the convolutions in bfloat16, by default where that is much faster (``is_half_faster``); ``compiled``
    runs what ``torch.compile`` makes of the network. ``objective`` is what to make small, the network's own output if
    None. The held-out photographs are looked at every ``interval`` seconds. With ``patience``, training stops after so
    many looks without improvement, and the network is left as it was at its best, that of the beginning included.

    The network is left rounded. Returns the last held-out bits per subpixel, or with ``patience`` the best ones.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = objective or net
    half = is_half_faster(device) if half is None else half
    optimisers = _optimisers(net, schedule, half)
    run = _Run()
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(saved.pop("net"))
        for optimiser, state in zip(optimisers, saved.pop("optimisers"), strict=True):
            optimiser.load_state_dict(state)
        run = _Run(**saved)
        crops.rng = np.random.default_rng(seed + run.step)

    def save() -> None:
        temporary = checkpoint.with_suffix(".tmp")
        states = {"net": net.state_dict(), "optimisers": [o.state_dict() for o in optimisers]}
        torch.save(states | vars(run), temporary)
        temporary.replace(checkpoint)

    pixels_per_step = schedule.batch * schedule.crop**2
    running: torch.Tensor | None = None
    forward = torch.compile(objective) if compiled else objective
    rounded = False
    last_save = last_log = time.monotonic()
    log_step = run.step
    progress = schedule.progress(run.step, run.spent)
    if patience is not None and run.kept is None:
        net.set_rounded(True)
        run.best, run.kept = float(evaluate(objective, crops, device).sum()), deepcopy(net.state_dict())
    with tqdm(total=1000, initial=round(1000 * progress), unit="permille", desc=out.name, mininterval=5.0) as bar:
        while progress < 1:
            begin = time.monotonic()
            if run.step % _ROUND_AGAIN == 0 or rounded != (progress >= 1 - schedule.rounded):
                rounded = progress >= 1 - schedule.rounded
                net.set_rounded(rounded)
            for group in (group for optimiser in optimisers for group in optimiser.param_groups):
                group["lr"] = schedule.rate(progress, run.step)
            planes, phases = crops.batch(schedule.batch, schedule.crop)
            bands = 3
            if crops.rng.random() < schedule.gray:
                planes, bands = planes[:, :1].repeat(1, 3, 1, 1), 1
            with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=half):
                bits = forward(planes, bands, phases)
            loss = bits.sum() / (pixels_per_step * bands)
            net.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            for optimiser in optimisers:
                optimiser.step()
            run.step += 1
            if bands == 3:  # a tensor still: reading its value would make a GPU wait
                running = loss.detach() if running is None else running + (loss.detach() - running) * 0.01
            now = time.monotonic()
            run.spent += now - begin
            progress = schedule.progress(run.step, run.spent)
            bar.update(min(1000, round(1000 * progress)) - bar.n)
            if now - last_log > interval or progress >= 1:
                row = {
                    "step": run.step,
                    "minutes": round(run.spent / 60, 3),
                    "pixels": run.step * pixels_per_step,
                    "rate": schedule.rate(min(progress, 1.0), run.step),
                    "train": float("nan") if running is None else running.item(),
                    "held_out": float(evaluate(objective, crops, device).sum()),
                    "pixels_per_s": round((run.step - log_step) * pixels_per_step / (now - last_log)),
                }
                figures = {key: f"{row[key]:.3f}" for key in ("train", "held_out")}
                bar.set_postfix(step=run.step, **figures, px_s=row["pixels_per_s"])
                append_row(out / "curve.csv", row)
                last_log, log_step = time.monotonic(), run.step
                run.looks += 1
                if patience is None:
                    run.best = row["held_out"]
                elif row["held_out"] < run.best:
                    run.best, run.kept, run.looks = row["held_out"], deepcopy(net.state_dict()), 0
                elif run.looks >= patience:
                    break
            if now - last_save > 180:
                save()
                last_save = time.monotonic()
    save()
    if run.kept is not None:
        net.load_state_dict(run.kept)
    net.set_rounded(True)
    return run.best


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a CSV file, which begins with the names of the columns."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
