// The vector operations that convolutions with AVX-512 VNNI and with AMX have in common: 16 sums of 32 bits.
#pragma once

#include <immintrin.h>

#include "convolution_tiles.hpp"

namespace neuralcodec {
namespace {

struct Vectors512 {
    static constexpr int lanes = 16;
    using Sums = __m512i;

    static NEURALCODEC_INLINE Sums load_sums(const int32_t* p) { return _mm512_loadu_si512(p); }

    struct Rounding {
        __m512i shift, odd, rest;
        NEURALCODEC_INLINE explicit Rounding(const int32_t* p) {
            const __m512i one = _mm512_set1_epi32(1);
            shift = _mm512_loadu_si512(p);
            odd = _mm512_min_epi32(shift, one);
            rest = _mm512_sub_epi32(_mm512_sllv_epi32(one, shift), one);
        }
    };
    static NEURALCODEC_INLINE Sums load_skip(const uint8_t* p) {
        return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    }
    static NEURALCODEC_INLINE Sums add(Sums one, Sums two) { return _mm512_add_epi32(one, two); }
    static NEURALCODEC_INLINE Sums shifted(Sums sums, const Rounding& r) { return _mm512_srav_epi32(sums, r.shift); }
    static NEURALCODEC_INLINE Sums to_even(Sums values, Sums sums, const Rounding& r) {
        return _mm512_mask_andnot_epi32(values, _mm512_testn_epi32_mask(sums, r.rest), r.odd, values);
    }
    static NEURALCODEC_INLINE void store_activations(uint8_t* p, Sums values) {
        const __m512i positive = _mm512_max_epi32(values, _mm512_setzero_si512());
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(positive));  // saturates to 127
    }
    static NEURALCODEC_INLINE void store_sums(int32_t* p, Sums values) { _mm512_storeu_si512(p, values); }
};

}  // namespace
}  // namespace neuralcodec
