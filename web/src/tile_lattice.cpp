#include "tile_lattice.hpp"

#include <algorithm>
#include <cmath>

#include "colours.hpp"

namespace web {

using namespace neuralcodec;

namespace {

constexpr int levels = 3;
constexpr size_t least = 1024;  // positions

// Made when it is first used: there are 2**24 planes to convert.
const Lattice& lattice_of(int number) {
    static const Lattice* found[conversions];
    const Lattice*& made = found[number - 1];
    const Conversion& by = conversion(number);
    if (!made) made = new Lattice(by.luma, by.red, by.blue, by.green_cb, by.green_cr, by.unit);
    return *made;
}

}  // namespace

TileLattice::TileLattice(int conversion) : lattice_(lattice_of(conversion)) {}

void TileLattice::begin_level(int height, int width) {
    on_ = on_.finer(height, width);
    differences_ = differences_.finer(height, width);
}

const LatticePrior* TileLattice::prior(int level, int stage, int band, const Component& component) {
    const size_t count = component.count();
    if (band == 0) near_.clear();
    if (band == 0 || level >= levels || count < least) return nullptr;
    const int32_t* green = component.band(0);
    if (band == 1) {
        const std::vector<int32_t> nearest = on_.nearest(stage, component.height, component.width);
        reds_ = differences_.nearest(stage, component.height, component.width);
        near_.resize(count);
        for (size_t i = 0; i < count; i++) {
            near_[i] = nearest[i] + nearest[count + i] + nearest[2 * count + i] + nearest[3 * count + i];
            for (size_t from = i; from < reds_.size(); from += count) reds_[from] += green[i];
        }
    }
    Band& of = band == 1 ? red_ : blue_;
    int32_t weight[counts];
    // None is near a rounding boundary: these are powers of two, or irrational.
    for (int n = 0; n < counts; n++) weight[n] = int32_t(std::round(std::exp2(8 - double((of.logs[n] + 32) >> 6) / 16)));
    of.weights.resize(count), of.shares.resize(count);
    for (size_t i = 0; i < count; i++) of.weights[i] = weight[near_[i]];
    of.prior = band == 1 ? LatticePrior{nullptr, reds_.data(), ptrdiff_t(count), of.weights.data(), of.shares.data(), 1}
                         : LatticePrior{&lattice_, green, component.band(1) - green, of.weights.data(), of.shares.data(), 1};
    return &of.prior;
}

void TileLattice::accept(int stage, const Component& component) {
    const int32_t *green = component.band(0), *red = component.band(1), *blue = component.band(2);
    const size_t count = component.count();
    std::vector<int32_t> on(count), differences(count);
    for (size_t i = 0; i < count; i++) on[i] = lattice_.covers(red[i], green[i], blue[i]), differences[i] = red[i] - green[i];
    if (near_.size()) {
        std::vector<int32_t> likely(count);
        for (size_t at = 0; at < reds_.size(); at++) likely[at % count] |= reds_[at] == red[at % count];
        learn(red_, likely);
        learn(blue_, on);
    }
    on_.put(stage, component.height, component.width, on.data());
    differences_.put(stage, component.height, component.width, differences.data());
}

// Sums are below 2**33: a component has 2**16 positions at most.
void TileLattice::learn(Band& band, const std::vector<int32_t>& likely) const {
    int64_t slopes[counts] = {}, curvatures[counts] = {};
    for (size_t i = 0; i < likely.size(); i++) {
        const int64_t share = band.shares[i];
        slopes[near_[i]] += (int64_t(likely[i]) << 16) - share;
        curvatures[near_[i]] += share * ((1 << 16) - share) >> 16;
    }
    for (int n = 0; n < counts; n++) {
        const int64_t h = band.curvatures[n] = (band.curvatures[n] >> 2) + curvatures[n] + (20 << 16), step = 1477 * slopes[n];
        band.logs[n] = std::clamp<int64_t>(band.logs[n] + step / h - (step % h < 0), 0, 8192);
    }
}

}  // namespace web
