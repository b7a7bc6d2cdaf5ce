"""Frames of an open file: the whole of one, a region, a coarse level."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence

from . import container, models
from .canvas import Canvas
from .container import Box, ChunkRef, Frame, Header, Method
from .devices import check_device
from .errors import FormatError
from .metadata import Metadata
from .methods import bounds, direct, photo
from .methods.base import Request
from .methods.registry import DECODERS
from .samples import Pixels, from_stored, pixel_dtype, stored_dtype, words_per_sample


class Reader:
    """Frames of an open file.

    Parameters
    ----------
    fp : the file. It stays the caller's, and must stay open for what is read later.
    header : what was read of it already (None: read it from the present position).
    model : name or path of a model that may be the one that the file needs, where it lies in none of the folders.
    device : where networks run (None: the fastest proven one). The pixels are the same.

    Raises
    ------
    ValueError, TypeError : for a device that does not exist.
    """

    def __init__(
        self,
        fp: container.ReadableFile,
        header: Header[ChunkRef] | None = None,
        *,
        model: str | os.PathLike[str] | None = None,
        device: str | None = None,
    ) -> None:
        check_device(device)
        self._fp, self._given, self._device = fp, model, device
        self.header = container.read_header(fp) if header is None else header

    def metadata(self, index: int = 0) -> Metadata:
        """Metadata of a frame: its own over that of the file."""
        chunks = self.header.frame_metadata(index).items()
        return Metadata.unpack({kind: container.read_chunk(self._fp, ref) for kind, ref in chunks})

    def max_level(self, index: int = 0) -> int:
        """The coarsest level at which a frame can be decoded for less than all of its cost; 0 is the frame itself."""
        frame = self.header.frames[index]
        with_model = [segment for segment in frame.segments if segment.method.needs_model]
        if any(segment.method is not Method.PHOTO for segment in with_model):
            return 0
        return min((photo.max_level(frame.spec, segment) for segment in with_model), default=0)

    def reduced(self, index: int, level: int) -> tuple[Pixels, tuple[float, float]] | None:
        """A frame that is a JPEG file's coefficients at 1 / 2**level of its size, ``level`` 1 to 3, for a fraction of
        the cost.

        Returns uint8 (h, w, B), each pixel a mean, and how many such pixels left of and above the frame they begin;
        ``None`` for other frames. Raises `FormatError` for damage.
        """
        frame = self._frame(index)
        segment = frame.segments[0]
        if len(frame.segments) > 1 or segment.method is not Method.JPEG or segment.ranks:
            return None
        bounds.check(frame.spec, segment)
        shape = frame.spec.height, frame.spec.width, segment.bands[1]
        return direct.reduced(container.read_chunk(self._fp, segment.chunks[0]), shape, level)

    def frame(self, index: int = 0, *, level: int = 0, region: Box | None = None, keep_going: bool = False) -> Pixels:
        """Pixels of a frame, (H, W, B).

        Parameters
        ----------
        index : which frame, from 0.
        level : k gives every 2**k-th pixel, (ceil(H / 2**k), ceil(W / 2**k), B).
        region : (left, top, right, bottom) in pixels: only that part, decoding only the tiles that it touches.
        keep_going : leave damaged and missing tiles zero, and raise nothing for them.

        Raises `FormatError` for damage, `UnknownModelError`, `UnsupportedError`, and ``ValueError`` for a frame,
        level or region that is not there.
        """
        frame = self._frame(index)
        whole = (0, 0, frame.spec.width, frame.spec.height)
        if level and (region is not None or not 0 <= level <= self.max_level(index)):
            is_chain = any(segment.method in (Method.BITSWAP, Method.PATCH) for segment in frame.segments)
            raise ValueError(
                f"no level {level}: bits-back codes chains that decode as a whole, without previews"
                if is_chain
                else f"no level {level}: this frame has levels 0 to {self.max_level(index)}, whole frames only"
            )
        pixels: Pixels = self._decode(frame, [whole if region is None else region], level, keep_going)[0]
        return pixels

    def parts(self, boxes: Sequence[Box], index: int = 0) -> Pixels:
        """Parts of a frame, all of one size, (N, h, w, B); each chunk that they touch is decoded once.

        ``boxes`` are (left, top, right, bottom) in pixels. Raises as `frame`.
        """
        return self._decode(self._frame(index), boxes, 0, False)

    def _frame(self, index: int) -> Frame[ChunkRef]:
        if not 0 <= index < len(self.header.frames):
            raise ValueError(f"no frame {index}: the file has {len(self.header.frames)}")
        return self.header.frames[index]

    def _decode(self, frame: Frame[ChunkRef], boxes: Sequence[Box], level: int, keep_going: bool) -> Pixels:
        spec, dtype = frame.spec, pixel_dtype(frame.spec)
        boxes = [_box(one) for one in boxes]
        for left, top, right, bottom in boxes:
            if not (0 <= left < right <= spec.width and 0 <= top < bottom <= spec.height):
                raise ValueError(f"no region {(left, top, right, bottom)} in an image of {spec.width} x {spec.height}")
        bands = band_count(frame) * words_per_sample(dtype)
        for segment in frame.segments:
            bounds.check(spec, segment)
        canvas = Canvas(boxes, bands, stored_dtype(dtype), level)
        for segment in frame.segments:
            request = Request(
                spec,
                segment,
                lambda ref: container.read_chunk(self._fp, ref),
                canvas,
                self._model,
                self._device,
                keep_going,
            )
            DECODERS[segment.method](request)
        pixels = from_stored(canvas.pixels, dtype)
        if spec.bit_depth < 8 and int(pixels.max()) >> spec.bit_depth:
            raise FormatError(f"samples of more than {spec.bit_depth} bits: the file is malformed")
        return pixels

    def _model(self, kind: str) -> models.Model:
        """The model that the file names, which has to be of a kind."""
        assert self.header.model is not None  # the container saw to that
        model = models.by_id(self.header.model, self._given)
        if model.kind != kind:
            raise FormatError(f"the file names the model {model.name!r} of another kind: the file is malformed")
        return model


def band_count(frame: Frame[ChunkRef]) -> int:
    """Bands of a frame's pixels. Raises `FormatError` where the stored ones are no whole number of them."""
    stored, dtype = sum(segment.bands[1] for segment in frame.segments), pixel_dtype(frame.spec)
    bands, left = divmod(stored, words_per_sample(dtype))
    if left:
        raise FormatError(f"{stored} stored bands of {dtype}: the file is malformed")
    return bands


def _box(region: Box) -> Box:
    """A region of four integers. Raises ``ValueError`` for what is none."""
    try:
        left, top, right, bottom = map(operator.index, region)
    except (TypeError, ValueError) as error:
        raise ValueError(f"region={region!r} should be four integers: left, top, right, bottom") from error
    return left, top, right, bottom
