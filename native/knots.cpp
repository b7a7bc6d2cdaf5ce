#include "knots.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace neuralcodec {

using namespace knots;
using namespace logistic;

namespace {

constexpr int64_t distant = 1 << 30;  // centres beyond are as good as there
constexpr int most_tries = 6;

int64_t within(int64_t number, int64_t least, int64_t most) {
    return number < least ? least : number > most ? most : number;
}

struct Span {
    int64_t knot, at, after;
};

// The last knot of first .. end - 1 whose value is at most `wanted`; the first one, if there is none. Values of knots never
// fall. Searched by steps from a guess, and by halves after some tries; all that decides is integers.
template <class Value>
Span search(int64_t first, int64_t end, double guess, int64_t wanted, const Value& value) {
    // Not below: a guess may be no number at all.
    int64_t knot = !(guess > double(first)) ? first : guess < double(end - 1) ? int64_t(guess) : end - 1;
    for (int tries = most_tries;; tries--) {
        const int64_t at = value(knot), after = value(knot + 1);
        if (at > wanted && knot > first)
            end = knot;
        else if (after <= wanted && knot + 1 < end)
            first = knot + 1;
        else
            return {knot, at, after};
        const double step = double(knot) + (double(wanted) - double(at)) / double(after - at);
        const bool near = tries > 0 && after > at && step >= double(first) && step < double(end);
        knot = near ? int64_t(std::floor(step)) : first + (end - first) / 2;
    }
}

}  // namespace

KnotTables::KnotTables(const LogisticTables& logistic, const int32_t* log)
    : logistic(logistic), log(log, log + log_steps + 1) {
    if (this->log.front() != 0 || !std::is_sorted(this->log.begin(), this->log.end()) || this->log.back() >= 1 << log_bits)
        throw std::invalid_argument("a logarithm rises from 0");
}

Knots::Knots(const KnotTables& tables, ptrdiff_t count, int parts, int frac, int threads)
    : count(count),
      tables_(tables),
      parts_(parts),
      frac_(frac),
      threads_(threads),
      rows_(numbers<Part>(size_t(count) * size_t(parts))),
      items_(numbers<Item>(size_t(count))) {}

void Knots::set(const int32_t* weights, const int32_t* centres, const int32_t* scales) {
    const int32_t* inverses = tables_.logistic.inverse_scale.data() - least_scale;
    const float* widths = tables_.logistic.scale.data() - least_scale;
    std::atomic<bool> wrong{false};
    each([&](ptrdiff_t i) {
        int32_t narrowest = largest_scale;
        int64_t sum = 0, mean = 0;
        float spread = 0;
        for (int k = 0; k < parts_; k++) {
            const ptrdiff_t at = k * count + i;
            const int64_t weight = within(weights[at], 0, 1 << weight_bits), centre = centres[at];
            const int32_t scale = scales[at] < least_scale ? least_scale : std::min(scales[at], largest_scale);
            const int64_t inverse = inverses[scale];
            if (weight != weights[at]) wrong = true;
            rows_[size_t(i * parts_ + k)] = {
                (within(centre, -distant, distant) + (1 << (centre_bits - 1))) * inverse - (int64_t(reach) << inverse_bits),
                inverse << centre_bits, weight};
            narrowest = std::min(narrowest, scale);
            sum += weight;
            mean += weight * centre;
            spread += float(weight) * widths[scale];
        }
        if (sum != 1 << weight_bits) wrong = true;
        const int32_t shift = int32_t(within((narrowest >> scale_bits) + frac_ - knot_bits, 0, frac_));
        const int32_t per_value = frac_ - shift;
        const int64_t middle = ((mean >> weight_bits) + (1 << (centre_bits - 1))) * (int64_t(1) << per_value);
        const float knot = float(1 << per_value) * spread / (1 << weight_bits);  // knots to a scale
        items_[size_t(i)] = {middle >> centre_bits, shift, per_value, knot / (float(1 << frac_) + knot)};
    });
    if (wrong) throw std::invalid_argument("weights of a mixture do not add up to 2**16");
}

int64_t Knots::first(const Item& item) const {
    return -std::min<int64_t>(int64_t(values) << item.per_value, tail_knots);
}

int64_t Knots::last(const Item& item) const { return (int64_t(values) << item.per_value) - first(item); }

// See DistributionFunction.below.
int64_t Knots::below(ptrdiff_t item, int64_t knot) const {
    const Part* row = rows_.get() + item * parts_;
    const int per_value = items_[size_t(item)].per_value;
    const int32_t* sigmoid = tables_.logistic.sigmoid.data();
    int64_t sum = 0;
    for (int k = 0; k < parts_; k++) {
        const int64_t step = ((knot * row[k].slope >> per_value) - row[k].origin) >> inverse_bits;
        sum += row[k].weight * sigmoid[within(step, 0, 2 * reach)];
    }
    return sum >> weight_bits;
}

// 2**20 * ln of 1 .. 2**24.
int64_t Knots::log(int64_t number) const {
    constexpr int mantissa_bits = 23, rest_bits = mantissa_bits - 12;
    const float exact = float(number);
    uint32_t bits;
    std::memcpy(&bits, &exact, 4);
    const int32_t* low = tables_.log.data() + (bits >> rest_bits & (log_steps - 1));
    const int64_t rest = bits & ((1 << rest_bits) - 1);
    return (int64_t(bits >> mantissa_bits) - 127) * tables_.log.back() + low[0] + ((low[1] - low[0]) * rest >> rest_bits);
}

int64_t Knots::image(ptrdiff_t item, int64_t knot) const {
    const int64_t share = within(below(item, knot), 1, logistic::total - 1);
    const int64_t logit = (log(share) - log(logistic::total - share)) >> (log_bits - frac_);
    return int64_t(uint64_t(logit) + (uint64_t(knot) - uint64_t(items_[size_t(item)].middle)));
}

Knots::Places Knots::places(ptrdiff_t i, int64_t value) const {
    const Item& item = items_[size_t(i)];
    Places p;
    p.begin = value == 0 ? first(item) : value << item.per_value;
    p.end = value == values - 1 ? last(item) : (value + 1) << item.per_value;
    p.below = below(i, p.begin);
    const int64_t mass = below(i, p.end) - p.below;
    p.shift = 0;
    while (mass >> p.shift >= 1 << place_bits) p.shift++;
    p.total = uint32_t(mass >> p.shift) + 1;
    return p;
}

uint32_t Knots::before(ptrdiff_t item, const Places& p, int64_t knot) const {
    return uint32_t((below(item, knot) - p.below) >> p.shift) + (knot > p.begin);
}

Knots::Choice Knots::choose(ptrdiff_t item, const Places& p, int64_t digit) const {
    // The tails begin where the other values are.
    const double guess = p.begin < 0 ? double(p.end - 1)
                         : p.end > int64_t(values) << items_[size_t(item)].per_value
                             ? double(p.begin)
                             : double(p.begin) + double(digit) * double(p.end - p.begin) / p.total;
    const Span found =
        search(p.begin, p.end, guess, digit, [&](int64_t knot) { return int64_t(before(item, p, knot)); });
    return {found.knot * (int64_t(1) << items_[size_t(item)].shift), uint32_t(digit - found.at),
            uint32_t(found.after - found.at)};
}

Knots::Cell Knots::cell(ptrdiff_t i, int64_t place) const {
    const Item& item = items_[size_t(i)];
    const int64_t value = within(place >> frac_, 0, values - 1);
    const Places p = places(i, value);
    const int64_t chosen = within(place >> item.shift, p.begin, p.end - 1);
    const uint32_t low = before(i, p, chosen);
    return {value, uint32_t(place & ((1 << item.shift) - 1)), low, before(i, p, chosen + 1) - low, p.total};
}

Line Knots::line(ptrdiff_t i, int64_t place) const {
    const Item& item = items_[size_t(i)];
    const int64_t begin = first(item), end = last(item), unit = int64_t(1) << item.shift;
    if (place < begin * unit) return {begin * unit, image(i, begin), 1, 1};
    if (place >= end * unit) return {end * unit, image(i, end), 1, 1};
    const int64_t knot = place >> item.shift, start = image(i, knot);
    return {knot * unit, start, uint32_t(image(i, knot + 1) - start), uint32_t(unit)};
}

Line Knots::line_of(ptrdiff_t i, int64_t noise) const {
    const Item& item = items_[size_t(i)];
    const int64_t begin = first(item), end = last(item), unit = int64_t(1) << item.shift;
    const Span found = search(begin, end, double(item.middle) + double(noise) * item.reach, noise,
                               [&](int64_t knot) { return image(i, knot); });
    if (noise < found.at) return {begin * unit, found.at, 1, 1};
    if (noise >= found.after) return {end * unit, found.after, 1, 1};
    return {found.knot * unit, found.at, uint32_t(found.after - found.at), uint32_t(unit)};
}

}  // namespace neuralcodec
