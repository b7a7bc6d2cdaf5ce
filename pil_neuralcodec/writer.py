"""Frames to the bytes of a file: what is coded together, by which method.

A frame's bands are coded in groups: three bands as colours, and every other band alone. Each group is kept as the
smallest of what the methods make of it, or all bands together by one method where that is smaller yet. The choice
depends on sizes in bytes and counts of pixels, never on time or floating point.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import chain, islice
from typing import Final

import numpy as np

from . import container, models, ranks
from .bitswap.coder import ORDERINGS
from .colour.conversions import Past
from .colour.past import find_past
from .container import Frame, Header, Method, Segment
from .devices import check_device
from .errors import UnknownModelError, UnsupportedError
from .methods import choice, direct, jpeg
from .methods.base import Coded
from .methods.registry import ENCODERS
from .samples import Picture, Pixels, sign_bit, spec_of, to_stored

_NO_BRIGHTNESS: Final = ("1", "P", "PA")
"""Modes whose first band is no brightness, so that networks are not tried unless asked for."""
_SMALL: Final = 64 * 64
"""Pixels of each image of a sheet, up to which it is coded with every kind of model, and the smallest file is kept."""
_TINY: Final = 32 * 32
"""The same of a single image: larger ones are the smaller by such a model the less often, and by less than 1 %."""
_SEGMENT_COST: Final = 8
"""About what one more segment costs, in bytes."""
_MODEL_COST: Final = 8
"""What it costs to name the model, in bytes."""
_SHORT: Final = 4
"""A JPEG file's coefficients that take less than two bits of eight are smaller than any other method's payload."""
_FLAT: Final = 64
"""A network has nothing to win where at most one pixel of so many differs from its left neighbour."""

Bands = tuple[int, int]
"""(first, count)."""


def encode_frames(
    pictures: Iterable[Picture],
    format: str = "ifl",
    *,
    model: str | os.PathLike[str] | None = None,
    device: str | None = None,
    fallback: bool | str = True,
    ordering: str | None = None,
    past: bool = True,
) -> bytes:
    """The bytes of a file of one or more frames, which are coded one after the other.

    Parameters
    ----------
    pictures : the frames.
    format : "ifl" or "bsw".
    model : name, path or id of a model (None: the default one of the format).
    device : where networks run, "cpu", "cuda" or "numpy" (None: the fastest proven one). The bytes are the same.
    fallback : True keeps the smallest of all methods, False uses the network alone, and a name ("webp", "jpeg",
        "predictor", "filtered", "raw") that method alone.
    ordering : of bits-back coding in the format "bsw": "bit-swap" (the default), or "bb-ans", the published baseline
        (Townsend, Bird, Barber 2019). Any file is decoded without being told.
    past : undo what pixels have been through where fewer bits are needed then: a colour conversion, raised contrast, or
        a JPEG file (see docs/past.md).

    Raises
    ------
    UnsupportedError : for what cannot be written so.
    UnknownModelError : for a model that is not there.
    ValueError : for a format, fallback or ordering that does not exist, and for no frames.
    TypeError : for a device, fallback or past of another type.
    """
    if format not in container.MAGIC:
        raise ValueError(f"unknown format {format!r}: choose from {', '.join(container.MAGIC)}")
    check_device(device)
    for name, value, kinds in (("fallback", fallback, (bool, str)), ("past", past, bool)):
        if not isinstance(value, kinds):
            raise TypeError(f"{name}={value!r} should be {'a bool or a name' if name == 'fallback' else 'a bool'}")
    choosers = [_Chooser(format, model, device, fallback, ordering, past)]
    pictures = iter(pictures)
    first = list(islice(pictures, 1))
    if model is None and fallback is True and any(map(_may_be_set, first)):
        others = filter(_is_known, models.FORMAT_KINDS[format][1:])
        choosers += [_Chooser(format, kind, device, fallback, ordering, past) for kind in others]
        first += pictures
        return min((_encoded(first, format, chooser) for chooser in choosers), key=len)
    return _encoded(chain(first, pictures), format, choosers[0])


def _encoded(pictures: Iterable[Picture], format: str, chooser: _Chooser) -> bytes:
    specs, packed = [], []
    for picture in pictures:
        specs.append((spec_of(picture, format), chooser.segments(picture), picture.duration))
        packed.append(picture.metadata.pack())
    if not specs:
        raise ValueError("a file needs at least one frame")
    shared = {kind: data for kind, data in packed[0].items() if all(other.get(kind) == data for other in packed)}
    own = [{kind: data for kind, data in one.items() if kind not in shared} for one in packed]
    frames = tuple(Frame(*spec, metadata) for spec, metadata in zip(specs, own, strict=True))
    uses_model = any(segment.method.needs_model for frame in frames for segment in frame.segments)
    return container.write(Header(frames, chooser.model_id if uses_model else None, shared, format))


class _Chooser:
    """Codes frames by the methods that the caller admits, and keeps the smallest."""

    def __init__(
        self,
        format: str,
        model: str | os.PathLike[str] | None,
        device: str | None,
        fallback: bool | str,
        ordering: str | None,
        past: bool,
    ) -> None:
        if ordering is not None and (format != "bsw" or ordering not in ORDERINGS):
            raise ValueError(f"ordering={ordering!r}: the format bsw has {', '.join(ORDERINGS)}, others none")
        self._ordering, self._past = ordering or ORDERINGS[0], past
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
        stored = to_stored(picture.pixels)
        every = (0, stored.shape[2])
        if self._method is not None:
            return (_segment(self._forced(stored), every),)
        every_group = _groups(stored)
        spare = _MODEL_COST if len(every_group) == 1 else 0
        groups = [(self._group(stored, bands, picture, spare), bands) for bands in every_group]
        if len(groups) > 1 and not self._network_only:
            size = sum(coded.size + _SEGMENT_COST for coded, _ in groups) - _SEGMENT_COST
            together = choice.smallest(stored, below=size)
            if together is not None:
                return (_segment(_whole(*together), every),)
        return tuple(_segment(coded, bands) for coded, bands in groups)

    def _forced(self, stored: Pixels) -> Coded:
        assert self._method is not None
        payload = direct.encode(self._method, stored)
        if payload is None:
            kind = f"{stored.shape[1]} x {stored.shape[0]} pixels of {stored.dtype}"
            raise UnsupportedError(f"cannot write {kind} with fallback={self._method.name.lower()!r}")
        return _whole(self._method, payload)

    def _group(self, stored: Pixels, bands: Bands, picture: Picture, spare: int) -> Coded:
        """The bands as the smallest segment; ``spare`` bytes are saved where the network is not used."""
        part = np.ascontiguousarray(stored[:, :, bands[0] : bands[0] + bands[1]])
        is_signed = picture.pixels.dtype.kind == "i" and part.dtype.kind == "u"
        seen = part ^ sign_bit(part.dtype) if is_signed else part  # networks want small numbers to be dark
        tables = self._tables(seen)
        was_file: Coded | None = None
        if self._past and not self._network_only:
            was_file = self._jpeg(part, bands, picture)
            if was_file is None and tables and not is_signed:
                dark = ranks.darkened(tables)
                was_file = self._jpeg(ranks.to_ranks(part, dark), bands, picture, dark)
        if (
            was_file is not None
            and was_file.size * _SHORT < part.nbytes
            and jpeg.is_sure(was_file.chunks[0], part.shape)
        ):
            return was_file
        coded: Coded | None = None
        begun = None
        if self._model is not None and (self._network_only or self._may_win(part, bands, picture)):
            begun = None if self._network_only else choice.begin(part)
            coded = ENCODERS[self._model.kind](
                ranks.to_ranks(seen, tables) if tables else seen,
                self._model,
                height=picture.height,
                device=self._device,
                ordering=self._ordering,
                past=self._past,
            )
            coded = coded and coded._replace(ranks=tables)
        if self._network_only:
            if coded is None:
                raise UnsupportedError(f"cannot write {part.dtype} samples by networks alone (fallback=False)")
            return coded
        if was_file is not None and (coded is None or was_file.size < coded.size + spare):
            coded = was_file
        below = None if coded is None else coded.size + spare * coded.method.needs_model
        best = choice.smallest(part, below=below, begun=begun)
        if best is not None:
            return _whole(*best)
        assert coded is not None
        return coded

    def _tables(self, seen: Pixels) -> ranks.Tables:
        """Tables of a group whose samples have gaps, if these are not those of a colour conversion."""
        tables = ranks.worthwhile(seen) if self._past and seen.dtype == np.uint8 else ()
        return () if tables and seen.shape[2] == 3 and find_past(seen) is not Past.NONE else tables

    def _jpeg(self, part: Pixels, bands: Bands, picture: Picture, tables: ranks.Tables = ()) -> Coded | None:
        """A group, or its ranks by ``tables``, as the coefficients of a JPEG file, if it was one.

        Those of quality 100 take 1.15 to 1.5 times what networks make of the pixels: they are looked for without a
        model alone."""
        if picture.is_boolean or (picture.mode in _NO_BRIGHTNESS and bands[0] == 0):
            return None
        payload = jpeg.encode(part, ones=self._model is None)
        return None if payload is None else Coded(Method.JPEG, (payload,), ranks=tables)

    def _may_win(self, part: Pixels, bands: Bands, picture: Picture) -> bool:
        """Whether a network may make less of a group than the methods without one."""
        if picture.is_boolean or (picture.mode in _NO_BRIGHTNESS and bands[0] == 0):
            return False
        return bool(choice.changes(part) * _FLAT >= part.shape[0] * part.shape[1])


def _groups(stored: Pixels) -> list[Bands]:
    """The bands that are coded together: colours by three, what is left alone."""
    bands = stored.shape[2]
    colours = bands // 3 * 3 if stored.dtype in (np.uint8, np.uint16) else 0
    return [(i, 3) for i in range(0, colours, 3)] + [(i, 1) for i in range(colours, bands)]


def _whole(method: Method, payload: bytes) -> Coded:
    return Coded(method, (payload,))


def _segment(coded: Coded, bands: Bands) -> Segment[bytes]:
    return Segment(coded.method, bands, coded.chunks, *coded.tile, coded.ranks, coded.cells)


def _may_be_set(picture: Picture) -> bool:
    """Whether a model for sets of small images may do better: for a sheet of them, or a single one that is tiny."""
    pixels = picture.height * picture.pixels.shape[1]
    is_sheet = picture.height < len(picture.pixels)
    return picture.pixels.dtype == np.uint8 and pixels <= (_SMALL if is_sheet else _TINY)


def _is_known(kind: str) -> bool:
    try:
        return bool(models.load(kind))
    except UnknownModelError:
        return False
