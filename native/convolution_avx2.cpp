// Convolutions with AVX2. vpmaddubsw adds pairs of products of unsigned by signed bytes in 16 bits, where it saturates; it
// never does with the widths of layers: 2 * 127 * 127 of activations and 2 * 255 * 64 of pixels are below 2**15. As the
// weights are known, the results of several steps are added in 16 bits too, before they are added in 32: three
// instructions for each step become little more than two, of which one multiplies. The sums of 32 bits do not fit into
// registers beside those of 16 bits, and need not.
#include "convolution_256.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

struct Avx2 : Vectors256 {
    static constexpr int vectors = 2, positions = 6;

    template <int P, int V>
    static NEURALCODEC_INLINE void accumulate(const Convolution& c, const Block& block, const uint8_t* window,
                                              Sums (&sums)[P][V]) {
        const int8_t* weights = block.weights;
        const uint8_t* groups = block.groups;
        const ptrdiff_t position = c.next_position;
        for (int row = 0; row < c.kernel; row++, window += c.input_row) {
            const uint8_t* inputs = window;
            for (int left = c.steps; left > 0; groups++) {
                const int8_t* start = weights;
                __m256i pairs[P][V];
                weights += 4 * lanes * V;
                step<P, V>(inputs, position, weights, pairs, [=](int, int v) { return load(start + 4 * lanes * v); });
                left -= *groups;
                for (int more = *groups; --more > 0;) {
                    inputs += 4, weights += 4 * lanes * V;
                    step<P, V>(inputs, position, weights, pairs, [&](int p, int v) { return pairs[p][v]; });
                }
                inputs += 4, weights += 4 * lanes * V;
                NEURALCODEC_UNROLL
                for (int p = 0; p < P; p++) {
                    NEURALCODEC_UNROLL
                    for (int v = 0; v < V; v++) NEURALCODEC_SETTLE(pairs[p][v]);
                }
                NEURALCODEC_UNROLL
                for (int p = 0; p < P; p++) {
                    NEURALCODEC_UNROLL
                    for (int v = 0; v < V; v++)
                        sums[p][v] = _mm256_add_epi32(sums[p][v], _mm256_madd_epi16(pairs[p][v], _mm256_set1_epi16(1)));
                }
            }
        }
    }

    // See ConvolutionKernel::multiply_adds: steps of the largest tile, as if groups never ended.
    static int64_t multiply_adds(int64_t count) {
        constexpr int P = positions, V = vectors;
        uint8_t inputs[64];
        int8_t weights[4 * lanes * V];
        int16_t stored[2 * lanes];
        std::memset(inputs, int(count >> 62), sizeof inputs);  // 0, but no compiler knows
        std::memset(weights, int(count >> 62), sizeof weights);
        __m256i pairs[P][V];
        NEURALCODEC_UNROLL
        for (int i = 0; i < P * V; i++) pairs[i / V][i % V] = _mm256_set1_epi16(int16_t(i));  // else they are all one
        for (int64_t n = 0; n < count; n++)
            step<P, V>(inputs + 4 * (n & 7), 4, weights, pairs, [&](int p, int v) { return pairs[p][v]; });
        NEURALCODEC_UNROLL
        for (int i = 0; i < P * V; i++) NEURALCODEC_SETTLE(pairs[i / V][i % V]);
        int64_t total = count * P * V * lanes * 4;
        NEURALCODEC_UNROLL
        for (int i = 0; i < P * V; i++) {
            store_sums(reinterpret_cast<int32_t*>(stored), pairs[i / V][i % V]);
            total += stored[0] - i;
        }
        return total;
    }

private:
    // Adds the products of a step to `before`, sums of 16 bits.
    template <int P, int V, class Before>
    static NEURALCODEC_INLINE void step(const uint8_t* inputs, ptrdiff_t position, const int8_t* weights,
                                        __m256i (&pairs)[P][V], const Before& before) {
        Weights w[V];
        NEURALCODEC_UNROLL
        for (int v = 0; v < V; v++) w[v] = load_weights(weights + 4 * lanes * v);
        NEURALCODEC_UNROLL
        for (int p = 0; p < P; p++) {
            const Inputs x = repeat(inputs + p * position);
            NEURALCODEC_UNROLL
            for (int v = 0; v < V; v++) pairs[p][v] = _mm256_add_epi16(before(p, v), _mm256_maddubs_epi16(x, w[v]));
        }
    }
};

}  // namespace

const ConvolutionKernel convolution_avx2 = convolution_kernel<Avx2>(128, true, Avx2::multiply_adds);

}  // namespace neuralcodec
