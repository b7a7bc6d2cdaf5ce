#include "bands_loops.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const BandKernel bands_avx2 = band_kernel;

}  // namespace neuralcodec
