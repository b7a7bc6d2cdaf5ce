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
    // std::invalid_argument where they fall or go beyond. There is an index of 2**index_bits entries for each row.
    FrequencyTables(const uint32_t* ends, TableShape shape, int bits, int index_bits = 8);

    void find(uint32_t slot, ptrdiff_t row, ptrdiff_t item, const Found& found) const;

    Interval interval(ptrdiff_t row, ptrdiff_t symbol) const {
        const uint32_t* end = ends_.data() + row * shape.symbols + symbol;
        const uint32_t start = symbol ? end[-1] : 0;
        return {start, *end - start};
    }

    // Other ends (symbols) of a row, which rise to 2**bits.
    void set(ptrdiff_t row, const uint32_t* ends);

    const TableShape shape;
    const int bits;

private:
    void index(ptrdiff_t row);

    // Of each row, for slots that are multiples of 2**shift_ and for the total: how many symbols end there or before it, but
    // for the last one.
    std::vector<int32_t> index_;
    std::vector<uint32_t> ends_;
    const int shift_;
    const ptrdiff_t buckets_;
};

// Tables that learn from every group of symbols.
class AdaptiveTables {
public:
    // `frequencies` (rows, symbols) to begin with. Throws std::invalid_argument unless each row adds up to 2**bits.
    AdaptiveTables(const uint32_t* frequencies, TableShape shape, int bits);

    const FrequencyTables& tables() const { return tables_; }

    // A symbol of a group; its row and itself are there.
    void add(ptrdiff_t row, ptrdiff_t symbol) {
        counts_[size_t(row * tables_.shape.symbols + symbol)] += sample;
        changed_[size_t(row)] = true;
    }
    // The group ends.
    void learn();

private:
    static constexpr int64_t sample = 1 << 8, most = 1 << 20;
    static constexpr int index_bits = 5;  // it is made anew for each group
    void share(ptrdiff_t row);

    FrequencyTables tables_;
    std::vector<int64_t> counts_;
    std::vector<uint8_t> changed_;
    std::vector<uint32_t> ends_;  // of a row
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
