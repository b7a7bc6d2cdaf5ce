// Distributions of symbols that rANS codes, as kernels of the lanes see them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace neuralcodec {

// Symbols of a step and their intervals [start, start + freq), an item on each lane.
struct Found {
    int32_t* symbol;
    uint32_t* start;
    uint32_t* freq;
};

class Distribution {
public:
    explicit Distribution(int bits, ptrdiff_t row = 0) : bits(bits), row(row) {}
    virtual ~Distribution() = default;

    // Finds the symbols of items first .. first + count - 1, whose slots are the low `bits` of `heads`.
    virtual void find(const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) const = 0;

    // Does `work`, which finds so many symbols; other threads may do their part of it meanwhile.
    virtual void during(ptrdiff_t, const std::function<void()>& work) const { work(); }

    // How many items there are.
    virtual ptrdiff_t size() const = 0;

    const int bits;       // intervals are parts of [0, 2**bits)
    const ptrdiff_t row;  // as of `Items`
};

}  // namespace neuralcodec
