// Symbols of a mixture whose least log-scale is large: bits are split off their values. See coders/logistic.py.
#pragma once

#include "macros.hpp"
#include "mixtures.hpp"

namespace neuralcodec {
namespace {

// How many bits are split off.
NEURALCODEC_INLINE int shift_of(int64_t least) {
    const int scale = int(least < logistic::least_scale     ? logistic::least_scale
                          : least > logistic::largest_scale ? logistic::largest_scale
                                                            : least);
    const int shift = (scale >> logistic::scale_bits) - 3;
    return shift < 0 ? 0 : shift;
}

// How many symbols there are.
NEURALCODEC_INLINE int32_t count_of(int32_t last, bool clipped, int shift) {
    return clipped ? ((last - 2) >> shift) + 3 : (last >> shift) + 1;
}

// The smallest value of a symbol.
NEURALCODEC_INLINE int32_t first_of(int32_t symbol, int32_t last, bool clipped, int shift) {
    if (!clipped) return symbol * (1 << shift);
    const int32_t value = (symbol - 1) * (1 << shift) + 1;
    return value < 0 ? 0 : value > last ? last : value;
}

}  // namespace
}  // namespace neuralcodec
