// The part of the Python module for the bands of the photo flow.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <stdexcept>

#include "bands.hpp"
#include "module.hpp"

namespace neuralcodec {

using namespace nb::literals;

namespace {

template <class T>
std::unique_ptr<T[]> numbers(size_t rows, size_t count) {
    if (count > size_t(PTRDIFF_MAX) / sizeof(T) / bands::most_parts) throw std::invalid_argument("too many positions");
    return std::unique_ptr<T[]>(new T[rows * count]);
}

nb::object taps(const BandFunctions& functions, const std::vector<Array<int32_t, 3>>& known, Array<int32_t, 3> table) {
    std::vector<const int32_t*> planes;
    if (known.empty() || known.size() > 3) throw std::invalid_argument("1..3 components are known");
    const size_t images = known[0].shape(0), height = known[0].shape(1), width = known[0].shape(2);
    for (const auto& plane : known) {
        if (plane.shape(0) != images || plane.shape(1) != height || plane.shape(2) != width)
            throw std::invalid_argument("components are of one shape");
        planes.push_back(plane.data());
    }
    if (table.shape(0) != bands::taps || table.shape(1) != 2 || table.shape(2) != 3)
        throw std::invalid_argument("a table of another shape");
    TapSample samples[bands::taps][2];
    for (int t = 0; t < bands::taps; t++)
        for (int i = 0; i < 2; i++) {
            TapSample& sample = samples[t][i] = {table(t, i, 0), table(t, i, 1), table(t, i, 2)};
            if (sample.component < 0 || sample.component >= int(known.size()) || sample.down < -2 || sample.down > 2 ||
                sample.right < -2 || sample.right > 2)
                throw std::invalid_argument("a tap is out of reach");
        }
    const size_t count = images * height * width;
    auto total = numbers<int32_t>(1, count), deviations = numbers<int32_t>(bands::taps, count);
    const BandTaps given{planes.data(), ptrdiff_t(images), ptrdiff_t(height), ptrdiff_t(width), samples};
    {
        nb::gil_scoped_release release;
        functions.kernel.taps(given, total.get(), deviations.get());
    }
    return nb::make_tuple(array_of(std::move(total), {images * height, width}),
                          array_of(std::move(deviations), {size_t(bands::taps), images * height, width}));
}

using Outputs = nb::ndarray<const int32_t, nb::ndim<4>, nb::device::cpu>;

nb::object read(const BandFunctions& functions, Outputs outputs, size_t parts, size_t chain) {
    const size_t images = outputs.shape(0), height = outputs.shape(1), width = outputs.shape(2);
    if (parts < 1 || parts > bands::most_parts || chain > 2 || outputs.shape(3) != 3 * parts + chain + bands::taps)
        throw std::invalid_argument("outputs of another number");
    if (outputs.stride(3) != 1) throw std::invalid_argument("outputs of a position lie side by side");
    const size_t count = images * height * width;
    auto weights = numbers<int64_t>(parts, count), means = numbers<int64_t>(parts, count);
    auto scales = numbers<int64_t>(parts, count), links = numbers<int64_t>(chain, count);
    auto filters = numbers<int32_t>(bands::taps, count);
    const BandOutputs given{outputs.data(),
                            ptrdiff_t(images),
                            ptrdiff_t(height),
                            ptrdiff_t(width),
                            ptrdiff_t(outputs.stride(0)),
                            ptrdiff_t(outputs.stride(1)),
                            ptrdiff_t(outputs.stride(2)),
                            int(parts),
                            int(chain)};
    {
        nb::gil_scoped_release release;
        functions.kernel.read(given, functions.powers.data(),
                              {weights.get(), means.get(), scales.get(), links.get(), filters.get()});
    }
    const size_t rows = images * height;
    return nb::make_tuple(array_of(std::move(weights), {parts, rows, width}),
                          array_of(std::move(means), {parts, rows, width}),
                          array_of(std::move(scales), {parts, rows, width}),
                          array_of(std::move(links), {chain, rows, width}),
                          array_of(std::move(filters), {size_t(bands::taps), rows, width}));
}

using Before = std::pair<Array<int32_t, 2>, Array<int32_t, 3>>;

nb::object centres(const BandFunctions& functions, Array<int64_t, 3> means, Array<int64_t, 3> chain,
                   Array<int32_t, 3> filters, Array<int32_t, 2> total, Array<int32_t, 3> taps,
                   const std::vector<Before>& before, Array<int64_t, 1> offsets, int64_t limit) {
    const size_t parts = means.shape(0), rows = means.shape(1), width = means.shape(2);
    const auto check = [&](const auto& array, size_t axis) {
        if (array.shape(axis) != rows || array.shape(axis + 1) != width)
            throw std::invalid_argument("arrays are of one shape");
    };
    check(chain, 1), check(filters, 1), check(total, 0), check(taps, 1);
    std::vector<BandBefore> known;
    for (const Before& one : before) {
        check(one.first, 0), check(one.second, 1);
        if (one.second.shape(0) != bands::taps) throw std::invalid_argument("12 taps");
        known.push_back({one.first.data(), one.second.data()});
    }
    if (filters.shape(0) != bands::taps || taps.shape(0) != bands::taps || chain.shape(0) != before.size() ||
        offsets.shape(0) != 1 + before.size() + bands::taps || parts < 1 || parts > bands::most_parts)
        throw std::invalid_argument("coefficients of another number");
    if (limit < 0 || limit > 1 << 15) throw std::invalid_argument("a limit is 0..2**15");
    for (size_t i = 1; i < offsets.shape(0); i++)
        if (offsets(i) < -(1 << 15) || offsets(i) > 1 << 15) throw std::invalid_argument("an offset is out of range");
    auto out = numbers<int64_t>(parts, rows * width);
    const BandCentres given{ptrdiff_t(rows * width), int(parts), means.data(), chain.data(),   filters.data(),
                            total.data(),            taps.data(), known,       offsets.data(), limit};
    {
        nb::gil_scoped_release release;
        functions.kernel.centres(given, out.get());
    }
    return array_of(std::move(out), {parts, rows, width});
}

}  // namespace

BandFunctions::BandFunctions(const BandKernel& kernel, const Array<int64_t, 1>& table) : kernel(kernel) {
    if (table.shape(0) != bands::weight_steps) throw std::invalid_argument("a table is of another size");
    for (size_t i = 0; i < bands::weight_steps; i++) {
        if (table(i) < 1 || table(i) > 1 << bands::weight_bits) throw std::invalid_argument("a weight is out of range");
        powers.push_back(table(i));
    }
}

void bind_bands(nb::module_& m) {
    nb::class_<BandFunctions>(m, "Bands")
        .def("taps", &taps, "known"_a.noconvert(), "table"_a.noconvert())
        .def("read", &read, "outputs"_a.noconvert(), "parts"_a, "chain"_a)
        .def("centres", &centres, "means"_a.noconvert(), "chain"_a.noconvert(), "filters"_a.noconvert(),
             "total"_a.noconvert(), "taps"_a.noconvert(), "before"_a.noconvert(), "offsets"_a.noconvert(), "limit"_a);
}

}  // namespace neuralcodec
