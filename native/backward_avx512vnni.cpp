#include "backward_learning.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const BackwardKernel backward_avx512vnni = backward_kernel;

}  // namespace neuralcodec
