"""Arrays with named axes as one image: the images that they hold lie on a sheet, one below the other.

The axes Y and X are those of an image, C holds its bands, and all others count images, in C order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .errors import FormatError, UnsupportedError
from .metadata import Axes, Metadata, axis_letters
from .reader import Reader, band_count
from .samples import Picture, Pixels, is_boolean, to_pixels

Part = Sequence[tuple[int, int]]
"""(start, stop) for each axis."""


def to_sheet(array: Pixels, axes: str, metadata: Metadata, format: str) -> Picture:
    """The sheet of an array. Raises `UnsupportedError` for samples, ``ValueError`` for axes, that do not fit."""
    letters = axis_letters(axes, array.shape)
    if not array.size or array.dtype.kind not in "buif":
        raise UnsupportedError(
            f"cannot write an array of {array.dtype} and shape {array.shape} as {format.upper()}: it should hold"
            " integers, floats or booleans"
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
    letters, sizes, spec = axes.letters, axes.sizes, reader.header.spec
    sides = dict(zip(letters, sizes, strict=True))
    bands = band_count(reader.header.frames[0])
    if (
        len(reader.header.frames) != 1
        or spec.mode
        or (spec.width, bands) != (sides["X"], sides.get("C", 1))
        or math.prod(sizes) != spec.width * spec.height * bands
    ):
        raise FormatError(f"axes {letters} of sizes {sizes} do not fit the image: the file is malformed")
    bounds = dict(zip(letters, [(0, size) for size in sizes] if part is None else part, strict=True))
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
    array = array.transpose([order.index(letter) for letter in letters])
    if is_boolean(spec):
        array = array != 0
    dtype = array.dtype.newbyteorder(">") if axes.big_endian else array.dtype.newbyteorder("<")
    return array.astype(dtype, order="F" if axes.fortran else "C", copy=False)


def _sheet_order(letters: str) -> str:
    """The axes in the order in which a sheet has them."""
    return "".join(a for a in letters if a not in "YXC") + "YX" + ("C" if "C" in letters else "")
