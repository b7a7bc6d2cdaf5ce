// Windows of a feature map, gathered at every second position: a convolution at a quarter of the positions is one of
// 1 x 1 on them.
#pragma once

#include <memory>

#include "feature_map.hpp"

namespace neuralcodec {

// Every second position from (row, column) on.
struct Sampling {
    int row, column;  // 0 or 1
};

// The map that windows of `side` x `side` positions are gathered in, row by row, all channels of a position side by side.
// Throws std::invalid_argument unless `x` has activations, and a border as wide as half a window.
std::unique_ptr<FeatureMap> windows_for(const FeatureMap& x, int side, Sampling at);
void gather_windows(const FeatureMap& x, int side, Sampling at, const FeatureMap& result, int threads);

}  // namespace neuralcodec
