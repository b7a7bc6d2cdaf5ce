"""Row filters in the manner of PNG, then LZMA2: for 16-bit and float samples, drawings and tiny images.

Layout: byte 0 says how the samples were arranged (below), byte 1 is the index into ``_LZMA``, a palette image has a
third byte (colours - 1), and the rest is raw LZMA2 of: the palette (colours x bands samples), one filter
number for each row where rows differ, and the filtered rows.

    bits 0-1   0 samples; 1 the bytes of wide samples, each like a band of its own; 2 indices into a palette, 1, 2, 4
               or 8 bits each, rows padded to bytes
    bit 2      band 1 was subtracted from bands 0 and 2
    bit 3      each row stores band after band (and low bytes before high ones), not sample after sample
    bits 4-6   the filter of all rows, or 7 where every row names its own

Filters predict a sample, modulo its width, from its left neighbour W, upper U and upper left: 0 nothing, 1 W, 2 U,
3 W + U - UL. All of them are undone by running sums, whole rows at a time, which Paeth's predictor is not. (PNG
specification, ISO/IEC 15948 section 9; LZMA2 as in the xz file format.) Everything is exact; only which arrangement
is smallest depends on the liblzma that writes.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .. import gate, native
from ..errors import FormatError, TruncatedError
from .base import from_bytes, to_bytes

_SAMPLES, _BYTES, _PALETTE = 0, 1, 2
_PER_ROW = 7
_FILTERS = 4
_LZMA = ((3, 0, 0), (0, 0, 0), (0, 1, 1), (4, 0, 0))
"""(lc, lp, pb) of LZMA: plain, small, 16-bit samples, large."""
_MAX_DICTIONARY = 1 << 26
_TRY_ALL = 1 << 17
"""Up to so many bytes of samples arrangements are tried in full; above, a sample of the rows decides."""
_FINALISTS = 2
"""Arrangements that are tried in full: of a hundred small images, the best one was always among the first two."""
_GAIN = 7, 10
"""LZMA makes at least 7/10 of what the fast compressor makes, less ``_TINY`` bytes,"""
_TINY = 20
_SPREAD = 7, 8
"""and no arrangement and no (lc, lp, pb) less than 7/8 of what the first one makes."""
_ESTIMATE = 1 << 15
"""Bytes of samples in each of the runs of rows that ``estimate`` looks at."""
_WIDE = 2
"""How many times the bytes that are asked for a run of rows may have."""


@dataclass(frozen=True)
class _Arrangement:
    view: int
    green: bool
    planar: bool
    filter: int

    def to_byte(self) -> int:
        return self.view | self.green << 2 | self.planar << 3 | self.filter << 4


def encode(pixels: np.ndarray, below: int | None = None) -> bytes | None:
    """The body for ``pixels`` (H, W, B) of any supported dtype; ``None`` where it is not expected below so many bytes.

    A fast compressor ranks the arrangements of small images, and LZMA is tried on the first of them.
    """
    samples = _unsigned(pixels)
    palette = _find_palette(samples)
    choices = list(_arrangements(samples, palette is not None))
    if samples.nbytes > _TRY_ALL:
        return _encode_large(samples, palette, choices)
    arranged = [_arrange(samples, choice, palette) for choice in choices]
    quick = [_deflated(data) for data in arranged]
    ranked = sorted(range(len(choices)), key=quick.__getitem__)
    if below is not None and quick[ranked[0]] * _GAIN[0] >= (below + _TINY) * _GAIN[1]:
        return None
    bodies: list[bytes] = []
    for number in ranked[:_FINALISTS]:
        data = arranged[number]
        for index in range(len(_LZMA)) if len(data) <= _TRY_ALL // 8 else (0, 3):
            bodies.append(_body(choices[number], index, palette, data))
            if below is not None and len(bodies[0]) * _SPREAD[0] >= below * _SPREAD[1]:
                return None
    return min(bodies, key=len)


def _encode_large(samples: np.ndarray, palette: np.ndarray | None, choices: list[_Arrangement]) -> bytes:
    """The body with the arrangement that makes least of some rows from the middle."""
    (middle,) = _runs(samples, _TRY_ALL, 1)
    best = min(choices, key=lambda choice: len(_compress(_arrange(middle, choice, palette), 0, preset=1)))
    data = _arrange(samples, best, palette)
    return min((_body(best, index, palette, data) for index in ((0, 3) if len(data) <= _TRY_ALL else (3,))), key=len)


def _body(choice: _Arrangement, index: int, palette: np.ndarray | None, data: np.ndarray) -> bytes:
    prefix = bytes([choice.to_byte(), index])
    if choice.view == _PALETTE:
        assert palette is not None
        prefix += bytes([len(palette) - 1])
    return prefix + _compress(data, index)


def estimate(pixels: np.ndarray) -> int:
    """About how many bytes ``encode`` would give, from above, in a small fraction of its time: fast passes over some
    runs of rows."""
    samples = _unsigned(pixels)
    runs = _runs(samples, _ESTIMATE, 4)
    choices = (_Arrangement(_SAMPLES, False, False, 0), _Arrangement(_SAMPLES, False, False, _PER_ROW))
    size = sum(min(len(_compress(_arrange(run, choice, None), 0, preset=1)) for choice in choices) for run in runs)
    return size * samples.size // sum(run.size for run in runs)


def _runs(samples: np.ndarray, size: int, count: int) -> list[np.ndarray]:
    """Up to ``count`` runs of rows of about ``size`` bytes each, spread; a single one from the middle. These are at
    least 8 rows, of which the middle columns are taken where all would be more than ``_WIDE`` times that size."""
    height, width = samples.shape[:2]
    rows = min(height, max(8, size * height // samples.nbytes))
    columns = min(width, max(1, _WIDE * size * height * width // (rows * samples.nbytes)))
    left = (width - columns) // 2
    firsts = {(height - rows) * i // (count - 1) for i in range(count)} if count > 1 else {(height - rows) // 2}
    return [samples[first : first + rows, left : left + columns] for first in sorted(firsts)]


def decode(body: memoryview, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Inverse of ``encode``. Raises ``FormatError`` for a damaged body; never unpacks more than the shape needs."""
    if len(body) < 3:
        raise TruncatedError("filtered samples: the data ends too early")
    flags, index = body[0], body[1]
    choice = _Arrangement(flags & 3, bool(flags & 4), bool(flags & 8), flags >> 4)
    height, width, bands = shape
    unsigned = np.dtype(f"u{dtype.itemsize}")
    valid = choice.view <= _PALETTE and (choice.filter < _FILTERS or choice.filter == _PER_ROW)
    valid &= bands >= 3 or not choice.green
    valid &= choice.view == _SAMPLES or not (choice.green or choice.planar)
    if not valid or index >= len(_LZMA):
        raise FormatError("filtered samples: an impossible arrangement; the file is damaged")
    colours = 0
    at = 2
    row_shape, row_dtype = (width, bands), unsigned
    if choice.view == _BYTES:
        row_shape, row_dtype = (width, bands * unsigned.itemsize), np.dtype(np.uint8)
    elif choice.view == _PALETTE:
        colours = body[2] + 1
        at = 3
        row_shape, row_dtype = ((width * _index_bits(colours) + 7) // 8, 1), np.dtype(np.uint8)
    palette_size = colours * bands * unsigned.itemsize
    names = height if choice.filter == _PER_ROW else 0
    row_size = row_shape[0] * row_shape[1] * row_dtype.itemsize
    unpacked = _decompress(body[at:], index, palette_size + names + height * row_size)
    filters = np.full(height, choice.filter, np.uint8)
    if names:
        filters = unpacked[palette_size : palette_size + names]
        if (filters >= _FILTERS).any():
            raise FormatError("filtered samples: an unknown filter; the file is damaged")
    rows = _gather(unpacked[palette_size + names :], (height, *row_shape), row_dtype, choice.planar)
    _unfilter(rows, filters)
    if choice.green:
        rows[:, :, 0] += rows[:, :, 1]
        rows[:, :, 2] += rows[:, :, 1]
    if choice.view == _BYTES:
        rows = from_bytes(rows, unsigned)
    elif choice.view == _PALETTE:
        palette = from_bytes(unpacked[:palette_size], unsigned).reshape(colours, bands)
        rows = palette[_unpack(rows[:, :, 0], width, colours)]
    return rows.view(dtype).reshape(shape)


def _unsigned(pixels: np.ndarray) -> np.ndarray:
    """``pixels`` as unsigned integers with the same bits, in native byte order."""
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
    return pixels.view(f"u{pixels.dtype.itemsize}")


def _arrangements(samples: np.ndarray, has_palette: bool) -> Iterator[_Arrangement]:
    """What ``encode`` tries."""
    bands, wide = samples.shape[2], samples.dtype.itemsize > 1
    for filter_ in (0, 1, 2, 3, _PER_ROW):
        for green in (False, True) if bands >= 3 else (False,):
            yield _Arrangement(_SAMPLES, green, False, filter_)
            if wide or bands > 1:
                yield _Arrangement(_SAMPLES, green, True, filter_)
        if wide:
            yield _Arrangement(_BYTES, False, False, filter_)
        if has_palette:
            yield _Arrangement(_PALETTE, False, False, filter_)


def _arrange(samples: np.ndarray, choice: _Arrangement, palette: np.ndarray | None) -> np.ndarray:
    """The bytes to compress, uint8 (n,)."""
    prefix = np.zeros(0, np.uint8)
    if choice.view == _BYTES:
        samples = to_bytes(samples)
    elif choice.view == _PALETTE:
        assert palette is not None
        prefix = to_bytes(palette).reshape(-1)
        samples = _pack(samples, palette)
    if choice.green:
        samples = samples.copy()
        samples[:, :, 0] -= samples[:, :, 1]
        samples[:, :, 2] -= samples[:, :, 1]
    core = native.core()
    if choice.filter == _PER_ROW and core is not None:
        rows, names = core.filter_rows(np.ascontiguousarray(samples))
        prefix = np.concatenate([prefix, names])
    elif choice.filter == _PER_ROW:
        candidates = [_filter(samples, f) for f in range(_FILTERS)]
        signed = f"i{samples.dtype.itemsize}"
        # Sums of magnitudes, as PNG writers do; the smallest value's magnitude wraps to itself, read as unsigned.
        costs = [np.abs(c.view(signed)).view(samples.dtype).sum(axis=(1, 2), dtype=np.uint64) for c in candidates]
        names = np.argmin(np.stack(costs), axis=0)
        rows = np.choose(names[:, None, None], candidates)
        prefix = np.concatenate([prefix, names.astype(np.uint8)])
    else:
        rows = _filter(samples, choice.filter)
    if choice.planar:
        rows = to_bytes(rows).reshape(*rows.shape, -1).transpose(0, 2, 3, 1)
    return np.concatenate([prefix, to_bytes(rows).reshape(-1)])


def _gather(data: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype, planar: bool) -> np.ndarray:
    """The rows (H, W, C) out of their bytes."""
    if not planar:
        return from_bytes(data, dtype).reshape(shape).copy()
    height, width, bands = shape
    rows = data.reshape(height, bands, dtype.itemsize, width).transpose(0, 3, 1, 2)
    return from_bytes(rows.copy(), dtype).reshape(shape)


def _filter(samples: np.ndarray, filter_: int) -> np.ndarray:
    """``samples`` less their prediction, modulo their width; outside the image all is 0."""
    out = samples
    if filter_ & 1:
        out = out.copy()
        out[:, 1:] -= samples[:, :-1]
    if filter_ & 2:
        flat = out
        out = out.copy()
        out[1:] -= flat[:-1]
    return out


def _unfilter(rows: np.ndarray, filters: np.ndarray) -> None:
    """Undo ``_filter`` in place, one filter number for each row (0..3)."""
    core = native.core()
    if core is not None:
        core.unfilter_rows(rows, np.ascontiguousarray(filters))
        return
    across = filters & 1 == 1
    if across.all():
        np.cumsum(rows, axis=1, dtype=rows.dtype, out=rows)
    elif across.any():
        rows[across] = np.cumsum(rows[across], axis=1, dtype=rows.dtype)
    # Runs of rows that build on the row above: each starts at a row that does not.
    starts = np.flatnonzero(filters & 2 == 0).tolist()
    for low, high in zip([0, *starts], [*starts, len(rows)], strict=True):
        if high - low > 1:
            np.cumsum(rows[low:high], axis=0, dtype=rows.dtype, out=rows[low:high])


def _find_palette(samples: np.ndarray) -> np.ndarray | None:
    """The colours (n, B), sorted, where there are at most 256 of them (16 for one 8-bit band: fewer bits only)."""
    flat = samples.reshape(-1, samples.shape[2])
    size = samples.dtype.itemsize * samples.shape[2]
    if size > 8:
        return None
    most = 256 if size > 1 else 16
    if len(_colours(flat[:4096])) > most:
        return None
    found = _colours(flat)
    return found if len(found) <= most else None


def _colours(flat: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(_from_keys(np.unique(_keys(flat)), flat.dtype, flat.shape[1]))


def _keys(flat: np.ndarray) -> np.ndarray:
    """One integer for each colour, uint64 (n,) from (n, B): ordered by the first band, then the second..."""
    keys = np.zeros(len(flat), np.uint64)
    for band in range(flat.shape[1]):
        keys = (keys << np.uint64(8 * flat.dtype.itemsize)) | flat[:, band].astype(np.uint64)
    return keys


def _from_keys(keys: np.ndarray, dtype: np.dtype, bands: int) -> np.ndarray:
    shifts = np.arange(bands - 1, -1, -1, dtype=np.uint64) * np.uint64(8 * dtype.itemsize)
    colours: np.ndarray = (keys[:, None] >> shifts).astype(dtype)
    return colours


def _index_bits(colours: int) -> int:
    return 1 if colours <= 2 else 2 if colours <= 4 else 4 if colours <= 16 else 8


def _pack(samples: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Indices into the palette, packed by rows: uint8 (H, bytes, 1)."""
    height, width, bands = samples.shape
    indices = np.searchsorted(_keys(palette), _keys(samples.reshape(-1, bands))).astype(np.uint8).reshape(height, width)
    depth = _index_bits(len(palette))
    if depth == 8:
        return indices[:, :, None]
    bits = np.unpackbits(indices[:, :, None], axis=2)[:, :, 8 - depth :]
    return np.packbits(bits.reshape(height, -1), axis=1)[:, :, None]


def _unpack(rows: np.ndarray, width: int, colours: int) -> np.ndarray:
    """Inverse of ``_pack``: indices (H, W)."""
    depth = _index_bits(colours)
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    indices = ((rows[:, :, None] >> shifts) & np.uint8((1 << depth) - 1)).reshape(len(rows), -1)[:, :width]
    if (indices >= colours).any():
        raise FormatError("filtered samples: an index beyond the palette; the file is damaged")
    return indices


def _deflated(data: np.ndarray) -> int:
    """About how many bytes LZMA would make, from above, in a fifteenth of its time."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(deflate.compress(data.tobytes())) + len(deflate.flush())


def _lzma_filters(index: int, size: int, preset: int = 9 | lzma.PRESET_EXTREME) -> list[dict[str, int]]:
    lc, lp, pb = _LZMA[index]
    dictionary = min(max(4096, 1 << (size - 1).bit_length()), _MAX_DICTIONARY)
    return [{"id": lzma.FILTER_LZMA2, "preset": preset, "lc": lc, "lp": lp, "pb": pb, "dict_size": dictionary}]


def _compress(data: np.ndarray, index: int, preset: int = 9 | lzma.PRESET_EXTREME) -> bytes:
    filters = _lzma_filters(index, len(data), preset)
    return gate.apart(lambda: lzma.compress(data.tobytes(), lzma.FORMAT_RAW, filters=filters), data.nbytes)


def _decompress(data: memoryview, index: int, size: int) -> np.ndarray:
    """Exactly ``size`` bytes, uint8; no more than that is ever unpacked."""
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_lzma_filters(index, size))
    try:
        found = decompressor.decompress(data, max_length=size)
        # The end marker is a byte of its own: let it be read, though nothing may follow.
        tail = b"" if decompressor.eof else decompressor.decompress(b"", max_length=1)
    except (lzma.LZMAError, EOFError) as error:
        raise FormatError(f"filtered samples: the LZMA data is damaged ({error})") from error
    if len(found) < size or (not decompressor.eof and not tail):
        raise TruncatedError("filtered samples: the LZMA data ends too early")
    if tail or decompressor.unused_data:
        raise FormatError("filtered samples: more LZMA data than the image needs")
    return np.frombuffer(found, np.uint8)
