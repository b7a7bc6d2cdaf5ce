// The coders' part of the Python module. Arguments are checked here, values where they are used.
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "adaptation.hpp"
#include "lanes.hpp"
#include "module.hpp"
#include "tables.hpp"

namespace neuralcodec {

using namespace nb::literals;

namespace {

constexpr int most_bits = 24;
constexpr uint32_t largest_radix = 1 << 16;

using Prior = std::optional<PriorArrays<1>>;

// Distributions with the arrays that their parameters are in, which they keep alive.
struct PythonMixtures : Mixtures {
    PythonMixtures(const Logistic& logistic, Array<int32_t, 2> w, Array<int32_t, 2> c, Array<int32_t, 2> s, int values,
                   bool clipped, bool whole, const Prior& arrays, const std::optional<Cells>& of_values)
        : Mixtures(logistic.kernel, {logistic.tables, w.data(), c.data(), s.data(), ptrdiff_t(w.shape(1)),
                                     int(w.shape(0)), values - 1, clipped && values > 2, whole, nullptr, nullptr,
                                     arrays ? &prior : nullptr, of_values ? cells.moves : nullptr}),
          adaptation(logistic.adaptation),
          weights(w),
          centres(c),
          scales(s),
          arrays(arrays),
          prior(prior_of(arrays, w.shape(1))),
          cells(of_values.value_or(Cells())) {}

    const AdaptationKernel& adaptation;
    const Array<int32_t, 2> weights, centres, scales;
    const Prior arrays;
    const LatticePrior prior;
    const Cells cells;
};

struct PythonItems : TableItems {
    PythonItems(const FrequencyTables& tables, Array<int64_t, 1> rows)
        : TableItems(tables, rows.data(), ptrdiff_t(rows.shape(0))), rows(rows) {}

    const Array<int64_t, 1> rows;
};

void check_count(size_t count, const Distribution& distribution) {
    if (ptrdiff_t(count) != distribution.size()) throw std::invalid_argument("a value for each distribution");
}

std::unique_ptr<PythonMixtures> mixtures(const Logistic& logistic, Array<int32_t, 2> weights,
                                         Array<int32_t, 2> centres, Array<int32_t, 2> scales, int values, bool clipped,
                                         bool whole, const Prior& prior, const CellsArray& cells) {
    const size_t parts = weights.shape(0), count = weights.shape(1);
    for (const auto* other : {&centres, &scales})
        if (other->shape(0) != parts || other->shape(1) != count)
            throw std::invalid_argument("weights, centres and scales are of one shape");
    if (parts < 1 || parts > logistic::most_parts) throw std::invalid_argument("a mixture has 1..64 parts");
    if (values < 1 || values > 1 << 16) throw std::invalid_argument("there are 1..2**16 values");
    if (prior && !(values == 256 && whole && !clipped)) throw std::invalid_argument("a lattice weighs whole values 0..255");
    if (cells && !(values == 256 && whole && !clipped)) throw std::invalid_argument("cells are of whole values 0..255");
    return std::make_unique<PythonMixtures>(logistic, weights, centres, scales, values, clipped, whole, prior,
                                            cells_of(cells));
}

std::shared_ptr<Lattice> lattice_of(Array<int32_t, 1> luma, Array<int32_t, 1> red, Array<int32_t, 1> blue,
                                    Array<int32_t, 1> green_cb, Array<int32_t, 1> green_cr, int32_t unit) {
    bool fits = luma.shape(0) == 256;
    for (const auto* table : {&red, &blue, &green_cb, &green_cr}) fits = fits && table->shape(0) == lattice::chromas;
    if (!fits) throw std::invalid_argument("tables of luma (256) and of chroma (511)");
    nb::gil_scoped_release release;
    return std::make_shared<Lattice>(luma.data(), red.data(), blue.data(), green_cb.data(), green_cr.data(), unit);
}

nb::object covered(const Lattice& lattice, Array<int32_t, 2> green, Array<int32_t, 2> red, Array<int32_t, 2> blue) {
    const size_t count = green.size();
    if (red.size() != count || blue.size() != count) throw std::invalid_argument("samples of each position");
    auto out = numbers<bool>(count);
    for (size_t i = 0; i < count; i++) out.get()[i] = lattice.covers(red.data()[i], green.data()[i], blue.data()[i]);
    return array_of(std::move(out), {green.shape(0), green.shape(1)});
}

nb::object code(const PythonMixtures& m, Array<int64_t, 1> values) {
    const size_t count = values.shape(0);
    check_count(count, m);
    auto start = numbers<uint32_t>(count), freq = numbers<uint32_t>(count);
    Mixtures::Digits digits;
    {
        nb::gil_scoped_release release;
        digits = m.code(values.data(), start.get(), freq.get());
    }
    return nb::make_tuple(array_of(std::move(start), {count}), array_of(std::move(freq), {count}), array_of(digits.digit),
                          array_of(digits.radix));
}

nb::object first(const PythonMixtures& m, MutableArray<int64_t, 1> symbols) {
    check_count(symbols.shape(0), m);
    Mixtures::Digits digits;
    {
        nb::gil_scoped_release release;
        digits = m.first(symbols.data());
    }
    return nb::make_tuple(array_of(digits.item), array_of(digits.radix));
}

nb::object costs(const PythonMixtures& m, Array<int64_t, 1> values) {
    const size_t count = values.shape(0);
    check_count(count, m);
    auto each = numbers<int32_t>(count);
    auto out = numbers<int64_t>(count);
    {
        nb::gil_scoped_release release;
        m.kernel.costs(m.parameters, values.data(), each.get());
        std::copy(each.get(), each.get() + count, out.get());
    }
    return array_of(std::move(out), {count});
}

nb::object scales_of_classes(const PythonMixtures& m, Array<int64_t, 1> values, Array<uint8_t, 2> classes, int count,
                             const std::vector<int64_t>& steps, int64_t price) {
    check_count(values.shape(0), m);
    check_count(classes.shape(1), m);
    const size_t axes = classes.shape(0);
    if (axes < 1 || axes > 2 || count < 1 || count > 256) throw std::invalid_argument("1 or 2 axes of 1..256 classes");
    if (values.shape(0) > 1 << 22 || price < 0 || price > int64_t(1) << 40)
        throw std::invalid_argument("a price, or the number of values, is out of range");
    for (size_t i = 0; i < classes.size(); i++)
        if (classes.data()[i] >= count) throw std::invalid_argument("there is no such class");
    for (int64_t step : steps)
        if (step < 0 || step > 64) throw std::invalid_argument("a step is 0..64");
    std::vector<int32_t> found;
    {
        nb::gil_scoped_release release;
        found = m.adaptation.class_scales(m.kernel, m.parameters, values.data(), {classes.data(), int(axes), count}, steps,
                                          price);
    }
    auto out = numbers<int64_t>(found.size());
    std::copy(found.begin(), found.end(), out.get());
    return array_of(std::move(out), {axes, size_t(count)});
}

nb::object normal_equations(const PythonMixtures& m, Array<int64_t, 1> values, Array<int32_t, 2> slopes,
                            Array<int64_t, 1> precision, Array<int64_t, 1> reach, int64_t log_gain, int64_t gain) {
    check_count(values.shape(0), m);
    check_count(slopes.shape(1), m);
    const size_t rows = slopes.shape(0), count = precision.shape(0);
    if (rows < 1 || rows > most_slopes || count < 1 || reach.shape(0) != count)
        throw std::invalid_argument("1..64 slopes, and tables of one size");
    if (gain < 1 || gain > 1 << 20 || log_gain < -1024 || log_gain > 1024)
        throw std::invalid_argument("a gain is out of range");
    auto normal = numbers<double>(rows * rows), right = numbers<double>(rows);
    {
        nb::gil_scoped_release release;
        m.adaptation.least_squares(m.parameters, values.data(), slopes.data(), int(rows),
                                   {precision.data(), reach.data(), ptrdiff_t(count), log_gain, gain}, normal.get(),
                                   right.get());
    }
    return nb::make_tuple(array_of(std::move(normal), {rows, rows}), array_of(std::move(right), {rows}));
}

nb::object solution(Array<double, 2> matrix, Array<double, 1> right) {
    const size_t rows = right.shape(0);
    if (rows < 1 || rows > 64 || matrix.shape(0) != rows || matrix.shape(1) != rows)
        throw std::invalid_argument("a square system of 1..64 rows");
    std::vector<double> left(matrix.data(), matrix.data() + rows * rows);
    auto found = numbers<double>(rows);
    std::copy(right.data(), right.data() + rows, found.get());
    solve(left.data(), found.get(), int(rows));
    return array_of(std::move(found), {rows});
}

// Tables of either kind, from the ends or the frequencies of symbols.
template <class Tables>
std::unique_ptr<Tables> tables(Array<uint32_t, 2> numbers, int bits) {
    const TableShape shape{ptrdiff_t(numbers.shape(0)), ptrdiff_t(numbers.shape(1))};
    if (bits < 1 || bits > most_bits || shape.rows < 1 || shape.symbols < 1)
        throw std::invalid_argument("there are frequencies, of a total of 2..2**24");
    return std::make_unique<Tables>(numbers.data(), shape, bits);
}

Items items_of(ptrdiff_t low, ptrdiff_t high, size_t count) {
    if (low < 0 || low > high || high > ptrdiff_t(count)) throw std::invalid_argument("items that there are not");
    return {low, high};
}

Radix radix_of(const Array<uint32_t, 1>& radix, size_t count) {
    if (radix.shape(0) != 1 && radix.shape(0) != count) throw std::invalid_argument("a radix for all digits, or each");
    for (size_t i = 0; i < radix.shape(0); i++)
        if (radix(i) < 1 || radix(i) > largest_radix) throw std::invalid_argument("a radix is 1..2**16");
    return {radix.shape(0) == 1 ? nullptr : radix.data(), radix.shape(0) ? radix(0) : 1};
}

void check_intervals(const Array<uint32_t, 1>& start, const Array<uint32_t, 1>& freq, int bits) {
    if (start.shape(0) != freq.shape(0) || bits < 1 || bits > most_bits)
        throw std::invalid_argument("a frequency for each start, of a total of 2..2**24");
}

void check_room(const Lanes& lanes, Items items) {
    if (lanes.capacity - lanes.size < 2 * (items.high - items.low) + 1)
        throw std::invalid_argument("the stack has too little room");
}

ptrdiff_t pop_symbols(const Distribution& distribution, MutableArray<uint64_t, 1> heads,
                      MutableArray<uint16_t, 1> words, ptrdiff_t size, ptrdiff_t low, ptrdiff_t high,
                      MutableArray<int64_t, 1> out) {
    Lanes lanes = lanes_of(heads, words, size);
    Items items = items_of(low, high, out.shape(0));
    items.row = distribution.row;
    if (high > distribution.size()) throw std::invalid_argument("more items than distributions");
    nb::gil_scoped_release release;
    return pop(lanes, distribution, items, out.data()) ? lanes.size : -1;
}

ptrdiff_t pop_uniform(Array<uint32_t, 1> radix, MutableArray<uint64_t, 1> heads, MutableArray<uint16_t, 1> words,
                      ptrdiff_t size, ptrdiff_t low, ptrdiff_t high, MutableArray<int64_t, 1> out) {
    Lanes lanes = lanes_of(heads, words, size);
    const Items items = items_of(low, high, out.shape(0));
    const Radix each = radix_of(radix, out.shape(0));
    nb::gil_scoped_release release;
    return pop_digits(lanes, each, items, out.data()) ? lanes.size : -1;
}

nb::object push_intervals(Array<uint32_t, 1> start, Array<uint32_t, 1> freq, int bits, MutableArray<uint64_t, 1> heads,
                          MutableArray<uint16_t, 1> words, ptrdiff_t size, ptrdiff_t low, ptrdiff_t high,
                          ptrdiff_t enough) {
    Lanes lanes = lanes_of(heads, words, size);
    const Items items = items_of(low, high, start.shape(0));
    check_intervals(start, freq, bits);
    check_room(lanes, items);
    {
        nb::gil_scoped_release release;
        high = push(lanes, start.data(), freq.data(), bits, items, enough);
    }
    return nb::make_tuple(lanes.size, high);
}

ptrdiff_t push_groups_of(Array<uint32_t, 1> start, Array<uint32_t, 1> freq, int bits, Array<int64_t, 1> ends,
                         MutableArray<uint64_t, 1> heads, MutableArray<uint16_t, 1> words, ptrdiff_t size,
                         ptrdiff_t high) {
    Lanes lanes = lanes_of(heads, words, size);
    items_of(0, high, start.shape(0));
    check_intervals(start, freq, bits);
    check_room(lanes, {0, high});
    int64_t before = 0;
    for (size_t i = 0; i < ends.shape(0); before = ends(i++))
        if (ends(i) < before) throw std::invalid_argument("groups end one after the other");
    if (size_t(before) != start.shape(0)) throw std::invalid_argument("the last group ends with the items");
    nb::gil_scoped_release release;
    for (size_t i = ends.shape(0); i--;) {
        const ptrdiff_t begin = i ? ends.data()[i - 1] : 0, count = std::min<ptrdiff_t>(high, ends.data()[i]) - begin;
        if (count > 0) push(lanes, start.data() + begin, freq.data() + begin, bits, {0, count}, PTRDIFF_MAX);
    }
    return lanes.size;
}

nb::object push_uniform(Array<uint32_t, 1> digits, Array<uint32_t, 1> radix, MutableArray<uint64_t, 1> heads,
                        MutableArray<uint16_t, 1> words, ptrdiff_t size, ptrdiff_t low, ptrdiff_t high,
                        ptrdiff_t enough) {
    Lanes lanes = lanes_of(heads, words, size);
    const Items items = items_of(low, high, digits.shape(0));
    const Radix each = radix_of(radix, digits.shape(0));
    check_room(lanes, items);
    {
        nb::gil_scoped_release release;
        high = push_digits(lanes, digits.data(), each, items, enough);
    }
    return nb::make_tuple(lanes.size, high);
}

}  // namespace

void bind_coders(nb::module_& m) {
    nb::class_<Distribution>(m, "Distribution");

    nb::class_<PythonMixtures, Distribution>(m, "Mixtures")
        .def("code", &code, "values"_a.noconvert())
        .def("first", &first, "symbols"_a.noconvert())
        .def("costs", &costs, "values"_a.noconvert())
        .def("class_scales", &scales_of_classes, "values"_a.noconvert(), "classes"_a.noconvert(), "count"_a, "steps"_a,
             "price"_a)
        .def("least_squares", &normal_equations, "values"_a.noconvert(), "slopes"_a.noconvert(),
             "precision"_a.noconvert(), "reach"_a.noconvert(), "log_gain"_a, "gain"_a);

    nb::class_<Logistic>(m, "Logistic")
        .def("mixtures", &mixtures, "weights"_a.noconvert(), "centres"_a.noconvert(), "scales"_a.noconvert(),
             "values"_a, "clipped"_a = false, "whole"_a = false, "prior"_a.noconvert().none() = nb::none(),
             "cells"_a.noconvert().none() = nb::none(), nb::keep_alive<0, 1>());

    nb::class_<Lattice>(m, "Lattice")
        .def(nb::new_(&lattice_of), "luma"_a.noconvert(), "red"_a.noconvert(), "blue"_a.noconvert(),
             "green_cb"_a.noconvert(), "green_cr"_a.noconvert(), "unit"_a)
        .def("covers", &covered, "green"_a.noconvert(), "red"_a.noconvert(), "blue"_a.noconvert());

    nb::class_<PythonItems, Distribution>(m, "TableItems");

    nb::class_<FrequencyTables>(m, "FrequencyTables")
        .def(nb::new_(&tables<FrequencyTables>), "ends"_a.noconvert(), "bits"_a)
        .def("items", [](const FrequencyTables& tables, Array<int64_t, 1> rows) {
            return std::make_unique<PythonItems>(tables, rows);
        }, "tables"_a.noconvert(), nb::keep_alive<0, 1>());

    nb::class_<AdaptiveTables>(m, "AdaptiveTables")
        .def(nb::new_(&tables<AdaptiveTables>), "frequencies"_a.noconvert(), "bits"_a);

    m.def("solve", &solution, "matrix"_a.noconvert(), "right"_a.noconvert());
    m.def("pop", &pop_symbols, "distribution"_a, "heads"_a.noconvert(), "words"_a.noconvert(), "size"_a, "low"_a,
          "high"_a, "out"_a.noconvert());
    m.def("pop_digits", &pop_uniform, "radix"_a.noconvert(), "heads"_a.noconvert(), "words"_a.noconvert(), "size"_a,
          "low"_a, "high"_a, "out"_a.noconvert());
    m.def("push", &push_intervals, "start"_a.noconvert(), "freq"_a.noconvert(), "bits"_a, "heads"_a.noconvert(),
          "words"_a.noconvert(), "size"_a, "low"_a, "high"_a, "enough"_a);
    m.def("push_groups", &push_groups_of, "start"_a.noconvert(), "freq"_a.noconvert(), "bits"_a, "ends"_a.noconvert(),
          "heads"_a.noconvert(), "words"_a.noconvert(), "size"_a, "high"_a);
    m.def("push_digits", &push_uniform, "digits"_a.noconvert(), "radix"_a.noconvert(), "heads"_a.noconvert(),
          "words"_a.noconvert(), "size"_a, "low"_a, "high"_a, "enough"_a);
}

Lanes lanes_of(const MutableArray<uint64_t, 1>& heads, const MutableArray<uint16_t, 1>& words, ptrdiff_t size) {
    const Lanes lanes{heads.data(), ptrdiff_t(heads.shape(0)), words.data(), size, ptrdiff_t(words.shape(0))};
    if (lanes.width < 1) throw std::invalid_argument("there are no lanes");
    if (size < 0 || size > lanes.capacity) throw std::invalid_argument("the stack is not as large as that");
    return lanes;
}

Logistic::Logistic(const MixtureKernel& kernel, const AdaptationKernel& adaptation, const BackwardKernel& backward,
                   const Array<int32_t, 1>& sigmoid, const Array<int32_t, 1>& inverse_scale,
                   const Array<int32_t, 1>& log2)
    : kernel(kernel), adaptation(adaptation), backward(backward), tables([&] {
          if (sigmoid.shape(0) != 2 * logistic::reach + 1 || inverse_scale.shape(0) != logistic::scales ||
              log2.shape(0) != 4096)
              throw std::invalid_argument("a table is of another size");
          return LogisticTables(sigmoid.data(), inverse_scale.data(), log2.data());
      }()) {}

}  // namespace neuralcodec
