// What all parts of the browser's decoder share: bytes that are read, checksums, and how a defect ends a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace web {

// Ends the call with a message for the reader: it is thrown in JavaScript, past all of C++. Nothing is released, so the
// whole instance has to be given up then.
[[noreturn]] void fail(const char* message);

inline void check(bool condition, const char* message) {
    if (!condition) fail(message);
}

constexpr const char* damaged = "the compressed data is damaged";

// Reads bytes from the first to the last.
class Fields {
public:
    Fields(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}

    size_t left() const { return size_t(end_ - at_); }
    const uint8_t* take(size_t count) {
        check(count <= left(), "the compressed data ends too early");
        at_ += count;
        return at_ - count;
    }
    Fields part(size_t count) { return {take(count), count}; }
    Fields rest() { return part(left()); }
    uint64_t little(int bytes) {
        const uint8_t* p = take(size_t(bytes));
        uint64_t number = 0;
        for (int i = bytes; i--;) number = number << 8 | p[i];
        return number;
    }
    uint8_t u8() { return *take(1); }
    uint16_t u16() { return uint16_t(little(2)); }
    uint32_t u32() { return uint32_t(little(4)); }
    // docs/format.md, first table.
    uint64_t varint() {
        uint64_t number = 0;
        for (int shift = 0; shift < 63; shift += 7) {
            const uint8_t byte = u8();
            number |= uint64_t(byte & 127) << shift;
            if (byte < 128) {
                check(byte || !shift, "a number takes more bytes than it needs");
                return number;
            }
        }
        fail("a number is too large");
    }

private:
    const uint8_t *at_, *end_;
};

uint32_t crc32(const uint8_t* data, size_t size, uint32_t before = 0);

}  // namespace web
