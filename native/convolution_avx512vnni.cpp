// Convolutions with AVX-512 VNNI: vpdpbusd adds four products of unsigned by signed bytes to each of 16 sums.
#include <cstring>

#include "convolution_512.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

struct Avx512Vnni : Vectors512, Dots<Avx512Vnni> {
    static constexpr int vectors = 3, positions = 8;
    using Weights = __m512i;
    using Inputs = __m512i;

    static NEURALCODEC_INLINE Weights load_weights(const int8_t* p) { return _mm512_loadu_si512(p); }
    static NEURALCODEC_INLINE Inputs repeat(const uint8_t* p) {
        int32_t four;
        std::memcpy(&four, p, 4);
        return _mm512_set1_epi32(four);
    }
    static NEURALCODEC_INLINE Sums dot(Sums sums, Inputs x, Weights w) { return _mm512_dpbusd_epi32(sums, x, w); }
};

}  // namespace

const ConvolutionKernel convolution_avx512vnni = convolution_kernel<Avx512Vnni>(128, false, multiply_adds<Avx512Vnni>);

}  // namespace neuralcodec
