// What an encoder tries to adapt mixtures to values. See flow/adaptation.py, which defines it.
#pragma once

#include "mixtures.hpp"

namespace neuralcodec {

// Classes of items along some axes: (axes, items), each below `count`.
struct ItemClasses {
    const uint8_t* of;
    int axes, count;
};

// Precision and three standard deviations of each log-scale from `least_scale` on, and how log-scales and values are mapped:
// by 0 and 256 where they are not.
struct ErrorScales {
    const int64_t *precision, *reach;
    ptrdiff_t count;
    int64_t log_gain, gain;
};

constexpr int most_slopes = 64;

struct AdaptationKernel {
    // Offsets of log-scales for each class, (1 or 2 axes, count), with which values take few bits: multiples of each of the
    // `steps` in turn, changed for the classes where that saves more than half of `price`, in 1/65536 bit.
    std::vector<int32_t> (*class_scales)(const MixtureKernel&, const MixtureParameters&, const int64_t* values,
                                         ItemClasses classes, const std::vector<int64_t>& steps, int64_t price);
    // Of the weighted least squares of the means' errors on `slopes` (rows, items): the normal matrix (rows, rows) and the
    // right side (rows). Sums are exact below 2**53.
    void (*least_squares)(const MixtureParameters&, const int64_t* values, const int32_t* slopes, int rows,
                          const ErrorScales& scales, double* normal, double* right);
};

// Solves a positive definite system (rows, rows) in the place of its right side, by elimination in one order; `matrix` is lost.
void solve(double* matrix, double* right, int rows);

}  // namespace neuralcodec
