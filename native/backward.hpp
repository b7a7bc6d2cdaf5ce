// Backward adaptation of the mixtures of a band, half row by half row. See flow/backward.py, which defines it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "bands.hpp"
#include "distribution.hpp"
#include "mixtures.hpp"

namespace neuralcodec {

namespace backward {

constexpr int near_taps = 8, nearest = 4, earlier_taps = 3, earlier_neighbours = 3, most_earlier = 2;
constexpr int memories = 2, stacked = 4, classes = 8, entries = 17;
constexpr int stack_groups = classes / 2, scale_tables = 3, trust = 3, tables = 4;  // the last is of shifts
constexpr int block = 8;            // columns of a half that share coefficients
constexpr int group = 16;           // most blocks whose systems are solved beside each other
constexpr int most_features = 30;   // of an odd column of a third band
constexpr int features_room = 32;   // for those of a column, and what they predict
constexpr int scale_steps = 209;    // from the least log-scale to the largest of a network
constexpr int32_t distant = 1 << 29;  // distances beyond are as good as this one
constexpr ptrdiff_t most_columns = 1 << 15;

}  // namespace backward

// A band before, (height, width).
struct EarlierBand {
    const int32_t *surprises, *values;
};

// What is known of a band before its samples are: mixtures (parts, height, width), the surprises of the nearest samples
// (nearest, height, width), and what lies near in its only image, of which it may have fewer rows and columns.
struct AdaptedBandInput {
    ptrdiff_t height, width;
    int parts;
    const int32_t *weights, *centres, *scales, *nearest;
    BandTaps near;
    std::vector<EarlierBand> earlier;
    LatticePrior prior = {};  // of (height, width), or nothing
    std::optional<Cells> cells = {};
};

// 2**14 / s and 2**8 s of each log-scale, with s its standard deviation, and the distance that is 128 s / 16 or more.
struct Deviations {
    int32_t inverse[backward::scale_steps], deviation[backward::scale_steps], reach[backward::scale_steps];
};

// Of log-scales: offsets, and sums of squared derivatives.
struct ScaleTable {
    int64_t offsets[backward::classes * backward::entries], squares[backward::classes * backward::entries];
};

// What is fitted for the even or the odd columns.
struct AdaptedHalf {
    int features;
    ptrdiff_t columns, blocks, room;             // room for columns: whole blocks
    int pair_rows[backward::most_features + 1];  // where the products of each feature with those from it on begin; their end
    int32_t limits[backward::features_room];     // of features
    std::vector<int32_t> sums[backward::memories];          // (blocks, pairs)
    std::vector<int32_t> coefficients[backward::memories];  // (blocks, features_room)
    // Of the half row that is prepared: numbers (columns), features and what they predict (features_room, room), mixtures
    // (parts, columns), sums of their means and scales.
    std::vector<int32_t> mean, inverse, deviation, reach, of_class, map_of, octave;
    std::vector<int32_t> scaled;
    std::vector<int32_t> weights, centres, scales;
    std::vector<uint64_t> moments;
    std::vector<int32_t> raw;  // a feature, before it is scaled

    std::vector<int32_t> around;   // of all systems, (memories * blocks, pairs)
    std::vector<float> matrix;     // (pairs, group)
};

// What the components of a band teach those after them. See flow/learners.py.
struct Learned {
    ScaleTable scales[backward::tables];
    int64_t counts[backward::classes][logistic::bins];
    int64_t stack[2][backward::stacked][backward::stacked + 1][backward::stack_groups];  // of even and of odd columns
};

// A band that is being coded. Numbers of a half row are of its columns.
struct BandState {
    const LogisticTables& tables;
    AdaptedBandInput input;
    Deviations deviations;
    AdaptedHalf halves[2];
    Learned learned;
    int32_t maps[backward::classes][logistic::map_room];
    // With a border, (height + 2, width + 2): surprises; squares of what is left of them, of themselves, and of what the
    // local predictions leave.
    std::vector<int32_t> surprises, energy, errors[1 + backward::memories];

    std::vector<int32_t> wanted, shift, target, low, high;
    std::vector<int32_t> entry[backward::scale_tables], part[backward::scale_tables];
    std::vector<int32_t> predictions;  // (stacked, room)
    std::vector<int32_t> squares, counts;
    std::vector<float> above, below;
};

struct BackwardKernel {
    // Makes the calibration of a class.
    void (*calibrate)(BandState&, int of_class);
    // Reads what is known of a half row before the band: of the first row, and of others once the values of the row before are
    // taken. The other half may be predicted and taken meanwhile.
    void (*prepare)(BandState&, ptrdiff_t row, int half);
    // Makes its mixtures.
    void (*predict)(BandState&, ptrdiff_t row, int half);
    // Takes its values, which the local least squares are then to be fitted to.
    void (*accept)(BandState&, ptrdiff_t row, int half, const int32_t* values);
    // Fits them, for the next row. The other half may be predicted and taken meanwhile.
    void (*fit)(BandState&, ptrdiff_t row, int half);
};

// The mixtures of a band, which adapt while their symbols are found: each item once, in order. While the symbols of one half of
// a row are found, another thread fits the other half, if there is one to spare.
class AdaptedBand : public Distribution {
public:
    AdaptedBand(const BackwardKernel& kernel, const MixtureKernel& mixtures, const LogisticTables& tables,
                const AdaptedBandInput& input, const Deviations& deviations, const Learned& learned, int threads);

    // Throws std::invalid_argument for items that are not the next ones, or not of one half row.
    void find(const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) const override;
    ptrdiff_t size() const override { return state_.input.height * state_.input.width; }
    void during(ptrdiff_t count, const std::function<void()>& work) const override;

    // Intervals of all values (height, width), in coding order. Throws std::invalid_argument for a value out of range.
    void code(const int64_t* values, uint32_t* start, uint32_t* freq);

    // Of all samples, (height, width).
    void surprises(int32_t* out) const;

    const Learned& learned() const { return state_.learned; }

    ptrdiff_t done() const { return row_ * state_.input.width + at_; }

private:
    MixtureParameters half_row() const;
    ptrdiff_t columns() const { return state_.halves[half_].columns; }
    void next() const;
    bool fit(int half) const;

    const BackwardKernel& kernel_;
    const MixtureKernel& mixtures_;
    // Distributions are constant to the lanes; this one is of a single reader.
    mutable BandState state_;
    mutable std::vector<int32_t> values_;  // of the half row
    mutable LatticePrior prior_ = {};      // of the half row
    mutable ptrdiff_t row_ = 0, found_ = 0, at_ = 0;
    mutable int half_ = 0;

    enum Fit { done_with, wanted, begun };
    const int threads_;
    mutable std::atomic<Fit> fit_[2] = {{done_with}, {done_with}};  // of the even and the odd columns
    mutable ptrdiff_t fit_row_[2] = {};
    mutable bool accompanied_ = false;  // by a thread that fits
};

}  // namespace neuralcodec
