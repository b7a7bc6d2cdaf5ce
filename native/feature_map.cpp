#include "feature_map.hpp"

#include <cstring>
#include <stdexcept>

#include "memory.hpp"

namespace neuralcodec {
namespace {

// Kernels read whole steps of 4 bytes, and with AMX parts of 16 steps: up to 63 bytes behind the last position.
constexpr size_t slack = 64;

}  // namespace

Sampling Sampling::second(int row, int column) {
    if (row < 0 || row > 1 || column < 0 || column > 1)
        throw std::invalid_argument("every second position begins with the first or with the second");
    return {2, row, column};
}

FeatureMap::FeatureMap(Content content_, Shape shape_, int channels_, int stride_, int border_, uint8_t blank_)
    : content(content_), shape(shape_), channels(channels_), stride(stride_), border(border_), blank(blank_) {
    const size_t of_position = content == Content::sums ? size_t(channels) * sizeof(int32_t) : 1;
    memory_ = numbers<uint8_t>(size_t(shape.images) * size_t(image()) * of_position + slack);
    if (border) clear_border();
}

void FeatureMap::clear_border() {
    const size_t edge = size_t(border) * size_t(stride), thick = size_t(border) * size_t(row());
    uint8_t* p = bytes();
    for (ptrdiff_t i = 0; i < shape.images; i++) {
        std::memset(p, blank, thick);
        p += thick;
        for (ptrdiff_t y = 0; y < shape.height; y++, p += row()) {
            std::memset(p, blank, edge);
            std::memset(p + row() - edge, blank, edge);
        }
        std::memset(p, blank, thick);
        p += thick;
    }
}

void FeatureMap::fill(const uint8_t* values) {
    for (ptrdiff_t i = 0; i < shape.images; i++)
        for (ptrdiff_t y = 0; y < shape.height; y++) {
            uint8_t* out = bytes() + at(i) + y * row();
            if (channels == stride) {
                const ptrdiff_t count = shape.width * channels;
                for (ptrdiff_t x = 0; x < count; x++) out[x] = uint8_t(values[x] + blank);
                values += count;
                continue;
            }
            for (ptrdiff_t x = 0; x < shape.width; x++, out += stride, values += channels) {
                for (int c = 0; c < channels; c++) out[c] = uint8_t(values[c] + blank);
                std::memset(out + channels, blank, size_t(stride - channels));
            }
        }
}

std::unique_ptr<FeatureMap> FeatureMap::upsampled(ptrdiff_t height, ptrdiff_t width, ptrdiff_t top,
                                                  ptrdiff_t left) const {
    if (content == Content::sums) throw std::invalid_argument("the results of an output layer are not upsampled");
    if (height < 0 || width < 0 || top < 0 || left < 0 || height > 2 * shape.height - top ||
        width > 2 * shape.width - left)
        throw std::invalid_argument("upsampled features are cropped to a part of them");
    auto result = std::make_unique<FeatureMap>(content, Shape{shape.images, height, width}, channels, stride, border,
                                               blank);
    const size_t size = size_t(stride);
    for (ptrdiff_t i = 0; i < shape.images; i++)
        for (ptrdiff_t y = 0; y < height; y++) {
            const uint8_t* from = bytes() + at(i) + (y + top) / 2 * row();
            uint8_t* to = result->bytes() + result->at(i) + y * result->row();
            for (ptrdiff_t x = 0; x < width; x++, to += size)
                std::memcpy(to, from + size_t((x + left) / 2) * size, size);
        }
    return result;
}

std::unique_ptr<FeatureMap> FeatureMap::sampled(Sampling sampling) const {
    if (content == Content::sums) throw std::invalid_argument("the results of an output layer are not sampled");
    auto result = std::make_unique<FeatureMap>(content, sampling.of(shape), channels, stride, border, blank);
    for (ptrdiff_t i = 0; i < shape.images; i++)
        for (ptrdiff_t y = 0; y < result->shape.height; y++) {
            const uint8_t* from = bytes() + at(i) + (y * sampling.step + sampling.row) * row() + sampling.column * stride;
            uint8_t* to = result->bytes() + result->at(i) + y * result->row();
            for (ptrdiff_t x = 0; x < result->shape.width; x++, to += stride, from += sampling.step * stride)
                std::memcpy(to, from, size_t(stride));
        }
    return result;
}

}  // namespace neuralcodec
