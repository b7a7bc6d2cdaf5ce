// The modular scale transform's arithmetic: see flow/mst.py, which defines it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neuralcodec {

// Factors of each value, or one for all.
struct Factors {
    const uint32_t* each;
    uint32_t one;
    uint32_t operator[](ptrdiff_t i) const { return each ? each[i] : one; }
};

// (up * values + digits) div down, and the remainders. Numbers beyond 64 bits wrap.
void scale(const int64_t* values, const int64_t* digits, Factors up, Factors down, ptrdiff_t count, int64_t* quotient,
           uint32_t* rest);

}  // namespace neuralcodec
