// The layers of a model, and what its architecture says. docs/format.md: Models, Layers.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "common.hpp"
#include "layer.hpp"

namespace neuralcodec {

extern const ConvolutionKernel convolution_simd128;

}  // namespace neuralcodec

namespace web {

extern const neuralcodec::Kernels kernels;

using Map = std::shared_ptr<neuralcodec::FeatureMap>;

struct Model {
    int mixtures = 0;
    bool self_ensemble = false, backward_adaptation = false;
    std::vector<std::array<int, 3>> blocks;  // of each network, of its three stages
    // Of Bit-Swap: channels of each layer of latents, and blocks of chains.
    std::vector<int> latents;
    int depth = 0;
    // Of the patch flow.
    std::vector<int> lattice;  // 2 x 2
    int frac = 0;
    struct Matrix {
        std::array<int64_t, 9> weights;  // with `bits` fractional bits
        int bits;
    };

    // Weights are int8 (outputs, inputs, kernel, kernel), the others int32 (outputs). The last inputs of a layer that
    // takes the JPEG block phase are `positions` position channels.
    void add(const std::string& name, const std::array<int, 4>& shape, const int8_t* weight, const int32_t* bias,
             const int32_t* shift, int positions);

    // Of a stage, by its name.
    const Matrix& matrix(const std::string& stage) const;

    Map pixels(const int8_t* values, int height, int width, int channels, neuralcodec::PositionInputs positions = {}) const;
    Map conv(const std::string& name, const Map& x, const Map& skip = nullptr, neuralcodec::Sampling at = {}) const;

private:
    std::map<std::string, std::unique_ptr<neuralcodec::Layer>> layers_;
    std::map<std::string, Matrix> matrices_;
    int border_ = 0;
};

}  // namespace web
