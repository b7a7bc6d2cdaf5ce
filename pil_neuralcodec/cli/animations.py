"""Several frames as Pillow's writers take them: in one mode, with durations, behind a still image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from PIL import Image
from PIL.PngImagePlugin import Disposal

_SHOWN: Final = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
"""Modes whose colours and alpha RGBA holds as they are."""


def save(image: Image.Image, target: Path, durations: Sequence[int | None], loop: int | None, keep: Any) -> None:
    """Write all frames by Pillow, with the options ``keep``. Durations are in milliseconds; None is none."""
    times = [one or 0 for one in durations]
    if any(one is not None for one in durations):
        keep = {"duration": times} | keep
    if loop is not None:
        keep = {"loop": loop} | keep
    if Image.registered_extensions()[target.suffix.lower()] != "PNG":
        image.save(target, save_all=True, **keep)
        return
    frames = _of_one_mode(image, len(durations))
    if has_still(durations):
        keep = keep | {"default_image": True, "duration": times[1:]}
    keep = keep | {"disposal": _disposals(frames[has_still(durations) :])}
    frames[0].save(target, save_all=True, append_images=frames[1:], **keep)


def has_still(durations: Sequence[int | None]) -> bool:
    """Whether the first frame is a still image, for readers of PNG files that show no animations."""
    return durations[0] is None and any(one is not None for one in durations)


def _of_one_mode(image: Image.Image, count: int) -> list[Image.Image]:
    """The frames of an image; as RGB or RGBA where they differ in mode, palette or transparency, which a PNG file has
    once only."""
    frames = list(_frames(image, count))
    kinds = {(one.mode, str(one.getpalette("RGBA")), str(one.info.get("transparency"))) for one in frames}
    if len(kinds) == 1 or not {one.mode for one in frames} <= _SHOWN:
        return frames
    mode = "RGBA" if any(one.has_transparency_data for one in frames) else "RGB"
    return [one.convert(mode) for one in frames]


def _frames(image: Image.Image, count: int) -> Iterator[Image.Image]:
    for frame in range(count):
        image.seek(frame)
        yield image.copy()


def _disposals(frames: Sequence[Image.Image]) -> list[Disposal]:
    """Pillow makes one frame of two that are alike and go away alike. To go back to what was before is to go back to
    the same, for the second of two."""
    found = [Disposal.OP_NONE]
    for before, frame in pairwise(one.convert("RGBA").tobytes() for one in frames):
        again = before == frame and found[-1] == Disposal.OP_NONE
        found.append(Disposal.OP_PREVIOUS if again else Disposal.OP_NONE)
    return found


def shown_alike(image: Image.Image, written: Image.Image) -> bool:
    """Whether colours and alpha of two images are the same; writers give the frames of an animation one mode."""
    if image.size != written.size or not {image.mode, written.mode} <= _SHOWN:
        return False
    return image.convert("RGBA").tobytes() == written.convert("RGBA").tobytes()


def lost(durations: Sequence[int | None], written: Image.Image) -> list[str]:
    """Names of what a written file does not hold of the durations of several frames."""
    found: list[int | None] = []
    for frame in range(getattr(written, "n_frames", 1)):
        written.seek(frame)
        written.load()
        duration = written.info.get("duration")
        found.append(None if duration is None else round(duration))
    if len(found) != len(durations):
        return ["durations"] * any(one is not None for one in durations)
    names = (
        ["that the first frame is no part of the animation"] if has_still(durations) and found[0] is not None else []
    )
    for ours, theirs in zip(durations, found, strict=True):
        if ours not in (None, theirs):
            return [*names, "durations" if theirs is None else f"durations ({ours} ms became {theirs} ms)"]
    return names
