// Mixtures of logistics: intervals of values, and the search for symbols. See coders/logistic.py, which defines them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "distribution.hpp"
#include "lattice.hpp"

namespace neuralcodec {

namespace logistic {

constexpr int total_bits = 24, weight_bits = 16, centre_bits = 6, inverse_bits = 20, scale_bits = 4;
constexpr int least_scale = -80, largest_scale = 256, scales = largest_scale - least_scale + 1;
constexpr int reach = 18 << 10;  // steps of the sigmoid's table on each side of 0
constexpr int total = 1 << total_bits;
constexpr int most_parts = 64;
constexpr int bin_bits = 19, bins = total >> bin_bits;  // of calibrations
constexpr int map_room = bins + 2;                      // numbers of one: at the ends of bins, and the last again

}  // namespace logistic

// Tables that the distributions are made of.
struct LogisticTables {
    // Throws std::invalid_argument for a table that no sigmoid or scale can have.
    LogisticTables(const int32_t* sigmoid, const int32_t* inverse_scale, const int32_t* log2);

    std::vector<int32_t> sigmoid;        // 2 * reach + 1, from 0 to total
    std::vector<int32_t> inverse_scale;  // of each log-scale, below 2**30
    std::vector<int32_t> log2;           // 4096: fractions of a logarithm in 1/65536
    std::vector<float> scale, logit;     // for a first guess only, which changes no result
};

// By how much the lower edge of the cell of each value 0 .. 255 lies higher, and that of 256, in 1/64.
struct Cells {
    // Of 257 numbers. Throws std::invalid_argument for edges that do not rise from 0 to 256.
    explicit Cells(const int32_t* moves);
    Cells() = default;

    int32_t moves[260] = {};  // searches look beyond what is found
};

// Mixtures of `count` items, (parts, count) each, kept by the caller. Any numbers are safe but weights: they are checked.
struct MixtureParameters {
    const LogisticTables& tables;
    const int32_t *weights, *centres, *scales;
    ptrdiff_t count;
    int parts;
    int last;  // the largest value
    bool clipped;
    bool whole;  // no bits are split off
    // Calibrations of distribution functions (map_room each), and where that of each item is; or null.
    const int32_t *maps = nullptr, *map_of = nullptr;
    // What weighs whole values 0 .. 255, of which no costs are asked; or null.
    const LatticePrior* prior = nullptr;
    // Of whole values 0 .. 255 (`moves`); or null.
    const int32_t* cells = nullptr;
};

// What an instruction set does with mixtures. All but the last throw std::invalid_argument for weights that do not add up.
struct MixtureKernel {
    // As Distribution::find.
    void (*find)(const MixtureParameters&, const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found&);
    // Intervals of the symbols of items first .. first + count - 1, which are not checked.
    void (*intervals)(const MixtureParameters&, const int32_t* symbols, ptrdiff_t first, ptrdiff_t count,
                      uint32_t* start, uint32_t* freq);
    // Code lengths of all values in 1/65536 bit. Throws std::invalid_argument for a value out of range, too.
    void (*costs)(const MixtureParameters&, const int64_t* values, int32_t* out);
    // How many bits are split off the values of these items.
    void (*shifts)(const MixtureParameters&, ptrdiff_t first, ptrdiff_t count, int32_t* shift);
};

class Mixtures : public Distribution {
public:
    Mixtures(const MixtureKernel& kernel, const MixtureParameters& parameters)
        : Distribution(logistic::total_bits), kernel(kernel), parameters(parameters) {}

    void find(const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) const override {
        kernel.find(parameters, heads, first, count, found);
    }
    ptrdiff_t size() const override { return parameters.count; }

    // Bits that are split off, and what they belong to.
    struct Digits {
        std::vector<uint32_t> digit, radix;
        std::vector<int64_t> item;
    };

    // Intervals of all values, and the bits that are split off. Throws std::invalid_argument for a value out of range.
    Digits code(const int64_t* values, uint32_t* start, uint32_t* freq) const;

    // The smallest value of each symbol, in its place, and the radix of what has to be added to it, as `Digits`. Throws
    // std::invalid_argument for a symbol that there is not.
    Digits first(int64_t* symbols) const;

    const MixtureKernel& kernel;
    const MixtureParameters parameters;

private:
    struct Symbol {
        int32_t symbol;
        int shift;  // how many bits are split off; 0 also of clipped values
        uint32_t digit;
    };
    Symbol split(int64_t value, int shift) const;
};

}  // namespace neuralcodec
