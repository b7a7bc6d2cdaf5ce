"""The table of the samples that occur in a tile of 16 bits: a sorted set of integers from 0 to its largest, as bytes.

Coded are the gaps between neighbours, as tokens: a gap, or a run of gaps copied from before it (Ziv, Lempel 1977),
which a stretched contrast is full of. Tokens, and how many bits large numbers have, are rANS symbols whose frequencies
are sent in half octaves; the bits below a leading one follow as they are.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from ..coders.stream import SymbolReader, SymbolWriter
from ..coders.table import FrequencyTable
from ..errors import FormatError

_COPY = 0
_DIRECT = 16
"""Tokens 1.._DIRECT - 1 are gaps themselves, those from _DIRECT on say how many bits a larger gap has."""
_TOKENS = _DIRECT + 12
_CLASSES = 17
_RUN = 16
"""Shortest run that is copied."""
_WEIGHTS = 32
_BITS = 16


def pack_flags(present: np.ndarray) -> bytes:
    """Code bool (n,), n <= 65536, True at both ends, for ``unpack_flags``."""
    literals, copies = _parse(np.diff(np.flatnonzero(present)).tolist())
    tokens = np.array([_COPY if gap == 0 else _token(gap) for gap in literals], np.int64)
    writer = SymbolWriter()
    writer.put_uniform(np.array([len(tokens)]), 1 << 16)
    _put_symbols(writer, tokens, _TOKENS)
    large = np.array([gap for gap in literals if gap >= _DIRECT], np.int64)
    leading = np.int64(1) << (tokens[tokens >= _DIRECT] - _DIRECT + 4)
    writer.put_uniform(large - leading, leading)
    for numbers in np.array(copies, np.int64).reshape(-1, 2).T:
        _put_numbers(writer, numbers)
    return writer.finish()


def unpack_flags(data: memoryview, count: int) -> np.ndarray:
    """The ``count`` flags that ``pack_flags`` coded. Raises ``FormatError``."""
    reader = SymbolReader(data)
    tokens = _get_symbols(reader, int(reader.get_uniform(1, 1 << 16)[0]), _TOKENS)
    gaps, large = tokens.copy(), tokens >= _DIRECT
    leading = np.int64(1) << (tokens[large] - _DIRECT + 4)
    gaps[large] = leading + reader.get_uniform(len(leading), leading)
    copied = int((tokens == _COPY).sum())
    lengths, distances = (iter(_get_numbers(reader, copied).tolist()) for _ in range(2))
    reader.close()
    out: list[int] = []
    for gap in gaps.tolist():
        if gap:
            out.append(gap)
            continue
        length, distance = next(lengths) + _RUN, next(distances) + 1
        if distance > len(out) or len(out) + length >= count:
            raise FormatError("a tile's table of samples is damaged")
        pattern = out[-distance:]
        out += (pattern * -(-length // distance))[:length]
    if sum(out) != count - 1:
        raise FormatError("a tile's table of samples is damaged")
    present = np.zeros(count, bool)
    present[np.cumsum([0, *out])] = True
    return present


def _parse(gaps: list[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Gaps, 0 in place of each run that is copied, and the runs: lengths less ``_RUN``, distances less 1."""
    seen: dict[tuple[int, ...], int] = {}
    literals: list[int] = []
    copies: list[tuple[int, int]] = []
    at, count = 0, len(gaps)
    while at < count:
        key = tuple(gaps[at : at + _RUN])
        before = seen.get(key) if len(key) == _RUN else None
        seen[key] = at
        if before is None:
            literals.append(gaps[at])
            at += 1
            continue
        end = at + _RUN
        while end < count and gaps[end] == gaps[before + end - at]:
            end += 1
        literals.append(0)
        copies.append((end - at - _RUN, at - before - 1))
        at = end
    return literals, copies


def _token(gap: int) -> int:
    return gap if gap < _DIRECT else _DIRECT + gap.bit_length() - 5


def _put_numbers(writer: SymbolWriter, numbers: np.ndarray) -> None:
    """Put int64 (n,) of 0..65535 for ``_get_numbers``."""
    classes = np.array([(int(number) + 1).bit_length() - 1 for number in numbers], np.int64)
    _put_symbols(writer, classes, _CLASSES)
    leading = np.int64(1) << classes
    writer.put_uniform(numbers + 1 - leading, leading)


def _get_numbers(reader: SymbolReader, count: int) -> np.ndarray:
    leading = np.int64(1) << _get_symbols(reader, count, _CLASSES)
    numbers: np.ndarray = leading + reader.get_uniform(count, leading) - 1
    return numbers


def _put_symbols(writer: SymbolWriter, symbols: np.ndarray, alphabet: int) -> None:
    if not len(symbols):
        return
    weights = _weights(np.bincount(symbols, minlength=alphabet))
    writer.put_uniform((weights > 0).astype(np.int64), 2)
    writer.put_uniform(weights[weights > 0] - 1, _WEIGHTS)
    _table(weights).put(writer, symbols)


def _get_symbols(reader: SymbolReader, count: int, alphabet: int) -> np.ndarray:
    if not count:
        return np.zeros(0, np.int64)
    weights = reader.get_uniform(alphabet, 2)
    weights[weights > 0] += reader.get_uniform(int(weights.sum()), _WEIGHTS)
    if not weights.any():
        raise FormatError("a tile's table of samples is damaged")
    return _table(weights).get(reader, count)


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
