#include "backward_learning.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const BackwardKernel backward_portable = backward_kernel;

}  // namespace neuralcodec
