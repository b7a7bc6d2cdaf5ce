"""Pillow support, reading: ``Image.open`` for the formats of this package, and their registration.

Opening reads header and metadata; numpy and the networks are imported when pixels are loaded or saved. A process that
was not forked from one that did so imports this package itself, as pickled images from here do.
"""

from __future__ import annotations

import mimetypes
from functools import partial
from typing import IO, TYPE_CHECKING, cast

from PIL import Image, ImageFile, ImagePalette

from . import container
from .devices import check_device
from .errors import FormatError, UnsupportedError
from .metadata import Metadata, Text
from .pillow_save import NeuralEncoder, save

if TYPE_CHECKING:
    from .samples import Pixels

_PREVIEWED = ("L", "La", "RGB", "RGBX", "RGBa", "CMYK", "YCbCr")
"""Modes whose bands may be averaged one by one, so that thumbnails can be made from coarse levels."""


class NeuralImageFile(ImageFile.ImageFile):
    """What the image files of all formats share. A subclass gives it a ``format`` that is a key of the magic table.

    ``draft`` and ``thumbnail`` decode a coarse level where that is good enough; ``verify`` checks every byte without
    decoding. With ``ImageFile.LOAD_TRUNCATED_IMAGES`` lost tiles stay black instead of raising. A pickled or copied
    image is its present frame. ``text`` holds the texts of the frame by their keys; they stand in ``info`` as well.
    """

    n_frames = 1
    is_animated = False
    text: dict[str, str]
    _frame = 0
    _told: tuple[str | None, str | None] = None, None

    def _open(self) -> None:
        assert self.fp is not None
        self._fp = self.fp
        # Pillow warns above its limit and refuses above twice that; so do we, before anything is allocated.
        limit = None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS
        # That pixels are missing matters, as everywhere in Pillow, when they are loaded.
        self._header = container.read_header(self.fp, max_pixels=limit, allow_truncated=True)
        self.n_frames = len(self._header.frames)
        self.is_animated = self.n_frames > 1
        self._close_exclusive_fp_after_loading = not self.is_animated
        self._show(0)

    def _show(self, number: int) -> None:
        """Make ``number`` the present frame."""
        assert self.fp is not None
        frame = self._header.frames[number]
        metadata = self._metadata(number)
        if not frame.spec.mode:
            raise UnsupportedError("this file holds an array that is no image: read it with pil_neuralcodec.decode")
        self._frame = number
        self._im = None  # its size and mode may differ
        self._mode = frame.spec.mode
        self._size = frame.spec.width, frame.spec.height
        self.info = dict(metadata.info().items())
        self.text = shown_texts(metadata)
        self.info |= {key: value for key, value in self.text.items() if self.info[key] == value}
        if frame.duration is not None:
            self.info["duration"] = frame.duration
        self.palette = None
        if self._mode in ("P", "PA"):
            self.palette = ImagePalette.ImagePalette(*(metadata.palette or ("RGB", b"")))
            self.palette.dirty = 1
        self._set_tile(None)

    def _set_tile(self, pixels: Pixels | None) -> None:
        """One tile for the whole of the present frame; ``pixels`` where they are decoded already."""
        self._drafted = pixels is not None
        args = self._header, self._frame, pixels, *self._told
        self.tile = [ImageFile._Tile(str(self.format).lower(), (0, 0, *self._size), 0, args)]

    def use(self, *, model: str | None = None, device: str | None = None) -> None:
        """Decode what is not loaded yet with the model's file, where it lies in none of the folders, and a device.

        Raises ``ValueError`` and ``TypeError`` for a device as everything here that takes one."""
        check_device(device)
        self._told = model, device
        if self.tile and not self._drafted:
            self._set_tile(None)

    def _metadata(self, number: int) -> Metadata:
        assert self.fp is not None
        payloads = {}
        for kind, ref in self._header.frame_metadata(number).items():
            try:
                payloads[kind] = container.read_chunk(self.fp, ref)
            except FormatError:
                if not ImageFile.LOAD_TRUNCATED_IMAGES:
                    raise
        return Metadata.unpack(payloads)

    def seek(self, frame: int) -> None:
        """Make ``frame`` the present one. Raises ``EOFError`` outside 0 .. n_frames - 1."""
        if frame != self._frame and self._seek_check(frame):
            self._fp.seek(0)  # raises for a closed image
            self.fp = cast("IO[bytes]", self._fp)
            self._show(frame)
            self._reload_exif()

    def tell(self) -> int:
        """Number of the present frame."""
        return self._frame

    def verify(self) -> None:
        """Check every byte of the file against its checksums, decoding nothing; call it directly after opening."""
        if self.fp is None:
            raise RuntimeError("verify must be called directly after open")
        self.fp.seek(0)
        container.verify(self.fp)
        super().verify()
        self.tile = []  # the file is closed: Pillow refuses to load what has no tiles

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Load a smaller version, of about ``size`` or more with its aspect ratio kept, where one decodes for less.

        Meant for thumbnails of half of ``size``, as ``thumbnail`` asks for them: only if such a thumbnail is about that
        of the whole image.

        ``mode`` is not changed. Returns None, or the mode and the box of the whole image in the smaller one.
        """
        if not self.tile or self._drafted or size is None or min(size) < 1 or ImageFile.LOAD_TRUNCATED_IMAGES:
            return None
        segments = self._header.frames[self._frame].segments
        if self._mode not in _PREVIEWED or not any(
            segment.method.needs_model or segment.method is container.Method.JPEG for segment in segments
        ):
            return None
        from .preview import preview
        from .reader import Reader

        assert self.fp is not None
        model, device = self._told
        found = preview(Reader(self.fp, self._header, model=model, device=device), self._frame, size)
        if found is None:
            return None
        self._size = found.pixels.shape[1], found.pixels.shape[0]
        self._set_tile(found.pixels)
        return self._mode, cast("tuple[int, int, float, float]", found.box)  # Pillow takes any numbers

    def load_seek(self, pos: int) -> None:
        """Called by Pillow. That it is defined makes ``ImageFile.Parser`` wait for the whole file."""
        assert self.fp is not None
        self.fp.seek(pos)


class IFLImageFile(NeuralImageFile):
    """An opened ``.ifl`` file."""

    format = "IFL"
    format_description = "iFlow lossless image"


class BSWImageFile(NeuralImageFile):
    """An opened ``.bsw`` file."""

    format = "BSW"
    format_description = "Bit-Swap lossless image"


class NeuralDecoder(ImageFile.PyDecoder):
    """Decodes a whole frame; tile arguments are the header, the frame's number, its pixels, where they are known
    already, and the model and device to use."""

    _pulls_fd = True

    def decode(self, buffer: Image.DecoderInput) -> tuple[int, int]:
        """Called by Pillow. Raises its errors, because Pillow tells nothing of an error code but its number."""
        import numpy as np

        from .reader import Reader
        from .samples import to_array

        assert self.fd is not None
        header, number, pixels, model, device = self.args
        if pixels is None:
            reader = Reader(self.fd, header, model=model, device=device)
            pixels = reader.frame(number, keep_going=ImageFile.LOAD_TRUNCATED_IMAGES)
        array = to_array(self.mode, pixels).reshape(-1)
        data = np.ascontiguousarray(array).view("u1").data  # a column of a coarser level has gaps
        self.set_as_raw(data, "1;8" if self.mode == "1" else self.mode)  # type: ignore[arg-type]
        return -1, 0


def register() -> None:
    """Register the formats with Pillow: open, save, extension and MIME type, the last with Python as well.

    Once or often, the effect is the same.
    """
    for factory, extension, mime in ((IFLImageFile, ".ifl", "image/x-ifl"), (BSWImageFile, ".bsw", "image/x-bsw")):
        name = factory.format
        Image.register_open(name, factory, partial(_accept, container.MAGIC[name.lower()]))
        Image.register_save(name, partial(save, name, False))
        Image.register_save_all(name, partial(save, name, True))
        Image.register_extension(name, extension)
        Image.register_mime(name, mime)
        if mimetypes.inited:
            mimetypes.add_type(mime, extension)
        else:  # as one of Python's own, so that the system's list is not read before it is wanted
            mimetypes.types_map[extension] = mime
        Image.register_decoder(name.lower(), NeuralDecoder)
        Image.register_encoder(name.lower(), NeuralEncoder)


def shown_texts(metadata: Metadata) -> dict[str, str]:
    """Texts by their keys, as Pillow gives those of PNG files."""
    return {one.key: _text(one) for one in metadata.text or ()}


def _text(one: Text) -> str:
    """A text as Pillow gives those of PNG files."""
    if not (one.language or one.translated):
        return one.value
    from PIL.PngImagePlugin import iTXt

    return iTXt(one.value, one.language, one.translated)


def _accept(magic: bytes, prefix: bytes) -> bool:
    return prefix.startswith(magic)
