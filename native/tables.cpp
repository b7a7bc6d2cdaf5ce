#include "tables.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>

namespace neuralcodec {

FrequencyTables::FrequencyTables(const uint32_t* ends, TableShape shape, int bits, int index_bits)
    : shape(shape), bits(bits), shift_(std::max(0, bits - index_bits)), buckets_(ptrdiff_t(1) << (bits - shift_)) {
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
    for (ptrdiff_t row = 0; row < shape.rows; row++) index(row);
}

void FrequencyTables::set(ptrdiff_t row, const uint32_t* ends) {
    std::copy(ends, ends + shape.symbols, ends_.begin() + row * shape.symbols);
    index(row);
}

void FrequencyTables::index(ptrdiff_t row) {
    const uint32_t* end = ends_.data() + row * shape.symbols;
    int32_t *index = index_.data() + row * (buckets_ + 1), before = 0;
    for (ptrdiff_t bucket = 0; bucket <= buckets_; bucket++) {
        while (before < shape.symbols - 1 && end[before] <= uint64_t(bucket) << shift_) before++;
        *index++ = before;
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

namespace {

std::vector<uint32_t> ends_of(const uint32_t* frequencies, TableShape shape, int bits) {
    std::vector<uint32_t> ends;
    ends.reserve(size_t(shape.rows * shape.symbols));
    for (ptrdiff_t row = 0; row < shape.rows; row++) {
        uint64_t end = 0;
        for (ptrdiff_t symbol = 0; symbol < shape.symbols; symbol++) {
            end += frequencies[row * shape.symbols + symbol];
            if (end > uint64_t(1) << bits) throw std::invalid_argument("frequencies do not add up to their total");
            ends.push_back(uint32_t(end));
        }
    }
    return ends;
}

}  // namespace

AdaptiveTables::AdaptiveTables(const uint32_t* frequencies, TableShape shape, int bits)
    : tables_(ends_of(frequencies, shape, bits).data(), shape, bits, index_bits),
      counts_(frequencies, frequencies + shape.rows * shape.symbols),
      changed_(size_t(shape.rows)),
      ends_(size_t(shape.symbols)) {
    if (shape.symbols > ptrdiff_t(1) << bits) throw std::invalid_argument("there are too many symbols");
    for (ptrdiff_t row = 0; row < shape.rows; row++) share(row);
}

void AdaptiveTables::learn() {
    const ptrdiff_t symbols = tables_.shape.symbols;
    for (ptrdiff_t row = 0; row < tables_.shape.rows; row++) {
        if (!changed_[size_t(row)]) continue;
        changed_[size_t(row)] = false;
        int64_t* counts = counts_.data() + row * symbols;
        if (std::accumulate(counts, counts + symbols, int64_t(0)) >= most)
            for (ptrdiff_t i = 0; i < symbols; i++) counts[i] = (counts[i] + 1) >> 1;
        share(row);
    }
}

// Frequencies in proportion to counts, which are below 2**45.
void AdaptiveTables::share(ptrdiff_t row) {
    const ptrdiff_t symbols = tables_.shape.symbols;
    const int64_t *counts = counts_.data() + row * symbols, total = int64_t(1) << tables_.bits;
    const int64_t sum = std::accumulate(counts, counts + symbols, int64_t(0));
    if (sum < int64_t(1) << 24) {
        // Exact: a product is below 2**48, and a quotient that is no integer is 2**-24 or more from the next.
        for (ptrdiff_t i = 0; i < symbols; i++)
            ends_[size_t(i)] = uint32_t(1 + int32_t(double(counts[i] * (total - symbols)) / double(sum)));
    } else {
        for (ptrdiff_t i = 0; i < symbols; i++) ends_[size_t(i)] = uint32_t(1 + counts[i] * (total - symbols) / sum);
    }
    const uint32_t given = std::accumulate(ends_.begin(), ends_.end(), uint32_t(0));
    *std::max_element(ends_.begin(), ends_.end()) += uint32_t(total) - given;
    std::partial_sum(ends_.begin(), ends_.end(), ends_.begin());
    tables_.set(row, ends_.data());
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
