#include "kernels.hpp"
#include "mixtures_search.hpp"

namespace neuralcodec {

const MixtureKernel mixtures_avx2 = mixture_kernel<Scalar>();

}  // namespace neuralcodec
