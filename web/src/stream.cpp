#include "stream.hpp"

#include <algorithm>
#include <cmath>

#include "tables.hpp"

namespace web {

using namespace neuralcodec;

namespace {

constexpr uint64_t low = uint64_t(1) << 32;

int octave_of(uint64_t head) {
    int octave = 0;
    while (head >> (33 + octave)) octave++;
    return octave;
}

}  // namespace

std::vector<uint64_t> Stream::read_narrowings(Fields& fields) {
    std::vector<uint64_t> narrowings(std::min<uint64_t>(fields.varint(), 3));
    check(narrowings.size() <= 2, damaged);
    for (uint64_t& position : narrowings) position = fields.varint();
    return narrowings;
}

Stream::Stream(Fields lanes, std::vector<uint64_t> narrowings) : later_(std::move(narrowings)) {
    const int size = 5 + (lanes.left() + 1) % 2;
    heads_ = {lanes.little(size)};
    check(heads_[0] >= std::max(low, uint64_t(1) << 8 * (size - 1)), damaged);
    words_.resize(lanes.left() / 2);
    size_ = ptrdiff_t(words_.size());
    for (size_t i = words_.size(); i--;) words_[i] = lanes.u16();
    for (size_t i = 0; i < later_.size(); i++) widen();
}

Stream::Stream(Fields fields) {
    std::vector<uint64_t> narrowings = read_narrowings(fields);
    *this = Stream(fields, std::move(narrowings));
    begin_symbols();
}

Lanes Stream::lanes() {
    return {heads_.data(), ptrdiff_t(heads_.size()), words_.data(), size_, ptrdiff_t(words_.size())};
}

Numbers Stream::digits(Radix radix, size_t count) {
    Numbers found(count);
    runs(count, [&](ptrdiff_t from, ptrdiff_t to) {
        Lanes lanes = this->lanes();
        check(pop_digits(lanes, radix, {from, to}, found.data()), damaged);
        set_size(lanes.size);
    });
    return found;
}

Numbers Stream::symbols(const Distribution& distribution) {
    Numbers found(size_t(distribution.size()));
    runs(found.size(), [&](ptrdiff_t from, ptrdiff_t to) {
        Lanes lanes = this->lanes();
        check(pop(lanes, distribution, {from, to, distribution.row}, found.data()), damaged);
        set_size(lanes.size);
    });
    return found;
}

Numbers Stream::values(const Mixtures& mixtures) {
    Numbers found = symbols(mixtures);
    const Mixtures::Digits split = mixtures.first(found.data());
    const Numbers rest = digits(split.radix);
    const MixtureParameters& p = mixtures.parameters;
    for (size_t i = 0; i < rest.size(); i++) {
        int64_t& value = found[size_t(split.item[i])];
        value += rest[i];
        check(value <= p.last - p.clipped, damaged);
    }
    return found;
}

Numbers Stream::list(size_t count, int n) {
    if (!count) return {};
    const Numbers occurs = digits(2, size_t(n));
    const size_t some = size_t(std::count(occurs.begin(), occurs.end(), 1));
    check(some > 0, damaged);
    const Numbers weights = digits(32, some);
    std::vector<uint32_t> shares, ends;
    uint64_t sum = 0;
    for (size_t i = 0, next = 0; i < size_t(n); i++) {
        // Exact: square roots of numbers below 2**52 are far enough from the next integer.
        shares.push_back(occurs[i] ? uint32_t(std::sqrt(double(uint64_t(1) << (weights[next++] + 9)))) : 0);
        sum += shares.back();
    }
    uint32_t left = 1 << 16;
    for (uint32_t& share : shares) {
        if (share) share = std::max(uint32_t(1), uint32_t((uint64_t(share) << 16) / sum));
        left -= share;
    }
    *std::max_element(shares.begin(), shares.end()) += left;
    uint32_t end = 0;
    for (uint32_t share : shares) ends.push_back(end += share);
    const FrequencyTables table(ends.data(), {1, n}, 16);
    const Numbers rows(count);
    return symbols(TableItems(table, rows.data(), ptrdiff_t(count)));
}

Numbers Stream::number_list(size_t count, int n) {
    const Numbers octaves = list(count, n);
    std::vector<uint32_t> low_radix, high_radix;
    for (int64_t e : octaves) {
        low_radix.push_back(uint32_t(1) << std::min<int64_t>(e, 16));
        high_radix.push_back(uint32_t(1) << std::max<int64_t>(0, e - 16));
    }
    Numbers found = digits(low_radix);
    for (size_t i = 0; i < count; i++) found[i] += (int64_t(1) << octaves[i]) - 1;
    if (n > 17) {
        const Numbers high = digits(high_radix);
        for (size_t i = 0; i < count; i++) found[i] += high[i] << 16;
    }
    return found;
}

void Stream::widen() {
    const size_t fresh = 15 * heads_.size();
    Numbers found[4];
    std::vector<uint32_t> radices;
    found[0] = digits(16, fresh), found[1] = digits(1 << 16, fresh), found[2] = digits(1 << 16, fresh);
    for (int64_t octave : found[0]) radices.push_back(uint32_t(1) << octave);
    found[3] = digits(radices);
    for (size_t i = 0; i < fresh; i++)
        heads_.push_back((low | uint64_t(found[1][i]) << 16 | uint64_t(found[2][i])) << found[0][i] | uint64_t(found[3][i]));
}

void Stream::narrow() {
    const std::vector<uint64_t> removed(heads_.begin() + ptrdiff_t(heads_.size() / 16), heads_.end());
    heads_.resize(heads_.size() / 16);
    std::vector<uint32_t> octaves, first, second, third, radices;
    for (uint64_t head : removed) {
        const int octave = octave_of(head);
        octaves.push_back(uint32_t(octave));
        radices.push_back(uint32_t(1) << octave);
        third.push_back(uint32_t(head) & (radices.back() - 1));
        second.push_back(uint32_t(head >> octave) & 0xffff);
        first.push_back(uint32_t(head >> octave >> 16) & 0xffff);
    }
    push(third, {radices.data(), 0});
    push(second, {nullptr, 1 << 16});
    push(first, {nullptr, 1 << 16});
    push(octaves, {nullptr, 16});
}

// With room for as many symbols.
Lanes Stream::lanes_for(size_t pushed) {
    words_.resize(std::max(words_.size(), size_t(size_) + 2 * pushed + 1));
    return lanes();
}

void Stream::push(const std::vector<uint32_t>& digits, Radix radix) {
    Lanes lanes = lanes_for(digits.size());
    push_digits(lanes, digits.data(), radix, {0, ptrdiff_t(digits.size())}, PTRDIFF_MAX);
    size_ = lanes.size;
}

void Stream::push(const Mixtures& mixtures, const Numbers& values) {
    std::vector<uint32_t> start(values.size()), freq(values.size());
    const Mixtures::Digits split = mixtures.code(values.data(), start.data(), freq.data());
    push(split.digit, {split.radix.data(), 0});
    Lanes lanes = lanes_for(values.size());
    neuralcodec::push(lanes, start.data(), freq.data(), mixtures.bits, {0, ptrdiff_t(values.size())}, PTRDIFF_MAX);
    size_ = lanes.size;
}

std::vector<uint8_t> Stream::bytes(size_t count) {
    const size_t words = (count + 1) / 2;
    check(words <= size_t(size_), damaged);
    size_ -= ptrdiff_t(words);
    std::vector<uint8_t> out;
    for (size_t i = 0; i < words; i++) {
        const uint16_t word = words_[size_t(size_) + i];
        out.push_back(uint8_t(word)), out.push_back(uint8_t(word >> 8));
    }
    check(count == out.size() || !out.back(), damaged);
    out.resize(count);
    return out;
}

uint32_t Stream::told() const {
    check(later_.empty() && narrowed_ == narrowings_.size() && !size_ && heads_.size() == 1 && heads_[0] >> 32 == 1, damaged);
    return uint32_t(heads_[0] - low);
}

}  // namespace web
