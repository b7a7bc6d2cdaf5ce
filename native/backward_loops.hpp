// Predictions of a half row of an adapted band: compiled once for each instruction set.
//
// Integers fit 32 bits. Features are at most 127, so what a block of 8 columns adds to a sum of products is at most 129032;
// of sums that forget a 64th (8th) in a row, which settle below 64 (8) times that and the rounding, 8.3 million (1.1); all
// blocks to the left, weighted by powers of 27/32 (7/16), and those to the right, at most 32/5 (16/9) and 27/5 (7/9) times
// that: 53 and 45 million, whose 27-fold is below 2**31. Coefficients are at most 32767: predictions are sums of at most 30
// products below 2**22. What a block adds is summed in floats, exactly: below 2**24.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backward_solver.hpp"

namespace neuralcodec {
namespace {

using namespace backward;

template <class T>
NEURALCODEC_INLINE T limited(T x, T limit) {
    return x < -limit ? -limit : x > limit ? limit : x;
}

// In 1/16 standard deviation: the distances are limited to the reach, so that products are below 2**24.
NEURALCODEC_INLINE int32_t scaled(int32_t distance, int32_t inverse, int32_t reach, int32_t limit) {
    return limited(limited(distance, reach) * inverse >> 16, limit);
}

struct Step {
    int down, right;
};
constexpr Step even_steps[] = {{-1, 0}, {-1, -1}, {-1, 1}, {-2, 0}};
constexpr Step odd_steps[] = {{-1, 0}, {0, -1}, {0, 1}, {-1, -1}, {-1, 1}, {-2, 0}};
NEURALCODEC_INLINE int weight_of(Step step) {
    const int distance = step.down * step.down + step.right * step.right;
    return distance == 1 ? 5 : distance == 2 ? 3 : 2;
}

struct Memory {
    int rows, columns, bits, every;
};
constexpr Memory memory[memories] = {{3, 7, 4, 1}, {6, 27, 5, 4}};
constexpr int stack_rows = 6;
constexpr float ridge = 16 << 8, stack_ridge = 4 << 12;
constexpr int32_t most = 256, narrow = 48, medium = 64, prior = 896, nearest_prior = 192;
constexpr int64_t most_trust = 1536;
constexpr ptrdiff_t margin = 2;  // rows and columns of a plane's border, in all

// ---- Predictions of local least squares ----------------------------------------------------------------------------

// The sums around each block.
void sums_around(const AdaptedHalf& h, int which, int32_t* around, int32_t* value) {
    const int pairs = h.pair_rows[h.features], times = memory[which].columns, bits = memory[which].bits;
    const int32_t* sums = h.sums[which].data();
    for (int p = 0; p < pairs; p++) value[p] = 0;
    for (ptrdiff_t b = 0; b < h.blocks; b++)
        for (int p = 0; p < pairs; p += 8) {
            const EightInts v = (eight(value + p) * times >> bits) + eight(sums + b * pairs + p);
            eight(value + p) = eight(around + b * pairs + p) = v;
        }
    for (int p = 0; p < pairs; p++) value[p] = 0;
    for (ptrdiff_t b = h.blocks - 1; b >= 0; b--)
        for (int p = 0; p < pairs; p += 8) {
            const EightInts v = eight(value + p);
            eight(around + b * pairs + p) = eight(around + b * pairs + p) + v;
            eight(value + p) = (v + eight(sums + b * pairs + p)) * times >> bits;
        }
}

// The coefficients of the systems of a vector, from the sums around each; `turns` are their memories, a run of blocks each.
template <class Vectors>
void solve_some(AdaptedHalf& h, const int* turns, ptrdiff_t first, ptrdiff_t systems) {
    constexpr int lanes = Vectors::lanes;
    const int n = h.features, pairs = h.pair_rows[n];
    int32_t found[most_features * lanes];
    transposed<lanes>(h.around.data() + first * pairs, pairs, h.matrix.data());
    solve<Vectors>(n, h.pair_rows, h.matrix.data(), ridge / 2, ridge, found);
    for (ptrdiff_t at = first; at < std::min(systems, first + lanes); at++) {
        int32_t* to = h.coefficients[turns[at / h.blocks]].data() + at % h.blocks * features_room;
        for (int a = 0; a < n; a++) to[a] = found[a * lanes + at - first];
    }
}

// The coefficients of all blocks for a row, of the memories whose turn it is.
void local_coefficients(AdaptedHalf& h, ptrdiff_t row) {
    const int n = h.features, pairs = h.pair_rows[n];
    int32_t* around = h.around.data();
    int turns[memories];
    ptrdiff_t systems = 0;
    for (int which = 0; which < memories; which++)
        if (row % memory[which].every == 1 % memory[which].every) {
            sums_around(h, which, around + systems * pairs, h.carried.data());
            turns[systems / h.blocks] = which;
            systems += h.blocks;
        }
    const ptrdiff_t padded = (systems + Narrow::lanes - 1) / Narrow::lanes * Narrow::lanes;
    std::fill_n(around + systems * pairs, (padded - systems) * pairs, 0);
    ptrdiff_t first = 0;
    for (; first + Wide::lanes <= padded; first += Wide::lanes) solve_some<Wide>(h, turns, first, systems);
    for (; first < padded; first += Narrow::lanes) solve_some<Narrow>(h, turns, first, systems);
}

void local_predictions(const BandState& s, const AdaptedHalf& h, int which, int32_t* out) {
    const int n = h.features;
    const int32_t* coefficients = h.coefficients[which].data();
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        const int32_t *z = h.scaled.data() + j * features_room, *each = coefficients + j / block * features_room;
        int32_t sum = 0;
        for (int a = 0; a < n; a++) sum += each[a] * z[a];
        out[j] = limited(sum >> (coefficient_bits - 2), most);
    }
}

// ---- Predictions ---------------------------------------------------------------------------------------------------

// Where a half row lies in the planes with a border.
NEURALCODEC_INLINE ptrdiff_t bordered(const BandState& s, ptrdiff_t row, int half) {
    return (row + margin) * (s.input.width + margin) + 1 + half;
}

// The mixtures of the network, their means and scales.
void read(const BandState& s, AdaptedHalf& h, ptrdiff_t row, int half) {
    const AdaptedBandInput& in = s.input;
    uint64_t *means = h.moments.data(), *scales = means + h.columns;
    std::fill_n(means, 2 * h.columns, 0);  // none in the odd half of a single column
    for (int k = 0; k < in.parts; k++) {
        const ptrdiff_t from = (k * in.height + row) * in.width + half;
        const int32_t *weight = in.weights + from, *centre = in.centres + from, *scale = in.scales + from;
        int32_t *own = h.weights.data() + k * h.columns, *moved = h.centres.data() + k * h.columns,
                *width = h.scales.data() + k * h.columns;
        for (ptrdiff_t j = 0; j < h.columns; j++) {
            own[j] = weight[2 * j];
            moved[j] = centre[2 * j];
            width[j] = scale[2 * j];
            means[j] += uint64_t(int64_t(own[j]) * moved[j]);
            scales[j] += uint64_t(int64_t(own[j]) * width[j]);
        }
    }
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        int64_t step = (int64_t(scales[j]) >> logistic::weight_bits) - logistic::least_scale;
        step = step < 0 ? 0 : step >= scale_steps ? scale_steps - 1 : step;
        const int32_t of_class = int32_t(step + logistic::least_scale + 16) >> 3;
        h.mean[size_t(j)] = int32_t(limited<int64_t>(int64_t(means[j]) >> logistic::weight_bits, distant));
        h.inverse[size_t(j)] = s.deviations.inverse[step];
        h.deviation[size_t(j)] = s.deviations.deviation[step];
        h.reach[size_t(j)] = s.deviations.reach[step];
        h.of_class[size_t(j)] = of_class < 0 ? 0 : of_class >= classes ? classes - 1 : of_class;
        h.octave[size_t(j)] = int32_t(step >> 4);
        h.map_of[size_t(j)] = h.of_class[size_t(j)] * logistic::map_room;
    }
}

// The features that are known before the band.
void known_features(const BandState& s, AdaptedHalf& h, ptrdiff_t row, int half) {
    const AdaptedBandInput& in = s.input;
    const ptrdiff_t plane = in.height * in.width;
    int32_t raw[features_room] = {};
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        const ptrdiff_t x = 2 * j + half, from = row * in.width + x;
        const int64_t mean = h.mean[size_t(j)], total = in.total[from];
        int32_t* to = raw;
        for (int t = 0; t < near_taps; t++)
            *to++ = int32_t(limited<int64_t>((in.taps[t * plane + from] + total) * 16 - mean, distant));
        for (int k = 0; k < nearest; k++) *to++ = in.nearest[k * plane + from];
        for (const EarlierBand& earlier : in.earlier) {
            *to++ = earlier.surprises[from];
            *to++ = x + 1 < in.width ? earlier.surprises[from + 1] : 0;
            *to++ = x > 0 ? earlier.surprises[from - 1] : 0;
            const int64_t residual = earlier.residuals[from];
            for (int t = 0; t < earlier_taps; t++)
                *to++ = int32_t(limited<int64_t>((earlier.taps[t * plane + from] - residual) * 16, distant));
        }
        int32_t* z = h.scaled.data() + j * features_room;
        float* exact = h.known.data() + j * float_room;
        const int32_t inverse = h.inverse[size_t(j)], reach = h.reach[size_t(j)];
        for (int a = 0; a < features_room; a++) z[a] = scaled(raw[a], inverse, reach, h.limits[a]);
        for (int a = 0; a < features_room; a++) exact[a] = float(z[a]);
    }
    // The last block may have fewer columns.
    const size_t end = size_t(h.blocks * block * float_room), past = size_t(h.columns * float_room);
    std::fill(h.known.begin() + ptrdiff_t(past), h.known.begin() + ptrdiff_t(end), 0.0f);
}

// Those of the neighbours in the band, and what two of them say.
template <int count>
void near_features(BandState& s, AdaptedHalf& h, ptrdiff_t row, int half, const Step (&steps)[count]) {
    const ptrdiff_t stride = s.input.width + margin, first = h.features - count;
    const int32_t* surprises = s.surprises.data() + bordered(s, row, half);
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        int32_t* z = h.scaled.data() + j * features_room + first;
        float* exact = h.known.data() + j * float_room + first;
        for (int k = 0; k < count; k++) {
            const int32_t surprise = surprises[2 * j + steps[k].down * stride + steps[k].right];
            z[k] = scaled(surprise, h.inverse[size_t(j)], h.reach[size_t(j)], medium);
            exact[k] = float(z[k]);
        }
        s.predictions[size_t(2 * h.columns + j)] = limited(2 * (z[0] + z[1]), most);
    }
}

// As coders.logistic.log2, of numbers that floats hold exactly.
NEURALCODEC_INLINE int32_t logarithm(const BandState& s, int32_t number) {
    const float exact = float(number);
    uint32_t parts;
    std::memcpy(&parts, &exact, 4);
    return (int32_t(parts >> 23) - 127) * 65536 + s.tables.log2[parts >> 11 & 4095];
}

// Where in a table of scales mean squares belong.
NEURALCODEC_INLINE void look_up(BandState& s, const AdaptedHalf& h, int table, ptrdiff_t j, int32_t squares, int32_t count) {
    int32_t where = ((logarithm(s, squares) - logarithm(s, count)) >> 9) + 512;
    where = where < 0 ? 0 : where > 1023 ? 1023 : where;
    s.entry[table][size_t(j)] = h.of_class[size_t(j)] * entries + (where >> 6);
    s.part[table][size_t(j)] = where & 63;
}

// Places in the tables of scales.
template <int count>
void contexts(BandState& s, const AdaptedHalf& h, ptrdiff_t row, int half, const Step (&steps)[count]) {
    const ptrdiff_t stride = s.input.width + margin;
    const int32_t* energy = s.energy.data() + bordered(s, row, half);
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        int32_t surprises = prior, inside = prior;
        for (const Step& step : steps) {
            const ptrdiff_t x = 2 * j + half + step.right;
            surprises += weight_of(step) * energy[2 * j + step.down * stride + step.right];
            inside += row + step.down >= 0 && x >= 0 && x < s.input.width ? weight_of(step) * 256 : 0;
        }
        look_up(s, h, 0, j, surprises, inside);
        const int32_t* z = h.scaled.data() + j * features_room + near_taps;
        int32_t squares = nearest_prior;
        for (int k = 0; k < nearest; k++) squares += z[k] * z[k];
        look_up(s, h, 1, j, squares, nearest_prior + nearest * 256);
        if (s.input.earlier.empty()) continue;
        int32_t before = nearest_prior, even = nearest_prior;
        for (size_t e = 0; e < s.input.earlier.size(); e++) {
            const int32_t there = z[nearest + e * (earlier_neighbours + earlier_taps)];
            before += 4 * there * there;
            even += 4 * 256;
        }
        look_up(s, h, 2, j, before, even);
    }
}

// The local predictions together, by how wrong each has been around.
template <int count>
void blend(BandState& s, const AdaptedHalf& h, ptrdiff_t row, int half, const Step (&steps)[count]) {
    const ptrdiff_t stride = s.input.width + margin, at = bordered(s, row, half);
    int32_t* out = s.predictions.data() + (stacked - 1) * h.columns;
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        float above = 0, below = 0;
        for (int which = 0; which <= memories; which++) {
            const int32_t* errors = s.errors[which].data() + at + 2 * j;
            int32_t squares = prior;
            for (const Step& step : steps) squares += weight_of(step) * errors[step.down * stride + step.right];
            float weight = 1 / float(squares);
            weight *= weight;
            weight *= weight;
            if (which) above += weight * float(s.predictions[size_t((which - 1) * h.columns + j)]);
            below += weight;
        }
        out[j] = rounded(above / below);
    }
}

void stack(BandState& s, const AdaptedHalf& h, int half) {
    constexpr int rows[] = {0, 8, 16, 24}, lanes = Narrow::lanes;
    alignas(64) float u[32 * lanes] = {};
    int32_t found[stacked * lanes];
    for (int g = 0; g < stack_groups; g++)
        for (int a = 0; a < stacked; a++)
            for (int c = a; c <= stacked; c++) u[(rows[a] + c - a) * lanes + g] = float(s.learned.stack[half][a][c][g]);
    solve<Narrow>(stacked, rows, u, stack_ridge / 2, stack_ridge, found);
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        const int32_t* each = found + (h.of_class[size_t(j)] >> 1);
        int32_t sum = 0;
        for (int a = 0; a < stacked; a++) sum += each[a * lanes] * s.predictions[size_t(a * h.columns + j)];
        const int32_t wanted = (limited(sum >> coefficient_bits, most) * h.deviation[size_t(j)] + 128) >> 8;
        const int64_t factor = 1024 + s.learned.scales[trust].offsets[h.octave[size_t(j)]];
        s.wanted[size_t(j)] = wanted;
        s.shift[size_t(j)] = int32_t(wanted * (factor < 0 ? 0 : factor > most_trust ? most_trust : factor) >> 10);
    }
}

// The last is of bands before.
NEURALCODEC_INLINE int tables_of(const BandState& s) { return scale_tables - s.input.earlier.empty(); }

void move(const BandState& s, AdaptedHalf& h) {
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        int64_t sum = 1 << 11;
        for (int table = 0; table < tables_of(s); table++) {
            const int64_t* offsets = s.learned.scales[table].offsets + s.entry[table][size_t(j)];
            const int64_t part = s.part[table][size_t(j)];
            sum += offsets[0] * (64 - part) + offsets[1] * part;
        }
        const auto offset = int32_t(sum >> 12);
        for (int k = 0; k < s.input.parts; k++) {
            const size_t i = size_t(k * h.columns + j);  // any numbers: sums may wrap
            h.centres[i] = int32_t(uint32_t(h.centres[i]) + uint32_t(s.shift[size_t(j)]));
            h.scales[i] = int32_t(uint32_t(h.scales[i]) + uint32_t(offset));
        }
    }
}

template <int count>
void predict_by(BandState& s, ptrdiff_t row, int half, const Step (&steps)[count]) {
    AdaptedHalf& h = s.halves[half];
    near_features(s, h, row, half, steps);
    for (int which = 0; which < memories; which++)
        local_predictions(s, h, which, s.predictions.data() + which * h.columns);
    blend(s, h, row, half, steps);
    contexts(s, h, row, half, steps);
    stack(s, h, half);
    move(s, h);
}

void prepare(BandState& s, ptrdiff_t row, int half) {
    read(s, s.halves[half], row, half);
    known_features(s, s.halves[half], row, half);
}

void predict(BandState& s, ptrdiff_t row, int half) {
    half ? predict_by(s, row, half, odd_steps) : predict_by(s, row, half, even_steps);
}

}  // namespace
}  // namespace neuralcodec
