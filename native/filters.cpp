#include "filters.hpp"

#include <algorithm>
#include <type_traits>
#include <vector>

namespace neuralcodec {
namespace {

// The sum of magnitudes of signed numbers; that of the smallest one is itself, read as unsigned.
template <class T>
uint64_t magnitude(const T* values, ptrdiff_t count) {
    using Sum = std::conditional_t<sizeof(T) == 4, uint64_t, uint32_t>;
    constexpr ptrdiff_t together = sizeof(T) == 1 ? 1 << 16 : 1 << 14;  // whose sum has 32 bits
    uint64_t total = 0;
    for (ptrdiff_t at = 0; at < count; at += together) {
        const ptrdiff_t end = std::min(count, at + together);
        Sum sum = 0;
        for (ptrdiff_t i = at; i < end; i++) sum += std::min(values[i], T(T(0) - values[i]));
        total += sum;
    }
    return total;
}

template <class T>
void less(const T* values, const T* others, ptrdiff_t count, T* __restrict out) {
    for (ptrdiff_t i = 0; i < count; i++) out[i] = T(values[i] - others[i]);
}

template <class T>
void less_left(const T* row, ptrdiff_t line, ptrdiff_t bands, T* out) {
    std::copy_n(row, bands, out);
    less(row + bands, row, line - bands, out + bands);
}

// Running sums along a row, which stay in registers.
template <int Bands, class T>
void sums_across(T* row, ptrdiff_t width) {
    T sums[Bands] = {};
    for (ptrdiff_t x = 0; x < width; x++, row += Bands)
        for (int b = 0; b < Bands; b++) row[b] = sums[b] = T(sums[b] + row[b]);
}

template <class T>
void sums_across(T* row, ptrdiff_t width, ptrdiff_t bands) {
    switch (bands) {
        case 1: return sums_across<1>(row, width);
        case 2: return sums_across<2>(row, width);
        case 3: return sums_across<3>(row, width);
        case 4: return sums_across<4>(row, width);
        case 6: return sums_across<6>(row, width);
        default:
            for (ptrdiff_t i = bands; i < width * bands; i++) row[i] = T(row[i] + row[i - bands]);
    }
}

}  // namespace

template <class T>
void filter_rows(const T* samples, FilterShape shape, T* rows, uint8_t* filters) {
    const ptrdiff_t line = shape.width * shape.bands;
    const std::vector<T> nothing(size_t(line), T(0));
    std::vector<T> candidates[3];
    for (auto& candidate : candidates) candidate.resize(size_t(line));
    for (ptrdiff_t y = 0; y < shape.height; y++, samples += line, rows += line) {
        const T* above = y ? samples - line : nothing.data();
        less(samples, above, line, candidates[1].data());
        less_left(samples, line, shape.bands, candidates[0].data());
        less_left(candidates[1].data(), line, shape.bands, candidates[2].data());
        const T* best = samples;
        uint64_t least = magnitude(samples, line);
        filters[y] = 0;
        for (int f = 1; f <= 3; f++) {
            const uint64_t cost = magnitude(candidates[f - 1].data(), line);
            if (cost < least) least = cost, best = candidates[f - 1].data(), filters[y] = uint8_t(f);
        }
        std::copy_n(best, line, rows);
    }
}

template <class T>
void unfilter_rows(T* rows, FilterShape shape, const uint8_t* filters) {
    const ptrdiff_t line = shape.width * shape.bands;
    for (ptrdiff_t y = 0; y < shape.height; y++, rows += line) {
        if (filters[y] & 1) sums_across(rows, shape.width, shape.bands);
        if (filters[y] & 2 && y)
            for (ptrdiff_t i = 0; i < line; i++) rows[i] = T(rows[i] + rows[i - line]);
    }
}

template void filter_rows(const uint8_t*, FilterShape, uint8_t*, uint8_t*);
template void filter_rows(const uint16_t*, FilterShape, uint16_t*, uint8_t*);
template void filter_rows(const uint32_t*, FilterShape, uint32_t*, uint8_t*);
template void unfilter_rows(uint8_t*, FilterShape, const uint8_t*);
template void unfilter_rows(uint16_t*, FilterShape, const uint8_t*);
template void unfilter_rows(uint32_t*, FilterShape, const uint8_t*);

}  // namespace neuralcodec
