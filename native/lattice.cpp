#include "lattice.hpp"

#include <algorithm>
#include <stdexcept>

namespace neuralcodec {

using namespace lattice;

namespace {

constexpr int32_t most = 1 << 30;

}  // namespace

Lattice::Lattice(const int32_t* luma, const int32_t* red, const int32_t* blue, const int32_t* green_cb, const int32_t* green_cr,
                 int32_t unit)
    : bits_(size_t(1) << 18) {
    const auto within = [](int32_t limit, const int32_t* table, int count) {
        return std::all_of(table, table + count, [limit](int32_t x) { return -limit < x && x < limit; });
    };
    bool fits = unit > 0 && within(most, luma, 256);
    for (const int32_t* table : {red, blue}) fits = fits && within(most, table, chromas);
    for (const int32_t* table : {green_cb, green_cr}) fits = fits && within(most / 2, table, chromas);
    if (!fits) throw std::invalid_argument("a conversion's numbers are out of range");
    const auto sample = [unit](int32_t sum) { return sum < 0 ? 0 : std::min(sum / unit, 255); };
    for (int y = 0; y < 256; y++) {
        // Of samples p = y + cr and q = y + cb.
        int32_t blues[256];
        for (int q = 0; q < 256; q++) blues[q] = sample(luma[y] + blue[255 + q - y]);
        for (int p = 0; p < 256; p++) {
            const int32_t sum = luma[y] + green_cr[255 + p - y];
            uint64_t* rows = bits_.data() + (size_t(sample(luma[y] + red[255 + p - y])) << 10);
            for (int q = 0; q < 256; q++) {
                const size_t green = size_t(sample(sum + green_cb[255 + q - y]));
                rows[green << 2 | size_t(blues[q] >> 6)] |= uint64_t(1) << (blues[q] & 63);
            }
        }
    }
}

}  // namespace neuralcodec
