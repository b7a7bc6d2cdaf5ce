// Methods without a network. docs/format.md: Raw, Filtered, Predictor, Coefficients of a JPEG file.
#pragma once

#include "common.hpp"

namespace web {

struct ImageShape {
    int height, width, bands;
    size_t count() const { return size_t(height) * size_t(width) * size_t(bands); }
};

// Stored samples of `size` bytes, whose checksum, at the end of the payload, is right.
std::vector<uint8_t> decode_raw(Fields payload, const ImageShape& shape, int size);

// Stored samples (height, width, bands) of `size` bytes, whose checksum is not told in the body.
std::vector<uint8_t> decode_filtered(Fields body, const ImageShape& shape, int size);

// Samples of 8 bits, whose checksums are right.
std::vector<uint8_t> decode_predictor(Fields body, const ImageShape& shape);

// The same. `weights` are the arrays mean_sizes, mean_edges, sizes, edges, frequencies of jpeg/model.npz, u16 or s16 each.
std::vector<uint8_t> decode_jpeg(Fields body, const ImageShape& shape, Fields weights);

}  // namespace web
