// A layer with its weights packed for a kernel.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "feature_map.hpp"
#include "kernels.hpp"
#include "positions.hpp"

namespace neuralcodec {

// A layer as data: weights (outputs, inputs, kernel, kernel), the rest (outputs,). The last `positions` inputs are position
// channels, a half of rows and then one of columns. See nets/spec.py.
struct LayerSpec {
    std::string name;
    int outputs, inputs, kernel;
    const int8_t* weight;
    const int32_t* bias;
    const int32_t* shift;
    bool pixel_input, is_output;
    int positions;
};

class Layer {
public:
    // Copies what it needs. Throws std::invalid_argument unless the layer keeps the bounds that make kernels exact.
    Layer(const LayerSpec& spec, const Kernels& kernels);

    const std::string name;
    const int outputs, inputs, kernel;  // without position channels
    const bool pixel_input, is_output;

    // Throws std::invalid_argument, with the layer's name, unless `x` and `skip` (may be null), both at every position, are what
    // it takes. Layers with position channels run at every position.
    void check(const FeatureMap& x, const FeatureMap* skip, Sampling at) const;

    // An empty result for `run`, at some positions of `x`.
    std::unique_ptr<FeatureMap> result_for(const FeatureMap& x, Sampling at) const;

    // Computes `result` from what was checked, the skip at the result's positions alone, on at most `threads` threads.
    void run(const FeatureMap& x, const FeatureMap* skip, Sampling at, const FeatureMap& result, int threads) const;

private:
    void check_bounds(const LayerSpec& spec) const;
    void pack(const LayerSpec& spec);
    void group();

    const ConvolutionKernel& kernels_;
    // Elements of a position of inputs and of outputs, steps in a row of a window, channels that are computed, vectors in
    // a block of them: as equal as can be, since small blocks take longer for each of theirs.
    const int stride_, result_stride_, steps_, channels_, vectors_;
    std::vector<int8_t> weights_;
    std::vector<uint8_t> groups_;
    std::vector<int32_t> bias_, shift_;  // biases with half of a unit of the result
    const PositionWeights positions_;
};

// Elements that a position takes in a feature map: whole groups of channels, pixels without gaps.
int stride_of(Content content, int channels);

}  // namespace neuralcodec
