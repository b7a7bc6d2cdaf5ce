#include "kernels.hpp"
#include "predictor_loops.hpp"

namespace neuralcodec {

const PredictorKernel predictor_avx512vnni = predictor_loops;

}  // namespace neuralcodec
