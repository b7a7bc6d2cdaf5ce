// The part of the Python module for methods without networks.
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "filters.hpp"
#include "module.hpp"

namespace neuralcodec {

using namespace nb::literals;

namespace {

// Samples (height, width, bands) with any strides.
template <class T>
using Pixels = nb::ndarray<T, nb::ndim<3>, nb::device::cpu>;

template <class T>
PredictorImage<T> image_of(const Pixels<T>& pixels, const std::vector<int>& order) {
    constexpr size_t most = size_t(1) << 31;
    const size_t height = pixels.shape(0), width = pixels.shape(1), bands = pixels.shape(2);
    if (height < 1 || width < 1 || bands < 1 || height > most || width > most / height || bands > most)
        throw std::invalid_argument("an image of this shape");
    if (order.size() != bands) throw std::invalid_argument("an order of other bands");
    for (int band : order)
        if (band < 0 || size_t(band) >= bands) throw std::invalid_argument("there is no such band");
    return {pixels.data(),     ptrdiff_t(height),           ptrdiff_t(width), ptrdiff_t(pixels.stride(0)),
            pixels.stride(1), ptrdiff_t(pixels.stride(2)), order};
}

void check_choices(const FrequencyTables& tables, const Array<int64_t, 2>& choices, size_t bands) {
    if (tables.shape.symbols != predictor::symbols) throw std::invalid_argument("tables of another shape");
    if (choices.shape(0) != bands || choices.shape(1) != predictor::levels)
        throw std::invalid_argument("a table for each level of each band");
    for (size_t i = 0; i < choices.size(); i++)
        if (choices.data()[i] < 0 || choices.data()[i] >= tables.shape.rows)
            throw std::invalid_argument("there is no such table");
}

nb::object residuals(const PredictorFunctions& functions, Pixels<const uint8_t> pixels, const std::vector<int>& order) {
    const auto image = image_of(pixels, order);
    const size_t bands = order.size(), height = size_t(image.height), width = size_t(image.width);
    auto found = numbers<uint8_t>(bands * height * width), levels = numbers<uint8_t>(bands * height * width);
    auto counts = numbers<int64_t>(bands * predictor::levels * predictor::symbols);
    {
        nb::gil_scoped_release release;
        predictor_residuals(functions.kernel, functions.tables(), image, {found.get(), levels.get(), counts.get()});
    }
    return nb::make_tuple(array_of(std::move(found), {bands, height, width}),
                          array_of(std::move(levels), {bands, height, width}),
                          array_of(std::move(counts), {bands, size_t(predictor::levels), size_t(predictor::symbols)}));
}

nb::object symbols(const FrequencyTables& tables, Array<int64_t, 2> choices, Array<uint8_t, 3> residuals,
                   Array<uint8_t, 3> levels) {
    const size_t bands = residuals.shape(0), height = residuals.shape(1), width = residuals.shape(2);
    check_choices(tables, choices, bands);
    for (size_t axis = 0; axis < 3; axis++)
        if (levels.shape(axis) != residuals.shape(axis) || residuals.shape(axis) < 1)
            throw std::invalid_argument("a level for each residual");
    uint8_t highest = 0;
    for (size_t i = 0; i < levels.size(); i++) highest = std::max(highest, levels.data()[i]);
    if (highest >= predictor::levels) throw std::invalid_argument("there is no such level");
    const PredictorSymbols of{tables,           choices.data(),   residuals.data(), levels.data(), ptrdiff_t(height),
                              ptrdiff_t(width), ptrdiff_t(bands)};
    const size_t count = residuals.size();
    auto start = numbers<uint32_t>(count), freq = numbers<uint32_t>(count);
    auto ends = numbers<int64_t>(size_t(of.steps()));
    {
        nb::gil_scoped_release release;
        of.code(start.get(), freq.get(), ends.get());
    }
    return nb::make_tuple(array_of(std::move(start), {count}), array_of(std::move(freq), {count}),
                          array_of(std::move(ends), {size_t(of.steps())}));
}

// A decoder with the arrays that it works with.
struct PythonDecoder {
    PythonDecoder(const PredictorFunctions& functions, const FrequencyTables& tables, Array<int64_t, 2> choices,
                  Pixels<uint8_t> out, std::vector<int> order)
        : choices(choices),
          out(out),
          order(std::move(order)),
          decoder(functions.kernel, functions.tables(), tables, choices.data(), image_of(out, this->order)) {}

    const Array<int64_t, 2> choices;
    const Pixels<uint8_t> out;
    const std::vector<int> order;
    PredictorDecoder decoder;
};

std::unique_ptr<PythonDecoder> decoder(const PredictorFunctions& functions, const FrequencyTables& tables,
                                       Array<int64_t, 2> choices, Pixels<uint8_t> out, std::vector<int> order) {
    check_choices(tables, choices, order.size());
    return std::make_unique<PythonDecoder>(functions, tables, choices, out, std::move(order));
}

ptrdiff_t pop_samples(PythonDecoder& decoder, MutableArray<uint64_t, 1> heads, MutableArray<uint16_t, 1> words,
                      ptrdiff_t size, ptrdiff_t count) {
    Lanes lanes = lanes_of(heads, words, size);
    if (count < 0) throw std::invalid_argument("samples that there are not");
    nb::gil_scoped_release release;
    return decoder.decoder.pop(lanes, count) ? lanes.size : -1;
}

template <class T>
FilterShape shape_of(const nb::ndarray<T, nb::ndim<3>, nb::c_contig, nb::device::cpu>& rows) {
    return {ptrdiff_t(rows.shape(0)), ptrdiff_t(rows.shape(1)), ptrdiff_t(rows.shape(2))};
}

template <class T>
nb::object filter(Array<T, 3> samples) {
    const size_t height = samples.shape(0);
    auto rows = numbers<T>(samples.size());
    auto filters = numbers<uint8_t>(height);
    {
        nb::gil_scoped_release release;
        filter_rows(samples.data(), shape_of(samples), rows.get(), filters.get());
    }
    return nb::make_tuple(array_of(std::move(rows), {height, samples.shape(1), samples.shape(2)}),
                          array_of(std::move(filters), {height}));
}

template <class T>
void unfilter(MutableArray<T, 3> rows, Array<uint8_t, 1> filters) {
    if (filters.shape(0) != rows.shape(0)) throw std::invalid_argument("a filter for each row");
    for (size_t i = 0; i < filters.shape(0); i++)
        if (filters.data()[i] > 3) throw std::invalid_argument("there is no such filter");
    nb::gil_scoped_release release;
    unfilter_rows(rows.data(), shape_of(rows), filters.data());
}

template <class T>
void bind_filters(nb::module_& m) {
    m.def("filter_rows", &filter<T>, "samples"_a.noconvert());
    m.def("unfilter_rows", &unfilter<T>, "rows"_a.noconvert(), "filters"_a.noconvert());
}

}  // namespace

PredictorFunctions::PredictorFunctions(const PredictorKernel& kernel, const Array<uint32_t, 1>& weights,
                                       const Array<uint8_t, 1>& levels)
    : kernel(kernel),
      weights(weights.data(), weights.data() + weights.size()),
      levels(levels.data(), levels.data() + levels.size()) {
    if (weights.size() != predictor::miss_sums || levels.size() < 1 || levels.size() > 1 << 16)
        throw std::invalid_argument("a table is of another size");
    for (uint32_t weight : this->weights)
        if (weight < 1 || weight > predictor::largest_weight) throw std::invalid_argument("a weight is out of range");
    for (uint8_t level : this->levels)
        if (level >= predictor::levels) throw std::invalid_argument("a level is out of range");
}

void bind_predictor(nb::module_& m) {
    bind_filters<uint8_t>(m);
    bind_filters<uint16_t>(m);
    bind_filters<uint32_t>(m);

    nb::class_<PythonDecoder>(m, "PredictorDecoder")
        .def("pop", &pop_samples, "heads"_a.noconvert(), "words"_a.noconvert(), "size"_a, "count"_a);

    nb::class_<PredictorFunctions>(m, "Predictor")
        .def("residuals", &residuals, "pixels"_a.noconvert(), "order"_a)
        .def_static("symbols", &symbols, "tables"_a, "choices"_a.noconvert(), "residuals"_a.noconvert(),
                    "levels"_a.noconvert())
        .def("decoder", &decoder, "tables"_a, "choices"_a.noconvert(), "out"_a.noconvert(), "order"_a,
             nb::keep_alive<0, 1>(), nb::keep_alive<0, 2>());
}

}  // namespace neuralcodec
