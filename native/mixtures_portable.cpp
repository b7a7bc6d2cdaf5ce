#include "kernels.hpp"
#include "mixtures_search.hpp"

namespace neuralcodec {

const MixtureKernel mixtures_portable{find, intervals};

}  // namespace neuralcodec
