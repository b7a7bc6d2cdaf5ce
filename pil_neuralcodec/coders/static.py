"""Lists of small symbols whose frequencies are sent before them, in half octaves: side information of any kind.

Numbers are symbols that say how many bits they have, and digits for the bits below the leading one.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from ..errors import FormatError
from .symbols import SymbolSink, SymbolSource
from .table import FrequencyTable

_BITS = 16
_WEIGHTS = 32
_DIGIT = 16
"""Bits of a digit."""


def put_symbols(sink: SymbolSink, symbols: np.ndarray, alphabet: int) -> None:
    """Put int64 (n,) of 0 .. alphabet - 1, for ``get_symbols``. Nothing is put of an empty list."""
    if not len(symbols):
        return
    weights = _weights(np.bincount(symbols, minlength=alphabet))
    sink.put_uniform((weights > 0).astype(np.int64), 2)
    sink.put_uniform(weights[weights > 0] - 1, _WEIGHTS)
    _table(weights).put(sink, symbols)


def get_symbols(source: SymbolSource, count: int, alphabet: int) -> np.ndarray:
    """Get what ``put_symbols`` put: int64 (count,). Raises ``FormatError``."""
    if not count:
        return np.zeros(0, np.int64)
    weights = source.get_uniform(alphabet, 2)
    weights[weights > 0] += source.get_uniform(int(weights.sum()), _WEIGHTS)
    if not weights.any():
        raise FormatError("a list of symbols has none: the file is damaged")
    return _table(weights).get(source, count)


def put_numbers(sink: SymbolSink, numbers: np.ndarray, classes: int) -> None:
    """Put int64 (n,) of 0 .. 2**classes - 2, classes <= 32, for ``get_numbers``."""
    octaves = np.frexp(numbers + 1)[1].astype(np.int64) - 1
    put_symbols(sink, octaves, classes)
    rest = numbers + 1 - (np.int64(1) << octaves)
    for low in range(0, classes - 1, _DIGIT):
        sink.put_uniform(rest >> low & _radix(octaves, low) - 1, _radix(octaves, low))


def get_numbers(source: SymbolSource, count: int, classes: int) -> np.ndarray:
    """Get what ``put_numbers`` put: int64 (count,). Raises ``FormatError``."""
    octaves = get_symbols(source, count, classes)
    numbers = (np.int64(1) << octaves) - 1
    for low in range(0, classes - 1, _DIGIT):
        numbers += source.get_uniform(count, _radix(octaves, low)) << low
    return numbers


def _radix(octaves: np.ndarray, low: int) -> np.ndarray:
    """Of the digit of numbers' bits from ``low`` on, int64 (n,)."""
    radix: np.ndarray = np.int64(1) << np.clip(octaves - low, 0, _DIGIT)
    return radix


def _weights(counts: np.ndarray) -> np.ndarray:
    """For each symbol 0 where it does not occur, else 1 + the half octaves of its count, rounded down: int64."""
    # The count's square lies between two powers of two.
    return np.array([min(int(count) ** 2, 1 << _WEIGHTS - 1).bit_length() for count in counts], np.int64)


def _table(weights: np.ndarray) -> FrequencyTable:
    """Frequencies in proportion to what weights stand for, of total 2**_BITS."""
    shares = [isqrt(1 << (int(weight) + 8)) if weight else 0 for weight in weights]
    whole = sum(shares)
    freq = np.array([max(1, (share << _BITS) // whole) if share else 0 for share in shares], np.int64)
    freq[int(freq.argmax())] += (1 << _BITS) - int(freq.sum())
    return FrequencyTable(freq, _BITS)
