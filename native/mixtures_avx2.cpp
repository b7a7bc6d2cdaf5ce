// Eight items at once: both edges of a guess, twice; searches that are open then are finished one by one.
//
// Products of 64 bits are not shifted and clamped, which AVX2 lacks: a distance from a centre is clamped before it is
// multiplied, to one at which the sigmoid has reached its end, and so z has 32 bits.
#include <immintrin.h>

#include "kernels.hpp"
#include "mixtures_search.hpp"

namespace neuralcodec {
namespace {

constexpr int lanes = 8;

NEURALCODEC_INLINE __m256i load(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
NEURALCODEC_INLINE void store(void* p, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(p), value); }
NEURALCODEC_INLINE __m256i all(int32_t value) { return _mm256_set1_epi32(value); }
NEURALCODEC_INLINE __m256i odd_ones(__m256i value) { return _mm256_srli_epi64(value, 32); }

// Numbers of 32 bits from those that begin at `bit` of the 64 bits of their even and odd ones.
template <int bit>
NEURALCODEC_INLINE __m256i joined(__m256i even, __m256i odd) {
    return _mm256_blend_epi32(_mm256_srli_epi64(even, bit), _mm256_slli_epi64(odd, 32 - bit), 0xaa);
}

NEURALCODEC_INLINE __m256i select(__m256i mask, __m256i yes, __m256i no) { return _mm256_blendv_epi8(no, yes, mask); }
NEURALCODEC_INLINE __m256i clamped(__m256i value, __m256i low, __m256i high) {
    return _mm256_min_epi32(_mm256_max_epi32(value, low), high);
}

struct Avx2 {
    // Distances at which z is beyond the sigmoid's reach, by at most a few percent and some steps: products with `inverse`
    // stay below 2**36. No distance is as large as the largest of them.
    static NEURALCODEC_INLINE __m256i span_of(__m256i inverse) {
        const __m256 steps = _mm256_set1_ps(1.01f * float(reach) * float(1 << inverse_bits));
        const __m256 span = _mm256_mul_ps(steps, _mm256_rcp_ps(_mm256_cvtepi32_ps(inverse)));
        return _mm256_add_epi32(_mm256_cvttps_epi32(_mm256_min_ps(span, _mm256_set1_ps(2147483008.0f))), all(2));
    }

    // The slots of eight heads.
    static NEURALCODEC_INLINE __m256i slots(const uint64_t* heads) {
        const __m256 first = _mm256_loadu_ps(reinterpret_cast<const float*>(heads));
        const __m256 last = _mm256_loadu_ps(reinterpret_cast<const float*>(heads) + 8);
        const __m256i low = _mm256_castps_si256(_mm256_shuffle_ps(first, last, 0x88));
        return _mm256_and_si256(_mm256_permute4x64_epi64(low, 0xd8), all(total - 1));
    }

    static NEURALCODEC_INLINE __m256i shift_of(const MixtureParameters& p, __m256i least) {
        if (p.whole) return _mm256_setzero_si256();
        const __m256i shift = _mm256_sub_epi32(_mm256_srai_epi32(least, scale_bits), all(3));
        return _mm256_max_epi32(shift, _mm256_setzero_si256());
    }

    static void shifts(const MixtureParameters& p, ptrdiff_t first, ptrdiff_t count, int32_t* shift) {
        ptrdiff_t i = 0;
        for (; i + lanes <= count; i += lanes) {
            __m256i least = all(largest_scale);
            for (int k = 0; k < p.parts; k++)
                least = clamped(load(p.scales + k * p.count + first + i), all(least_scale), least);
            store(shift + i, shift_of(p, least));
        }
        Scalar::shifts(p, first + i, count - i, shift + i);
    }

    template <int K>
    static void prepare(Block<K>& b, const MixtureParameters& p, const uint64_t* heads, ptrdiff_t first, int from,
                        int count) {
        __m256i wrong = _mm256_setzero_si256();
        for (; from + lanes <= count; from += lanes)
            wrong = _mm256_or_si256(wrong, prepare_lanes(b, p, heads, first + from, from));
        if (!_mm256_testz_si256(wrong, wrong)) throw std::invalid_argument(wrong_weights);
        if (from < count) Scalar::prepare(b, p, heads, first, from, count);
    }

    // Returns what is zero where weights add up.
    template <int K>
    static NEURALCODEC_INLINE __m256i prepare_lanes(Block<K>& b, const MixtureParameters& p, const uint64_t* heads,
                                                    ptrdiff_t item, int i) {
        __m256i least = all(largest_scale), sum = _mm256_setzero_si256(), wrong = sum;
        __m256 mean = _mm256_setzero_ps(), scale = mean;
        for (int k = 0; k < parts_of<K>(p); k++) {
            const ptrdiff_t at = k * p.count + item;
            const __m256i weight = load(p.weights + at);
            const __m256i centre = _mm256_add_epi32(clamped(load(p.centres + at), all(-distant), all(distant)),
                                                    all(1 << (centre_bits - 1)));
            const __m256i log_scale = clamped(load(p.scales + at), all(least_scale), all(largest_scale));
            const __m256i inverse =
                _mm256_i32gather_epi32(p.tables.inverse_scale.data() - least_scale, log_scale, 4);
            store(b.centre[k] + i, centre);
            store(b.inverse[k] + i, inverse);
            store(b.weight[k] + i, weight);
            least = _mm256_min_epi32(least, log_scale);
            sum = _mm256_add_epi32(sum, weight);
            wrong = _mm256_or_si256(wrong, _mm256_srli_epi32(weight, weight_bits + 1));
            if (!heads) continue;
            const __m256 share = _mm256_cvtepi32_ps(weight);
            mean = _mm256_add_ps(mean, _mm256_mul_ps(share, _mm256_cvtepi32_ps(centre)));
            scale = _mm256_add_ps(scale, _mm256_mul_ps(share, _mm256_rcp_ps(_mm256_cvtepi32_ps(inverse))));
        }
        const __m256i shift = shift_of(p, least);
        const __m256i symbols = _mm256_add_epi32(_mm256_srlv_epi32(all(p.clipped ? p.last - 2 : p.last), shift),
                                                 all(p.clipped ? 3 : 1));
        store(b.shift + i, shift);
        store(b.count + i, symbols);
        if (heads) {
            const __m256i slot = slots(heads + i);
            const __m256 logit = _mm256_i32gather_ps(p.tables.logit.data(), _mm256_srli_epi32(slot, total_bits - 10), 4);
            constexpr float one = 1 << (inverse_bits + 10 - centre_bits);  // the inverse scale of scale 1
            const __m256 spread = _mm256_mul_ps(_mm256_mul_ps(scale, _mm256_set1_ps(one)), logit);
            __m256 at = _mm256_add_ps(_mm256_mul_ps(mean, _mm256_set1_ps(1.0f / (1 << centre_bits))), spread);
            at = _mm256_mul_ps(at, _mm256_set1_ps(1.0f / (1 << weight_bits)));
            at = _mm256_min_ps(_mm256_max_ps(at, _mm256_setzero_ps()), _mm256_set1_ps(float(p.last)));
            const __m256i clip = all(p.clipped), value = _mm256_sub_epi32(_mm256_cvttps_epi32(at), clip);
            const __m256i symbol = _mm256_add_epi32(_mm256_srav_epi32(value, shift), clip);
            store(b.guess + i, _mm256_min_epi32(symbol, _mm256_sub_epi32(symbols, all(1))));
        }
        return _mm256_or_si256(wrong, _mm256_xor_si256(sum, all(1 << weight_bits)));
    }

    struct Interval {
        __m256i start, end;
    };

    // As `edge`, of items i .. i + 7: both edges of symbols.
    template <int K>
    static NEURALCODEC_INLINE Interval edges(const Block<K>& b, const MixtureParameters& p, int i, __m256i symbols) {
        const __m256i zero = _mm256_setzero_si256(), count = load(b.count + i);
        const __m256i symbol[2] = {symbols, _mm256_add_epi32(symbols, all(1))};
        __m256i position[2], even[2] = {zero, zero}, odd[2] = {zero, zero}, edge[2];
        NEURALCODEC_UNROLL
        for (int e = 0; e < 2; e++) position[e] = position_of(p, symbol[e], load(b.shift + i));
        for (int k = 0; k < parts_of<K>(p); k++) {
            const __m256i centre = load(b.centre[k] + i), inverse = load(b.inverse[k] + i), weight = load(b.weight[k] + i);
            const __m256i span = span_of(inverse), back = _mm256_sub_epi32(zero, span);
            const __m256i odd_inverse = odd_ones(inverse), odd_weight = odd_ones(weight);
            NEURALCODEC_UNROLL
            for (int e = 0; e < 2; e++) {
                const __m256i distance = clamped(_mm256_sub_epi32(position[e], centre), back, span);
                const __m256i z = joined<inverse_bits>(_mm256_mul_epi32(distance, inverse),
                                                       _mm256_mul_epi32(odd_ones(distance), odd_inverse));
                const __m256i share = _mm256_i32gather_epi32(p.tables.sigmoid.data() + reach,
                                                             clamped(z, all(-reach), all(reach)), 4);
                even[e] = _mm256_add_epi64(even[e], _mm256_mul_epu32(share, weight));
                odd[e] = _mm256_add_epi64(odd[e], _mm256_mul_epu32(odd_ones(share), odd_weight));
            }
        }
        const __m256i spread = _mm256_sub_epi32(all(total), count), odd_spread = odd_ones(spread);
        NEURALCODEC_UNROLL
        for (int e = 0; e < 2; e++) {
            const __m256i inner = joined<total_bits>(
                _mm256_mul_epu32(_mm256_srli_epi64(even[e], weight_bits), spread),
                _mm256_mul_epu32(_mm256_srli_epi64(odd[e], weight_bits), odd_spread));
            edge[e] = _mm256_and_si256(_mm256_add_epi32(inner, symbol[e]), _mm256_cmpgt_epi32(symbol[e], zero));
            edge[e] = select(_mm256_cmpgt_epi32(count, symbol[e]), edge[e], all(total));
        }
        return {edge[0], edge[1]};
    }

    static NEURALCODEC_INLINE __m256i position_of(const MixtureParameters& p, __m256i symbol, __m256i shift) {
        __m256i value;
        if (p.clipped) {
            value = _mm256_add_epi32(_mm256_sllv_epi32(_mm256_sub_epi32(symbol, all(1)), shift), all(1));
            value = clamped(value, _mm256_setzero_si256(), all(p.last));
        } else {
            value = _mm256_sllv_epi32(symbol, shift);
        }
        return _mm256_slli_epi32(value, centre_bits);
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
        const __m256i one = all(1), slot = slots(heads + i);
        __m256i low = _mm256_setzero_si256(), high = load(b.count + i), symbol = load(b.guess + i);
        __m256i begin = low, end = low, result = low, done = low;
        int open = 0xff;
        for (int tries = 0; tries < 2 && open; tries++) {
            const __m256i after = _mm256_add_epi32(symbol, one);
            const Interval edge = edges(b, p, i, symbol);
            const __m256i below = _mm256_cmpgt_epi32(edge.start, slot), inside = _mm256_cmpgt_epi32(edge.end, slot);
            const __m256i hit = _mm256_andnot_si256(_mm256_or_si256(below, done), inside);
            result = select(hit, symbol, result);
            begin = select(hit, edge.start, begin);
            end = select(hit, edge.end, end);
            done = _mm256_or_si256(done, hit);
            open = ~_mm256_movemask_ps(_mm256_castsi256_ps(done)) & 0xff;
            if (!open) break;
            low = select(inside, low, after);
            high = select(below, symbol, high);
            const __m256 width = _mm256_cvtepi32_ps(_mm256_sub_epi32(edge.end, edge.start));
            const __m256i miss = select(below, _mm256_sub_epi32(edge.start, slot), _mm256_sub_epi32(slot, edge.end));
            const __m256i step = _mm256_cvttps_epi32(_mm256_div_ps(_mm256_cvtepi32_ps(miss), width));
            const __m256i next = select(below, _mm256_sub_epi32(_mm256_sub_epi32(symbol, one), step),
                                        _mm256_add_epi32(after, step));
            const __m256i outside = _mm256_or_si256(_mm256_cmpgt_epi32(low, next),
                                                    _mm256_cmpgt_epi32(next, _mm256_sub_epi32(high, one)));
            symbol = select(outside, _mm256_srli_epi32(_mm256_add_epi32(low, high), 1), next);
        }
        store(found.symbol + at + i, result);
        store(found.start + at + i, begin);
        store(found.freq + at + i, _mm256_sub_epi32(end, begin));
        if (!open) return;
        int32_t lows[lanes], highs[lanes], symbols[lanes];
        store(lows, low);
        store(highs, high);
        store(symbols, symbol);
        search_open<lanes>(b, p, heads, i, open, lows, highs, symbols, found, at);
    }

    template <int K>
    static void intervals(const Block<K>& b, const MixtureParameters& p, const int32_t* symbols, int first, int count,
                          uint32_t* start, uint32_t* freq) {
        int i = first;
        for (; i + lanes <= count; i += lanes) {
            const Interval edge = edges(b, p, i, load(symbols + i));
            store(start + i, edge.start);
            store(freq + i, _mm256_sub_epi32(edge.end, edge.start));
        }
        Scalar::intervals(b, p, symbols, i, count, start, freq);
    }
};

}  // namespace

const MixtureKernel mixtures_avx2 = mixture_kernel<Avx2>();

}  // namespace neuralcodec
