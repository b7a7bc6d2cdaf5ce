"""Fit a released model to images of one kind, a user's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import models
from ..api import encode
from ..flow.architecture import PhotoArchitecture
from ..flow.planes import from_planes
from .card import model_card
from .data import Crops
from .loop import Schedule, train
from .photo import TrainablePhotoNet

_HELD_OUT = 8
"""About one image in so many is held out."""
_SIDE = 512
"""Of the middles of held-out images, whose whole files are compared."""
_LOOKS, _PATIENCE = 12, 4
"""How often the held-out images are looked at, and how often in vain before training stops."""


@dataclass(frozen=True)
class Comparison:
    """Bits per subpixel of the whole file of a held-out image's middle, with the model before and after."""

    name: str
    before: float
    after: float


def finetune(
    folders: list[Path],
    out: Path,
    *,
    start: str = "photo",
    minutes: float = 10.0,
    steps: int | None = None,
    learning_rate: float = 5e-4,
    device: str = "cpu",
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> list[Comparison]:
    """Train a photo model on the images under some folders, and write it to ``out``.

    Parameters
    ----------
    folders : searched recursively for images of at least 64 x 64 pixels; about one in eight is held out, by its name.
    out : the model's file. Beside it lies ``<out>.run`` until all is done, from which an interrupted run goes on.
    start : name, id or path of the photo model to begin with.
    minutes, steps : of optimisation at most; it stops earlier when the held-out images gain no more.
    learning_rate, device, seed : as of the training of released models.
    say : is told what goes on, a line each time.

    Returns
    -------
    What became of held-out images.

    Raises
    ------
    ValueError : too few images, or a model of another kind.
    """
    loaded = models.load(start)
    if not isinstance(loaded.architecture, PhotoArchitecture):
        raise ValueError(f"{start!r} is no photo model: only these can be trained further here")
    crops = Crops(folders, held_out=_HELD_OUT, seed=seed, device=device)
    crop = 128 if crops.share_of(128) > 0.9 else 64
    net = TrainablePhotoNet(loaded.architecture)
    net.load(loaded.layers)
    schedule = Schedule(
        minutes,
        steps=steps,
        learning_rate=learning_rate,
        hold=0.2,
        rounded=1.0,
        batch=4 * (128 // crop) ** 2,
        crop=crop,
        warm_up=20,
    )
    counts = f"{len(crops)} images and shrunken copies to train on, {len(crops.validation)} held out"
    say(f"{counts}; {schedule.length} at most")
    run = out.with_name(out.name + ".run")
    held_out = train(
        crops, run, net, schedule, device=device, seed=seed, interval=60 * minutes / _LOOKS, patience=_PATIENCE
    )
    card = model_card(
        out.stem,
        loaded.kind,
        data=folders,
        start=loaded.id.hex(),
        schedule=schedule,
        crops=crops,
        device=device,
        seed=seed,
        held_out=held_out,
        length=f"{schedule.length} at most",
    )
    models.save(out, loaded.architecture, net.export(), card)
    shutil.rmtree(run)
    return [Comparison(name, _bits(planes, start), _bits(planes, str(out))) for name, planes in crops.validation]


def _bits(planes: np.ndarray, model: str) -> float:
    top, left = (max(0, (n - _SIDE) // 2) for n in planes.shape[1:])
    middle = from_planes(planes[None, :, top : top + _SIDE, left : left + _SIDE])[0]
    return 8 * len(encode(middle, model=model, fallback=False)) / int(middle.size)
