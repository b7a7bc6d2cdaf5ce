#include "backward_loops.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const BackwardKernel backward_portable = backward_kernel;

}  // namespace neuralcodec
