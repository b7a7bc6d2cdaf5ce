// Distribution functions of mixtures of logistics at knots, and the maps of the patch flow that follow from them. See
// flow/monotone.py, which defines them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory.hpp"
#include "mixtures.hpp"
#include "parallel.hpp"

namespace neuralcodec {

namespace knots {

constexpr int values = 256, value_bits = 8, knot_bits = 3, tail_knots = 1 << 14, place_bits = 15;
constexpr int log_bits = 20, log_steps = 1 << 12;
constexpr int least_frac = 2, largest_frac = 14;

}  // namespace knots

// Tables that knots are made of.
struct KnotTables {
    // `log` (4097,): 2**20 * ln(1 + i / 4096). Throws std::invalid_argument for one that no logarithm can have.
    KnotTables(const LogisticTables& logistic, const int32_t* log);

    const LogisticTables& logistic;
    std::vector<int32_t> log;
};

// An interval between two knots: where it starts, what the map makes of that, and the fraction by which it is scaled.
struct Line {
    int64_t start, image;
    uint32_t up, down;
};

// Mixtures of `count` items of 0..255, as of MixtureParameters. Any numbers are safe; most methods take an item.
class Knots {
public:
    // Of no mixtures yet.
    Knots(const KnotTables& tables, ptrdiff_t count, int parts, int frac, int threads);

    // Weights, centres and scales are (parts, count) each, and are not kept. Throws std::invalid_argument for weights that
    // do not add up.
    void set(const int32_t* weights, const int32_t* centres, const int32_t* scales);

    // Calls work(item) for every item, on the threads.
    template <class Work>
    void each(const Work& work) const {
        parallel((count + block - 1) / block, threads_, [&](ptrdiff_t part) {
            const ptrdiff_t end = std::min(count, (part + 1) * block);
            for (ptrdiff_t i = part * block; i < end; i++) work(i);
        });
    }

    // A place in a value's cell: where the interval begins that a digit chose, what is left of the digit, and of how many.
    struct Choice {
        int64_t start;
        uint32_t rest, width;
    };
    // The other way round: a value, the place within its interval, and what the interval takes of the cell's total.
    struct Cell {
        int64_t value;
        uint32_t fine, low, width, total;
    };

    // The intervals of a value's cell: knots `begin` .. `end`, what lies below the first one, and the radix of digits.
    struct Places {
        int64_t begin, end, below;
        int shift;
        uint32_t total;
    };

    // The radix of places within an interval.
    uint32_t fine(ptrdiff_t item) const { return uint32_t(1) << items_[size_t(item)].shift; }
    // Of 0..255.
    Places places(ptrdiff_t item, int64_t value) const;
    Choice choose(ptrdiff_t item, const Places& places, int64_t digit) const;
    Cell cell(ptrdiff_t item, int64_t place) const;
    // The interval in which a place lies, and that to whose image noise belongs.
    Line line(ptrdiff_t item, int64_t place) const;
    Line line_of(ptrdiff_t item, int64_t noise) const;

    const ptrdiff_t count;

private:
    static constexpr ptrdiff_t block = 2048;  // items that a thread takes at once

    struct Part {
        int64_t origin, slope;  // of the sigmoid's argument
        int64_t weight;
    };
    struct Item {
        int64_t middle;
        int32_t shift, per_value;  // bits
        float reach;               // knots to a unit of the image, about
    };

    int64_t first(const Item& item) const;
    int64_t last(const Item& item) const;
    int64_t below(ptrdiff_t item, int64_t knot) const;
    int64_t image(ptrdiff_t item, int64_t knot) const;
    int64_t log(int64_t number) const;
    uint32_t before(ptrdiff_t item, const Places& places, int64_t knot) const;

    const KnotTables& tables_;
    const int parts_, frac_, threads_;
    Numbers<Part> rows_;  // (count, parts)
    Numbers<Item> items_;
};

}  // namespace neuralcodec
