"""Which JPEG files may grow, told from their headers, before any work.

A JPEG file becomes smaller where its coefficients are found again from its pixels, and grows where they are not. What
decides that nearly always stands in its header: docs/past.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image, JpegImagePlugin

from ..uncut import foreign_errors
from .sources import STREAM, Job

_JPEG: Final = b"\xff\xd8\xff"
_FINE: Final = 0.3
"""Share of steps of 1 above which coefficients are not found: a quarter of those of quality 98, half of those of 99."""
_RGB: Final = (82, 71, 66)
"""Component ids by which libjpeg knows RGB, "RGB" in ASCII."""


def growing(jobs: Iterable[Job]) -> dict[Path, str]:
    """The JPEG files that may become larger, each with the reason."""
    return {job.source: why for job in jobs if (why := _why(job.source, job.options)) is not None}


def _why(path: Path, options: Mapping[str, Any]) -> str | None:
    """Why a file may become larger; None for one that will not, or is no JPEG file."""
    if path == STREAM:
        return None
    try:
        with path.open("rb") as file:
            if file.read(3) != _JPEG:
                return None
        with foreign_errors(), Image.open(path, formats=["JPEG", "MPO"]) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            reasons = _by_options(options), *_by_header(image)
            return next((reason for reason in reasons if reason), None)
    except OSError:
        return None  # what is wrong is told when it is encoded


def _by_options(options: Mapping[str, Any]) -> str | None:
    if not options["past"]:
        return "--no-past leaves it out to find their coefficients again"
    if options["fallback"] not in (True, "jpeg"):
        return "--fallback leaves out the method that finds their coefficients again"
    return None


def _by_header(image: JpegImagePlugin.JpegImageFile) -> Iterator[str | None]:
    """Reasons why coefficients are not found again."""
    layers = image.layer  # (id, horizontal factor, vertical factor, table) of each component
    ids, factors = tuple(layer[0] for layer in layers), [layer[1:3] for layer in layers]
    if len(layers) not in (1, 3):
        yield "coefficients of CMYK files are not looked for"
    if len(layers) == 3 and (ids == _RGB or image.info.get("adobe_transform") == 0):
        yield "coefficients of RGB without a conversion are not looked for"
    luma, *chroma = factors
    if any(one != chroma[0] or luma[axis] not in (one[axis], 2 * one[axis]) for one in chroma for axis in (0, 1)):
        yield "their chroma is sampled in an unusual way"
    steps = [step for table in image.quantization.values() for step in table]
    whole = bool(chroma) and luma == chroma[0]
    if steps.count(1) > _FINE * len(steps) and not (whole and set(steps) == {1}):
        yield "steps as fine as those of quality 99 leave too little to find their coefficients again"
