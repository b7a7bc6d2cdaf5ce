#include "adaptation_loops.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const AdaptationKernel adaptation_portable = adaptation_kernel;

}  // namespace neuralcodec
