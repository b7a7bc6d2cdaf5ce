// The loops over samples of a run, which compilers vectorise: compiled once for each instruction set.
#pragma once

#include <algorithm>

#include "predictor.hpp"

namespace neuralcodec {
namespace {

using namespace predictor;

constexpr ptrdiff_t run_block = 128;  // samples whose numbers stay in the first cache

void predictor_predict(const PredictorRun& r) {
    const int16_t *w = r.pixels[0], *n = r.pixels[1], *nw = r.pixels[2], *ne = r.pixels[3], *ww = r.pixels[4],
                  *nn = r.pixels[5];
    const auto fill = [&](int k, const auto& of) {
        int16_t* __restrict out = r.predictions + k * r.stride;
        for (ptrdiff_t i = 0; i < r.count; i++) out[i] = int16_t(of(i));
    };
    fill(0, [=](ptrdiff_t i) { return w[i]; });
    fill(1, [=](ptrdiff_t i) { return n[i]; });
    fill(2, [=](ptrdiff_t i) { return w[i] + n[i] - nw[i]; });
    fill(3, [=](ptrdiff_t i) { return ne[i]; });
    fill(4, [=](ptrdiff_t i) { return 2 * n[i] - nn[i]; });
    fill(5, [=](ptrdiff_t i) { return w[i] + ne[i] - n[i]; });
    fill(6, [=](ptrdiff_t i) { return 2 * w[i] - ww[i]; });
    for (int g = 1; g < r.groups; g++)
        for (int k = 0; k < simple; k++) {
            const int16_t *base = r.predictions + k * r.stride, *dev = r.devs[g - 1] + k * r.dev_stride;
            fill(g * simple + k, [=](ptrdiff_t i) { return base[i] + dev[i]; });
        }
}

void predictor_miss(const PredictorRun& r, const int16_t* pixels, uint8_t* misses) {
    const ptrdiff_t count = r.count;
    for (int p = 0; p < r.groups * simple; p++) {
        const int16_t* prediction = r.predictions + p * r.stride;
        uint8_t* __restrict out = misses + p * r.miss_stride;
        for (ptrdiff_t i = 0; i < count; i++) {
            const int16_t off = int16_t(pixels[i] - prediction[i]), size = int16_t(off < 0 ? -off : off);
            out[i] = uint8_t(size < 255 ? size : 255);
        }
    }
}

template <int Predictors>
void blend_of(const PredictorRun& r, const uint32_t* weights) {
    for (ptrdiff_t at = 0; at < r.count; at += run_block) {
        const ptrdiff_t count = std::min(run_block, r.count - at);
        // Sums of weights, and of predictions times their low and high bits: within 32 bits, as weights have 21 and
        // predictions are -765 .. 1020.
        int32_t total[run_block] = {}, low[run_block] = {}, high[run_block] = {};
        for (int p = 0; p < Predictors; p++) {
            const uint8_t* m[neighbours];
            for (int k = 0; k < neighbours; k++) m[k] = r.misses[k] + p * r.miss_stride + at;
            uint16_t sum[run_block];
            for (ptrdiff_t i = 0; i < count; i++)
                sum[i] = uint16_t(2 * (m[0][i] + m[1][i] + m[2][i] + m[3][i] + m[4][i] + m[5][i]) + m[6][i] + m[7][i]);
            int32_t weight[run_block];
            for (ptrdiff_t i = 0; i < count; i++) weight[i] = int32_t(weights[sum[i]]);
            const int16_t* prediction = r.predictions + p * r.stride + at;
            for (ptrdiff_t i = 0; i < count; i++) {
                total[i] += weight[i];
                low[i] += (weight[i] & 0x7ff) * prediction[i];
                high[i] += (weight[i] >> 11) * prediction[i];
            }
        }
        uint8_t* __restrict blend = r.blend + at;
        for (ptrdiff_t i = 0; i < count; i++) {
            // Exact: both are integers below 2**40, and a quotient that is no integer is 2**-27 or more from the next.
            const double sum = total[i], twice = 2 * (double(high[i]) * 2048 + double(low[i])) + sum;
            const double mean = twice / (2 * sum);
            blend[i] = uint8_t(int32_t(mean < 0 ? 0 : mean > 255 ? 255 : mean));
        }
        int16_t apart[run_block] = {};
        for (int p = 0; p < Predictors; p++) {
            const int16_t* prediction = r.predictions + p * r.stride + at;
            for (ptrdiff_t i = 0; i < count; i++) {
                const int16_t off = int16_t(prediction[i] - blend[i]);
                apart[i] = int16_t(apart[i] + (off < 0 ? -off : off));
            }
        }
        uint16_t* __restrict spread = r.spread + at;
        for (ptrdiff_t i = 0; i < count; i++) spread[i] = uint16_t(uint32_t(apart[i]) * 8 / Predictors * 3 / 8);
    }
}

void predictor_blend(const PredictorRun& r, const uint32_t* weights) {
    switch (r.groups) {
        case 1: return blend_of<simple>(r, weights);
        case 2: return blend_of<2 * simple>(r, weights);
        default: return blend_of<3 * simple>(r, weights);
    }
}

void predictor_settle(const PredictorRun& r, const int16_t* pixels, uint8_t* finals, int16_t* devs) {
    const ptrdiff_t count = r.count;
    const uint8_t* blend = r.blend;
    uint8_t* __restrict errors = finals;
    for (ptrdiff_t i = 0; i < count; i++) {
        const int16_t off = int16_t(pixels[i] - blend[i]);
        errors[i] = uint8_t(off < 0 ? -off : off);
    }
    for (int k = 0; k < simple; k++) {
        int16_t* __restrict dev = devs + k * r.dev_stride;
        const int16_t* prediction = r.predictions + k * r.stride;
        for (ptrdiff_t i = 0; i < count; i++) dev[i] = int16_t(pixels[i] - prediction[i]);
    }
}

void predictor_level(const PredictorRun& r, const Tables& tables, uint8_t* levels) {
    for (ptrdiff_t at = 0; at < r.count; at += run_block) {
        const ptrdiff_t count = std::min(run_block, r.count - at);
        const uint8_t* f[pixel_neighbours];
        for (int k = 0; k < pixel_neighbours; k++) f[k] = r.finals[k] + at;
        const uint16_t* spread = r.spread + at;
        uint16_t activity[run_block];
        for (ptrdiff_t i = 0; i < count; i++)
            activity[i] = uint16_t(2 * (f[0][i] + f[1][i]) + f[2][i] + f[3][i] + f[4][i] + f[5][i] + spread[i]);
        for (int g = 0; g < r.groups - 1; g++) {
            const uint8_t* before = r.before[g] + at;
            const int share = r.groups == 2 ? 3 : g + 1;
            for (ptrdiff_t i = 0; i < count; i++) activity[i] = uint16_t(activity[i] + share * before[i]);
        }
        const uint8_t* table = tables.levels;
        const int last = int(tables.activities) - 1;
        for (ptrdiff_t i = 0; i < count; i++) levels[at + i] = table[std::min<int>(activity[i], last)];
    }
}

constexpr PredictorKernel predictor_loops{predictor_predict, predictor_miss, predictor_blend, predictor_settle,
                                          predictor_level};

}  // namespace
}  // namespace neuralcodec
