// Eight numbers of a vector, for `Vectors`, which says what each is.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "macros.hpp"

namespace neuralcodec {
namespace {

struct Avx2 {
    static constexpr int lanes = 8;
    using Eight = Avx2;
    using Ints = __m256i;
    using Floats = __m256;
    using Mask = __m256i;

    static NEURALCODEC_INLINE Ints load(const int32_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    static NEURALCODEC_INLINE void store(void* p, Ints x) { _mm256_storeu_si256(static_cast<__m256i*>(p), x); }
    static NEURALCODEC_INLINE Ints all(int32_t number) { return _mm256_set1_epi32(number); }
    static NEURALCODEC_INLINE Ints slots(const uint64_t* heads) {
        const __m256 first = _mm256_loadu_ps(reinterpret_cast<const float*>(heads));
        const __m256 last = _mm256_loadu_ps(reinterpret_cast<const float*>(heads) + 8);
        return _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(first, last, 0x88)), 0xd8);
    }

    static NEURALCODEC_INLINE Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
    static NEURALCODEC_INLINE Ints subtract(Ints a, Ints b) { return _mm256_sub_epi32(a, b); }
    static NEURALCODEC_INLINE Ints least(Ints a, Ints b) { return _mm256_min_epi32(a, b); }
    static NEURALCODEC_INLINE Ints largest(Ints a, Ints b) { return _mm256_max_epi32(a, b); }
    static NEURALCODEC_INLINE Ints both(Ints a, Ints b) { return _mm256_and_si256(a, b); }
    static NEURALCODEC_INLINE Ints either(Ints a, Ints b) { return _mm256_or_si256(a, b); }
    static NEURALCODEC_INLINE Ints shift_left(Ints x, Ints by) { return _mm256_sllv_epi32(x, by); }
    static NEURALCODEC_INLINE Ints shift_right(Ints x, Ints by) { return _mm256_srav_epi32(x, by); }
    template <int by>
    static NEURALCODEC_INLINE Ints unsigned_right(Ints x) {
        return _mm256_srli_epi32(x, by);
    }

    static NEURALCODEC_INLINE Ints odd(Ints x) { return _mm256_srli_epi64(x, 32); }
    static NEURALCODEC_INLINE Ints multiply(Ints a, Ints b) { return _mm256_mul_epi32(a, b); }
    static NEURALCODEC_INLINE Ints multiply_unsigned(Ints a, Ints b) { return _mm256_mul_epu32(a, b); }
    static NEURALCODEC_INLINE Ints add_wide(Ints a, Ints b) { return _mm256_add_epi64(a, b); }
    template <int by>
    static NEURALCODEC_INLINE Ints wide_right(Ints x) {
        return _mm256_srli_epi64(x, by);
    }
    template <int bit>
    static NEURALCODEC_INLINE Ints joined(Ints even, Ints odd) {
        return _mm256_blend_epi32(_mm256_srli_epi64(even, bit), _mm256_slli_epi64(odd, 32 - bit), 0xaa);
    }

    static NEURALCODEC_INLINE Mask above(Ints a, Ints b) { return _mm256_cmpgt_epi32(a, b); }
    static NEURALCODEC_INLINE Mask first_not(Mask a, Mask b) { return _mm256_andnot_si256(a, b); }
    static NEURALCODEC_INLINE unsigned bits(Mask a) { return unsigned(_mm256_movemask_ps(_mm256_castsi256_ps(a))); }
    static NEURALCODEC_INLINE Ints select(Mask mask, Ints yes, Ints no) { return _mm256_blendv_epi8(no, yes, mask); }

    static NEURALCODEC_INLINE Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }
    static NEURALCODEC_INLINE Ints to_ints(Floats x) { return _mm256_cvttps_epi32(x); }
    static NEURALCODEC_INLINE Floats floats(float number) { return _mm256_set1_ps(number); }
    static NEURALCODEC_INLINE Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static NEURALCODEC_INLINE Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static NEURALCODEC_INLINE Floats divide(Floats a, Floats b) { return _mm256_div_ps(a, b); }
    static NEURALCODEC_INLINE Floats reciprocal(Floats x) { return _mm256_rcp_ps(x); }
    static NEURALCODEC_INLINE Floats least(Floats a, Floats b) { return _mm256_min_ps(a, b); }
    static NEURALCODEC_INLINE Floats largest(Floats a, Floats b) { return _mm256_max_ps(a, b); }

    static NEURALCODEC_INLINE Ints look_up(const int32_t* table, Ints at) { return _mm256_i32gather_epi32(table, at, 4); }
    static NEURALCODEC_INLINE Floats look_up(const float* table, Ints at) { return _mm256_i32gather_ps(table, at, 4); }
};

}  // namespace
}  // namespace neuralcodec
