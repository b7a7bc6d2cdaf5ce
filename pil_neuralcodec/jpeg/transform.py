"""From coefficients to pixels as libjpeg does it by default, in exact integers.

The accurate integer inverse DCT ("islow": Loeffler, Ligtenberg and Moschytz 1989, with 13-bit constants), triangle
("fancy") upsampling and the JFIF colour conversion with 16-bit constants. libjpeg, libjpeg-turbo and its SIMD versions
agree on them for every coefficient that an encoder writes.

Blocks are arrays (8, 8, n): row, column, block, so that each frequency or place is contiguous.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.signedinteger[Any]]

_CONSTANT_BITS = 13
_PASS_BITS = 2  # fractional bits kept between the passes
LEVEL = 128
"""Added to samples after the inverse DCT."""
MAX_COEFFICIENT = 1 << 15
"""Dequantised coefficients are below it in magnitude."""

_COLOUR_BITS = 16
_DIFFERENCE = np.arange(256, dtype=np.int64) - 128
_HALF = 1 << (_COLOUR_BITS - 1)
RED = (91881 * _DIFFERENCE + _HALF) >> _COLOUR_BITS
"""int64 (256,): red less luma, by Cr (1.402)."""
BLUE = (116130 * _DIFFERENCE + _HALF) >> _COLOUR_BITS
"""int64 (256,): blue less luma, by Cb (1.772)."""
_GREEN_CB = -22554 * _DIFFERENCE + _HALF
_GREEN_CR = -46802 * _DIFFERENCE


def _pass(d: list[Any], bits: int) -> list[Any]:
    """One pass of the inverse DCT: eight arrays by frequency to eight by place, less ``bits`` bits."""
    z1 = (d[2] + d[6]) * 4433
    t2, t3 = z1 - d[6] * 15137, z1 + d[2] * 6270
    t0, t1 = (d[0] + d[4]) << _CONSTANT_BITS, (d[0] - d[4]) << _CONSTANT_BITS
    half = 1 << (bits - 1)
    e0, e3, e1, e2 = t0 + t3 + half, t0 - t3 + half, t1 + t2 + half, t1 - t2 + half
    t0, t1, t2, t3 = d[7], d[5], d[3], d[1]
    z1, z2, z3, z4 = t0 + t3, t1 + t2, t0 + t2, t1 + t3
    z5 = (z3 + z4) * 9633
    z1, z2, z3, z4 = z1 * -7373, z2 * -20995, z3 * -16069 + z5, z4 * -3196 + z5
    t0, t1, t2, t3 = t0 * 2446 + z1 + z3, t1 * 16819 + z2 + z4, t2 * 25172 + z2 + z3, t3 * 12299 + z1 + z4
    sums = (e0 + t3, e1 + t2, e2 + t1, e3 + t0, e3 - t0, e2 - t1, e1 - t2, e0 - t3)
    return [part >> bits for part in sums]


def inverse_dct(coefficients: Ints, dtype: npt.DTypeLike = np.int64) -> Ints:
    """Samples before they are limited to 0..255.

    Parameters
    ----------
    coefficients : dequantised, int (8, 8, n) by vertical and horizontal frequency, below `MAX_COEFFICIENT`.
    dtype : of the sums; 32 bits hold those of samples near 0..255, 64 bits all.

    Returns
    -------
    dtype (8, 8, n) by row and column, with 128 added.
    """
    wide = coefficients.astype(dtype)
    columns = np.stack(_pass(list(wide), _CONSTANT_BITS - _PASS_BITS))
    rows = _pass(list(columns.transpose(1, 0, 2)), _CONSTANT_BITS + _PASS_BITS + 3)
    return np.stack(rows, axis=1) + LEVEL


def samples(coefficients: Ints) -> Ints:
    """Samples 0..255 of dequantised coefficients, as of `inverse_dct`."""
    return np.clip(inverse_dct(coefficients), 0, 255)


_WAVES = (8192, 11363, 10703, 9633, 8192, 6436, 4433, 2260)
_ONES = np.array([*_WAVES, 0, *(-wave for wave in _WAVES[:0:-1])], np.int64)
BASIS_BITS = 13


def waves(size: int) -> Ints:
    """Basis of a DCT of 1, 2, 4 or 8 places, int64 (k, n) by frequency and place: 2**13 * sqrt(2) * cos(pi * k * (n +
    1/2) / size), but for frequency 0, where the root is left out."""
    k, n = np.mgrid[:size, :size]
    angle = (2 * n + 1) * k * (8 // size) % 32
    return np.asarray(_ONES[np.minimum(angle, 32 - angle)])


def reduced(coefficients: Ints, rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """Blocks of ``rows`` x ``columns`` samples, each 1, 2, 4 or 8, as means of the 8 x 8 samples without their higher
    frequencies: uint8 (rows, columns, n) of dequantised coefficients (8, 8, n)."""
    lowest = coefficients[:rows, :columns].astype(np.int64)
    sums = np.einsum("ui,vj,uvn->ijn", waves(rows), waves(columns), lowest)
    bits = 2 * BASIS_BITS + 3
    out: npt.NDArray[np.uint8] = np.clip(((sums + (1 << (bits - 1))) >> bits) + LEVEL, 0, 255).astype(np.uint8)
    return out


def to_plane(blocks: npt.NDArray[Any], rows: int, columns: int) -> npt.NDArray[Any]:
    """Blocks (h, w, rows * columns), row by row, as a plane (h * rows, w * columns)."""
    height, width = blocks.shape[:2]
    return blocks.reshape(height, width, rows, columns).transpose(2, 0, 3, 1).reshape(height * rows, width * columns)


def to_blocks(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A plane (8 * rows, 8 * columns) as blocks (8, 8, rows * columns)."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    return np.ascontiguousarray(plane.reshape(rows, 8, columns, 8).transpose(1, 3, 0, 2)).reshape(8, 8, -1)


def upsample(plane: Ints, vertical: int, horizontal: int, *, fancy: bool) -> Ints:
    """A plane enlarged by factors of 1 or 2: int (h, w) to (vertical * h, horizontal * w).

    ``fancy`` is the triangle filter: each sample is 3/4 of the nearest and 1/4 of the next one, on both axes in one
    rounding that leans to the two sides in turn; edges are repeated. Otherwise samples are repeated. libjpeg repeats
    them too where a plane of half the width has at most two columns.
    """
    if not fancy or (horizontal == 2 and plane.shape[1] <= 2):
        return plane.repeat(vertical, axis=0).repeat(horizontal, axis=1)
    sums, bits = triangle_sums(plane, vertical, horizontal)
    return sums >> bits


def triangle_sums(plane: Ints, vertical: int, horizontal: int) -> tuple[Ints, int]:
    """The triangle filter's sums before they are shifted right, and by how many bits, as of `upsample`."""
    bits = 0
    if vertical == 2:
        padded = np.pad(plane, ((1, 1), (0, 0)), mode="edge")
        both = np.empty((2 * plane.shape[0], plane.shape[1]), plane.dtype)
        both[0::2], both[1::2] = 3 * plane + padded[:-2], 3 * plane + padded[2:]
        plane, bits = both, 2
        if horizontal == 1:  # rounds rows in turn
            both[0::2] += 1
            both[1::2] += 2
    if horizontal == 2:
        padded = np.pad(plane, ((0, 0), (1, 1)), mode="edge")
        both = np.empty((plane.shape[0], 2 * plane.shape[1]), plane.dtype)
        low, high = (8, 7) if bits else (1, 2)
        both[:, 0::2] = 3 * plane + padded[:, :-2] + low
        both[:, 1::2] = 3 * plane + padded[:, 2:] + high
        plane, bits = both, bits + 2
    return plane, bits


def to_rgb(luma: Ints, cb: Ints, cr: Ints) -> npt.NDArray[np.uint8]:
    """RGB (..., 3) of samples 0..255, int (...) each, by JFIF's conversion."""
    green = luma + ((_GREEN_CB[cb] + _GREEN_CR[cr]) >> _COLOUR_BITS)
    bands = np.stack([luma + RED[cr], green, luma + BLUE[cb]], axis=-1)
    out: npt.NDArray[np.uint8] = np.clip(bands, 0, 255).astype(np.uint8)
    return out


def green_shift(cb: Ints, cr: Ints) -> npt.NDArray[np.int64]:
    """Green less luma, by Cb and Cr in 0..255."""
    shift: npt.NDArray[np.int64] = (_GREEN_CB[cb] + _GREEN_CR[cr]) >> _COLOUR_BITS
    return shift
