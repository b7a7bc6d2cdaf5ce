#include "photo.hpp"

#include <algorithm>
#include <cstring>

#include "backward.hpp"
#include "colours.hpp"
#include "exact.hpp"
#include "level_plane.hpp"
#include "tile_lattice.hpp"

namespace web {

using namespace neuralcodec;

namespace {

constexpr int most_checked = 5, least_side = 32;
constexpr size_t adapted = 1024;  // positions from which on bands are adapted
constexpr int side_levels = 2, backward_levels = 3, phase_channels = 9;

int up(int side, int level) { return (side + (1 << level) - 1) >> level; }

// The nine channels of the JPEG block phase along an axis of a mirror image.
AxisInputs phase_inputs(int code, bool mirrored, int count, int stride) {
    AxisInputs inputs{phase_channels, count + mirrored, std::vector<int8_t>(size_t(phase_channels) * size_t(count + mirrored))};
    for (int i = 0; code && i < inputs.count; i++) {
        const bool paired = code > 8;
        int p = (code - (paired ? 9 : 1) + (mirrored ? count - i : i) * stride) % 16;
        if (mirrored) p = 15 - p;
        inputs.values[size_t(p % 8 * inputs.count + i)] = 64;
        if (paired) inputs.values[size_t(8 * inputs.count + i)] = p < 8 ? -64 : 64;
    }
    return inputs;
}

Learned nothing_learned() {
    Learned learned{};
    for (ScaleTable& table : learned.scales) std::fill(std::begin(table.squares), std::end(table.squares), int64_t(1) << 30);
    for (auto& counts : learned.counts) std::fill(std::begin(counts), std::end(counts), 25600);
    return learned;
}

}  // namespace

BlockPhase::BlockPhase(Fields& fields) {
    const uint64_t number = fields.varint();
    check(number < 25 * 25, damaged);
    rows = int(number / 25), columns = int(number % 25);
}

BlockPhase BlockPhase::moved(int down, int right) const {
    const auto code = [](int code, int by) {
        const int first = code > 8 ? 9 : 1;
        return code ? first + (code - first + by) % (code > 8 ? 16 : 8) : 0;
    };
    BlockPhase out;
    out.rows = code(rows, down), out.columns = code(columns, right);
    return out;
}

class PhotoFlow::State {
public:
    explicit State(const PhotoFlow& flow)
        : model_(flow.model), shape_(flow.shape), range_(flow.range), phase_(flow.phase), stream_(flow.stream), cells_(flow.cells) {
        if (flow.lattice) lattice_ = std::make_unique<TileLattice>(flow.lattice);
    }

    Component decode(int stop, const std::function<void(int, const Component&)>& told, const Led& led) {
        planes_ = Component(1, 1);
        const Numbers coarsest = stream_.digits(uint32_t(range_.top() + 1), size_t(shape_.bands));
        for (int band = 0; band < 3; band++) planes_.samples[size_t(band)] = int32_t(coarsest[shape_.bands == 3 ? size_t(band) : 0]);
        int levels = 0;
        while (1 << levels < std::max(shape_.height, shape_.width)) levels++;
        std::vector<Map> features(model_.self_ensemble ? 4 : 1);
        for (int level = levels - 1; level >= stop; level--) {
            if (level >= int(model_.blocks.size()) - 1) std::fill(features.begin(), features.end(), nullptr);
            if (led && level < int(model_.blocks.size())) features[0] = led(level, features[0]);
            decode_level(level, features);
            if (level > stop && told) told(level, planes_);
        }
        return std::move(planes_);
    }

private:
    void decode_level(int level, std::vector<Map>& features) {
        level_ = level;
        const Component first = std::move(planes_);
        planes_ = Component(up(shape_.height, level), up(shape_.width, level));
        for (LevelPlane& surprises : surprises_) surprises = surprises.finer(planes_.height, planes_.width);
        if (lattice_) lattice_->begin_level(planes_.height, planes_.width);
        first.put(planes_, 0);
        std::vector<Member> members;
        for (size_t i = 0; i < features.size(); i++) {
            const Transform t = transforms[i];
            const int height = first.height + t.rows, width = first.width + t.columns;
            Map coarser = features[i];
            if (coarser) coarser = coarser->upsampled(height, width, t.rows & first.height, t.columns & first.width);
            PositionInputs positions{phase_inputs(phase_.rows, t.rows, first.height, 2 << level),
                                     phase_inputs(phase_.columns, t.columns, first.width, 2 << level)};
            members.emplace_back(model_, range_, level, t, first, std::move(coarser), std::move(positions));
        }
        for (stage_ = 0; stage_ < 3; stage_++) {
            const int index = stage_ + 1;
            Component part((planes_.height + 1 - offsets[index][0]) / 2, (planes_.width + 1 - offsets[index][1]) / 2);
            if (part.count()) {
                for (Member& member : members) member.predict();
                for (int band = 0; band < shape_.bands; band++) {
                    decode_band(members, first, part, band);
                    if (band + 1 == shape_.bands) break;
                    const Component whole = extended(part, first);
                    for (Member& member : members) member.accept(whole, index);
                }
                if (lattice_) lattice_->accept(stage_, part);
                for (int band = shape_.bands; band < 3; band++) std::copy_n(part.band(0), part.count(), part.band(band));
                part.put(planes_, index);
            }
            const Component whole = extended(part, first);
            for (Member& member : members) member.add(whole, index);
        }
        for (size_t i = 0; i < features.size(); i++) features[i] = members[i].features;
    }

    void decode_band(std::vector<Member>& members, const Component& first, Component& part, int band) {
        const Prediction& own = members[0].next_band();
        const int height = first.height, width = first.width, gain = range_.mapping.log_gain;
        const bool is_large = part.count() >= adapted;
        // Centres of the image itself with side information, and what that moves the log-scales by.
        std::vector<int32_t> centres = own.copy(own.rows.centres), moves;
        std::vector<uint8_t> classes;
        if (level_ < side_levels && is_large) {
            const int axes = range_.is_deep() ? 1 : 2;
            SideInformation side(stream_, axes, own.chain + bands::taps);
            if (range_.is_deep()) side.offsets[0] = side.offsets[0] * range_.mapping.gain() >> bands::gain_bits;
            centres = own.centres(side.offsets);
            moves = side.moves;
            classes.resize(size_t(axes) * own.count);
            kernels.bands.classes({ptrdiff_t(own.count), own.parts, own.rows.total, own.rows.weights, own.rows.scales},
                                  range_.mapping, classes.data());
        }
        Mixture mixture{own.parts, own.copy(own.rows.weights), centres, own.copy(own.rows.scales)};
        for (size_t i = 1; i < members.size(); i++) join(mixture, members[i], own, height, width);
        if (members.size() > 1) share(mixture, own);
        mixture.scales = Prediction::limited(mixture.scales, mixture.parts, own.count, gain, classes, moves);
        for (auto* each : {&mixture.weights, &mixture.centres, &mixture.scales})
            *each = cut(each->data(), mixture.parts, height, width, part.height, part.width);

        const LatticePrior* prior = lattice_ ? lattice_->prior(level_, stage_, band, part) : nullptr;
        if (model_.backward_adaptation && level_ < backward_levels && is_large && !range_.is_deep())
            return decode_adapted(mixture, own, first, part, band, prior);
        const Mixtures mixtures(kernels.mixtures, {exact().logistic, mixture.weights.data(), mixture.centres.data(),
                                                   mixture.scales.data(), ptrdiff_t(part.count()), mixture.parts, range_.top(),
                                                   range_.is_deep() && range_.top() > 1, prior || cells_, nullptr, nullptr, prior,
                                                   cells_ ? cells_[band].moves : nullptr});
        const Numbers values = prior || cells_ ? stream_.symbols(mixtures) : stream_.values(mixtures);
        std::copy(values.begin(), values.end(), part.band(band));
    }

    // Adds the mixture of a mirror image, in the image's own orientation, to that of the image itself.
    void join(Mixture& mixture, Member& member, const Prediction& own, int height, int width) {
        const Prediction& other = member.next_band();
        const auto [odd_row, odd_column] = offsets[stage_ + 1];
        const int other_width = width + member.transform.columns;
        for (int k = 0; k < other.parts; k++)
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++) {
                    const int row = member.transform.rows ? height - odd_row - y : y;
                    const int column = member.transform.columns ? width - odd_column - x : x;
                    const size_t from = size_t(k) * other.count + size_t(row * other_width + column);
                    const size_t position = size_t(y * width + x);
                    const int64_t moved = int64_t(mixture.centres[position]) - own.rows.centres[position];
                    mixture.weights.push_back(other.rows.weights[from]);
                    mixture.centres.push_back(int32_t(std::clamp<int64_t>(other.rows.centres[from] + moved, -bands::distant, bands::distant)));
                    mixture.scales.push_back(other.rows.scales[from]);
                }
        mixture.parts += other.parts;
    }

    // Weights of four members: a quarter each, and the rest to the first.
    static void share(Mixture& mixture, const Prediction& own) {
        std::vector<int32_t> rest(own.count, 1 << 16);
        for (size_t i = 0; i < mixture.weights.size(); i++) rest[i % own.count] -= mixture.weights[i] /= 4;
        for (size_t i = 0; i < own.count; i++) mixture.weights[i] += rest[i];
    }

    void decode_adapted(const Mixture& mixture, const Prediction& own, const Component& first, Component& part, int band,
                        const LatticePrior* prior) {
        const int height = part.height, width = part.width;
        while (int(surprises_.size()) <= band) {
            surprises_.emplace_back(planes_.height, planes_.width);
            learned_.push_back(nothing_learned());
        }
        const std::vector<int32_t> nearest = surprises_[size_t(band)].nearest(stage_, height, width);
        AdaptedBandInput input{height, width, mixture.parts, mixture.weights.data(), mixture.centres.data(), mixture.scales.data(),
                               nearest.data(), own.near, {}};
        if (prior) input.prior = *prior;
        if (cells_) input.cells = cells_[band];
        std::vector<std::vector<int32_t>> earlier[2];  // of each band before: surprises, values
        for (int before = 0; before < band; before++) {
            earlier[0].push_back(surprises_[size_t(before)].of(stage_, height, width));
            earlier[1].push_back(cut(own.before[size_t(before)], 1, first.height, first.width, height, width));
            input.earlier.push_back({earlier[0].back().data(), earlier[1].back().data()});
        }

        Learned& learned = learned_[size_t(band)];
        for (ScaleTable& table : learned.scales)
            for (int64_t& square : table.squares) square = (int64_t(1) << 30) + ((square - (int64_t(1) << 30)) >> 2);
        AdaptedBand adapted(kernels.backward, kernels.mixtures, exact().logistic, input, exact().deviations, learned, 1);
        const Numbers values = stream_.symbols(adapted);  // of each row the even columns, then the odd ones
        learned = adapted.learned();
        std::vector<int32_t> surprises(part.count());
        adapted.surprises(surprises.data());
        surprises_[size_t(band)].put(stage_, height, width, surprises.data());
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                part.band(band)[y * width + x] = int32_t(values[size_t(y * width + x / 2 + (x % 2) * ((width + 1) / 2))]);
    }

    const Model& model_;
    const ImageShape shape_;
    const Range& range_;
    const BlockPhase phase_;
    Stream& stream_;
    const Cells* const cells_;

    int level_ = 0, stage_ = 0;
    Component planes_;  // of the level
    std::vector<LevelPlane> surprises_;  // of each band
    std::vector<Learned> learned_;
    std::unique_ptr<TileLattice> lattice_;
};

Component PhotoFlow::decode(int stop, const std::function<void(int, const Component&)>& told, const Led& led) {
    return State(*this).decode(stop, told, led);
}

namespace {

constexpr int order[] = {1, 0, 2};  // G, R, B

class Tile {
public:
    Tile(const Model& model, Fields payload, const TileShape& shape) : model_(model), shape_(shape) {
        for (int k = 1; k <= most_checked; k++)
            if (std::min(up(shape.segment_height, k), up(shape.segment_width, k)) >= least_side) checksums_.push_back(payload.u32());
        if (shape.size == 2) {
            range_ = Range(payload);
        } else {
            phase_ = BlockPhase(payload);
            if (shape.bands == 3) colours_ = Colours(payload, true);
        }
        stream_ = std::make_unique<Stream>(payload.rest());
    }

    Pixels decode(int stop, const std::function<void(const Pixels&)>& told) {
        check(stop >= 0 && stop <= int(checksums_.size()), "this level has no checksum, so it is not decoded");
        const auto tell = [&](int level, const Component& planes) {
            if (level <= int(checksums_.size())) told(checked(level, planes));
        };
        PhotoFlow flow{model_, {shape_.height, shape_.width, shape_.bands}, range_, phase_, *stream_, colours_.lattice(),
                       colours_.is_plain() && !shape_.cells.empty() ? shape_.cells.data() : nullptr};
        return checked(stop, flow.decode(stop, tell));
    }

private:
    // The pixels of a level's planes, whose checksum is right.
    Pixels checked(int level, const Component& planes) {
        const int bands = shape_.bands;
        const size_t count = planes.count(), size = size_t(shape_.size);
        Pixels out{level, planes.height, planes.width, std::vector<uint8_t>(count * size_t(bands) * size)};
        for (int band = 0; band < bands; band++)
            for (size_t i = 0; i < count; i++) {
                const int index = planes.band(band)[i], sample = range_.is_deep() ? range_.sample(index) : index;
                std::memcpy(&out.samples[(i * size_t(bands) + size_t(bands == 3 ? order[band] : 0)) * size], &sample, size);
            }
        if (colours_) colours_.to_rgb(out.samples.data(), shape_.height, shape_.width, level);
        std::vector<uint8_t> plane(count * size);
        uint32_t crc = 0;
        for (int band = 0; band < bands; band++) {
            for (size_t i = 0; i < count; i++)
                std::memcpy(&plane[i * size], &out.samples[(i * size_t(bands) + size_t(bands == 3 ? order[band] : 0)) * size], size);
            crc = crc32(plane.data(), plane.size(), crc);
        }
        check(crc == (level ? checksums_[size_t(level - 1)] : stream_->told()),
              "the pixels of a tile differ from their checksum: the file is damaged");
        return out;
    }

    const Model& model_;
    const TileShape shape_;
    std::vector<uint32_t> checksums_;
    Range range_;
    BlockPhase phase_;
    Colours colours_;
    std::unique_ptr<Stream> stream_;
};

}  // namespace

std::vector<Cells> cells_of(const int8_t* told, size_t size, int bands) {
    check(!size || size == size_t(bands) * 255, "edges of cells of another number");
    std::vector<Cells> cells;
    for (int band = 0; size && band < bands; band++) {
        int32_t moves[257] = {};
        std::copy_n(told + (bands == 3 ? order[band] : 0) * 255, 255, moves + 1);
        cells.emplace_back(moves);
    }
    return cells;
}

Pixels photo_tile(const Model& model, Fields payload, const TileShape& shape, int level,
                  const std::function<void(const Pixels&)>& told) {
    return Tile(model, payload, shape).decode(level, told);
}

}  // namespace web
