// Predictions of a half row of an adapted band: compiled once for each instruction set.
//
// Integers fit 32 bits. Features are at most 127, so what a block of 8 columns adds to a sum of products is at most 129032;
// of sums that forget a 64th (8th) in a row, which settle below 64 (8) times that and the rounding, 8.3 million (1.1); all
// blocks to the left, weighted by powers of 27/32 (7/16), and those to the right, at most 32/5 (16/9) and 27/5 (7/9) times
// that: 53 and 45 million, whose 27-fold is below 2**31. Coefficients are at most 32767: predictions are sums of at most 30
// products below 2**22.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "backward_solver.hpp"
#include "bands_near.hpp"

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

// The sums around each block. Products beside each other are independent: some vectors of them are carried at once, since
// what is carried is ready only after a multiplication.
template <int count>
NEURALCODEC_INLINE void carry(const int32_t* sums, ptrdiff_t pairs, ptrdiff_t blocks, int times, int bits, int32_t* around) {
    EightInts value[count] = {};
    for (ptrdiff_t b = 0; b < blocks; b++) {
        NEURALCODEC_UNROLL
        for (int i = 0; i < count; i++) {
            value[i] = (value[i] * times >> bits) + eight(sums + b * pairs + 8 * i);
            eight(around + b * pairs + 8 * i) = value[i];
        }
    }
    NEURALCODEC_UNROLL
    for (int i = 0; i < count; i++) value[i] = value[i] - value[i];
    for (ptrdiff_t b = blocks - 1; b >= 0; b--) {
        NEURALCODEC_UNROLL
        for (int i = 0; i < count; i++) {
            eight(around + b * pairs + 8 * i) = eight(around + b * pairs + 8 * i) + value[i];
            value[i] = (value[i] + eight(sums + b * pairs + 8 * i)) * times >> bits;
        }
    }
}

void sums_around(const AdaptedHalf& h, int which, int32_t* around) {
    const int pairs = h.pair_rows[h.features], times = memory[which].columns, bits = memory[which].bits;
    const int32_t* sums = h.sums[which].data();
    int p = 0;
    for (; p + 64 <= pairs; p += 64) carry<8>(sums + p, pairs, h.blocks, times, bits, around + p);
    for (; p < pairs; p += 8) carry<1>(sums + p, pairs, h.blocks, times, bits, around + p);
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
            sums_around(h, which, around + systems * pairs);
            turns[systems / h.blocks] = which;
            systems += h.blocks;
        }
    const ptrdiff_t padded = (systems + Narrow::lanes - 1) / Narrow::lanes * Narrow::lanes;
    std::fill_n(around + systems * pairs, (padded - systems) * pairs, 0);
    ptrdiff_t first = 0;
    for (; first + Wide::lanes <= padded; first += Wide::lanes) solve_some<Wide>(h, turns, first, systems);
    for (; first < padded; first += Narrow::lanes) solve_some<Narrow>(h, turns, first, systems);
}

void local_predictions(const AdaptedHalf& h, int which, int32_t* out) {
    for (ptrdiff_t b = 0; b < h.blocks; b++) {
        const int32_t *z = h.scaled.data() + b * block, *each = h.coefficients[which].data() + b * features_room;
        EightInts sum = {};
        for (int a = 0; a < h.features; a++) sum = sum + eight(z + a * h.room) * each[a];
        int32_t sums[block];
        eight(sums) = sum;
        for (int i = 0; i < block; i++) out[b * block + i] = limited(sums[i] >> (coefficient_bits - 2), most);
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

// Every other number.
NEURALCODEC_INLINE void halved(const int32_t* __restrict from, ptrdiff_t count, int32_t* __restrict to) {
    for (ptrdiff_t j = 0; j < count; j++) to[j] = from[2 * j];
}

// A feature of all columns.
NEURALCODEC_INLINE void feature(AdaptedHalf& h, int which) {
    const int32_t *raw = h.raw.data(), *inverse = h.inverse.data(), *reach = h.reach.data(), limit = h.limits[which];
    int32_t* __restrict z = h.scaled.data() + which * h.room;
    for (ptrdiff_t j = 0; j < h.columns; j++) z[j] = scaled(raw[j], inverse[j], reach[j], limit);
}

// The distances of a tap's samples from numbers, in 1/64 grey level.
template <class Numbers>
NEURALCODEC_INLINE void distances(const BandState& s, AdaptedHalf& h, int band, int tap, ptrdiff_t row, int half,
                                  const Numbers& numbers) {
    int32_t* __restrict raw = h.raw.data();
    tap_of<2>(s.input.near, band, tap, 0, row, half, h.columns, raw);
    for (ptrdiff_t j = 0; j < h.columns; j++) raw[j] = limited(raw[j] * 16 - numbers(j), distant);
}

// The features that are known before the band.
void known_features(const BandState& s, AdaptedHalf& h, ptrdiff_t row, int half) {
    const AdaptedBandInput& in = s.input;
    const ptrdiff_t plane = in.height * in.width, from = row * in.width + half, count = h.columns;
    int32_t* raw = h.raw.data();
    const int32_t* mean = h.mean.data();
    const int bands = int(in.earlier.size());
    int a = 0;
    for (int t = 0; t < near_taps; t++) {
        distances(s, h, bands, t, row, half, [mean](ptrdiff_t j) { return mean[j]; });
        feature(h, a++);
    }
    for (int k = 0; k < nearest; k++) {
        halved(in.nearest + k * plane + from, count, raw);
        feature(h, a++);
    }
    for (int band = 0; band < bands; band++) {
        const int32_t *surprises = in.earlier[size_t(band)].surprises + from, *values = in.earlier[size_t(band)].values + from;
        halved(surprises, count, raw);
        feature(h, a++);
        const bool ends = (half + 1) % 2 == in.width % 2;  // nothing is to the right of the last column
        halved(surprises + 1, count - ends, raw);
        if (ends && count) raw[count - 1] = 0;
        feature(h, a++);
        if (half == 0 && count) raw[0] = 0;
        halved(surprises + 1 - 2 * half, count - 1 + half, raw + 1 - half);
        feature(h, a++);
        for (int t = 0; t < earlier_taps; t++) {
            distances(s, h, band, t, row, half, [values](ptrdiff_t j) { return values[2 * j] * 64; });
            feature(h, a++);
        }
    }
}

// Those of the neighbours in the band, and what two of them say.
template <int count>
void near_features(BandState& s, AdaptedHalf& h, ptrdiff_t row, int half, const Step (&steps)[count]) {
    const ptrdiff_t stride = s.input.width + margin, first = h.features - count;
    const int32_t* surprises = s.surprises.data() + bordered(s, row, half);
    for (int k = 0; k < count; k++) {
        halved(surprises + steps[k].down * stride + steps[k].right, h.columns, h.raw.data());
        feature(h, int(first) + k);
    }
    const int32_t *one = h.scaled.data() + first * h.room, *two = one + h.room;
    int32_t* __restrict out = s.predictions.data() + memories * h.room;
    for (ptrdiff_t j = 0; j < h.columns; j++) out[j] = limited(2 * (one[j] + two[j]), most);
}

// As coders.logistic.log2, of numbers that floats hold exactly.
NEURALCODEC_INLINE int32_t logarithm(const int32_t* table, int32_t number) {
    const float exact = float(number);
    uint32_t parts;
    std::memcpy(&parts, &exact, 4);
    return (int32_t(parts >> 23) - 127) * 65536 + table[parts >> 11 & 4095];
}

// Where in a table of scales mean squares belong: the sums and counts of each column.
void look_up(BandState& s, const AdaptedHalf& h, int table) {
    const int32_t *logarithms = s.tables.log2.data(), *squares = s.squares.data(), *counts = s.counts.data(),
                  *of_class = h.of_class.data();
    int32_t *__restrict entry = s.entry[table].data(), *__restrict part = s.part[table].data();
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        int32_t where = ((logarithm(logarithms, squares[j]) - logarithm(logarithms, counts[j])) >> 9) + 512;
        where = where < 0 ? 0 : where > 1023 ? 1023 : where;
        entry[j] = of_class[j] * entries + (where >> 6);
        part[j] = where & 63;
    }
}

// Adds the squares of known neighbours.
template <int count>
NEURALCODEC_INLINE void add_around(const BandState& s, const std::vector<int32_t>& plane, ptrdiff_t row, int half,
                                   ptrdiff_t columns, const Step (&steps)[count], int32_t* __restrict squares) {
    const ptrdiff_t stride = s.input.width + margin;
    const int32_t* from = plane.data() + bordered(s, row, half);
    for (ptrdiff_t j = 0; j < columns; j++) {
        int32_t sum = prior;
        NEURALCODEC_UNROLL
        for (int k = 0; k < count; k++) sum += weight_of(steps[k]) * from[2 * j + steps[k].down * stride + steps[k].right];
        squares[j] = sum;
    }
}

// Places in the tables of scales.
template <int count>
void contexts(BandState& s, const AdaptedHalf& h, ptrdiff_t row, int half, const Step (&steps)[count]) {
    const ptrdiff_t columns = h.columns;
    int32_t *__restrict squares = s.squares.data(), *__restrict counts = s.counts.data();
    add_around(s, s.energy, row, half, columns, steps, squares);
    int32_t inside = prior, left = 0, right = 0;  // of what is inside, where there is nothing to the left or to the right
    for (const Step& step : steps) {
        const int32_t weight = row + step.down >= 0 ? weight_of(step) * 256 : 0;
        inside += weight;
        left += step.right < 0 ? weight : 0;
        right += step.right > 0 ? weight : 0;
    }
    std::fill_n(counts, columns, inside);
    if (columns && half == 0) counts[0] -= left;
    if (columns && (half + 1) % 2 == s.input.width % 2) counts[columns - 1] -= right;
    look_up(s, h, 0);

    const int32_t* z = h.scaled.data() + near_taps * h.room;
    std::fill_n(counts, columns, nearest_prior + nearest * 256);
    for (ptrdiff_t j = 0; j < columns; j++) {
        int32_t sum = nearest_prior;
        for (int k = 0; k < nearest; k++) sum += z[k * h.room + j] * z[k * h.room + j];
        squares[j] = sum;
    }
    look_up(s, h, 1);
    const ptrdiff_t earlier = ptrdiff_t(s.input.earlier.size());
    if (!earlier) return;
    std::fill_n(counts, columns, nearest_prior + int32_t(earlier) * 4 * 256);
    std::fill_n(squares, columns, nearest_prior);
    for (ptrdiff_t e = 0; e < earlier; e++) {
        const int32_t* there = z + (nearest + e * (earlier_neighbours + earlier_taps)) * h.room;
        for (ptrdiff_t j = 0; j < columns; j++) squares[j] += 4 * there[j] * there[j];
    }
    look_up(s, h, 2);
}

// The local predictions together, by how wrong each has been around.
template <int count>
void blend(BandState& s, const AdaptedHalf& h, ptrdiff_t row, int half, const Step (&steps)[count]) {
    int32_t* __restrict squares = s.squares.data();
    float *__restrict above = s.above.data(), *__restrict below = s.below.data();
    std::fill_n(above, h.columns, 0.0f);
    std::fill_n(below, h.columns, 0.0f);
    for (int which = 0; which <= memories; which++) {
        add_around(s, s.errors[which], row, half, h.columns, steps, squares);
        const int32_t* prediction = s.predictions.data() + (which ? which - 1 : 0) * h.room;
        for (ptrdiff_t j = 0; j < h.columns; j++) {
            float weight = 1 / float(squares[j]);
            weight *= weight;
            weight *= weight;
            if (which) above[j] += weight * float(prediction[j]);
            below[j] += weight;
        }
    }
    int32_t* __restrict out = s.predictions.data() + (stacked - 1) * h.room;
    for (ptrdiff_t j = 0; j < h.columns; j++) out[j] = rounded(above[j] / below[j]);
}

void stack(BandState& s, const AdaptedHalf& h, int half) {
    constexpr int rows[] = {0, 8, 16, 24}, lanes = Narrow::lanes;
    alignas(64) float u[32 * lanes] = {};
    int32_t found[stacked * lanes];
    for (int g = 0; g < stack_groups; g++)
        for (int a = 0; a < stacked; a++)
            for (int c = a; c <= stacked; c++) u[(rows[a] + c - a) * lanes + g] = float(s.learned.stack[half][a][c][g]);
    solve<Narrow>(stacked, rows, u, stack_ridge / 2, stack_ridge, found);
    int32_t factors[scale_steps / 16 + 1];
    for (size_t i = 0; i < std::size(factors); i++) {
        const int64_t factor = 1024 + s.learned.scales[trust].offsets[i];
        factors[i] = int32_t(factor < 0 ? 0 : factor > most_trust ? most_trust : factor);
    }
    const int32_t *prediction = s.predictions.data(), *of_class = h.of_class.data(), *deviation = h.deviation.data(),
                  *octave = h.octave.data();
    int32_t *__restrict wanted = s.wanted.data(), *__restrict shift = s.shift.data();
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        const int32_t* each = found + (of_class[j] >> 1);
        int32_t sum = 0;
        for (int a = 0; a < stacked; a++) sum += each[a * lanes] * prediction[a * h.room + j];
        wanted[j] = (limited(sum >> coefficient_bits, most) * deviation[j] + 128) >> 8;
        shift[j] = int32_t(int64_t(wanted[j]) * factors[octave[j]] >> 10);
    }
}

// The last is of bands before.
NEURALCODEC_INLINE int tables_of(const BandState& s) { return scale_tables - s.input.earlier.empty(); }

void move(BandState& s, AdaptedHalf& h) {
    int32_t* __restrict offset = s.squares.data();
    const int count = tables_of(s);
    for (ptrdiff_t j = 0; j < h.columns; j++) {
        int32_t sum = 1 << 11;  // offsets are at most 3 << 10
        for (int table = 0; table < count; table++) {
            const int64_t* offsets = s.learned.scales[table].offsets + s.entry[table][size_t(j)];
            const int32_t part = s.part[table][size_t(j)];
            sum += int32_t(offsets[0]) * (64 - part) + int32_t(offsets[1]) * part;
        }
        offset[j] = sum >> 12;
    }
    const int32_t* shift = s.shift.data();
    for (int k = 0; k < s.input.parts; k++) {
        int32_t *__restrict centres = h.centres.data() + k * h.columns, *__restrict scales = h.scales.data() + k * h.columns;
        for (ptrdiff_t j = 0; j < h.columns; j++) {  // any numbers: sums may wrap
            centres[j] = int32_t(uint32_t(centres[j]) + uint32_t(shift[j]));
            scales[j] = int32_t(uint32_t(scales[j]) + uint32_t(offset[j]));
        }
    }
}

template <int count>
void predict_by(BandState& s, ptrdiff_t row, int half, const Step (&steps)[count]) {
    AdaptedHalf& h = s.halves[half];
    near_features(s, h, row, half, steps);
    for (int which = 0; which < memories; which++)
        local_predictions(h, which, s.predictions.data() + which * h.room);
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
