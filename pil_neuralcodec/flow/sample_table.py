"""The table of the samples that occur in a tile of 16 bits: a sorted set of integers from 0 to its largest, as bytes.

Coded are the gaps between neighbours, as tokens: a gap, or a run of gaps copied from before it (Ziv, Lempel 1977),
which a stretched contrast is full of. Tokens, and how many bits large numbers have, are rANS symbols whose frequencies
are sent in half octaves; the bits below a leading one follow as they are.
"""

from __future__ import annotations

import numpy as np

from ..coders.static import get_numbers, get_symbols, put_numbers, put_symbols
from ..coders.stream import SymbolReader, SymbolWriter
from ..errors import FormatError

_COPY = 0
_DIRECT = 16
"""Tokens 1.._DIRECT - 1 are gaps themselves, those from _DIRECT on say how many bits a larger gap has."""
_TOKENS = _DIRECT + 12
_CLASSES = 17
_RUN = 16
"""Shortest run that is copied."""


def pack_flags(present: np.ndarray) -> bytes:
    """Code bool (n,), n <= 65536, True at both ends, for ``unpack_flags``."""
    literals, copies = _parse(np.diff(np.flatnonzero(present)).tolist())
    tokens = np.array([_COPY if gap == 0 else _token(gap) for gap in literals], np.int64)
    writer = SymbolWriter()
    writer.put_uniform(np.array([len(tokens)]), 1 << 16)
    put_symbols(writer, tokens, _TOKENS)
    large = np.array([gap for gap in literals if gap >= _DIRECT], np.int64)
    leading = np.int64(1) << (tokens[tokens >= _DIRECT] - _DIRECT + 4)
    writer.put_uniform(large - leading, leading)
    for numbers in np.array(copies, np.int64).reshape(-1, 2).T:
        put_numbers(writer, numbers, _CLASSES)
    return writer.finish()


def unpack_flags(data: memoryview, count: int) -> np.ndarray:
    """The ``count`` flags that ``pack_flags`` coded. Raises ``FormatError``."""
    reader = SymbolReader(data)
    tokens = get_symbols(reader, int(reader.get_uniform(1, 1 << 16)[0]), _TOKENS)
    gaps, large = tokens.copy(), tokens >= _DIRECT
    leading = np.int64(1) << (tokens[large] - _DIRECT + 4)
    gaps[large] = leading + reader.get_uniform(len(leading), leading)
    copied = int((tokens == _COPY).sum())
    lengths, distances = (iter(get_numbers(reader, copied, _CLASSES).tolist()) for _ in range(2))
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
