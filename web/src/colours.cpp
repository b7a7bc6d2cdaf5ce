#include "colours.hpp"

#include <algorithm>

namespace web {
namespace {

constexpr int photocd = 2, opencv601 = 6;
constexpr int first_lattice = 8;  // added to the number of a conversion whose lattice is a prior

// `div` of the page: rounded down.
int32_t div(int32_t n, int32_t by) { return n / by - (n % by < 0); }

void convert(const Conversion& by, uint8_t* pixel) {
    const int32_t y = pixel[1], cr = 255 + pixel[0] - y, cb = 255 + pixel[2] - y, luma = by.luma[y];
    const auto sample = [&](int32_t chroma) { return uint8_t(std::clamp(div(luma + chroma, by.unit), 0, 255)); };
    pixel[0] = sample(by.red[cr]);
    pixel[1] = sample(by.green_cb[cb] + by.green_cr[cr]);
    pixel[2] = sample(by.blue[cb]);
}

bool is_clipped(const uint8_t* pixel) {
    return std::any_of(pixel, pixel + 3, [](uint8_t channel) { return channel == 0 || channel == 255; });
}

}  // namespace

Conversion::Conversion(int number) {
    struct Row {
        int32_t unit, luma, black, rest, red, blue, green_cb, green_cr;
        int shift;
    };
    // In the order of the page: JPEG, PHOTOCD, BT601, BT709, FULL601, OPENCV601.
    static constexpr Row rows[conversions] = {
        {1 << 16, 1 << 16, 0, 1 << 15, 91881, 116130, -22554, -46802, 0},
        {10000, 13584, 0, 0, 18215, 22179, -1940, -5090, 0},
        {1, 9539, 16, 0, 13075, 16525, -3209, -6660, 13},
        {1, 9539, 16, 0, 14686, 17305, -1747, -4366, 13},
        {1, 1 << 13, 0, 0, 11485, 14516, -2819, -5850, 13},
        {1 << 20, 1220542, 16, 1 << 19, 1673527, 2116026, -409993, -852492, 0},
    };
    const Row& row = rows[number - 1];
    unit = row.unit;
    for (int y = 0; y < 256; y++) {
        const int32_t above = number == opencv601 ? std::max(0, y - row.black) : y - row.black;
        luma[y] = (row.luma * above >> row.shift) + row.rest;
    }
    for (int i = 0; i < chromas; i++) {
        const int32_t chroma = i - 255;
        red[i] = row.red * chroma >> row.shift;
        blue[i] = row.blue * chroma >> row.shift;
        // PHOTOCD's green is of what red and blue are in steps of RGB.
        green_cb[i] = row.green_cb * (number == photocd ? div(blue[i], unit) : chroma) >> row.shift;
        green_cr[i] = row.green_cr * (number == photocd ? div(red[i], unit) : chroma) >> row.shift;
    }
}

const Conversion& conversion(int number) {
    static const Conversion* found[conversions];
    const Conversion*& made = found[number - 1];
    if (!made) made = new Conversion(number);
    return *made;
}

Colours::Colours(Fields& fields, bool lattices) : conversion_(fields.u8()) {
    if (lattices && conversion_ > first_lattice && conversion_ <= first_lattice + conversions) {
        lattice_ = conversion_ - first_lattice, conversion_ = 0;
        return;
    }
    check(conversion_ <= conversions, "a colour conversion is not known: the file is damaged, or newer than this page");
    if (!conversion_) return;
    const uint64_t size = fields.varint();
    if (!size) return;
    Fields part = fields.part(size);
    for (uint64_t& count : counts_) count = part.varint();
    stream_ = std::make_unique<Stream>(part);
}

void Colours::to_rgb(uint8_t* pixels, int rows, int columns, int level) {
    if (!conversion_) return;
    const size_t count = size_t((rows + (1 << level) - 1) >> level) * size_t((columns + (1 << level) - 1) >> level);
    const Conversion& by = conversion(conversion_);
    for (size_t i = 0; i < count; i++) convert(by, pixels + 3 * i);
    for (uint64_t of_class : counts_) check(of_class <= uint64_t(rows) * uint64_t(columns), damaged);
    if (stream_) read_exceptions();
    if (exceptions_[0].size() + exceptions_[1].size()) add_exceptions(pixels, rows, columns, level);
}

void Colours::read_exceptions() {
    for (int of = 0; of < 2; of++) {
        int64_t at = -1;
        for (int64_t gap : stream_->number_list(size_t(counts_[of]), 32)) {
            at += 1 + gap;
            check(at < int64_t(1) << 32, damaged);
            exceptions_[of].push_back({uint32_t(at), {}});
        }
    }
    const Numbers symbols = stream_->list(exceptions_[0].size() + exceptions_[1].size(), 27);
    const Numbers others = stream_->digits(256, 3 * size_t(std::count(symbols.begin(), symbols.end(), 13)));
    check(stream_->told() == 0, damaged);
    size_t next = 0, other = 0;
    for (auto& of_class : exceptions_)
        for (Exception& exception : of_class) {
            const int64_t symbol = symbols[next++], moves[] = {symbol / 9 - 1, symbol / 3 % 3 - 1, symbol % 3 - 1};
            for (int i = 0; i < 3; i++) exception.moves[i] = uint8_t(symbol == 13 ? others[other++] : moves[i]);
        }
    stream_.reset();
}

// Pixels come in the order of exceptions: by level, the coarsest first, and of each class those of the levels that there
// are come before all others.
void Colours::add_exceptions(uint8_t* pixels, int rows, int columns, int level) {
    const int width = (columns + (1 << level) - 1) >> level;
    uint32_t seen[2] = {};
    size_t next[2] = {};
    for (int k = 5; k >= level; k--)
        for (int y = 0; y < rows; y += 1 << k)
            for (int x = 0; x < columns; x += 1 << k) {
                if (k < 5 && !((x | y) & ((2 << k) - 1))) continue;
                uint8_t* pixel = pixels + 3 * (size_t(y >> level) * size_t(width) + size_t(x >> level));
                const bool of = is_clipped(pixel);
                if (next[of] < exceptions_[of].size() && exceptions_[of][next[of]].number == seen[of])
                    for (int i = 0; i < 3; i++) pixel[i] = uint8_t(pixel[i] + exceptions_[of][next[of]].moves[i]), next[of] += i == 2;
                seen[of]++;
            }
    check(level || (next[0] == exceptions_[0].size() && next[1] == exceptions_[1].size()), damaged);
}

std::vector<uint8_t> decode_chain(Fields payload, const ImageShape& shape, bool lattices,
                                  const std::function<std::vector<uint8_t>(Fields, const Colours&)>& decode) {
    Colours colours;
    uint32_t crc = 0;
    if (shape.bands == 3) colours = Colours(payload, lattices);
    if (colours) crc = payload.u32();
    std::vector<uint8_t> samples = decode(payload, colours);
    if (!colours) return samples;
    colours.to_rgb(samples.data(), shape.height, shape.width, 0);
    check(crc32(samples.data(), samples.size()) == crc, "the pixels of a chain differ from their checksum: the file is damaged");
    return samples;
}

}  // namespace web
