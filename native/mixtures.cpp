#include "mixtures.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "mixtures_shape.hpp"

namespace neuralcodec {

using namespace logistic;

namespace {

constexpr ptrdiff_t block = 256;  // items that are split at once

}  // namespace

LogisticTables::LogisticTables(const int32_t* sigmoid, const int32_t* inverse_scale, const int32_t* log2)
    : sigmoid(sigmoid, sigmoid + 2 * reach + 1),
      inverse_scale(inverse_scale, inverse_scale + scales),
      log2(log2, log2 + 4096),
      scale(scales),
      logit(1024) {
    if (this->sigmoid.front() != 0 || this->sigmoid.back() != total ||
        !std::is_sorted(this->sigmoid.begin(), this->sigmoid.end()))
        throw std::invalid_argument("a sigmoid rises from 0 to 2**24");
    for (int32_t inverse : this->inverse_scale)
        if (inverse < 1 || inverse >= 1 << 30) throw std::invalid_argument("an inverse scale is out of range");
    for (int i = 0; i < scales; i++) scale[i] = std::exp2(float(i + least_scale) / 16);
    for (int i = 0; i < 1024; i++) {
        const double share = (i + 0.5) / 1024;
        logit[i] = float(std::log(share / (1 - share)));
    }
}

Cells::Cells(const int32_t* from) {
    constexpr int32_t one = 1 << centre_bits;
    bool fits = from[0] == 0 && from[256] == 0;
    for (int value = 0; fits && value < 256; value++) {
        moves[value] = from[value];
        fits = from[value] > -one && from[value] < one && from[value + 1] < one && one + from[value + 1] > from[value];
    }
    if (!fits) throw std::invalid_argument("edges of cells rise from 0 to 256");
}

Mixtures::Symbol Mixtures::split(int64_t value, int shift) const {
    const MixtureParameters& p = parameters;
    if (value < 0 || value > p.last) throw std::invalid_argument("a value is out of range");
    const int32_t inside = int32_t(value) - p.clipped;
    if (!shift) return {int32_t(value), 0, 0};
    if (p.clipped && value == p.last) return {count_of(p.last, p.clipped, shift) - 1, 0, 0};
    const int32_t symbol = (inside >> shift) + p.clipped;
    if (p.clipped && symbol == 0) return {0, 0, 0};
    return {symbol, shift, uint32_t(inside & ((1 << shift) - 1))};
}

Mixtures::Digits Mixtures::code(const int64_t* values, uint32_t* start, uint32_t* freq) const {
    Digits digits;
    int32_t symbols[block], shifts[block];
    for (ptrdiff_t at = 0; at < parameters.count; at += block) {
        const ptrdiff_t count = std::min(block, parameters.count - at);
        kernel.shifts(parameters, at, count, shifts);
        bool whole = true;  // nothing is split off, and all values are in range
        for (ptrdiff_t i = 0; i < count; i++) {
            symbols[i] = int32_t(values[at + i]);
            whole &= (uint64_t(values[at + i]) <= uint64_t(parameters.last)) & !shifts[i];
        }
        for (ptrdiff_t i = 0; !whole && i < count; i++) {
            const Symbol found = split(values[at + i], shifts[i]);
            symbols[i] = found.symbol;
            if (found.shift) {
                digits.digit.push_back(found.digit);
                digits.radix.push_back(uint32_t(1) << found.shift);
            }
        }
        kernel.intervals(parameters, symbols, at, count, start + at, freq + at);
    }
    return digits;
}

Mixtures::Digits Mixtures::first(int64_t* symbols) const {
    Digits digits;
    const MixtureParameters& p = parameters;
    int32_t shifts[block];
    for (ptrdiff_t i = 0; i < p.count; i++) {
        if (i % block == 0) kernel.shifts(p, i, std::min(block, p.count - i), shifts);
        const int by = shifts[i % block];
        const int32_t count = count_of(p.last, p.clipped, by);
        if (symbols[i] < 0 || symbols[i] >= count) throw std::invalid_argument("a symbol is out of range");
        if (by && !(p.clipped && (symbols[i] == 0 || symbols[i] == count - 1))) {
            digits.radix.push_back(uint32_t(1) << by);
            digits.item.push_back(i);
        }
        symbols[i] = first_of(int32_t(symbols[i]), p.last, p.clipped, by);
    }
    return digits;
}

}  // namespace neuralcodec
