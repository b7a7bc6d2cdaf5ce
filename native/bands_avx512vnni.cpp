#include "bands_loops.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const BandKernel bands_avx512vnni = band_kernel;

}  // namespace neuralcodec
