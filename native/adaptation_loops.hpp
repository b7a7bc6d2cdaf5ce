// The loops over samples of what an encoder tries: compiled once for each instruction set.
#pragma once

#include <algorithm>

#include "adaptation.hpp"

namespace neuralcodec {
namespace {

using namespace logistic;

constexpr int gain_bits = 8, lanes = 16;
constexpr ptrdiff_t block = 128;  // items that are worked on at once

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// Log-scales with offsets by class.
void moved(const MixtureParameters& p, ItemClasses classes, const std::vector<int32_t>& offsets, int32_t* scales) {
    for (ptrdiff_t at = 0; at < p.count; at += block) {
        const ptrdiff_t count = std::min(block, p.count - at);
        uint32_t offset[block] = {};
        for (int axis = 0; axis < classes.axes; axis++) {
            const int32_t* table = offsets.data() + axis * classes.count;
            const uint8_t* of = classes.of + axis * p.count + at;
            for (ptrdiff_t i = 0; i < count; i++) offset[i] += uint32_t(table[of[i]]);
        }
        for (int k = 0; k < p.parts; k++)
            for (ptrdiff_t i = 0; i < count; i++)
                scales[k * p.count + at + i] = int32_t(uint32_t(p.scales[k * p.count + at + i]) + offset[i]);
    }
}

constexpr int nodes = 4, most_moves = 12, farthest = 15, turns = 3;

// The polynomial through the nodes -15, -5, 5, 15, times 6000: what each node counts at `x`.
struct Interpolation {
    int64_t of[2 * farthest + 1][nodes];
    Interpolation() {
        for (int64_t x = -farthest; x <= farthest; x++) {
            const int64_t outer = x * x - 25, inner = 3 * (x * x - 225);
            int64_t* to = of[x + farthest];
            to[0] = -outer * (x - 15), to[1] = inner * (x - 5), to[2] = -inner * (x + 5), to[3] = outer * (x + 15);
        }
    }
};
constexpr int64_t common = 6000;

// For two axes of classes, or one and a class that all items share: moves of `step` each, such that items take few bits.
class Moves {
public:
    Moves(ItemClasses classes, int step) : step(step), count(classes.count), columns(classes.axes > 1 ? count : 1) {}

    // Code lengths of all items at a node.
    void add(int node, const MixtureParameters& p, ItemClasses classes, const int32_t* lengths) {
        std::vector<int64_t> sums(size_t(count * columns));
        const uint8_t *row = classes.of, *column = classes.axes > 1 ? row + p.count : nullptr;
        for (ptrdiff_t i = 0; i < p.count; i++)
            sums[size_t(row[i] * columns + (column ? column[i] : 0))] += lengths[i];
        at_node[node] = std::move(sums);
    }

    // Moves the classes of both axes in turn.
    void find(int64_t price, std::vector<int32_t>& offsets) {
        static const Interpolation interpolation;
        std::vector<int> rows(size_t(count), 0), others(size_t(columns), 0);
        const auto lengths = [&](int row, int column, int x) {
            const int64_t* of = interpolation.of[std::min(std::max(x, -farthest), farthest) + farthest];
            int64_t sum = 0;
            for (int n = 0; n < nodes; n++) sum += of[n] * at_node[n][size_t(row * columns + column)];
            return sum;
        };
        const auto best = [&](auto&& with) {
            int found = 0;
            int64_t least = with(0);
            for (int move = -most_moves; move <= most_moves; move++) {
                const int64_t sum = move ? with(move) + common / 2 * price : least;
                if (sum < least) least = sum, found = move;
            }
            return found;
        };
        for (int turn = 0; turn < turns; turn++) {
            for (int row = 0; row < count; row++)
                rows[size_t(row)] = best([&](int move) {
                    int64_t sum = 0;
                    for (int c = 0; c < columns; c++) sum += lengths(row, c, move + others[size_t(c)]);
                    return sum;
                });
            if (columns == 1) break;
            for (int c = 0; c < columns; c++)
                others[size_t(c)] = best([&](int move) {
                    int64_t sum = 0;
                    for (int row = 0; row < count; row++) sum += lengths(row, c, move + rows[size_t(row)]);
                    return sum;
                });
        }
        for (int c = 0; c < count; c++) offsets[size_t(c)] += step * rows[size_t(c)];
        if (columns > 1)
            for (int c = 0; c < count; c++) offsets[size_t(count + c)] += step * others[size_t(c)];
    }

private:
    const int step, count, columns;
    std::vector<int64_t> at_node[nodes];
};

std::vector<int32_t> class_scales(const MixtureKernel& kernel, const MixtureParameters& mixtures, const int64_t* values,
                                  ItemClasses classes, const std::vector<int64_t>& steps, int64_t price) {
    MixtureParameters p = mixtures;
    std::vector<int32_t> offsets(size_t(classes.axes * classes.count)), scales(size_t(p.parts * p.count));
    std::vector<int32_t> lengths(size_t(p.count));
    p.scales = scales.data();
    for (int64_t step : steps) {
        Moves moves(classes, int(step));
        for (int node = 0; node < nodes; node++) {
            std::vector<int32_t> trial = offsets;
            for (int c = 0; c < classes.count; c++) trial[size_t(c)] += int32_t(step) * (10 * node - farthest);
            moved(mixtures, classes, trial, scales.data());
            kernel.costs(p, values, lengths.data());
            moves.add(node, p, classes, lengths.data());
        }
        moves.find(price, offsets);
    }
    return offsets;
}

// Rows of a block of items as doubles, those behind the last item zero.
struct Rows {
    double at[most_slopes + 1][block];  // slopes, and errors
    double weighted[block];
};

// The sum of products of integers, exact below 2**53 in any order.
double dot(const double* a, const double* b) {
    double sums[lanes] = {}, total = 0;
    for (ptrdiff_t i = 0; i < block; i += lanes)
        for (int j = 0; j < lanes; j++) sums[j] += a[i + j] * b[i + j];
    for (double sum : sums) total += sum;
    return total;
}

// The precisions and errors of items that the mixtures expect.
void errors_of(const MixtureParameters& p, const int64_t* values, const ErrorScales& scales, ptrdiff_t at,
               ptrdiff_t count, double* precision, double* error) {
    int64_t scale[block] = {}, mean[block] = {};
    for (int k = 0; k < p.parts; k++) {
        const ptrdiff_t from = k * p.count + at;
        for (ptrdiff_t i = 0; i < count; i++) {
            scale[i] += int64_t(p.weights[from + i]) * p.scales[from + i];
            mean[i] += int64_t(p.weights[from + i]) * p.centres[from + i];
        }
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        const int64_t step = (scale[i] >> weight_bits) - least_scale - scales.log_gain;
        const int64_t of = std::min<int64_t>(std::max<int64_t>(step, 0), scales.count - 1);
        const int64_t miss = (values[at + i] * (1 << centre_bits) - (mean[i] >> weight_bits)) * 4;
        const int64_t limit = scales.reach[of], whole = floor_divide(miss * (1 << gain_bits), scales.gain);
        precision[i] = double(scales.precision[of]);
        error[i] = double(std::min(std::max(whole, -limit), limit));
    }
}

void least_squares(const MixtureParameters& p, const int64_t* values, const int32_t* slopes, int rows,
                   const ErrorScales& scales, double* normal, double* right) {
    std::fill(normal, normal + rows * rows, 0.0);
    std::fill(right, right + rows, 0.0);
    Rows r{};
    double precision[block] = {};
    for (ptrdiff_t at = 0; at < p.count; at += block) {
        const ptrdiff_t count = std::min(block, p.count - at);
        errors_of(p, values, scales, at, count, precision, r.at[rows]);
        for (int row = 0; row < rows; row++) {
            for (ptrdiff_t i = 0; i < count; i++) r.at[row][i] = slopes[row * p.count + at + i];
            std::fill(r.at[row] + count, r.at[row] + block, 0.0);
            for (ptrdiff_t i = 0; i < block; i++) r.weighted[i] = r.at[row][i] * precision[i];
            for (int column = 0; column <= row; column++) normal[row * rows + column] += dot(r.weighted, r.at[column]);
            right[row] += dot(r.weighted, r.at[rows]);
        }
    }
    for (int row = 0; row < rows; row++)
        for (int column = 0; column < row; column++) normal[column * rows + row] = normal[row * rows + column];
}

constexpr AdaptationKernel adaptation_kernel{class_scales, least_squares};

}  // namespace
}  // namespace neuralcodec
