"""What a file keeps besides pixels, as Python values and as the payloads of metadata chunks.

The payloads are described in ``docs/format.md``. Standard library only, so that opening a file stays cheap.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from string import ascii_uppercase
from typing import Final, NamedTuple

from .container import MetadataType
from .errors import FormatError, UnsupportedError
from .varint import read_varint, write_varint

PALETTE_MODES: Final = ("RGB", "RGBA", "CMYK")
"""Modes of a Pillow palette; an entry has as many bytes as the mode has letters."""
_PALETTE_ENTRIES: Final = 256
_MAX_NUMBER: Final = 2**32 - 1
_MOST_NUMBERS: Final = 255
"""In a payload: as many as an array may have axes."""
_MOST_TEXTS: Final = 1 << 16


class Axes(NamedTuple):
    """Axes of an array: a letter and a size for each, and how the array lies in memory."""

    letters: str
    sizes: tuple[int, ...]
    fortran: bool = False
    big_endian: bool = False


class Text(NamedTuple):
    """A text with a key, as PNG files hold; ``language`` and the ``translated`` key may be empty."""

    key: str
    value: str
    language: str = ""
    translated: str = ""


@dataclass(frozen=True)
class Metadata:
    """Metadata of a file or a frame; None is absent.

    ``icc_profile``, ``exif``, ``xmp``: bytes as Pillow's ``save`` takes them. ``palette``: its mode and its entries.
    ``transparency``: as in Pillow's ``info``, an index or level, alpha by palette index, or a colour. ``dpi``: dots per
    inch across and down. ``loop``: how often an animation is played, 0 for ever. ``axes``: of an array that is
    no single image. ``text``: texts with a key each. ``comment``: bytes, as in JPEG and GIF files.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    palette: tuple[str, bytes] | None = None
    transparency: int | bytes | tuple[int, ...] | None = None
    dpi: tuple[float, float] | None = None
    loop: int | None = None
    axes: Axes | None = None
    text: tuple[Text, ...] | None = None
    comment: bytes | None = None

    def pack(self) -> dict[MetadataType, bytes]:
        """Payloads by type. Raises `UnsupportedError` for a value that the format cannot hold."""
        payloads: dict[MetadataType, bytes] = {}
        for name, kind in _BYTES.items():
            value = getattr(self, name)
            if value is not None:
                payloads[kind] = bytes(value)
        if self.palette is not None:
            mode, entries = self.palette
            if mode not in PALETTE_MODES or len(entries) > _PALETTE_ENTRIES * len(mode):
                raise UnsupportedError(f"cannot write a palette of {len(entries)} bytes in mode {mode}")
            payloads[MetadataType.PALETTE] = bytes([len(mode)]) + mode.encode() + bytes(entries)
        if self.transparency is not None:
            payloads[MetadataType.TRANSPARENCY] = _pack_transparency(self.transparency)
        if self.dpi is not None:
            try:
                payloads[MetadataType.DPI] = struct.pack("<2d", *map(float, self.dpi))
            except (struct.error, TypeError, ValueError, OverflowError) as error:
                raise UnsupportedError(f"cannot write dpi {self.dpi!r}: it should be two numbers") from error
        if self.loop is not None:
            payloads[MetadataType.LOOP] = _pack_numbers((self.loop,))
        if self.axes is not None:
            letters, sizes, fortran, big_endian = self.axes
            flags = fortran + 2 * big_endian
            payloads[MetadataType.AXES] = bytes([flags, len(letters)]) + letters.encode("ascii") + _pack_numbers(sizes)
        if self.text is not None:
            if len(self.text) > _MOST_TEXTS:
                raise UnsupportedError(f"cannot write {len(self.text)} texts: a file has at most {_MOST_TEXTS}")
            payloads[MetadataType.TEXT] = b"".join(_pack_string(part) for one in self.text for part in Text(*one))
        return payloads

    @classmethod
    def unpack(cls, payloads: Mapping[MetadataType, bytes]) -> Metadata:
        """Inverse of `pack`. Raises `FormatError` for a malformed payload."""
        values: dict[str, object] = {name: payloads.get(kind) for name, kind in _BYTES.items()}
        if (data := payloads.get(MetadataType.PALETTE)) is not None:
            size = data[0] if data else 0
            mode, entries = data[1 : 1 + size].decode("latin-1"), data[1 + size :]
            if mode not in PALETTE_MODES or len(entries) > _PALETTE_ENTRIES * size:
                raise FormatError(f"a malformed palette: {len(entries)} bytes in mode {mode!r}")
            values["palette"] = mode, entries
        if (data := payloads.get(MetadataType.TRANSPARENCY)) is not None:
            values["transparency"] = _unpack_transparency(data)
        if (data := payloads.get(MetadataType.DPI)) is not None:
            if len(data) != 16:
                raise FormatError(f"malformed dpi of {len(data)} bytes")
            values["dpi"] = struct.unpack("<2d", data)
        if (data := payloads.get(MetadataType.LOOP)) is not None:
            values["loop"] = _one(_unpack_numbers(data), "loop count")
        if (data := payloads.get(MetadataType.AXES)) is not None:
            flags, count = (*data[:2], 0, 0)[:2]
            letters, sizes = data[2 : 2 + count].decode("latin-1"), tuple(_unpack_numbers(data[2 + count :]))
            proper = {*"YX"} <= {*letters} <= {*ascii_uppercase} and flags <= 3
            if not len(letters) == len(sizes) == len(set(letters)) == count or not proper:
                raise FormatError(f"malformed axes {letters!r} with {len(sizes)} sizes")
            values["axes"] = Axes(letters, sizes, bool(flags & 1), bool(flags & 2))
        if (data := payloads.get(MetadataType.TEXT)) is not None:
            values["text"] = _unpack_text(data)
        return cls(**values)  # type: ignore[arg-type]

    def present(self) -> list[str]:
        """Names of what is there."""
        return [field.name for field in fields(self) if getattr(self, field.name) is not None]

    def info(self) -> dict[str, object]:
        """Those entries of Pillow's ``info`` that this stands for: all but palette and axes; a text by its own key."""
        present = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("palette", "axes", "text")}
        texts: dict[str, object] = {one.key: one.value for one in self.text or ()}
        return texts | {name: value for name, value in present.items() if value is not None}


def axis_letters(axes: str, shape: Sequence[int]) -> str:
    """The letters, in capitals, of the axes of an array. Raises `ValueError` where they do not fit its shape,
    and `TypeError` for what is no string."""
    if not isinstance(axes, str):
        raise TypeError(f"axes={axes!r} should be a string of letters")
    letters = axes.upper()
    if len(letters) != len(shape) or len(set(letters)) != len(letters) or not {"Y", "X"} <= {*letters}:
        raise ValueError(f"axes {axes!r} do not fit shape {tuple(shape)}: a letter for each, Y and X among them")
    if not (letters.isascii() and letters.isalpha()):
        raise ValueError(f"axes {axes!r} are not letters")
    return letters


_BYTES: Final = {
    "icc_profile": MetadataType.ICC,
    "exif": MetadataType.EXIF,
    "xmp": MetadataType.XMP,
    "comment": MetadataType.COMMENT,
}
_INDEX, _ALPHAS, _COLOUR = 0, 1, 2


def _pack_string(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise UnsupportedError(f"cannot write the text {text!r}: it is no Unicode") from error
    return _pack_numbers((len(data),)) + data


def _unpack_text(data: bytes) -> tuple[Text, ...]:
    strings: list[str] = []
    position = 0
    while position < len(data):
        size, end = read_varint(data, position)
        piece = data[end : end + size]
        if len(piece) < size:
            raise FormatError("malformed text: it ends within a string")
        if len(strings) == 4 * _MOST_TEXTS:
            raise FormatError(f"malformed text: more than {_MOST_TEXTS} of them")
        try:
            strings.append(piece.decode())
        except UnicodeDecodeError as error:
            raise FormatError("malformed text: it is no UTF-8") from error
        position = end + size
    texts = tuple(Text(*strings[i : i + 4]) for i in range(0, len(strings) // 4 * 4, 4))
    if len(strings) % 4 or not all(one.key for one in texts):
        raise FormatError(f"malformed text: {len(strings)} strings, or an empty key")
    return texts


def _pack_transparency(value: object) -> bytes:
    if isinstance(value, int):
        return bytes([_INDEX]) + _pack_numbers((value,))
    if isinstance(value, (bytes, bytearray)):
        return bytes([_ALPHAS]) + value
    if isinstance(value, (tuple, list)):
        return bytes([_COLOUR]) + _pack_numbers(value)
    raise UnsupportedError(f"cannot write transparency {value!r}: it should be a number, bytes or a colour")


def _unpack_transparency(data: bytes) -> int | bytes | tuple[int, ...]:
    kind, rest = data[:1], data[1:]
    if kind == bytes([_ALPHAS]):
        return rest
    if kind == bytes([_INDEX]):
        return _one(_unpack_numbers(rest), "transparency")
    if kind == bytes([_COLOUR]):
        return tuple(_unpack_numbers(rest))
    raise FormatError("malformed transparency")


def _one(numbers: list[int], what: str) -> int:
    if len(numbers) != 1:
        raise FormatError(f"malformed {what}: {len(numbers)} numbers")
    return numbers[0]


def _pack_numbers(values: Iterable[object]) -> bytes:
    """Varints, one after the other."""
    out, numbers = bytearray(), list(values)
    if len(numbers) > _MOST_NUMBERS:
        raise UnsupportedError(f"cannot write {len(numbers)} numbers in metadata: at most {_MOST_NUMBERS}")
    for value in numbers:
        if not isinstance(value, int) or not 0 <= value <= _MAX_NUMBER:
            raise UnsupportedError(f"cannot write {value!r} in metadata: it should be an integer of 0 to {_MAX_NUMBER}")
        out += write_varint(value)
    return bytes(out)


def _unpack_numbers(data: bytes) -> list[int]:
    numbers: list[int] = []
    at = 0
    while at < len(data):
        number, at = read_varint(data, at)
        if number > _MAX_NUMBER or len(numbers) == _MOST_NUMBERS:
            raise FormatError("malformed metadata: a number is too large, or there are too many")
        numbers.append(number)
    return numbers
