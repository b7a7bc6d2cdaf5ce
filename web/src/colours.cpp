#include "colours.hpp"

#include <algorithm>

namespace web {
namespace {

// `div` of the page: rounded down.
int32_t div(int32_t n, int32_t by) { return n / by - (n % by < 0); }

uint8_t byte(int32_t n) { return uint8_t(std::clamp(n, 0, 255)); }

void convert(int conversion, uint8_t* pixel) {
    const int32_t y = pixel[1], cr = pixel[0] - y, cb = pixel[2] - y;
    const auto tv = [&](int red, int green_blue, int green_red, int blue) {
        const int32_t luma = 9539 * (y - 16) >> 13;
        pixel[0] = byte(luma + (red * cr >> 13));
        pixel[1] = byte(luma + (green_blue * cb >> 13) + (green_red * cr >> 13));
        pixel[2] = byte(luma + (blue * cb >> 13));
    };
    switch (conversion) {
        case 1: {
            const int32_t luma = (y << 16) + (1 << 15);
            pixel[0] = byte((luma + 91881 * cr) >> 16);
            pixel[1] = byte((luma - 22554 * cb - 46802 * cr) >> 16);
            pixel[2] = byte((luma + 116130 * cb) >> 16);
            break;
        }
        case 2: {
            const int32_t luma = 13584 * y, r = 18215 * cr, b = 22179 * cb;
            pixel[0] = byte(div(luma + r, 10000));
            pixel[1] = byte(div(luma - 1940 * div(b, 10000) - 5090 * div(r, 10000), 10000));
            pixel[2] = byte(div(luma + b, 10000));
            break;
        }
        case 3:
            return tv(13075, -3209, -6660, 16525);
        case 4:
            return tv(14686, -1747, -4366, 17305);
        case 5:
            pixel[0] = byte(y + (11485 * cr >> 13));
            pixel[1] = byte(y + (-2819 * cb >> 13) + (-5850 * cr >> 13));
            pixel[2] = byte(y + (14516 * cb >> 13));
            break;
        default: {
            const int64_t luma = int64_t(1220542) * std::max(0, y - 16) + (1 << 19);
            pixel[0] = byte(int32_t((luma + int64_t(1673527) * cr) >> 20));
            pixel[1] = byte(int32_t((luma - int64_t(409993) * cb - int64_t(852492) * cr) >> 20));
            pixel[2] = byte(int32_t((luma + int64_t(2116026) * cb) >> 20));
        }
    }
}

bool is_clipped(const uint8_t* pixel) {
    return std::any_of(pixel, pixel + 3, [](uint8_t channel) { return channel == 0 || channel == 255; });
}

}  // namespace

Colours::Colours(Fields& fields) : conversion_(fields.u8()) {
    check(conversion_ <= 6, "a colour conversion is not known: the file is damaged, or newer than this page");
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
    for (size_t i = 0; i < count; i++) convert(conversion_, pixels + 3 * i);
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

std::vector<uint8_t> decode_chain(Fields payload, const ImageShape& shape,
                                  const std::function<std::vector<uint8_t>(Fields)>& decode) {
    Colours colours;
    uint32_t crc = 0;
    if (shape.bands == 3) colours = Colours(payload);
    if (colours) crc = payload.u32();
    std::vector<uint8_t> samples = decode(payload);
    if (!colours) return samples;
    colours.to_rgb(samples.data(), shape.height, shape.width, 0);
    check(crc32(samples.data(), samples.size()) == crc, "the pixels of a chain differ from their checksum: the file is damaged");
    return samples;
}

}  // namespace web
