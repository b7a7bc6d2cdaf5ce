// Coefficients of JPEG files: what is expected of them, and symbols for them. See jpeg/contexts.py and coefficients.py,
// which define all of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tables.hpp"

namespace neuralcodec {

namespace jpeg {

constexpr int frequencies = 64, features = 18, edges = 4, fractions = 5, table_reach = 16, bins = 36;
constexpr int table_count = bins * fractions, table_symbols = 2 * table_reach + 1;
constexpr int32_t largest = 1 << 15;  // dequantised coefficients are below it in magnitude

// Weights of the expected size and of the expected value. Sums of their magnitudes are at most 2**12 and 2**14: as sizes
// and what an edge lacks are below 2**19, 32 bits are enough for sums of those near, and doubles for what is divided.
struct Weights {
    const int64_t *sizes, *edges;
};

}  // namespace jpeg

class JpegComponent;

// Coefficients that are coded at once, of a component that outlives it: what is expected of each.
class JpegStep : public Distribution {
public:
    JpegStep(AdaptiveTables& tables, JpegComponent& component, int frequency)
        : Distribution(tables.tables().bits), tables_(tables), component_(component), frequency_(frequency) {}

    void find(const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) const override;
    ptrdiff_t size() const override { return ptrdiff_t(items_.size()); }

    struct Symbols {
        std::vector<uint32_t> start, freq;                 // of all coefficients
        std::vector<uint32_t> low, low_radix;              // bits that are split off
        std::vector<uint32_t> bits, beyond, beyond_radix;  // of those beyond the tables' ends
    };

    // The symbols of the component's coefficients, which become known, and from which the tables learn. False where one is
    // too large.
    bool code(Symbols& out) const;

    // Of the low bits that are split off: their radix.
    std::vector<uint32_t> radix() const;

    struct Numbers {
        const int64_t* data;
        size_t count;
    };

    // The coefficients become known from symbols and digits, and the tables learn. False where one is too large. Throws
    // std::invalid_argument unless there are as many as needed, within their range.
    bool accept(Numbers symbols, Numbers low, Numbers bits, Numbers beyond) const;

private:
    friend class JpegComponent;

    struct Item {
        int32_t block, place;  // without and with the border
        int32_t centre;
        uint8_t table, shift;
        bool mirrored;
    };
    void add(ptrdiff_t i, ptrdiff_t j, int64_t size, int64_t value, int32_t step);

    AdaptiveTables& tables_;
    JpegComponent& component_;
    const int frequency_;
    std::vector<Item> items_;
};

// One component, as far as its coefficients are known.
class JpegComponent {
public:
    // `steps` of the quantisation, 64; `coefficients` (64, rows, columns), quantised, kept by the caller. Throws
    // std::invalid_argument for steps that are not 1 .. 2**15.
    JpegComponent(AdaptiveTables& tables, ptrdiff_t rows, ptrdiff_t columns, const int64_t* steps,
                  int16_t* coefficients);

    // DC is coded in these steps, by 0 the corner's weights, 1 those between four diagonal neighbours, 2 at their sides.
    struct Mean {
        ptrdiff_t distance;
        int kind;
    };
    const std::vector<Mean>& means() const { return means_; }
    JpegStep mean(size_t index, jpeg::Weights weights);

    // A frequency above 0 in one of the two sets of blocks. The `others` are components that know theirs.
    JpegStep step(int frequency, int part, const std::vector<const JpegComponent*>& others, jpeg::Weights weights);

private:
    friend class JpegStep;

    // Planes have a border of one block; sizes are below 2**15.
    using Sizes = std::vector<int16_t>;
    using Plane = std::vector<int32_t>;

    struct Tap {
        const int16_t* plane;
        ptrdiff_t offset;
        int64_t weight;
    };

    // Where coefficients of a frequency become known.
    struct Known {
        int16_t* quantised;
        int16_t* sizes;
        int32_t *dc, *left, *right, *top, *bottom;
        int32_t step, across, down, right_sign, bottom_sign;

        // False where the value is too large.
        bool put(const JpegStep::Item& item, int64_t value) const;
    };
    Known known(int frequency);
    ptrdiff_t place(ptrdiff_t i, ptrdiff_t j) const { return (i + 1) * line_ + j + 1; }
    std::vector<Tap> taps(int frequency, int part, const int64_t* weights) const;
    void add_sizes(int frequency, ptrdiff_t i, const JpegComponent& of, int32_t weight, int32_t* sums) const;
    void bend();

    AdaptiveTables& tables_;
    const ptrdiff_t rows_, columns_, line_;
    std::array<int32_t, jpeg::frequencies> steps_;
    int16_t* coefficients_;
    std::vector<Sizes> sizes_;               // of each frequency
    std::array<std::vector<Plane>, 4> ends_;  // left, right, top, bottom: what is known there, by frequency along
    Plane dc_;
    std::vector<int32_t> bends_across_, bends_down_;  // of each block, when DC is known
    std::vector<Mean> means_;
};

}  // namespace neuralcodec
