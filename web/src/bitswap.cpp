#include "bitswap.hpp"

#include <algorithm>

#include "colours.hpp"
#include "exact.hpp"
#include "photo.hpp"

namespace web {

using namespace neuralcodec;

namespace {

constexpr int most_side = 512, align = 32;

int up(int side, int halvings) { return (side + (1 << halvings) - 1) >> halvings; }

int tile_side(int side) {
    const int count = (side + most_side - 1) / most_side;
    return count == 1 ? side : (side + align * count - 1) / (align * count) * align;
}

// Integers (channels, height, width), which lie beside each other at each position for networks.
struct Latents {
    int channels, height, width;
    Numbers values;

    int64_t at(int c, int y, int x) const { return values[(size_t(c) * size_t(height) + size_t(y)) * size_t(width) + size_t(x)]; }
    Map pixels(const Model& model) const {
        std::vector<int8_t> out;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int c = 0; c < channels; c++) out.push_back(int8_t(at(c, y, x)));
        return model.pixels(out.data(), height, width, channels);
    }
};

// A block by the network.
class Block {
public:
    Block(const Model& model, const ImageShape& shape, const BlockPhase& phase, int lattice, const Cells* cells, Stream& stream)
        : model_(model), shape_(shape), phase_(phase), lattice_(lattice), cells_(cells), stream_(stream),
          nets_(int(model.blocks.size())) {}

    // The moves of an encoder, backwards.
    Component decode(bool all_at_once) {
        const int last = int(model_.latents.size());
        std::vector<Latents> layers(size_t(last) + 1);  // the image is layer 0, less 128
        layers[size_t(last)] = top(last);
        Component image;
        for (int number = last; number > 0; number--) {
            if (number > 1) {
                layers[size_t(number - 1)] = below(number, layers[size_t(number)]);
            } else {
                image = this->image(layers[1]);
                layers[0] = {3, image.height, image.width, {}};
                for (int32_t sample : image.samples) layers[0].values.push_back(sample - 128);
            }
            if (!all_at_once) push(number, layers[size_t(number)], layers[size_t(number - 1)]);
        }
        for (int number = last; all_at_once && number > 0; number--)
            push(number, layers[size_t(number)], layers[size_t(number - 1)]);
        return image;
    }

private:
    Latents empty(int layer) const {
        const int step = nets_ + 2 + layer;
        return {model_.latents[size_t(layer - 1)], up(shape_.height, step), up(shape_.width, step), {}};
    }

    Mixtures mixtures(const Mixture& m) const {
        return {kernels.mixtures, {exact().logistic, m.weights.data(), m.centres.data(), m.scales.data(),
                                   ptrdiff_t(m.weights.size()) / m.parts, m.parts, 255, false, false}};
    }

    Latents popped(Latents layer, const Mixture& mixture) {
        layer.values = stream_.values(mixtures(mixture));
        for (int64_t& value : layer.values) value -= 128;
        return layer;
    }

    // p(L + 1).
    Latents top(int layer) {
        const Latents like = empty(layer);
        const size_t count = size_t(like.channels) * size_t(like.height) * size_t(like.width);
        return popped(like, {1, std::vector<int32_t>(count, 1 << 16), std::vector<int32_t>(count, 128 * 64), std::vector<int32_t>(count, 56)});
    }

    // p(l), l > 1.
    Latents below(int number, const Latents& layer) {
        const std::string name = "p" + std::to_string(number);
        const Latents like = empty(number - 1);
        Map h = trunk(name, model_.conv(name + ".embed", layer.pixels(model_)));
        h = trunk(name + ".fine", h->upsampled(like.height, like.width, 0, 0));
        const Map head = model_.conv(name + ".head", h);
        const int parts = model_.mixtures, channels = like.channels;
        check(head->channels == 3 * channels * parts, "the model is damaged: a layer has other outputs");
        Mixture m{parts, {}, {}, {}};
        const size_t each = size_t(like.height) * size_t(like.width), count = size_t(channels) * each;
        for (auto* numbers : {&m.weights, &m.centres, &m.scales}) numbers->resize(size_t(parts) * count);
        std::vector<int32_t> logits(size_t(parts), 0);
        for (size_t i = 0; i < count; i++) {
            const int c = int(i / each);
            const auto output = [&](int number) { return head->sums(number)[i % each]; };
            for (int k = 0; k < parts; k++) logits[size_t(k)] = output(c * parts + k);
            const auto largest = std::max_element(logits.begin(), logits.end());
            int64_t sum = 0, left = 1 << 16;
            for (int32_t logit : logits) sum += power(*largest - logit);
            for (int k = 0; k < parts; k++) {
                const size_t to = size_t(k) * count + i;
                left -= m.weights[to] = int32_t((power(*largest - logits[size_t(k)]) << 16) / sum);
                m.centres[to] = output((channels + c) * parts + k) + 128 * 64;
                m.scales[to] = std::clamp(output((2 * channels + c) * parts + k), -80, 128);
            }
            m.weights[size_t(largest - logits.begin()) * count + i] += int32_t(left);
        }
        return popped(like, m);
    }

    // p(1): the photo flow, with what the first layer tells led into each level.
    Component image(const Latents& layer) {
        Map told = trunk("p1", model_.conv("p1.embed", layer.pixels(model_)));
        for (int i = 0; i < 2; i++) told = model_.conv("p1.double." + std::to_string(i), doubled(told, nets_ + 2 - i));
        const auto led = [&](int level, const Map& features) {
            Map x = told;
            for (int halvings = nets_; halvings > level + 1; halvings--) x = doubled(x, halvings);
            return model_.conv("p1.into." + std::to_string(level), x, features);
        };
        const Range range;
        return PhotoFlow{model_, shape_, range, phase_, stream_, lattice_, cells_}.decode(0, nullptr, led);
    }

    // q(l) pushes a layer, given the one below.
    void push(int number, const Latents& layer, const Latents& below) {
        const std::string name = "q" + std::to_string(number);
        const int side = number == 1 ? 4 : 2;
        const int height = (below.height + side - 1) / side, width = (below.width + side - 1) / side;
        std::vector<int8_t> inputs;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int place = 0; place < side * side; place++)
                    for (int c = 0; c < below.channels; c++)
                        inputs.push_back(int8_t(below.at(c, std::min(side * y + place / side, below.height - 1),
                                                         std::min(side * x + place % side, below.width - 1))));
        Map h = model_.conv(name + ".embed", model_.pixels(inputs.data(), height, width, side * side * below.channels));
        for (int i = 0; number == 1 && i <= nets_; i++)
            h = model_.conv(name + ".halve." + std::to_string(i), h, nullptr, Sampling::second(0, 0));
        const Map head = model_.conv(name + ".head", trunk(name, h));
        check(head->channels == 2 * layer.channels && head->shape.height == layer.height && head->shape.width == layer.width,
              "the model is damaged: a layer has other outputs");
        Mixture m{1, {}, {}, {}};
        Numbers values;
        const size_t each = size_t(layer.height) * size_t(layer.width);
        for (size_t i = 0; i < layer.values.size(); i++) {
            const int channel = int(i / each);
            m.weights.push_back(1 << 16);
            m.centres.push_back(128 * 64 + head->sums(channel)[i % each]);
            m.scales.push_back(std::clamp(head->sums(layer.channels + channel)[i % each], -80, 128));
            values.push_back(layer.values[i] + 128);
        }
        stream_.push(mixtures(m), values);
    }

    static int64_t power(int64_t below) { return exact().powers[size_t(std::min<int64_t>(below, 256))]; }
    Map trunk(const std::string& name, Map x) const {
        for (int i = 0; i < model_.depth; i++) {
            const std::string block = name + "." + std::to_string(i);
            x = model_.conv(block + ".b", model_.conv(block + ".a", x), x);
        }
        return x;
    }
    Map doubled(const Map& x, int halvings) const { return x->upsampled(up(shape_.height, halvings), up(shape_.width, halvings), 0, 0); }

    const Model& model_;
    const ImageShape shape_;
    const BlockPhase phase_;
    const int lattice_;
    const Cells* const cells_;  // of each band; or null
    Stream& stream_;
    const int nets_;
};

struct Area {
    int top, left, height, width;
    bool by_network;
    uint64_t bytes;  // twice as many, plus 1 for RAW
};

std::vector<uint8_t> decode_planes(const Model& model, Fields fields, const ImageShape& shape, int lattice, const Cells* cells) {
    const uint64_t widenings = fields.varint(), ordering = fields.varint();
    check(widenings <= 2 && ordering < 2, damaged);
    const BlockPhase phase(fields);
    const int tile_height = tile_side(shape.height), tile_width = tile_side(shape.width), bands = shape.bands;
    std::vector<Area> areas;
    size_t borrowing = 0;
    for (int top = 0; top < shape.height; top += tile_height)
        for (int left = 0; left < shape.width; left += tile_width) {
            const int rows = std::min(tile_height, shape.height - top), columns = std::min(tile_width, shape.width - left);
            const uint64_t last = fields.varint();
            check(last <= uint64_t(rows), damaged);
            const int whole = rows - int(last);
            if (last) areas.push_back({top + whole, left, int(last), columns, false, fields.varint()});
            if (whole) areas.push_back({top, left, whole, columns, true, 0}), borrowing++;
        }
    Stream stream(fields.rest(), std::vector<uint64_t>(widenings));
    std::vector<uint8_t> samples(shape.count());
    for (size_t i = areas.size(); i--;) {
        const Area& area = areas[i];
        const ImageShape part{area.height, area.width, bands};
        std::vector<uint8_t> found;
        if (area.by_network) {
            const Component planes = Block(model, part, phase.moved(area.top, area.left), lattice, cells, stream).decode(ordering == 1);
            for (size_t pixel = 0; pixel < planes.count(); pixel++)
                for (int band = 0; band < bands; band++)
                    found.push_back(uint8_t(planes.band(bands == 3 && band < 2 ? 1 - band : band)[pixel]));
            if (!--borrowing) stream.narrow_to_one();
        } else {
            const std::vector<uint8_t> bytes = stream.bytes(size_t(area.bytes / 2));
            const Fields payload(bytes.data(), bytes.size());
            found = area.bytes % 2 ? decode_raw(payload, part, 1) : decode_predictor(payload, part);
        }
        const size_t row = size_t(area.width) * size_t(bands);
        for (int y = 0; y < area.height; y++)
            std::copy_n(found.data() + size_t(y) * row, row,
                        samples.data() + (size_t(area.top + y) * size_t(shape.width) + size_t(area.left)) * size_t(bands));
    }
    check(crc32(samples.data(), samples.size()) == stream.told(), "the pixels of a chain differ from their checksum: the file is damaged");
    return samples;
}

}  // namespace

std::vector<uint8_t> decode_bitswap(const Model& model, Fields payload, const ImageShape& shape, const std::vector<Cells>& cells) {
    return decode_chain(payload, shape, true, [&](Fields fields, const Colours& colours) {
        const bool uneven = colours.is_plain() && !cells.empty();
        return decode_planes(model, fields, shape, colours.lattice(), uneven ? cells.data() : nullptr);
    });
}

}  // namespace web
