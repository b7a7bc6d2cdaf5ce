// The vector operations that convolutions with AVX2 and with AVX-VNNI have in common: 8 sums of 32 bits.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "convolution_tiles.hpp"

namespace neuralcodec {
namespace {

struct Vectors256 {
    static constexpr int lanes = 8;
    using Sums = __m256i;
    using Weights = __m256i;
    using Inputs = __m256i;

    static NEURALCODEC_INLINE __m256i load(const void* p) {
        return _mm256_loadu_si256(static_cast<const __m256i*>(p));
    }
    static NEURALCODEC_INLINE Sums load_sums(const int32_t* p) { return load(p); }
    static NEURALCODEC_INLINE Weights load_weights(const int8_t* p) { return load(p); }
    static NEURALCODEC_INLINE Inputs repeat(const uint8_t* p) {
        int32_t four;
        std::memcpy(&four, p, 4);
        return _mm256_set1_epi32(four);
    }

    struct Rounding {
        __m256i shift, odd, rest;
        NEURALCODEC_INLINE explicit Rounding(const int32_t* p) {
            const __m256i one = _mm256_set1_epi32(1);
            shift = load(p);
            odd = _mm256_min_epi32(shift, one);
            rest = _mm256_sub_epi32(_mm256_sllv_epi32(one, shift), one);
        }
    };
    static NEURALCODEC_INLINE Sums load_skip(const uint8_t* p) {
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    }
    static NEURALCODEC_INLINE Sums add(Sums one, Sums two) { return _mm256_add_epi32(one, two); }
    static NEURALCODEC_INLINE Sums shifted(Sums sums, const Rounding& r) { return _mm256_srav_epi32(sums, r.shift); }
    static NEURALCODEC_INLINE Sums to_even(Sums values, Sums sums, const Rounding& r) {
        const __m256i is_tie = _mm256_cmpeq_epi32(_mm256_and_si256(sums, r.rest), _mm256_setzero_si256());
        return _mm256_andnot_si256(_mm256_and_si256(is_tie, r.odd), values);
    }
    static NEURALCODEC_INLINE void store_activations(uint8_t* p, Sums values) {
        // To signed bytes, which saturate to 127, after 16 bits, which saturate too.
        const __m256i positive = _mm256_max_epi32(values, _mm256_setzero_si256());
        const __m128i half = _mm_packs_epi32(_mm256_castsi256_si128(positive), _mm256_extracti128_si256(positive, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(half, half));
    }
    static NEURALCODEC_INLINE void store_sums(int32_t* p, Sums values) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), values);
    }
};

}  // namespace
}  // namespace neuralcodec
