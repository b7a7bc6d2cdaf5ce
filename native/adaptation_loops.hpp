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

std::vector<int32_t> class_scales(const MixtureKernel& kernel, const MixtureParameters& mixtures, const int64_t* values,
                                  ItemClasses classes, const std::vector<int64_t>& steps, int64_t price) {
    MixtureParameters p = mixtures;
    std::vector<int32_t> offsets(size_t(classes.axes * classes.count)), scales(size_t(p.parts * p.count));
    std::vector<int32_t> each(size_t(p.count)), found(size_t(p.count));
    kernel.costs(p, values, each.data());
    p.scales = scales.data();
    for (int64_t step : steps)
        for (int axis = 0; axis < classes.axes; axis++)
            for (int64_t move : {-step, step}) {
                const size_t row = size_t(axis * classes.count);
                std::vector<int32_t> moves = offsets;
                std::vector<int64_t> saved(size_t(classes.count));
                for (int c = 0; c < classes.count; c++) moves[row + c] += int32_t(move);
                moved(mixtures, classes, moves, scales.data());
                kernel.costs(p, values, found.data());
                const uint8_t* of = classes.of + axis * p.count;
                for (ptrdiff_t i = 0; i < p.count; i++) saved[size_t(of[i])] += each[size_t(i)] - found[size_t(i)];
                for (int c = 0; c < classes.count; c++)
                    if (2 * saved[c] > price) offsets[row + c] += int32_t(move);
                for (ptrdiff_t i = 0; i < p.count; i++)
                    each[size_t(i)] = 2 * saved[size_t(of[i])] > price ? found[size_t(i)] : each[size_t(i)];
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
