// What the values of a half row teach an adapted band: compiled once for each instruction set.
#pragma once

#include "backward_loops.hpp"

namespace neuralcodec {
namespace {

// Adds the products of pairs of numbers of 16 bits.
NEURALCODEC_INLINE void add_products(EightInts& sum, const EightInts& x, const EightInts& y) {
#if defined(__AVX512VNNI__) && defined(__AVX512VL__) && defined(__GNUC__)
    sum = EightInts(_mm256_dpwssd_epi32(__m256i(sum), __m256i(x), __m256i(y)));
#elif defined(__AVX2__) && defined(__GNUC__)
    sum = sum + EightInts(_mm256_madd_epi16(__m256i(x), __m256i(y)));
#else
    sum = sum + (x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16);
#endif
}

void learn_locally(AdaptedHalf& h) {
    const int n = h.features, pairs = h.pair_rows[n];
    constexpr int two = block / 2;
    // Features, and then what they predict, of two columns each, and room to read beyond.
    int32_t z[two][features_room + 8] = {};
    for (ptrdiff_t b = 0; b < h.blocks; b++) {
        for (int a = 0; a <= n; a++) {
            const int32_t* from = h.scaled.data() + a * h.room + b * block;
            for (int i = 0; i < two; i++) z[i][a] = (from[2 * i] & 0xffff) | from[2 * i + 1] * (1 << 16);
        }
        int32_t *fast = h.sums[0].data() + b * pairs, *slow = h.sums[1].data() + b * pairs;
        for (int a = 0; a < n; a++) {
            EightInts own[two];
            for (int i = 0; i < two; i++) own[i] = EightInts{} + z[i][a];
            for (int p = h.pair_rows[a], c = a; p < h.pair_rows[a + 1]; p += 8, c += 8) {
                EightInts more = {};
                NEURALCODEC_UNROLL
                for (int i = 0; i < two; i++) add_products(more, own[i], eight(z[i] + c));
                const EightInts d = eight(fast + p), e = eight(slow + p);
                eight(fast + p) = d - (d >> memory[0].rows) + more;
                eight(slow + p) = e - (e >> memory[1].rows) + more;
            }
        }
    }
}

void learn_stack(BandState& s, const AdaptedHalf& h, int half) {
    constexpr int numbers = stacked + 1;
    int32_t sums[stack_groups][numbers][stacked] = {};  // of at most 2**14 products of at most 2**16
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        auto& sum = sums[h.of_class[size_t(j)] >> 1];
        int32_t row[2 * stacked + 1] = {};
        for (int a = 0; a < stacked; a++) row[a] = s.predictions[size_t(a * h.room + j)];
        row[stacked] = 4 * s.target[size_t(j)];
        for (int apart = 0; apart < numbers; apart++)
            for (int a = 0; a < stacked; a++) sum[apart][a] += row[a] * row[a + apart];
    }
    for (int g = 0; g < stack_groups; g++)
        for (int a = 0; a < stacked; a++)
            for (int c = a; c <= stacked; c++)
                s.learned.stack[half][a][c][g] += sums[g][c - a][a] - (s.learned.stack[half][a][c][g] >> stack_rows);
}

// Of values beside each other: the derivatives of their log likelihoods by the log-scale and by the factor of the shift, in
// 1/256, and the distribution function at their edges.
struct Slopes {
    static constexpr int lanes = 16;
    int32_t scale[lanes], shift[lanes], low[lanes], high[lanes];
};
// Loops over lanes are apart from those that read tables, so that compilers make vectors of them.
void slopes_of(const BandState& s, const AdaptedHalf& h, ptrdiff_t first, int count, const int32_t* values, Slopes& out) {
    using namespace logistic;
    constexpr int lanes = Slopes::lanes;
    const int32_t* sigmoid = s.tables.sigmoid.data() + reach;
    constexpr int32_t farthest = 1 << 30;
    int32_t value[lanes] = {}, wanted[lanes] = {};
    std::memcpy(value, values + first, size_t(count) * sizeof(int32_t));
    std::memcpy(wanted, s.wanted.data() + first, size_t(count) * sizeof(int32_t));
    float inside[2][lanes], outside[2][lanes] = {};  // 0 or 1
    for (int i = 0; i < lanes; i++) {
        inside[0][i] = float(value[i] > 0);
        inside[1][i] = float(value[i] < 255);
        outside[1][i] = 1 - inside[1][i];
    }
    float slope[lanes] = {}, probability[lanes] = {}, moved[lanes] = {};
    int64_t function[2][lanes] = {};
    for (int k = 0; k < s.input.parts; k++) {
        const ptrdiff_t from = k * h.columns + first;
        int32_t weight[lanes] = {}, centre[lanes] = {}, inverse[lanes] = {};
        std::memcpy(weight, h.weights.data() + from, size_t(count) * sizeof(int32_t));
        std::memcpy(centre, h.centres.data() + from, size_t(count) * sizeof(int32_t));
        for (int i = 0; i < lanes; i++) centre[i] = limited(centre[i], farthest);
        for (int i = 0; i < count; i++) {
            const int32_t scale = h.scales[size_t(from + i)];
            inverse[i] = s.tables.inverse_scale[size_t(
                (scale < least_scale ? least_scale : scale > largest_scale ? largest_scale : scale) - least_scale)];
        }
        float below[2][lanes], part[2][lanes], density[2][lanes];
        for (int edge = 0; edge < 2; edge++) {
            int32_t step[lanes], share[lanes];
            for (int i = 0; i < lanes; i++) {
                const int32_t position = (value[i] + edge) * (1 << centre_bits) - (1 << (centre_bits - 1)) - centre[i];
                step[i] = int32_t(limited<int64_t>(int64_t(position) * inverse[i] >> inverse_bits, reach));
            }
            for (int i = 0; i < lanes; i++) share[i] = sigmoid[step[i]];
            for (int i = 0; i < lanes; i++) function[edge][i] += int64_t(weight[i]) * share[i];
            for (int i = 0; i < lanes; i++) {
                const float x = float(share[i]) * (1.0f / total) * inside[edge][i] + outside[edge][i];
                below[edge][i] = x;
                part[edge][i] = float(step[i]) * (1.0f / 1024) * x * (1 - x);
                density[edge][i] = x * (1 - x);
            }
        }
        for (int i = 0; i < lanes; i++) {
            const float by = float(weight[i]);
            probability[i] += by * (below[1][i] - below[0][i]);
            slope[i] += by * (part[0][i] - part[1][i]);
            moved[i] += by * (density[0][i] - density[1][i]) * float(inverse[i]);
        }
    }
    constexpr float unit = float(256 * 0.6931);
    constexpr float per_shift = 256.0f / (1 << 30);
    for (int i = 0; i < lanes; i++) {
        out.low[i] = value[i] > 0 ? int32_t(function[0][i] >> weight_bits) : 0;
        out.high[i] = value[i] < 255 ? int32_t(function[1][i] >> weight_bits) : total;
        out.scale[i] = rounded(limited(slope[i] / (probability[i] + 1.0f / 256) * unit, 768.0f));
        out.shift[i] = rounded(limited(moved[i] / (probability[i] + 256) * (float(wanted[i]) * per_shift), 768.0f));
    }
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
    Slopes slopes;
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        const int lane = int(j % Slopes::lanes);
        if (lane == 0) slopes_of(s, h, j, int(std::min<ptrdiff_t>(Slopes::lanes, h.columns - j)), values, slopes);
        s.low[size_t(j)] = slopes.low[lane];
        s.high[size_t(j)] = slopes.high[lane];
        const int64_t slope = slopes.scale[lane];
        for (int table = 0; table < tables_of(s); table++) {
            const int64_t part = s.part[table][size_t(j)], first = slope * (64 - part), second = slope * part;
            const int32_t entry = s.entry[table][size_t(j)];
            ScaleTable& to = s.learned.scales[table];
            sums[table][entry] += first;
            sums[table][entry + 1] += second;
            to.squares[entry] += first * first;
            to.squares[entry + 1] += second * second;
        }
        const int64_t by_shift = 64 * slopes.shift[lane];
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
            const int32_t error = (4 * target - s.predictions[size_t(which * h.room + j)]) >> 2;
            s.errors[1 + which][to] = error * error;
        }
        h.scaled[size_t(h.features * h.room + j)] = target;
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
