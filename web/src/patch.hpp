// Chains of small images by bits-back. docs/format.md: Chains, Patch flow.
#pragma once

#include "direct.hpp"
#include "model.hpp"

namespace web {

// Samples (height, width, bands) of 8 bits, whose checksums are right.
std::vector<uint8_t> decode_patch(const Model& model, Fields payload, const ImageShape& shape);

}  // namespace web
