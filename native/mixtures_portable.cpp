#include "kernels.hpp"
#include "mixtures_search.hpp"

namespace neuralcodec {

const MixtureKernel mixtures_portable = mixture_kernel<Scalar>();

}  // namespace neuralcodec
