"""What is done with a file, whatever it holds. Only what is promised may come of it: values, or an ``OSError``."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile

import pil_neuralcodec
from pil_neuralcodec import arrays, container, native
from pil_neuralcodec.errors import NeuralCodecError
from pil_neuralcodec.metadata import Metadata
from pil_neuralcodec.reader import Reader

from .files import seal

MAX_PIXELS = 1 << 13
"""Of a file that is decoded: enough for several tiles, blocks and lanes, and a matter of milliseconds."""
REFUSED = (NeuralCodecError, Image.UnidentifiedImageError)
"""What may be raised. Any other error is a finding, as a warning is."""


class ShortReads(io.BytesIO):
    """A file that gives fewer bytes than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None and size >= 0
        return super().read(min(size, 1 + size // 2))


def container_(data: bytes) -> None:
    """Header, metadata and checksums, no pixels."""
    try:
        header = container.verify(ShortReads(data))
        assert header.file_size == len(data)
        pil_neuralcodec.read_info(data)
        reader = Reader(io.BytesIO(data), header)
        for index in range(min(9, len(header.frames))):
            packed = reader.metadata(index).pack()
            assert Metadata.unpack(packed).pack() == packed
    except REFUSED:
        pass
    try:
        with Image.open(io.BytesIO(data), formats=("IFL", "BSW")) as image:
            for index in range(min(9, image.n_frames)):
                image.seek(index)  # not image.getexif(): what Pillow makes of these bytes is its own
    except (*REFUSED, Image.DecompressionBombError, Image.DecompressionBombWarning):
        pass


def file(data: bytes) -> None:
    """Pixels: the whole, or one of the parts that can be asked for; now and then by every engine."""
    choice = zlib.crc32(data)
    try:
        header = container.read_header(io.BytesIO(data), max_pixels=MAX_PIXELS, allow_truncated=True)
        if len(header.frames) > 4:
            return
    except NeuralCodecError:
        return
    ways = (_whole, _whole, _region, _level, _pillow, _draft)
    way = ways[choice % len(ways)]
    found = _outcome(way, data)
    if choice >> 8 & 127 == 0:  # numpy takes its time
        with _without_core():
            assert found == _outcome(way, data), "engines differ"


def _outcome(way: Callable[[bytes], Any], data: bytes) -> Any:
    """What comes of it, such that it can be compared: the bytes of values, or that it was refused."""
    try:
        found = way(data)
    except REFUSED:
        return None
    return found.shape, found.dtype.str, found.tobytes()


class _without_core:
    def __enter__(self) -> None:
        self.before = os.environ.get(native.ENVIRONMENT)
        os.environ[native.ENVIRONMENT] = "none"

    def __exit__(self, *_: object) -> None:
        del os.environ[native.ENVIRONMENT]
        if self.before is not None:
            os.environ[native.ENVIRONMENT] = self.before


def _whole(data: bytes) -> np.ndarray:
    fp = io.BytesIO(data)
    reader = Reader(fp, container.read_header(fp, max_pixels=MAX_PIXELS))
    return pil_neuralcodec.decode(data, frame=len(reader.header.frames) - 1, max_pixels=MAX_PIXELS)


def _region(data: bytes) -> np.ndarray:
    fp = io.BytesIO(data)
    reader = Reader(fp, container.read_header(fp, max_pixels=MAX_PIXELS))
    spec = reader.header.spec
    return reader.frame(0, region=(spec.width // 3, spec.height // 2, spec.width, spec.height))


def _level(data: bytes) -> np.ndarray:
    fp = io.BytesIO(data)
    reader = Reader(fp, container.read_header(fp, max_pixels=MAX_PIXELS))
    return reader.frame(0, level=reader.max_level())


def _pillow(data: bytes) -> np.ndarray:
    """As Pillow shows it, what is damaged left black."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        with Image.open(io.BytesIO(data), formats=("IFL", "BSW")) as image:
            image.load()
            return np.asarray(image.copy())
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _draft(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("IFL", "BSW")) as image:
        image.draft(None, (5, 5))
        return np.asarray(image)


def arrays_(data: bytes) -> None:
    """A chunk of an array, whole, of a shape that is expected, and a part of it."""
    try:
        container.read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)
        shape = arrays.decode(data).shape
        arrays.decode(data, shape, [(size // 3, size) for size in shape])
    except NeuralCodecError:
        pass


TARGETS: dict[str, Callable[[bytes], None]] = {
    "container": container_,
    "arrays": arrays_,
    **dict.fromkeys(("raw", "filtered", "webp", "predictor", "jpeg", "photo", "patch", "bitswap"), file),
}


def run(target: str, data: bytes) -> None:
    """Do with a file, sealed, what a target does."""
    TARGETS[target](seal(data))
