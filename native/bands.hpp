// Parameters of a band of the photo flow: taps, weights of mixtures, centres. See flow/polyphase.py and flow/bands.py, which
// define them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace neuralcodec {

namespace bands {

constexpr int taps = 12, nearest = 4, weight_bits = 16, coefficient_bits = 6, centre_bits = 6, weight_steps = 257;
constexpr int most_parts = 32;

}  // namespace bands

// A sample of a tap: of a known component, some rows below and columns to the right, -2 .. 2.
struct TapSample {
    int component, down, right;
};

struct BandTaps {
    const int32_t* const* known;  // components, (images, height, width) each
    ptrdiff_t images, height, width;
    const TapSample (*samples)[2];  // of each tap; a tap of one sample has it twice
};

// An output layer's sums, (images, height, width, outputs); strides are in elements.
struct BandOutputs {
    const int32_t* sums;
    ptrdiff_t images, height, width;
    ptrdiff_t image_stride, row_stride, position_stride;
    int parts, chain;  // logistics of a mixture, bands before
};

// What outputs say: (rows, positions) each.
struct BandRows {
    int64_t *weights, *means, *scales, *chain;
    int32_t* filters;
};

struct BandBefore {
    const int32_t *residuals, *taps;
};

// Numbers of `count` positions, (rows, count) each, and offsets that are added to coefficients.
struct BandCentres {
    ptrdiff_t count;
    int parts;
    const int64_t *means, *chain;
    const int32_t *filters, *total, *taps;
    const std::vector<BandBefore>& before;
    const int64_t* offsets;  // of the means, of each coefficient of the chain, of each of the filter
    int64_t limit;           // of coefficients
};

struct BandKernel {
    // The sum of the four nearest samples (images, height, width), and of each tap the distance from it (taps, ...).
    void (*taps)(const BandTaps&, int32_t* total, int32_t* deviations);
    // `powers` are 2**(16 - i / 16).
    void (*read)(const BandOutputs&, const int64_t* powers, const BandRows&);
    void (*centres)(const BandCentres&, int64_t* out);
};

}  // namespace neuralcodec
