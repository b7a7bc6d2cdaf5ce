// Sixteen items at once.
#include <immintrin.h>

#include "kernels.hpp"
#include "mixtures_256.hpp"
#include "mixtures_vectors.hpp"

namespace neuralcodec {
namespace {

struct Avx512 {
    static constexpr int lanes = 16;
    using Ints = __m512i;
    using Floats = __m512;
    using Mask = __mmask16;
    using Eight = Avx2;

    static NEURALCODEC_INLINE Ints load(const int32_t* p) { return _mm512_loadu_si512(p); }
    static NEURALCODEC_INLINE void store(void* p, Ints x) { _mm512_storeu_si512(p, x); }
    static NEURALCODEC_INLINE Ints all(int32_t number) { return _mm512_set1_epi32(number); }
    static NEURALCODEC_INLINE Ints slots(const uint64_t* heads) {
        const __m256i first = _mm512_cvtepi64_epi32(_mm512_loadu_si512(heads));
        const __m256i last = _mm512_cvtepi64_epi32(_mm512_loadu_si512(heads + 8));
        return _mm512_inserti64x4(_mm512_castsi256_si512(first), last, 1);
    }

    static NEURALCODEC_INLINE Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
    static NEURALCODEC_INLINE Ints subtract(Ints a, Ints b) { return _mm512_sub_epi32(a, b); }
    static NEURALCODEC_INLINE Ints least(Ints a, Ints b) { return _mm512_min_epi32(a, b); }
    static NEURALCODEC_INLINE Ints largest(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
    static NEURALCODEC_INLINE Ints both(Ints a, Ints b) { return _mm512_and_si512(a, b); }
    static NEURALCODEC_INLINE Ints either(Ints a, Ints b) { return _mm512_or_si512(a, b); }
    static NEURALCODEC_INLINE Ints shift_left(Ints x, Ints by) { return _mm512_sllv_epi32(x, by); }
    static NEURALCODEC_INLINE Ints shift_right(Ints x, Ints by) { return _mm512_srav_epi32(x, by); }
    template <int by>
    static NEURALCODEC_INLINE Ints unsigned_right(Ints x) {
        return _mm512_srli_epi32(x, by);
    }

    static NEURALCODEC_INLINE Ints odd(Ints x) { return _mm512_srli_epi64(x, 32); }
    static NEURALCODEC_INLINE Ints multiply(Ints a, Ints b) { return _mm512_mul_epi32(a, b); }
    static NEURALCODEC_INLINE Ints multiply_unsigned(Ints a, Ints b) { return _mm512_mul_epu32(a, b); }
    static NEURALCODEC_INLINE Ints add_wide(Ints a, Ints b) { return _mm512_add_epi64(a, b); }
    template <int by>
    static NEURALCODEC_INLINE Ints wide_right(Ints x) {
        return _mm512_srli_epi64(x, by);
    }
    template <int bit>
    static NEURALCODEC_INLINE Ints joined(Ints even, Ints odd) {
        return _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, bit), _mm512_slli_epi64(odd, 32 - bit));
    }

    static NEURALCODEC_INLINE Mask above(Ints a, Ints b) { return _mm512_cmpgt_epi32_mask(a, b); }
    static NEURALCODEC_INLINE Mask first_not(Mask a, Mask b) { return Mask(~a & b); }
    static NEURALCODEC_INLINE unsigned bits(Mask a) { return a; }
    static NEURALCODEC_INLINE Ints select(Mask mask, Ints yes, Ints no) {
        return _mm512_mask_blend_epi32(mask, no, yes);
    }

    static NEURALCODEC_INLINE Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }
    static NEURALCODEC_INLINE Ints to_ints(Floats x) { return _mm512_cvttps_epi32(x); }
    static NEURALCODEC_INLINE Floats floats(float number) { return _mm512_set1_ps(number); }
    static NEURALCODEC_INLINE Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static NEURALCODEC_INLINE Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static NEURALCODEC_INLINE Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
    static NEURALCODEC_INLINE Floats reciprocal(Floats x) { return _mm512_rcp14_ps(x); }
    static NEURALCODEC_INLINE Floats least(Floats a, Floats b) { return _mm512_min_ps(a, b); }
    static NEURALCODEC_INLINE Floats largest(Floats a, Floats b) { return _mm512_max_ps(a, b); }

    static NEURALCODEC_INLINE Ints look_up(const int32_t* table, Ints at) { return _mm512_i32gather_epi32(at, table, 4); }
    static NEURALCODEC_INLINE Floats look_up(const float* table, Ints at) { return _mm512_i32gather_ps(at, table, 4); }
};

}  // namespace

const MixtureKernel mixtures_avx512vnni = mixture_kernel<Vectors<Avx512>>();

}  // namespace neuralcodec
