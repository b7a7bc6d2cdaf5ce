// Eight items at once.
#include "kernels.hpp"
#include "mixtures_256.hpp"
#include "mixtures_vectors.hpp"

namespace neuralcodec {

const MixtureKernel mixtures_avx2 = mixture_kernel<Vectors<Avx2>>();

}  // namespace neuralcodec
