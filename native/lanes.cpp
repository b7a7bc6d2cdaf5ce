#include "lanes.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace neuralcodec {
namespace {

constexpr int word_bits = 16, low_bits = 32;
constexpr uint64_t head_low = uint64_t(1) << low_bits, head_high = head_low << word_bits;
constexpr uint64_t tiny = head_low >> word_bits;

// The items from which the steps of an item are counted.
Items half_of(const Items& items, ptrdiff_t item) {
    if (!items.row) return {0, items.high};
    const ptrdiff_t begin = item - item % items.row, middle = begin + (items.row + 1) / 2;
    return item < middle ? Items{begin, middle} : Items{middle, begin + items.row};
}

ptrdiff_t first_of_last_step(const Items& items, ptrdiff_t width) {
    const ptrdiff_t last = items.high - 1, begin = half_of(items, last).low;
    return std::max(items.low, begin + (last - begin) / width * width);
}

ptrdiff_t end_of_first_step(const Items& items, ptrdiff_t width) {
    const Items half = half_of(items, items.low);
    return std::min({items.high, half.high, half.low + ((items.low - half.low) / width + 1) * width});
}

// Pop a word into each of the first `count` heads that is below its limit, the first of them the deepest.
template <class Bound>
bool take(Lanes& lanes, ptrdiff_t count, const Bound& limit) {
    ptrdiff_t needed = 0;
    for (ptrdiff_t i = 0; i < count; i++) needed += lanes.heads[i] < limit(i);
    if (needed > lanes.size) return false;
    lanes.size -= needed;
    const uint16_t* word = lanes.words + lanes.size;
    for (ptrdiff_t i = 0; needed; i++) {
        const uint64_t head = lanes.heads[i];
        const bool low = head < limit(i);
        const uint64_t fresh = head << word_bits | *word;
        lanes.heads[i] = low ? fresh : head;
        word += low;
        needed -= low;
    }
    return true;
}

// Push a word from each of the first `count` heads that is not below its limit.
template <class Bound>
void send(Lanes& lanes, ptrdiff_t count, const Bound& limit) {
    uint16_t* word = lanes.words + lanes.size;
    for (ptrdiff_t i = 0; i < count; i++) {
        const uint64_t head = lanes.heads[i];
        const bool full = head >= limit(i);
        *word = uint16_t(head);
        word += full;
        lanes.heads[i] = full ? head >> word_bits : head;
    }
    lanes.size = word - lanes.words;
}

// Calls step(low, count) from the last step to the first, until the stack has enough words; returns where that was.
template <class Step>
ptrdiff_t backwards(Lanes& lanes, Items items, ptrdiff_t enough, const Step& step) {
    while (items.high > items.low) {
        const ptrdiff_t low = first_of_last_step(items, lanes.width);
        step(low, items.high - low);
        items.high = low;
        if (lanes.size >= enough) break;
    }
    return items.high;
}

// Calls step(low, count) from the first step to the last, while it returns true.
template <class Step>
bool forwards(const Lanes& lanes, Items items, const Step& step) {
    while (items.low < items.high) {
        const ptrdiff_t end = end_of_first_step(items, lanes.width);
        if (!step(items.low, end - items.low)) return false;
        items.low = end;
    }
    return true;
}

bool is_power_of_two(uint32_t n) { return !(n & (n - 1)); }

int log2(uint32_t n) {
    int bits = 0;
    while (n >>= 1) bits++;
    return bits;
}

}  // namespace

bool pop(Lanes& lanes, const Distribution& distribution, Items items, int64_t* out) {
    const size_t most = size_t(std::min(lanes.width, items.high - items.low));
    std::vector<uint32_t> scratch(3 * most);
    const Found found{reinterpret_cast<int32_t*>(scratch.data()), scratch.data() + most, scratch.data() + 2 * most};
    const int bits = distribution.bits;
    const uint64_t mask = (uint64_t(1) << bits) - 1;
    bool enough = false;
    const auto step = [&](ptrdiff_t low, ptrdiff_t count) {
        distribution.find(lanes.heads, low, count, found);
        for (ptrdiff_t i = 0; i < count; i++) {
            const uint64_t head = lanes.heads[i];
            lanes.heads[i] = found.freq[i] * (head >> bits) + ((head & mask) - found.start[i]);
            out[low + i] = found.symbol[i];
        }
        return take(lanes, count, [](ptrdiff_t) { return tiny; }) &&
               take(lanes, count, [](ptrdiff_t) { return head_low; });
    };
    distribution.during(items.high - items.low, [&] { enough = forwards(lanes, items, step); });
    return enough;
}

bool pop_digits(Lanes& lanes, Radix radix, Items items, int64_t* out) {
    if (!radix.each && is_power_of_two(radix.one)) {
        const int shift = log2(radix.one);
        return forwards(lanes, items, [&](ptrdiff_t low, ptrdiff_t count) {
            if (!take(lanes, count, [=](ptrdiff_t) { return head_low << shift; })) return false;
            for (ptrdiff_t i = 0; i < count; i++) {
                out[low + i] = int64_t(lanes.heads[i] & (radix.one - 1));
                lanes.heads[i] >>= shift;
            }
            return true;
        });
    }
    return forwards(lanes, items, [&](ptrdiff_t low, ptrdiff_t count) {
        const auto of = [&](ptrdiff_t i) { return radix.each ? radix.each[low + i] : radix.one; };
        if (!take(lanes, count, [&](ptrdiff_t i) { return uint64_t(of(i)) << low_bits; })) return false;
        for (ptrdiff_t i = 0; i < count; i++) {
            const uint64_t head = lanes.heads[i], quotient = head / of(i);
            out[low + i] = int64_t(head - quotient * of(i));
            lanes.heads[i] = quotient;
        }
        return true;
    });
}

ptrdiff_t push(Lanes& lanes, const uint32_t* start, const uint32_t* freq, int bits, Items items, ptrdiff_t enough) {
    const uint64_t total = uint64_t(1) << bits;
    const int room = low_bits + word_bits - bits;
    return backwards(lanes, items, enough, [&](ptrdiff_t low, ptrdiff_t count) {
        const uint32_t *first = start + low, *size = freq + low;
        bool wrong = false;
        uint32_t smallest = UINT32_MAX;
        for (ptrdiff_t i = 0; i < count; i++) {
            wrong |= !size[i] | (uint64_t(first[i]) + size[i] > total);
            smallest = std::min(smallest, size[i]);
        }
        if (wrong) throw std::invalid_argument("an interval is empty, or not within its total");
        const auto full = [=](ptrdiff_t i) { return uint64_t(size[i]) << room; };
        send(lanes, count, full);
        if (uint64_t(smallest) << room < head_low) send(lanes, count, full);  // what has sent a word is below head_low
        for (ptrdiff_t i = 0; i < count; i++) {
            // Exact: both are below 2**48, and a quotient below 2**24 is far from the next integer, or is one.
            const uint64_t head = lanes.heads[i];
            const uint64_t quotient = uint64_t(int64_t(double(int64_t(head)) / double(int64_t(size[i]))));
            lanes.heads[i] = (quotient << bits) + (head - quotient * size[i]) + first[i];
        }
    });
}

ptrdiff_t push_digits(Lanes& lanes, const uint32_t* digits, Radix radix, Items items, ptrdiff_t enough) {
    return backwards(lanes, items, enough, [&](ptrdiff_t low, ptrdiff_t count) {
        const auto of = [&](ptrdiff_t i) { return radix.each ? radix.each[low + i] : radix.one; };
        bool wrong = false;
        for (ptrdiff_t i = 0; i < count; i++) wrong |= digits[low + i] >= of(i);
        if (wrong) throw std::invalid_argument("a digit is not below its radix");
        for (ptrdiff_t i = 0; i < count; i++) lanes.heads[i] = lanes.heads[i] * of(i) + digits[low + i];
        send(lanes, count, [](ptrdiff_t) { return head_high; });
    });
}

}  // namespace neuralcodec
