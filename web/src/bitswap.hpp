// Chains of latent layers by bits-back. docs/format.md: Chains, Bit-Swap.
#pragma once

#include "direct.hpp"
#include "model.hpp"

namespace web {

// Samples (height, width, bands) of 8 bits, whose checksums are right; `cells` of each band in coding order, or none.
std::vector<uint8_t> decode_bitswap(const Model& model, Fields payload, const ImageShape& shape,
                                    const std::vector<neuralcodec::Cells>& cells);

}  // namespace web
