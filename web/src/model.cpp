#include "model.hpp"

#include <algorithm>

namespace web {

using namespace neuralcodec;

namespace {

bool ends_with(const std::string& name, const std::string& end) {
    return name.size() >= end.size() && !name.compare(name.size() - end.size(), end.size(), end);
}

}  // namespace

void Model::add(const std::string& name, const std::array<int, 4>& shape, const int8_t* weight, const int32_t* bias,
                const int32_t* shift, int positions) {
    const auto [outputs, inputs, kernel, width] = shape;
    constexpr int most = 1 << 14;
    check(outputs > 0 && outputs <= most && inputs > 0 && inputs <= most && kernel == width && kernel > 0 &&
              kernel < 64 && kernel % 2 && positions >= 0 && positions < inputs,
          "the model is damaged: a layer has an impossible shape");
    const bool of_pixels = ends_with(name, ".embed"), is_output = ends_with(name, ".head");
    layers_[name] = std::make_unique<Layer>(
        LayerSpec{name, outputs, inputs, kernel, weight, bias, shift, of_pixels, is_output, positions},
        kernels);
    border_ = std::max(border_, kernel / 2);
}

Map Model::pixels(const int8_t* values, int height, int width, int channels, PositionInputs positions) const {
    auto map = std::make_shared<FeatureMap>(Content::pixels, Shape{1, height, width}, channels,
                                            stride_of(Content::pixels, channels), border_,
                                            uint8_t(kernels.convolution.offset));
    map->fill(reinterpret_cast<const uint8_t*>(values));
    map->positions = std::move(positions);
    return map;
}

Map Model::conv(const std::string& name, const Map& x, const Map& skip) const {
    const auto found = layers_.find(name);
    check(found != layers_.end(), "the model is damaged: a layer is missing");
    const Layer& layer = *found->second;
    layer.check(*x, skip.get(), {});
    Map result = layer.result_for(*x, {});
    layer.run(*x, skip.get(), {}, *result, 1);
    return result;
}

}  // namespace web
