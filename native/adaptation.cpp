#include "adaptation.hpp"

#include <algorithm>

namespace neuralcodec {

using namespace logistic;

namespace {

constexpr int gain_bits = 8;

int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// The sum of products of integers, exact below 2**53 in any order.
double dot(const double* a, const double* b, size_t count) {
    double sums[8] = {};
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        for (size_t j = 0; j < 8; j++) sums[j] += a[i + j] * b[i + j];
    for (; i < count; i++) sums[0] += a[i] * b[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// Log-scales with offsets by class.
void moved(const MixtureParameters& p, ItemClasses classes, const std::vector<int32_t>& offsets, int32_t* scales) {
    for (ptrdiff_t i = 0; i < p.count; i++) {
        int32_t offset = 0;
        for (int axis = 0; axis < classes.axes; axis++)
            offset += offsets[size_t(axis * classes.count + classes.of[axis * p.count + i])];
        for (int k = 0; k < p.parts; k++)
            scales[k * p.count + i] = int32_t(uint32_t(p.scales[k * p.count + i]) + uint32_t(offset));
    }
}

}  // namespace

std::vector<int32_t> class_scales(const Mixtures& mixtures, const int64_t* values, ItemClasses classes,
                                  const std::vector<int64_t>& steps, int64_t price) {
    MixtureParameters p = mixtures.parameters;
    std::vector<int32_t> offsets(size_t(classes.axes * classes.count)), scales(size_t(p.parts * p.count));
    std::vector<int64_t> each(size_t(p.count)), found(size_t(p.count));
    mixtures.costs(values, each.data());
    p.scales = scales.data();
    const Mixtures trial(mixtures.kernel, p);
    for (int64_t step : steps)
        for (int axis = 0; axis < classes.axes; axis++)
            for (int64_t move : {-step, step}) {
                const size_t row = size_t(axis * classes.count);
                std::vector<int32_t> moves = offsets;
                std::vector<int64_t> saved(size_t(classes.count));
                for (int c = 0; c < classes.count; c++) moves[row + c] += int32_t(move);
                moved(mixtures.parameters, classes, moves, scales.data());
                trial.costs(values, found.data());
                const uint8_t* of = classes.of + axis * p.count;
                for (ptrdiff_t i = 0; i < p.count; i++) saved[size_t(of[i])] += each[i] - found[i];
                for (int c = 0; c < classes.count; c++)
                    if (2 * saved[c] > price) offsets[row + c] += int32_t(move);
                for (ptrdiff_t i = 0; i < p.count; i++)
                    if (2 * saved[size_t(of[i])] > price) each[i] = found[i];
            }
    return offsets;
}

void least_squares(const Mixtures& mixtures, const int64_t* values, const int32_t* slopes, int rows,
                   const ErrorScales& scales, double* normal, double* right) {
    const MixtureParameters& p = mixtures.parameters;
    const size_t count = size_t(p.count);
    std::vector<double> precision(count), error(count), weighted(count), numbers(slopes, slopes + size_t(rows) * count);
    for (ptrdiff_t i = 0; i < p.count; i++) {
        int64_t scale = 0, mean = 0;
        for (int k = 0; k < p.parts; k++) {
            const int64_t weight = p.weights[k * p.count + i];
            scale += weight * p.scales[k * p.count + i];
            mean += weight * p.centres[k * p.count + i];
        }
        scale = (scale >> weight_bits) - least_scale - scales.log_gain;
        scale = std::min<int64_t>(std::max<int64_t>(scale, 0), scales.count - 1);
        const int64_t miss = (values[i] * (1 << centre_bits) - (mean >> weight_bits)) * 4;
        const int64_t limit = scales.reach[scale], of = floor_divide(miss * (1 << gain_bits), scales.gain);
        precision[i] = double(scales.precision[scale]);
        error[i] = double(std::min(std::max(of, -limit), limit));
    }
    for (int row = 0; row < rows; row++) {
        const double* slope = numbers.data() + size_t(row) * count;
        for (size_t i = 0; i < count; i++) weighted[i] = slope[i] * precision[i];
        for (int column = 0; column <= row; column++)
            normal[row * rows + column] = normal[column * rows + row] =
                dot(weighted.data(), numbers.data() + size_t(column) * count, count);
        right[row] = dot(weighted.data(), error.data(), count);
    }
}

void solve(double* matrix, double* right, int rows) {
    const auto at = [&](int row, int column) -> double& { return matrix[row * rows + column]; };
    for (int i = 0; i < rows; i++)
        for (int j = i + 1; j < rows; j++) {
            const double factor = at(j, i) / at(i, i);
            for (int m = i + 1; m < rows; m++) at(j, m) -= factor * at(i, m);
            right[j] -= factor * right[i];
        }
    for (int i = rows; i-- > 0;) {
        for (int j = i + 1; j < rows; j++) right[i] -= at(i, j) * right[j];
        right[i] /= at(i, i);
    }
}

}  // namespace neuralcodec
