#include "direct.hpp"

namespace web {

std::vector<uint8_t> decode_raw(Fields payload, const ImageShape& shape, int size) {
    check(payload.left() > 4, damaged);
    Fields body = payload.part(payload.left() - 4);
    const uint32_t crc = payload.u32();
    const int depth = body.u8();
    const uint64_t count = shape.count(), bytes = (count * uint64_t(depth) + 7) / 8;
    const bool whole = depth == 8 * size;
    check((whole || (size < 4 && depth > 0 && depth < 8 * size)) && body.left() == bytes, damaged);
    const uint8_t* data = body.take(size_t(bytes));
    std::vector<uint8_t> samples;
    if (whole) {
        samples.assign(data, data + bytes);
    } else {
        samples.reserve(size_t(count) * size_t(size));
        uint32_t bits = 0;
        int held = 0;
        for (uint64_t i = 0; i < count; i++) {
            for (; held < depth; held += 8) bits = bits << 8 | *data++;
            held -= depth;
            const uint32_t sample = bits >> held & ((uint32_t(1) << depth) - 1);
            for (int byte = 0; byte < size; byte++) samples.push_back(uint8_t(sample >> 8 * byte));
        }
        check(!(bits & ((uint32_t(1) << held) - 1)), damaged);
    }
    check(crc32(samples.data(), samples.size()) == crc, "the samples differ from their checksum: the file is damaged");
    return samples;
}

}  // namespace web
