#include "adaptation_loops.hpp"
#include "kernels.hpp"

namespace neuralcodec {

const AdaptationKernel adaptation_avx512vnni = adaptation_kernel;

}  // namespace neuralcodec
