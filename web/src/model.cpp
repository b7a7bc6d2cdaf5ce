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
    if (ends_with(name, ".matrix")) {
        check(outputs == 3 && inputs == 3 && kernel == 1, "the model is damaged: a matrix has an impossible shape");
        Matrix matrix{{}, *std::max_element(shift, shift + 3) - 4};
        for (int i = 0; i < 9; i++) {
            const int up = matrix.bits + 4 - shift[i / 3];
            check(matrix.bits >= 0 && matrix.bits <= 16 && up <= matrix.bits, "the model is damaged: a matrix is impossible");
            matrix.weights[size_t(i)] = int64_t(weight[i]) * (int64_t(1) << up);
        }
        matrices_[name.substr(0, name.size() - 7)] = matrix;
        return;
    }
    const bool of_pixels = ends_with(name, ".embed"), is_output = ends_with(name, ".head");
    layers_[name] = std::make_unique<Layer>(
        LayerSpec{name, outputs, inputs, kernel, weight, bias, shift, of_pixels, is_output, positions},
        kernels);
    border_ = std::max(border_, kernel / 2);
}

const Model::Matrix& Model::matrix(const std::string& stage) const {
    const auto found = matrices_.find(stage);
    check(found != matrices_.end(), "the model is damaged: a matrix is missing");
    return found->second;
}

Map Model::pixels(const int8_t* values, int height, int width, int channels, PositionInputs positions) const {
    auto map = std::make_shared<FeatureMap>(Content::pixels, Shape{1, height, width}, channels,
                                            stride_of(Content::pixels, channels), border_,
                                            uint8_t(kernels.convolution.offset));
    map->fill(reinterpret_cast<const uint8_t*>(values));
    map->positions = std::move(positions);
    return map;
}

Map Model::conv(const std::string& name, const Map& x, const Map& skip, Sampling at) const {
    const auto found = layers_.find(name);
    check(found != layers_.end(), "the model is damaged: a layer is missing");
    const Layer& layer = *found->second;
    layer.check(*x, skip.get(), at);
    Map result = layer.result_for(*x, at);
    layer.run(*x, skip.get(), at, *result, 1);
    return result;
}

}  // namespace web
