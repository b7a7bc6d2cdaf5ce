"""Images to measure, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..deep import cut_by_pillow

Pixels: TypeAlias = NDArray[Any]

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's modes of 8-bit samples, by the number of bands."""


@dataclass(frozen=True)
class Sample:
    """One image to measure: ``pixels`` is uint8 (H, W), (H, W, 3), (H, W, 4) or uint16 (H, W)."""

    name: str
    pixels: Pixels


def load_samples(path: Path, name: str | None = None) -> list[Sample]:
    """The images of one file: one for an image file, N for a ``.npz`` set (key ``images``, (N, H, W) or (N, H, W, C)).

    ``name`` is what the samples are called (None: as the file); those of a set are numbered.
    ``.jxl`` is read through imagecodecs, everything else through Pillow (first frame). Modes other than L, RGB, RGBA
    and I;16 are measured as RGB, or RGBA where they have transparency: what is compared are pixels, not containers.

    Raises
    ------
    OSError: the file is missing, damaged or no image.
    ValueError: a set without ``images``, an array that is no image, or colours of more than 8 bits a sample.
    """
    suffix, name = path.suffix.lower(), name or path.name
    if suffix == ".npz":
        with np.load(path) as archive:
            if "images" not in archive:
                raise ValueError(f"{path}: no array 'images' in this set (it has: {', '.join(archive) or 'nothing'})")
            images = archive["images"]
        digits = len(str(len(images)))
        stem = name.removesuffix(path.suffix)
        return [Sample(f"{stem}-{index:0{digits}}", as_pixels(image)) for index, image in enumerate(images)]
    if suffix == ".jxl":
        imagecodecs = imagecodecs_module()
        try:
            image = imagecodecs.jpegxl_decode(path.read_bytes())
        except (ValueError, imagecodecs.JpegxlError) as error:
            raise OSError(f"{path}: {error}") from error
        return [Sample(name, as_pixels(image))]
    with Image.open(path) as opened:
        if (cut := cut_by_pillow(opened)) is not None:
            raise ValueError(f"left out: it has {cut}, and not every peer takes more")
        if opened.mode == "1":
            pixels = np.asarray(opened.convert("L"))
        elif opened.mode in ("L", "RGB", "RGBA"):
            pixels = np.asarray(opened)
        elif opened.mode.startswith("I;16"):
            pixels = np.asarray(opened).astype(np.uint16)  # any byte order to the native one
        else:
            pixels = np.asarray(opened.convert("RGBA" if opened.has_transparency_data else "RGB"))
    return [Sample(name, as_pixels(pixels))]


def band_count(pixels: Pixels) -> int:
    """Number of bands of (H, W) or (H, W, C)."""
    return int(pixels.shape[2]) if pixels.ndim == 3 else 1


def as_pixels(array: NDArray[Any]) -> Pixels:
    """``array`` as a contiguous sample without a third axis of length 1.

    Raises
    ------
    ValueError: neither uint8 (H, W), (H, W, 1), (H, W, 3), (H, W, 4) nor uint16 (H, W).
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    known = (array.dtype == np.uint8 and band_count(array) in MODES) or (array.dtype == np.uint16 and array.ndim == 2)
    if array.ndim not in (2, 3) or not array.size or not known:
        raise ValueError(f"cannot measure an array of shape {array.shape} and type {array.dtype}")
    return np.ascontiguousarray(array)


def crop_to_multiple(sample: Sample, multiple: int) -> Sample:
    """The sample without its last rows and columns, so that both sides are multiples (32: Bit-Swap's protocol).

    Raises
    ------
    ValueError: nothing would be left.
    """
    height, width = (side - side % multiple for side in sample.pixels.shape[:2])
    if not (height and width):
        raise ValueError(f"{sample.name}: smaller than {multiple} x {multiple}")
    return Sample(sample.name, np.ascontiguousarray(sample.pixels[:height, :width]))


def to_rgb(sample: Sample) -> Sample:
    """The sample with 8-bit gray repeated three times, so that all images of a set count three bands."""
    if sample.pixels.dtype != np.uint8 or sample.pixels.ndim != 2:
        return sample
    return Sample(sample.name, np.repeat(sample.pixels[..., None], 3, axis=2))


def imagecodecs_module() -> Any:
    """imagecodecs. Raises `ModuleNotFoundError` that names the extra where it is missing."""
    try:
        import imagecodecs
    except ImportError as error:
        raise ModuleNotFoundError("imagecodecs is missing: install the extra `bench`") from error
    return imagecodecs
