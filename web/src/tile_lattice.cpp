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

const LatticePrior* TileLattice::prior(int level, int stage, const Component& component) {
    near_.clear();
    const size_t count = component.count();
    if (level >= levels || count < least) return nullptr;
    int32_t weight[counts];
    // None is near a rounding boundary: these are powers of two, or irrational.
    for (int n = 0; n < counts; n++) weight[n] = int32_t(std::round(std::exp2(8 - double((logs_[n] + 32) >> 6) / 16)));
    const std::vector<int32_t> nearest = on_.nearest(stage, component.height, component.width);
    near_.resize(count), weights_.resize(count), shares_.resize(count);
    for (size_t i = 0; i < count; i++) {
        near_[i] = nearest[i] + nearest[count + i] + nearest[2 * count + i] + nearest[3 * count + i];
        weights_[i] = weight[near_[i]];
    }
    prior_ = {&lattice_, component.band(0), component.band(1), weights_.data(), shares_.data(), 1};
    return &prior_;
}

void TileLattice::accept(int stage, const Component& component) {
    const int32_t *green = component.band(0), *red = component.band(1), *blue = component.band(2);
    std::vector<int32_t> on;
    for (size_t i = 0; i < component.count(); i++) on.push_back(lattice_.covers(red[i], green[i], blue[i]));
    if (near_.size()) learn(on);
    on_.put(stage, component.height, component.width, on.data());
}

// Sums are below 2**33: a component has 2**16 positions at most.
void TileLattice::learn(const std::vector<int32_t>& on) {
    int64_t slopes[counts] = {}, curvatures[counts] = {};
    for (size_t i = 0; i < on.size(); i++) {
        const int64_t share = shares_[i];
        slopes[near_[i]] += (int64_t(on[i]) << 16) - share;
        curvatures[near_[i]] += share * ((1 << 16) - share) >> 16;
    }
    for (int n = 0; n < counts; n++) {
        const int64_t h = curvatures_[n] = (curvatures_[n] >> 2) + curvatures[n] + (20 << 16), step = 1477 * slopes[n];
        logs_[n] = std::clamp<int64_t>(logs_[n] + step / h - (step % h < 0), 0, 8192);
    }
}

}  // namespace web
