"""Arrays with named axes as one image: the images that they hold lie on a sheet, one below the other.

The axes Y and X are those of an image, C holds its bands, and all others count images, in C order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from .container import Box, ImageSpec
from .errors import FormatError, UnsupportedError
from .metadata import Axes, Metadata, axis_letters
from .reader import Reader, band_count
from .samples import Picture, Pixels, is_boolean, to_pixels

Part = Sequence[tuple[int, int]]
"""(start, stop) for each axis."""


MAX_AXES: Final = 8
_COLOURS: Final = 4
"""A last axis that is not longer holds bands."""
_BANDS: Final = 16
"""One that is not longer than this, and shorter than the two before, may hold bands or rows of pixels."""
_OTHERS: Final = "MNPTSZ"
"""Names of the axes before an image's own, the last one first to be used."""


_ADVICE: Final = {
    "c": "write array.real and array.imag",
    "m": "write array.view('i8')",
    "M": "write array.view('i8')",
}
"""For kinds of samples that no file holds."""


def default_axes(shape: Sequence[int]) -> str:
    """The axes of an array where none are named: YX; YXC where a third, last axis has at most 4 entries, colours; and
    before them Z, S, T and others, of images that are coded together.

    Raises ``ValueError`` for fewer than two axes or more than eight, and for a shape that may as well mean another
    thing: (3, H, W), and (H, W, 5 to 16).
    """
    if not 2 <= len(shape) <= MAX_AXES:
        raise ValueError(f"cannot code an array of shape {tuple(shape)} as images: it needs 2 to {MAX_AXES} axes")
    plane = "YXC" if len(shape) > 2 and shape[-1] <= _COLOURS else "YX"
    axes = _OTHERS[len(_OTHERS) - (len(shape) - len(plane)) :] + plane
    if len(shape) > 2 and plane == "YX":
        *others, first, height, width = shape
        if first == 3:
            other, bands = axes[:-3] + "CYX", 3
            image = f"{height} x {width}"
        elif width <= _BANDS and width < min(first, height):
            other, bands = axes[1 : len(others) + 1] + "YXC", width
            image = f"{first} x {height}"
        else:
            return axes
        raise ValueError(
            f"shape {tuple(shape)} has two readings: axes={other!r} for images of {image} with {bands} bands, or"
            f" axes={axes!r} for {first} images of {height} x {width} with one band each"
        )
    return axes


def to_sheet(array: Pixels, axes: str, metadata: Metadata, format: str) -> Picture:
    """The sheet of an array. Raises `UnsupportedError` for samples, ``ValueError`` for axes, that do not fit."""
    letters = axis_letters(axes, array.shape)
    if not array.size or array.dtype.kind not in "buif":
        other = _ADVICE.get(array.dtype.kind, "it should hold integers, floats of up to 64 bits, or booleans")
        advice = other if array.size else "it is empty"
        raise UnsupportedError(
            f"cannot write an array of {array.dtype} and shape {array.shape} as {format.upper()}: {advice}"
        )
    big_endian = array.dtype.itemsize > 1 and array.dtype == array.dtype.newbyteorder(">")
    kept = Axes(letters, array.shape, array.flags.fnc, big_endian)
    moved = array.transpose([letters.index(letter) for letter in _sheet_order(letters)])
    height, width = array.shape[letters.index("Y")], array.shape[letters.index("X")]
    pixels = moved.reshape(-1, width, array.shape[letters.index("C")] if "C" in letters else 1)
    return Picture(
        "",
        to_pixels(pixels),
        metadata=replace(metadata, axes=kept),
        image_height=height,
        is_boolean=array.dtype.kind == "b",
    )


def from_sheet(reader: Reader, axes: Axes, part: Part | None) -> Pixels:
    """The array that `to_sheet` made a sheet of, or a part of it; each chunk of the file is decoded once."""
    letters, spec, sides = axes.letters, reader.header.spec, _sides(reader, axes)
    if part is not None and len(part) != len(letters):
        raise ValueError(f"a part needs (start, stop) for each of the axes {letters}, not {len(part)} of them")
    bounds = dict(zip(letters, [(0, size) for size in axes.sizes] if part is None else part, strict=True))
    for letter, (start, stop) in bounds.items():
        if not 0 <= start < stop <= sides[letter]:
            raise ValueError(f"no part {start}:{stop} of axis {letter}, whose size is {sides[letter]}")
    order = _sheet_order(letters)
    leading = order[: order.index("Y")]
    numbers = np.arange(spec.height // sides["Y"]).reshape([sides[letter] for letter in leading])
    numbers = numbers[tuple(slice(*bounds[letter]) for letter in leading)].reshape(-1)
    (top, bottom), (left, right), height = bounds["Y"], bounds["X"], sides["Y"]
    if len(numbers) * (bottom - top) == spec.height:
        pixels = reader.frame(region=(left, 0, right, spec.height))
    else:
        boxes = [(left, n * height + top, right, n * height + bottom) for n in numbers.tolist()]
        pixels = reader.parts(boxes)
    pixels = pixels[..., slice(*bounds.get("C", (0, 1)))]
    array = pixels.reshape([bounds[letter][1] - bounds[letter][0] for letter in order])
    return _as_was(array.transpose([order.index(letter) for letter in letters]), spec, axes)


def image_of_sheet(reader: Reader, axes: Axes, level: int, region: Box | None) -> Pixels:
    """A coarse version, or a region, of an array that is one image. Raises ``ValueError`` for one that is not."""
    if axes.letters not in ("YX", "YXC"):
        raise ValueError(f"an array with axes {axes.letters} has no levels and regions: take a part of it, or all")
    _sides(reader, axes)
    pixels = reader.frame(level=level, region=region)
    return _as_was(pixels if axes.letters == "YXC" else pixels[:, :, 0], reader.header.spec, axes)


def _sides(reader: Reader, axes: Axes) -> dict[str, int]:
    """The size of each axis. Raises ``FormatError`` where they are not those of what the file holds."""
    frame, spec = reader.header.frames[0], reader.header.spec
    sides, bands = dict(zip(axes.letters, axes.sizes, strict=True)), band_count(frame)
    if (
        len(reader.header.frames) != 1
        or spec.mode
        or (spec.width, bands) != (sides["X"], sides.get("C", 1))
        or math.prod(axes.sizes) != spec.width * spec.height * bands
    ):
        raise FormatError(f"axes {axes.letters} of sizes {axes.sizes} do not fit the image: the file is malformed")
    return sides


def _as_was(array: Pixels, spec: ImageSpec, axes: Axes) -> Pixels:
    """The type and memory order that an array had."""
    if is_boolean(spec):
        array = array != 0
    dtype = array.dtype.newbyteorder(">") if axes.big_endian else array.dtype.newbyteorder("<")
    return array.astype(dtype, order="F" if axes.fortran else "C", copy=False)


def _sheet_order(letters: str) -> str:
    """The axes in the order in which a sheet has them."""
    return "".join(a for a in letters if a not in "YXC") + "YX" + ("C" if "C" in letters else "")
