"""Model cards: what people should know of a model that was trained here."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .data import Crops
from .loop import Schedule

TASKS = {
    "photo": "photo flow for .ifl (lossless image compression)",
    "patch": "patch flow for .ifl (lossless compression of small images)",
    "bitswap": "hierarchical latent variable model for .bsw (lossless image compression)",
}
"""By the kind of a model: what it is for."""


def model_card(
    name: str,
    kind: str,
    *,
    data: Sequence[Path],
    start: str,
    schedule: Schedule,
    crops: Crops,
    device: str,
    seed: int,
    held_out: float,
    **more: Any,
) -> dict[str, Any]:
    """A model card, JSON-able.

    Parameters
    ----------
    name, kind : of the model.
    data : the folders and files it was trained on.
    start : the model, or what else, it began as.
    schedule, crops, device, seed : how it was trained.
    held_out : bits per subpixel on the photographs that ``crops`` kept apart.
    more : further lines, by name.
    """
    return {
        "name": name,
        "task": TASKS[kind],
        "data": [path.name for path in data],
        "started_from": start,
        "length": schedule.length,
        "hardware": f"{device}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}",
        "steps_and_crops": {
            "batch": schedule.batch,
            "crop": schedule.crop,
            "learning_rate": schedule.learning_rate,
            "grain": crops.grain,
            "seed": seed,
        },
        "held_out_bits_per_subpixel": round(held_out, 4),
        "held_out_images": len(crops.validation),
        **more,
    }
