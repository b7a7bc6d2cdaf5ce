// Distributions that a lattice weighs: the last part of a search in mixtures, compiled once for each
// instruction set. See flow/lattice.py, which defines it.
#pragma once

#include <algorithm>

#include "lattice.hpp"
#include "macros.hpp"

namespace neuralcodec {
namespace {

constexpr int window_edges = lattice::window + 1;

// Where the window of an item begins, from the weighted sum of its centres.
NEURALCODEC_INLINE int32_t window_low(int64_t sum, int centre_and_weight_bits) {
    return int32_t(std::clamp<int64_t>((sum >> centre_and_weight_bits) - lattice::window / 2, 0, 256 - lattice::window));
}

// Moves the edges of an item's window, so that values that are not likely weigh less, and tells how likely the others are in all.
NEURALCODEC_INLINE void weigh(const LatticePrior& prior, ptrdiff_t item, int32_t low, int32_t (&edge)[window_edges]) {
    using namespace lattice;
    const ptrdiff_t at = item * prior.stride;
    const unsigned likely = prior.likely(at, low);
    const int64_t other = std::clamp(prior.weights[at], 1, one);
    int64_t sums[window_edges], of_likely = 0;
    sums[0] = 0;
    for (int k = 0; k < window; k++) {
        const int64_t freq = edge[k + 1] - edge[k];
        const bool is_likely = likely >> k & 1;
        sums[k + 1] = sums[k] + freq * (is_likely ? one : other);
        of_likely += is_likely ? freq * one : 0;
    }
    prior.shares[at] = int32_t((of_likely << 16) / sums[window]);
    // In IEEE doubles: a quotient, then products, each rounded.
    const double share = double(edge[window] - edge[0] - window) / double(sums[window]);
    for (int k = 1; k < window; k++) edge[k] = edge[0] + k + int32_t(double(sums[k]) * share);
}

}  // namespace
}  // namespace neuralcodec
