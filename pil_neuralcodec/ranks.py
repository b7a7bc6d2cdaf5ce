"""Samples of 8 bits as ranks among those that occur.

Contrast that was stretched, a tone curve or an equalised histogram leave numbers that never occur between those that
do. No distribution of a network knows of them: it gives a share of every prediction to values that cannot be. As ranks,
samples lie without gaps, mostly as they were before.

A table for each band has 33 bytes: the rank of the lowest sample that occurs, and which do, the bit ``v % 8`` of byte
``v // 8`` set for sample v.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .errors import FormatError

Samples = npt.NDArray[np.uint8]
Tables = tuple[bytes, ...]
"""A table for each band."""

_WORTH: Final = 64
"""Samples of which ranks have to save a bit: networks predict natural samples better than ranks of them."""
_COST: Final = 16
"""Bits that each byte of the tables has to save: by chance some samples do not occur in a small image."""
_ALIKE: Final = 8
"""One table for all bands leaves at most one of so many gaps."""
_COUNTED: Final = 1 << 15
"""Pixels that are counted at once: numpy makes indices of them, of 8 bytes each."""


def worthwhile(samples: Samples) -> Tables:
    """Tables of samples (H, W, B) that are coded in fewer bits as ranks; () where they are not.

    A gap would have about as many samples as the rarer of its two neighbours. With m of these, ranks of n samples save
    n log2(1 + m / n) bits, which is at least m where that is not above n.
    """
    counts = histograms(samples)
    found = tables(counts)
    saved = sum(map(_in_gaps, counts))
    return found if saved > max(samples.size // _WORTH, _COST * sum(map(len, found))) else ()


def histograms(samples: Samples) -> npt.NDArray[np.int64]:
    """How often each sample occurs in each band of (H, W, B): (B, 256)."""
    bands = range(samples.shape[2])
    counts = np.zeros((len(bands), 256), np.int64)
    rows = max(1, _COUNTED // samples.shape[1])
    for top in range(0, len(samples), rows):
        part = samples[top : top + rows]
        counts += [np.bincount(part[..., band].reshape(-1), minlength=256) for band in bands]
    return counts


def tables(counts: npt.NDArray[np.int64]) -> Tables:
    """Tables for samples of which each occurs so often, (B, 256).

    Bands that were edited alike have one table, so that differences of colours are those of before the edit: a colour
    conversion may still be seen. Networks know that samples are limited to 0 .. 255. So the highest sample is its own
    rank where it occurs more often than the lowest one, as where brightness was raised too far, else the lowest.
    """
    occur = counts > 0
    together = occur.any(axis=0)
    if _ALIKE * sum(_in_gaps(band[together]) for band in counts) <= sum(map(_in_gaps, counts)):
        occur = np.tile(together, (len(counts), 1))
    lowest, highest = occur.argmax(axis=1), 255 - occur[:, ::-1].argmax(axis=1)
    bands = range(len(counts))
    is_bright = counts[bands, highest].sum() > counts[bands, lowest].sum()
    firsts = highest + 1 - occur.sum(axis=1) if is_bright else lowest
    bits = np.packbits(occur, axis=1, bitorder="little")
    return tuple(bytes([first]) + row.tobytes() for first, row in zip(firsts.tolist(), bits, strict=True))


def darkened(tables: Tables) -> Tables:
    """The same tables, with ranks that are the samples before brightness was raised, which leaves black where it was.

    A line is fitted to samples by rank, all but the outermost, which may be limited; black is where it begins. Editors
    round down or to nearest, so samples lie on it or half below.
    """
    found = []
    for table in tables:
        y = _unpacked(table)[1].tolist()[1:-1]
        n, x = len(y), range(1, len(y) + 1)
        run = n * sum(i * i for i in x) - sum(x) ** 2
        rise = n * sum(i * sample for i, sample in zip(x, y, strict=True)) - sum(x) * sum(y)
        first = 0
        if rise:
            above = 4 * (sum(y) * run - rise * sum(x)) + n * run
            first = (2 * above + 4 * n * rise) // (8 * n * rise)
        found.append(bytes([min(max(first, 0), 256 - n - 2)]) + table[1:])
    return tuple(found)


def _in_gaps(counts: npt.NDArray[np.int64]) -> int:
    """How many samples gaps would have, in a band of which each sample occurs so often."""
    found = np.flatnonzero(counts)
    return int((np.diff(found) - 1) @ np.minimum(counts[found[1:]], counts[found[:-1]]))


def to_ranks(samples: Samples, tables: Tables) -> Samples:
    """Ranks of samples (..., B), all of which occur by their band's table."""
    ranks = np.empty_like(samples)
    for band, table in enumerate(tables):
        first, found = _unpacked(table)
        of = np.zeros(256, np.uint8)
        of[found] = first + np.arange(len(found))
        ranks[..., band] = of[samples[..., band]]
    return ranks


def from_ranks(ranks: Samples, tables: Tables) -> Samples:
    """Samples of ranks (..., B). Raises `FormatError` for ranks that no sample has."""
    samples = np.empty_like(ranks)
    for band, table in enumerate(tables):
        first, found = _unpacked(table)
        places = ranks[..., band] - np.uint8(first)  # those below the first wrap around
        if places.max(initial=0) >= len(found):
            raise FormatError(f"a rank beyond the {len(found)} samples that occur: the file is malformed")
        samples[..., band] = found[places]
    return samples


def _unpacked(table: bytes) -> tuple[int, Samples]:
    """The rank of the lowest sample that occurs, and all of them in order."""
    bits = np.unpackbits(np.frombuffer(table, np.uint8, offset=1), bitorder="little")
    return table[0], np.flatnonzero(bits).astype(np.uint8)
