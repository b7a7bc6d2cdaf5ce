// A pyramid of networks on one image, and on its mirror images. docs/format.md: Pyramid of networks, Self-ensemble.
#pragma once

#include "bands.hpp"
#include "model.hpp"
#include "range.hpp"

namespace web {

constexpr int offsets[4][2] = {{0, 0}, {1, 1}, {0, 1}, {1, 0}};  // rows and columns of a, d, b, c

// Three bands of a component, in coding order. Those of a single band are the same.
struct Component {
    Component() = default;
    Component(int height, int width) : height(height), width(width), samples(3 * size_t(height) * size_t(width)) {}

    int height = 0, width = 0;
    std::vector<int32_t> samples;

    size_t count() const { return size_t(height) * size_t(width); }
    int32_t* band(int index) { return samples.data() + size_t(index) * count(); }
    const int32_t* band(int index) const { return samples.data() + size_t(index) * count(); }

    // Becomes part of the planes of its level, as component `index`.
    void put(Component& planes, int index) const;
};

// A mirror image: which axes are in reverse order.
struct Transform {
    bool rows, columns;

    // Component `index` of the mirror image.
    Component of(const Component& component, int index) const;
};
constexpr Transform transforms[4] = {{false, false}, {true, true}, {false, true}, {true, false}};

// A mixture of `parts` logistics for each of `count` positions: (parts, count) each.
struct Mixture {
    int parts = 0;
    std::vector<int32_t> weights, centres, scales;
};

// The first rows and columns of (rows, height, width).
std::vector<int32_t> cut(const int32_t* from, int rows, int height, int width, int to_height, int to_width);

// docs/format.md: Side information.
struct SideInformation {
    SideInformation(Stream& stream, int axes, int coefficients);

    std::vector<int32_t> moves;  // (axes, 8) of log-scales, twice what is told
    Numbers offsets;             // of the means, and of each coefficient
};

// What a network predicts of a band at every position of `a`.
class Prediction {
public:
    // `map`: an output layer's result for one image.
    Prediction(const Map& map, int parts, int chain, size_t count, bool is_mapped, const neuralcodec::BandTaps& near)
        : map_(map),
          own_(size_t(neuralcodec::BandRows::rows(parts, is_mapped)) * count),
          outputs{map->sums(), ptrdiff_t(count), ptrdiff_t(count), parts, chain},
          rows(own_.data(), outputs, is_mapped),
          parts(parts),
          chain(chain),
          count(count),
          near(near) {}

private:
    const Map map_;
    std::vector<int32_t> own_;

public:
    const neuralcodec::BandOutputs outputs;
    const neuralcodec::BandRows rows;
    const int parts, chain;
    const size_t count;
    const neuralcodec::BandTaps near;
    std::vector<const int32_t*> before;  // values of the bands before

    std::vector<int32_t> copy(const int32_t* from) const { return {from, from + size_t(parts) * count}; }
    // Centres with offsets added to the means, and to each coefficient of chain and filter.
    std::vector<int32_t> centres(const std::vector<int64_t>& offsets) const;
    // Log-scales, limited, moved by the offsets (axes, 8) of the classes (axes, count), if there are any.
    static std::vector<int32_t> limited(const std::vector<int32_t>& scales, int parts, size_t count, int log_gain,
                                        const std::vector<uint8_t>& classes = {}, const std::vector<int32_t>& moves = {});
};

// The run of a pyramid over a level, of an image or of one of its mirror images.
class Member {
public:
    Member(const Model& model, const Range& range, int level, Transform transform, const Component& first, Map features,
           neuralcodec::PositionInputs positions);

    const Transform transform;
    Map features;  // of the last stage

    // The name of the stage that is predicted.
    const std::string& stage() const { return stage_; }
    void add(const Component& component, int index);
    // The features of the next stage.
    void predict();
    // What is predicted of its next band.
    const Prediction& next_band();
    // The samples of that band are known: those of `component`.
    void accept(const Component& component, int index);

private:
    const Model& model_;
    const Range& range_;
    const int net_;
    neuralcodec::PositionInputs positions_;
    std::vector<Component> known_, mapped_;
    std::string stage_;
    Component base_;
    Map of_band_;
    std::vector<std::unique_ptr<Prediction>> found_;
    std::vector<const int32_t*> planes_;           // of the known components
    std::vector<std::vector<int32_t>> values_;     // of each band
    std::vector<std::vector<int8_t>> seen_;        // (count, 2)
};

// In the size of `like`: the last row and column repeated, or `like` itself where it is empty.
Component extended(const Component& component, const Component& like);

}  // namespace web
