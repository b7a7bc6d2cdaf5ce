"""napari's reader of files of ours; it finds that by entry point once the package is installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Layer = tuple[Any, dict[str, Any], str]


def reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Layer]] | None:
    """What reads ``path``; None where one of several files is not ours."""
    paths = [path] if isinstance(path, str) else path
    return read if all(Path(one).suffix.lower() in (".ifl", ".bsw") for one in paths) else None


def read(path: str | Sequence[str]) -> list[Layer]:
    """A layer for each frame of each file: the array, and whether its last axis holds colours."""
    from . import api

    layers: list[Layer] = []
    for one in [path] if isinstance(path, str) else path:
        info = api.read_info(one)
        axes = info.metadata.axes
        colours = axes.letters.endswith("C") if axes else info.bands > 1
        for index, array in enumerate(api.decode(one, frames="all")):
            name = Path(one).stem + (f" {index}" if info.n_frames > 1 else "")
            rgb = colours and array.shape[-1] in (3, 4)
            layers.append((array, {"name": name, "rgb": rgb, "metadata": {"axes": axes and axes.letters}}, "image"))
    return layers
