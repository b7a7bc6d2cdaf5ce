#include "bands_loops.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const BandKernel bands_portable = band_kernel;

}  // namespace neuralcodec
