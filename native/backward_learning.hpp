// What the values of a half row teach an adapted band: compiled once for each instruction set.
#pragma once

#include "backward_loops.hpp"

namespace neuralcodec {
namespace {

void learn_locally(AdaptedHalf& h) {
    const int n = h.features, pairs = h.pair_rows[n];
    for (ptrdiff_t b = 0; b < h.blocks; b++) {
        const float* z = h.known.data() + b * block * float_room;
        int32_t *fast = h.sums[0].data() + b * pairs, *slow = h.sums[1].data() + b * pairs;
        for (int a = 0; a < n; a++)
            for (int p = h.pair_rows[a]; p < h.pair_rows[a + 1]; p += 8) {
                const float* with = z + a + p - h.pair_rows[a];
                Eight sum = eight(with) * z[a];
                for (int i = 1; i < block; i++)
                    sum = sum + eight(with + i * float_room) * z[i * float_room + a];
                EightInts more;
                convert(sum, more);
                const EightInts c = eight(fast + p), d = eight(slow + p);
                eight(fast + p) = c - (c >> memory[0].rows) + more;
                eight(slow + p) = d - (d >> memory[1].rows) + more;
            }
    }
}

void learn_stack(BandState& s, const AdaptedHalf& h, int half) {
    int32_t sums[stack_groups][stacked][stacked + 1] = {};  // of at most 2**14 products of at most 2**16
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        auto& sum = sums[h.of_class[size_t(j)] >> 1];
        int32_t row[stacked + 1];
        for (int a = 0; a < stacked; a++) row[a] = s.predictions[size_t(a * h.columns + j)];
        row[stacked] = 4 * s.target[size_t(j)];
        for (int a = 0; a < stacked; a++)
            for (int c = a; c <= stacked; c++) sum[a][c] += row[a] * row[c];
    }
    for (int g = 0; g < stack_groups; g++)
        for (int a = 0; a < stacked; a++)
            for (int c = a; c <= stacked; c++)
                s.learned.stack[half][a][c][g] += sums[g][a][c] - (s.learned.stack[half][a][c][g] >> stack_rows);
}

// The derivatives of a value's log likelihood by the log-scale and by the factor of the shift, in 1/256, and the distribution
// function at its edges.
struct Slopes {
    int32_t scale, shift;
};
NEURALCODEC_INLINE Slopes slope_of(const BandState& s, const AdaptedHalf& h, ptrdiff_t j, int32_t value,
                                    int32_t (&edges)[2]) {
    using namespace logistic;
    const int32_t* sigmoid = s.tables.sigmoid.data() + reach;
    constexpr int64_t outside = 1 << 30;
    float slope = 0, probability = 0, moved = 0;
    int64_t function[2] = {};
    for (int k = 0; k < s.input.parts; k++) {
        const ptrdiff_t i = k * h.columns + j;
        const int64_t scale = h.scales[size_t(i)];
        const int64_t inverse = s.tables.inverse_scale[size_t(
            (scale < least_scale ? least_scale : scale > largest_scale ? largest_scale : scale) - least_scale)];
        const int64_t low = value * (1 << centre_bits) - (1 << (centre_bits - 1)) -
                            limited<int64_t>(h.centres[size_t(i)], outside);
        float below[2], part[2], density[2];
        for (int edge = 0; edge < 2; edge++) {
            const int64_t position = low + (edge << centre_bits);
            const int32_t step = int32_t(limited<int64_t>(position * inverse >> inverse_bits, reach));
            function[edge] += int64_t(h.weights[size_t(i)]) * sigmoid[step];
            const bool first = value + edge <= 0, last = value + edge > 255;
            below[edge] = first ? 0.0f : last ? 1.0f : float(sigmoid[step]) * (1.0f / total);
            part[edge] = float(step) * (1.0f / 1024) * below[edge] * (1 - below[edge]);
            density[edge] = below[edge] * (1 - below[edge]);
        }
        const float weight = float(h.weights[size_t(i)]);
        probability += weight * (below[1] - below[0]);
        slope += weight * (part[0] - part[1]);
        moved += weight * (density[0] - density[1]) * float(inverse);
    }
    edges[0] = value > 0 ? int32_t(function[0] >> weight_bits) : 0;
    edges[1] = value < 255 ? int32_t(function[1] >> weight_bits) : total;
    constexpr float unit = float(256 * 0.6931);
    constexpr float per_shift = 256.0f / (1 << 30);
    return {rounded(limited(slope / (probability + 1.0f / 256) * unit, 768.0f)),
            rounded(limited(moved / (probability + 256) * (float(s.wanted[size_t(j)]) * per_shift), 768.0f))};
}

// Makes the calibration of a class even.
void calibrate(BandState& s, int of_class) {
    const int64_t* counts = s.learned.counts[of_class];
    int32_t* map = s.maps[of_class];
    int64_t sums[logistic::bins], sum = 0;
    for (int i = 0; i < logistic::bins; i++) sums[i] = sum += counts[i];
    map[0] = 0;
    // Exact: a quotient below 2**24 of a number below 2**28 is far from the next integer, or is one.
    for (int i = 0; i < logistic::bins; i++)
        map[i + 1] = int32_t(double(sums[i] << logistic::total_bits) / double(sum));
    map[logistic::bins + 1] = map[logistic::bins];
}

void learn_shape(BandState& s, const AdaptedHalf& h) {
    using namespace logistic;
    constexpr int64_t sample = 1 << 12, most_samples = 1 << 13;
    int32_t found[classes][bins] = {};  // of at most 2**14 samples
    bool any[classes] = {};
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        const int32_t low = s.low[size_t(j)], high = s.high[size_t(j)], width = high - low;
        const float share = float(sample) / float(width > 1 ? width : 1);
        const int of_class = h.of_class[size_t(j)];
        int32_t* to = found[of_class];
        any[of_class] = true;
        for (int i = 0; i < bins; i++) {
            const int32_t begin = i << bin_bits, end = begin + (1 << bin_bits);
            const int32_t overlap = (high < end ? high : end) - (low > begin ? low : begin);
            to[i] += rounded(float(overlap > 0 ? overlap : 0) * share);
        }
    }
    for (int of_class = 0; of_class < classes; of_class++)
        if (any[of_class]) {
            int64_t *counts = s.learned.counts[of_class], sum = 0;
            for (int i = 0; i < bins; i++) sum += counts[i] += found[of_class][i];
            if (sum >= most_samples * sample)
                for (int i = 0; i < bins; i++) counts[i] = (counts[i] + sample) >> 1;
            calibrate(s, of_class);
        }
}

void learn_scales(BandState& s, const AdaptedHalf& h, const int32_t* values) {
    constexpr int count = classes * entries;
    constexpr double rate = 61;
    int64_t sums[tables][count] = {};
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        int32_t edges[2];
        const Slopes slopes = slope_of(s, h, j, values[j], edges);
        s.low[size_t(j)] = edges[0];
        s.high[size_t(j)] = edges[1];
        for (int table = 0; table < tables_of(s); table++) {
            const int64_t part = s.part[table][size_t(j)], first = slopes.scale * (64 - part), second = slopes.scale * part;
            const int32_t entry = s.entry[table][size_t(j)];
            ScaleTable& to = s.learned.scales[table];
            sums[table][entry] += first;
            sums[table][entry + 1] += second;
            to.squares[entry] += first * first;
            to.squares[entry + 1] += second * second;
        }
        const int64_t by_shift = 64 * slopes.shift;
        sums[trust][h.octave[size_t(j)]] += by_shift;
        s.learned.scales[trust].squares[h.octave[size_t(j)]] += by_shift * by_shift;
    }
    for (int table = 0; table < tables; table++)
        for (int i = 0; i < count; i++)
            if (sums[table][i]) {
                ScaleTable& to = s.learned.scales[table];
                const double step = std::nearbyint(rate * double(sums[table][i]) / std::sqrt(double(to.squares[i])));
                to.offsets[i] = limited<int64_t>(to.offsets[i] + int64_t(step), 3 << 10);
            }
}

void accept(BandState& s, ptrdiff_t row, int half, const int32_t* values) {
    AdaptedHalf& h = s.halves[half];
    const ptrdiff_t at = bordered(s, row, half);
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        const int32_t inverse = h.inverse[size_t(j)], reach = h.reach[size_t(j)];
        const int32_t surprise = values[j] * (1 << logistic::centre_bits) - h.mean[size_t(j)];
        const int32_t miss = surprise - s.shift[size_t(j)];
        const int32_t size = scaled(miss < 0 ? -miss : miss, inverse, reach, medium);
        const int32_t target = scaled(surprise, inverse, reach, narrow);
        const size_t to = size_t(at + 2 * j);
        s.surprises[to] = surprise;
        s.energy[to] = size * size;
        s.errors[0][to] = target * target;
        for (int which = 0; which < memories; which++) {
            const int32_t error = (4 * target - s.predictions[size_t(which * h.columns + j)]) >> 2;
            s.errors[1 + which][to] = error * error;
        }
        h.known[size_t(j * float_room + h.features)] = float(target);
        s.target[size_t(j)] = target;
    }
    learn_stack(s, h, half);
    learn_scales(s, h, values);
    learn_shape(s, h);
}

void fit(BandState& s, ptrdiff_t row, int half) {
    learn_locally(s.halves[half]);
    local_coefficients(s.halves[half], row + 1);
}

constexpr BackwardKernel backward_kernel{calibrate, prepare, predict, accept, fit};

}  // namespace
}  // namespace neuralcodec
