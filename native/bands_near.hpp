// What lies near the positions of a band: compiled once for each instruction set. Taps are made where they are used, since to
// read them back from memory takes longer.
#pragma once

#include <algorithm>

#include "bands.hpp"
#include "macros.hpp"

namespace neuralcodec {
namespace {

constexpr ptrdiff_t most_near = 256;  // positions that are handled at once: their numbers fit the first cache

// The sum of the four nearest samples of some positions, and of each tap the distance from it.
struct Near {
    int32_t total[most_near], taps[bands::taps][most_near];
};

NEURALCODEC_INLINE ptrdiff_t within(ptrdiff_t at, ptrdiff_t count) { return at < 0 ? 0 : at < count ? at : count - 1; }

// A row of a known component, moved down; the first and the last are repeated.
NEURALCODEC_INLINE const int32_t* row_of(const BandTaps& b, int band, const TapSample& sample, ptrdiff_t image, ptrdiff_t y) {
    return b.known[sample.component] + image * b.image_stride + (band * b.height + within(y + sample.down, b.height)) * b.width;
}

// Which of `count` columns from x on, `step` apart, have all samples of taps inside the row.
struct Inside {
    ptrdiff_t begin, end;
};
template <int step = 1>
NEURALCODEC_INLINE Inside inside(const BandTaps& b, ptrdiff_t x, ptrdiff_t count) {
    const auto before = [&](ptrdiff_t column) {  // how many columns lie before one
        return std::min(count, std::max<ptrdiff_t>(0, column - x + step - 1) / step);
    };
    const ptrdiff_t begin = before(2);
    return {begin, std::max(begin, before(b.width - 2))};
}

// Four times the samples of a tap, at `count` columns from x on, `step` apart; the ends of rows are repeated.
template <int step = 1>
NEURALCODEC_INLINE void tap_of(const BandTaps& b, int band, int tap, ptrdiff_t image, ptrdiff_t y, ptrdiff_t x, ptrdiff_t count,
                               int32_t* __restrict out) {
    const TapSample one = b.samples[tap][0], two = b.samples[tap][1];
    const int32_t *first = row_of(b, band, one, image, y), *second = row_of(b, band, two, image, y);
    const auto at_edges = [&](ptrdiff_t i, ptrdiff_t end) {
        for (; i < end; i++)
            out[i] = 2 * (first[within(x + step * i + one.right, b.width)] + second[within(x + step * i + two.right, b.width)]);
    };
    const auto [begin, end] = inside<step>(b, x, count);
    at_edges(0, begin);
    const int32_t *one_moved = first + x + one.right, *two_moved = second + x + two.right;
    for (ptrdiff_t i = begin; i < end; i++) out[i] = 2 * (one_moved[step * i] + two_moved[step * i]);
    at_edges(end, count);
}

// Calls `work` for the rows of so many positions from one on: with the image, its row, the first column, how many positions
// there are, and how many were before.
template <class Work>
NEURALCODEC_INLINE void by_rows(const BandTaps& b, ptrdiff_t from, ptrdiff_t count, const Work& work) {
    for (ptrdiff_t done = 0; done < count;) {
        const ptrdiff_t row = (from + done) / b.columns * b.every, x = (from + done) % b.columns;
        const ptrdiff_t some = std::min(count - done, b.columns - x);
        work(row / b.height, row % b.height, x, some, done);
        done += some;
    }
}

// Of at most so many positions from one on, in the order of rows.
void near_of(const BandTaps& b, int band, ptrdiff_t from, ptrdiff_t count, Near& out) {
    by_rows(b, from, count, [&](ptrdiff_t image, ptrdiff_t y, ptrdiff_t x, ptrdiff_t some, ptrdiff_t done) {
        for (int t = 0; t < bands::taps; t++) tap_of(b, band, t, image, y, x, some, out.taps[t] + done);
    });
    // The first taps are the nearest samples, here times four.
    for (ptrdiff_t i = 0; i < count; i++)
        out.total[i] = (out.taps[0][i] + out.taps[1][i] + out.taps[2][i] + out.taps[3][i]) / 4;
    for (auto& tap : out.taps)
        for (ptrdiff_t i = 0; i < count; i++) tap[i] -= out.total[i];
}

}  // namespace
}  // namespace neuralcodec
