#include "backward.hpp"

#include <algorithm>
#include <exception>
#include <stdexcept>

#include "parallel.hpp"

namespace neuralcodec {

using namespace backward;

namespace {

constexpr int neighbours[] = {4, 6};
constexpr int32_t wide = 127, medium = 64;
constexpr ptrdiff_t worth_a_thread = 1 << 12;  // items
constexpr int spins = 1 << 10;                 // looks for work before others get the core

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
    h.room = h.blocks * block;
    for (int a = 0; a < h.features; a++) h.pair_rows[a + 1] = h.pair_rows[a] + (h.features - a + 8) / 8 * 8;
    for (auto& sums : h.sums) sums.resize(size_t(h.blocks) * h.pair_rows[h.features]);
    for (auto& coefficients : h.coefficients) coefficients.resize(size_t(h.blocks) * features_room);
    const size_t systems = size_t(memories * h.blocks + group - 1) / group * group, pairs = size_t(h.pair_rows[h.features]);
    for (auto* each : {&h.mean, &h.inverse, &h.deviation, &h.reach, &h.of_class, &h.map_of, &h.octave, &h.raw})
        each->resize(size_t(h.columns));
    h.scaled.resize(size_t(h.room) * features_room);
    for (auto* part : {&h.weights, &h.centres, &h.scales}) part->resize(size_t(input.parts) * size_t(h.columns));
    h.moments.resize(2 * size_t(h.columns));
    h.around.resize(systems * pairs);
    h.matrix.resize(pairs * group);
    return h;
}

}  // namespace

AdaptedBand::AdaptedBand(const BackwardKernel& kernel, const MixtureKernel& mixtures, const LogisticTables& tables,
                         const AdaptedBandInput& input, const Deviations& deviations, const Learned& learned, int threads)
    : Distribution(logistic::total_bits, input.width),
      kernel_(kernel),
      mixtures_(mixtures),
      state_{tables, input, deviations, {half_of(input, 0), half_of(input, 1)}, learned},
      threads_(threads) {
    BandState& s = state_;
    const size_t columns = size_t(s.halves[0].columns), room = size_t(s.halves[0].room);
    const auto bordered = [&](std::vector<int32_t>& plane) {
        plane.resize(size_t(input.height + 2) * size_t(input.width + 2));
    };
    bordered(s.surprises), bordered(s.energy);
    for (auto& plane : s.errors) bordered(plane);
    for (auto* each : {&s.wanted, &s.shift, &s.target, &s.low, &s.high, &s.squares, &s.counts, &values_}) each->resize(columns);
    s.above.resize(columns), s.below.resize(columns);
    for (int table = 0; table < scale_tables; table++) s.entry[table].resize(columns), s.part[table].resize(columns);
    s.predictions.resize(stacked * room);
    for (int of = 0; of < classes; of++) kernel_.calibrate(s, of);
    for (int half = 0; half < 2; half++) kernel_.prepare(s, 0, half);
    kernel_.predict(s, 0, 0);
}

MixtureParameters AdaptedBand::half_row() const {
    const BandState& s = state_;
    const AdaptedHalf& h = s.halves[half_];
    const LatticePrior& whole = s.input.prior;
    if (whole.known) {
        const ptrdiff_t at = row_ * s.input.width + half_;
        prior_ = {whole.lattice, whole.known + at, whole.plane, whole.weights + at, whole.shares + at, 2};
    }
    return {s.tables, h.weights.data(), h.centres.data(), h.scales.data(), columns(), s.input.parts, 255, false, true,
            s.maps[0], h.map_of.data(), whole.known ? &prior_ : nullptr, s.input.cells ? s.input.cells->moves : nullptr};
}

// From a half row whose values are known to the next.
void AdaptedBand::next() const {
    kernel_.accept(state_, row_, half_, values_.data());
    fit_row_[half_] = row_;
    fit_[half_].store(wanted, std::memory_order_release);
    if (!accompanied_) fit(half_);
    found_ = 0;
    at_ += columns();
    if (half_ == 0 && state_.halves[1].columns) {
        half_ = 1;
    } else {
        half_ = 0;
        at_ = 0;
        row_++;
    }
    if (row_ >= state_.input.height) return;
    if (!fit(half_))
        for (int turns = 0; fit_[half_].load(std::memory_order_acquire) != done_with; turns++)
            if (turns > spins) yield();
    kernel_.predict(state_, row_, half_);
}

// Fits a half that wants it and prepares its next row, unless another thread has begun to. Returns whether it did.
bool AdaptedBand::fit(int half) const {
    Fit expected = wanted;
    if (!fit_[half].compare_exchange_strong(expected, begun, std::memory_order_acquire)) return false;
    kernel_.fit(state_, fit_row_[half], half);
    if (fit_row_[half] + 1 < state_.input.height) kernel_.prepare(state_, fit_row_[half] + 1, half);
    fit_[half].store(done_with, std::memory_order_release);
    return true;
}

void AdaptedBand::during(ptrdiff_t count, const std::function<void()>& work) const {
    if (threads_ < 2 || count < worth_a_thread) return work();
    std::exception_ptr error;
    std::atomic<bool> over{false};
    accompanied_ = true;
    parallel(2, threads_, [&](ptrdiff_t which) {
        if (which == 0) {
            try {
                work();
            } catch (...) {
                error = std::current_exception();
            }
            over.store(true, std::memory_order_release);
        }
        for (int turns = 0; !over.load(std::memory_order_acquire); turns++) {
            if (fit(0) || fit(1)) turns = 0;
            if (turns > spins) yield();
        }
    });
    accompanied_ = false;
    if (error) std::rethrow_exception(error);
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
