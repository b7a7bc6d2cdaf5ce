#include "jpeg_pixels.hpp"

#include <algorithm>
#include <vector>

namespace neuralcodec {
namespace {

constexpr int constant_bits = 13, pass_bits = 2, level = 128, colour_bits = 16;
constexpr int64_t largest = 1 << 15;

uint8_t limited(int64_t value) { return uint8_t(value < 0 ? 0 : value > 255 ? 255 : value); }

// Of what may be any number: as it is, if a coefficient can be so large.
int64_t within(int64_t value) { return std::min(std::max<int64_t>(value, -largest), largest); }

// One pass of the inverse DCT on eight numbers `apart` from each other, in place, less `bits` bits.
void pass(int64_t* d, ptrdiff_t apart, int bits) {
    const auto at = [=](int i) -> int64_t& { return d[i * apart]; };
    int64_t z1 = (at(2) + at(6)) * 4433;
    int64_t t2 = z1 - at(6) * 15137, t3 = z1 + at(2) * 6270;
    int64_t t0 = (at(0) + at(4)) * (1 << constant_bits), t1 = (at(0) - at(4)) * (1 << constant_bits);
    const int64_t half = int64_t(1) << (bits - 1);
    const int64_t e0 = t0 + t3 + half, e3 = t0 - t3 + half, e1 = t1 + t2 + half, e2 = t1 - t2 + half;
    t0 = at(7), t1 = at(5), t2 = at(3), t3 = at(1);
    int64_t z2 = t1 + t2, z3 = t0 + t2, z4 = t1 + t3;
    z1 = t0 + t3;
    const int64_t z5 = (z3 + z4) * 9633;
    z1 *= -7373, z2 *= -20995, z3 = z3 * -16069 + z5, z4 = z4 * -3196 + z5;
    t0 = t0 * 2446 + z1 + z3, t1 = t1 * 16819 + z2 + z4, t2 = t2 * 25172 + z2 + z3, t3 = t3 * 12299 + z1 + z4;
    at(0) = (e0 + t3) >> bits, at(7) = (e0 - t3) >> bits;
    at(1) = (e1 + t2) >> bits, at(6) = (e1 - t2) >> bits;
    at(2) = (e2 + t1) >> bits, at(5) = (e2 - t1) >> bits;
    at(3) = (e3 + t0) >> bits, at(4) = (e3 - t0) >> bits;
}

// A row of the plane enlarged downwards, times 4 where that is fancy, without the half that is added for rounding.
void enlarged_row(const Samples& plane, const Enlargement& to, bool fancy, ptrdiff_t y, int32_t* out) {
    const ptrdiff_t row = y / to.vertical;
    const uint8_t* near = plane.data + row * plane.stride;
    if (!fancy || to.vertical == 1) {
        std::copy(near, near + plane.columns, out);
        return;
    }
    const ptrdiff_t beside = std::min(std::max<ptrdiff_t>(row + (y % 2 ? 1 : -1), 0), plane.rows - 1);
    const uint8_t* next = plane.data + beside * plane.stride;
    for (ptrdiff_t x = 0; x < plane.columns; x++) out[x] = 3 * near[x] + next[x];
}

}  // namespace

void jpeg_samples(const int64_t* coefficients, const int64_t* steps, ptrdiff_t rows, ptrdiff_t columns, uint8_t* out) {
    const ptrdiff_t count = rows * columns;
    for (ptrdiff_t block = 0; block < count; block++) {
        int64_t values[64];
        for (int f = 0; f < 64; f++)
            values[f] = within(int64_t(uint64_t(coefficients[f * count + block]) * uint64_t(steps[f])));
        for (int column = 0; column < 8; column++) pass(values + column, 8, constant_bits - pass_bits);
        uint8_t* to = out + block / columns * 64 * columns + block % columns * 8;
        for (int row = 0; row < 8; row++, to += 8 * columns) {
            pass(values + 8 * row, 1, constant_bits + pass_bits + 3);
            for (int column = 0; column < 8; column++) to[column] = limited(values[8 * row + column] + level);
        }
    }
}

void jpeg_enlarge(const Samples& plane, const Enlargement& to, uint8_t* out) {
    const bool fancy = to.fancy && !(to.horizontal == 2 && plane.columns <= 2);
    const bool down = fancy && to.vertical == 2, across = fancy && to.horizontal == 2;
    const int bits = 2 * down + 2 * across;
    std::vector<int32_t> row(static_cast<size_t>(plane.columns + 2));
    int32_t* sums = row.data() + 1;
    for (ptrdiff_t y = to.top; y < to.top + to.height; y++, out += to.width) {
        enlarged_row(plane, to, fancy, y, sums);
        sums[-1] = sums[0];
        sums[plane.columns] = sums[plane.columns - 1];
        if (across) {
            const int32_t low = down ? 8 : 1, high = down ? 7 : 2;
            for (ptrdiff_t x = 0; x < to.width; x++) {
                const ptrdiff_t at = to.left + x, column = at / 2;
                const int32_t sum = at % 2 ? sums[column + 1] + high : sums[column - 1] + low;
                out[x] = uint8_t((3 * sums[column] + sum) >> bits);
            }
        } else {
            const int32_t half = down ? 1 + y % 2 : 0;
            for (ptrdiff_t x = 0; x < to.width; x++)
                out[x] = uint8_t((sums[(to.left + x) / to.horizontal] + half) >> bits);
        }
    }
}

void jpeg_rgb(const uint8_t* luma, const uint8_t* cb, const uint8_t* cr, ptrdiff_t count, uint8_t* out) {
    constexpr int32_t half = 1 << (colour_bits - 1);
    for (ptrdiff_t i = 0; i < count; i++) {
        const int32_t blue = cb[i] - level, red = cr[i] - level;
        out[3 * i] = limited(luma[i] + ((91881 * red + half) >> colour_bits));
        out[3 * i + 1] = limited(luma[i] + ((-22554 * blue - 46802 * red + half) >> colour_bits));
        out[3 * i + 2] = limited(luma[i] + ((116130 * blue + half) >> colour_bits));
    }
}

}  // namespace neuralcodec
