"""Arrays to files and back: the one core that Pillow, the command line and users of arrays go through.

A frame's bands are coded in groups: a colour group of three, and every other band alone. Each group is kept as the
smallest of what the methods of the format make of it, or all bands together by one method where that is smaller yet.
The choice depends on sizes in bytes and counts of pixels, never on time or floating point.

*Planes* are an array (H, W, B) in native byte order: uint8 for modes of 8 bits and 1 bit (0 or 1), uint16, int32 or
float32 for the deeper modes.
"""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np
import numpy.typing as npt

from . import container, models
from . import fallback as direct
from .bitswap.architecture import BitswapArchitecture
from .bitswap.coder import ORDERINGS
from .bitswap.image import decode_image, encode_image, read_ordering
from .container import MAX_PIXELS, ChunkRef, Frame, Header, ImageSpec, Method, SampleKind, Segment
from .errors import FormatError, UnknownModelError, UnsupportedError
from .flow.architecture import PatchArchitecture, PhotoArchitecture
from .flow.chain import block_size, decode_chain, encode_chain
from .flow.photo import checked_levels, tile_size
from .flow.polyphase import level_shape
from .flow.tiles import decode_planes, encode_planes
from .metadata import Axes, Metadata, axis_letters

_A = TypeVar("_A", PhotoArchitecture, PatchArchitecture, BitswapArchitecture)
Array = npt.NDArray[Any]
Source = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
"""What is read from: the bytes of a file, its path, or an open file, from its present position to its end."""

_DTYPES: Final = {"1": "|b1", "I;16": "<u2", "I;16L": "<u2", "I;16B": ">u2", "I;16N": "=u2", "I": "=i4", "F": "=f4"}
"""Data types of arrays in the modes that are not of 8 bits: those of ``np.asarray(image)``."""
_BANDS: Final = {"LA": 2, "La": 2, "PA": 2, "RGB": 3, "YCbCr": 3, "LAB": 3, "HSV": 3} | dict.fromkeys(
    ("RGBA", "RGBX", "RGBa", "CMYK"), 4
)
_ARRAY_MODES: Final = {1: ("1", "L", "I;16", "I;16B", "I", "F"), 2: ("LA",), 3: ("RGB",), 4: ("RGBA",)}
"""Modes that arrays take by themselves, by bands."""
_NOT_TONES: Final = ("1", "P", "PA")
"""Modes whose first band is no brightness, so that networks are not tried unless asked for."""
_CHAINS: Final = (Method.BITSWAP, Method.PATCH)
"""Methods whose segments are one chunk, decoded as a whole."""
_SMALL: Final = 64 * 64
"""Pixels of an image, up to which it is coded with every model, and the smallest file is kept."""
_FEW: Final = 16
"""Frames up to which this is done."""
_STORED: Final = {1: "u1", 2: "u2", 4: "i4", 8: "i4"}
"""What a sample of so many bytes is stored as; one of 8 bytes as two."""
_SEGMENT_COST: Final = 8
"""About what one more segment costs, in bytes."""


@dataclass(frozen=True)
class Picture:
    """A frame to write.

    ``planes`` (H, W, B) are of the type that belongs to ``mode``, a Pillow mode or "" for an array of any number of
    bands; ``duration`` is in milliseconds. Where the planes are a sheet of several images, one below the other,
    ``unit`` is the height of one. ``bits`` of a sample, where they are fewer than those of the type.
    """

    mode: str
    planes: Array
    duration: int | None = None
    metadata: Metadata = field(default_factory=Metadata)
    unit: int | None = None
    bits: int | None = None


@dataclass(frozen=True)
class Info:
    """What a file says of itself. Sizes in pixels or bytes, durations in milliseconds.

    ``mode`` is "" for an array that is no Pillow image. ``methods`` and ``tiles`` (columns, rows) are those of the
    first frame's segments; ``levels`` counts the resolutions at which it can be decoded; ``model`` is the id in hex;
    ``ordering`` is that of bits-back coding.
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
    ordering: str | None
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
    axes: str | None = None,
) -> bytes:
    """The bytes of a file that holds ``array``.

    Parameters
    ----------
    array: (H, W) of bool, uint8, uint16, int32 or float32: a gray image; or (H, W, C) of any number of bands and any
        integer or float type in native byte order. uint8 with 2, 3, 4 bands makes LA, RGB, RGBA images. Or several
        images of one size, (N, H, W, C); and (N, H, W) with a model for such sets ("patch") or with ``axes``.
    axes: a letter for each axis: Y and X, C for bands, and others for images that are coded together: "NYXC", "TZCYX".
        By default what is said above.
    mode: another Pillow mode, of the same shape and type, for a single image.
    metadata: what to keep besides.
    model, device, fallback, ordering: as of `encode_frames`.

    Raises `UnsupportedError` for an array that does not fit.
    """
    array = np.asarray(array)
    if axes is None and _is_set(array, model):
        axes = "NYXC"[: array.ndim]
    if axes is not None:
        if mode:
            raise ValueError(f"mode={mode!r} is for single images, not for an array with axes {axes}")
        picture = _sheet(array, axes, metadata or Metadata(), format)
        return encode_frames([picture], format, model=model, device=device, fallback=fallback, ordering=ordering)
    if mode is None:
        mode = _array_mode(array)
    expected = (np.dtype(_DTYPES.get(mode, "u1")), _BANDS.get(mode, 1)) if mode else (array.dtype, 0)
    bands = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or not array.size or (mode and (array.dtype, bands) != expected):
        raise UnsupportedError(
            f"cannot write an array of {array.dtype} and shape {array.shape}"
            f" in mode {mode or '(array)'} as {format.upper()}"
        )
    picture = Picture(mode, to_planes(array), metadata=metadata or Metadata())
    return encode_frames([picture], format, model=model, device=device, fallback=fallback, ordering=ordering)


def encode_frames(
    pictures: Iterable[Picture],
    format: str = "ifl",
    *,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    fallback: bool | str = True,
    ordering: str | None = None,
) -> bytes:
    """The bytes of a file of one or more frames, which are coded one after the other.

    Parameters
    ----------
    model: name, path or id of a model (None: the default one).
    device: where networks run, "cpu", "cuda" or "numpy" (None: the fastest proven one). The bytes are the same.
    fallback: True keeps the smallest of all methods, False uses the network alone, and a name ("webp", "predictor",
        "filtered", "raw") that method alone.
    ordering: of bits-back coding in the format "bsw": "bit-swap" (the default) or "bb-ans", the baseline that it is
        compared with. Any file is decoded without being told.

    Raises `UnsupportedError` for what cannot be written so, `UnknownModelError` for a model that is not there.
    """
    check_device(device)
    if format not in container.MAGIC:
        raise ValueError(f"unknown format {format!r}: choose from {', '.join(container.MAGIC)}")
    choosers = [_Chooser(format, model, device, fallback, ordering)]
    pictures = iter(pictures)
    first: list[Picture] = []
    for picture in pictures:
        first.append(picture)
        if len(first) > _FEW or not _is_small(picture):
            return _encoded(chain(first, pictures), format, choosers[0])
    if model is None and fallback is True:  # some models are for small images alone
        others = filter(_is_known, models.FORMAT_KINDS[format][1:])
        choosers += [_Chooser(format, kind, device, fallback, ordering) for kind in others]
    return min((_encoded(first, format, chooser) for chooser in choosers), key=len)


def _encoded(pictures: Iterable[Picture], format: str, chooser: _Chooser) -> bytes:
    specs, packed = [], []
    for picture in pictures:
        height, width = picture.planes.shape[:2]
        specs.append((_spec(picture, format), chooser.segments(picture), picture.duration))
        packed.append(picture.metadata.pack())
    if not specs:
        raise ValueError("a file needs at least one frame")
    shared = {kind: data for kind, data in packed[0].items() if all(other.get(kind) == data for other in packed)}
    own = [{kind: data for kind, data in one.items() if kind not in shared} for one in packed]
    frames = tuple(Frame(*spec, metadata) for spec, metadata in zip(specs, own, strict=True))
    uses_model = any(segment.method.needs_model for frame in frames for segment in frame.segments)
    return container.write(Header(frames, chooser.model_id if uses_model else None, shared, format))


def decode(
    data: Source,
    *,
    frame: int | None = None,
    level: int = 0,
    region: tuple[int, int, int, int] | None = None,
    part: Sequence[tuple[int, int]] | None = None,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    max_pixels: int | None = MAX_PIXELS,
) -> Array:
    """The array in a file, as `encode` took it.

    Parameters
    ----------
    data: the bytes of a file, its path, or an open file.
    frame: which one, from 0. A file of several frames must be told.
    level: k gives ``array[::2**k, ::2**k]`` for a fraction of the cost; ``read_info(...).levels`` tells how many.
    region: (left, top, right, bottom) in pixels: only that part, decoding only the tiles that it touches.
    part: of an array with axes, (start, stop) for each: only that part, decoding only the tiles that it touches.
    model: the file of a model that may be the one that is needed, where it lies in none of the folders for models.
    device: where networks run (None: the fastest proven one). The pixels are the same.
    max_pixels: limit on width x height, checked before anything is allocated; None for no limit.

    Raises `FormatError` for damage, `LimitError`, `UnknownModelError`, `UnsupportedError`; `ValueError` for several
    frames where none is named, a frame that is not there and an unknown device.
    """
    check_device(device)
    with _opened(data) as fp:
        reader = Reader(fp, container.read_header(fp, max_pixels=max_pixels), model)
        axes = read_metadata(fp, reader.header).axes
        if axes is not None:
            if level or region is not None:
                raise ValueError("an array with axes has no levels and regions: take a part of it, or all")
            return _from_sheet(reader, axes, part, device)
        if part is not None:
            raise ValueError("the file holds no array with axes: take a region instead of a part")
        number = _frame_number(len(reader.header.frames), frame)
        planes = reader.frame(number, level=level, region=region, device=device)
    return to_array(reader.header.frames[number].spec.mode, planes)


def check_device(device: str | None) -> None:
    """Raise `ValueError` for a device whose name is not known; `TypeError` for one that is no name."""
    if device is not None and not isinstance(device, str):
        raise TypeError(f"device should be a name, not {device!r}")
    if device is not None and device not in ("numpy", "cpu", "mps", "xpu") and device.partition(":")[0] != "cuda":
        raise ValueError(f"unknown device {device!r}: choose from numpy, cpu, cuda")


def _frame_number(count: int, frame: int | None) -> int:
    if frame is None:
        if count > 1:
            raise ValueError(f"the file has {count} frames: pass frame=0 to frame={count - 1}")
        return 0
    if not 0 <= frame < count:
        raise ValueError(f"no frame {frame}: the file has {count}, numbered from 0")
    return frame


def to_planes(array: Array) -> Array:
    """Planes (H, W, B) in native byte order of an array (H, W) or (H, W, B); bool becomes 0 and 1."""
    planes = array.reshape(*array.shape[:2], -1)
    if planes.dtype == bool:  # Pillow's arrays say bool and hold 0 and 255
        planes = (planes.view("u1") != 0).astype("u1")
    return planes.astype(planes.dtype.newbyteorder("="), copy=False)


def to_array(mode: str, planes: Array) -> Array:
    """Inverse of `to_planes` for planes of a Pillow mode or "": the array that ``np.asarray(image)`` would be."""
    if not mode:
        return planes
    dtype = np.dtype(_DTYPES.get(mode, "u1"))
    array: Array = planes.view(dtype) if mode == "1" else planes.astype(dtype, copy=False)
    return array[:, :, 0] if array.shape[2] == 1 else array


def read_info(data: Source, *, max_pixels: int | None = None) -> Info:
    """What a file says of itself: header and metadata only, nothing is decoded. Raises as `decode`."""
    with _opened(data) as fp:
        header = container.read_header(fp, max_pixels=max_pixels)
        spec, segments = header.spec, header.frames[0].segments
        return Info(
            format=header.format,
            mode=spec.mode,
            width=spec.width,
            height=spec.height,
            bands=_band_count(header.frames[0]),
            dtype="bool" if _is_boolean(spec) else str(_dtype(spec)),
            n_frames=len(header.frames),
            durations=tuple(frame.duration for frame in header.frames),
            methods=tuple(segment.method.name.lower() for segment in segments),
            tiles=segments[0].grid(spec),
            levels=1 + Reader(fp, header).max_level(),
            model=header.model.hex() if header.model else None,
            ordering=_ordering(fp, segments),
            file_size=header.file_size,
            header_size=header.size,
            metadata=read_metadata(fp, header),
        )


def read_metadata(fp: container.ReadableFile, header: Header[ChunkRef], frame: int = 0) -> Metadata:
    """Metadata of a frame: its own over that of the file."""
    chunks = header.frame_metadata(frame).items()
    return Metadata.unpack({kind: container.read_chunk(fp, ref) for kind, ref in chunks})


class Reader:
    """Frames of an open file. ``fp`` stays the caller's, and stays where it is needed for `frame`. ``model`` as of
    `decode`."""

    def __init__(
        self,
        fp: container.ReadableFile,
        header: Header[ChunkRef] | None = None,
        model: str | os.PathLike[str] | None = None,
    ) -> None:
        self._fp, self._given = fp, model
        self.header = container.read_header(fp) if header is None else header

    def max_level(self, frame: int = 0) -> int:
        """The coarsest level at which a frame can be decoded for less than all of its cost; 0 is the frame itself."""
        spec = self.header.frames[frame].spec
        return min((_max_level(spec, s) for s in self.header.frames[frame].segments if s.method.needs_model), default=0)

    def frame(
        self,
        index: int = 0,
        *,
        level: int = 0,
        region: tuple[int, int, int, int] | None = None,
        device: str | None = None,
        allow_truncated: bool = False,
    ) -> Array:
        """Planes (H, W, B) of a frame, or (ceil(H / 2**level), ceil(W / 2**level), B) of a coarse level of it.

        ``region`` as of `decode`. With ``allow_truncated`` tiles that are damaged or missing stay zero. Raises as
        `decode`; ``ValueError`` for a level or region that is not there.
        """
        if not 0 <= index < len(self.header.frames):
            raise ValueError(f"no frame {index}: the file has {len(self.header.frames)}")
        frame = self.header.frames[index]
        spec = frame.spec
        box = (0, 0, spec.width, spec.height) if region is None else region
        if not (0 <= box[0] < box[2] <= spec.width and 0 <= box[1] < box[3] <= spec.height):
            raise ValueError(f"no region {region} in an image of {spec.width} x {spec.height}")
        if level and (region is not None or not 0 <= level <= self.max_level(index)):
            chained = any(segment.method in _CHAINS for segment in frame.segments)
            raise ValueError(
                f"no level {level}: "
                + (
                    "bits-back codes an image as one chain that decodes as a whole, without previews"
                    if chained
                    else f"this frame has levels 0 to {self.max_level(index)}, whole frames only"
                )
            )
        dtype = _dtype(spec)
        planes = np.zeros((*level_shape(spec.height, spec.width, level), _stored_bands(frame)), _stored_type(dtype))
        for segment in frame.segments:
            first, count = segment.bands
            part = planes[:, :, first : first + count]
            if segment.method.needs_model:
                deep = planes.dtype == np.uint16 and segment.method is Method.NETWORK
                if not (planes.dtype == np.uint8 or deep) or count not in (1, 3):
                    raise FormatError(f"a network segment of {count} bands of {dtype}: the file is malformed")
                if segment.method is Method.NETWORK:
                    part[...] = self._network(spec, segment, level, box, device, allow_truncated, planes.dtype)
                else:
                    part[...] = self._chain(spec, segment, device, allow_truncated)
                if spec.kind is SampleKind.SIGNED:
                    part ^= _sign(planes.dtype)
            else:
                self._direct(spec, segment, level, box, part, allow_truncated)
        planes = planes.view(dtype)
        if spec.bit_depth < 8 and int(planes.max()) >> spec.bit_depth:
            raise FormatError(f"samples of more than {spec.bit_depth} bits: the file is malformed")
        return planes if region is None else np.ascontiguousarray(planes[box[1] : box[3], box[0] : box[2]])

    def _direct(
        self,
        spec: ImageSpec,
        segment: Segment[ChunkRef],
        level: int,
        box: tuple[int, int, int, int],
        out: Array,
        allow_truncated: bool,
    ) -> None:
        """Decode the tiles of a segment that ``box`` touches into ``out``."""
        if level and len(segment.chunks) > 1:
            raise ValueError("tiles of this method have no levels")
        for ref, (left, top, right, bottom) in zip(segment.chunks, segment.boxes(spec), strict=True):
            if not _touches(box, (left, top, right, bottom)):
                continue
            shape = (bottom - top, right - left, out.shape[2])
            try:
                tile = direct.decode(segment.method, container.read_chunk(self._fp, ref), shape, out.dtype)
            except FormatError:
                if not allow_truncated:
                    raise
                continue
            if level:
                out[...] = tile[:: 1 << level, :: 1 << level]
            else:
                out[top:bottom, left:right] = tile

    def _network(
        self,
        spec: ImageSpec,
        segment: Segment[ChunkRef],
        level: int,
        box: tuple[int, int, int, int],
        device: str | None,
        allow_truncated: bool,
        dtype: np.dtype[Any],
    ) -> Array:
        """Decode a network segment at a level, of level 0 only the tiles that ``box`` touches."""
        model, architecture = self._model(PhotoArchitecture)
        tile_h, tile_w = segment.tile_h or spec.height, segment.tile_w or spec.width
        wanted = [i for i, tile in enumerate(segment.boxes(spec)) if _touches(box, tile)]
        unreadable: set[int] = set()
        errors: dict[int, OSError] = {}

        def read(tile: int) -> bytes:
            try:
                return container.read_chunk(self._fp, segment.chunks[tile])
            except OSError:
                unreadable.add(tile)
                raise

        def run(device: str | None, tiles: Iterable[int]) -> Array:
            return decode_planes(
                read, spec.height, spec.width, segment.bands[1], tile_h, tile_w, model.network(device),
                architecture, level=level, tiles=tiles, on_error=errors.__setitem__, dtype=dtype,
            )  # fmt: skip

        planes = run(device, wanted)
        doubtful = [i for i in errors if i not in unreadable]
        if doubtful and model.network(device).device != "numpy":
            # The bytes are those that were written. Before the file is blamed, the reference has a word.
            for i in doubtful:
                del errors[i]
            again = run("numpy", doubtful)
            for i in doubtful:
                x, y, right, bottom = list(segment.boxes(spec))[i]
                at = (slice(y >> level, -(-bottom >> level)), slice(x >> level, -(-right >> level)))
                planes[at] = again[at]
        if errors and not allow_truncated:
            raise errors[min(errors)]
        return planes

    def _chain(self, spec: ImageSpec, segment: Segment[ChunkRef], device: str | None, allow_truncated: bool) -> Array:
        """Decode a segment that is one chain of bits-back."""
        if len(segment.chunks) != 1:
            raise FormatError("a chain in tiles: the file is malformed")
        shape = spec.height, spec.width, segment.bands[1]
        if segment.method is Method.BITSWAP:
            model, bitswap = self._model(BitswapArchitecture)
            decode_by = partial(decode_image, architecture=bitswap)
        else:
            model, patch = self._model(PatchArchitecture)
            decode_by = partial(decode_chain, architecture=patch)
        try:
            payload = container.read_chunk(self._fp, segment.chunks[0])
        except FormatError:
            if not allow_truncated:
                raise
            return np.zeros(shape, np.uint8)
        try:
            return decode_by(payload, *shape, model.network(device))
        except FormatError:
            # As for tiles, the reference has a word first.
            if model.network(device).device == "numpy":
                raise
            return decode_by(payload, *shape, model.network("numpy"))

    def _model(self, kind: type[_A]) -> tuple[models.Model, _A]:
        """The model that the file names, and its architecture, which has to be of a kind."""
        assert self.header.model is not None  # the container saw to that
        model = models.by_id(self.header.model, self._given)
        if not isinstance(model.architecture, kind):
            raise FormatError(f"the file names the model {model.name!r} of another kind: the file is malformed")
        return model, model.architecture


class _Chooser:
    """Codes frames by the methods that the caller admits, and keeps the smallest."""

    def __init__(
        self,
        format: str,
        model: str | os.PathLike[str] | None,
        device: str | None,
        fallback: bool | str,
        ordering: str | None,
    ) -> None:
        if ordering is not None and format != "bsw":
            raise ValueError(f"ordering={ordering!r} is for the format bsw, not {format}")
        self._ordering = ordering or ORDERINGS[0]
        if self._ordering not in ORDERINGS:
            raise ValueError(f"unknown ordering {ordering!r}: choose from {', '.join(ORDERINGS)}")
        self._device, self._network_only = device, fallback is False
        self._method: Method | None = None
        if isinstance(fallback, str):
            names = {method.name.lower(): method for method in Method if not method.needs_model}
            if fallback not in names:
                raise ValueError(f"unknown fallback {fallback!r}: choose from True, False, {', '.join(names)}")
            self._method = names[fallback]
        self._model: models.Model | None = None
        if self._method is None:
            try:
                self._model = models.load(model, format)
            except UnknownModelError:
                if model is not None or self._network_only:
                    raise
            if self._model is not None and self._model.kind not in models.FORMAT_KINDS[format]:
                raise UnsupportedError(
                    f"cannot write {format.upper()} with the model {self._model.name!r}, which is for"
                    f" {', '.join(f for f, kinds in models.FORMAT_KINDS.items() if self._model.kind in kinds)}"
                )

    @property
    def model_id(self) -> bytes | None:
        """Id of the model in use, if there is one."""
        return None if self._model is None else self._model.id

    def segments(self, picture: Picture) -> tuple[Segment[bytes], ...]:
        """The frame as segments."""
        planes = _stored(picture.planes)
        bands = planes.shape[2]
        if self._method is not None:
            return (self._forced(planes, (0, bands)),)
        groups = [self._group(planes, group, picture) for group in _groups(planes)]
        if len(groups) > 1 and not self._network_only:
            size = sum(_size(group) + _SEGMENT_COST for group in groups) - _SEGMENT_COST
            whole = direct.smallest(planes, below=size)
            if whole is not None:
                return (_whole(*whole, (0, bands)),)
        return tuple(groups)

    def _forced(self, planes: Array, group: tuple[int, int]) -> Segment[bytes]:
        assert self._method is not None
        payload = direct.encode(self._method, _part(planes, group))
        if payload is None:
            kind = f"{planes.shape[1]} x {planes.shape[0]} pixels of {planes.dtype}"
            raise UnsupportedError(f"cannot write {kind} with fallback={self._method.name.lower()!r}")
        return _whole(self._method, payload, group)

    def _group(self, planes: Array, group: tuple[int, int], picture: Picture) -> Segment[bytes]:
        part = _part(planes, group)
        network: Segment[bytes] | None = None
        fits = self._model is not None and _fits(part.dtype, self._model.architecture)
        toneless = picture.bits == 1 or (picture.mode in _NOT_TONES and group[0] == 0)
        if fits and (self._network_only or not (toneless or _flat(part))):
            signed = picture.planes.dtype.kind == "i"
            seen = part ^ _sign(part.dtype) if signed else part  # networks want small numbers to be dark
            network = self._by_network(seen, group, picture.unit or part.shape[0])
        if self._network_only:
            if network is None:
                raise UnsupportedError(f"cannot write {part.dtype} samples by networks alone (fallback=False)")
            return network
        best = direct.smallest(part, below=None if network is None else _size(network))
        if best is None:
            assert network is not None
            return network
        return _whole(*best, group)

    def _by_network(self, part: Array, group: tuple[int, int], unit: int) -> Segment[bytes]:
        assert self._model is not None
        network, architecture = self._model.network(self._device), self._model.architecture
        if isinstance(architecture, BitswapArchitecture):
            return _whole(Method.BITSWAP, encode_image(part, network, architecture, self._ordering), group)
        if isinstance(architecture, PatchArchitecture):
            block = block_size(unit), block_size(part.shape[1])
            return _whole(Method.PATCH, encode_chain(part, block, network, architecture), group)
        tile_w, tile_h, chunks = encode_planes(part, network, architecture, tile_size(unit))
        return Segment(Method.NETWORK, group, tuple(chunks), tile_w, tile_h)


def _array_mode(array: Array) -> str:
    """The Pillow mode that an array is, or "" for one that is none."""
    bands = array.shape[2] if array.ndim == 3 else 1
    for mode in _ARRAY_MODES.get(bands, ()) if array.ndim == 2 or bands > 1 else ():
        if array.dtype == np.dtype(_DTYPES.get(mode, "u1")):
            return mode
    if array.ndim == 2:
        raise UnsupportedError(f"cannot write (H, W) arrays of {array.dtype}: write array[:, :, None] instead")
    if array.dtype.kind not in "uif" or not array.dtype.isnative:
        raise UnsupportedError(f"cannot write samples of {array.dtype}: integers and floats in native byte order only")
    return ""


def _is_small(picture: Picture) -> bool:
    """Whether an image, or each image of a sheet, is so small that a model for such images may do better."""
    height, width, _ = picture.planes.shape
    return picture.planes.dtype == np.uint8 and (picture.unit or height) * width <= _SMALL


def _is_known(kind: str) -> bool:
    try:
        return bool(models.load(kind))
    except UnknownModelError:
        return False


def _is_set(array: Array, model: str | os.PathLike[str] | None) -> bool:
    """Whether an array is taken for several images: (N, H, W, C), or (N, H, W) with a model for sets of images."""
    if array.ndim != 3 or array.shape[2] <= 4 or model is None:
        return array.ndim == 4
    return models.load(model).kind == "patch"


def _sheet(array: Array, axes: str, metadata: Metadata, format: str) -> Picture:
    """The images of an array, one below the other."""
    letters = axis_letters(axes, array.shape)
    if not array.size or array.dtype.kind not in "buif":
        raise UnsupportedError(
            f"cannot write an array of {array.dtype} and shape {array.shape} as {format.upper()}: it should hold"
            " integers, floats or booleans"
        )
    kept = Axes(letters, array.shape, array.flags.fnc, not array.dtype.isnative and sys.byteorder == "little")
    moved = array.transpose([letters.index(letter) for letter in _sheet_axes(letters)])
    height, width = array.shape[letters.index("Y")], array.shape[letters.index("X")]
    planes = moved.reshape(-1, width, array.shape[letters.index("C")] if "C" in letters else 1)
    bits = 1 if array.dtype.kind == "b" else None
    return Picture("", to_planes(planes), metadata=replace(metadata, axes=kept), unit=height, bits=bits)


def _from_sheet(reader: Reader, axes: Axes, part: Sequence[tuple[int, int]] | None, device: str | None) -> Array:
    """The array, or a part of it, that `_sheet` made an image of."""
    letters, sizes, spec = axes.letters, axes.sizes, reader.header.spec
    sides = dict(zip(letters, sizes, strict=True))
    bands = _band_count(reader.header.frames[0])
    if (
        len(reader.header.frames) != 1
        or (spec.width, bands) != (sides["X"], sides.get("C", 1))
        or math.prod(sizes) != spec.width * spec.height * bands
    ):
        raise FormatError(f"axes {letters} of sizes {sizes} do not fit the image: the file is malformed")
    bounds = dict(zip(letters, [(0, size) for size in sizes] if part is None else part, strict=True))
    for letter, (start, stop) in bounds.items():
        if not 0 <= start < stop <= sides[letter]:
            raise ValueError(f"no part {start}:{stop} of axis {letter}, whose size is {sides[letter]}")
    order = _sheet_axes(letters)
    leading = order[: order.index("Y")]
    numbers = np.arange(spec.height // sides["Y"]).reshape([sides[letter] for letter in leading])
    numbers = numbers[tuple(slice(*bounds[letter]) for letter in leading)].reshape(-1)
    (top, bottom), (left, right), height = bounds["Y"], bounds["X"], sides["Y"]
    images = []
    for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
        first, last = int(run[0]), int(run[-1])
        rows = reader.frame(region=(left, first * height + top, right, last * height + bottom), device=device)
        images += [rows[i * height : i * height + bottom - top] for i in range(len(run))]
    planes = np.stack(images)[..., slice(*bounds.get("C", (0, 1)))]
    array = planes.reshape([bounds[letter][1] - bounds[letter][0] for letter in order])
    array = array.transpose([order.index(letter) for letter in letters])
    if _is_boolean(spec):
        array = array != 0
    dtype = array.dtype.newbyteorder(">") if axes.big_endian else array.dtype
    return array.astype(dtype, order="F" if axes.fortran else "C", copy=False)


def _sheet_axes(letters: str) -> str:
    """The axes in the order in which a sheet has them."""
    return "".join(a for a in letters if a not in "YXC") + "YX" + ("C" if "C" in letters else "")


def _spec(picture: Picture, format: str) -> ImageSpec:
    height, width = picture.planes.shape[:2]
    dtype = picture.planes.dtype
    if not picture.mode:
        kinds = {"u": SampleKind.UNSIGNED, "i": SampleKind.SIGNED, "f": SampleKind.FLOAT}
        if dtype.kind not in kinds or dtype.itemsize not in _STORED:
            raise UnsupportedError(f"cannot write samples of {dtype} as {format.upper()}")
        return ImageSpec("", width, height, picture.bits or 8 * dtype.itemsize, kinds[dtype.kind])
    if picture.mode not in container.MODES:
        raise UnsupportedError(f"cannot write mode {picture.mode} as {format.upper()}")
    return ImageSpec.of(picture.mode, width, height)


def _dtype(spec: ImageSpec) -> np.dtype[Any]:
    """Data type of the planes."""
    kind = {SampleKind.UNSIGNED: "u", SampleKind.SIGNED: "i", SampleKind.FLOAT: "f"}[spec.kind]
    size = -(-spec.bit_depth // 8)
    if size not in _STORED or (kind == "f" and size == 1):
        raise UnsupportedError(f"samples of {spec.bit_depth} bits are not known: upgrade to read this file")
    return np.dtype(f"={kind}{size}")


def _is_boolean(spec: ImageSpec) -> bool:
    """Whether an array that is no Pillow image holds booleans."""
    return not spec.mode and spec.bit_depth == 1


def _stored_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype if dtype == np.float32 else np.dtype(_STORED[dtype.itemsize])


def _stored(planes: Array) -> Array:
    """Planes as the methods take them: the same bytes, as one of four types."""
    return np.ascontiguousarray(planes).view(_stored_type(planes.dtype))


def _stored_bands(frame: Frame[ChunkRef]) -> int:
    return sum(segment.bands[1] for segment in frame.segments)


def _band_count(frame: Frame[ChunkRef]) -> int:
    return _stored_bands(frame) // (2 if _dtype(frame.spec).itemsize == 8 else 1)


def _groups(planes: Array) -> list[tuple[int, int]]:
    """(first, count) of the bands that are coded together: colours by three, what is left alone."""
    bands = planes.shape[2]
    colours = bands // 3 * 3 if planes.dtype in (np.uint8, np.uint16) else 0
    return [(i, 3) for i in range(0, colours, 3)] + [(i, 1) for i in range(colours, bands)]


def _sign(dtype: np.dtype[Any]) -> Any:
    """The bit that tells the sign of stored samples."""
    return dtype.type(1 << (8 * dtype.itemsize - 1))


def _part(planes: Array, group: tuple[int, int]) -> Array:
    return np.ascontiguousarray(planes[:, :, group[0] : group[0] + group[1]])


def _whole(method: int, payload: bytes, bands: tuple[int, int]) -> Segment[bytes]:
    return Segment(Method(method), bands, (payload,))


def _size(segment: Segment[bytes]) -> int:
    return sum(map(len, segment.chunks)) + container.CRC_SIZE * (len(segment.chunks) - 1)


def _fits(dtype: np.dtype[Any], architecture: models.Architecture) -> bool:
    """Whether networks of an architecture take samples, stored as ``dtype``."""
    return dtype == np.uint8 or (
        dtype == np.uint16 and isinstance(architecture, PhotoArchitecture) and architecture.bandwise
    )


def _flat(part: Array) -> bool:
    """Whether hardly a pixel differs from its left neighbour: there a network has nothing to win."""
    differ = np.count_nonzero((part[:, 1:] != part[:, :-1]).any(axis=2))
    return bool(differ * 64 < part.shape[0] * part.shape[1])


def _max_level(spec: ImageSpec, segment: Segment[ChunkRef]) -> int:
    """The coarsest level of a network segment that has checksums, and at which tiles still join."""
    if segment.method in _CHAINS:
        return 0
    columns, rows = segment.grid(spec)
    level = checked_levels(segment.tile_h or spec.height, segment.tile_w or spec.width) - 1
    joints = [side for side, count in ((segment.tile_w, columns), (segment.tile_h, rows)) if count > 1]
    return min([level, *((side & -side).bit_length() - 1 for side in joints)])


def _ordering(fp: container.ReadableFile, segments: Iterable[Segment[ChunkRef]]) -> str | None:
    """That of the first segment that has one."""
    for segment in segments:
        if segment.method is Method.BITSWAP:
            return read_ordering(container.read_chunk_prefix(fp, segment.chunks[0], 8))
    return None


def _touches(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    left, top, right, bottom = other
    return box[0] < right and left < box[2] and box[1] < bottom and top < box[3]


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as fp:
            yield fp
    else:
        yield source
