// Feature maps: images of activations, of pixels or of an output layer's sums.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "positions.hpp"

namespace neuralcodec {

struct Shape {
    ptrdiff_t images, height, width;
    bool operator==(const Shape& other) const {
        return images == other.images && height == other.height && width == other.width;
    }
    ptrdiff_t positions() const { return images * height * width; }
};

// Every position, or every `step`-th from (row, column) on.
struct Sampling {
    int step = 1, row = 0, column = 0;

    // Every second one. Throws std::invalid_argument unless row and column are 0 or 1.
    static Sampling second(int row, int column);
    Shape of(const Shape& shape) const {
        return {shape.images, (shape.height - row + step - 1) / step, (shape.width - column + step - 1) / step};
    }
};

enum class Content { activations, pixels, sums };

// Images (N, h, w, C) in memory (N, h + 2 * border, w + 2 * border, stride), in bytes. Sums, in int32, have neither border
// nor stride: they are planes (C, N, h, w).
class FeatureMap {
public:
    // The border is blank, the inside is not yet defined. `blank` is the byte that stands for zero.
    FeatureMap(Content content, Shape shape, int channels, int stride, int border, uint8_t blank = 0);

    const Content content;
    const Shape shape;
    const int channels, stride, border;
    const uint8_t blank;
    PositionInputs positions;

    ptrdiff_t row() const { return (shape.width + 2 * border) * stride; }
    ptrdiff_t image() const { return (shape.height + 2 * border) * row(); }
    // Offset of the first element of an image inside of the border.
    ptrdiff_t at(ptrdiff_t image_index) const { return image_index * image() + border * row() + border * stride; }
    uint8_t* bytes() const { return memory_.get(); }
    // Of sums, those of a channel, (N, h, w).
    int32_t* sums(int channel = 0) const {
        return reinterpret_cast<int32_t*>(memory_.get()) + channel * shape.positions();
    }
    const std::shared_ptr<uint8_t[]>& memory() const { return memory_; }

    // A copy of (N, h, w, C) bytes without gaps, each with `blank` added, and with channels beyond C blank.
    void fill(const uint8_t* values);

    // Every position repeated twice in both directions, cropped to height x width from (top, left) on. Throws
    // std::invalid_argument if there are not so many, or for sums.
    std::unique_ptr<FeatureMap> upsampled(ptrdiff_t height, ptrdiff_t width, ptrdiff_t top, ptrdiff_t left) const;

    // A copy of some positions. Throws std::invalid_argument for sums.
    std::unique_ptr<FeatureMap> sampled(Sampling at) const;

private:
    void clear_border();
    std::shared_ptr<uint8_t[]> memory_;
};

}  // namespace neuralcodec
