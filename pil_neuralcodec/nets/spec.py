"""Exact integer layers as data, and the bounds that make them exact in any order of summation.

Activations are integers ``q`` in 0..127, pixel inputs are integers in -128..127. A layer is a convolution of stride 1,
zero padded to the same size:

    acc[c] = sum(weight[c] * input) + bias[c]                 int32, |acc| < 2**23 whatever the input
    y[c]   = round_half_even(acc[c] * 2**-shift[c] + skip[c])
    out[c] = clamp(y[c], 0, 127)                              a hidden layer
    out[c] = y[c]                                             an output layer (no skip)

Every product and partial sum is an integer below 2**23, so int32, float32 and float64 kernels give the same result
(Balle et al. 2019, "Integer networks for data compression with latent-variable models").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACT_FRAC = 4
"""Fractional bits of an activation: ``q`` represents the real number ``q / 16``."""
ACT_MAX = 127
PIXEL_MAX = 128
WEIGHT_MAX = 127
PIXEL_WEIGHT_MAX = 64
"""Kernels without VNNI add pairs of u8 x s8 products in 16 bits: 2 * 255 * 64 still fits."""
ACC_BOUND = 2**23
MAX_EXPONENT = 14
SHIFT_MAX = 16
"""Kernels that add the skip in float32 hold ``acc + (skip << shift)``, which must stay below 2**24."""


def worst_case(weight: np.ndarray, bias: np.ndarray, *, pixel_input: bool) -> np.ndarray:
    """Bound on ``|acc|`` over all inputs, int64 (O,), from integers ``weight`` (O, I, k, k) and ``bias`` (O,)."""
    # The u8 kernel reads pixels as 0..255 and subtracts the zero point afterwards: that sum is bounded too.
    reach = 2 * PIXEL_MAX if pixel_input else ACT_MAX
    worst: np.ndarray = _magnitudes(weight).reshape(len(weight), -1).sum(axis=1, dtype=np.int64) * reach
    return worst + np.abs(bias.astype(np.int64))


def _magnitudes(weight: np.ndarray) -> np.ndarray:
    """Absolute values of integers."""
    if weight.dtype == np.int8:  # -128 stays what it is, and is 128 as unsigned: no wider copy of all weights
        narrow: np.ndarray = np.abs(weight).view(np.uint8)
        return narrow
    return np.abs(weight.astype(np.int64))


def fit_exponents(weight: np.ndarray, bias: np.ndarray, out_frac: np.ndarray, *, pixel_input: bool) -> np.ndarray:
    """Exponents of the largest powers of two that scale real weights to integers within all bounds.

    Parameters
    ----------
    weight, bias
        Real numbers, (O, I, k, k) and (O,).
    out_frac
        Fractional bits of the outputs, integers (O,). They bound the exponents from below: shifts are not negative.

    Returns
    -------
    int64 (O,), one exponent for each output channel.
    """
    limit = PIXEL_WEIGHT_MAX if pixel_input else WEIGHT_MAX
    reach = 2 * PIXEL_MAX if pixel_input else ACT_MAX
    w = np.abs(weight.astype(np.float64))
    peak = np.maximum(w.max(axis=(1, 2, 3)), 1e-9)
    total = w.sum(axis=(1, 2, 3)) * reach + np.abs(bias.astype(np.float64)) * 2**ACT_FRAC
    by_peak = np.floor(np.log2((limit + 0.49) / peak))
    slack = 0.5 * (weight[0].size * reach + 1)  # what rounding to integers can add
    by_total = np.floor(np.log2((ACC_BOUND - 1 - slack) / np.maximum(total, 1e-9)))
    exponents = np.minimum(np.minimum(by_peak, by_total), MAX_EXPONENT)
    fitted: np.ndarray = np.maximum(exponents, np.maximum(out_frac - ACT_FRAC, 0)).astype(np.int64)
    return fitted


@dataclass(frozen=True, eq=False)
class ConvSpec:
    """One exact layer.

    Parameters
    ----------
    weight
        int8 (O, I, k, k), k odd.
    bias, shift
        int32 (O,); shifts are 0..16.
    pixel_input
        Whether the inputs are pixels, -128..127, instead of activations.
    is_output
        Whether it is an output layer, whose results are not clamped.
    positions
        How many of the last inputs are position channels, besides pixels: see ``positions.Positions``.

    Raises
    ------
    ValueError
        If shapes, dtypes or one of the bounds above do not hold.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    pixel_input: bool = False
    is_output: bool = False
    positions: int = 0

    def __post_init__(self) -> None:
        out = len(self.bias)
        if self.weight.ndim != 4 or self.weight.shape[0] != out or self.shift.shape != (out,):
            raise ValueError("layer shapes do not agree")
        if self.weight.dtype != np.int8 or self.bias.dtype != np.int32 or self.shift.dtype != np.int32:
            raise ValueError("layer dtypes must be int8, int32, int32")
        if self.weight.shape[2] != self.weight.shape[3] or self.weight.shape[2] % 2 == 0:
            raise ValueError("kernels are square and odd")
        some = self.weight.shape[1] if self.pixel_input else 1
        if self.positions not in range(0, some, 2):
            raise ValueError("position channels come in pairs, besides pixels")
        limit = PIXEL_WEIGHT_MAX if self.pixel_input else WEIGHT_MAX
        if _magnitudes(self.weight).max(initial=0) > limit:
            raise ValueError(f"a weight exceeds {limit}")
        if self.shift.min() < 0 or self.shift.max() > SHIFT_MAX:
            raise ValueError(f"a shift is out of 0..{SHIFT_MAX}")
        if worst_case(self.weight, self.bias, pixel_input=self.pixel_input).max() >= ACC_BOUND:
            raise ValueError("an accumulator could reach 2**23, where float32 sums stop being exact")
