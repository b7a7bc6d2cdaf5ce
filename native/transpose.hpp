// Squares of numbers of 32 bits, rows and columns exchanged. For sets with AVX2.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>

#include "macros.hpp"

namespace neuralcodec {
namespace {

// 8 x 8 numbers, a row in each register.
NEURALCODEC_INLINE void transpose(__m256 (&r)[8]) {
    __m256 s[8];
    for (int j = 0; j < 8; j += 2) {
        s[j] = _mm256_unpacklo_ps(r[j], r[j + 1]);
        s[j + 1] = _mm256_unpackhi_ps(r[j], r[j + 1]);
    }
    for (int j = 0; j < 8; j += 4) {
        r[j] = _mm256_shuffle_ps(s[j], s[j + 2], 0x44);
        r[j + 1] = _mm256_shuffle_ps(s[j], s[j + 2], 0xee);
        r[j + 2] = _mm256_shuffle_ps(s[j + 1], s[j + 3], 0x44);
        r[j + 3] = _mm256_shuffle_ps(s[j + 1], s[j + 3], 0xee);
    }
    for (int j = 0; j < 4; j++) {
        s[j] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x20);
        s[j + 4] = _mm256_permute2f128_ps(r[j], r[j + 4], 0x31);
    }
    for (int j = 0; j < 8; j++) r[j] = s[j];
}

}  // namespace
}  // namespace neuralcodec
#endif
