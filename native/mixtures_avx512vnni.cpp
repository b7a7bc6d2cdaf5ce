// Sixteen items at once: both edges of a guess, twice; searches that are open then are finished one by one.
#include <immintrin.h>

#include "kernels.hpp"
#include "mixtures_search.hpp"

namespace neuralcodec {
namespace {

constexpr int lanes = 16;

NEURALCODEC_INLINE __m512i load(const int32_t* p) { return _mm512_loadu_si512(p); }
NEURALCODEC_INLINE __m512i all(int32_t value) { return _mm512_set1_epi32(value); }

// Numbers of 32 bits from their even and odd ones in 64 bits each.
NEURALCODEC_INLINE __m512i joined(__m512i even, __m512i odd) {
    return _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
}

struct Avx512 : Scalar {
    // As `edge`, of items i .. i + 15.
    template <int K>
    static NEURALCODEC_INLINE __m512i edges(const Block<K>& b, const MixtureParameters& p, int i, __m512i symbols) {
        const __m512i shift = load(b.shift + i), count = load(b.count + i), zero = _mm512_setzero_si512();
        __m512i value;
        if (p.clipped) {
            value = _mm512_add_epi32(_mm512_sllv_epi32(_mm512_sub_epi32(symbols, all(1)), shift), all(1));
            value = _mm512_min_epi32(_mm512_max_epi32(value, zero), all(p.last));
        } else {
            value = _mm512_sllv_epi32(symbols, shift);
        }
        const __m512i position = _mm512_slli_epi32(value, centre_bits);
        const __m512i low = _mm512_set1_epi64(-reach), high = _mm512_set1_epi64(reach);
        __m512i even = zero, odd = zero;
        for (int k = 0; k < parts_of<K>(p); k++) {
            const __m512i distance = _mm512_sub_epi32(position, load(b.centre[k] + i));
            const __m512i inverse = load(b.inverse[k] + i), weight = load(b.weight[k] + i);
            __m512i z[2] = {_mm512_mul_epi32(distance, inverse),
                            _mm512_mul_epi32(_mm512_srli_epi64(distance, 32), _mm512_srli_epi64(inverse, 32))};
            for (__m512i& half : z)
                half = _mm512_min_epi64(_mm512_max_epi64(_mm512_srai_epi64(half, inverse_bits), low), high);
            const __m512i share = _mm512_i32gather_epi32(joined(z[0], z[1]), p.tables.sigmoid.data() + reach, 4);
            even = _mm512_add_epi64(even, _mm512_mul_epu32(share, weight));
            odd = _mm512_add_epi64(odd, _mm512_mul_epu32(_mm512_srli_epi64(share, 32), _mm512_srli_epi64(weight, 32)));
        }
        const __m512i spread = _mm512_sub_epi32(all(total), count);
        even = _mm512_mul_epu32(_mm512_srli_epi64(even, weight_bits), spread);
        odd = _mm512_mul_epu32(_mm512_srli_epi64(odd, weight_bits), _mm512_srli_epi64(spread, 32));
        __m512i edge = joined(_mm512_srli_epi64(even, total_bits), _mm512_srli_epi64(odd, total_bits));
        edge = _mm512_maskz_add_epi32(_mm512_cmpgt_epi32_mask(symbols, zero), edge, symbols);
        return _mm512_mask_mov_epi32(edge, _mm512_cmpge_epi32_mask(symbols, count), all(total));
    }

    template <int K>
    static void find(const Block<K>& b, const MixtureParameters& p, const uint64_t* heads, int first, int count,
                     const Found& found, ptrdiff_t at) {
        for (; first + lanes <= count; first += lanes) find_lanes(b, p, heads, first, found, at);
        Scalar::find(b, p, heads, first, count, found, at);
    }

    template <int K>
    static NEURALCODEC_INLINE void find_lanes(const Block<K>& b, const MixtureParameters& p, const uint64_t* heads,
                                              int i, const Found& found, ptrdiff_t at) {
        const __m512i one = all(1);
        const __m512i slot = _mm512_and_si512(
            _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(_mm512_loadu_si512(heads + i))),
                               _mm512_cvtepi64_epi32(_mm512_loadu_si512(heads + i + 8)), 1),
            all(total - 1));
        __m512i low = _mm512_setzero_si512(), high = load(b.count + i), symbol = load(b.guess + i);
        __m512i begin = low, end = low, result = low;
        __mmask16 open = 0xffff;
        for (int tries = 0; tries < 2 && open; tries++) {
            const __m512i after = _mm512_add_epi32(symbol, one);
            const __m512i start = edges(b, p, i, symbol), stop = edges(b, p, i, after);
            const __mmask16 above = _mm512_mask_cmpge_epi32_mask(open, slot, stop);
            const __mmask16 below = _mm512_mask_cmplt_epi32_mask(open, slot, start);
            const __mmask16 hit = open & ~(above | below);
            result = _mm512_mask_mov_epi32(result, hit, symbol);
            begin = _mm512_mask_mov_epi32(begin, hit, start);
            end = _mm512_mask_mov_epi32(end, hit, stop);
            open &= ~hit;
            low = _mm512_mask_mov_epi32(low, above, after);
            high = _mm512_mask_mov_epi32(high, below, symbol);
            const __m512 width = _mm512_cvtepi32_ps(_mm512_sub_epi32(stop, start));
            const __m512i miss = _mm512_mask_sub_epi32(_mm512_sub_epi32(slot, stop), below, start, slot);
            const __m512i step = _mm512_cvttps_epi32(_mm512_div_ps(_mm512_cvtepi32_ps(miss), width));
            const __m512i next = _mm512_mask_sub_epi32(_mm512_add_epi32(after, step), below,
                                                       _mm512_sub_epi32(symbol, one), step);
            const __mmask16 outside = _mm512_cmplt_epi32_mask(next, low) | _mm512_cmpge_epi32_mask(next, high);
            symbol = _mm512_mask_srli_epi32(next, outside, _mm512_add_epi32(low, high), 1);
        }
        _mm512_storeu_si512(found.symbol + at + i, result);
        _mm512_storeu_si512(found.start + at + i, begin);
        _mm512_storeu_si512(found.freq + at + i, _mm512_sub_epi32(end, begin));
        if (!open) return;
        int32_t lows[lanes], highs[lanes], symbols[lanes];
        _mm512_storeu_si512(lows, low);
        _mm512_storeu_si512(highs, high);
        _mm512_storeu_si512(symbols, symbol);
        search_open<lanes>(b, p, heads, i, open, lows, highs, symbols, found, at);
    }

    template <int K>
    static void intervals(const Block<K>& b, const MixtureParameters& p, const int32_t* symbols, int first, int count,
                          uint32_t* start, uint32_t* freq) {
        int i = first;
        for (; i + lanes <= count; i += lanes) {
            const __m512i symbol = load(symbols + i), begin = edges(b, p, i, symbol);
            const __m512i end = edges(b, p, i, _mm512_add_epi32(symbol, all(1)));
            _mm512_storeu_si512(start + i, begin);
            _mm512_storeu_si512(freq + i, _mm512_sub_epi32(end, begin));
        }
        Scalar::intervals(b, p, symbols, i, count, start, freq);
    }
};

}  // namespace

const MixtureKernel mixtures_avx512vnni = mixture_kernel<Avx512>();

}  // namespace neuralcodec
