#include "kernels.hpp"
#include "predictor_loops.hpp"

namespace neuralcodec {

const PredictorKernel predictor_avx2 = predictor_loops;

}  // namespace neuralcodec
