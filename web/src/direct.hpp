// Methods without a network. docs/format.md: Predictor.
#pragma once

#include "common.hpp"

namespace web {

// Samples (height, width, bands) of 8 bits, whose checksums are right.
std::vector<uint8_t> decode_predictor(Fields body, int height, int width, int bands);

}  // namespace web
