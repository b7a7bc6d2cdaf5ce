// All kernels of one instruction set. A file for each set defines its table.
#pragma once

#include "adaptation.hpp"
#include "backward.hpp"
#include "bands.hpp"
#include "convolution.hpp"
#include "instruction_sets.hpp"
#include "mixtures.hpp"
#include "predictor.hpp"

namespace neuralcodec {

struct Kernels {
    InstructionSet set;
    ConvolutionKernel convolution;
    MixtureKernel mixtures;
    BandKernel bands;
    PredictorKernel predictor;
    BackwardKernel backward;
    AdaptationKernel adaptation;
};

extern const ConvolutionKernel convolution_portable;
extern const ConvolutionKernel convolution_neon;
extern const ConvolutionKernel convolution_avx2;
extern const ConvolutionKernel convolution_avxvnni;
extern const ConvolutionKernel convolution_avx512vnni;
extern const ConvolutionKernel convolution_amx;
extern const ConvolutionKernel convolution_amx_emulated;

extern const AdaptationKernel adaptation_portable;
extern const AdaptationKernel adaptation_avx2;
extern const AdaptationKernel adaptation_avx512vnni;

extern const BackwardKernel backward_portable;
extern const BackwardKernel backward_avx2;
extern const BackwardKernel backward_avx512vnni;

extern const BandKernel bands_portable;
extern const BandKernel bands_avx2;
extern const BandKernel bands_avx512vnni;

extern const MixtureKernel mixtures_portable;
extern const MixtureKernel mixtures_avx2;
extern const MixtureKernel mixtures_avx512vnni;

extern const PredictorKernel predictor_portable;
extern const PredictorKernel predictor_avx2;
extern const PredictorKernel predictor_avx512vnni;

// The kernels of an instruction set that is `available`.
const Kernels& kernels(InstructionSet set);

}  // namespace neuralcodec
