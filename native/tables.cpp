#include "tables.hpp"

#include <algorithm>
#include <stdexcept>

namespace neuralcodec {

FrequencyTables::FrequencyTables(const uint32_t* ends, TableShape shape, int bits)
    : shape(shape), bits(bits), shift_(std::max(0, bits - 8)), buckets_(ptrdiff_t(1) << (bits - shift_)) {
    const uint32_t total = uint32_t(1) << bits;
    for (ptrdiff_t row = 0; row < shape.rows; row++) {
        uint32_t before = 0;
        for (const uint32_t* end = ends + row * shape.symbols; end < ends + (row + 1) * shape.symbols; end++) {
            if (*end < before) throw std::invalid_argument("a frequency is negative");
            before = *end;
        }
        if (before != total) throw std::invalid_argument("frequencies do not add up to their total");
    }
    ends_.assign(ends, ends + shape.rows * shape.symbols);
    index_.resize(size_t(shape.rows * (buckets_ + 1)));
    int32_t* index = index_.data();
    for (ptrdiff_t row = 0; row < shape.rows; row++) {
        const uint32_t* end = ends + row * shape.symbols;
        int32_t before = 0;
        for (ptrdiff_t bucket = 0; bucket <= buckets_; bucket++) {
            while (before < shape.symbols - 1 && end[before] <= uint64_t(bucket) << shift_) before++;
            *index++ = before;
        }
    }
}

void FrequencyTables::find(uint32_t slot, ptrdiff_t row, ptrdiff_t item, const Found& found) const {
    const uint32_t* ends = ends_.data() + row * shape.symbols;
    // How many symbols end at the slot or before it: less than all, as the last end is the total. Most buckets have one only.
    const int32_t* index = index_.data() + row * (buckets_ + 1) + (slot >> shift_);
    int32_t before = index[0], most = index[1];
    while (before < most) {
        const int32_t middle = before + (most - before) / 2;
        if (ends[middle] <= slot)
            before = middle + 1;
        else
            most = middle;
    }
    found.symbol[item] = before;
    const Interval interval = this->interval(row, before);
    found.start[item] = interval.start;
    found.freq[item] = interval.freq;
}

void TableItems::find(const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) const {
    const uint64_t mask = (uint64_t(1) << bits) - 1;
    for (ptrdiff_t i = 0; i < count; i++) {
        const int64_t row = rows_[first + i];
        if (row < 0 || row >= tables_.shape.rows) throw std::invalid_argument("there is no such table");
        tables_.find(uint32_t(heads[i] & mask), row, i, found);
    }
}

}  // namespace neuralcodec
