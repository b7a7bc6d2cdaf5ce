#include "kernels.hpp"
#include "predictor_loops.hpp"

namespace neuralcodec {

const PredictorKernel predictor_portable = predictor_loops;

}  // namespace neuralcodec
