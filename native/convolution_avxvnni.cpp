// Convolutions with AVX-VNNI: vpdpbusd on 8 sums, for processors without AVX-512.
#include "convolution_256.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

struct AvxVnni : Vectors256, Dots<AvxVnni> {
    static constexpr int vectors = 3, positions = 4;

    static NEURALCODEC_INLINE Sums dot(Sums sums, Inputs x, Weights w) { return _mm256_dpbusd_avx_epi32(sums, x, w); }
};

}  // namespace

const ConvolutionKernel convolution_avxvnni = convolution_kernel<AvxVnni>(128, false, multiply_adds<AvxVnni>);

}  // namespace neuralcodec
