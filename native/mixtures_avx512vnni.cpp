#include "kernels.hpp"
#include "mixtures_search.hpp"

namespace neuralcodec {

const MixtureKernel mixtures_avx512vnni{find, intervals};

}  // namespace neuralcodec
