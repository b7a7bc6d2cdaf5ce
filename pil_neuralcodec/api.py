"""What users of arrays call: `encode`, `decode`, `read_info`."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import container
from .container import MAX_PIXELS, MODES, Box
from .errors import UnsupportedError
from .metadata import Metadata
from .reader import Reader, band_count
from .samples import Picture, Pixels, fits_mode, is_boolean, mode_of, pixel_dtype, to_array, to_pixels
from .sheets import Part, default_axes, from_sheet, image_of_sheet, to_sheet
from .writer import encode_frames

Source = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
"""What is read from: the bytes of a file, its path or URL, or an open file, from its present position to its end."""


@dataclass(frozen=True)
class Info:
    """What a file says of itself. Sizes in pixels or bytes, durations in milliseconds.

    ``mode`` is "" for an array that is no Pillow image. ``methods`` and ``tiles`` (columns, rows) are those of the
    first frame's segments; ``levels`` counts the resolutions at which it can be decoded; ``model`` is the id in hex.
    """

    format: str
    mode: str
    width: int
    height: int
    bands: int
    dtype: str
    n_frames: int
    durations: tuple[int | None, ...]
    methods: tuple[str, ...]
    tiles: tuple[int, int]
    levels: int
    model: str | None
    file_size: int
    header_size: int
    metadata: Metadata = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that `decode` returns."""
        if self.metadata.axes is not None:
            return self.metadata.axes.sizes
        flat = bool(self.mode) and self.bands == 1
        return (self.height, self.width) if flat else (self.height, self.width, self.bands)

    @property
    def bits_per_subpixel(self) -> float:
        """8 * bytes of the whole file / samples of one frame and the number of frames of that size."""
        return 8 * self.file_size / (self.width * self.height * self.bands * self.n_frames)


def encode(
    array: npt.ArrayLike,
    format: str = "ifl",
    *,
    mode: str | None = None,
    metadata: Metadata | None = None,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    fallback: bool | str = True,
    ordering: str | None = None,
    past: bool = True,
    axes: str | None = None,
) -> bytes:
    """The bytes of a file that holds ``array``.

    Parameters
    ----------
    array : of 2 to 8 axes, of bool, integers or floats of up to 64 bits, in any byte and memory order: (H, W), a gray
        image; (H, W, C) with up to 4 bands; or several images of one size, (N, H, W), (N, H, W, C), and so on. uint8
        with 2, 3, 4 bands makes LA, RGB, RGBA images, and gray images of bool, uint8, uint16, int32 and float32 those
        of Pillow.
    format : "ifl" or "bsw".
    mode : another Pillow mode, of the same shape and type, for a single image.
    metadata : what to keep besides.
    model : the name, file or hash of a model, or "photo", "photo-best", "photo-fast", "patch", "bitswap" for the newest
        of a kind. None: the format's own.
    device : where networks run: "cpu", "cuda", "numpy". None: the fastest proven one. The bytes are the same.
    fallback : True: the smallest of all methods; False: a network alone; or one of "webp", "jpeg", "predictor",
        "filtered", "raw".
    ordering : of bits-back coding in ``.bsw`` files: "bit-swap" (None) or "bb-ans".
    past : False: pixels are coded as they are, not as what they were before a conversion of colours or in a JPEG file.
    axes : a letter for each axis: Y and X, C for bands, and others for images that are coded together: "NYXC", "TZCYX".
        None: as said above, and as of `sheets.default_axes`, which refuses a shape that has two readings.

    Raises
    ------
    UnsupportedError : for an array that does not fit.
    UnknownModelError : for a model that is not there.
    ValueError : for axes, a mode or an option that does not exist.
    TypeError : for an image or a masked array, which have more than their samples, and for other metadata.
    """
    picture = picture_of(array, format, mode=mode, metadata=metadata, axes=axes)
    return encode_frames([picture], format, model=model, device=device, fallback=fallback, ordering=ordering, past=past)


def picture_of(
    array: npt.ArrayLike,
    format: str = "ifl",
    *,
    mode: str | None = None,
    metadata: Metadata | None = None,
    axes: str | None = None,
) -> Picture:
    """An array as what a file holds. Arguments and errors as of `encode`."""
    if isinstance(array, Image.Image):
        raise TypeError("an image has more than its samples: save it, or encode numpy.asarray(image)")
    if isinstance(array, (str, os.PathLike)):
        raise TypeError(f"encode takes an array, not a path ({array!s}): save an image by Image.open(path).save(...)")
    if np.ma.is_masked(array):
        raise TypeError("a masked array has more than its samples: encode array.filled(), or array.data and array.mask")
    if metadata is not None and not isinstance(metadata, Metadata):
        raise TypeError(f"metadata should be a Metadata, not {type(metadata).__name__}: Metadata(dpi=(300, 300), ...)")
    array = np.asarray(array)
    if axes is None and mode is None:
        mode, axes = _reading(array)
    if axes is not None:
        if mode:
            raise ValueError(f"mode={mode!r} is for single images, not for an array with axes {axes}")
        return to_sheet(array, axes, metadata or Metadata(), format)
    if mode and mode not in MODES:
        raise UnsupportedError(f"cannot write mode {mode} as {format.upper()}")
    bands = array.shape[2] if array.ndim == 3 else 1
    fits = not mode or (fits_mode(array.dtype, mode) and bands == MODES[mode].bands)
    if array.ndim not in (2, 3) or not array.size or not fits:
        raise UnsupportedError(
            f"cannot write an array of {array.dtype} and shape {array.shape}"
            f" in mode {mode or '(array)'} as {format.upper()}"
        )
    return Picture(mode or "", to_pixels(array), metadata=metadata or Metadata())


@overload
def decode(
    data: Source,
    *,
    frames: Literal["all"],
    level: int = 0,
    region: Box | None = None,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> list[Pixels]: ...


@overload
def decode(
    data: Source,
    *,
    frame: int | None = None,
    level: int = 0,
    region: Box | None = None,
    part: Part | None = None,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Pixels: ...


def decode(
    data: Source,
    *,
    frame: int | None = None,
    frames: Literal["all"] | None = None,
    level: int = 0,
    region: Box | None = None,
    part: Part | None = None,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Pixels | list[Pixels]:
    """The array in a file, as `encode` took it.

    Parameters
    ----------
    data : the bytes of a file, its path, a URL that fsspec opens, or an open file.
    frame : which one, from 0. A file of several frames needs to be told.
    frames : "all": a list of the arrays of all frames, of one as well.
    level : k gives ``array[::2**k, ::2**k]`` for a fraction of the cost; ``read_info(...).levels`` tells how many.
    region : (left, top, right, bottom) in pixels: only that part, decoding only the tiles that it touches.
    part : of an array with axes, (start, stop) for each: only that part, decoding only the tiles that it touches.
    model : the file of a model that may be the one that is needed, where it lies in none of the folders for models.
    device : where networks run (None: the fastest proven one). The pixels are the same.
    max_pixels : limit on width x height, checked before anything is allocated; None for no limit.

    Raises
    ------
    FormatError : for damage.
    LimitError, UnknownModelError, UnsupportedError : as their names say.
    ValueError : for a frame, level, region or part that is not there.
    TypeError : for ``data`` that cannot be read from.
    """
    if frames not in (None, "all") or (frames and (frame is not None or part is not None)):
        raise ValueError(f'frames={frames!r}: "all" is the only choice, and takes neither a frame nor a part')
    with opened(data) as fp:
        reader = Reader(fp, container.read_header(fp, max_pixels=max_pixels), model=model, device=device)
        if frames == "all":
            count = len(reader.header.frames)
            return [decode_opened(reader, frame=index, level=level, region=region) for index in range(count)]
        return decode_opened(reader, frame=frame, level=level, region=region, part=part)


def decode_opened(
    reader: Reader,
    *,
    frame: int | None = None,
    level: int = 0,
    region: Box | None = None,
    part: Part | None = None,
) -> Pixels:
    """The array in an open file. Arguments and errors as of `decode`."""
    axes = reader.metadata().axes
    if axes is not None:
        if frame and len(reader.header.frames) == 1:  # of several, the file is malformed
            raise ValueError(f"no frame {frame}: the file holds one array with axes {axes.letters}")
        if part is None and (level or region is not None):
            return image_of_sheet(reader, axes, level, region)
        if level or region is not None:
            raise ValueError("a part of an array, or a level or a region of an image: one of them")
        return from_sheet(reader, axes, part)
    if part is not None:
        raise ValueError("the file holds no array with axes: take a region instead of a part")
    count = len(reader.header.frames)
    if frame is None and count > 1:
        raise ValueError(f'the file has {count} frames: pass frame=0 to frame={count - 1}, or frames="all"')
    pixels = reader.frame(frame or 0, level=level, region=region)
    return to_array(reader.header.frames[frame or 0].spec.mode, pixels)


def read_info(data: Source, *, max_pixels: int | None = None) -> Info:
    """What a file says of itself: header and metadata only, nothing is decoded. Raises as `decode`."""
    with opened(data) as fp:
        return info_of(Reader(fp, container.read_header(fp, max_pixels=max_pixels)))


def info_of(reader: Reader) -> Info:
    """What an open file says of itself."""
    header = reader.header
    spec, segments = header.spec, header.frames[0].segments
    return Info(
        format=header.format,
        mode=spec.mode,
        width=spec.width,
        height=spec.height,
        bands=band_count(header.frames[0]),
        dtype="bool" if is_boolean(spec) else str(pixel_dtype(spec)),
        n_frames=len(header.frames),
        durations=tuple(frame.duration for frame in header.frames),
        methods=tuple(segment.method.name.lower() for segment in segments),
        tiles=segments[0].tile_counts(spec),
        levels=1 + reader.max_level(),
        model=header.model.hex() if header.model else None,
        file_size=header.file_size,
        header_size=header.size,
        metadata=reader.metadata(),
    )


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """A source as an open file."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        with _open_url(source) if isinstance(source, str) and "://" in source else open(source, "rb") as fp:
            yield fp
    elif hasattr(source, "read"):
        yield source
    else:
        raise TypeError(f"cannot read from {type(source).__name__}: pass bytes, a path or an open file")


def _open_url(url: str) -> AbstractContextManager[BinaryIO]:
    """What is behind a URL (https://, s3://, memory://, ...), by fsspec."""
    try:
        import fsspec
    except ImportError as error:
        raise ModuleNotFoundError(f"{url}: URLs need fsspec (pip install fsspec)") from error
    opened: AbstractContextManager[BinaryIO] = fsspec.open(url, "rb")
    return opened


def _reading(array: Pixels) -> tuple[str, str | None]:
    """What an array is where nothing is said: an image of a Pillow mode, or of none (""), or one of named axes."""
    axes = default_axes(array.shape)
    mode = mode_of(array) if axes in ("YX", "YXC") else ""
    is_image = mode or (axes == "YXC" and array.dtype.kind in "uif" and array.dtype.isnative)
    return mode, None if is_image else axes
