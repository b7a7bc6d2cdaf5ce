// Convolutions with AVX2. vpmaddubsw adds pairs of products of unsigned by signed bytes in 16 bits, where it saturates; it
// never does with the widths of layers: 2 * 127 * 127 of activations and 2 * 255 * 64 of pixels are below 2**15. As the
// weights are known, the results of several steps are added in 16 bits too, before they are added in 32: three
// instructions for each step become little more than two, of which one multiplies.
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
        const ptrdiff_t position = c.input_position;
        for (int row = 0; row < c.kernel; row++, window += c.input_row) {
            const uint8_t* inputs = window;
            for (int left = c.steps; left > 0; groups++) {
                __m256i pairs[P][V];
                NEURALCODEC_UNROLL
                for (int p = 0; p < P; p++) {
                    NEURALCODEC_UNROLL
                    for (int v = 0; v < V; v++) pairs[p][v] = _mm256_setzero_si256();
                }
                left -= *groups;
                for (int step = *groups; step > 0; step--, inputs += 4, weights += 4 * lanes * V) {
                    Weights w[V];
                    NEURALCODEC_UNROLL
                    for (int v = 0; v < V; v++) w[v] = load_weights(weights + 4 * lanes * v);
                    NEURALCODEC_UNROLL
                    for (int p = 0; p < P; p++) {
                        const Inputs x = repeat(inputs + p * position);
                        NEURALCODEC_UNROLL
                        for (int v = 0; v < V; v++)
                            pairs[p][v] = _mm256_add_epi16(pairs[p][v], _mm256_maddubs_epi16(x, w[v]));
                    }
                }
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
};

}  // namespace

const ConvolutionKernel convolution_avx2 = convolution_kernel<Avx2>(128, true);

}  // namespace neuralcodec
