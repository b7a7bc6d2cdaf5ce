// The loops over positions, which compilers vectorise: compiled once for each instruction set.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "bands_near.hpp"

namespace neuralcodec {
namespace {

using namespace bands;

constexpr ptrdiff_t block = most_near;

// Weights of mixtures (parts, stride) from logits (parts, plane), of at most a block.
void weights_of(const int32_t* logits, ptrdiff_t plane, int parts, ptrdiff_t count, const int64_t* powers, int32_t* weights,
                ptrdiff_t stride) {
    int32_t most[block], largest[block];
    int32_t raw[most_parts][block], sum[block] = {}, left[block];
    for (ptrdiff_t i = 0; i < count; i++) most[i] = logits[i], largest[i] = 0, left[i] = 1 << weight_bits;
    for (int k = 1; k < parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) {
            const int32_t logit = logits[k * plane + i];
            largest[i] = logit > most[i] ? k : largest[i];
            most[i] = logit > most[i] ? logit : most[i];
        }
    for (int k = 0; k < parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) {
            const uint32_t below = uint32_t(most[i]) - uint32_t(logits[k * plane + i]);
            raw[k][i] = int32_t(powers[below < weight_steps ? below : weight_steps - 1]);
            sum[i] += raw[k][i];
        }
    for (int k = 0; k < parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) {
            // Quotients are at most 2**16, so that of floats is wrong by less than one, and what it leaves tells.
            const int32_t about = int32_t(float(raw[k][i]) / float(sum[i]) * (1 << weight_bits));
            const int32_t rest = int32_t((uint32_t(raw[k][i]) << weight_bits) - uint32_t(about) * uint32_t(sum[i]));
            raw[k][i] = about + (rest >= sum[i]) - (rest < 0);
            left[i] -= raw[k][i];
        }
    for (int k = 0; k < parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) weights[k * stride + i] = raw[k][i] + (largest[i] == k ? left[i] : 0);
}

int32_t as_centre(int64_t number) {
    return int32_t(number < -distant ? -distant : number > distant ? distant : number);
}

// Means and log-scales of coded samples, of some positions from one on, from those of mapped ones.
void unmap(const BandMapping& mapping, const BandOutputs& b, const int32_t* total, ptrdiff_t at, ptrdiff_t count,
           const BandRows& to) {
    const int64_t gain = mapping.gain();
    int32_t clipped[block];
    // If all neighbours are at one end of the range, the sample most likely is clipped there too.
    const int32_t high = int32_t(gain << centre_bits >> (gain_bits + 2));
    const int32_t low = int32_t(-(gain << centre_bits) >> (gain_bits + 2));
    for (ptrdiff_t i = 0; i < count; i++)
        clipped[i] = (total[i] == 4 * mapping.top ? high : 0) + (total[i] == 0 ? low : 0);
    if (mapping.top == 0) std::fill(clipped, clipped + count, 0);
    for (int k = 0; k < b.parts; k++) {
        const int32_t *means = b.means() + k * b.plane + at, *scales = b.scales() + k * b.plane + at;
        int32_t *to_means = to.coded_means + k * b.count + at, *to_scales = to.coded_scales + k * b.count + at;
        for (ptrdiff_t i = 0; i < count; i++) to_means[i] = as_centre((means[i] * gain >> gain_bits) + clipped[i]);
        for (ptrdiff_t i = 0; i < count; i++) to_scales[i] = scales[i] + mapping.log_gain;
    }
}

// Coefficients of at most a block, limited, and the sums of those of the filter.
struct Coefficients {
    int32_t chain[bands::bands - 1][block], filters[taps][block], sums[block];
};

// With offsets, of positions from one on.
void coefficients_of(const BandCentres& b, ptrdiff_t at, ptrdiff_t count, Coefficients& out) {
    const int32_t most = int32_t(b.limit);
    const auto limited = [&](const int32_t* numbers, int64_t offset, int32_t* to) {
        for (ptrdiff_t i = 0; i < count; i++) {
            const int32_t moved = int32_t(uint32_t(numbers[i]) + uint32_t(offset));
            to[i] = moved < -most ? -most : moved > most ? most : moved;
        }
    };
    const int64_t* offset = b.offsets + 1;
    for (int c = 0; c < b.band(); c++) limited(b.chain + c * b.plane + at, *offset++, out.chain[c]);
    for (int t = 0; t < taps; t++) limited(b.filters + t * b.plane + at, *offset++, out.filters[t]);
    for (ptrdiff_t i = 0; i < count; i++) {
        int32_t sum = 0;
        for (int t = 0; t < taps; t++) sum += out.filters[t][i];
        out.sums[i] = sum;
    }
}

// Of at most a block: the sum of the four nearest samples, and that of the products of the filter and the taps' distances
// from it, in 32 bits.
struct Filtered {
    int32_t total[block], sum[block];
};

// Of a row without its ends. With s a tap's two samples, its distance is 2 s - total, so the sum of the products is
// 2 sum_t f_t s_t - total sum_t f_t.
void filtered_row(const int32_t* const (&samples)[taps][2], const Coefficients& by, ptrdiff_t first, ptrdiff_t count,
                  int32_t* __restrict total, int32_t* __restrict out) {
    const int32_t(*filters)[block] = by.filters;
    for (ptrdiff_t i = 0; i < count; i++) {
        uint32_t sum = 0, nearest = 0;
        NEURALCODEC_UNROLL
        for (int t = 0; t < taps; t++) {
            const uint32_t two = uint32_t(samples[t][0][i]) + uint32_t(samples[t][1][i]);
            if (t < bands::nearest) nearest += two;
            sum += uint32_t(filters[t][first + i]) * two;
        }
        const int32_t four = int32_t(nearest) / 2;
        total[i] = four;
        out[i] = int32_t(2 * sum - uint32_t(four) * uint32_t(by.sums[first + i]));
    }
}

// Of positions from one on, in the order of rows.
void filtered(const BandTaps& b, int band, ptrdiff_t from, ptrdiff_t count, const Coefficients& by, Filtered& out) {
    by_rows(b, from, count, [&](ptrdiff_t image, ptrdiff_t y, ptrdiff_t x, ptrdiff_t some, ptrdiff_t done) {
        const int32_t *rows[taps][2], *moved[taps][2];
        for (int t = 0; t < taps; t++)
            for (int n = 0; n < 2; n++) rows[t][n] = row_of(b, band, b.samples[t][n], image, y);
        const auto at_edges = [&](ptrdiff_t i, ptrdiff_t to) {
            for (; i < to; i++) {
                for (int t = 0; t < taps; t++)
                    for (int n = 0; n < 2; n++) moved[t][n] = rows[t][n] + within(x + i + b.samples[t][n].right, b.width);
                filtered_row(moved, by, done + i, 1, out.total + done + i, out.sum + done + i);
            }
        };
        const auto [begin, end] = inside(b, x, some);
        at_edges(0, begin);
        for (int t = 0; t < taps; t++)
            for (int n = 0; n < 2; n++) moved[t][n] = rows[t][n] + (x + begin + b.samples[t][n].right);
        filtered_row(moved, by, done + begin, end - begin, out.total + done + begin, out.sum + done + begin);
        at_edges(end, some);
    });
}

// Centres of at most a block; `own` is of the band itself.
void centres_of(const BandCentres& b, const Coefficients& coefficients, const Filtered& own, ptrdiff_t at, ptrdiff_t count,
                int32_t* out) {
    int64_t moved[block];
    for (ptrdiff_t i = 0; i < count; i++) moved[i] = int64_t(own.sum[i]) * (1 << coefficient_bits);
    for (int band = 0; band < b.band(); band++) {
        const int32_t *values = b.before[size_t(band)] + at, *chain = coefficients.chain[band];
        Filtered before;
        filtered(b.near, band, at, count, coefficients, before);
        for (ptrdiff_t i = 0; i < count; i++)
            moved[i] += chain[i] * ((int64_t(values[i]) * 4 - before.total[i]) * (1 << coefficient_bits) - before.sum[i]);
    }
    for (ptrdiff_t i = 0; i < count; i++)
        moved[i] =
            int64_t(own.total[i]) * (1 << (centre_bits - 2)) + (moved[i] >> (coefficient_bits + 2)) + b.offsets[0];
    for (int k = 0; k < b.parts; k++)
        for (ptrdiff_t i = 0; i < count; i++)
            out[k * b.count + at + i] = as_centre(b.means[k * b.means_plane + at + i] + moved[i]);
}

void band_centres(const BandCentres& b, int32_t* out) {
    Coefficients coefficients;
    Filtered own;
    for (ptrdiff_t at = 0; at < b.count; at += block) {
        const ptrdiff_t count = std::min(block, b.count - at);
        coefficients_of(b, at, count, coefficients);
        filtered(b.near, b.band(), at, count, coefficients, own);
        centres_of(b, coefficients, own, at, count, out);
    }
}

void band_slopes(const BandCentres& b, const BandMapping& mapping, int32_t* out) {
    const int chain = b.band();
    int32_t *chained = out + b.count, *left = chained + chain * b.count;
    for (ptrdiff_t i = 0; i < b.count; i++) out[i] = 4;
    for (ptrdiff_t at = 0; at < b.count; at += block) {
        const ptrdiff_t count = std::min(block, b.count - at);
        Coefficients coefficients;
        Near near;
        Filtered before;
        coefficients_of(b, at, count, coefficients);
        near_of(b.near, chain, at, count, near);
        for (int t = 0; t < taps; t++)
            for (ptrdiff_t i = 0; i < count; i++) left[t * b.count + at + i] = near.taps[t][i];
        for (int c = 0; c < chain; c++) {
            const int32_t *values = b.before[size_t(c)] + at, *links = coefficients.chain[c];
            near_of(b.near, c, at, count, near);
            filtered(b.near, c, at, count, coefficients, before);
            for (ptrdiff_t i = 0; i < count; i++)
                chained[c * b.count + at + i] = 4 * values[i] - near.total[i] - (before.sum[i] >> coefficient_bits);
            for (int t = 0; t < taps; t++)
                for (ptrdiff_t i = 0; i < count; i++)
                    left[t * b.count + at + i] -= (links[i] * near.taps[t][i]) >> coefficient_bits;
        }
    }
    if (!mapping.is_mapped()) return;
    // Exact: a quotient that is no integer is 2**-16 or more from the next, and below 2**39 / gain.
    const double gain = mapping.gain();
    for (ptrdiff_t i = 0; i < (chain + taps) * b.count; i++)
        chained[i] = int32_t(std::floor(double(chained[i]) * (1 << gain_bits) / gain));
}

// For each number, 0 .. most, the share of smaller ones, in 1/classes.
void ranked(const int32_t* numbers, ptrdiff_t count, int32_t most, uint8_t* out) {
    std::vector<int64_t> before(size_t(most) + 1);
    for (ptrdiff_t i = 0; i < count; i++) before[size_t(numbers[i])]++;
    std::vector<uint8_t> shares(before.size());
    int64_t smaller = 0;
    for (size_t n = 0; n < before.size(); n++) {
        shares[n] = uint8_t(smaller * classes / count);
        smaller += before[n];
        if (smaller == count) break;
    }
    for (ptrdiff_t i = 0; i < count; i++) out[i] = shares[size_t(numbers[i])];
}

void band_classes(const BandNoise& b, const BandMapping& mapping, uint8_t* out) {
    if (mapping.is_mapped()) {
        // The upper half of the range, the upper half of the rest, and so on.
        int32_t begins[classes - 1];
        for (int n = 0; n < classes - 1; n++) begins[n] = int32_t(int64_t(4) * mapping.gain() >> (classes - 1 - n));
        for (ptrdiff_t i = 0; i < b.count; i++) {
            int found = 0;
            for (int n = 0; n < classes - 1; n++) found += b.total[i] >= begins[n];
            out[i] = uint8_t(found);
        }
        return;
    }
    int32_t most = 0;
    for (ptrdiff_t i = 0; i < b.count; i++) most = std::max(most, b.total[i]);
    ranked(b.total, b.count, most, out);
    std::vector<int32_t> noise(size_t(b.count));
    for (ptrdiff_t i = 0; i < b.count; i++) {
        int64_t scale = 0;
        for (int k = 0; k < b.parts; k++) scale += int64_t(b.weights[k * b.count + i]) * b.scales[k * b.count + i];
        scale >>= weight_bits;
        noise[size_t(i)] =
            int32_t(scale < least_scale ? least_scale : scale > largest_scale ? largest_scale : scale) - least_scale;
    }
    ranked(noise.data(), b.count, largest_scale - least_scale, out + b.count);
}

// Limited log-scales of at most a block.
void limited_of(const BandScales& b, ptrdiff_t at, ptrdiff_t count, int32_t* out) {
    int32_t offset[block] = {};
    for (int axis = 0; axis < b.axes; axis++)
        for (ptrdiff_t i = 0; i < count; i++)
            offset[i] += b.offsets[axis * classes + (b.classes[axis * b.count + at + i] & (classes - 1))];
    for (int k = 0; k < b.parts; k++)
        for (ptrdiff_t i = 0; i < count; i++) {
            const int32_t scale = b.scales[k * b.plane + at + i];
            out[k * b.count + at + i] = (scale < b.least ? b.least : scale > b.largest ? b.largest : scale) + offset[i];
        }
}

void band_limited(const BandScales& b, int32_t* out) {
    for (ptrdiff_t at = 0; at < b.count; at += block) limited_of(b, at, std::min(block, b.count - at), out);
}

// A block at a time, so that what is made of its positions is still in the first cache when it is used.
void band_parameters(BandSpan span, const BandOutputs& outputs, const int64_t* powers, const BandMapping& mapping,
                     const BandCentres& centres, const BandScales& scales, const BandRows& to) {
    Coefficients coefficients;
    Filtered own;
    for (ptrdiff_t at = span.first; at < span.last; at += block) {
        const ptrdiff_t count = std::min(block, span.last - at);
        weights_of(outputs.planes + at, outputs.plane, outputs.parts, count, powers, to.weights + at, outputs.count);
        coefficients_of(centres, at, count, coefficients);
        filtered(centres.near, centres.band(), at, count, coefficients, own);
        std::copy_n(own.total, count, to.total + at);
        if (mapping.is_mapped()) unmap(mapping, outputs, own.total, at, count, to);
        centres_of(centres, coefficients, own, at, count, to.centres);
        limited_of(scales, at, count, to.limited);
    }
}

int8_t as_pixel(int32_t number) { return int8_t(number < -128 ? -128 : number > 127 ? 127 : number); }

void band_mapped(const int32_t* indices, ptrdiff_t count, const BandMapping& mapping, int32_t* out) {
    const int32_t top = mapping.top;
    const double gain = mapping.gain();
    for (ptrdiff_t i = 0; i < count; i++) {
        const int32_t inside = indices[i] < 0 ? 0 : indices[i] > top ? top : indices[i];
        // Exact: a quotient of integers below 2**25 that is no integer is 2**-17 or more from the next.
        out[i] = int32_t(double(inside * (1 << mapped_bits)) / gain);
    }
}

void band_accepted(const BandAccepted& b, int8_t* seen) {
    for (ptrdiff_t at = 0; at < b.count; at += block) {
        const ptrdiff_t count = std::min(block, b.count - at);
        const int32_t *values = b.values + at, *base = b.base + at;
        int64_t mean[block] = {};
        int32_t expected[block], mapped[block];
        for (int k = 0; k < b.parts; k++)
            for (ptrdiff_t i = 0; i < count; i++)
                mean[i] += int64_t(b.weights[k * b.count + at + i]) * b.centres[k * b.count + at + i];
        constexpr int half = 1 << (centre_bits - 1);
        if (b.mapping.is_mapped()) {
            for (ptrdiff_t i = 0; i < count; i++)
                expected[i] = (as_centre(mean[i] >> weight_bits) + half) >> centre_bits;
            band_mapped(expected, count, b.mapping, expected);
            band_mapped(values, count, b.mapping, mapped);
            for (ptrdiff_t i = 0; i < count; i++) {
                seen[2 * (at + i)] = as_pixel(mapped[i] - base[i]);
                seen[2 * (at + i) + 1] = as_pixel(mapped[i] - expected[i]);
            }
        } else {
            for (ptrdiff_t i = 0; i < count; i++) {
                const int64_t miss = int64_t(values[i]) * (1 << centre_bits) - (mean[i] >> weight_bits) + half;
                seen[2 * (at + i)] = as_pixel(values[i] - base[i]);
                seen[2 * (at + i) + 1] = as_pixel(as_centre(miss) >> centre_bits);
            }
        }
    }
}

// One row of one band: the baseline, and the channels that networks see of it.
void stage_row(const StageKnown& s, ptrdiff_t plane, ptrdiff_t y, int band, int32_t* base, int8_t* out,
               ptrdiff_t channels) {
    const ptrdiff_t row = y * s.width;
    const int32_t* rows[nearest];
    for (int n = 0; n < nearest; n++)
        rows[n] = s.known[s.nearest[n].component] + plane + within(y + s.nearest[n].down, s.height) * s.width;
    const auto mean = [&](ptrdiff_t x, bool inside) {
        int32_t sum = 2;
        for (int n = 0; n < nearest; n++) {
            const ptrdiff_t at = x + s.nearest[n].right;
            sum += rows[n][inside ? at : within(at, s.width)];
        }
        return sum >> 2;
    };
    for (ptrdiff_t x = 0; x < std::min<ptrdiff_t>(2, s.width); x++) base[row + x] = mean(x, false);
    for (ptrdiff_t x = 2; x < s.width - 2; x++) base[row + x] = mean(x, true);
    for (ptrdiff_t x = std::max<ptrdiff_t>(2, s.width - 2); x < s.width; x++) base[row + x] = mean(x, false);
    for (ptrdiff_t x = 0; x < s.width; x++) out[x * channels + band] = int8_t(base[row + x] - 128);
    for (int c = 0; c < s.components; c++) {
        const int32_t* known = s.known[c] + plane + row;
        int8_t* to = out + bands::bands * (1 + c) + band;
        for (ptrdiff_t x = 0; x < s.width; x++) to[x * channels] = as_pixel(known[x] - base[row + x]);
    }
}

void stage_input(const StageKnown& s, int32_t* base, int8_t* out) {
    const ptrdiff_t channels = bands::bands * (1 + s.components), size = s.height * s.width;
    for (ptrdiff_t image = 0; image < s.images; image++)
        for (ptrdiff_t y = 0; y < s.height; y++) {
            int8_t* to = out + (image * s.height + y) * s.width * channels;
            for (int band = 0; band < bands::bands; band++) {
                const ptrdiff_t plane = (image * bands::bands + band) * size;
                stage_row(s, plane, y, band, base + plane, to, channels);
            }
        }
}

constexpr BandKernel band_kernel{band_parameters, band_centres,  band_slopes, band_classes,
                                 band_limited,    band_accepted, band_mapped, stage_input};

}  // namespace
}  // namespace neuralcodec
