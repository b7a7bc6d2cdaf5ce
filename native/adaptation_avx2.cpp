#include "adaptation_loops.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const AdaptationKernel adaptation_avx2 = adaptation_kernel;

}  // namespace neuralcodec
