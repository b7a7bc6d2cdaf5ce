// Parameters of a band of the photo flow: taps, weights of mixtures, centres; and what networks see of it. See
// flow/polyphase.py and flow/bands.py and flow/network_bands.py, which define them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace neuralcodec {

namespace bands {

constexpr int taps = 12, nearest = 4, weight_bits = 16, coefficient_bits = 6, centre_bits = 6, weight_steps = 257;
constexpr int gain_bits = 8, mapped_bits = 8, classes = 8, bands = 3;
constexpr int least_scale = -80, largest_scale = 256;
constexpr int most_parts = 32, most_known = 3;
constexpr int32_t distant = 1 << 30;  // centres end there

}  // namespace bands

// The dynamic-range mapping of samples of 16 bits: indices 0 .. top, and log2 of the gain in 1/16. `top` is negative for
// samples of 8 bits, which are not mapped.
struct BandMapping {
    int32_t top = -1, log_gain = 0;
    bool is_mapped() const { return top >= 0; }
    int32_t gain() const { return top + 1; }  // indices per mapped value, in 1/256
};

// A sample of a tap: of a known component, some rows below and columns to the right, -2 .. 2.
struct TapSample {
    int component, down, right;
};

// What the taps of a band are made of: positions are of every so many rows of all images, one image below the other, and of
// the first columns.
struct BandTaps {
    const int32_t* const* known;  // components, (images, bands, height, width) each
    ptrdiff_t height, width;
    ptrdiff_t image_stride;         // of components, in elements
    const TapSample (*samples)[2];  // of each tap; a tap of one sample has it twice
    ptrdiff_t every, columns;
};

// What an output layer says of `count` positions, a plane for each of its outputs, so many numbers apart: logits, means
// and log-scales (parts each), coefficients of the chain, one for each band before, and of the filter.
struct BandOutputs {
    const int32_t* planes;
    ptrdiff_t count, plane;
    int parts, bands_before;

    const int32_t* means() const { return planes + parts * plane; }
    const int32_t* scales() const { return means() + parts * plane; }
    const int32_t* chain() const { return scales() + parts * plane; }
    const int32_t* filters() const { return chain() + bands_before * plane; }
};

// Means (parts, means_plane) and coefficients (bands before or taps, plane) of `count` positions, the values of the bands
// before, and offsets that are added to coefficients.
struct BandCentres {
    ptrdiff_t count;
    int parts;
    const int32_t* means;
    ptrdiff_t means_plane;
    const int32_t *chain, *filters;
    ptrdiff_t plane;
    const BandTaps& near;
    const std::vector<const int32_t*>& before;
    const int64_t* offsets;  // of the means, of each coefficient of the chain, of each of the filter
    int64_t limit;           // of coefficients

    int band() const { return int(before.size()); }
};

// What classes follow from: the sums of the four nearest samples (count), weights and log-scales (parts, count).
struct BandNoise {
    ptrdiff_t count;
    int parts;
    const int32_t *total, *weights, *scales;
};

// Log-scales (parts, plane), which are limited, then moved by the offsets (axes, classes) of their classes (axes, count).
struct BandScales {
    ptrdiff_t count;
    int parts, axes;
    const int32_t* scales;
    ptrdiff_t plane;
    int32_t least, largest;
    const uint8_t* classes;
    const int32_t* offsets;
};

// What follows from the outputs for a band, (count) or (parts, count): the sum of the four nearest samples, weights,
// centres, limited log-scales, and where samples are mapped, means and log-scales of coded ones; else those are outputs.
struct BandRows {
    static constexpr int rows(int parts, bool is_mapped) { return 1 + (is_mapped ? 5 : 3) * parts; }

    BandRows(int32_t* first, const BandOutputs& outputs, bool is_mapped)
        : total(first),
          weights(total + outputs.count),
          centres(weights + outputs.parts * outputs.count),
          limited(centres + outputs.parts * outputs.count),
          coded_means(limited + outputs.parts * outputs.count),
          coded_scales(coded_means + outputs.parts * outputs.count),
          means(is_mapped ? coded_means : outputs.means()),
          scales(is_mapped ? coded_scales : outputs.scales()),
          plane(is_mapped ? outputs.count : outputs.plane) {}

    int32_t *const total, *const weights, *const centres, *const limited, *const coded_means, *const coded_scales;
    const int32_t *const means, *const scales;
    const ptrdiff_t plane;  // of these two
};

// A band that was accepted, (count) each, and the mixtures without offsets, (parts, count).
struct BandAccepted {
    ptrdiff_t count;
    int parts;
    const int32_t *values, *base, *weights, *centres;
    BandMapping mapping;
};

// Known components as networks see them, (images, bands, height, width) each.
struct StageKnown {
    const int32_t* const* known;
    int components;
    ptrdiff_t images, height, width;
    const TapSample* nearest;
};

// Positions, in the order of rows, one image after the other.
struct BandSpan {
    ptrdiff_t first, last;
};

struct BandKernel {
    // All that follows from the outputs for some positions of a band. `powers` are 2**(16 - i / 16); centres and scales are
    // of the outputs, or of the rows where samples are mapped.
    void (*parameters)(BandSpan, const BandOutputs&, const int64_t* powers, const BandMapping&, const BandCentres&,
                       const BandScales&, const BandRows&);
    void (*centres)(const BandCentres&, int32_t* out);
    // Derivatives of the centres by the offsets, (1 + chain + taps, count).
    void (*slopes)(const BandCentres&, const BandMapping&, int32_t* out);
    // Classes (axes, count): of brightness alone where samples are mapped, else of brightness and noise, whose log-scales
    // and weights are (parts, count).
    void (*classes)(const BandNoise&, const BandMapping&, uint8_t* out);
    void (*limited)(const BandScales&, int32_t* out);
    // Distances from the baseline and from the mean that networks see, (count, 2).
    void (*accepted)(const BandAccepted&, int8_t* seen);
    void (*mapped)(const int32_t* indices, ptrdiff_t count, const BandMapping&, int32_t* out);
    // The baseline (images, bands, height, width), and the input of networks (images, height, width, channels).
    void (*input)(const StageKnown&, int32_t* base, int8_t* out);
};

}  // namespace neuralcodec
