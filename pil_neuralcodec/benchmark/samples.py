"""Images to measure: what is really in their files, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..uncut import foreign_errors, read_uncut

Pixels: TypeAlias = NDArray[Any]

MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's modes of 8-bit samples, by the number of bands."""


@dataclass(frozen=True)
class Sample:
    """One image to measure: ``pixels`` is uint8 or uint16, (H, W), (H, W, 3) or (H, W, 4)."""

    name: str
    pixels: Pixels


def load_samples(path: Path, name: str | None = None) -> list[Sample]:
    """The images of one file: each frame of an image file, and N of a set.

    Pixels are those that the file holds: samples of 16 bits stay 16 bits in every mode (Pillow
    itself keeps them for gray only). Modes other than L, RGB, RGBA and I;16 are measured as RGB, or RGBA where they
    have transparency: what is compared are pixels, not containers.

    Parameters
    ----------
    path : an image file, or an ``.npz`` set with the key ``images``, (N, H, W) or (N, H, W, C).
    name : what the samples are called (None: as the file); those of a set, and frames, are numbered.

    Raises
    ------
    OSError : the file is missing, damaged or no image, or what is installed does not read all of it.
    ValueError : a set without ``images``, or samples that cannot be measured: floats, integers of 32 bits.
    ModuleNotFoundError : a JPEG XL file takes imagecodecs.
    """
    suffix, name = path.suffix.lower(), name or path.name
    if suffix == ".npz":
        with np.load(path) as archive:
            if "images" not in archive:
                raise ValueError(f"{path}: no array 'images' in this set (it has: {', '.join(archive) or 'nothing'})")
            images = archive["images"]
    else:
        images = _read_jxl(path) if suffix == ".jxl" else _frames(path)
        if len(images) == 1:
            return [Sample(name, as_pixels(images[0]))]
    digits = len(str(len(images)))
    stem = name.removesuffix(path.suffix)
    return [Sample(f"{stem}-{index:0{digits}}", as_pixels(image)) for index, image in enumerate(images)]


def imagecodecs() -> Any:
    """The package of that name. Raises `ModuleNotFoundError` that says what to install."""
    try:
        import imagecodecs
    except ImportError as error:
        raise ModuleNotFoundError("imagecodecs is missing: install the extra `bench`") from error
    return imagecodecs


def _read_jxl(path: Path) -> list[Pixels]:
    library = imagecodecs()
    try:
        pixels: Pixels = library.jpegxl_decode(path.read_bytes())
    except (ValueError, RuntimeError) as error:
        raise OSError(f"{path}: {error}") from error
    return list(pixels) if pixels.ndim == 4 else [pixels]


def _frames(path: Path) -> list[Pixels]:
    """Every frame of a file that Pillow opens, or of one that it does not read as it is."""
    whole = read_uncut(path)
    if whole is not None:
        return [one[..., [0, 0, 0, 1]] if one.shape[2:] == (2,) else one for one in whole]  # gray and alpha
    found = []
    with foreign_errors(), Image.open(path) as opened:
        for frame in range(getattr(opened, "n_frames", 1)):
            opened.seek(frame)
            found.append(_shown(opened))
    return found


def _shown(opened: Image.Image) -> Pixels:
    """The present frame of an opened file."""
    if opened.mode in ("L", "RGB", "RGBA", "F") or (opened.mode == "I" and opened.format != "PPM"):
        return np.array(opened)
    if opened.mode == "I" or opened.mode.startswith("I;16"):
        return np.asarray(opened).astype(np.uint16)  # any byte order to the native one; "I" is PGM of 16 bits
    if opened.mode == "1":
        return np.asarray(opened.convert("L"))
    return np.asarray(opened.convert("RGBA" if opened.has_transparency_data else "RGB"))


def bands_of(pixels: Pixels) -> int:
    """Number of bands."""
    return int(pixels.shape[2]) if pixels.ndim == 3 else 1


def as_pixels(array: NDArray[Any]) -> Pixels:
    """``array`` as a contiguous sample without a third axis of length 1.

    Raises
    ------
    ValueError : neither uint8 nor uint16, or not (H, W), (H, W, 1), (H, W, 3), (H, W, 4).
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    known = array.dtype in (np.uint8, np.uint16) and array.ndim in (2, 3) and bands_of(array) in MODES
    if not array.size or not known:
        raise ValueError(f"cannot measure an array of shape {array.shape} and type {array.dtype}")
    return np.ascontiguousarray(array)


def crop_to_multiple(sample: Sample, multiple: int) -> Sample:
    """The sample without its last rows and columns, so that both sides are multiples (32: Bit-Swap's protocol).

    Raises
    ------
    ValueError : nothing would be left.
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
