#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include "direct.hpp"
#include "exact.hpp"
#include "jpeg_coefficients.hpp"
#include "jpeg_pixels.hpp"
#include "model.hpp"
#include "stream.hpp"
#include "tables.hpp"

namespace web {

using namespace neuralcodec;

namespace {

enum : int { half_rows = 1, half_columns = 2, fancy = 4, has_exceptions = 8, below = 16, right = 32 };
constexpr int64_t luma[64] = {16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,
                              14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,
                              18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,
                              49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};
constexpr int64_t chroma[64] = {17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
                                24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
                                99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
                                99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99};

// Frequencies 8 u + v by u + v, and of equal ones by u, rising where u + v is odd.
std::array<int, 64> zigzag() {
    std::array<int, 64> order;
    int at = 0;
    for (int sum = 0; sum < 15; sum++)
        for (int i = 0; i <= sum; i++) {
            const int u = sum % 2 ? i : sum - i, v = sum - u;
            if (u < 8 && v < 8) order[size_t(at++)] = 8 * u + v;
        }
    return order;
}

// Weights and tables that are part of the format.
struct Weights {
    Numbers mean_sizes, mean_edges, sizes, edges;
    std::vector<uint32_t> frequencies;  // to begin with

    explicit Weights(Fields fields)
        : mean_sizes(read(fields, 2 * 3 * jpeg::features)),
          mean_edges(read(fields, 2 * 3 * jpeg::edges)),
          sizes(read(fields, 3 * 2 * 64 * jpeg::features)),
          edges(read(fields, 3 * 2 * 64 * jpeg::edges)) {
        for (int i = 0; i < jpeg::table_count * jpeg::table_symbols; i++) frequencies.push_back(fields.u16());
    }

    AdaptiveTables tables() const { return {frequencies.data(), {jpeg::table_count, jpeg::table_symbols}, 16}; }

    jpeg::Weights mean(int row) const { return {&mean_sizes[size_t(row * jpeg::features)], &mean_edges[size_t(row * jpeg::edges)]}; }
    jpeg::Weights of(int row) const { return {&sizes[size_t(row * jpeg::features)], &edges[size_t(row * jpeg::edges)]}; }

private:
    static Numbers read(Fields& fields, size_t count) {
        Numbers numbers;
        for (size_t i = 0; i < count; i++) numbers.push_back(int16_t(fields.u16()));
        return numbers;
    }
};

std::vector<int64_t> read_steps(Fields& fields, const int64_t* base) {
    const int quality = fields.u8();
    check(quality <= 100, damaged);
    std::vector<int64_t> steps(64);
    if (quality) {
        const int64_t p = quality < 50 ? 5000 / quality : 200 - 2 * quality;
        for (size_t i = 0; i < 64; i++) steps[i] = std::clamp<int64_t>((base[i] * p + 50) / 100, 1, 255);
        return steps;
    }
    for (int frequency : zigzag()) {
        steps[size_t(frequency)] = int64_t(fields.varint());
        check(steps[size_t(frequency)] >= 1 && steps[size_t(frequency)] <= 255, damaged);
    }
    return steps;
}

void decode_step(Stream& stream, const JpegStep& step) {
    if (!step.size()) return;
    const Numbers symbols = stream.symbols(step), low = stream.digits(step.radix());
    const size_t ends = size_t(std::count_if(symbols.begin(), symbols.end(),
                                             [](int64_t symbol) { return symbol == 0 || symbol == jpeg::table_symbols - 1; }));
    const Numbers octaves = stream.digits(16, ends);
    std::vector<uint32_t> radices;
    for (int64_t octave : octaves) radices.push_back(uint32_t(1) << octave);
    const Numbers beyond = stream.digits(radices);
    const auto of = [](const Numbers& numbers) { return JpegStep::Numbers{numbers.data(), numbers.size()}; };
    check(step.accept(of(symbols), of(low), of(octaves), of(beyond)), damaged);
}

// docs/format.md: Exceptions (of JPEG).
struct Exceptions {
    uint32_t ends[2][3];  // of the shares of inner tiles and of those at edges
    uint8_t shapes[24];

    explicit Exceptions(Fields& fields) {
        for (auto& of : ends) {
            const uint32_t first = fields.u16(), second = fields.u16();
            check(first && second && first + second < 1 << 16, damaged);
            of[2] = 1 << 16, of[1] = of[2] - second, of[0] = of[1] - first;
        }
        for (uint8_t& shape : shapes) check((shape = fields.u8()) < 70, damaged);
    }

    void mend(Stream& stream, uint8_t* pixels, const ImageShape& shape) const {
        const int rows = (shape.height + 7) / 8, columns = (shape.width + 7) / 8;
        Numbers edges;
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++) edges.push_back(y == 0 || y == rows - 1 || x == 0 || x == columns - 1);
        const FrequencyTables tables(ends[0], {2, 3}, 16);
        const Numbers classes = stream.symbols(TableItems(tables, edges.data(), ptrdiff_t(edges.size())));
        struct Wrong {
            uint8_t* pixel;
            int context;
        };
        std::vector<Wrong> wrong;
        for (int y = 0; y < shape.height; y++)
            for (int x = 0; x < shape.width; x++)
                if (const int64_t of = classes[size_t(y / 8 * columns + x / 8)])
                    wrong.push_back({pixels + (size_t(y) * size_t(shape.width) + size_t(x)) * size_t(shape.bands),
                                     int(12 * (of - 1)) + 6 * (y == shape.height - 1 || x == shape.width - 1)});
        Numbers first;
        for (int number = 0; number < shape.bands; number++) {
            Numbers moves = differences(stream, wrong.size(), [&](size_t i) {
                return shapes[wrong[i].context + 2 * number + (number && first[i] == 0)];
            });
            const int band = shape.bands == 3 && number < 2 ? 1 - number : number;
            for (size_t i = 0; i < moves.size(); i++) {
                wrong[i].pixel[band] = uint8_t(wrong[i].pixel[band] + moves[i] + (number ? first[i] : 0));
            }
            if (!number) first = moves;
        }
    }

private:
    template <class ShapeOf>
    static Numbers differences(Stream& stream, size_t count, const ShapeOf& shape_of) {
        static constexpr int logits[] = {-96, -64, -40, -16, 8, 32, 256};
        std::vector<int32_t> weights(2 * count), centres(2 * count, 128 * 64), scales(2 * count, -80);
        for (size_t i = 0; i < count; i++) {
            const int shape = shape_of(i), logit = logits[shape / 10];
            // Of the narrow and of the wide one, whose log2-weights are 0 and -logit.
            const int64_t less = exact().powers[size_t(std::min(std::abs(logit), 256))], most = exact().powers[0];
            const int32_t share = int32_t((less << 16) / (less + most));
            weights[i] = logit >= 0 ? (1 << 16) - share : share;
            weights[count + i] = (1 << 16) - weights[i];
            scales[count + i] = -32 + 16 * (shape % 10);
        }
        Numbers found = stream.values(Mixtures(kernels.mixtures, {exact().logistic, weights.data(), centres.data(), scales.data(),
                                                                  ptrdiff_t(count), 2, 255, false, false}));
        for (int64_t& value : found) value -= 128;
        return found;
    }
};

}  // namespace

std::vector<uint8_t> decode_jpeg(Fields body, const ImageShape& shape, Fields told_weights) {
    const Weights weights(told_weights);
    const int mode = body.u8(), top = body.u8(), left = body.u8(), bands = shape.bands;
    const int v = mode & half_rows ? 2 : 1, h = mode & half_columns ? 2 : 1;
    check((bands == 1 || bands == 3) && mode < 64 && (bands == 3 || !(mode & ~has_exceptions)) && top < 8 * v && left < 8 * h &&
              (!(mode & fancy) || v * h > 1) && (!(mode & below) || (mode & fancy && v > 1)) &&
              (!(mode & right) || (mode & fancy && h > 1)),
          damaged);
    std::vector<std::vector<int64_t>> steps;
    for (int table = 0; table < (bands == 3 ? 2 : 1); table++) steps.push_back(read_steps(body, table ? chroma : luma));
    std::optional<Exceptions> exceptions;
    if (mode & has_exceptions) exceptions.emplace(body);
    Stream stream(body.rest());

    struct Plane {
        int rows, columns, block_rows, block_columns;
        std::vector<int16_t> coefficients;
    };
    AdaptiveTables tables[] = {weights.tables(), weights.tables()};  // of luma, and of chroma
    std::vector<Plane> planes;
    std::vector<std::unique_ptr<JpegComponent>> components;
    std::vector<const JpegComponent*> known;
    for (int c = 0; c < bands; c++) {
        Plane plane{top + shape.height, left + shape.width, 0, 0, {}};
        if (c) {
            plane.rows = (plane.rows + v - 1) / v + bool(mode & below);
            plane.columns = (plane.columns + h - 1) / h + bool(mode & right);
        }
        plane.block_rows = (plane.rows + 7) / 8, plane.block_columns = (plane.columns + 7) / 8;
        plane.coefficients.resize(64 * size_t(plane.block_rows) * size_t(plane.block_columns));
        planes.push_back(std::move(plane));
    }
    for (int c = 0; c < bands; c++) {
        Plane& plane = planes[size_t(c)];
        components.push_back(std::make_unique<JpegComponent>(tables[c ? 1 : 0], plane.block_rows, plane.block_columns,
                                                             steps[c ? 1 : 0].data(), plane.coefficients.data()));
        known.push_back(components.back().get());
        for (size_t i = 0; i < components.back()->means().size(); i++)
            decode_step(stream, components.back()->mean(i, weights.mean((c ? 3 : 0) + components.back()->means()[i].kind)));
    }
    for (int frequency : zigzag())
        for (int c = 0; frequency && c < bands; c++)
            for (int part = 0; part < 2; part++)
                decode_step(stream, components[size_t(c)]->step(frequency, part, {known.begin(), known.begin() + c},
                                                                weights.of((2 * c + part) * 64 + frequency)));

    std::vector<std::vector<uint8_t>> parts;
    for (int c = 0; c < bands; c++) {
        const Plane& plane = planes[size_t(c)];
        const std::vector<int64_t> coefficients(plane.coefficients.begin(), plane.coefficients.end());
        std::vector<uint8_t> samples(plane.coefficients.size());
        jpeg_samples(coefficients.data(), steps[c ? 1 : 0].data(), plane.block_rows, plane.block_columns, samples.data());
        parts.emplace_back(size_t(shape.height) * size_t(shape.width));
        jpeg_enlarge({samples.data(), plane.rows, plane.columns, 8 * plane.block_columns},
                     {c ? v : 1, c ? h : 1, bool(mode & fancy), top, left, shape.height, shape.width}, parts.back().data());
    }
    std::vector<uint8_t> pixels = parts[0];
    if (bands == 3) {
        pixels.resize(shape.count());
        jpeg_rgb(parts[0].data(), parts[1].data(), parts[2].data(), ptrdiff_t(parts[0].size()), pixels.data());
    }
    if (exceptions) exceptions->mend(stream, pixels.data(), shape);
    check(crc32(pixels.data(), pixels.size()) == stream.told(), "the samples differ from their checksum: the file is damaged");
    return pixels;
}

}  // namespace web
