#include "windows.hpp"

#include <cstring>
#include <stdexcept>

#include "layer.hpp"
#include "parallel.hpp"

namespace neuralcodec {

std::unique_ptr<FeatureMap> windows_for(const FeatureMap& x, int side, Sampling at) {
    if (x.content != Content::activations) throw std::invalid_argument("windows are of activations");
    if (side < 1 || side % 2 == 0 || side / 2 > x.border) throw std::invalid_argument("windows are wider than the border");
    if (at.row < 0 || at.row > 1 || at.column < 0 || at.column > 1)
        throw std::invalid_argument("every second position begins with the first or with the second");
    const Shape shape{x.shape.images, (x.shape.height + 1 - at.row) / 2, (x.shape.width + 1 - at.column) / 2};
    const int channels = side * side * x.channels;
    return std::make_unique<FeatureMap>(x.content, shape, channels, stride_of(x.content, channels), x.border);
}

void gather_windows(const FeatureMap& x, int side, Sampling at, const FeatureMap& result, int threads) {
    const size_t channels = size_t(x.channels), rest = size_t(result.stride - result.channels);
    const int reach = side / 2;
    parallel(x.shape.images, threads, [&](ptrdiff_t image) {
        const uint8_t* first = x.bytes() + x.at(image) + (at.row - reach) * x.row() + (at.column - reach) * x.stride;
        for (ptrdiff_t y = 0; y < result.shape.height; y++) {
            uint8_t* to = result.bytes() + result.at(image) + y * result.row();
            for (ptrdiff_t column = 0; column < result.shape.width; column++) {
                const uint8_t* window = first + 2 * (y * x.row() + column * x.stride);
                for (int dy = 0; dy < side; dy++, window += x.row())
                    for (int dx = 0; dx < side; dx++, to += channels)
                        std::memcpy(to, window + dx * x.stride, channels);
                std::memset(to, 0, rest);
                to += rest;
            }
        }
    });
}

}  // namespace neuralcodec
