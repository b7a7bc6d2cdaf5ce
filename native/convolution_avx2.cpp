// Convolutions with AVX2: vpmaddubsw adds pairs of products of unsigned by signed bytes in 16 bits, where it saturates.
// It never does with the widths of layers: 2 * 127 * 127 of activations and 2 * 255 * 64 of pixels are below 2**15.
#include "convolution_256.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

struct Avx2 : Vectors256 {
    static constexpr int vectors = 4, positions = 3;

    static NEURALCODEC_INLINE Sums dot(Sums sums, Inputs x, Weights w) {
        const __m256i pairs = _mm256_maddubs_epi16(x, w);
        return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
};

}  // namespace

const ConvolutionKernel convolution_avx2 = convolution_kernel<Avx2>(128);

}  // namespace neuralcodec
