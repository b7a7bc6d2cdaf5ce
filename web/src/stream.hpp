// Symbols on lanes. docs/format.md: Lanes, Symbol stream, Lists.
#pragma once

#include <vector>

#include "common.hpp"
#include "lanes.hpp"
#include "mixtures.hpp"

namespace web {

using Numbers = std::vector<int64_t>;

// Lanes that are narrowed at given positions, over a stack of words.
class Stream {
public:
    // A symbol stream, which takes all bytes that are left.
    explicit Stream(Fields fields);
    // The lanes of a chain, which are not narrowed until its symbol stream begins.
    Stream(Fields lanes, std::vector<uint64_t> narrowings);
    void begin_symbols() { narrowings_ = std::move(later_), position_ = 0; }
    void narrow_to_one() {
        while (heads_.size() > 1) narrow();
        later_.clear();
    }
    static std::vector<uint64_t> read_narrowings(Fields& fields);

    Numbers digits(uint32_t radix, size_t count) { return digits({nullptr, radix}, count); }
    Numbers digits(const std::vector<uint32_t>& radices) { return digits({radices.data(), 0}, radices.size()); }
    Numbers symbols(const neuralcodec::Distribution& distribution);
    Numbers values(const neuralcodec::Mixtures& mixtures);
    // Lists of symbols below n, and of numbers below 2**n - 1.
    Numbers list(size_t count, int n);
    Numbers number_list(size_t count, int n);

    // Calls pop(low, high) for the runs of a group, between which lanes are narrowed.
    template <class Pop>
    void runs(size_t count, const Pop& pop);
    neuralcodec::Lanes lanes();
    void set_size(ptrdiff_t size) { size_ = size; }

    // Undo popping.
    void push(const std::vector<uint32_t>& digits, neuralcodec::Radix radix);
    void push(const neuralcodec::Mixtures& mixtures, const Numbers& values);

    // Bytes that lie on the stack as words.
    std::vector<uint8_t> bytes(size_t count);

    // The end: nothing is left but the number that the stream tells.
    uint32_t told() const;

private:
    Numbers digits(neuralcodec::Radix radix, size_t count);
    void widen();
    void narrow();
    neuralcodec::Lanes lanes_for(size_t pushed);

    std::vector<uint64_t> heads_;
    std::vector<uint16_t> words_;  // of which `size_` are in use; the last of them is the top
    ptrdiff_t size_ = 0;
    std::vector<uint64_t> narrowings_, later_;
    size_t narrowed_ = 0;
    uint64_t position_ = 0;
};

template <class Pop>
void Stream::runs(size_t count, const Pop& pop) {
    const uint64_t begin = position_;
    for (uint64_t at = begin;;) {
        while (narrowed_ < narrowings_.size() && narrowings_[narrowed_] == at) narrow(), narrowed_++;
        if (at == begin + count) break;
        uint64_t stop = begin + count;
        if (narrowed_ < narrowings_.size() && narrowings_[narrowed_] < stop) stop = narrowings_[narrowed_];
        check(stop > at, damaged);
        pop(ptrdiff_t(at - begin), ptrdiff_t(stop - begin));
        at = stop;
    }
    position_ = begin + count;
}

}  // namespace web
