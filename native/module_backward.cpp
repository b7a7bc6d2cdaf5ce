// The part of the Python module for bands that are adapted while they are coded.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <stdexcept>

#include "module.hpp"
#include "module_known.hpp"

namespace neuralcodec {

using namespace nb::literals;

namespace {

using namespace backward;
using Earlier = std::pair<Array<int32_t, 2>, Array<int32_t, 2>>;

// What arrays hold, after they are checked.
struct Arrays {
    Array<int32_t, 3> weights, centres, scales, nearest;
    std::vector<Component> components;
    KnownSamples known;
    std::vector<Earlier> earlier;
    std::optional<PriorArrays<2>> prior;
    std::optional<Cells> cells;

    AdaptedBandInput input() const {
        const size_t parts = weights.shape(0), height = weights.shape(1), width = weights.shape(2);
        const auto check = [&](const auto& array, size_t axis) {
            if (array.shape(axis) != height || array.shape(axis + 1) != width)
                throw std::invalid_argument("arrays are of one shape");
        };
        check(centres, 1), check(scales, 1), check(nearest, 1);
        if (parts < 1 || parts > logistic::most_parts || centres.shape(0) != parts || scales.shape(0) != parts)
            throw std::invalid_argument("a mixture has 1..64 parts");
        if (nearest.shape(0) != backward::nearest) throw std::invalid_argument("nearest samples of another number");
        if (earlier.size() > most_earlier) throw std::invalid_argument("too many bands before");
        if (height < 1 || height > most_columns || width < 1 || width > most_columns)
            throw std::invalid_argument("a band of this size");
        if (known.images != 1 || height > known.height) throw std::invalid_argument("a band of another shape");
        AdaptedBandInput in{ptrdiff_t(height), ptrdiff_t(width), int(parts),     weights.data(), centres.data(),
                            scales.data(),     nearest.data(),   known.taps(height, width), {}};
        for (const auto& [surprises, values] : earlier) {
            check(surprises, 0), check(values, 0);
            in.earlier.push_back({surprises.data(), values.data()});
        }
        in.prior = prior_of(prior, height * width);
        in.cells = cells;
        return in;
    }
};

Deviations deviations_of(const Array<int64_t, 1>& inverse, const Array<int64_t, 1>& deviation) {
    if (inverse.shape(0) != scale_steps || deviation.shape(0) != scale_steps)
        throw std::invalid_argument("a table is of another size");
    Deviations d;
    for (size_t i = 0; i < scale_steps; i++) {
        if (inverse(i) < 1 || inverse(i) >= 1 << 16 || deviation(i) < 1 || deviation(i) >= 1 << 20)
            throw std::invalid_argument("a deviation is out of range");
        d.inverse[i] = int32_t(inverse(i));
        d.deviation[i] = int32_t(deviation(i));
        d.reach[i] = (128 << 16) / d.inverse[i] + 1;
    }
    return d;
}

// Numbers of `Learned`, checked: larger ones could overflow.
Learned learned_of(const Array<int64_t, 2>& offsets, const Array<int64_t, 2>& squares,
                   const Array<int64_t, 2>& counts, const Array<int64_t, 4>& sums) {
    Learned learned;
    constexpr size_t places = classes * entries;
    if (offsets.shape(0) != tables || offsets.shape(1) != places || squares.shape(0) != tables ||
        squares.shape(1) != places || counts.shape(0) != classes || counts.shape(1) != logistic::bins ||
        sums.size() != sizeof(learned.stack) / sizeof(int64_t))
        throw std::invalid_argument("what was learned is of another size");
    const auto read = [](const int64_t* from, size_t count, int64_t least, int64_t most, int64_t* to) {
        for (size_t i = 0; i < count; i++) {
            if (from[i] < least || from[i] > most) throw std::invalid_argument("what was learned is out of range");
            to[i] = from[i];
        }
    };
    for (size_t table = 0; table < backward::tables; table++) {
        read(offsets.data() + table * places, places, -(3 << 10), 3 << 10, learned.scales[table].offsets);
        read(squares.data() + table * places, places, 1 << 20, int64_t(1) << 60, learned.scales[table].squares);
    }
    read(counts.data(), counts.size(), 1, 1 << 26, learned.counts[0]);
    read(sums.data(), sums.size(), -(int64_t(1) << 60), int64_t(1) << 60, learned.stack[0][0][0]);
    return learned;
}

struct PythonAdaptedBand : Arrays, AdaptedBand {
    PythonAdaptedBand(const Logistic& logistic, const Arrays& arrays, const Deviations& deviations,
                      const Learned& learned, int threads)
        : Arrays(arrays),
          AdaptedBand(logistic.backward, logistic.kernel, logistic.tables, Arrays::input(), deviations, learned,
                      threads) {}
};

std::unique_ptr<PythonAdaptedBand> adapted(const Logistic& logistic, Array<int32_t, 3> weights, Array<int32_t, 3> centres,
                                           Array<int32_t, 3> scales, const std::vector<Component>& known,
                                           Array<int32_t, 3> table, Array<int32_t, 3> nearest,
                                           const std::vector<Earlier>& earlier, Array<int64_t, 1> inverse,
                                           Array<int64_t, 1> deviation, Array<int64_t, 2> offsets, Array<int64_t, 2> squares,
                                           Array<int64_t, 2> counts, Array<int64_t, 4> sums, int threads,
                                           const std::optional<PriorArrays<2>>& prior, const CellsArray& cells) {
    const Arrays arrays{weights, centres, scales, nearest, known, {known, table}, earlier, prior, cells_of(cells)};
    return std::make_unique<PythonAdaptedBand>(logistic, arrays,
                                               deviations_of(inverse, deviation),
                                               learned_of(offsets, squares, counts, sums), threads);
}

nb::object code(PythonAdaptedBand& band, Array<int64_t, 2> values) {
    const size_t count = values.size();
    if (values.shape(0) != band.weights.shape(1) || values.shape(1) != band.weights.shape(2))
        throw std::invalid_argument("a value for each position");
    auto start = numbers<uint32_t>(count), freq = numbers<uint32_t>(count);
    {
        nb::gil_scoped_release release;
        band.code(values.data(), start.get(), freq.get());
    }
    return nb::make_tuple(array_of(std::move(start), {count}), array_of(std::move(freq), {count}));
}

nb::object surprises(const PythonAdaptedBand& band) {
    auto out = numbers<int32_t>(size_t(band.size()));
    band.surprises(out.get());
    return array_of(std::move(out), {band.weights.shape(1), band.weights.shape(2)});
}

nb::object learned(const PythonAdaptedBand& band) {
    const Learned& from = band.learned();
    constexpr size_t places = classes * entries, products = sizeof(from.stack) / sizeof(int64_t);
    auto offsets = numbers<int64_t>(tables * places), squares = numbers<int64_t>(tables * places);
    auto counts = numbers<int64_t>(classes * logistic::bins), sums = numbers<int64_t>(products);
    for (size_t table = 0; table < backward::tables; table++) {
        std::copy_n(from.scales[table].offsets, places, offsets.get() + table * places);
        std::copy_n(from.scales[table].squares, places, squares.get() + table * places);
    }
    std::copy_n(from.counts[0], classes * logistic::bins, counts.get());
    std::copy_n(from.stack[0][0][0], products, sums.get());
    return nb::make_tuple(array_of(std::move(offsets), {tables, places}),
                          array_of(std::move(squares), {tables, places}),
                          array_of(std::move(counts), {classes, logistic::bins}),
                          array_of(std::move(sums), {2, stacked, stacked + 1, stack_groups}));
}

}  // namespace

void bind_backward(nb::module_& m) {
    nb::class_<PythonAdaptedBand, Distribution>(m, "AdaptedBand")
        .def(nb::new_(&adapted), "logistic"_a, "weights"_a.noconvert(), "centres"_a.noconvert(), "scales"_a.noconvert(),
             "known"_a.noconvert(), "table"_a.noconvert(), "nearest"_a.noconvert(), "earlier"_a, "inverse"_a.noconvert(),
             "deviation"_a.noconvert(), "offsets"_a.noconvert(), "squares"_a.noconvert(), "counts"_a.noconvert(),
             "sums"_a.noconvert(), "threads"_a, "prior"_a.noconvert().none() = nb::none(),
             "cells"_a.noconvert().none() = nb::none(), nb::keep_alive<0, 1>())
        .def("code", &code, "values"_a.noconvert())
        .def("surprises", &surprises)
        .def("learned", &learned);
}

}  // namespace neuralcodec
