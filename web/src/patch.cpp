#include "patch.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "colours.hpp"
#include "exact.hpp"
#include "knots.hpp"
#include "pyramid.hpp"
#include "scaling.hpp"

namespace web {

using namespace neuralcodec;

namespace {

constexpr int64_t most_pixels = 1 << 17;  // of blocks that are coded together
constexpr int most_side = 128, side_levels = 2, scale_bits = 10, most_octaves = 32, buckets = 8192;

const KnotTables& knot_tables() {
    static const KnotTables* found = [] {
        std::vector<int32_t> log;
        for (int i = 0; i <= knots::log_steps; i++)
            log.push_back(int32_t(std::round(std::ldexp(std::log1p(double(i) / knots::log_steps), knots::log_bits))));
        return new KnotTables(exact().logistic, log.data());
    }();
    return *found;
}

// The way back of an MST by up / down.
Numbers scaled_back(Stream& stream, const Numbers& values, const std::vector<uint32_t>& up, const std::vector<uint32_t>& down) {
    for (uint32_t factor : up) check(factor >= 1 && factor <= 1 << 16, damaged);
    const Numbers digits = stream.digits(down);
    Numbers quotients(values.size());
    std::vector<uint32_t> rests(values.size());
    scale(values.data(), digits.data(), {down.data(), 0}, {up.data(), 0}, ptrdiff_t(values.size()), quotients.data(), rests.data());
    stream.push(rests, {up.data(), 0});
    return quotients;
}

struct Block {
    int top, left, height, width;
    Component planes, part;  // of the level and of the stage
    Map features;
    std::unique_ptr<Member> member;
};

using Blocks = std::vector<Block*>;

class Patch {
public:
    Patch(const Model& model, Fields fields, const ImageShape& shape) : model_(model), shape_(shape) {
        std::vector<uint64_t> narrowings = Stream::read_narrowings(fields);
        const uint64_t height = fields.varint(), width = fields.varint(), side = fields.varint(), direct = fields.varint();
        check(height && width && height <= most_side && width <= most_side, damaged);
        cut_blocks(int(height), int(width));
        check(direct >= 1 && direct <= blocks_.size(), damaged);
        direct_ = size_t(direct);
        for (size_t at = direct_; at < blocks_.size(); at += batches_.back()) {
            const uint64_t size = fields.varint();
            check(size >= 1 && size <= blocks_.size() - at, damaged);
            const Block &first = *order_[at], &last = *order_[at + size - 1];
            check(first.height == last.height && first.width == last.width, damaged);
            check(size == 1 || int64_t(size) * first.height * first.width <= most_pixels, damaged);
            batches_.push_back(size_t(size));
        }
        if (side) {
            Stream stream(fields.part(side));
            for (int level = 0; level < side_levels; level++)
                for (int stage = 0; stage < 3; stage++)
                    for (int band = 0; band < shape.bands; band++) side_.emplace_back(stream, 1, band + bands::taps);
            check(stream.told() == 0, damaged);
        }
        stream_ = std::make_unique<Stream>(fields.rest(), std::move(narrowings));
    }

    // The samples of the planes.
    std::vector<uint8_t> decode() {
        size_t end = order_.size();
        borrows_ = true;
        for (size_t i = batches_.size(); i--; end -= batches_[i]) decode_together(end - batches_[i], end);
        borrows_ = false;
        stream_->begin_symbols();
        for (size_t begin = 0; begin < direct_;) {
            const Block& first = *order_[begin];
            size_t stop = begin + 1;
            const auto fits = [&](const Block& block) {
                return block.height == first.height && block.width == first.width &&
                       int64_t(stop + 1 - begin) * first.height * first.width <= most_pixels;
            };
            while (stop < direct_ && fits(*order_[stop])) stop++;
            decode_together(begin, stop);
            begin = stop;
        }
        const size_t bands = size_t(shape_.bands);
        std::vector<uint8_t> samples(shape_.count());
        for (const Block& block : blocks_)
            for (size_t band = 0; band < bands; band++)
                for (int y = 0; y < block.height; y++)
                    for (int x = 0; x < block.width; x++)
                        samples[(size_t(block.top + y) * size_t(shape_.width) + size_t(block.left + x)) * bands +
                                (bands == 3 && band < 2 ? 1 - band : band)] = uint8_t(block.planes.band(int(band))[y * block.width + x]);
        check(crc32(samples.data(), samples.size()) == stream_->told(),
              "the pixels of a chain differ from their checksum: the file is damaged");
        return samples;
    }

private:
    // Blocks in coding order: by shape, shapes in the order in which they appear.
    void cut_blocks(int height, int width) {
        std::vector<std::pair<int, int>> shapes;
        for (int top = 0; top < shape_.height; top += height)
            for (int left = 0; left < shape_.width; left += width) {
                blocks_.push_back({top, left, std::min(height, shape_.height - top), std::min(width, shape_.width - left), {}, {}, {}, {}});
                const std::pair<int, int> sides{blocks_.back().height, blocks_.back().width};
                if (std::find(shapes.begin(), shapes.end(), sides) == shapes.end()) shapes.push_back(sides);
            }
        for (const auto& sides : shapes)
            for (Block& block : blocks_)
                if (sides == std::pair{block.height, block.width}) order_.push_back(&block);
    }

    void decode_together(size_t begin, size_t end) {
        const Blocks blocks(order_.begin() + ptrdiff_t(begin), order_.begin() + ptrdiff_t(end));
        const int height = blocks[0]->height, width = blocks[0]->width;
        const Numbers coarsest = stream_->digits(256, blocks.size() * size_t(shape_.bands));
        for (size_t i = 0; i < blocks.size(); i++) {
            blocks[i]->planes = Component(1, 1);
            for (int band = 0; band < 3; band++)
                blocks[i]->planes.samples[size_t(band)] =
                    int32_t(coarsest[i * size_t(shape_.bands) + (shape_.bands == 3 ? size_t(band) : 0)]);
        }
        int level = 0;
        while (1 << level < std::max(height, width)) level++;
        while (level--) decode_level(blocks, level, (height + (1 << level) - 1) >> level, (width + (1 << level) - 1) >> level);
        for (Block* block : blocks) block->features.reset();
    }

    void decode_level(const Blocks& blocks, int level, int height, int width) {
        std::vector<Component> first;
        for (Block* block : blocks) {
            first.push_back(std::move(block->planes));
            if (level >= int(model_.blocks.size()) - 1) block->features.reset();
            if (block->features) block->features = block->features->upsampled(first.back().height, first.back().width, 0, 0);
            block->member = std::make_unique<Member>(model_, range_, level, transforms[0], first.back(), block->features, PositionInputs{});
            block->planes = Component(height, width);
            first.back().put(block->planes, 0);
        }
        for (int stage = 0; stage < 3; stage++) {
            const int index = stage + 1;
            const Component part((height + 1 - offsets[index][0]) / 2, (width + 1 - offsets[index][1]) / 2);
            for (Block* block : blocks) block->part = part;
            if (part.count()) decode_component(blocks, first, level, stage);
            for (size_t i = 0; i < blocks.size(); i++) {
                blocks[i]->part.put(blocks[i]->planes, index);
                blocks[i]->member->add(extended(blocks[i]->part, first[i]), index);
            }
        }
        for (Block* block : blocks) block->features = block->member->features, block->member.reset();
    }

    void decode_component(const Blocks& blocks, const std::vector<Component>& first, int level, int stage) {
        for (Block* block : blocks) block->member->predict();
        const Numbers noise = borrows_ ? noise_of(blocks) : Numbers();
        const size_t each = blocks[0]->part.count();
        for (int band = 0; band < shape_.bands; band++) {
            const Mixture mixture = mixture_of(blocks, level, stage, band);
            const size_t count = each * blocks.size();
            const Numbers values = borrows_ ? from_noise(mixture, noise, count, each, band) : from_symbols(mixture, count);
            for (size_t i = 0; i < blocks.size(); i++) {
                Component& part = blocks[i]->part;
                for (int as = band; as < (shape_.bands == 1 ? 3 : band + 1); as++)
                    std::copy_n(values.begin() + ptrdiff_t(i * each), each, part.band(as));
                if (band + 1 < shape_.bands) blocks[i]->member->accept(extended(part, first[i]), stage + 1);
            }
        }
    }

    // Of a band of all blocks, one after the other, with side information.
    Mixture mixture_of(const Blocks& blocks, int level, int stage, int band) {
        const size_t each = blocks[0]->part.count();
        const int parts = model_.mixtures;
        Mixture all{parts, {}, {}, {}};
        for (auto* numbers : {&all.weights, &all.centres, &all.scales}) numbers->resize(size_t(parts) * each * blocks.size());
        for (size_t i = 0; i < blocks.size(); i++) {
            const Prediction& own = blocks[i]->member->next_band();
            std::vector<int32_t> centres = own.copy(own.rows.centres), moves;
            if (level < side_levels && !side_.empty()) {
                const SideInformation& side = side_[size_t((3 * level + stage) * shape_.bands + band)];
                centres = own.centres(side.offsets), moves = side.moves;
            }
            const std::vector<uint8_t> classes(own.count);
            const auto scales = Prediction::limited(own.copy(own.rows.scales), parts, own.count, 0, classes, moves);
            const Component& planes = blocks[i]->part;
            const int width = (blocks[i]->planes.width + 1) / 2, height = int(own.count) / width;  // of `a`
            const auto put = [&](const int32_t* from, std::vector<int32_t>& to) {
                const auto some = cut(from, parts, height, width, planes.height, planes.width);
                for (size_t k = 0; k < size_t(parts); k++)
                    std::copy_n(some.begin() + ptrdiff_t(k * each), each, to.begin() + ptrdiff_t((k * blocks.size() + i) * each));
            };
            put(own.rows.weights, all.weights), put(centres.data(), all.centres), put(scales.data(), all.scales);
        }
        return all;
    }

    Numbers from_symbols(const Mixture& m, size_t count) {
        return stream_->values(Mixtures(kernels.mixtures, {exact().logistic, m.weights.data(), m.centres.data(), m.scales.data(),
                                                           ptrdiff_t(count), m.parts, 255, false, false}));
    }

    // Step 1 of a batch, backwards.
    Numbers from_noise(const Mixture& m, const Numbers& noise, size_t count, size_t each, int band) {
        Knots knots(knot_tables(), ptrdiff_t(count), m.parts, model_.frac, 1);
        knots.set(m.weights.data(), m.centres.data(), m.scales.data());
        Numbers values(count);
        std::vector<Line> lines(count);
        std::vector<uint32_t> up(count), down(count);
        for (size_t i = 0; i < count; i++) {
            const size_t block = i / each;
            const int64_t z = noise[(block * size_t(shape_.bands) + size_t(band)) * each + i % each];
            lines[i] = knots.line_of(ptrdiff_t(i), z);
            values[i] = z - lines[i].image, up[i] = lines[i].up, down[i] = lines[i].down;
        }
        Numbers places = scaled_back(*stream_, values, up, down);
        std::vector<uint32_t> fine(count), radices(count), low(count), widths(count), totals(count), rests(count);
        for (size_t i = 0; i < count; i++) {
            const Knots::Cell cell = knots.cell(ptrdiff_t(i), places[i] += lines[i].start);
            values[i] = cell.value, fine[i] = cell.fine, radices[i] = knots.fine(ptrdiff_t(i));
            low[i] = cell.low, widths[i] = cell.width, totals[i] = cell.total;
            check(widths[i] >= 1 && fine[i] < radices[i], damaged);
        }
        stream_->push(fine, {radices.data(), 0});
        const Numbers found = stream_->digits(widths);
        for (size_t i = 0; i < count; i++) rests[i] = low[i] + uint32_t(found[i]);
        stream_->push(rests, {totals.data(), 0});
        return values;
    }

    // Steps 2 to 4, backwards: noise by blocks, bands, rows and columns.
    Numbers noise_of(const Blocks& blocks) {
        const Component& part = blocks[0]->part;
        const size_t bands = size_t(shape_.bands), each = part.count();
        Numbers z = factored(blocks.size() * bands * each);
        for (int number = *std::max_element(model_.lattice.begin(), model_.lattice.end()); number > 0; number--)
            uncouple(blocks, number, z);
        unmatrix(blocks, z);
        return z;
    }

    Numbers factored(size_t count) {
        const int g = std::max(model_.frac - 3, 0);
        const std::vector<int32_t> weights(count, 1 << 16), centres(count, (buckets / 2 << 6) - 32), scales(count, 16 * (model_.frac - g));
        const Numbers found = stream_->values(Mixtures(kernels.mixtures, {exact().logistic, weights.data(), centres.data(), scales.data(),
                                                                          ptrdiff_t(count), 1, buckets - 1, false, false}));
        Numbers values = stream_->digits(uint32_t(1) << g, count);
        std::vector<size_t> ends;
        for (size_t i = 0; i < count; i++) {
            values[i] += (found[i] - buckets / 2) * (int64_t(1) << g);
            if (found[i] == 0 || found[i] == buckets - 1) ends.push_back(i);
        }
        Numbers digits[3];
        for (Numbers& each : digits) each = stream_->digits(1 << 16, ends.size());
        for (size_t i = 0; i < ends.size(); i++)
            values[ends[i]] = (digits[0][i] << 32) + (digits[1][i] << 16) + digits[2][i] - (int64_t(1) << 47);
        return values;
    }

    void uncouple(const Blocks& blocks, int number, Numbers& z) {
        const Component& part = blocks[0]->part;
        const size_t bands = size_t(shape_.bands), each = part.count();
        const int k = model_.frac;
        const auto lattice = [&](int y, int x) { return model_.lattice[size_t(2 * (y % 2) + x % 2)]; };
        std::vector<size_t> at;
        std::vector<uint32_t> up;
        Numbers shifts, values;
        for (size_t i = 0; i < blocks.size(); i++) {
            const Map& features = blocks[i]->member->features;
            const int height = int(features->shape.height), width = int(features->shape.width);
            std::vector<int8_t> seen(3 * size_t(height) * size_t(width));
            for (size_t band = 0; band < bands; band++)
                for (int y = 0; y < part.height; y++)
                    for (int x = 0; x < part.width; x++) {
                        if (lattice(y, x) >= number) continue;
                        const int64_t value = z[(i * bands + band) * each + size_t(y * part.width + x)] + (1 << (k - 1) >> 4);
                        seen[3 * size_t(y * width + x) + band] =
                            int8_t(std::clamp<int64_t>(k >= 4 ? value >> (k - 4) : value << (4 - k), -128, 127));
                    }
            const std::string name = blocks[i]->member->stage() + ".coupling" + std::to_string(number);
            const Map h = model_.conv(name + ".inject", model_.conv(name + ".embed", model_.pixels(seen.data(), height, width, 3)), features);
            const Map outputs = model_.conv(name + ".head", model_.conv(name + ".mix", h, h));
            check(outputs->channels == 6, "the model is damaged: a layer has other outputs");
            for (size_t band = 0; band < bands; band++)
                for (int y = 0; y < part.height; y++)
                    for (int x = 0; x < part.width; x++) {
                        if (lattice(y, x) != number) continue;
                        const ptrdiff_t position = outputs->at(0) + y * outputs->row() + x;
                        const int octave = std::clamp(outputs->sums(3 + int(band))[position], -most_octaves, most_octaves);
                        at.push_back((i * bands + band) * each + size_t(y * part.width + x));
                        values.push_back(z[at.back()]);
                        up.push_back(uint32_t(std::round(std::exp2(scale_bits + octave / 16.0))));
                        const int64_t shift = outputs->sums(int(band))[position];
                        shifts.push_back(k >= 8 ? shift * (int64_t(1) << (k - 8)) : shift >> (8 - k));
                    }
        }
        const Numbers back = scaled_back(*stream_, values, up, std::vector<uint32_t>(up.size(), 1 << scale_bits));
        for (size_t i = 0; i < at.size(); i++) z[at[i]] = back[i] + shifts[i];
    }

    void unmatrix(const Blocks& blocks, Numbers& z) {
        const size_t bands = size_t(shape_.bands), each = blocks[0]->part.count();
        const Model::Matrix& m = model_.matrix(blocks[0]->member->stage());
        const auto of = [&](size_t block, size_t band, size_t i) -> int64_t& { return z[(block * bands + band) * each + i]; };
        const auto lift = [&](size_t c, size_t from, size_t to) {
            for (size_t block = 0; block < blocks.size(); block++)
                for (size_t i = 0; i < each; i++) {
                    int64_t sum = 0;
                    for (size_t o = from; o < to; o++) sum += m.weights[3 * c + o] * of(block, o, i);
                    of(block, c, i) -= sum >> m.bits;
                }
        };
        for (size_t c = 0; c < bands; c++) lift(c, 0, c);
        for (size_t c = bands; c--;) {
            Numbers values;
            for (size_t block = 0; block < blocks.size(); block++)
                for (size_t i = 0; i < each; i++) values.push_back(of(block, c, i));
            const Numbers back = scaled_back(*stream_, values, std::vector<uint32_t>(values.size(), uint32_t(m.weights[4 * c])),
                                             std::vector<uint32_t>(values.size(), uint32_t(1) << m.bits));
            for (size_t i = 0; i < back.size(); i++) of(i / each, c, i % each) = back[i];
        }
        for (size_t c = bands; c--;) lift(c, c + 1, bands);
    }

    const Model& model_;
    const ImageShape shape_;
    const Range range_;
    std::vector<Block> blocks_;
    Blocks order_;
    size_t direct_ = 0;
    std::vector<size_t> batches_;
    std::vector<SideInformation> side_;  // by level, stage, band
    std::unique_ptr<Stream> stream_;
    bool borrows_ = false;
};

}  // namespace

std::vector<uint8_t> decode_patch(const Model& model, Fields payload, const ImageShape& shape) {
    return decode_chain(payload, shape, false, [&](Fields fields, const Colours&) { return Patch(model, fields, shape).decode(); });
}

}  // namespace web
