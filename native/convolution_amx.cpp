// Convolutions with AMX, on processors that have AVX-512 too.
#include <immintrin.h>

#include "convolution_512.hpp"
#include "convolution_amx.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const ConvolutionKernel convolution_amx = amx_kernel<Vectors512>();

}  // namespace neuralcodec
