"""A predictor coder without a network, for 8-bit pixels: what networks model badly, bands they do not cover, seeds.

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
alone and preceded by its length (varint) except the last; a strip is one symbol stream: the tables, then residuals. It
tells the CRC-32 of the strip's samples.
"""

from __future__ import annotations

import numpy as np

from ..coders.stream import SymbolReader, SymbolWriter
from ..coders.symbols import groups
from ..coders.table import FrequencyTables
from ..errors import FormatError
from ..varint import read_varint, write_varint
from .base import check, checksum
from .predictor_blend import (
    LEVELS,
    NNE,
    NWW,
    PIXELS,
    PREDICTORS,
    activity_level,
    blended,
    miss_sums,
    predictors,
)
from .predictor_compiled import compiled
from .predictor_tables import BITS, SYMBOLS, choose, get_tables, put_tables

_STRIP = 1 << 22  # pixels
_BLOCK = 1 << 13  # pixels that the encoder predicts at a time
_DEPTH = 5  # wavefronts in reach: the neighbour two rows up is four back


def encode(pixels: np.ndarray) -> bytes | None:
    """The body for uint8 ``pixels`` (H, W, B); ``None`` for other types and for thin lines of pixels."""
    if pixels.dtype != np.uint8 or not _worthwhile(*pixels.shape[:2]):
        return None
    oriented = _orient(pixels)
    parts = [_encode_strip(oriented[low:high]) for low, high in _strips(*oriented.shape[:2])]
    return b"".join(write_varint(len(part)) + part for part in parts[:-1]) + parts[-1]


def decode(body: memoryview, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Inverse of ``encode``. Raises ``FormatError`` for damage."""
    if dtype != np.uint8 or not _worthwhile(*shape[:2]):
        raise FormatError("predictor: no image of this type and size is coded so")
    pixels = np.empty(shape, np.uint8)
    oriented = _orient(pixels)
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
    return pixels


def _worthwhile(height: int, width: int) -> bool:
    """Whether wavefronts are long enough for decoding to be a matter of seconds."""
    return max(height, width) + 2 * min(height, width) <= 1024 + height * width // 16


def _orient(pixels: np.ndarray) -> np.ndarray:
    """A view of ``pixels`` that is at least as wide as high: fewer and longer wavefronts."""
    return pixels.transpose(1, 0, 2) if pixels.shape[0] > pixels.shape[1] else pixels


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


def _encode_strip(pixels: np.ndarray) -> bytes:
    core, order = compiled(), _order(pixels.shape[2])
    residuals, levels, counts = core.residuals(pixels, order) if core else _residuals(pixels, order)
    writer = SymbolWriter()
    choices, tables = put_tables(writer, choose(counts))
    if core:
        start, freq, ends = core.symbols(choices, tables, residuals, levels)
    else:
        start, freq, ends = _symbols(choices, tables, residuals, levels)
    writer.put_group(groups(start, freq, BITS, ends))
    return writer.finish(checksum(pixels))


def _residuals(pixels: np.ndarray, order: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals + 128 modulo 256 and levels, uint8 (B, H, W), and how often each occurs, int64 (B, 31, 256)."""
    height, width, count = pixels.shape
    residuals = np.empty((count, height, width), np.uint8)
    levels = np.empty((count, height, width), np.uint8)
    history = [_RowHistory(width, band) for band in range(count)]
    rows = max(1, _BLOCK // width)
    for low in range(0, height, rows):
        block = pixels[max(0, low - 2) : low + rows, :, order].astype(np.int32)
        _predict_rows(block, min(low, 2), history, residuals[:, low : low + rows], levels[:, low : low + rows])
    cells = levels.astype(np.int64) * SYMBOLS + residuals
    counts = [np.bincount(band.reshape(-1), minlength=LEVELS * SYMBOLS) for band in cells]
    return residuals, levels, np.stack(counts).reshape(count, LEVELS, SYMBOLS)


def _symbols(
    choices: np.ndarray, tables: FrequencyTables, residuals: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and frequencies of all symbols in the order in which they are decoded, and where each step ends."""
    count, height, width = residuals.shape
    # Skew the rows so that what is decoded together lies together: [step, band, row], step = x + 2 y + band.
    steps = width + 2 * (height - 1) + count - 1
    chosen = np.zeros((steps, count, height), np.int64)
    skewed = np.zeros((steps, count, height), np.int64)
    inside = np.zeros((steps, count, height), bool)
    for band in range(count):
        for y in range(height):
            span = slice(2 * y + band, 2 * y + band + width)
            chosen[span, band, y] = choices[band][levels[band, y]]
            skewed[span, band, y] = residuals[band, y]
            inside[span, band, y] = True
    return *tables.intervals(chosen[inside], skewed[inside]), np.cumsum(inside.sum(axis=(1, 2)))


class _RowHistory:
    """Errors in the two rows above a block: of each predictor, and final ones."""

    def __init__(self, width: int, band: int) -> None:
        self.misses = np.zeros((PREDICTORS * (1 + min(band, 2)), 2, width), np.uint16)
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
        base = predictors(*(_shifted(padded, at).reshape(-1) for at in PIXELS))
        predictions = np.concatenate([base, *(base + dev for dev in devs[-2:])])
        misses = np.minimum(np.abs(pixels - predictions), 255).astype(np.uint16).reshape(-1, rows, width)
        padded_misses = np.pad(np.concatenate([history[band].misses, misses], axis=1), ((0, 0), (0, 0), (2, 2)))
        sums = miss_sums(*(_shifted(padded_misses, at) for at in (*PIXELS, NNE, NWW)))
        blend, disagreement = blended(predictions, sums.reshape(len(predictions), -1))
        final = np.abs(pixels - blend)
        padded_finals = np.pad(np.concatenate([history[band].finals, final.reshape(rows, width)]), ((0, 0), (2, 2)))
        level = activity_level((_shifted(padded_finals, at).reshape(-1) for at in PIXELS), finals[-2:], disagreement)
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
    core, order = compiled(), _order(out.shape[2])
    reader = SymbolReader(data)
    choices, tables = get_tables(reader, len(order))
    if core:
        core.decode(reader, choices, tables, out, order)
    else:
        _decode(reader, choices, tables, out, order)
    check(out, reader.told())


def _decode(
    reader: SymbolReader, choices: np.ndarray, tables: FrequencyTables, out: np.ndarray, order: list[int]
) -> None:
    """Fill ``out`` (H, W, B), uint8, from the residuals."""
    height, width, count = out.shape
    bands: list[_WaveBand] = []
    for band, plane in enumerate(order):
        bands.append(_WaveBand(out[:, :, plane], bands[-2:], choices[band]))
    for step in range(width + 2 * (height - 1) + count - 1):
        active = [bands[b] for b in range(count) if 0 <= step - b < width + 2 * (height - 1)]
        residuals = tables.get(reader, np.concatenate([wave.predict() for wave in active]))
        at = 0
        for wave in active:
            at = wave.accept(residuals, at)


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
        self.misses = np.zeros((_DEPTH, PREDICTORS * (1 + len(before)), height + 3), np.uint16)
        self.finals = np.zeros((_DEPTH, height + 3), np.int32)
        # What bands behind need at the same place: they run one or two steps later.
        self.devs: list[np.ndarray] = [np.zeros(0, np.int32)] * 3

    def _at(self, ring: np.ndarray, at: tuple[int, int]) -> np.ndarray:
        back, up = at
        return ring[(self.wave - back) % _DEPTH, ..., self.low + 2 - up : self.high + 2 - up]

    def predict(self) -> np.ndarray:
        """The table of each sample of the wavefront, int64 (n,)."""
        self.low, self.high = _rows(self.wave, self.height, self.width)
        self.base = predictors(*(self._at(self.pixels, at) for at in PIXELS))
        self.predictions = np.concatenate([self.base, *(self.base + band.devs[self.wave % 3] for band in self.before)])
        sums = miss_sums(*(self._at(self.misses, at) for at in (*PIXELS, NNE, NWW)))
        self.blend, disagreement = blended(self.predictions, sums)
        finals = [band.finals[self.wave % _DEPTH, self.low + 2 : self.high + 2] for band in self.before]
        level = activity_level((self._at(self.finals, at) for at in PIXELS), finals, disagreement)
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
