#include "pyramid.hpp"

#include <algorithm>

#include "exact.hpp"

namespace web {

using namespace neuralcodec;

namespace {

// The samples of each tap of a stage, the only one twice.
constexpr TapSample taps[3][bands::taps][2] = {
    {{{0, 0, 0}, {0, 0, 0}},
     {{0, 0, 1}, {0, 0, 1}},
     {{0, 1, 0}, {0, 1, 0}},
     {{0, 1, 1}, {0, 1, 1}},
     {{0, -1, 0}, {0, -1, 1}},
     {{0, 2, 0}, {0, 2, 1}},
     {{0, 0, -1}, {0, 1, -1}},
     {{0, 0, 2}, {0, 1, 2}},
     {{0, -1, -1}, {0, -1, -1}},
     {{0, -1, 2}, {0, -1, 2}},
     {{0, 2, -1}, {0, 2, -1}},
     {{0, 2, 2}, {0, 2, 2}}},
    {{{0, 0, 0}, {0, 0, 0}},
     {{0, 0, 1}, {0, 0, 1}},
     {{1, -1, 0}, {1, -1, 0}},
     {{1, 0, 0}, {1, 0, 0}},
     {{0, -1, 0}, {0, -1, 1}},
     {{0, 1, 0}, {0, 1, 1}},
     {{1, -1, -1}, {1, 0, -1}},
     {{1, -1, 1}, {1, 0, 1}},
     {{0, 0, -1}, {0, 0, -1}},
     {{0, 0, 2}, {0, 0, 2}},
     {{1, -2, 0}, {1, -2, 0}},
     {{1, 1, 0}, {1, 1, 0}}},
    {{{0, 0, 0}, {0, 0, 0}},
     {{0, 1, 0}, {0, 1, 0}},
     {{1, 0, -1}, {1, 0, -1}},
     {{1, 0, 0}, {1, 0, 0}},
     {{2, 0, -1}, {2, 0, -1}},
     {{2, 0, 0}, {2, 0, 0}},
     {{2, 1, -1}, {2, 1, -1}},
     {{2, 1, 0}, {2, 1, 0}},
     {{0, 0, -1}, {0, 1, -1}},
     {{0, 0, 1}, {0, 1, 1}},
     {{1, -1, -1}, {1, -1, 0}},
     {{1, 1, -1}, {1, 1, 0}}}};
constexpr int64_t limit = 255;  // of coefficients

std::vector<const int32_t*> planes_of(const std::vector<Component>& known) {
    std::vector<const int32_t*> planes;
    for (const Component& component : known) planes.push_back(component.samples.data());
    return planes;
}

// A list of offsets.
Numbers offsets_of(Stream& stream, size_t count) {
    if (!stream.digits(2, 1)[0]) return Numbers(count);
    const std::vector<int32_t> weights(count, 1 << 16), centres(count, 128 * 64),
        scales(count, int32_t(8 * stream.digits(8, 1)[0] - 16));
    Numbers found = stream.values(Mixtures(kernels.mixtures, {exact().logistic, weights.data(), centres.data(), scales.data(),
                                                              ptrdiff_t(count), 1, 255, false, false}));
    for (int64_t& number : found) number -= 128;
    return found;
}

BandCentres centres_of(const Prediction& p, const int64_t* offsets) {
    const ptrdiff_t count = ptrdiff_t(p.count);
    return {count, p.parts, p.rows.means, count, p.outputs.chain(), p.outputs.filters(), count, p.near, p.before, offsets, limit};
}

}  // namespace

void Component::put(Component& planes, int index) const {
    for (int band = 0; band < 3; band++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                planes.band(band)[(2 * y + offsets[index][0]) * planes.width + 2 * x + offsets[index][1]] =
                    this->band(band)[y * width + x];
}

std::vector<int32_t> cut(const int32_t* from, int rows, int height, int width, int to_height, int to_width) {
    std::vector<int32_t> out;
    out.reserve(size_t(rows) * size_t(to_height) * size_t(to_width));
    for (int r = 0; r < rows; r++)
        for (int y = 0; y < to_height; y++) {
            const int32_t* line = from + (size_t(r) * size_t(height) + size_t(y)) * size_t(width);
            out.insert(out.end(), line, line + to_width);
        }
    return out;
}

SideInformation::SideInformation(Stream& stream, int axes, int coefficients) {
    for (int64_t move : offsets_of(stream, size_t(8 * axes))) moves.push_back(int32_t(2 * move));
    offsets = offsets_of(stream, size_t(1 + coefficients));
}

Component extended(const Component& component, const Component& like) {
    if (!component.count()) return like;
    Component out(like.height, like.width);
    for (int band = 0; band < 3; band++)
        for (int y = 0; y < like.height; y++)
            for (int x = 0; x < like.width; x++)
                out.band(band)[y * like.width + x] =
                    component.band(band)[std::min(y, component.height - 1) * component.width + std::min(x, component.width - 1)];
    return out;
}

Component Transform::of(const Component& component, int index) const {
    if (!rows && !columns) return component;
    const auto [odd_row, odd_column] = offsets[index];
    const int height = component.height, width = component.width;
    const auto source = [](bool mirrored, int odd, int i, int count) {
        return mirrored ? std::clamp(count - odd - i, 0, count - 1) : i;
    };
    Component out(height + rows, width + columns);
    for (int band = 0; band < 3; band++)
        for (int y = 0; y < out.height; y++)
            for (int x = 0; x < out.width; x++)
                out.band(band)[y * out.width + x] =
                    component.band(band)[source(rows, odd_row, y, height) * width + source(columns, odd_column, x, width)];
    return out;
}

std::vector<int32_t> Prediction::centres(const std::vector<int64_t>& offsets) const {
    std::vector<int32_t> out(size_t(parts) * count);
    kernels.bands.centres(centres_of(*this, offsets.data()), out.data());
    return out;
}

std::vector<int32_t> Prediction::limited(const std::vector<int32_t>& scales, int parts, size_t count, int log_gain,
                                         const std::vector<uint8_t>& classes, const std::vector<int32_t>& moves) {
    std::vector<int32_t> out(scales.size());
    const int axes = int(moves.size()) / bands::classes;
    kernels.bands.limited({ptrdiff_t(count), parts, axes, scales.data(), ptrdiff_t(count), -80 + log_gain, 128 + log_gain,
                           axes ? classes.data() : nullptr, axes ? moves.data() : nullptr},
                          out.data());
    return out;
}

Member::Member(const Model& model, const Range& range, int level, Transform transform, const Component& first, Map features,
               PositionInputs positions)
    : transform(transform),
      features(std::move(features)),
      model_(model),
      range_(range),
      net_(std::min(level, int(model.blocks.size()) - 1)),
      positions_(std::move(positions)) {
    add(first, 0);
}

void Member::add(const Component& component, int index) {
    known_.push_back(transform.of(component, index));
    if (!range_.is_deep()) return;
    const Component& last = known_.back();
    mapped_.emplace_back(last.height, last.width);
    kernels.bands.mapped(last.samples.data(), ptrdiff_t(last.samples.size()), range_.mapping, mapped_.back().samples.data());
}

void Member::predict() {
    const int stage = int(known_.size()) - 1, height = known_[0].height, width = known_[0].width;
    const std::vector<Component>& seen = range_.is_deep() ? mapped_ : known_;
    const int channels = 3 * (2 + stage);
    TapSample nearest[bands::nearest];
    for (int n = 0; n < bands::nearest; n++) nearest[n] = taps[stage][n][0];
    base_ = Component(height, width);
    std::vector<int8_t> inputs(size_t(channels) * base_.count());
    const auto planes = planes_of(seen);
    kernels.bands.input({planes.data(), stage + 1, 1, height, width, nearest}, base_.samples.data(), inputs.data());

    stage_ = std::to_string(net_) + "." + std::to_string(stage);
    Map h = model_.conv(stage_ + ".inject",
                        model_.conv(stage_ + ".embed", model_.pixels(inputs.data(), height, width, channels, positions_)), features);
    for (int i = 0; i < model_.blocks[size_t(net_)][size_t(stage)]; i++) {
        const std::string block = stage_ + "." + std::to_string(i);
        h = model_.conv(block + ".b", model_.conv(block + ".a", h), h);
    }
    features = of_band_ = h;
    found_.clear(), values_.clear(), seen_.clear();
    planes_ = planes_of(known_);
}

const Prediction& Member::next_band() {
    const int band = int(found_.size()), stage = int(known_.size()) - 1, parts = model_.mixtures;
    const int height = base_.height, width = base_.width;
    const std::string name = stage_ + ".band" + std::to_string(band);
    if (band) {
        std::vector<int8_t> inputs(2 * size_t(band) * base_.count());  // pairs of the bands, side by side
        for (size_t i = 0; i < base_.count(); i++)
            for (int before = 0; before < band; before++)
                std::copy_n(&seen_[size_t(before)][2 * i], 2, &inputs[2 * (i * size_t(band) + size_t(before))]);
        const Map pixels = model_.pixels(inputs.data(), height, width, 2 * band);
        of_band_ = model_.conv(name + ".inject", model_.conv(name + ".embed", pixels), of_band_);
        of_band_ = model_.conv(name + ".mix", of_band_, of_band_);
    }
    const Map outputs = model_.conv(name + ".head", of_band_);
    check(outputs->channels == 3 * parts + band + bands::taps, "the model is damaged: a layer has other outputs");
    const BandTaps near{planes_.data(), height, width, 3 * ptrdiff_t(base_.count()), taps[stage], 1, width};
    found_.push_back(std::make_unique<Prediction>(outputs, parts, band, base_.count(), range_.mapping.is_mapped(), near));
    Prediction& found = *found_.back();
    for (const auto& values : values_) found.before.push_back(values.data());
    const int64_t none[1 + bands::most_known + bands::taps] = {};
    const int gain = range_.mapping.log_gain;
    const ptrdiff_t count = ptrdiff_t(found.count);
    kernels.bands.parameters({0, count}, found.outputs, exact().powers.data(), range_.mapping, centres_of(found, none),
                             {count, parts, 0, found.rows.scales, count, -80 + gain, 128 + gain, nullptr, nullptr},
                             found.rows);
    return found;
}

void Member::accept(const Component& component, int index) {
    const int band = int(found_.size()) - 1;
    const Prediction& found = *found_.back();
    const Component values = transform.of(component, index);
    values_.emplace_back(values.band(band), values.band(band) + found.count);
    seen_.emplace_back(2 * found.count);
    kernels.bands.accepted({ptrdiff_t(found.count), found.parts, values_.back().data(), base_.band(band),
                            found.rows.weights, found.rows.centres, range_.mapping},
                           seen_.back().data());
}

}  // namespace web
