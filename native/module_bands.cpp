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
#include "parallel.hpp"

namespace neuralcodec {

using namespace nb::literals;

namespace {

using Mapping = std::optional<std::pair<int, int>>;
using Before = std::pair<Array<int32_t, 2>, Array<int32_t, 3>>;
using Component = Array<int32_t, 4>;
using Outputs = nb::ndarray<const int32_t, nb::ndim<4>, nb::device::cpu>;

constexpr int32_t most_total = 4 * 65535;
constexpr ptrdiff_t task_positions = 4096;  // work for which another thread is worth it

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

// The samples of a table (taps, 2, 3), for so many known components.
void read_table(const Array<int32_t, 3>& table, size_t known, TapSample (*samples)[2]) {
    if (table.shape(0) != bands::taps || table.shape(1) != 2 || table.shape(2) != 3)
        throw std::invalid_argument("a table of another shape");
    for (int t = 0; t < bands::taps; t++)
        for (int i = 0; i < 2; i++) {
            TapSample& sample = samples[t][i] = {table(t, i, 0), table(t, i, 1), table(t, i, 2)};
            if (sample.component < 0 || sample.component >= int(known) || sample.down < -2 || sample.down > 2 ||
                sample.right < -2 || sample.right > 2)
                throw std::invalid_argument("a tap is out of reach");
        }
}

// The planes of known components, which are of one shape, with three bands.
std::vector<const int32_t*> planes_of(const std::vector<Component>& known) {
    if (known.empty() || known.size() > bands::most_known) throw std::invalid_argument("1..3 components are known");
    std::vector<const int32_t*> planes;
    for (const Component& plane : known) {
        for (size_t axis = 0; axis < 4; axis++)
            if (plane.shape(axis) != (axis == 1 ? size_t(bands::bands) : known[0].shape(axis)))
                throw std::invalid_argument("components are of one shape, with three bands");
        planes.push_back(plane.data());
    }
    return planes;
}

// A band of known components.
struct Known {
    Known(const std::vector<Component>& known, size_t band, const Array<int32_t, 3>& table) : planes(planes_of(known)) {
        images = known[0].shape(0), height = known[0].shape(2), width = known[0].shape(3);
        if (band >= bands::bands) throw std::invalid_argument("there are three bands");
        for (const int32_t*& plane : planes) plane += band * height * width;
        read_table(table, known.size(), samples);
        given = {planes.data(),    ptrdiff_t(images),
                 ptrdiff_t(height), ptrdiff_t(width),
                 ptrdiff_t(bands::bands * height * width), samples};
    }

    std::vector<const int32_t*> planes;
    TapSample samples[bands::taps][2];
    size_t images, height, width;
    BandTaps given;
};

// Bands before, of so many rows and columns.
std::vector<BandBefore> links_of(const std::vector<Before>& before, size_t rows, size_t width) {
    std::vector<BandBefore> links;
    for (const Before& one : before) {
        if (one.first.shape(0) != rows || one.first.shape(1) != width || one.second.shape(1) != rows ||
            one.second.shape(2) != width)
            throw std::invalid_argument("arrays are of one shape");
        if (one.second.shape(0) != bands::taps) throw std::invalid_argument("12 taps");
        links.push_back({one.first.data(), one.second.data()});
    }
    return links;
}

void check_limit(int64_t limit) {
    if (limit < 0 || limit > 1 << 15) throw std::invalid_argument("a limit is 0..2**15");
}

void check_range(int least, int largest) {
    if (least > largest || least < -4096 || largest > 4096) throw std::invalid_argument("limits are out of range");
}

// Outputs of a layer, which say so many numbers of each position.
BandOutputs outputs_of(const Outputs& outputs, const Known& known, size_t parts, size_t chain) {
    if (parts < 1 || parts > bands::most_parts || chain > 2 || outputs.shape(3) != 3 * parts + chain + bands::taps)
        throw std::invalid_argument("outputs of another number");
    if (outputs.stride(3) != 1) throw std::invalid_argument("outputs of a position lie side by side");
    if (outputs.shape(0) != known.images || outputs.shape(1) != known.height || outputs.shape(2) != known.width)
        throw std::invalid_argument("outputs of another shape");
    return {outputs.data(),
            ptrdiff_t(known.images),
            ptrdiff_t(known.height),
            ptrdiff_t(known.width),
            ptrdiff_t(outputs.stride(0)),
            ptrdiff_t(outputs.stride(1)),
            ptrdiff_t(outputs.stride(2)),
            int(parts),
            int(chain)};
}

nb::object parameters(const BandFunctions& functions, const std::vector<Component>& known, size_t band,
                      Array<int32_t, 3> table, Outputs outputs, size_t parts, const std::vector<Before>& before, int64_t limit,
                      std::pair<int, int> range, const Mapping& mapping, int threads) {
    const Known of(known, band, table);
    const size_t chain = before.size(), rows = of.images * of.height, count = rows * of.width;
    const BandOutputs given = outputs_of(outputs, of, parts, chain);
    const std::vector<BandBefore> links = links_of(before, rows, of.width);
    check_limit(limit);
    check_range(range.first, range.second);
    const BandMapping mapped = mapping_of(mapping);
    const size_t near_rows = 1 + bands::taps, own_rows = 5 * parts + chain + bands::taps;
    auto near = rows_of<int32_t>(near_rows, count), own = rows_of<int32_t>(own_rows, count);
    const BandRows to(near.get(), own.get(), ptrdiff_t(count), int(parts), int(chain));
    const int64_t offsets[1 + bands::most_known + bands::taps] = {};
    {
        nb::gil_scoped_release release;
        const ptrdiff_t all = ptrdiff_t(rows);
        const ptrdiff_t some = std::max<ptrdiff_t>(1, task_positions / std::max<ptrdiff_t>(1, ptrdiff_t(of.width)));
        parallel((all + some - 1) / some, threads, [&](ptrdiff_t task) {
            functions.kernel.parameters(
                {task * some, std::min(all, (task + 1) * some)}, of.given, given, functions.powers.data(), mapped,
                {ptrdiff_t(count), int(parts), to.means, to.chain, to.filters, to.total, to.taps, links, offsets, limit},
                {ptrdiff_t(count), int(parts), 0, to.scales, range.first, range.second, nullptr, nullptr}, to);
        });
    }
    return nb::make_tuple(array_of(std::move(near), {near_rows, rows, of.width}),
                          array_of(std::move(own), {own_rows, rows, of.width}));
}

// The arrays that centres follow from, checked.
struct Centres {
    Centres(const Array<int32_t, 3>& means, const Array<int32_t, 3>& chain, const Array<int32_t, 3>& filters,
            const Array<int32_t, 2>& total, const Array<int32_t, 3>& taps, const std::vector<Before>& before,
            const Array<int64_t, 1>& offsets, int64_t limit)
        : parts(means.shape(0)), rows(means.shape(1)), width(means.shape(2)) {
        const auto check = [&](const auto& array, size_t axis) {
            if (array.shape(axis) != rows || array.shape(axis + 1) != width)
                throw std::invalid_argument("arrays are of one shape");
        };
        check(chain, 1), check(filters, 1), check(total, 0), check(taps, 1);
        known = links_of(before, rows, width);
        if (filters.shape(0) != bands::taps || taps.shape(0) != bands::taps || chain.shape(0) != before.size() ||
            offsets.shape(0) != 1 + before.size() + bands::taps || parts < 1 || parts > bands::most_parts)
            throw std::invalid_argument("coefficients of another number");
        check_limit(limit);
        for (size_t i = 1; i < offsets.shape(0); i++)
            if (offsets(i) < -(1 << 15) || offsets(i) > 1 << 15)
                throw std::invalid_argument("an offset is out of range");
        if (offsets(0) < -(1 << 30) || offsets(0) > 1 << 30) throw std::invalid_argument("an offset is out of range");
        numbers = {means.data(), chain.data(), filters.data(), total.data(), taps.data()};
        this->offsets = offsets.data(), this->limit = limit;
    }

    BandCentres given() const {
        return {ptrdiff_t(rows * width), int(parts),  numbers[0], numbers[1], numbers[2],
                numbers[3],              numbers[4], known,      offsets,    limit};
    }

    size_t parts, rows, width;
    std::vector<BandBefore> known;
    std::vector<const int32_t*> numbers;
    const int64_t* offsets;
    int64_t limit;
};

nb::object centres(const BandFunctions& functions, Array<int32_t, 3> means, Array<int32_t, 3> chain,
                   Array<int32_t, 3> filters, Array<int32_t, 2> total, Array<int32_t, 3> taps,
                   const std::vector<Before>& before, Array<int64_t, 1> offsets, int64_t limit) {
    const Centres of(means, chain, filters, total, taps, before, offsets, limit);
    auto out = rows_of<int32_t>(of.parts, of.rows * of.width);
    {
        nb::gil_scoped_release release;
        functions.kernel.centres(of.given(), out.get());
    }
    return array_of(std::move(out), {of.parts, of.rows, of.width});
}

nb::object slopes(const BandFunctions& functions, Array<int32_t, 3> means, Array<int32_t, 3> chain,
                  Array<int32_t, 3> filters, Array<int32_t, 2> total, Array<int32_t, 3> taps,
                  const std::vector<Before>& before, Array<int64_t, 1> offsets, int64_t limit, const Mapping& mapping) {
    const Centres of(means, chain, filters, total, taps, before, offsets, limit);
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
    const std::vector<BandBefore> none;
    {
        nb::gil_scoped_release release;
        functions.kernel.classes({ptrdiff_t(count), int(parts), nullptr, nullptr, nullptr, total.data(), nullptr, none,
                                  nullptr, 0},
                                 weights.data(), scales.data(), mapped, out.get());
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
        functions.kernel.limited({ptrdiff_t(rows * width), int(parts), int(axes), scales.data(), least, largest,
                                  classes ? classes->data() : nullptr, offsets ? offsets->data() : nullptr},
                                 out.get());
    }
    return array_of(std::move(out), {parts, rows, width});
}

nb::object accepted(const BandFunctions& functions, Array<int32_t, 2> values, Array<int32_t, 2> base,
                    Array<int32_t, 2> total, Array<int32_t, 3> weights, Array<int32_t, 3> centres,
                    const Mapping& mapping) {
    const size_t rows = values.shape(0), width = values.shape(1), parts = weights.shape(0), count = rows * width;
    for (const auto* array : {&base, &total})
        if (array->shape(0) != rows || array->shape(1) != width)
            throw std::invalid_argument("arrays are of one shape");
    for (const auto* array : {&weights, &centres})
        if (array->shape(0) != parts || array->shape(1) != rows || array->shape(2) != width)
            throw std::invalid_argument("arrays are of one shape");
    const BandMapping mapped = mapping_of(mapping);
    auto residuals = rows_of<int32_t>(1, count);
    auto seen = rows_of<int8_t>(2, count);
    {
        nb::gil_scoped_release release;
        functions.kernel.accepted({ptrdiff_t(count), int(parts), values.data(), base.data(), total.data(),
                                   weights.data(), centres.data(), mapped},
                                  residuals.get(), seen.get());
    }
    return nb::make_tuple(array_of(std::move(residuals), {rows, width}), array_of(std::move(seen), {rows, width, 2}));
}

void mapped(const BandFunctions& functions, Array<int32_t, 1> indices, const Mapping& mapping,
            MutableArray<int32_t, 1> out) {
    const BandMapping of = mapping_of(mapping);
    if (!of.is_mapped() || indices.shape(0) != out.shape(0)) throw std::invalid_argument("a mapped value for each index");
    nb::gil_scoped_release release;
    functions.kernel.mapped(indices.data(), ptrdiff_t(indices.shape(0)), of, out.data());
}

nb::object input(const BandFunctions& functions, const std::vector<Component>& known, Array<int32_t, 3> table) {
    const std::vector<const int32_t*> planes = planes_of(known);
    const size_t images = known[0].shape(0), height = known[0].shape(2), width = known[0].shape(3);
    TapSample samples[bands::taps][2], nearest[bands::nearest];
    read_table(table, known.size(), samples);
    for (int n = 0; n < bands::nearest; n++) nearest[n] = samples[n][0];
    const size_t channels = bands::bands * (1 + known.size()), count = images * height * width;
    auto base = rows_of<int32_t>(bands::bands, count);
    auto out = rows_of<int8_t>(channels, count);
    {
        nb::gil_scoped_release release;
        functions.kernel.input({planes.data(), int(known.size()), ptrdiff_t(images), ptrdiff_t(height),
                                ptrdiff_t(width), nearest},
                               base.get(), out.get());
    }
    return nb::make_tuple(array_of(std::move(base), {images, size_t(bands::bands), height, width}),
                          array_of(std::move(out), {images, height, width, channels}));
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
        .def("parameters", &parameters, "known"_a.noconvert(), "band"_a, "table"_a.noconvert(), "outputs"_a.noconvert(),
             "parts"_a, "before"_a.noconvert(), "limit"_a, "range"_a, "mapping"_a.none(), "threads"_a = 1)
        .def("centres", &centres, "means"_a.noconvert(), "chain"_a.noconvert(), "filters"_a.noconvert(),
             "total"_a.noconvert(), "taps"_a.noconvert(), "before"_a.noconvert(), "offsets"_a.noconvert(), "limit"_a)
        .def("slopes", &slopes, "means"_a.noconvert(), "chain"_a.noconvert(), "filters"_a.noconvert(),
             "total"_a.noconvert(), "taps"_a.noconvert(), "before"_a.noconvert(), "offsets"_a.noconvert(), "limit"_a,
             "mapping"_a.none())
        .def("classes", &classes, "total"_a.noconvert(), "weights"_a.noconvert(), "scales"_a.noconvert(),
             "mapping"_a.none())
        .def("limited", &limited, "scales"_a.noconvert(), "least"_a, "largest"_a, "classes"_a.noconvert().none(),
             "offsets"_a.noconvert().none())
        .def("accepted", &accepted, "values"_a.noconvert(), "base"_a.noconvert(), "total"_a.noconvert(),
             "weights"_a.noconvert(), "centres"_a.noconvert(), "mapping"_a.none())
        .def("mapped", &mapped, "indices"_a.noconvert(), "mapping"_a, "out"_a.noconvert())
        .def("input", &input, "known"_a.noconvert(), "table"_a.noconvert());
}

}  // namespace neuralcodec
