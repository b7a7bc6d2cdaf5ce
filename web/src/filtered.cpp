#include <algorithm>
#include <cstring>

#include "direct.hpp"
#include "filters.hpp"
#include "lzma2.hpp"

namespace web {

using namespace neuralcodec;

namespace {

// What the first byte says, and what follows from it.
struct Arrangement {
    int view;  // 0 samples, 1 bytes of them, 2 indices
    bool green, planar;
    int filter;                       // 7: each row names its own
    size_t colours = 0;
    int depth = 8;                    // bits of an index
    size_t columns, channels, wide;  // of rows as they are filtered: numbers of `wide` bytes

    Arrangement(Fields& fields, const ImageShape& shape, size_t size)
        : columns(size_t(shape.width)), channels(size_t(shape.bands)), wide(size) {
        const int flags = fields.u8();
        view = flags & 3, green = flags & 4, planar = flags & 8, filter = flags >> 4;
        check(view < 3 && (filter < 4 || filter == 7) && fields.u8() < 4 && (!view || !(green || planar)) &&
                  (shape.bands >= 3 || !green),
              damaged);
        if (view == 1) channels *= size, wide = 1;
        if (view != 2) return;
        colours = size_t(fields.u8()) + 1;
        depth = colours <= 2 ? 1 : colours <= 4 ? 2 : colours <= 16 ? 4 : 8;
        columns = (columns * size_t(depth) + 7) / 8, channels = 1, wide = 1;
    }
    size_t row() const { return columns * channels * wide; }
};

template <class T>
void restore(uint8_t* rows, const Arrangement& a, const ImageShape& shape, const std::vector<uint8_t>& filters) {
    // Bytes of malloc are aligned for any number.
    T* numbers = reinterpret_cast<T*>(rows);
    unfilter_rows(numbers, {shape.height, ptrdiff_t(a.columns), ptrdiff_t(a.channels)}, filters.data());
    const size_t pixels = size_t(shape.height) * a.columns;
    for (size_t i = 0; a.green && i < pixels; i++, numbers += a.channels)
        numbers[0] = T(numbers[0] + numbers[1]), numbers[2] = T(numbers[2] + numbers[1]);
}

// A planar row has the bytes of a band together, the low ones first.
void interleave(const uint8_t* from, const Arrangement& a, uint8_t* to) {
    for (size_t c = 0; c < a.channels; c++)
        for (size_t byte = 0; byte < a.wide; byte++)
            for (size_t x = 0; x < a.columns; x++) to[(x * a.channels + c) * a.wide + byte] = *from++;
}

}  // namespace

std::vector<uint8_t> decode_filtered(Fields body, const ImageShape& shape, int size) {
    const Arrangement a(body, shape, size_t(size));
    const size_t height = size_t(shape.height), pixel = size_t(shape.bands) * size_t(size);
    const size_t named = a.filter == 7 ? height : 0, palette = a.colours * pixel;
    const std::vector<uint8_t> unpacked = unpack_lzma2(body.rest(), palette + named + height * a.row());
    std::vector<uint8_t> filters(height, uint8_t(a.filter));
    std::copy_n(unpacked.data() + palette, named, filters.data());
    for (uint8_t filter : filters) check(filter < 4, damaged);
    std::vector<uint8_t> rows(height * a.row());
    for (size_t y = 0; y < height; y++) {
        const uint8_t* row = unpacked.data() + palette + named + y * a.row();
        if (a.planar)
            interleave(row, a, rows.data() + y * a.row());
        else
            std::copy_n(row, a.row(), rows.data() + y * a.row());
    }
    (a.wide == 1 ? restore<uint8_t> : a.wide == 2 ? restore<uint16_t> : restore<uint32_t>)(rows.data(), a, shape, filters);
    if (a.view != 2) return rows;
    std::vector<uint8_t> samples;
    samples.reserve(shape.count() * size_t(size));
    for (size_t y = 0; y < height; y++)
        for (int x = 0; x < shape.width; x++) {
            const int bit = x * a.depth;
            const size_t index = rows[y * a.row() + size_t(bit / 8)] >> (8 - a.depth - bit % 8) & ((1 << a.depth) - 1);
            check(index < a.colours, damaged);
            const uint8_t* colour = unpacked.data() + index * pixel;
            samples.insert(samples.end(), colour, colour + pixel);
        }
    return samples;
}

}  // namespace web
