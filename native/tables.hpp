// Tables of frequencies, one chosen for each item. See coders/table.py, which defines them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "distribution.hpp"

namespace neuralcodec {

struct TableShape {
    ptrdiff_t rows, symbols;
};

struct Interval {
    uint32_t start, freq;
};

class FrequencyTables {
public:
    // `ends` (rows, symbols): for each symbol the sum of its frequency and those before it; the last one is 2**bits. Throws
    // std::invalid_argument where they fall or go beyond.
    FrequencyTables(const uint32_t* ends, TableShape shape, int bits);

    void find(uint32_t slot, ptrdiff_t row, ptrdiff_t item, const Found& found) const;

    Interval interval(ptrdiff_t row, ptrdiff_t symbol) const {
        const uint32_t* end = ends_.data() + row * shape.symbols + symbol;
        const uint32_t start = symbol ? end[-1] : 0;
        return {start, *end - start};
    }

    const TableShape shape;
    const int bits;

private:
    // Of each row, for slots that are multiples of 2**shift_ and for the total: how many symbols end there or before it, but
    // for the last one.
    std::vector<int32_t> index_;
    std::vector<uint32_t> ends_;
    const int shift_;
    const ptrdiff_t buckets_;
};

// Items, each by a row of the tables. Rows are kept by the caller, and are checked when they are used.
class TableItems : public Distribution {
public:
    TableItems(const FrequencyTables& tables, const int64_t* rows, ptrdiff_t count)
        : Distribution(tables.bits), tables_(tables), rows_(rows), count_(count) {}

    void find(const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) const override;
    ptrdiff_t size() const override { return count_; }

private:
    const FrequencyTables& tables_;
    const int64_t* rows_;
    const ptrdiff_t count_;
};

}  // namespace neuralcodec
