"""The training loop: resumable, with a learning curve, real arithmetic first and rounded arithmetic last."""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tqdm import tqdm

from ..flow.block_phase import BlockPhase, find_phase
from ..nets.training import TrainableNet
from .data import Batch, Crops
from .muon import Muon


class Objective(Protocol):
    """What training makes small."""

    def __call__(
        self, planes: torch.Tensor, bands: int = 3, phases: torch.Tensor | None = None, whole: bool = True
    ) -> torch.Tensor:
        """Bits of images by parts, summed over the batch, float32 (parts,).

        Parameters
        ----------
        planes : float32 (N, 3, H, W), values 0..255.
        bands : how many of the planes count, 1 or 3.
        phases : where the JPEG blocks of each image lie, int64 (N, 2): see `flow.block_phase.BlockPhase`.
        whole : whether all levels count, or only those that have networks of their own.
        """


_WHOLE_SHARE = 0.25
"""The share of the steps that train all levels: those that share the coarsest networks need no more."""
_ROUND_AGAIN = 64
"""Steps after which the rounding of weights is fitted to them again."""
_TOGETHER = 32
"""Held-out crops of one size that are looked at together."""


@dataclass
class Schedule:
    """How long, how fast. ``minutes`` of optimisation in all, over all runs, or so many ``steps`` where given; the last
    ``rounded`` share of them with straight-through rounding. The learning rate warms up for ``warm_up`` steps, holds,
    and falls to ``floor`` times its peak. Kernels between hidden features are trained by Muon, or without ``muon`` by
    Adam, as all else. ``average``: the trained network is a moving average over about so many of the last steps; with 0
    it is that of the last step."""

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
    average: int = 0

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
        and p.requires_grad
        and name.endswith(".weight")
        and not name.endswith(("_embed.weight", "_head.weight", "_matrix.weight"))
    ]
    chosen = {id(p) for p in hidden}
    others = [p for p in net.parameters() if p.requires_grad and id(p) not in chosen]
    adam = torch.optim.AdamW(others, schedule.learning_rate, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    return [Muon(hidden, schedule.learning_rate, weight_decay=0.01, half=half), adam] if hidden else [adam]


def evaluate(objective: Objective, crops: Crops, device: str = "cpu", size: int = 128) -> np.ndarray:
    """Bits per subpixel by parts, float64 (parts,), on centre crops of the held-out photographs."""
    middles: dict[int, list[tuple[np.ndarray, BlockPhase]]] = defaultdict(list)
    for _, planes in crops.validation:
        side = min(size, 1 << min(planes.shape[1:]).bit_length() - 1)
        y, x = ((n - side) // 2 for n in planes.shape[1:])
        middles[side].append((planes[:, y : y + side, x : x + side], find_phase(planes).moved(y, x)))
    bits, subpixels = np.zeros(1), 0
    with torch.no_grad():
        for some in (group[i : i + _TOGETHER] for group in middles.values() for i in range(0, len(group), _TOGETHER)):
            images = torch.as_tensor(np.stack([crop for crop, _ in some]).astype(np.float32), device=device)
            phases = torch.tensor([phase for _, phase in some], device=device)
            found = objective(images, 3, phases).double().cpu().numpy()
            parts = max(len(bits), len(found))  # a smaller crop may have fewer levels
            bits = np.pad(bits, (0, parts - len(bits))) + np.pad(found, (0, parts - len(found)))
            subpixels += images.numel()
    return bits / subpixels


def is_half_faster(device: str) -> bool:
    """Whether convolutions in bfloat16 are much faster there: on GPUs, and on CPUs with tiles for them (AMX)."""
    if device.startswith("cuda"):
        return True
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not in the oldest versions that we take
    return bool(known.get("amx_bf16"))


class _Gradients:
    """The loss of a batch and its gradients.

    On a GPU, each kind of step is recorded once as a CUDA graph, and replayed from then on: launching its thousands of
    small kernels one after the other takes several times as long as running them.
    """

    def __init__(self, net: TrainableNet, objective: Objective, device: str, half: bool) -> None:
        self._net, self._objective, self._half = net, objective, half
        self._type = torch.device(device).type
        self._graphs: dict[tuple[torch.Size, int, bool], tuple[Batch, torch.cuda.CUDAGraph]] = {}
        self._loss = torch.zeros((), device=device)
        for weight in net.parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None

    def __call__(self, batch: Batch, bands: int, whole: bool) -> torch.Tensor:
        """Bits per subpixel of a batch, a scalar; its gradients replace those of the network's parameters."""
        if self._type == "cuda":
            kind = batch.planes.shape, bands, whole
            if kind not in self._graphs:
                self._graphs[kind] = self._recorded(batch, bands, whole)
            inputs, graph = self._graphs[kind]
            for kept, new in zip(inputs, batch, strict=True):
                kept.copy_(new)
            graph.replay()
        else:
            self._compute(batch, bands, whole)
        return self._loss.clone()

    def forget(self) -> None:
        """Record anew: the network computes in another way from now on."""
        self._graphs.clear()

    def _recorded(self, batch: Batch, bands: int, whole: bool) -> tuple[Batch, torch.cuda.CUDAGraph]:
        """A graph, and the batch that it reads."""
        inputs = Batch(*(part.clone() for part in batch))
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # libraries choose their kernels
                self._compute(inputs, bands, whole)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._compute(inputs, bands, whole)
        return inputs, graph

    def _compute(self, batch: Batch, bands: int, whole: bool) -> None:
        self._net.zero_grad(set_to_none=False)
        with torch.autocast(self._type, dtype=torch.bfloat16, enabled=self._half):
            bits = self._objective(batch.planes, bands, batch.phases, whole)
        loss = bits.sum() / batch.planes[:, :bands].numel()
        loss.backward()  # type: ignore[no-untyped-call]
        self._loss.copy_(loss.detach())


class _Average:
    """A moving average of a network's weights over about ``steps`` steps, or with 0 the weights themselves."""

    def __init__(self, net: TrainableNet, steps: int) -> None:
        self._net, self._steps = net, steps
        self._weights: list[torch.Tensor] = list(net.parameters())
        self.values = [weight.detach().clone() for weight in self._weights] if steps else []

    def update(self, step: int) -> None:
        """Take in the weights of step ``step``, from 1."""
        if self._steps:
            with torch.no_grad():
                torch._foreach_lerp_(self.values, self._weights, max(1 / self._steps, 1 / step))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within this context the network has the averaged weights."""
        kept = [weight.detach().clone() for weight in self._weights] if self._steps else []
        self.assign()
        yield
        if kept:
            self._assign(kept)

    def assign(self) -> None:
        """Give the network the averaged weights."""
        if self._steps:
            self._assign(self.values)

    def _assign(self, values: list[torch.Tensor]) -> None:
        with torch.no_grad():
            for weight, value in zip(self._weights, values, strict=True):
                weight.copy_(value)
        self._net.refit()


def train(
    crops: Crops,
    out: Path,
    net: TrainableNet,
    schedule: Schedule,
    *,
    device: str = "cpu",
    seed: int = 0,
    half: bool | None = None,
    objective: Objective | None = None,
    interval: float = 180.0,
    patience: int | None = None,
) -> float:
    """Train a network, or go on from ``out/checkpoint.pt``.

    Writes there a checkpoint every few minutes and ``curve.csv``. The network is left rounded.

    Parameters
    ----------
    crops, net, schedule : what to train, on what, how.
    out : the folder of the run.
    device : where the network is trained.
    seed : of all that is random.
    half : run the convolutions in bfloat16; by default where that is much faster (`is_half_faster`).
    objective : what to make small, by default the network's own output.
    interval : seconds between looks at the held-out photographs.
    patience : stop after so many looks without improvement, with the network as it was at its best, that of the
        beginning included.

    Returns
    -------
    The last held-out bits per subpixel, or with ``patience`` the best.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = objective or net
    half = is_half_faster(device) if half is None else half
    optimisers = _optimisers(net, schedule, half)
    run = _Run()
    checkpoint = out / "checkpoint.pt"
    average = _Average(net, schedule.average)
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        net.load_state_dict(saved.pop("net"))
        average.values = saved.pop("average")
        for optimiser, state in zip(optimisers, saved.pop("optimisers"), strict=True):
            optimiser.load_state_dict(state)
        run = _Run(**saved)
        crops.rng = np.random.default_rng(seed + run.step)
    gradients = _Gradients(net, objective, device, half)

    def save() -> None:
        temporary = checkpoint.with_suffix(".tmp")
        states = {
            "net": net.state_dict(),
            "average": average.values,
            "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        }
        torch.save(states | vars(run), temporary)
        temporary.replace(checkpoint)

    pixels_per_step = schedule.batch * schedule.crop**2
    running: torch.Tensor | None = None
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
            if rounded != (progress >= 1 - schedule.rounded) or run.step == 0:
                rounded = progress >= 1 - schedule.rounded
                net.set_rounded(rounded)
                gradients.forget()
            elif run.step % _ROUND_AGAIN == 0:
                net.refit()
            for group in (group for optimiser in optimisers for group in optimiser.param_groups):
                group["lr"] = schedule.rate(progress, run.step)
            batch = crops.batch(schedule.batch, schedule.crop)
            bands = 1 if crops.rng.random() < schedule.gray else 3
            if bands == 1:
                batch = batch._replace(planes=batch.planes[:, :1].repeat(1, 3, 1, 1))
            loss = gradients(batch, bands, whole=bool(crops.rng.random() < _WHOLE_SHARE))
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            for optimiser in optimisers:
                optimiser.step()
            run.step += 1
            average.update(run.step)
            if bands == 3:  # a tensor still: reading its value would make a GPU wait
                running = loss if running is None else running + (loss - running) * 0.01
            now = time.monotonic()
            run.spent += now - begin
            progress = schedule.progress(run.step, run.spent)
            bar.update(min(1000, round(1000 * progress)) - bar.n)
            if now - last_log > interval or progress >= 1:
                with average.shown():
                    held_out, state = float(evaluate(objective, crops, device).sum()), deepcopy(net.state_dict())
                row = {
                    "step": run.step,
                    "minutes": round(run.spent / 60, 3),
                    "pixels": run.step * pixels_per_step,
                    "rate": schedule.rate(min(progress, 1.0), run.step),
                    "train": float("nan") if running is None else running.item(),
                    "held_out": held_out,
                    "pixels_per_s": round((run.step - log_step) * pixels_per_step / (now - last_log)),
                }
                figures = {key: f"{row[key]:.3f}" for key in ("train", "held_out")}
                bar.set_postfix(step=run.step, **figures, px_s=row["pixels_per_s"])
                append_row(out / "curve.csv", row)
                last_log, log_step = time.monotonic(), run.step
                run.looks += 1
                if patience is None:
                    run.best = held_out
                elif held_out < run.best:
                    run.best, run.kept, run.looks = held_out, state, 0
                elif run.looks >= patience:
                    break
            if now - last_save > 180:
                save()
                last_save = time.monotonic()
    save()
    if run.kept is not None:
        net.load_state_dict(run.kept)
    else:
        average.assign()
    net.set_rounded(True)
    return run.best


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a CSV file, which begins with the names of the columns."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
