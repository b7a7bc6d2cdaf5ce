"""What coefficients do not say of the pixels, tile by tile.

Tiles of 8 x 8 pixels from the image's corner on are right, nearly right (by at most `MILD`), or not; of those that are
not right, what pixels differ by from the decoded ones is coded, modulo 256: the middle band first, then what the others
differ by beyond it. Each context has a mixture of two logistics around 0, chosen from a list of `SHAPES`.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..coders.logistic import TOTAL_BITS, LogisticMixture, costs, mixture_weights
from ..coders.symbols import SymbolSink, SymbolSource
from ..coders.table import FrequencyTables
from ..errors import FormatError

Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

TILE = 8
MILD = 2
_CLASSES = 3  # right, nearly right, not right
_SHARE_BITS = 16
_NARROW = -80
SHAPES = [(logit, scale) for logit in (-96, -64, -40, -16, 8, 32, 256) for scale in range(-32, 113, 16)]
"""1/16 bits that the wide logistic's weight lies below the narrow one's, 1/16 octaves of its scale."""
CONTEXTS = 2 * 2 * 3 * 2
"""Nearly right or not; at the image's last row or column or not; band; whether the middle band is right."""


class Header(NamedTuple):
    """``shares``, int (2, 3): of each class of tile, out of 2**16, for inner tiles and those at the
    image's edges. ``shapes``, int (CONTEXTS,): indices into `SHAPES`."""

    shares: Ints
    shapes: Ints

    def pack(self) -> bytes:
        """As bytes: two u16 for each of the two kinds of tile, and u8 shapes."""
        return self.shares[:, 1:].astype("<u2").tobytes() + self.shapes.astype(np.uint8).tobytes()

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Header:
        """From ``SIZE`` bytes. Raises ``FormatError`` for what `pack` cannot have made."""
        shares = np.empty((2, _CLASSES), np.int64)
        shares[:, 1:] = np.frombuffer(data[:8], "<u2").reshape(2, 2)
        shares[:, 0] = (1 << _SHARE_BITS) - shares[:, 1:].sum(axis=1)
        shapes = np.frombuffer(data[8:SIZE], np.uint8).astype(np.int64)
        if (shares < 1).any() or (shapes >= len(SHAPES)).any():
            raise FormatError("impossible numbers of exceptions: the file is damaged")
        return cls(shares, shapes)


SIZE = 8 + CONTEXTS
"""Bytes of a packed `Header`."""


@cache
def _mixture(shape: int) -> tuple[list[int], int]:
    logit, scale = SHAPES[shape]
    weights = mixture_weights(np.array([[0], [-logit]] if logit >= 0 else [[logit], [0]]))
    return weights[:, 0].tolist(), scale


def _distributions(shapes: Ints) -> LogisticMixture:
    """Of differences plus 128, by shape int (n,)."""
    weights = np.array([_mixture(shape)[0] for shape in range(len(SHAPES))], np.int64)[shapes].T
    scales = np.array([[_NARROW, scale] for _, scale in SHAPES], np.int64)[shapes].T
    return LogisticMixture(weights, np.full(weights.shape, 128 << 6, np.int64), scales, 256)


@cache
def _lengths() -> Ints:
    """Cost of each difference -128..127 in each shape, int64 (shapes, 256), in 1/65536 bit."""
    rows = []
    for shape in range(len(SHAPES)):
        mixture = _distributions(np.full(256, shape))
        rows.append(mixture.costs(np.arange(256)))
    return np.stack(rows)


class _Places:
    """Pixels of tiles that are not right, in row-major order, and their contexts."""

    def __init__(self, classes: Ints, shape: tuple[int, int, int]) -> None:
        height, width, self.bands = shape
        by_pixel = classes.astype(np.int8).repeat(TILE, axis=0).repeat(TILE, axis=1)[:height, :width]
        self.where = np.nonzero(by_pixel)
        rows, columns = self.where
        last = (rows == height - 1) | (columns == width - 1)
        self._base = ((by_pixel[self.where].astype(np.int64) - 1) * 2 + last) * 6

    def context(self, band: int, is_right: npt.NDArray[np.bool_] | None) -> Ints:
        """Of the band coded first, second or third."""
        context: Ints = self._base + 2 * band + (0 if is_right is None else is_right)
        return context


def _order(bands: int) -> list[int]:
    return [0] if bands == 1 else [1, 0, 2]


def _wrap(values: Ints) -> Ints:
    return ((values + 128) & 255) - 128


def border(shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Which tiles lie at the image's edges, bool (rows, columns): blocks may be cut there."""
    out = np.ones((-(-shape[0] // TILE), -(-shape[1] // TILE)), bool)
    out[1:-1, 1:-1] = False
    return out


class Exceptions:
    """What ``pixels`` (H, W, B) differ by from ``decoded``; false where nothing differs."""

    def __init__(self, pixels: Pixels, decoded: Pixels) -> None:
        self._shape = pixels.shape
        difference = pixels - decoded  # modulo 256
        kinds = border(pixels.shape)
        padded = np.zeros((TILE * kinds.shape[0], TILE * kinds.shape[1]), np.uint8)
        padded[: pixels.shape[0], : pixels.shape[1]] = np.minimum(difference, -difference).max(axis=2)
        worst = padded.reshape(kinds.shape[0], TILE, kinds.shape[1], TILE).max(axis=(1, 3))
        self._classes = (worst > 0).astype(np.int64) + (worst > MILD)
        places = _Places(self._classes, pixels.shape)
        values = difference[places.where].view(np.int8).astype(np.int64).T
        self._values, self._contexts = [], []
        right = None
        for number, band in enumerate(_order(pixels.shape[2])):
            value = values[band] if right is None else _wrap(values[band] - values[1])
            self._values.append(value)
            self._contexts.append(places.context(number, right))
            if number == 0:
                right = value == 0

    def __bool__(self) -> bool:
        return bool(self._classes.any())

    def header(self) -> Header:
        """The numbers that make these exceptions smallest."""
        kinds = border(self._shape)
        shares = np.empty((2, _CLASSES), np.int64)
        for kind, chosen in enumerate((~kinds, kinds)):
            counts = np.bincount(self._classes[chosen], minlength=_CLASSES)
            shares[kind] = np.maximum(((counts << _SHARE_BITS) - counts) // max(int(counts.sum()), 1), 1)
            shares[kind, 0] += (1 << _SHARE_BITS) - shares[kind].sum()
            if shares[kind, 0] < 1:  # all tiles of a kind are wrong
                shares[kind, shares[kind].argmax()] -= 1 - shares[kind, 0]
                shares[kind, 0] = 1
        shapes = np.zeros(CONTEXTS, np.int64)
        contexts, values = np.concatenate(self._contexts), np.concatenate(self._values)
        histograms = np.bincount(contexts * 256 + values + 128, minlength=CONTEXTS * 256).reshape(CONTEXTS, 256)
        shapes = (histograms @ _lengths().T).argmin(axis=1)
        return Header(shares, shapes)

    def put(self, sink: SymbolSink, header: Header) -> None:
        """Code them."""
        kinds = border(self._shape).astype(np.int64).reshape(-1)
        classes = self._classes.reshape(-1)
        FrequencyTables(header.shares, _SHARE_BITS).put(sink, kinds, classes)
        for values, contexts in zip(self._values, self._contexts, strict=True):
            _distributions(header.shapes[contexts]).put(sink, values + 128)

    def bits(self, header: Header) -> int:
        """Their cost, in bits."""
        sink = SymbolSink()
        self.put(sink, header)
        total = 0
        for _, freq, bits, _ in sink.groups:  # a digit is a symbol of probability 1 / radix
            part = costs(np.asarray(freq) << (TOTAL_BITS - bits) if bits else (1 << TOTAL_BITS) // np.asarray(freq))
            total += int(part.sum())
        return total >> 16


def get(source: SymbolSource, header: Header, decoded: Pixels) -> Pixels:
    """The pixels, of decoded ones."""
    where = border(decoded.shape)
    kinds = where.astype(np.int64).reshape(-1)
    classes = FrequencyTables(header.shares, _SHARE_BITS).get(source, kinds).reshape(where.shape)
    places = _Places(classes, decoded.shape)
    out = decoded.copy()
    right: npt.NDArray[np.bool_] | None = None
    first = np.zeros(len(places.where[0]), np.int64)
    for number, band in enumerate(_order(decoded.shape[2])):
        values = _distributions(header.shapes[places.context(number, right)]).get(source) - 128
        if number == 0:
            first, right = values, values == 0
        else:
            values = values + first
        at = (*places.where, np.full(len(values), band))
        out[at] = (out[at] + values) & 255
    return out
