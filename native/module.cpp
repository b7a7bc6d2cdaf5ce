// The Python module: arguments are checked here, so that no kernel sees a wrong type, shape or layout.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <limits>
#include <stdexcept>

#include "kernels.hpp"
#include "layer.hpp"
#include "module.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using namespace neuralcodec;

namespace {

std::unique_ptr<Layer> layer(const Kernels& kernels, const std::string& name, Array<int8_t, 4> weight,
                             Array<int32_t, 1> bias, Array<int32_t, 1> shift, bool pixel_input, bool is_output,
                             int positions) {
    const size_t outputs = weight.shape(0), inputs = weight.shape(1), kernel = weight.shape(2);
    constexpr size_t most = 1 << 14;  // channels; sides are far smaller
    if (bias.shape(0) != outputs || shift.shape(0) != outputs || weight.shape(3) != kernel || kernel % 2 == 0 ||
        outputs < 1 || inputs < 1 || outputs > most || inputs > most || kernel > 63)
        throw std::invalid_argument("layer '" + name + "': shapes do not agree");
    if (positions < 0 || positions % 2 || size_t(positions) >= inputs || (positions && !pixel_input))
        throw std::invalid_argument("layer '" + name + "': position channels come in pairs, besides pixels");
    return std::make_unique<Layer>(LayerSpec{name, int(outputs), int(inputs), int(kernel), weight.data(), bias.data(),
                                             shift.data(), pixel_input, is_output, positions},
                                   kernels);
}

template <class T>
std::unique_ptr<FeatureMap> feature_map(Content content, const Array<T, 4>& values, int border, int blank) {
    const Shape shape{ptrdiff_t(values.shape(0)), ptrdiff_t(values.shape(1)), ptrdiff_t(values.shape(2))};
    constexpr size_t most = size_t(1) << 28;
    if (values.shape(1) > most || values.shape(2) > most || values.shape(3) > most || values.shape(3) < 1)
        throw std::invalid_argument("a feature map of this shape");
    if (border < 0 || border > 31) throw std::invalid_argument("a border is 0..31 wide");
    const int channels = int(values.shape(3));
    auto map = std::make_unique<FeatureMap>(content, shape, channels, stride_of(content, channels), border,
                                            uint8_t(blank));
    map->fill(reinterpret_cast<const uint8_t*>(values.data()));
    return map;
}

std::unique_ptr<FeatureMap> from_activations(const Kernels&, Array<uint8_t, 4> values, int border) {
    for (size_t i = 0; i < values.size(); i++)
        if (values.data()[i] > 127) throw std::invalid_argument("activations are 0..127");
    return feature_map(Content::activations, values, border, 0);
}

AxisInputs axis_inputs(const Array<int8_t, 3>& values) {
    return {int(values.shape(1)), int(values.shape(2)),
            std::vector<int8_t>(values.data(), values.data() + values.size())};
}

std::unique_ptr<FeatureMap> from_pixels(const Kernels& kernels, Array<int8_t, 4> values, int border,
                                        std::optional<Array<int8_t, 3>> rows, std::optional<Array<int8_t, 3>> columns) {
    auto map = feature_map(Content::pixels, values, border, kernels.convolution.offset);
    if (!rows && !columns) return map;
    if (!rows || !columns || rows->shape(0) != values.shape(0) || columns->shape(0) != values.shape(0) ||
        rows->shape(1) != columns->shape(1) || rows->shape(1) < 1 || rows->shape(1) > 64 || rows->shape(2) != values.shape(1) ||
        columns->shape(2) != values.shape(2))
        throw std::invalid_argument("position channels of another shape");
    map->positions = {axis_inputs(*rows), axis_inputs(*columns)};
    return map;
}

std::unique_ptr<FeatureMap> run_at(const Layer& layer, const FeatureMap& x, const FeatureMap* skip, Sampling at,
                                   int threads) {
    layer.check(x, skip, at);
    auto result = layer.result_for(x, at);
    const auto sampled = skip && at.step > 1 ? skip->sampled(at) : nullptr;
    nb::gil_scoped_release release;
    layer.run(x, sampled ? sampled.get() : skip, at, *result, threads);
    return result;
}

std::unique_ptr<FeatureMap> run(const Layer& layer, const FeatureMap& x, const FeatureMap* skip, int threads) {
    return run_at(layer, x, skip, {}, threads);
}

std::unique_ptr<FeatureMap> run_second(const Layer& layer, const FeatureMap& x, const FeatureMap* skip, int row, int column,
                                       int threads) {
    return run_at(layer, x, skip, Sampling::second(row, column), threads);
}

std::unique_ptr<Logistic> logistic_of(const Kernels& kernels, Array<int32_t, 1> sigmoid, Array<int32_t, 1> inverse_scale,
                                   Array<int32_t, 1> log2) {
    return std::make_unique<Logistic>(kernels.mixtures, kernels.adaptation, kernels.backward, sigmoid, inverse_scale,
                                      log2);
}

int64_t multiply_adds(const Kernels& kernels, int64_t steps) {
    nb::gil_scoped_release release;
    return kernels.convolution.multiply_adds ? kernels.convolution.multiply_adds(steps) : 0;
}

// A view (N, h, w, C) of a feature map's memory, which it keeps alive: int32 of sums, else uint8.
nb::object view(const FeatureMap& map) {
    using Owner = std::shared_ptr<uint8_t[]>;
    nb::capsule capsule(new Owner(map.memory()), [](void* p) noexcept { delete static_cast<Owner*>(p); });
    const size_t shape[] = {size_t(map.shape.images), size_t(map.shape.height), size_t(map.shape.width),
                            size_t(map.channels)};
    const bool is_sums = map.content == Content::sums;
    const int64_t strides[] = {map.image(), map.row(), map.stride, is_sums ? map.shape.positions() : 1};
    const ptrdiff_t first = map.shape.images ? map.at(0) : 0;
    if (is_sums) return nb::cast(nb::ndarray<nb::numpy, int32_t>(map.sums(), 4, shape, capsule, strides));
    return nb::cast(nb::ndarray<nb::numpy, uint8_t>(map.bytes() + first, 4, shape, capsule, strides));
}

}  // namespace

NB_MODULE(_native, m) {
    // Caches hold kernels until the interpreter ends, and it does not free all that modules hold.
    nb::set_leak_warnings(false);

    m.def("environment", [](const char* name) { return std::getenv(name); }, "name"_a);

    m.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (InstructionSet set : available()) names.emplace_back(name(set));
        return names;
    });

    nb::class_<FeatureMap>(m, "FeatureMap")
        .def_prop_ro("shape", [](const FeatureMap& map) {
            return nb::make_tuple(map.shape.images, map.shape.height, map.shape.width, map.channels);
        })
        .def_prop_ro("offset", [](const FeatureMap& map) { return int(map.blank); })
        .def("view", &view)
        .def("upsample", &FeatureMap::upsampled, "height"_a, "width"_a, "top"_a = 0, "left"_a = 0);

    nb::class_<Layer>(m, "Layer").def("__call__", &run, "x"_a, "skip"_a.none() = nb::none(), "threads"_a = 1)
        .def("at", &run_second, "x"_a, "skip"_a.none(), "row"_a, "column"_a, "threads"_a = 1);

    bind_bands(m);
    bind_coders(m);
    bind_backward(m);
    bind_flow(m);
    bind_jpeg(m);
    bind_predictor(m);

    nb::class_<Kernels>(m, "Kernels")
        .def_prop_ro("name", [](const Kernels& kernels) { return name(kernels.set); })
        .def("layer", &layer, "name"_a, "weight"_a.noconvert(), "bias"_a.noconvert(), "shift"_a.noconvert(),
             "pixel_input"_a = false, "is_output"_a = false, "positions"_a = 0)
        .def("from_activations", &from_activations, "activations"_a.noconvert(), "border"_a)
        .def("from_pixels", &from_pixels, "pixels"_a.noconvert(), "border"_a, "rows"_a.noconvert().none() = nb::none(),
             "columns"_a.noconvert().none() = nb::none())
        .def("multiply_adds", &multiply_adds, "steps"_a)
        .def("bands", [](const Kernels& kernels, Array<int64_t, 1> powers) {
            return std::make_unique<BandFunctions>(kernels.bands, powers);
        }, "powers"_a.noconvert())
        .def("predictor", [](const Kernels& kernels, Array<uint32_t, 1> weights, Array<uint8_t, 1> levels) {
            return std::make_unique<PredictorFunctions>(kernels.predictor, weights, levels);
        }, "weights"_a.noconvert(), "levels"_a.noconvert())
        .def("logistic", &logistic_of, "sigmoid"_a.noconvert(), "inverse_scale"_a.noconvert(), "log2"_a.noconvert());

    m.def("kernels", [](const std::string& name) { return &kernels(named(name)); }, "name"_a,
          nb::rv_policy::reference);
}
