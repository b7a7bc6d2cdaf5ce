// rANS and UBCS on lanes: heads over a stack of 16-bit words. See coders/lanes.py, rans.py and ubcs.py, which define them.
//
// Items low .. high - 1 of a group are coded in steps that end at multiples of the number of lanes, or at `high`; the items
// of a step lie on the first lanes. With `row`, they are rows of this length, each of two halves (the first may be one item
// longer), and lanes are counted from the beginning of a half. Pops go from the first step to the last, pushes the other way.
#pragma once

#include "distribution.hpp"

namespace neuralcodec {

struct Lanes {
    uint64_t* heads;
    ptrdiff_t width;  // how many heads
    uint16_t* words;
    ptrdiff_t size, capacity;  // of the stack: words in use, and those that there is room for
};

struct Items {
    ptrdiff_t low, high;
    ptrdiff_t row = 0;
};

// The radix of each digit, or one for all.
struct Radix {
    const uint32_t* each;
    uint32_t one;
};

// Pop items into `out`, which has room for `high`. False where the stack holds too little: the lanes are spoilt then.
bool pop(Lanes& lanes, const Distribution& distribution, Items items, int64_t* out);
bool pop_digits(Lanes& lanes, Radix radix, Items items, int64_t* out);

// Push items, until a step after which the stack has `enough` words; it has room for two words for each, and one more.
// Return where they stopped: the new `high`. Throw
// std::invalid_argument for an interval that is empty or not within [0, 2**bits), or a digit that is not below its radix.
ptrdiff_t push(Lanes& lanes, const uint32_t* start, const uint32_t* freq, int bits, Items items, ptrdiff_t enough);
ptrdiff_t push_digits(Lanes& lanes, const uint32_t* digits, Radix radix, Items items, ptrdiff_t enough);

}  // namespace neuralcodec
