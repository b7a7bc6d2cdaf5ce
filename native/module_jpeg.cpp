// The part of the Python module for images that were JPEG files.
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "jpeg_coefficients.hpp"
#include "jpeg_pixels.hpp"
#include "module.hpp"

namespace neuralcodec {

using namespace nb::literals;

namespace {

using jpeg::Weights;

// A component with the array that its coefficients are in.
struct PythonComponent : JpegComponent {
    PythonComponent(AdaptiveTables& tables, const Array<int64_t, 1>& steps, MutableArray<int16_t, 3> kept)
        : JpegComponent(tables, ptrdiff_t(kept.shape(1)), ptrdiff_t(kept.shape(2)), steps.data(), kept.data()),
          coefficients(kept) {}

    const MutableArray<int16_t, 3> coefficients;
};

std::unique_ptr<PythonComponent> component(AdaptiveTables& tables, Array<int64_t, 1> steps,
                                           MutableArray<int16_t, 3> coefficients) {
    const TableShape shape = tables.tables().shape;
    if (shape.rows != jpeg::table_count || shape.symbols != jpeg::table_symbols)
        throw std::invalid_argument("tables of another shape");
    if (steps.shape(0) != jpeg::frequencies || coefficients.shape(0) != jpeg::frequencies ||
        coefficients.shape(1) < 1 || coefficients.shape(2) < 1)
        throw std::invalid_argument("64 steps, and coefficients of 64 frequencies");
    constexpr size_t most = (size_t(1) << 31) - 1;  // blocks and their border have numbers of 32 bits
    if (coefficients.shape(1) > most / 2 || coefficients.shape(2) + 2 > most / (coefficients.shape(1) + 2))
        throw std::invalid_argument("too many blocks");
    return std::make_unique<PythonComponent>(tables, steps, coefficients);
}

Weights weights_of(const Array<int64_t, 1>& sizes, const Array<int64_t, 1>& edges) {
    if (sizes.shape(0) != jpeg::features || edges.shape(0) != jpeg::edges)
        throw std::invalid_argument("weights of another number");
    const auto beyond = [](const Array<int64_t, 1>& weights, int64_t most) {
        for (size_t i = 0; i < weights.shape(0); i++) {
            if (weights(i) < -most || weights(i) > most) return true;
            most -= weights(i) < 0 ? -weights(i) : weights(i);
        }
        return false;
    };
    if (beyond(sizes, 1 << 12) || beyond(edges, 1 << 14)) throw std::invalid_argument("weights are too large");
    return {sizes.data(), edges.data()};
}

JpegStep mean(PythonComponent& component, size_t index, Array<int64_t, 1> sizes, Array<int64_t, 1> edges) {
    const Weights weights = weights_of(sizes, edges);
    nb::gil_scoped_release release;
    return component.mean(index, weights);
}

JpegStep step(PythonComponent& component, int frequency, int part, const std::vector<const PythonComponent*>& others,
              Array<int64_t, 1> sizes, Array<int64_t, 1> edges) {
    const Weights weights = weights_of(sizes, edges);
    std::vector<const JpegComponent*> known;
    for (const PythonComponent* other : others) {
        if (!other) throw std::invalid_argument("a component is missing");
        known.push_back(other);
    }
    nb::gil_scoped_release release;
    return component.step(frequency, part, known, weights);
}

nb::object code(const JpegStep& step) {
    JpegStep::Symbols found;
    bool fits;
    {
        nb::gil_scoped_release release;
        fits = step.code(found);
    }
    if (!fits) return nb::none();
    return nb::make_tuple(array_of(found.start), array_of(found.freq), array_of(found.low), array_of(found.low_radix),
                          array_of(found.bits), array_of(found.beyond), array_of(found.beyond_radix));
}

bool accept(const JpegStep& step, Array<int64_t, 1> symbols, Array<int64_t, 1> low, Array<int64_t, 1> bits,
            Array<int64_t, 1> beyond) {
    const auto numbers = [](const Array<int64_t, 1>& array) { return JpegStep::Numbers{array.data(), array.shape(0)}; };
    nb::gil_scoped_release release;
    return step.accept(numbers(symbols), numbers(low), numbers(bits), numbers(beyond));
}

nb::object samples(Array<int64_t, 3> coefficients, Array<int64_t, 1> steps) {
    const size_t rows = coefficients.shape(1), columns = coefficients.shape(2);
    if (coefficients.shape(0) != jpeg::frequencies || steps.shape(0) != jpeg::frequencies)
        throw std::invalid_argument("64 steps, and coefficients of 64 frequencies");
    auto out = numbers<uint8_t>(64 * rows * columns);
    {
        nb::gil_scoped_release release;
        jpeg_samples(coefficients.data(), steps.data(), ptrdiff_t(rows), ptrdiff_t(columns), out.get());
    }
    return array_of(std::move(out), {8 * rows, 8 * columns});
}

nb::object enlarge(Array<uint8_t, 2> plane, size_t rows, size_t columns, size_t vertical, size_t horizontal, bool fancy,
                   size_t top, size_t left, size_t height, size_t width) {
    constexpr size_t most = size_t(1) << 31;
    if (vertical < 1 || vertical > 2 || horizontal < 1 || horizontal > 2)
        throw std::invalid_argument("factors are 1 or 2");
    if (rows < 1 || columns < 1 || rows > plane.shape(0) || columns > plane.shape(1) || top > most || left > most ||
        height > most || width > most || top + height > vertical * rows || left + width > horizontal * columns)
        throw std::invalid_argument("a part that is not there");
    const Samples part{plane.data(), ptrdiff_t(rows), ptrdiff_t(columns), ptrdiff_t(plane.shape(1))};
    const Enlargement to{int(vertical), int(horizontal), fancy, ptrdiff_t(top), ptrdiff_t(left), ptrdiff_t(height),
                         ptrdiff_t(width)};
    auto out = numbers<uint8_t>(height * width);
    {
        nb::gil_scoped_release release;
        jpeg_enlarge(part, to, out.get());
    }
    return array_of(std::move(out), {height, width});
}

nb::object rgb(Array<uint8_t, 2> luma, Array<uint8_t, 2> cb, Array<uint8_t, 2> cr) {
    const size_t height = luma.shape(0), width = luma.shape(1);
    for (const auto* other : {&cb, &cr})
        if (other->shape(0) != height || other->shape(1) != width)
            throw std::invalid_argument("planes are of one shape");
    auto out = numbers<uint8_t>(3 * height * width);
    {
        nb::gil_scoped_release release;
        jpeg_rgb(luma.data(), cb.data(), cr.data(), ptrdiff_t(height * width), out.get());
    }
    return array_of(std::move(out), {height, width, size_t(3)});
}

}  // namespace

void bind_jpeg(nb::module_& m) {
    nb::class_<JpegStep, Distribution>(m, "JpegStep")
        .def("__len__", &JpegStep::size)
        .def("code", &code)
        .def("radix", [](const JpegStep& step) { return array_of(step.radix()); })
        .def("accept", &accept, "symbols"_a.noconvert(), "low"_a.noconvert(), "bits"_a.noconvert(),
             "beyond"_a.noconvert());

    m.def("jpeg_component", &component, "tables"_a, "steps"_a.noconvert(), "coefficients"_a.noconvert(),
          nb::keep_alive<0, 1>());

    m.def("jpeg_samples", &samples, "coefficients"_a.noconvert(), "steps"_a.noconvert());
    m.def("jpeg_enlarge", &enlarge, "plane"_a.noconvert(), "rows"_a, "columns"_a, "vertical"_a, "horizontal"_a,
          "fancy"_a, "top"_a, "left"_a, "height"_a, "width"_a);
    m.def("jpeg_rgb", &rgb, "luma"_a.noconvert(), "cb"_a.noconvert(), "cr"_a.noconvert());

    nb::class_<PythonComponent>(m, "JpegComponent")
        .def("means", [](const PythonComponent& component) {
            std::vector<int> kinds;
            for (const JpegComponent::Mean& mean : component.means()) kinds.push_back(mean.kind);
            return kinds;
        })
        .def("mean", &mean, "index"_a, "sizes"_a.noconvert(), "edges"_a.noconvert(), nb::keep_alive<0, 1>())
        .def("step", &step, "frequency"_a, "part"_a, "others"_a, "sizes"_a.noconvert(), "edges"_a.noconvert(),
             nb::keep_alive<0, 1>());
}

}  // namespace neuralcodec
