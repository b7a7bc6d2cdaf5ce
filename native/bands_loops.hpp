// The loops over positions, which compilers vectorise: compiled once for each instruction set.
#pragma once

#include <algorithm>

#include "bands.hpp"
#include "macros.hpp"

namespace neuralcodec {
namespace {

using namespace bands;

constexpr ptrdiff_t block = 256;  // positions that are handled at once: their numbers fit the first cache

ptrdiff_t within(ptrdiff_t at, ptrdiff_t count) { return at < 0 ? 0 : at < count ? at : count - 1; }

// A row of a known component, moved; its ends are repeated.
const int32_t* row_of(const BandTaps& b, const TapSample& sample, ptrdiff_t image, ptrdiff_t y) {
    return b.known[sample.component] + (image * b.height + within(y + sample.down, b.height)) * b.width;
}

void band_taps(const BandTaps& b, int32_t* total, int32_t* deviations) {
    const ptrdiff_t plane = b.images * b.height * b.width;
    for (ptrdiff_t image = 0; image < b.images; image++)
        for (ptrdiff_t y = 0; y < b.height; y++) {
            const ptrdiff_t at = (image * b.height + y) * b.width;
            int32_t* sum = total + at;
            for (int t = 0; t < taps; t++) {
                const TapSample &one = b.samples[t][0], &two = b.samples[t][1];
                const int32_t *first = row_of(b, one, image, y), *second = row_of(b, two, image, y);
                int32_t* out = deviations + t * plane + at;
                const auto sampled = [&](ptrdiff_t x) {
                    return first[within(x + one.right, b.width)] + second[within(x + two.right, b.width)];
                };
                const ptrdiff_t left = std::min<ptrdiff_t>(2, b.width), right = std::max(left, b.width - 2);
                for (ptrdiff_t x = 0; x < left; x++) out[x] = 2 * sampled(x);
                for (ptrdiff_t x = left; x < right; x++) out[x] = 2 * (first[x + one.right] + second[x + two.right]);
                for (ptrdiff_t x = right; x < b.width; x++) out[x] = 2 * sampled(x);
            }
            // The first taps are the nearest samples, here times four.
            const int32_t* near = deviations + at;
            for (ptrdiff_t x = 0; x < b.width; x++)
                sum[x] = (near[x] + near[plane + x] + near[2 * plane + x] + near[3 * plane + x]) / 4;
            for (int t = 0; t < taps; t++)
                for (ptrdiff_t x = 0; x < b.width; x++) deviations[t * plane + at + x] -= sum[x];
        }
}

// Weights of mixtures from logits (parts, stride), in place, of at most a block.
void weights_of(int64_t* logits, ptrdiff_t stride, int parts, ptrdiff_t count, const int64_t* powers) {
    int64_t most[block], largest[block];
    int32_t raw[most_parts][block], sum[block] = {}, left[block];
    for (ptrdiff_t i = 0; i < count; i++) most[i] = logits[i], largest[i] = 0, left[i] = 1 << weight_bits;
    for (int k = 1; k < parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) {
            const int64_t logit = logits[k * stride + i];
            largest[i] = logit > most[i] ? k : largest[i];
            most[i] = logit > most[i] ? logit : most[i];
        }
    for (int k = 0; k < parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) {
            const int64_t below = most[i] - logits[k * stride + i];
            raw[k][i] = int32_t(powers[below < weight_steps ? below : weight_steps - 1]);
            sum[i] += raw[k][i];
        }
    for (int k = 0; k < parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) {
            // Exact: quotients are at most 2**16, and those that are no integers are 2**-21 or more from the next.
            raw[k][i] = int32_t(double(raw[k][i]) * (1 << weight_bits) / double(sum[i]));
            left[i] -= raw[k][i];
        }
    for (int k = 0; k < parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) logits[k * stride + i] = raw[k][i] + (largest[i] == k ? left[i] : 0);
}

template <class T>
void gather(const int32_t* sums, ptrdiff_t position_stride, int rows, ptrdiff_t count, T* out, ptrdiff_t stride) {
    for (int row = 0; row < rows; row++)
        for (ptrdiff_t i = 0; i < count; i++) out[row * stride + i] = sums[i * position_stride + row];
}

void band_read(const BandOutputs& b, const int64_t* powers, const BandRows& to) {
    const ptrdiff_t stride = b.images * b.height * b.width;
    for (ptrdiff_t image = 0; image < b.images; image++)
        for (ptrdiff_t y = 0; y < b.height; y++)
            for (ptrdiff_t x = 0; x < b.width; x += block) {
                const ptrdiff_t count = std::min(block, b.width - x), at = (image * b.height + y) * b.width + x;
                const int32_t* sums = b.sums + image * b.image_stride + y * b.row_stride + x * b.position_stride;
                gather(sums, b.position_stride, b.parts, count, to.weights + at, stride);
                gather(sums + b.parts, b.position_stride, b.parts, count, to.means + at, stride);
                gather(sums + 2 * b.parts, b.position_stride, b.parts, count, to.scales + at, stride);
                gather(sums + 3 * b.parts, b.position_stride, b.chain, count, to.chain + at, stride);
                gather(sums + 3 * b.parts + b.chain, b.position_stride, taps, count, to.filters + at, stride);
                weights_of(to.weights + at, stride, b.parts, count, powers);
            }
}

// Sums of products of the filter and of taps, in 32 bits.
void filtered(const int32_t* filters, const int32_t* deviations, ptrdiff_t stride, ptrdiff_t count, int32_t* out) {
    uint32_t sums[block] = {};
    for (int t = 0; t < taps; t++)
        for (ptrdiff_t i = 0; i < count; i++)
            sums[i] += uint32_t(filters[t * block + i]) * uint32_t(deviations[t * stride + i]);
    for (ptrdiff_t i = 0; i < count; i++) out[i] = int32_t(sums[i]);
}

void band_centres(const BandCentres& b, int64_t* out) {
    const int64_t limit = b.limit;
    const int chain = int(b.before.size());
    for (ptrdiff_t at = 0; at < b.count; at += block) {
        const ptrdiff_t count = std::min(block, b.count - at);
        int32_t filters[taps * block], sums[block];
        int64_t moved[block];
        for (int t = 0; t < taps; t++)
            for (ptrdiff_t i = 0; i < count; i++) {
                const int32_t offset = int32_t(b.offsets[1 + chain + t]), most = int32_t(limit);
                const int32_t filter = int32_t(uint32_t(b.filters[t * b.count + at + i]) + uint32_t(offset));
                filters[t * block + i] = filter < -most ? -most : filter > most ? most : filter;
            }
        filtered(filters, b.taps + at, b.count, count, sums);
        for (ptrdiff_t i = 0; i < count; i++) moved[i] = int64_t(sums[i]) * (1 << coefficient_bits);
        for (int c = 0; c < chain; c++) {
            const BandBefore& before = b.before[c];
            filtered(filters, before.taps + at, b.count, count, sums);
            for (ptrdiff_t i = 0; i < count; i++) {
                const int64_t link = b.chain[c * b.count + at + i] + b.offsets[1 + c];
                const int64_t limited = link < -limit ? -limit : link > limit ? limit : link;
                moved[i] += limited * (int64_t(before.residuals[at + i]) * (1 << coefficient_bits) - sums[i]);
            }
        }
        for (ptrdiff_t i = 0; i < count; i++)
            moved[i] = int64_t(b.total[at + i]) * (1 << (centre_bits - 2)) + (moved[i] >> (coefficient_bits + 2)) +
                       b.offsets[0];
        for (int k = 0; k < b.parts; k++)
            for (ptrdiff_t i = 0; i < count; i++)
                out[k * b.count + at + i] = b.means[k * b.count + at + i] + moved[i];
    }
}

}  // namespace
}  // namespace neuralcodec
