"""Exact integer layers as data, and the bounds that make them exact in any order of summation.

Semantics (version 1). Activations are integers ``q`` in 0..127; pixel inputs are integers in -128..127. A layer is a
stride-1 convolution, zero padded to the same size:

    acc[c] = sum(weight[c] * input) + bias[c]                 int32, |acc| < 2**23 whatever the input
    y[c]   = round_half_even(acc[c] * 2**-shift[c] + skip[c])
    out[c] = clamp(y[c], 0, 127)                              a hidden layer
    out[c] = y[c]                                             a head (no skip)

Every product and partial sum is an integer below 2**23, so int32, float32 and float64 kernels agree to the last bit
(Balle et al. 2019, "Integer networks for data compression with latent-variable models").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ACT_FRAC = 4
"""Fractional bits of an activation: ``q`` stands for the real number ``q / 16``."""
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
    """Largest ``|acc|`` over all inputs, per output channel; ``weight`` (O, I, k, k) and ``bias`` (O,) integers."""
    # The u8 kernel sees pixels as 0..255 and subtracts the zero point afterwards: bound that sum too.
    reach = 2 * PIXEL_MAX if pixel_input else ACT_MAX
    worst: np.ndarray = np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3)) * reach + np.abs(bias.astype(np.int64))
    return worst


def fit_exponents(weight: np.ndarray, bias: np.ndarray, out_frac: np.ndarray, *, pixel_input: bool) -> np.ndarray:
    """Per output channel, the largest power of two that scales real weights to integers within all bounds.

    ``weight`` (O, I, k, k) and ``bias`` (O,) are real; ``out_frac`` (O,) are the fractional bits of the output, which
    bound the exponent from below so that shifts are not negative. Returns int64 (O,).
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


@dataclass(frozen=True)
class ConvSpec:
    """One exact layer. ``weight`` int8 (O, I, k, k), ``bias`` int32 (O,), ``shift`` int32 (O,), 0 <= shift <= 16.

    Raises ``ValueError`` when a bound of the semantics does not hold.
    """

    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray
    pixel_input: bool = False
    head: bool = False

    def __post_init__(self) -> None:
        out = len(self.bias)
        if self.weight.ndim != 4 or self.weight.shape[0] != out or self.shift.shape != (out,):
            raise ValueError("layer shapes do not agree")
        if self.weight.dtype != np.int8 or self.bias.dtype != np.int32 or self.shift.dtype != np.int32:
            raise ValueError("layer dtypes must be int8, int32, int32")
        if self.weight.shape[2] != self.weight.shape[3] or self.weight.shape[2] % 2 == 0:
            raise ValueError("kernels are square and odd")
        limit = PIXEL_WEIGHT_MAX if self.pixel_input else WEIGHT_MAX
        if np.abs(self.weight.astype(np.int64)).max(initial=0) > limit:
            raise ValueError(f"a weight exceeds {limit}")
        if self.shift.min() < 0 or self.shift.max() > SHIFT_MAX:
            raise ValueError(f"a shift is out of 0..{SHIFT_MAX}")
        if worst_case(self.weight, self.bias, pixel_input=self.pixel_input).max() >= ACC_BOUND:
            raise ValueError("an accumulator could reach 2**23, where float32 sums stop being exact")

    @property
    def macs(self) -> int:
        """Multiply-adds per position."""
        return int(self.weight.size)
