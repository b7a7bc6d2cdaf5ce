#include "lzma2.hpp"

#include <algorithm>

namespace web {
namespace {

using Probability = uint16_t;
constexpr int half = 1 << 10;  // of 2**11
constexpr int length_states = 4, align_bits = 4, end_model = 14;

// Decodes bits, each by a probability that adapts.
struct RangeDecoder {
    Fields fields;
    uint32_t range = UINT32_MAX, code = 0;

    explicit RangeDecoder(Fields chunk) : fields(chunk) {
        check(fields.u8() == 0, damaged);
        for (int i = 0; i < 4; i++) code = code << 8 | fields.u8();
    }
    void normalise() {
        if (range < 1 << 24) range <<= 8, code = code << 8 | fields.u8();
    }
    int bit(Probability& p) {
        normalise();
        const uint32_t bound = (range >> 11) * p;
        if (code < bound) {
            range = bound, p += (2048 - p) >> 5;
            return 0;
        }
        range -= bound, code -= bound, p -= p >> 5;
        return 1;
    }
    uint32_t direct(int count) {
        uint32_t number = 0;
        for (; count; count--) {
            normalise();
            range >>= 1;
            const bool one = code >= range;
            if (one) code -= range;
            number = number << 1 | one;
        }
        return number;
    }
    uint32_t tree(Probability* p, int bits) {
        uint32_t node = 1;
        for (int i = 0; i < bits; i++) node = node << 1 | uint32_t(bit(p[node]));
        return node - (1 << bits);
    }
    uint32_t reversed_tree(Probability* p, int bits) {
        uint32_t node = 1, number = 0;
        for (int i = 0; i < bits; i++) {
            const int found = bit(p[node]);
            node = node << 1 | uint32_t(found);
            number |= uint32_t(found) << i;
        }
        return number;
    }
};

struct Lengths {
    Probability choice[2], low[16][8], middle[16][8], high[256];

    uint32_t decode(RangeDecoder& decoder, int position) {
        if (!decoder.bit(choice[0])) return 2 + decoder.tree(low[position], 3);
        if (!decoder.bit(choice[1])) return 10 + decoder.tree(middle[position], 3);
        return 18 + decoder.tree(high, 8);
    }
};

struct Model {
    Probability is_match[12][16], is_repeat[12], is_older[3][12], is_long[12][16];
    Probability slots[length_states][64], near[128], align[16];
    Lengths match, repeat;
};

class Unpacker {
public:
    explicit Unpacker(size_t size) { out_.reserve(size); }

    std::vector<uint8_t> run(Fields stream, size_t size) {
        for (bool first = true;; first = false) {
            const int control = stream.u8();
            if (!control) break;
            check(control < 3 || control >= 128, damaged);
            check(!first || control == 1 || control >= 0xe0, damaged);
            size_t count = size_t(control & 31) << 16;
            if (control < 3) count = 0;
            count += size_t(stream.u8()) << 8;
            count += size_t(stream.u8()) + 1;
            check(count <= size - out_.size(), damaged);
            if (control == 1 || control >= 0xe0) start_ = out_.size();  // the dictionary begins
            if (control < 3) {
                const uint8_t* bytes = stream.take(count);
                out_.insert(out_.end(), bytes, bytes + count);
                continue;
            }
            size_t packed = size_t(stream.u8()) << 8;
            packed += size_t(stream.u8()) + 1;
            if (control >= 0xc0) read_properties(stream.u8());
            check(has_properties_, damaged);
            if (control >= 0xa0) reset();
            chunk(RangeDecoder(stream.part(packed)), out_.size() + count);
        }
        check(out_.size() == size && !stream.left(), damaged);
        return std::move(out_);
    }

private:
    void read_properties(int byte) {
        check(byte < 225, damaged);
        literal_bits_ = byte % 9, literal_positions_ = byte / 9 % 5, position_bits_ = byte / 45;
        check(literal_bits_ + literal_positions_ <= 4, damaged);
        has_properties_ = true;
    }

    void reset() {
        auto* probabilities = reinterpret_cast<Probability*>(&model_);
        std::fill_n(probabilities, sizeof(model_) / sizeof(Probability), Probability(half));
        literals_.assign(size_t(0x300) << (literal_bits_ + literal_positions_), half);
        state_ = 0;
        std::fill(std::begin(distances_), std::end(distances_), 0);
    }

    void chunk(RangeDecoder decoder, size_t end) {
        while (out_.size() < end) {
            const size_t at = out_.size() - start_;
            const int position = int(at) & ((1 << position_bits_) - 1);
            if (!decoder.bit(model_.is_match[state_][position])) {
                literal(decoder, at);
                continue;
            }
            uint32_t length;
            if (!decoder.bit(model_.is_repeat[state_])) {
                std::copy_backward(distances_, distances_ + 3, distances_ + 4);
                length = model_.match.decode(decoder, position);
                state_ = state_ < 7 ? 7 : 10;
                distances_[0] = distance(decoder, length);
            } else {
                const bool is_last = !decoder.bit(model_.is_older[0][state_]);
                if (is_last && !decoder.bit(model_.is_long[state_][position])) {
                    state_ = state_ < 7 ? 9 : 11;
                    length = 1;
                } else {
                    if (!is_last) take_older(decoder);
                    length = model_.repeat.decode(decoder, position);
                    state_ = state_ < 7 ? 8 : 11;
                }
            }
            check(distances_[0] < at && length <= end - out_.size(), damaged);
            for (uint32_t i = 0; i < length; i++) out_.push_back(out_[out_.size() - distances_[0] - 1]);
        }
        decoder.normalise();
        check(!decoder.code && !decoder.fields.left(), damaged);
    }

    void literal(RangeDecoder& decoder, size_t at) {
        const uint32_t before = at ? out_.back() : 0;
        const size_t context = ((at & ((size_t(1) << literal_positions_) - 1)) << literal_bits_) + (before >> (8 - literal_bits_));
        Probability* p = literals_.data() + 0x300 * context;
        uint32_t symbol = 1;
        if (state_ >= 7) {  // after a match: by the byte at its distance, as long as that is right
            check(distances_[0] < at, damaged);
            uint32_t like = out_[out_.size() - distances_[0] - 1];
            while (symbol < 256) {
                const uint32_t expected = like >> 7 & 1;
                like <<= 1;
                const uint32_t found = uint32_t(decoder.bit(p[((1 + expected) << 8) + symbol]));
                symbol = symbol << 1 | found;
                if (found != expected) break;
            }
        }
        while (symbol < 256) symbol = symbol << 1 | uint32_t(decoder.bit(p[symbol]));
        out_.push_back(uint8_t(symbol));
        state_ = state_ < 4 ? 0 : state_ < 10 ? state_ - 3 : state_ - 6;
    }

    uint32_t distance(RangeDecoder& decoder, uint32_t length) {
        const uint32_t slot = decoder.tree(model_.slots[std::min<uint32_t>(length - 2, length_states - 1)], 6);
        if (slot < 4) return slot;
        const int bits = int(slot >> 1) - 1;
        const uint32_t base = (2 | (slot & 1)) << bits;
        if (slot < end_model) return base + decoder.reversed_tree(model_.near + base - slot, bits);
        const uint32_t high = decoder.direct(bits - align_bits) << align_bits;
        return base + high + decoder.reversed_tree(model_.align, align_bits);
    }

    // One of the distances before the last becomes the last.
    void take_older(RangeDecoder& decoder) {
        const int number = !decoder.bit(model_.is_older[1][state_]) ? 1 : !decoder.bit(model_.is_older[2][state_]) ? 2 : 3;
        std::rotate(distances_, distances_ + number, distances_ + number + 1);
    }

    std::vector<uint8_t> out_;
    size_t start_ = 0;
    bool has_properties_ = false;
    int literal_bits_ = 0, literal_positions_ = 0, position_bits_ = 0;
    Model model_;
    std::vector<Probability> literals_;
    int state_ = 0;
    uint32_t distances_[4] = {};
};

}  // namespace

std::vector<uint8_t> unpack_lzma2(Fields stream, size_t size) { return Unpacker(size).run(stream, size); }

}  // namespace web
