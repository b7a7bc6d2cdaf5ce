"""What is done with a file, whatever it holds. Only what is promised may come of it: values, or an ``OSError``.

Of the ways to read a file each execution takes one, drawn by the checksum of its bytes.
"""

from __future__ import annotations

import io
import os
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile

import pil_neuralcodec
from pil_neuralcodec import arrays, container, native
from pil_neuralcodec.coders.lanes import ExhaustedError
from pil_neuralcodec.errors import ChecksumError, NeuralCodecError
from pil_neuralcodec.metadata import Metadata
from pil_neuralcodec.methods import base, tiles
from pil_neuralcodec.reader import Reader

from . import programs
from .files import BARE, frequencies, seal, small

MAX_PIXELS = 1 << 11
"""Of a file that is decoded: enough for several tiles, blocks and lanes, and a matter of milliseconds."""
REFUSED = (NeuralCodecError, Image.UnidentifiedImageError)
"""What may be raised. Any other error is a finding, as a warning is."""
RARELY = 255
"""One in so many, and one, is read by numpy as well, which takes a hundred times as long."""
SELDOM = 127
"""One in so many, and one, is read as everybody reads it: numpy decodes again what compiled code does not."""
STAGES = "header", "limits", "payload", "symbols", "end", "checksum", "decoded"
"""How far an execution got: what refused the file, or that nothing did."""
reached: Counter[str] = Counter()
"""Executions by ``STAGES``."""


class ShortReads(io.BytesIO):
    """A file that gives fewer bytes than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None and size >= 0
        return super().read(min(size, 1 + size // 2))


def container_(data: bytes) -> None:
    """Header, metadata and checksums, no pixels."""
    choice = zlib.crc32(data) >> 8 & 3
    try:
        header = container.verify(ShortReads(data))
        assert header.file_size == len(data)
        if choice == 0:
            pil_neuralcodec.read_info(data)
        elif choice < 3:
            reader = Reader(io.BytesIO(data), header)
            for index in range(min(9, len(header.frames))):
                packed = reader.metadata(index).pack()
                assert Metadata.unpack(packed).pack() == packed
        reached["decoded"] += 1
    except REFUSED as error:
        reached[stage(error)] += 1
    if choice == 3:
        try:
            with Image.open(io.BytesIO(data), formats=("IFL", "BSW")) as image:
                for index in range(min(9, image.n_frames)):
                    image.seek(index)  # not image.getexif(): what Pillow makes of these bytes is its own
        except (*REFUSED, Image.DecompressionBombError, Image.DecompressionBombWarning):
            pass


def coders_(data: bytes) -> None:
    """Coders without a file around them; now and then by numpy too."""
    if not data:
        return
    found = programs.run(data)
    reached["symbols" if found is None else "decoded"] += 1
    if zlib.crc32(data) & RARELY == 0:
        with _without_core():
            assert found == programs.run(data), "engines differ"


def file(data: bytes) -> None:
    """Pixels: the whole, or one of the parts that can be asked for; now and then by every engine."""
    choice = zlib.crc32(data)
    fp = io.BytesIO(data)
    try:
        header = container.read_header(fp, max_pixels=MAX_PIXELS, allow_truncated=True)
        if len(header.frames) > 4:
            return
    except NeuralCodecError as error:
        reached[stage(error)] += 1
        return
    frequencies(header.spec.width)
    way = _WAYS[choice % len(_WAYS)]
    if way in (_pillow, _draft) and not header.spec.mode:
        way = _called
    reader = Reader(fp, header)
    if choice >> 8 & SELDOM == 0:
        _outcome(way, data, reader)
        return
    with _first_decode():
        found = _outcome(way, data, reader)
        if choice >> 16 & RARELY == 0:
            with _without_core():
                assert found == _outcome(way, data, reader), "engines differ"


def _outcome(way: Callable[[bytes, Reader], Any], data: bytes, reader: Reader) -> Any:
    """What comes of it, such that it can be compared: the bytes of values, or that it was refused."""
    try:
        found = way(data, reader)
    except REFUSED as error:
        reached[stage(error)] += 1
        return None
    reached["decoded"] += 1
    return found.shape, found.dtype.str, found.tobytes()


def stage(error: BaseException) -> str:
    """Which of ``STAGES`` refused a file, by where the error is from."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [frame.f_globals["__name__"].partition(".")[2] for frame in frames]
    last, function = modules[-1], frames[-1].f_code.co_name
    if last.startswith("container") or last in ("reader", "metadata", "sheets") or "PIL" in type(error).__module__:
        return "header"
    if last == "methods.bounds" or (last == "methods.base" and not isinstance(error, ChecksumError)):
        return "limits"
    if isinstance(error, ChecksumError):
        return "checksum"
    if function in ("last_told", "told", "close") or ("methods.bitswap" in modules and "methods.direct" in modules):
        return "end"  # of symbols, or of what lies below those of a network
    if isinstance(error, ExhaustedError) or last.partition(".")[0] in ("coders", "flow", "jpeg", "bitswap"):
        return "symbols"
    return "payload"


class _first_decode:
    """What compiled code cannot decode is not decoded again by numpy, which would take ten times as long, and hide
    where the two differ."""

    def __enter__(self) -> None:
        self._before, base.decode_tiles = base.decode_tiles, _once  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        base.decode_tiles = self._before  # type: ignore[attr-defined]


def _once(*args: Any, reference: object, **options: Any) -> Any:
    return tiles.decode_tiles(*args, **options)


class _without_core:
    def __enter__(self) -> None:
        self.before = os.environ.get(native.ENVIRONMENT)
        os.environ[native.ENVIRONMENT] = "none"

    def __exit__(self, *_: object) -> None:
        del os.environ[native.ENVIRONMENT]
        if self.before is not None:
            os.environ[native.ENVIRONMENT] = self.before


def _whole(data: bytes, reader: Reader) -> np.ndarray:
    return reader.frame(len(reader.header.frames) - 1)


def _called(data: bytes, reader: Reader) -> np.ndarray:
    return pil_neuralcodec.decode(data, frame=len(reader.header.frames) - 1, max_pixels=MAX_PIXELS)


def _region(data: bytes, reader: Reader) -> np.ndarray:
    spec = reader.header.spec
    return reader.frame(0, region=(spec.width // 3, spec.height // 2, spec.width, spec.height))


def _level(data: bytes, reader: Reader) -> np.ndarray:
    return reader.frame(0, level=reader.max_level())


def _pillow(data: bytes, reader: Reader) -> np.ndarray:
    """As Pillow shows it, what is damaged left black."""
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        with Image.open(io.BytesIO(data), formats=("IFL", "BSW")) as image:
            image.load()
            return np.asarray(image.copy())
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _draft(data: bytes, reader: Reader) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("IFL", "BSW")) as image:
        image.draft(None, (5, 5))
        return np.asarray(image)


_WAYS = _whole, _whole, _whole, _called, _region, _level, _pillow, _draft


def arrays_(data: bytes) -> None:
    """A chunk of an array, whole, and now and then of a shape that is expected, and a part of it."""
    try:
        container.read_header(io.BytesIO(data), max_pixels=MAX_PIXELS)
        with _first_decode():
            shape = arrays.decode(data).shape
            if zlib.crc32(data) >> 8 & 3 == 0:
                arrays.decode(data, shape, [(size // 3, size) for size in shape])
        reached["decoded"] += 1
    except NeuralCodecError as error:
        reached[stage(error)] += 1


TARGETS: dict[str, Callable[[bytes], None]] = {
    "container": container_,
    "coders": coders_,
    "arrays": arrays_,
    **dict.fromkeys(("raw", "filtered", "webp", "predictor", "jpeg", "photo", "patch", "bitswap"), file),
}


def seconds(target: str, data: bytes) -> float:
    """CPU time that data of a target take which nothing is wrong with."""
    taken = []
    for _ in range(3):
        started = time.process_time()
        with _first_decode():
            if TARGETS[target] is file:
                frequencies(pil_neuralcodec.read_info(data).width)
                pil_neuralcodec.decode(data)
            else:
                TARGETS[target](data)
        taken.append(time.process_time() - started)
    return min(taken)


def run(target: str, data: bytes) -> None:
    """Do with data what a target does; files are sealed first."""
    with small():
        TARGETS[target](data if target in BARE else seal(data))
