// Position channels: inputs of a layer that depend on the row, or on the column, of a position alone.
//
// What they add to a sum is known before any pixel: for channels of rows a number that depends on the row, and at the
// borders on the columns of the window that are inside, and the reverse for those of columns. So no kernel multiplies by
// them. Sums begin with a bias for each position instead of one bias; and since such inputs repeat themselves, a table
// of a few rows and columns has them all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "convolution.hpp"

namespace neuralcodec {

// Position channels along one axis: (images, channels, count).
struct AxisInputs {
    int channels = 0, count = 0;
    std::vector<int8_t> values;

    size_t size() const { return size_t(channels) * size_t(count); }
    const int8_t* image(ptrdiff_t index) const { return values.data() + size_t(index) * size(); }
    // After how many positions those of an image repeat themselves.
    int period(ptrdiff_t image) const;
};

struct PositionInputs {
    AxisInputs rows, columns;
};

// What sums begin with in one image, for each place of a row, each of a column, and each output.
struct PositionSums {
    Fold rows, columns;
    int outputs;
    std::vector<int32_t> sums;

    Starts starts() const {
        return {sums.data(), ptrdiff_t(columns.places) * outputs, outputs, rows, columns};
    }
};

// The weights of a layer's position channels.
class PositionWeights {
public:
    // Of weights (outputs, first + 2 * channels, kernel, kernel) those behind `first` inputs, for `padded` outputs.
    PositionWeights(const int8_t* weight, int outputs, int first, int channels, int kernel, int padded);

    const int channels;  // of rows, and as many of columns

    // Of each image, with `bias` (padded); null where all inputs are zero, and none at all without channels. Neighbours
    // that are alike share them.
    std::vector<std::shared_ptr<const PositionSums>> sums(const PositionInputs& inputs, ptrdiff_t images,
                                                          const std::vector<int32_t>& bias) const;

private:
    PositionSums sums_of(const PositionInputs& inputs, ptrdiff_t image, const std::vector<int32_t>& bias) const;
    std::vector<int32_t> parts(const std::vector<int16_t>& weights, const int8_t* inputs, const Fold& fold) const;

    const int kernel_, outputs_;
    std::vector<int16_t> rows_, columns_;  // (channels, along the axis, across it, outputs)
};

}  // namespace neuralcodec
