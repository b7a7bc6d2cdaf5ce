// The part of the Python module for the patch flow. Arguments are checked here.
#include <cstdint>
#include <stdexcept>

#include "knots.hpp"
#include "module.hpp"
#include "scaling.hpp"

namespace neuralcodec {

using namespace nb::literals;

namespace {

constexpr uint32_t largest_factor = 1 << 16;
std::unique_ptr<KnotTables> knot_tables(const Logistic& logistic, Array<int32_t, 1> log) {
    if (log.shape(0) != knots::log_steps + 1) throw std::invalid_argument("a table is of another size");
    return std::make_unique<KnotTables>(logistic.tables, log.data());
}

std::unique_ptr<Knots> knots_of(const KnotTables& tables, Array<int32_t, 2> weights, Array<int32_t, 2> centres,
                                Array<int32_t, 2> scales, int frac, int threads) {
    const size_t parts = weights.shape(0), count = weights.shape(1);
    for (const auto* other : {&centres, &scales})
        if (other->shape(0) != parts || other->shape(1) != count)
            throw std::invalid_argument("weights, centres and scales are of one shape");
    if (parts < 1 || parts > logistic::most_parts) throw std::invalid_argument("a mixture has 1..64 parts");
    if (frac < knots::least_frac || frac > knots::largest_frac)
        throw std::invalid_argument("there are 2..14 fractional bits");
    auto knots = std::make_unique<Knots>(tables, ptrdiff_t(count), int(parts), frac, threads);
    nb::gil_scoped_release release;
    knots->set(weights.data(), centres.data(), scales.data());
    return knots;
}

void check_count(const Knots& knots, const Array<int64_t, 1>& numbers) {
    if (ptrdiff_t(numbers.shape(0)) != knots.count) throw std::invalid_argument("a number for each item");
}

void check_values(const Knots& knots, const Array<int64_t, 1>& values) {
    check_count(knots, values);
    for (ptrdiff_t i = 0; i < knots.count; i++)
        if (values.data()[i] < 0 || values.data()[i] >= knots::values)
            throw std::invalid_argument("a value is out of range");
}

template <class T>
Numbers<T> one_each(const Knots& knots) {
    return numbers<T>(size_t(knots.count));
}

// Calls work(i) for every item, without the interpreter's lock.
template <class Work>
void for_each(const Knots& knots, const Work& work) {
    nb::gil_scoped_release release;
    knots.each(work);
}

nb::object fine(const Knots& knots) {
    auto radix = one_each<uint32_t>(knots);
    for (ptrdiff_t i = 0; i < knots.count; i++) radix[size_t(i)] = knots.fine(i);
    return array_of(std::move(radix), {size_t(knots.count)});
}

// The intervals in the cells of values.
struct Intervals {
    const Knots& knots;
    Numbers<Knots::Places> each;
};

std::unique_ptr<Intervals> intervals(const Knots& knots, Array<int64_t, 1> values) {
    check_values(knots, values);
    auto found = std::make_unique<Intervals>(Intervals{knots, one_each<Knots::Places>(knots)});
    for_each(knots, [&, value = values.data()](ptrdiff_t i) { found->each[size_t(i)] = knots.places(i, value[i]); });
    return found;
}

nb::object totals(const Intervals& intervals) {
    auto total = one_each<uint32_t>(intervals.knots);
    for (ptrdiff_t i = 0; i < intervals.knots.count; i++) total[size_t(i)] = intervals.each[size_t(i)].total;
    return array_of(std::move(total), {size_t(intervals.knots.count)});
}

nb::object choose(const Intervals& intervals, Array<int64_t, 1> digits) {
    const Knots& knots = intervals.knots;
    check_count(knots, digits);
    auto start = one_each<int64_t>(knots);
    auto rest = one_each<uint32_t>(knots), width = one_each<uint32_t>(knots);
    for_each(knots, [&, digit = digits.data()](ptrdiff_t i) {
        const Knots::Choice choice = knots.choose(i, intervals.each[size_t(i)], digit[i]);
        start[size_t(i)] = choice.start;
        rest[size_t(i)] = choice.rest;
        width[size_t(i)] = choice.width;
    });
    const size_t count = size_t(knots.count);
    return nb::make_tuple(array_of(std::move(start), {count}), array_of(std::move(rest), {count}),
                          array_of(std::move(width), {count}));
}

nb::object cells(const Knots& knots, Array<int64_t, 1> places) {
    check_count(knots, places);
    auto value = one_each<int64_t>(knots);
    auto fine = one_each<uint32_t>(knots), low = one_each<uint32_t>(knots), width = one_each<uint32_t>(knots),
         total = one_each<uint32_t>(knots);
    for_each(knots, [&, place = places.data()](ptrdiff_t i) {
        const Knots::Cell cell = knots.cell(i, place[i]);
        value[size_t(i)] = cell.value;
        fine[size_t(i)] = cell.fine;
        low[size_t(i)] = cell.low;
        width[size_t(i)] = cell.width;
        total[size_t(i)] = cell.total;
    });
    const size_t count = size_t(knots.count);
    return nb::make_tuple(array_of(std::move(value), {count}), array_of(std::move(fine), {count}),
                          array_of(std::move(low), {count}), array_of(std::move(width), {count}),
                          array_of(std::move(total), {count}));
}

template <Line (Knots::*find)(ptrdiff_t, int64_t) const>
nb::object lines(const Knots& knots, Array<int64_t, 1> at) {
    check_count(knots, at);
    auto start = one_each<int64_t>(knots), image = one_each<int64_t>(knots);
    auto up = one_each<uint32_t>(knots), down = one_each<uint32_t>(knots);
    for_each(knots, [&, number = at.data()](ptrdiff_t i) {
        const Line line = (knots.*find)(i, number[i]);
        start[size_t(i)] = line.start;
        image[size_t(i)] = line.image;
        up[size_t(i)] = line.up;
        down[size_t(i)] = line.down;
    });
    const size_t count = size_t(knots.count);
    return nb::make_tuple(array_of(std::move(start), {count}), array_of(std::move(image), {count}),
                          array_of(std::move(up), {count}), array_of(std::move(down), {count}));
}

Factors factors_of(const Array<uint32_t, 1>& factors, size_t count) {
    if (factors.shape(0) != 1 && factors.shape(0) != count) throw std::invalid_argument("a factor for all, or each");
    for (size_t i = 0; i < factors.shape(0); i++)
        if (factors(i) < 1 || factors(i) > largest_factor) throw std::invalid_argument("a factor is 1..2**16");
    return {factors.shape(0) == 1 ? nullptr : factors.data(), factors.shape(0) ? factors(0) : 1};
}

nb::object scaled(Array<int64_t, 1> values, Array<int64_t, 1> digits, Array<uint32_t, 1> up, Array<uint32_t, 1> down) {
    const size_t count = values.shape(0);
    if (digits.shape(0) != count) throw std::invalid_argument("a digit for each value");
    const Factors by = factors_of(up, count), through = factors_of(down, count);
    auto quotient = numbers<int64_t>(count);
    auto rest = numbers<uint32_t>(count);
    {
        nb::gil_scoped_release release;
        scale(values.data(), digits.data(), by, through, ptrdiff_t(count), quotient.get(), rest.get());
    }
    return nb::make_tuple(array_of(std::move(quotient), {count}), array_of(std::move(rest), {count}));
}

}  // namespace

void bind_flow(nb::module_& m) {
    nb::class_<Knots>(m, "Knots")
        .def("fine", &fine)
        .def("intervals", &intervals, "values"_a.noconvert(), nb::keep_alive<0, 1>())
        .def("cells", &cells, "places"_a.noconvert())
        .def("lines", &lines<&Knots::line>, "places"_a.noconvert())
        .def("lines_of", &lines<&Knots::line_of>, "noise"_a.noconvert());

    nb::class_<Intervals>(m, "Intervals").def("totals", &totals).def("choose", &choose, "digits"_a.noconvert());

    nb::class_<KnotTables>(m, "KnotTables")
        .def("knots", &knots_of, "weights"_a.noconvert(), "centres"_a.noconvert(), "scales"_a.noconvert(), "frac"_a,
             "threads"_a = 1, nb::keep_alive<0, 1>());

    m.def("knot_tables", &knot_tables, "logistic"_a, "log"_a.noconvert(), nb::keep_alive<0, 1>());
    m.def("scaled", &scaled, "values"_a.noconvert(), "digits"_a.noconvert(), "up"_a.noconvert(), "down"_a.noconvert());
}

}  // namespace neuralcodec
