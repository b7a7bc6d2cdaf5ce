#include "backward_learning.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const BackwardKernel backward_avx2 = backward_kernel;

}  // namespace neuralcodec
