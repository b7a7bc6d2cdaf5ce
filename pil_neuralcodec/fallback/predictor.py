"""A predictor coder without a network, for 8-bit planes: what networks model badly, bands they do not cover, seeds.

Every sample is predicted from its causal neighbours by seven simple predictors, for later bands also by the same
predictors plus what they missed by in the two bands before, at the same place. The predictions are blended with
weights that fall with the errors each predictor made nearby (Seemann and Tischer 1997, "Generalized locally adaptive
DPCM"), so the blend adapts to edges, texture and the correlation of the bands, and no colour transform is needed. The
residual is coded by static rANS tables, chosen by the local activity: errors nearby, errors of the bands before at the
same place, and how much the predictors disagree.

Decoding is vectorised over wavefronts: all samples with the same x + 2 y depend only on earlier ones. Band b runs b
steps behind band 0, so each step decodes one wavefront of every band in a single call. Neighbours on a wavefront are
slices of earlier wavefronts, stored by row. The encoder runs the same functions over blocks of whole rows.

All arithmetic is on integers. Layout: images higher than wide are transposed; rows are cut into strips, each coded
alone and preceded by its length (varint) except the last; a strip is one symbol stream: the tables, then residuals.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import isqrt
from typing import NamedTuple

import numpy as np

from ..coders.stream import SymbolReader, SymbolWriter
from ..errors import FormatError
from ..varint import read_varint, write_varint

_STRIP = 1 << 22  # pixels
_BLOCK = 1 << 13  # pixels that the encoder predicts at a time
_DEPTH = 5  # wavefronts in reach: the neighbour two rows up is four back
_BITS = 18
_TOTAL = 1 << _BITS
_SYMBOLS = 256

# Neighbours as (wavefronts back, rows up); the pixel neighbours come first, in the order of _predictors.
_W, _N, _NW, _NE, _WW, _NN, _NNE, _NWW = (1, 0), (2, 1), (3, 1), (1, 1), (2, 0), (4, 2), (3, 2), (4, 1)
_PIXELS = (_W, _N, _NW, _NE, _WW, _NN)
_PREDICTORS = 7


# ---- prediction --------------------------------------------------------------------------------------------------


def _predictors(
    w: np.ndarray, n: np.ndarray, nw: np.ndarray, ne: np.ndarray, ww: np.ndarray, nn: np.ndarray
) -> np.ndarray:
    """The simple predictors, int32 (7, n), from the neighbours, int32 (n,)."""
    return np.stack([w, n, w + n - nw, ne, 2 * n - nn, w + ne - n, 2 * w - ww])


def _blend(predictions: np.ndarray, misses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blend predictions, int32 (P, n), by the sums of errors that they made nearby, (P, n) from ``_miss_sums``.

    Returns the blend, int32 (n,) in 0..255, and the disagreement of the predictions in eighths of a grey level.
    """
    weights = _weights()[misses]
    total = weights.sum(axis=0)
    blend = (2 * np.einsum("pn,pn->n", weights, predictions) + total) // (2 * total)
    blend = np.minimum(np.maximum(blend, 0), 255).astype(np.int32)
    return blend, np.abs(predictions - blend).sum(axis=0) * 8 // len(predictions)


@cache
def _weights() -> np.ndarray:
    """Weight of a predictor by its ``_miss_sums`` s: 2**22 / (s / 2 + 2)**1.5, int64."""
    return np.array([isqrt((1 << 47) // (s + 4) ** 3) for s in range(14 * 255 + 1)], np.int64)


def _miss_sums(
    w: np.ndarray,
    n: np.ndarray,
    nw: np.ndarray,
    ne: np.ndarray,
    ww: np.ndarray,
    nn: np.ndarray,
    nne: np.ndarray,
    nww: np.ndarray,
) -> np.ndarray:
    """Weighted sums, uint16 (P, n), of what the predictors missed by at the neighbours (uint16, at most 255)."""
    sums: np.ndarray = 2 * (w + n + nw + ne + ww + nn) + nne + nww
    return sums


def _activity(finals: Iterable[np.ndarray], before: list[np.ndarray], disagreement: np.ndarray) -> np.ndarray:
    """The activity level, uint8 (n,): from final errors at the neighbours (in the order of ``_PIXELS``), and at the
    same place in the bands before."""
    w, n, nw, ne, ww, nn = finals
    activity = 2 * (w + n) + nw + ne + ww + nn + disagreement * 3 // 8
    if len(before) == 1:
        activity = activity + 3 * before[0]
    elif before:
        activity = activity + 2 * before[-1] + before[-2]
    levels: np.ndarray = _level_table()[np.minimum(activity, len(_level_table()) - 1)]
    return levels


@cache
def _level_table() -> np.ndarray:
    """Level of an activity: three for each octave of activity + 4."""
    thresholds = [next(a for a in range(1 << 13) if (a + 4) ** 3 >= 64 << j) for j in range(1, 31)]
    return np.searchsorted(np.array(thresholds), np.arange(thresholds[-1] + 1), side="right").astype(np.uint8)


_LEVELS = 31


# ---- tables ------------------------------------------------------------------------------------------------------

_EXPONENTS = (1, 2, 3, 5, 12)
_SCALES = 51
_EXPLICIT = len(_EXPONENTS)
_KINDS = np.array([12, 1, 1, 1, 1, 1]) * (_TOTAL // 32)  # change of kind from one level to the next, modulo 6
_KINDS[0] += _TOTAL - _KINDS.sum()
_STEP_TABLE = 1 * _SCALES + 17  # the family member that codes steps between scales and between explicit frequencies


@cache
def _family() -> np.ndarray:
    """Ready-made frequencies, int64 (shapes * scales, 256), each row of total 2**18 and without zeros.

    Residual x has weight (1 + x**2 / (m s))**-m: from the tails of Cauchy (m = 1) to nearly Gauss (m = 12), with
    s = 2**((scale - 16) / 2).
    """
    square = np.arange(-128, 128, dtype=np.int64) ** 2 << 12
    rows = []
    for exponent in _EXPONENTS:
        for scale in range(_SCALES):
            spread = exponent * isqrt(1 << (scale - 16 + 24))
            ratio = (spread << 30) // (spread + square)
            weight = ratio
            for _ in range(exponent - 1):
                weight = weight * ratio >> 30
            rows.append(_normalise(weight))
    return np.stack(rows)


def _normalise(weights: np.ndarray, *, present: np.ndarray | None = None) -> np.ndarray:
    """Frequencies of total 2**18 in proportion to ``weights``, at least 1 where ``present`` (everywhere)."""
    freq = weights * (_TOTAL - _SYMBOLS) // weights.sum()
    freq = np.maximum(freq, 1) if present is None else np.where(present, np.maximum(freq, 1), 0)
    freq[np.argmax(weights)] += _TOTAL - freq.sum()
    return freq


@cache
def _powers() -> np.ndarray:
    """Weight of an explicit frequency by its code: nothing, then quarter octaves."""
    return np.array([0] + [isqrt(isqrt(1 << (q + 32))) for q in range(1, _CODES)], np.int64)


_CODES = 64


def _explicit(codes: np.ndarray) -> np.ndarray:
    weights = _powers()[codes]
    return _normalise(weights, present=codes > 0)


def _log2(values: np.ndarray) -> np.ndarray:
    """Base 2 logarithms of positive integers below 2**53, in units of 1/256, int64. The same on every machine."""
    mantissa, exponent = np.frexp(values.astype(np.float64))  # exact
    fraction: np.ndarray = _log2_table()[(mantissa * 512).astype(np.int64) - 256]
    return fraction + (exponent.astype(np.int64) - 1) * 256


@cache
def _log2_table() -> np.ndarray:
    return np.array([((256 + i) ** 256).bit_length() - 1 - 2048 for i in range(256)], np.int64)


def _costs(freq: np.ndarray) -> np.ndarray:
    """Code lengths in 1/256 bit of frequencies of total 2**18; 0 where the frequency is."""
    return np.where(freq > 0, _BITS * 256 - _log2(np.maximum(freq, 1)), 0)


@cache
def _family_costs() -> np.ndarray:
    return _costs(_family())


class _Tables(NamedTuple):
    """Tables of all bands and levels: ``choices`` (bands, 31) rows of ``freq`` (tables, 256) and ``start`` alike."""

    choices: np.ndarray
    freq: np.ndarray
    start: np.ndarray

    @staticmethod
    def of(choices: np.ndarray, explicit: list[np.ndarray]) -> _Tables:
        """Keep the rows that ``choices`` uses of the family and, behind it, the explicit tables."""
        used, inverse = np.unique(choices, return_inverse=True)
        family = _family()
        freq = np.concatenate([family[used[used < len(family)]], *(table[None] for table in explicit)])
        return _Tables(inverse.reshape(choices.shape), freq, np.cumsum(freq, axis=1) - freq)


class _Step(NamedTuple):
    """How one level's table is described: kind (shape or explicit), then a scale or the codes of frequencies."""

    kind: int
    scale: int
    codes: np.ndarray | None


def _choose(histograms: np.ndarray) -> list[tuple[int, list[_Step]]]:
    """For each band the lowest level used and a table for each level from there to the highest, greedily.

    ``histograms`` int64 (bands, 31, 256) counts the residuals, at index residual + 128.
    """
    kind_costs, step_costs = _costs(_KINDS), _family_costs()[_STEP_TABLE]
    bands = []
    kind = 0
    for levels in histograms:
        used = np.flatnonzero(levels.any(axis=1))
        lowest, highest = int(used[0]), int(used[-1])
        scale = _first_scale(lowest)
        steps = []
        for level in range(lowest, highest + 1):
            count = levels[level]
            # In float64, for the speed of BLAS: sums of integers below 2**53 are exact in any order.
            data = (_family_costs().astype(np.float64) @ count).astype(np.int64).reshape(_EXPLICIT, _SCALES)
            side = kind_costs[(np.arange(_EXPLICIT) - kind) % len(_KINDS)][:, None]
            total = data + side + step_costs[np.arange(_SCALES) - scale - 1 + 128]
            best = int(np.argmin(total))
            step = _Step(best // _SCALES, best % _SCALES, None)
            if count.any():
                codes = _frequency_codes(count)
                present = np.flatnonzero(codes)
                deltas = np.diff(codes[present[0] : present[-1] + 1], prepend=0)
                cost = (
                    int(_costs(_explicit(codes)) @ count)
                    + int(step_costs[deltas + 128].sum())
                    + int(kind_costs[(_EXPLICIT - kind) % len(_KINDS)])
                    + 16 * 256
                )
                if cost < total.flat[best]:
                    step = _Step(_EXPLICIT, scale + 1, codes)
            kind, scale = step.kind, step.scale
            steps.append(step)
        bands.append((lowest, steps))
    return bands


def _first_scale(level: int) -> int:
    """Where a band's scales are expected to start: a level is a third of an octave, a scale a quarter."""
    return level * 4 // 3 + 4


def _frequency_codes(count: np.ndarray) -> np.ndarray:
    """Counts as codes of ``_powers``, the largest as the largest code: int64 (256,)."""
    logs = _log2(np.maximum(count, 1))
    codes = np.maximum(_CODES - 1 - (logs.max() - logs + 32) // 64, 1)
    return np.where(count > 0, codes, 0)


def _put_tables(writer: SymbolWriter, bands: list[tuple[int, list[_Step]]]) -> _Tables:
    """Write the tables as ``_choose`` describes them; ``_get_tables`` reads them and gives the same."""
    lowest = np.array([low for low, _ in bands])
    counts = np.array([len(steps) for _, steps in bands])
    writer.put_uniform(np.stack([lowest, lowest + counts - 1], 1).reshape(-1), _LEVELS)
    steps = [step for _, steps in bands for step in steps]
    kinds = np.diff([step.kind for step in steps], prepend=0) % len(_KINDS)
    writer.put((np.cumsum(_KINDS) - _KINDS)[kinds], _KINDS[kinds], _BITS)
    moves = []
    for low, of_band in bands:
        scale = _first_scale(low)
        for step in of_band:
            if step.codes is None:
                moves.append(step.scale - scale - 1)
            scale = step.scale
    _put_moves(writer, np.array(moves, np.int64))
    for step in steps:
        if step.codes is not None:
            present = np.flatnonzero(step.codes)
            writer.put_uniform(present[[0, -1]], _SYMBOLS)
            _put_moves(writer, np.diff(step.codes[present[0] : present[-1] + 1], prepend=0))
    return _tables(bands)


def _get_tables(reader: SymbolReader, count: int) -> _Tables:
    """Inverse of ``_put_tables`` for ``count`` bands."""
    ranges = reader.get_uniform(2 * count, _LEVELS).reshape(count, 2)
    if (ranges[:, 0] > ranges[:, 1]).any():
        raise FormatError("predictor: an impossible range of levels; the file is damaged")
    total = int((ranges[:, 1] - ranges[:, 0] + 1).sum())
    starts = np.cumsum(_KINDS) - _KINDS

    def find(slots: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        symbols = np.searchsorted(starts, slots.astype(np.int64), side="right") - 1
        return symbols, starts[symbols], _KINDS[symbols]

    kinds = np.cumsum(reader.get(total, _BITS, find)) % len(_KINDS)
    moves = iter(_get_moves(reader, int(np.count_nonzero(kinds != _EXPLICIT))).tolist())
    kind = iter(kinds.tolist())
    bands = []
    for low, high in ranges.tolist():
        scale = _first_scale(low)
        steps = []
        for _ in range(low, high + 1):
            shape = next(kind)
            scale += 1 if shape == _EXPLICIT else next(moves) + 1
            if shape != _EXPLICIT and not 0 <= scale < _SCALES:
                raise FormatError("predictor: an impossible scale; the file is damaged")
            steps.append(_Step(shape, scale, None))
        bands.append((low, steps))
    for _, steps in bands:
        for i, step in enumerate(steps):
            if step.kind == _EXPLICIT:
                steps[i] = step._replace(codes=_get_codes(reader))
    return _tables(bands)


def _get_codes(reader: SymbolReader) -> np.ndarray:
    first, last = reader.get_uniform(2, _SYMBOLS).tolist()
    codes = np.zeros(_SYMBOLS, np.int64)
    if first <= last:
        codes[first : last + 1] = np.cumsum(_get_moves(reader, last - first + 1))
    if not codes.any() or codes.min() < 0 or codes.max() >= _CODES:
        raise FormatError("predictor: impossible frequencies; the file is damaged")
    return codes


def _put_moves(writer: SymbolWriter, moves: np.ndarray) -> None:
    freq = _family()[_STEP_TABLE]
    writer.put((np.cumsum(freq) - freq)[moves + 128], freq[moves + 128], _BITS)


def _get_moves(reader: SymbolReader, count: int) -> np.ndarray:
    freq = _family()[_STEP_TABLE]
    starts = np.cumsum(freq) - freq

    def find(slots: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        symbols = np.searchsorted(starts, slots.astype(np.int64), side="right") - 1
        return symbols - 128, starts[symbols], freq[symbols]

    return reader.get(count, _BITS, find)


def _tables(bands: list[tuple[int, list[_Step]]]) -> _Tables:
    choices = np.empty((len(bands), _LEVELS), np.int64)
    explicit: list[np.ndarray] = []
    for band, (low, steps) in enumerate(bands):
        rows = []
        for step in steps:
            if step.codes is None:
                rows.append(step.kind * _SCALES + step.scale)
            else:
                rows.append(len(_family()) + len(explicit))
                explicit.append(_explicit(step.codes))
        # Levels that the encoder never met: any table will do, damaged data may ask for one.
        choices[band] = [rows[0]] * low + rows + [rows[-1]] * (_LEVELS - low - len(rows))
    return _Tables.of(choices, explicit)


# ---- strips --------------------------------------------------------------------------------------------------------


def encode(planes: np.ndarray) -> bytes | None:
    """The body for uint8 ``planes`` (H, W, B); ``None`` for other types and for thin lines of pixels."""
    if planes.dtype != np.uint8 or not _worthwhile(*planes.shape[:2]):
        return None
    oriented = _orient(planes)
    parts = [_encode_strip(oriented[low:high]) for low, high in _strips(*oriented.shape[:2])]
    return b"".join(write_varint(len(part)) + part for part in parts[:-1]) + parts[-1]


def decode(body: memoryview, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Inverse of ``encode``. Raises ``FormatError`` for damage."""
    if dtype != np.uint8 or not _worthwhile(*shape[:2]):
        raise FormatError("predictor: no image of this type and size is coded so")
    planes = np.empty(shape, np.uint8)
    oriented = _orient(planes)
    strips = _strips(*oriented.shape[:2])
    at = 0
    for i, (low, high) in enumerate(strips):
        size = len(body) - at
        if i < len(strips) - 1:
            size, at = read_varint(body, at)
            if size > len(body) - at:
                raise FormatError("predictor: the data ends too early; the file is damaged or truncated")
        _decode_strip(body[at : at + size], oriented[low:high])
        at += size
    return planes


def _worthwhile(height: int, width: int) -> bool:
    """Whether wavefronts are long enough for decoding to be a matter of seconds."""
    return max(height, width) + 2 * min(height, width) <= 1024 + height * width // 16


def _orient(planes: np.ndarray) -> np.ndarray:
    """A view of ``planes`` that is at least as wide as high: fewer and longer wavefronts."""
    return planes.transpose(1, 0, 2) if planes.shape[0] > planes.shape[1] else planes


def _strips(height: int, width: int) -> list[tuple[int, int]]:
    """Rows of each strip, of nearly equal height."""
    count = -(-height * width // _STRIP)
    edges = [height * i // count for i in range(count + 1)]
    return list(zip(edges, edges[1:], strict=False))


def _order(bands: int) -> list[int]:
    """The order in which bands are coded: green first."""
    return [1, 0, *range(2, bands)] if bands >= 3 else list(range(bands))


def _rows(wavefront: int, height: int, width: int) -> tuple[int, int]:
    """The rows low..high - 1 that wavefront x + 2 y crosses inside the image."""
    return max(0, (wavefront - width + 2) // 2), min(height, wavefront // 2 + 1)


def _encode_strip(planes: np.ndarray) -> bytes:
    height, width, count = planes.shape
    order = _order(count)
    residuals = np.empty((count, height, width), np.uint8)  # residual + 128, modulo 256
    levels = np.empty((count, height, width), np.uint8)
    history = [_RowHistory(width, band) for band in range(count)]
    rows = max(1, _BLOCK // width)
    for low in range(0, height, rows):
        block = planes[max(0, low - 2) : low + rows, :, order].astype(np.int32)
        _predict_rows(block, min(low, 2), history, residuals[:, low : low + rows], levels[:, low : low + rows])
    histograms = np.stack(
        [
            np.bincount((lev.astype(np.int64) * _SYMBOLS + res).reshape(-1), minlength=_LEVELS * _SYMBOLS)
            for lev, res in zip(levels, residuals, strict=True)
        ]
    ).reshape(count, _LEVELS, _SYMBOLS)
    writer = SymbolWriter()
    tables = _put_tables(writer, _choose(histograms))
    for band in range(count):
        levels[band] = tables.choices[band].astype(np.uint8)[levels[band]]
    # Skew the rows so that what is decoded together lies together: [step, band, row], step = x + 2 y + band.
    steps = width + 2 * (height - 1) + count - 1
    skewed = np.zeros((2, steps, count, height), np.uint8)
    inside = np.zeros((steps, count, height), bool)
    for band in range(count):
        for y in range(height):
            span = slice(2 * y + band, 2 * y + band + width)
            skewed[0, span, band, y] = levels[band, y]
            skewed[1, span, band, y] = residuals[band, y]
            inside[span, band, y] = True
    ends = np.cumsum(inside.sum(axis=(1, 2))).tolist()
    table, residual = skewed[0][inside], skewed[1][inside]
    start = tables.start.astype(np.uint32)[table, residual]
    freq = tables.freq.astype(np.uint32)[table, residual]
    for low, high in zip([0, *ends], ends, strict=False):
        writer.put(start[low:high], freq[low:high], _BITS)
    return writer.finish()


class _RowHistory:
    """Errors in the two rows above a block: of each predictor, and final ones."""

    def __init__(self, width: int, band: int) -> None:
        self.misses = np.zeros((_PREDICTORS * (1 + min(band, 2)), 2, width), np.uint16)
        self.finals = np.zeros((2, width), np.int32)


def _predict_rows(
    block: np.ndarray, above: int, history: list[_RowHistory], residuals: np.ndarray, levels: np.ndarray
) -> None:
    """Fill ``residuals`` and ``levels`` (B, rows, W) for the rows of ``block``, int32, behind its first ``above``."""
    height, width, count = block.shape
    rows = height - above
    devs: list[np.ndarray] = []
    finals: list[np.ndarray] = []
    for band in range(count):
        padded = np.zeros((rows + 2, width + 4), np.int32)
        padded[2 - above :, 2:-2] = block[:, :, band]
        # Left of the image lies the sample above the row's first, right of it its last.
        padded[1:, :2] = padded[:-1, 2:3]
        padded[:, -2:] = padded[:, -3:-2]
        pixels = padded[2:, 2:-2].reshape(-1)
        base = _predictors(*(_shifted(padded, at).reshape(-1) for at in _PIXELS))
        predictions = np.concatenate([base, *(base + dev for dev in devs[-2:])])
        misses = np.minimum(np.abs(pixels - predictions), 255).astype(np.uint16).reshape(-1, rows, width)
        padded_misses = np.pad(np.concatenate([history[band].misses, misses], axis=1), ((0, 0), (0, 0), (2, 2)))
        sums = _miss_sums(*(_shifted(padded_misses, at) for at in (*_PIXELS, _NNE, _NWW)))
        blend, disagreement = _blend(predictions, sums.reshape(len(predictions), -1))
        final = np.abs(pixels - blend)
        padded_finals = np.pad(np.concatenate([history[band].finals, final.reshape(rows, width)]), ((0, 0), (2, 2)))
        level = _activity((_shifted(padded_finals, at).reshape(-1) for at in _PIXELS), finals[-2:], disagreement)
        residuals[band] = (pixels - blend + 128 & 255).reshape(rows, width)
        levels[band] = level.reshape(rows, width)
        history[band].misses = padded_misses[:, -2:, 2:-2]
        history[band].finals = padded_finals[-2:, 2:-2]
        devs.append(pixels - base)
        finals.append(final)


def _shifted(padded: np.ndarray, at: tuple[int, int]) -> np.ndarray:
    """The neighbour ``at`` of every sample; ``padded`` (..., 2 + rows, 2 + W + 2)."""
    back, up = at
    across = 2 * up - back
    return padded[..., 2 - up : padded.shape[-2] - up, 2 + across : padded.shape[-1] - 2 + across]


def _decode_strip(data: memoryview, out: np.ndarray) -> None:
    """Fill ``out`` (H, W, B), uint8."""
    height, width, count = out.shape
    reader = SymbolReader(data)
    tables = _get_tables(reader, count)
    freq = tables.freq.reshape(-1)
    keys = (tables.start + (np.arange(len(tables.start)) << _BITS)[:, None]).reshape(-1)
    bands: list[_WaveBand] = []
    for band, plane in enumerate(_order(count)):
        bands.append(_WaveBand(out[:, :, plane], bands[-2:], tables.choices[band]))
    for step in range(width + 2 * (height - 1) + count - 1):
        active = [bands[b] for b in range(count) if 0 <= step - b < width + 2 * (height - 1)]
        table = np.concatenate([wave.predict() for wave in active]) << _BITS

        def find(
            slots: np.ndarray, low: int, high: int, table: np.ndarray = table
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            # Tables lie end to end; absent symbols repeat their successor's key, so the last match is the symbol.
            wanted = table[low:high] + slots.astype(np.int64)
            index = np.searchsorted(keys, wanted, side="right") - 1
            return index & 255, keys[index] - table[low:high], freq[index]

        residuals = reader.get(len(table), _BITS, find)
        at = 0
        for wave in active:
            at = wave.accept(residuals, at)
    reader.close()


class _WaveBand:
    """One band on its way through the wavefronts: ``predict`` the next, then ``accept`` its residuals.

    Recent wavefronts are kept by row, two rows of zeros before the first, in rings of ``_DEPTH``.
    """

    def __init__(self, out: np.ndarray, before: list[_WaveBand], choices: np.ndarray) -> None:
        height, self.width = out.shape
        self.height = height
        self.out = out
        self.before = before
        self.choices = choices
        self.wave = 0
        self.pixels = np.zeros((_DEPTH, height + 3), np.int32)
        self.misses = np.zeros((_DEPTH, _PREDICTORS * (1 + len(before)), height + 3), np.uint16)
        self.finals = np.zeros((_DEPTH, height + 3), np.int32)
        # What bands behind need at the same place: they run one or two steps later.
        self.devs: list[np.ndarray] = [np.zeros(0, np.int32)] * 3

    def _at(self, ring: np.ndarray, at: tuple[int, int]) -> np.ndarray:
        back, up = at
        return ring[(self.wave - back) % _DEPTH, ..., self.low + 2 - up : self.high + 2 - up]

    def predict(self) -> np.ndarray:
        """The table of each sample of the wavefront, int64 (n,)."""
        self.low, self.high = _rows(self.wave, self.height, self.width)
        self.base = _predictors(*(self._at(self.pixels, at) for at in _PIXELS))
        self.predictions = np.concatenate([self.base, *(self.base + band.devs[self.wave % 3] for band in self.before)])
        sums = _miss_sums(*(self._at(self.misses, at) for at in (*_PIXELS, _NNE, _NWW)))
        self.blend, disagreement = _blend(self.predictions, sums)
        finals = [band.finals[self.wave % _DEPTH, self.low + 2 : self.high + 2] for band in self.before]
        level = _activity((self._at(self.finals, at) for at in _PIXELS), finals, disagreement)
        tables: np.ndarray = self.choices[level]
        return tables

    def accept(self, residuals: np.ndarray, at: int) -> int:
        """Take the wavefront's residuals (+ 128) from ``at`` on; returns where they end."""
        low, high, wave = self.low, self.high, self.wave
        pixels = (self.blend + residuals[at : at + high - low].astype(np.int32) - 128) & 255
        rows = np.arange(low, high)
        self.out[rows, wave - 2 * rows] = pixels
        ring = wave % _DEPTH
        line = self.pixels[ring]
        line[low + 2 : high + 2] = pixels
        # Left of the image lies the sample above the row's first, right of it its last: see _predict_rows.
        below = wave // 2 + 1
        if below < self.height:
            line[below + 2] = line[below + 1] if wave % 2 == 0 else self.pixels[ring - 1, below + 2]
        ended = wave - self.width
        if ended >= 0 and ended % 2 == 0 and ended // 2 < self.height:
            line[ended // 2 + 2] = self.pixels[ring - 1, ended // 2 + 2]
        self.misses[ring] = 0
        self.misses[ring, :, low + 2 : high + 2] = np.minimum(np.abs(pixels - self.predictions), 255)
        self.finals[ring] = 0
        self.finals[ring, low + 2 : high + 2] = np.abs(pixels - self.blend)
        self.devs[wave % 3] = pixels - self.base
        self.wave += 1
        return at + high - low
