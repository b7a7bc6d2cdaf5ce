"""Samples: Pillow modes, data types, and how both are stored.

*Pixels* are an array (H, W, B) in native byte order. In a Pillow mode their type is uint8 for samples of 8 bits and of
1 bit (0 or 1), and uint16, int32 or float32 for the deeper modes. An array that is no Pillow image may have any
integer or float type. Methods take pixels as one of four types, the *stored* ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .container import MODES, ImageSpec, SampleKind
from .errors import UnsupportedError
from .metadata import Metadata

Pixels = npt.NDArray[Any]

_DTYPES: Final = {"1": "|b1", "I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2", "I": "=i4", "F": "=f4"}
"""Types of ``np.asarray(image)`` in the modes whose samples have not 8 bits."""
_ARRAY_MODES: Final = {1: ("1", "L", "I;16", "I;16B", "I", "F"), 2: ("LA",), 3: ("RGB",), 4: ("RGBA",)}
"""By the number of bands: the modes that an array may have without being told."""
_KINDS: Final = {"u": SampleKind.UNSIGNED, "i": SampleKind.SIGNED, "f": SampleKind.FLOAT}
_STORED: Final = {1: "u1", 2: "u2", 4: "i4", 8: "i4"}
"""By the bytes of a sample: the type in which it is stored. A sample of 8 bytes is stored as two, low word first."""


@dataclass(frozen=True)
class Picture:
    """A frame to write.

    Parameters
    ----------
    mode : a Pillow mode, or "" for an array of any number of bands.
    pixels : (H, W, B), of the type that belongs to ``mode``.
    duration : milliseconds, or None.
    metadata : what to keep besides.
    image_height : where the pixels are a sheet of several images, one below the other: the height of one.
    is_boolean : the samples are 0 or 1, of an array of booleans.
    """

    mode: str
    pixels: Pixels
    duration: int | None = None
    metadata: Metadata = field(default_factory=Metadata)
    image_height: int | None = None
    is_boolean: bool = False

    @property
    def height(self) -> int:
        """Rows of one image."""
        return self.image_height or self.pixels.shape[0]


def mode_dtype(mode: str) -> np.dtype[Any]:
    """Type of ``np.asarray(image)`` for an image of a Pillow mode."""
    return np.dtype(_DTYPES.get(mode, "u1"))


def fits_mode(dtype: np.dtype[Any], mode: str) -> bool:
    """Whether an array of ``dtype`` may be an image of a Pillow mode. uint16 in native order is I;16 on any machine."""
    return bool(dtype == mode_dtype(mode) or (mode == "I;16" and dtype == np.uint16))


def mode_of(array: Pixels) -> str:
    """The Pillow mode that an array (H, W) or (H, W, B) is, or "" for one that is none."""
    bands = array.shape[2] if array.ndim == 3 else 1
    for mode in _ARRAY_MODES.get(bands, ()) if array.ndim == 2 or bands > 1 else ():
        if fits_mode(array.dtype, mode):
            return mode
    return ""


def to_pixels(array: Pixels) -> Pixels:
    """Pixels of an array (H, W) or (H, W, B); booleans become 0 and 1."""
    pixels = array.reshape(*array.shape[:2], -1)
    if pixels.dtype == bool:  # Pillow's arrays say bool and hold 0 and 255
        pixels = (pixels.view("u1") != 0).astype("u1")
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def to_array(mode: str, pixels: Pixels) -> Pixels:
    """Inverse of `to_pixels` for a Pillow mode or "": the array that ``np.asarray(image)`` would be."""
    if not mode:
        return pixels
    dtype = mode_dtype(mode)
    array: Pixels = pixels.view(dtype) if mode == "1" else pixels.astype(dtype, copy=False)
    return array[:, :, 0] if array.shape[2] == 1 else array


def spec_of(picture: Picture, format: str) -> ImageSpec:
    """What the header says of a picture. Raises `UnsupportedError` for what a file cannot hold."""
    height, width = picture.pixels.shape[:2]
    dtype = picture.pixels.dtype
    if picture.mode:
        if picture.mode not in MODES:
            raise UnsupportedError(f"cannot write mode {picture.mode} as {format.upper()}")
        return ImageSpec.of(picture.mode, width, height)
    if dtype.kind not in _KINDS or dtype.itemsize not in _STORED:
        raise UnsupportedError(f"cannot write samples of {dtype} as {format.upper()}")
    bits = 1 if picture.is_boolean else 8 * dtype.itemsize
    return ImageSpec("", width, height, bits, _KINDS[dtype.kind])


def is_boolean(spec: ImageSpec) -> bool:
    """Whether an array that is no Pillow image holds booleans."""
    return not spec.mode and spec.bit_depth == 1


def pixel_dtype(spec: ImageSpec) -> np.dtype[Any]:
    """Type of the pixels."""
    kind = {SampleKind.UNSIGNED: "u", SampleKind.SIGNED: "i", SampleKind.FLOAT: "f"}[spec.kind]
    return np.dtype(f"={kind}{-(-spec.bit_depth // 8)}")


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type in which pixels of ``dtype`` are stored: uint8, uint16, int32 or float32."""
    return dtype if dtype == np.float32 else np.dtype(_STORED[dtype.itemsize])


def to_stored(pixels: Pixels) -> Pixels:
    """Pixels as methods take them, of `stored_dtype`: (H, W, B), or (H, W, 2 B) of samples of 8 bytes."""
    if pixels.dtype.itemsize == 8:
        pixels = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
        return np.ascontiguousarray(pixels).view("<i4").astype("=i4", copy=False)
    return np.ascontiguousarray(pixels).view(stored_dtype(pixels.dtype))


def from_stored(stored: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """Inverse of `to_stored`, for arrays of any number of axes."""
    if dtype.itemsize == 8:
        words = stored.astype("<i4", copy=False)
        return words.view(dtype.newbyteorder("<")).astype(dtype, copy=False)
    return stored.view(dtype)


def words_per_sample(dtype: np.dtype[Any]) -> int:
    """How many stored bands a band of samples takes."""
    return 2 if dtype.itemsize == 8 else 1


def sign_bit(dtype: np.dtype[Any]) -> Any:
    """The bit that tells the sign of stored samples."""
    return dtype.type(1 << (8 * dtype.itemsize - 1))
