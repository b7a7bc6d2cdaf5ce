"""What all methods of the format have in common: what they make of pixels, and what they get to decode."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..canvas import Canvas
from ..container import CRC_SIZE, Box, ChunkRef, ImageSpec, Method, SampleKind, Segment
from ..errors import ChecksumError, FormatError
from ..models import Model
from ..nets.backends import Network
from ..ranks import from_ranks
from ..samples import sign_bit
from .tiles import Decode, decode_tiles

Pixels = npt.NDArray[Any]
"""Stored samples (H, W, B); see `samples`."""
Shape = tuple[int, int, int]
"""(height, width, bands)."""

REFERENCE = "numpy"
"""The device whose results define the format."""


def to_bytes(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of samples (..., n), low ones first: uint8 (..., n * size)."""
    return np.ascontiguousarray(samples, samples.dtype.newbyteorder("<")).view(np.uint8)


def from_bytes(data: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Inverse of ``to_bytes``, in native byte order."""
    return data.view(dtype.newbyteorder("<")).astype(dtype, copy=False)


def checksum(pixels: Pixels) -> int:
    """CRC-32 of samples, little-endian, row by row, the bands of a pixel side by side."""
    return zlib.crc32(to_bytes(pixels).data)


def check(pixels: Pixels, told: int) -> None:
    """Raises ``ChecksumError`` where ``told`` is not the ``checksum`` of the pixels."""
    if checksum(pixels) != told:
        raise ChecksumError("the decoded pixels do not agree with their checksum: the file is damaged")


class Coded(NamedTuple):
    """Pixels as the chunks of a segment. ``tile`` is (width, height) where the method is tiled, (0, 0) where not;
    ``ranks`` and ``cells`` are the tables of its bands where ranks are coded, or cells have unequal widths."""

    method: Method
    chunks: tuple[bytes, ...]
    tile: tuple[int, int] = (0, 0)
    ranks: tuple[bytes, ...] = ()
    cells: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        """Bytes in the file, but for the rest of the header and the last chunk's checksum."""
        return sum(map(len, self.chunks + self.ranks + self.cells)) + CRC_SIZE * (len(self.chunks) - 1)


@dataclass(frozen=True, eq=False)
class Request:
    """A segment to decode.

    Parameters
    ----------
    spec, segment : what the header says of the frame and of the segment.
    read : gives the payload of a chunk; raises `FormatError` for a damaged one.
    canvas : says what is wanted, and takes it.
    model : gives the model that the file names, which has to be of a kind.
    device : where networks run; None is the fastest proven one.
    keep_going : leave zero what cannot be decoded, and raise nothing for it.
    """

    spec: ImageSpec
    segment: Segment[ChunkRef]
    read: Callable[[ChunkRef], bytes]
    canvas: Canvas
    model: Callable[[str], Model]
    device: str | None = None
    keep_going: bool = False

    @property
    def shape(self) -> Shape:
        """Of the segment's pixels."""
        return self.spec.height, self.spec.width, self.segment.bands[1]

    def check(self, *dtypes: npt.DTypeLike) -> None:
        """Raise `FormatError` unless these are one or three bands of samples of such a type."""
        bands, dtype = self.segment.bands[1], self.canvas.pixels.dtype
        if dtype not in dtypes or bands not in (1, 3):
            name = self.segment.method.name.lower()
            raise FormatError(f"a {name} segment of {bands} bands of {dtype}: the file is malformed")

    def _paste(self, box: Box, pixels: Pixels) -> None:
        """Paste what a method decoded. Raises `FormatError` for ranks beyond the samples that occur."""
        segment = self.segment
        if segment.ranks:
            pixels = from_ranks(pixels, segment.ranks)
        if segment.method.needs_model and self.spec.kind is SampleKind.SIGNED:
            pixels = pixels ^ sign_bit(pixels.dtype)
        self.canvas.paste(box, segment.bands, pixels)

    def paste_whole(self, decode: Callable[[bytes], Pixels]) -> None:
        """Decode a segment that is a single chunk, and paste it. Raises `FormatError` for damage."""
        step = 1 << self.canvas.level
        try:
            pixels = decode(self.read(self.segment.chunks[0]))
            self._paste((0, 0, self.spec.width, self.spec.height), pixels[::step, ::step])
        except FormatError:
            if not self.keep_going:
                raise

    def paste_tiles(self, model: Model, decoder: Callable[[Network[Any]], Decode]) -> None:
        """Decode the tiles that are wanted, or a segment that is a single chunk, and paste them.

        ``decoder`` makes what decodes by the network of the model: on the device, and on the reference where that is
        another one and a tile does not decode. Raises `FormatError` for damage.
        """
        network, canvas = model.network(self.device), self.canvas
        tiles = list(self.segment.tiles(self.spec))
        found = decode_tiles(
            lambda number: self.read(self.segment.chunks[number]),
            {number: (box[3] - box[1], box[2] - box[0]) for number, box in enumerate(tiles) if canvas.wants(box)},
            decoder(network),
            level=canvas.level,
            reference=None if network.device == REFERENCE else lambda: decoder(model.network(REFERENCE)),
        )
        with closing(found):  # an error would keep it, to be ended by any thread, even one that it waits for
            for number, result in found:
                try:
                    if isinstance(result, OSError):
                        raise result
                    self._paste(tiles[number], result)
                except OSError:
                    if not self.keep_going:
                        raise


Decoder = Callable[[Request], None]
"""Pastes what is wanted of a segment onto the canvas. Raises `FormatError` for damage, unless it is to keep going."""


class Encoder(Protocol):
    """Codes pixels with a model."""

    def __call__(
        self, pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str, past: bool
    ) -> Coded | None:
        """Pixels (H, W, 1) or (H, W, 3) as a segment; None for a dtype that the method does not hold.

        ``height``: of one image, where the pixels are a sheet of them; ``ordering``: of bits-back coding; ``past``:
        undo the conversion that colours have been through, if there is one.
        """
