#include "direct.hpp"

#include <algorithm>
#include <cmath>

#include "model.hpp"
#include "stream.hpp"
#include "tables.hpp"

namespace web {

using namespace neuralcodec;

namespace {

constexpr int levels = predictor::levels, symbols = predictor::symbols, explicit_kind = 5, bits = 18;
constexpr uint32_t total = 1 << bits;

// Rounded down; exact, as doubles hold what is below 2**53, and its square root is far enough from the next integer.
uint64_t isqrt(uint64_t n) { return uint64_t(std::sqrt(double(n))); }

struct Prepared {
    std::vector<uint32_t> weights;
    std::vector<uint8_t> of_activity;

    Prepared() {
        for (uint64_t e = 0; e < predictor::miss_sums; e++)
            weights.push_back(uint32_t(isqrt((uint64_t(1) << 47) / ((e + 4) * (e + 4) * (e + 4)))));
        for (uint64_t a = 4, level = 0; level + 1 < levels; a++) {
            while (level + 1 < levels && a * a * a >= uint64_t(1) << (7 + level)) level++;
            of_activity.push_back(uint8_t(level));
        }
    }
    predictor::Tables tables() const { return {weights.data(), of_activity.data(), ptrdiff_t(of_activity.size())}; }
};

const Prepared& prepared() {
    static const Prepared* found = new Prepared;
    return *found;
}

// Frequencies of a table; those of `weights` 0 in `absent` are 0.
std::vector<uint32_t> normalised(const std::vector<uint64_t>& weights, bool keeps_zeros) {
    uint64_t sum = 0;
    for (uint64_t weight : weights) sum += weight;
    std::vector<uint32_t> frequencies;
    uint32_t left = total;
    for (uint64_t weight : weights) {
        frequencies.push_back(keeps_zeros && !weight ? 0 : std::max<uint32_t>(1, uint32_t(weight * (total - symbols) / sum)));
        left -= frequencies.back();
    }
    frequencies[size_t(std::max_element(weights.begin(), weights.end()) - weights.begin())] += left;
    return frequencies;
}

std::vector<uint32_t> family(int kind, int scale) {
    constexpr uint64_t shapes[] = {1, 2, 3, 5, 12};
    check(scale >= 0 && scale <= 50, damaged);
    const uint64_t m = shapes[kind], s = isqrt(uint64_t(1) << (scale + 8));
    std::vector<uint64_t> weights;
    for (int64_t x = -128; x < 128; x++) {
        const uint64_t ratio = (m * s << 30) / (m * s + uint64_t(x * x << 12));
        uint64_t weight = ratio;
        for (uint64_t i = 1; i < m; i++) weight = weight * ratio >> 30;
        weights.push_back(weight);
    }
    return normalised(weights, false);
}

std::vector<uint32_t> told_table(const Numbers& codes) {
    std::vector<uint64_t> weights;
    for (int64_t code : codes) {
        check(code >= 0 && code < 64, damaged);
        // The root of the root of 2**(code + 32): the inner one is exact up to 2**48, which is as much as the outer one sees.
        weights.push_back(code ? uint64_t(std::sqrt(std::floor(std::sqrt(std::ldexp(1.0, int(code) + 32))))) : 0);
    }
    check(std::any_of(weights.begin(), weights.end(), [](uint64_t weight) { return weight > 0; }), damaged);
    return normalised(weights, true);
}

std::vector<uint32_t> ends_of(const std::vector<uint32_t>& frequencies) {
    std::vector<uint32_t> ends;
    uint32_t end = 0;
    for (uint32_t frequency : frequencies) ends.push_back(end += frequency);
    return ends;
}

Numbers from_table(Stream& stream, const std::vector<uint32_t>& frequencies, size_t count) {
    const auto ends = ends_of(frequencies);
    const FrequencyTables table(ends.data(), {1, ptrdiff_t(ends.size())}, bits);
    const Numbers rows(count);
    return stream.symbols(TableItems(table, rows.data(), ptrdiff_t(count)));
}

Numbers moves(Stream& stream, size_t count) {
    Numbers found = from_table(stream, family(1, 17), count);
    for (int64_t& move : found) move -= 128;
    return found;
}

// All tables below each other, and which of them each level of each band has.
struct Tables {
    std::vector<uint32_t> ends;
    Numbers choices;

    Tables(Stream& stream, int bands) {
        const Numbers ranges = stream.digits(levels, 2 * size_t(bands));
        size_t count = 0, scaled = 0;
        for (size_t i = 0; i < ranges.size(); i += 2) {
            check(ranges[i] <= ranges[i + 1], damaged);
            count += size_t(ranges[i + 1] - ranges[i] + 1);
        }
        Numbers kinds = from_table(stream, {27 << 13, 1 << 13, 1 << 13, 1 << 13, 1 << 13, 1 << 13}, count);
        int64_t kind = 0;
        for (int64_t& change : kinds) change = kind = (kind + change) % 6, scaled += kind != explicit_kind;
        const Numbers steps = moves(stream, scaled);

        size_t at = 0, step = 0;
        for (size_t band = 0; band < size_t(bands); band++) {
            const int64_t low = ranges[2 * band], high = ranges[2 * band + 1];
            int64_t scale = low * 4 / 3 + 4;
            const int64_t first = int64_t(at);
            for (int64_t level = low; level <= high; level++, at++) {
                scale += 1 + (kinds[at] == explicit_kind ? 0 : steps[step++]);
                add(kinds[at] == explicit_kind ? std::vector<uint32_t>(symbols) : family(int(kinds[at]), int(scale)));
            }
            for (int64_t level = 0; level < levels; level++) choices.push_back(first + std::clamp(level, low, high) - low);
        }
        for (size_t i = 0; i < count; i++) {
            if (kinds[i] != explicit_kind) continue;
            const Numbers edges = stream.digits(256, 2);
            check(edges[0] <= edges[1], damaged);
            Numbers codes(symbols);
            int64_t code = 0, residual = edges[0];
            for (int64_t move : moves(stream, size_t(edges[1] - edges[0] + 1))) codes[size_t(residual++)] = code += move;
            const auto told = ends_of(told_table(codes));
            std::copy(told.begin(), told.end(), ends.begin() + ptrdiff_t(i * symbols));
        }
    }

private:
    void add(const std::vector<uint32_t>& frequencies) {
        const auto more = ends_of(frequencies);
        ends.insert(ends.end(), more.begin(), more.end());
    }
};

}  // namespace

std::vector<uint8_t> decode_predictor(Fields body, const ImageShape& shape) {
    const auto [height, width, bands] = shape;
    const bool transposed = height > width;
    const int64_t rows = transposed ? width : height, columns = transposed ? height : width;
    check(columns + 2 * rows <= 1024 + rows * columns / 16, damaged);
    std::vector<uint8_t> samples(shape.count());
    std::vector<int> order;
    for (int band = 0; band < shape.bands; band++) order.push_back(shape.bands >= 3 && band < 2 ? 1 - band : band);
    const ptrdiff_t row_stride = transposed ? bands : ptrdiff_t(width) * bands;
    const ptrdiff_t column_stride = transposed ? ptrdiff_t(width) * bands : bands;

    const int64_t strips = (rows * columns + (1 << 22) - 1) >> 22;
    for (int64_t strip = 0; strip < strips; strip++) {
        const int64_t top = rows * strip / strips, bottom = rows * (strip + 1) / strips;
        Stream stream(strip + 1 < strips ? body.part(size_t(body.varint())) : body.rest());
        const Tables tables(stream, bands);
        const FrequencyTables frequencies(tables.ends.data(), {ptrdiff_t(tables.ends.size()) / symbols, symbols}, bits);
        const PredictorImage<uint8_t> image{samples.data() + top * row_stride, ptrdiff_t(bottom - top), ptrdiff_t(columns),
                                            row_stride, column_stride, 1, order};
        PredictorDecoder decoder(kernels.predictor, prepared().tables(), frequencies, tables.choices.data(), image);
        stream.runs(size_t((bottom - top) * columns * shape.bands), [&](ptrdiff_t from, ptrdiff_t to) {
            Lanes lanes = stream.lanes();
            check(decoder.pop(lanes, to - from), damaged);
            stream.set_size(lanes.size);
        });
        // The checksum is of the strip's samples row by row, as they are coded.
        std::vector<uint8_t> coded;
        coded.reserve(size_t((bottom - top) * columns * bands));
        for (int64_t y = top; y < bottom; y++)
            for (int64_t x = 0; x < columns; x++) {
                const uint8_t* pixel = samples.data() + y * row_stride + x * column_stride;
                coded.insert(coded.end(), pixel, pixel + bands);
            }
        check(crc32(coded.data(), coded.size()) == stream.told(), "the samples differ from their checksum: the file is damaged");
    }
    return samples;
}

}  // namespace web
