// The part of the Python module for the bands of the photo flow.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

#include "bands.hpp"
#include "module.hpp"
#include "module_known.hpp"
#include "parallel.hpp"

namespace neuralcodec {

using namespace nb::literals;

namespace {

using Mapping = std::optional<std::pair<int, int>>;
using Before = Array<int32_t, 2>;
using Outputs = nb::ndarray<const int32_t, nb::ndim<4>, nb::device::cpu>;

constexpr int32_t most_total = 4 * 65535;
constexpr ptrdiff_t task_positions = 4096;  // work for which another thread is worth it: whole blocks

template <class T>
Numbers<T> rows_of(size_t rows, size_t count) {
    if (count > size_t(PTRDIFF_MAX) / bands::most_parts / 64) throw std::invalid_argument("too many positions");
    return numbers<T>(rows * count);
}

BandMapping mapping_of(const Mapping& mapping) {
    if (!mapping) return {};
    if (mapping->first < 0 || mapping->first > 65535 || mapping->second < -1024 || mapping->second > 1024)
        throw std::invalid_argument("a mapping is out of range");
    return {mapping->first, mapping->second};
}

// Values of the bands before, of so many rows and columns.
std::vector<const int32_t*> values_of(const std::vector<Before>& before, size_t rows, size_t width) {
    if (before.size() >= bands::bands) throw std::invalid_argument("there are three bands");
    std::vector<const int32_t*> values;
    for (const Before& one : before) {
        if (one.shape(0) != rows || one.shape(1) != width) throw std::invalid_argument("arrays are of one shape");
        values.push_back(one.data());
    }
    return values;
}

void check_limit(int64_t limit) {
    if (limit < 0 || limit > 1 << 15) throw std::invalid_argument("a limit is 0..2**15");
}

void check_range(int least, int largest) {
    if (least > largest || least < -4096 || largest > 4096) throw std::invalid_argument("limits are out of range");
}

// Planes of an output layer, which says so many numbers of each position.
BandOutputs outputs_of(const Outputs& outputs, const KnownSamples& known, size_t parts, size_t chain) {
    if (parts < 1 || parts > bands::most_parts || chain > 2 || outputs.shape(0) != 3 * parts + chain + bands::taps)
        throw std::invalid_argument("outputs of another number");
    if (outputs.shape(1) != known.images || outputs.shape(2) != known.height || outputs.shape(3) != known.width)
        throw std::invalid_argument("outputs of another shape");
    int64_t next = 1;
    for (size_t axis = 3; axis > 0; next *= int64_t(outputs.shape(axis--)))
        if (outputs.shape(axis) > 1 && outputs.stride(axis) != next)
            throw std::invalid_argument("the numbers of an output lie side by side");
    return {outputs.data(), ptrdiff_t(next), ptrdiff_t(outputs.stride(0)), int(parts), int(chain)};
}

nb::object parameters(const BandFunctions& functions, const std::vector<Component>& known, Array<int32_t, 3> table,
                      Outputs outputs, size_t parts, const std::vector<Before>& before, int64_t limit,
                      std::pair<int, int> range, const Mapping& mapping, int threads) {
    const KnownSamples of(known, table);
    const size_t rows = of.images * of.height, count = rows * of.width;
    const BandOutputs given = outputs_of(outputs, of, parts, before.size());
    const std::vector<const int32_t*> values = values_of(before, rows, of.width);
    check_limit(limit);
    check_range(range.first, range.second);
    const BandMapping mapped = mapping_of(mapping);
    const size_t all_rows = size_t(BandRows::rows(int(parts), mapped.is_mapped()));
    auto found = rows_of<int32_t>(all_rows, count);
    const BandRows to(found.get(), given, mapped.is_mapped());
    const BandTaps near = of.taps();
    const int64_t offsets[1 + bands::bands + bands::taps] = {};
    const BandCentres centres{given.count, given.parts, to.means,  to.plane, given.chain(), given.filters(),
                              given.plane, near,        values,    offsets,  limit};
    const BandScales limited{given.count, given.parts, 0, to.scales, to.plane, range.first, range.second, nullptr, nullptr};
    {
        nb::gil_scoped_release release;
        parallel((given.count + task_positions - 1) / task_positions, threads, [&](ptrdiff_t task) {
            functions.kernel.parameters({task * task_positions, std::min(given.count, (task + 1) * task_positions)}, given,
                                        functions.powers.data(), mapped, centres, limited, to);
        });
    }
    return array_of(std::move(found), {all_rows, rows, of.width});
}

// The arrays that centres follow from, checked.
struct Centres {
    Centres(const std::vector<Component>& components, const Array<int32_t, 3>& table, size_t every,
            const Array<int32_t, 3>& means, const Array<int32_t, 3>& chain, const Array<int32_t, 3>& filters,
            const std::vector<Before>& before, const Array<int64_t, 1>& offsets, int64_t limit)
        : parts(means.shape(0)), rows(means.shape(1)), width(means.shape(2)), known(components, table) {
        const auto check = [&](const auto& array) {
            if (array.shape(1) != rows || array.shape(2) != width) throw std::invalid_argument("arrays are of one shape");
        };
        check(chain), check(filters);
        values = values_of(before, rows, width);
        if (filters.shape(0) != bands::taps || chain.shape(0) != before.size() ||
            offsets.shape(0) != 1 + before.size() + bands::taps || parts < 1 || parts > bands::most_parts)
            throw std::invalid_argument("coefficients of another number");
        near = known.taps(rows, width, every);
        check_limit(limit);
        for (size_t i = 1; i < offsets.shape(0); i++)
            if (offsets(i) < -(1 << 15) || offsets(i) > 1 << 15)
                throw std::invalid_argument("an offset is out of range");
        if (offsets(0) < -(1 << 30) || offsets(0) > 1 << 30) throw std::invalid_argument("an offset is out of range");
        numbers = {means.data(), chain.data(), filters.data()};
        this->offsets = offsets.data(), this->limit = limit;
    }

    BandCentres given() const {
        const ptrdiff_t count = ptrdiff_t(rows * width);
        return {count, int(parts), numbers[0], count, numbers[1], numbers[2], count, near, values, offsets, limit};
    }

    size_t parts, rows, width;
    KnownSamples known;
    BandTaps near;
    std::vector<const int32_t*> values, numbers;
    const int64_t* offsets;
    int64_t limit;
};

nb::object centres(const BandFunctions& functions, const std::vector<Component>& known, Array<int32_t, 3> table,
                   size_t every, Array<int32_t, 3> means, Array<int32_t, 3> chain, Array<int32_t, 3> filters,
                   const std::vector<Before>& before, Array<int64_t, 1> offsets, int64_t limit) {
    const Centres of(known, table, every, means, chain, filters, before, offsets, limit);
    auto out = rows_of<int32_t>(of.parts, of.rows * of.width);
    {
        nb::gil_scoped_release release;
        functions.kernel.centres(of.given(), out.get());
    }
    return array_of(std::move(out), {of.parts, of.rows, of.width});
}

nb::object slopes(const BandFunctions& functions, const std::vector<Component>& known, Array<int32_t, 3> table,
                  size_t every, Array<int32_t, 3> means, Array<int32_t, 3> chain, Array<int32_t, 3> filters,
                  const std::vector<Before>& before, Array<int64_t, 1> offsets, int64_t limit, const Mapping& mapping) {
    const Centres of(known, table, every, means, chain, filters, before, offsets, limit);
    const BandMapping mapped = mapping_of(mapping);
    const size_t count = offsets.shape(0);
    auto out = rows_of<int32_t>(count, of.rows * of.width);
    {
        nb::gil_scoped_release release;
        functions.kernel.slopes(of.given(), mapped, out.get());
    }
    return array_of(std::move(out), {count, of.rows, of.width});
}

nb::object classes(const BandFunctions& functions, Array<int32_t, 2> total, Array<int32_t, 3> weights,
                   Array<int32_t, 3> scales, const Mapping& mapping) {
    const size_t rows = total.shape(0), width = total.shape(1), count = rows * width, parts = weights.shape(0);
    for (const auto* array : {&weights, &scales})
        if (array->shape(0) != parts || array->shape(1) != rows || array->shape(2) != width)
            throw std::invalid_argument("arrays are of one shape");
    for (size_t i = 0; i < count; i++)
        if (total.data()[i] < 0 || total.data()[i] > most_total) throw std::invalid_argument("a total is out of range");
    const BandMapping mapped = mapping_of(mapping);
    const size_t axes = mapped.is_mapped() ? 1 : 2;
    auto out = rows_of<uint8_t>(axes, count);
    {
        nb::gil_scoped_release release;
        functions.kernel.classes({ptrdiff_t(count), int(parts), total.data(), weights.data(), scales.data()}, mapped,
                                 out.get());
    }
    return array_of(std::move(out), {axes, rows, width});
}

nb::object limited(const BandFunctions& functions, Array<int32_t, 3> scales, int least, int largest,
                   std::optional<Array<uint8_t, 3>> classes, std::optional<Array<int32_t, 2>> offsets) {
    const size_t parts = scales.shape(0), rows = scales.shape(1), width = scales.shape(2);
    const size_t axes = classes ? classes->shape(0) : 0;
    if (classes.has_value() != offsets.has_value() ||
        (classes && (classes->shape(1) != rows || classes->shape(2) != width || offsets->shape(0) != axes ||
                     offsets->shape(1) != bands::classes)))
        throw std::invalid_argument("offsets and classes are of one shape");
    check_range(least, largest);
    for (size_t i = 0; i < axes * bands::classes; i++)
        if (offsets->data()[i] < -4096 || offsets->data()[i] > 4096)
            throw std::invalid_argument("an offset is out of range");
    auto out = rows_of<int32_t>(parts, rows * width);
    {
        nb::gil_scoped_release release;
        const ptrdiff_t count = ptrdiff_t(rows * width);
        functions.kernel.limited({count, int(parts), int(axes), scales.data(), count, least, largest,
                                  classes ? classes->data() : nullptr, offsets ? offsets->data() : nullptr},
                                 out.get());
    }
    return array_of(std::move(out), {parts, rows, width});
}

nb::object accepted(const BandFunctions& functions, Array<int32_t, 2> values, Array<int32_t, 2> base,
                    Array<int32_t, 3> weights, Array<int32_t, 3> centres, const Mapping& mapping) {
    const size_t rows = values.shape(0), width = values.shape(1), parts = weights.shape(0), count = rows * width;
    if (base.shape(0) != rows || base.shape(1) != width) throw std::invalid_argument("arrays are of one shape");
    for (const auto* array : {&weights, &centres})
        if (array->shape(0) != parts || array->shape(1) != rows || array->shape(2) != width)
            throw std::invalid_argument("arrays are of one shape");
    const BandMapping mapped = mapping_of(mapping);
    auto seen = rows_of<int8_t>(2, count);
    {
        nb::gil_scoped_release release;
        functions.kernel.accepted({ptrdiff_t(count), int(parts), values.data(), base.data(), weights.data(),
                                   centres.data(), mapped},
                                  seen.get());
    }
    return array_of(std::move(seen), {rows, width, 2});
}

void mapped(const BandFunctions& functions, Array<int32_t, 1> indices, const Mapping& mapping,
            MutableArray<int32_t, 1> out) {
    const BandMapping of = mapping_of(mapping);
    if (!of.is_mapped() || indices.shape(0) != out.shape(0)) throw std::invalid_argument("a mapped value for each index");
    nb::gil_scoped_release release;
    functions.kernel.mapped(indices.data(), ptrdiff_t(indices.shape(0)), of, out.data());
}

nb::object input(const BandFunctions& functions, const std::vector<Component>& known, Array<int32_t, 3> table) {
    const KnownSamples of(known, table);
    TapSample nearest[bands::nearest];
    for (int n = 0; n < bands::nearest; n++) nearest[n] = of.samples[n][0];
    const size_t channels = bands::bands * (1 + known.size()), count = of.images * of.height * of.width;
    auto base = rows_of<int32_t>(bands::bands, count);
    auto out = rows_of<int8_t>(channels, count);
    {
        nb::gil_scoped_release release;
        functions.kernel.input({of.planes.data(), int(known.size()), ptrdiff_t(of.images), ptrdiff_t(of.height),
                                ptrdiff_t(of.width), nearest},
                               base.get(), out.get());
    }
    return nb::make_tuple(array_of(std::move(base), {of.images, size_t(bands::bands), of.height, of.width}),
                          array_of(std::move(out), {of.images, of.height, of.width, channels}));
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
        .def("parameters", &parameters, "known"_a.noconvert(), "table"_a.noconvert(), "outputs"_a.noconvert(), "parts"_a,
             "before"_a.noconvert(), "limit"_a, "range"_a, "mapping"_a.none(), "threads"_a = 1)
        .def("centres", &centres, "known"_a.noconvert(), "table"_a.noconvert(), "every"_a, "means"_a.noconvert(),
             "chain"_a.noconvert(), "filters"_a.noconvert(), "before"_a.noconvert(), "offsets"_a.noconvert(), "limit"_a)
        .def("slopes", &slopes, "known"_a.noconvert(), "table"_a.noconvert(), "every"_a, "means"_a.noconvert(),
             "chain"_a.noconvert(), "filters"_a.noconvert(), "before"_a.noconvert(), "offsets"_a.noconvert(), "limit"_a,
             "mapping"_a.none())
        .def("classes", &classes, "total"_a.noconvert(), "weights"_a.noconvert(), "scales"_a.noconvert(),
             "mapping"_a.none())
        .def("limited", &limited, "scales"_a.noconvert(), "least"_a, "largest"_a, "classes"_a.noconvert().none(),
             "offsets"_a.noconvert().none())
        .def("accepted", &accepted, "values"_a.noconvert(), "base"_a.noconvert(), "weights"_a.noconvert(),
             "centres"_a.noconvert(), "mapping"_a.none())
        .def("mapped", &mapped, "indices"_a.noconvert(), "mapping"_a, "out"_a.noconvert())
        .def("input", &input, "known"_a.noconvert(), "table"_a.noconvert());
}

}  // namespace neuralcodec
