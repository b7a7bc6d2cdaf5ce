"""What all methods of the format have in common: what they make of pixels, and what they get to decode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..canvas import Canvas
from ..container import CRC_SIZE, ChunkRef, ImageSpec, Method, Segment
from ..models import Model
from ..nets.backends import Network

Pixels = npt.NDArray[Any]
"""Stored samples (H, W, B); see `samples`."""

REFERENCE = "numpy"
"""The device whose results define the format."""


class Coded(NamedTuple):
    """Pixels as the chunks of a segment. ``tile`` is (width, height) where the method is tiled, (0, 0) where not."""

    method: Method
    chunks: tuple[bytes, ...]
    tile: tuple[int, int] = (0, 0)

    @property
    def size(self) -> int:
        """Bytes in the file, but for the header and the last chunk's checksum."""
        return sum(map(len, self.chunks)) + CRC_SIZE * (len(self.chunks) - 1)


@dataclass(frozen=True)
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

    def network(self, kind: str) -> tuple[Network[Any], Callable[[], Network[Any]] | None]:
        """The network of a kind of model on the device, and what opens the reference where that is another one: only
        a file that does not decode pays for it."""
        model = self.model(kind)
        network = model.network(self.device)
        return network, None if network.device == REFERENCE else partial(model.network, REFERENCE)


class Decoder(Protocol):
    """How the segments of a method are decoded."""

    def decode(self, request: Request) -> None:
        """Paste what is wanted of a segment onto the canvas.

        Raises `FormatError` for damage, unless it is to keep going.
        """

    def max_level(self, spec: ImageSpec, segment: Segment[ChunkRef]) -> int:
        """The coarsest level that can be decoded for less than the cost of the whole; 0 is the frame itself."""


class Encoder(Protocol):
    """How pixels are coded with a model."""

    def encode(self, pixels: Pixels, model: Model, *, height: int, device: str | None, ordering: str) -> Coded:
        """The pixels, (H, W, 1) or (H, W, 3), as a segment. ``height``: of one image, where they are a sheet of them;
        ``ordering``: of bits-back coding."""

    def takes(self, dtype: np.dtype[Any]) -> bool:
        """Whether stored samples of a type can be coded."""
