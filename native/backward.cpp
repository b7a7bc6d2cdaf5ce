#include "backward.hpp"

#include <algorithm>
#include <stdexcept>

namespace neuralcodec {

using namespace backward;

namespace {

constexpr int neighbours[] = {4, 6};
constexpr int32_t wide = 127, medium = 64;

AdaptedHalf half_of(const AdaptedBandInput& input, int half) {
    AdaptedHalf h{};
    std::fill(h.limits, h.limits + features_room, medium);
    std::fill(h.limits, h.limits + near_taps, wide);
    h.features = near_taps + nearest;
    for (size_t i = 0; i < input.earlier.size(); i++) {
        h.features += earlier_neighbours;
        std::fill(h.limits + h.features, h.limits + h.features + earlier_taps, wide);
        h.features += earlier_taps;
    }
    h.features += neighbours[half];
    h.columns = (input.width + 1 - half) / 2;
    h.blocks = (h.columns + block - 1) / block;
    for (int a = 0; a < h.features; a++) h.pair_rows[a + 1] = h.pair_rows[a] + (h.features - a + 8) / 8 * 8;
    for (auto& sums : h.sums) sums.resize(size_t(h.blocks) * h.pair_rows[h.features]);
    for (auto& coefficients : h.coefficients) coefficients.resize(size_t(h.blocks) * features_room);
    return h;
}

}  // namespace

AdaptedBand::AdaptedBand(const BackwardKernel& kernel, const MixtureKernel& mixtures, const LogisticTables& tables,
                         const AdaptedBandInput& input, const Deviations& deviations, const Learned& learned)
    : Distribution(logistic::total_bits, input.width),
      kernel_(kernel),
      mixtures_(mixtures),
      state_{tables, input, deviations, {half_of(input, 0), half_of(input, 1)}, learned} {
    BandState& s = state_;
    const AdaptedHalf& even = s.halves[0];
    const size_t columns = size_t(even.columns), blocks = size_t(even.blocks);
    const size_t systems = (memories * blocks + group - 1) / group * group;
    const size_t pairs = size_t(s.halves[1].pair_rows[s.halves[1].features]);
    const auto bordered = [&](std::vector<int32_t>& plane) {
        plane.resize(size_t(input.height + 2) * size_t(input.width + 2));
    };
    bordered(s.surprises), bordered(s.energy);
    for (auto& plane : s.errors) bordered(plane);
    s.scaled.resize(blocks * block * features_room);
    s.features.resize(blocks * block * float_room);
    for (auto* each : {&s.mean, &s.inverse, &s.deviation, &s.reach, &s.shift, &s.target, &s.of_class, &s.map_of, &s.low,
                       &s.high, &values_})
        each->resize(columns);
    for (int table = 0; table < scale_tables; table++) s.entry[table].resize(columns), s.part[table].resize(columns);
    s.predictions.resize(stacked * columns);
    for (auto* part : {&s.weights, &s.centres, &s.scales}) part->resize(size_t(input.parts) * columns);
    s.sums.resize(2 * columns);
    s.around.resize(systems * pairs);
    s.carried.resize(pairs);
    s.matrix.resize(pairs * group);
    for (int of = 0; of < classes; of++) kernel_.calibrate(s, of);
    if (size()) kernel_.predict(s, 0, 0);
}

MixtureParameters AdaptedBand::half_row() const {
    const BandState& s = state_;
    return {s.tables, s.weights.data(), s.centres.data(), s.scales.data(), columns(), s.input.parts, 255, false, true,
            s.maps[0], s.map_of.data()};
}

// From a half row whose values are known to the next.
void AdaptedBand::next() const {
    kernel_.accept(state_, row_, half_, values_.data());
    found_ = 0;
    at_ += columns();
    if (half_ == 0 && state_.halves[1].columns) {
        half_ = 1;
    } else {
        half_ = 0;
        at_ = 0;
        row_++;
    }
    if (row_ < state_.input.height) kernel_.predict(state_, row_, half_);
}

void AdaptedBand::find(const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) const {
    if (row_ >= state_.input.height || first != done() + found_ || count > columns() - found_)
        throw std::invalid_argument("an adapted band is decoded in order");
    mixtures_.find(half_row(), heads, found_, count, found);
    std::copy(found.symbol, found.symbol + count, values_.begin() + found_);
    found_ += count;
    if (found_ == columns()) next();
}

void AdaptedBand::code(const int64_t* values, uint32_t* start, uint32_t* freq) {
    const ptrdiff_t width = state_.input.width;
    if (done() + found_) throw std::invalid_argument("an adapted band is coded once");
    for (ptrdiff_t i = 0; i < size(); i++)
        if (values[i] < 0 || values[i] > 255) throw std::invalid_argument("a value is out of range");
    while (row_ < state_.input.height) {
        for (ptrdiff_t i = 0; i < columns(); i++) values_[size_t(i)] = int32_t(values[row_ * width + 2 * i + half_]);
        mixtures_.intervals(half_row(), values_.data(), 0, columns(), start + done(), freq + done());
        next();
    }
}

void AdaptedBand::surprises(int32_t* out) const {
    const ptrdiff_t width = state_.input.width;
    const int32_t* row = state_.surprises.data() + 2 * (width + 2) + 1;
    for (ptrdiff_t y = 0; y < state_.input.height; y++, row += width + 2)
        std::copy(row, row + width, out + y * width);
}

}  // namespace neuralcodec
