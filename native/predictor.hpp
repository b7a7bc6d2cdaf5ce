// The predictor coder: what is expected of samples, and the symbols for them. See methods/predictor.py, predictor_blend.py and
// predictor_tables.py, which define all of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lanes.hpp"
#include "tables.hpp"

namespace neuralcodec {

namespace predictor {

constexpr int simple = 7, most_groups = 3, most_predictors = simple * most_groups;
constexpr int pixel_neighbours = 6, neighbours = 8, levels = 31, symbols = 256;
constexpr int miss_sums = 14 * 255 + 1;         // what a weighted sum of errors can be: 0 .. 14 * 255
constexpr uint32_t largest_weight = 1 << 21;  // 32 bits hold the sum of 21, and of halves of them times predictions

// The numpy code's tables: weights of a predictor by its errors nearby, levels by the activity, the last of them for all above.
struct Tables {
    const uint32_t* weights;
    const uint8_t* levels;
    ptrdiff_t activities;
};

}  // namespace predictor

// Samples of a band that are predicted at once, in a row or on a wavefront, by 7 simple predictors, or by `groups` times 7:
// the simple ones, and them plus what they missed by in each band before. Neighbours come in the order of numpy's `PIXELS`,
// then NNE and NWW. Rows of predictors are `stride`, `miss_stride` and `dev_stride` apart.
struct PredictorRun {
    ptrdiff_t count;
    int groups;
    const int16_t* pixels[predictor::pixel_neighbours];
    const int16_t* devs[predictor::most_groups - 1];
    const uint8_t* misses[predictor::neighbours];
    const uint8_t* finals[predictor::pixel_neighbours];
    const uint8_t* before[predictor::most_groups - 1];  // final errors of the bands before
    ptrdiff_t stride, miss_stride, dev_stride;
    int16_t* predictions;
    uint8_t* blend;
    uint16_t* spread;  // how much the predictions disagree, as it counts for the activity
};

struct PredictorKernel {
    void (*predict)(const PredictorRun&);
    // Errors of the predictions, of samples 0..255.
    void (*miss)(const PredictorRun&, const int16_t* pixels, uint8_t* misses);
    void (*blend)(const PredictorRun&, const uint32_t* weights);
    // The errors of the blend and of the simple predictors.
    void (*settle)(const PredictorRun&, const int16_t* pixels, uint8_t* finals, int16_t* devs);
    void (*level)(const PredictorRun&, const predictor::Tables&, uint8_t* levels);
};

// Samples (height, width, bands), wherever they lie; `order` is the order in which bands are coded.
template <class T>
struct PredictorImage {
    T* data;
    ptrdiff_t height, width;
    ptrdiff_t row_stride, column_stride, band_stride;
    const std::vector<int>& order;

    ptrdiff_t bands() const { return ptrdiff_t(order.size()); }
    T* row(ptrdiff_t band, ptrdiff_t y) const { return data + order[size_t(band)] * band_stride + y * row_stride; }
};

// Residuals + 128 modulo 256 and levels of all samples, (bands, height, width), and how often each residual occurs at each
// level, (bands, levels, symbols).
struct PredictorResiduals {
    uint8_t *residuals, *levels;
    int64_t* counts;
};

void predictor_residuals(const PredictorKernel& kernel, const predictor::Tables& tables,
                         const PredictorImage<const uint8_t>& image, const PredictorResiduals& out);

struct PredictorSymbols {
    const FrequencyTables& tables;
    const int64_t* choices;  // (bands, levels): rows of the tables, which the caller has checked
    const uint8_t *residuals, *levels;
    ptrdiff_t height, width, bands;

    ptrdiff_t steps() const { return width + 2 * (height - 1) + bands - 1; }
    // All symbols in the decoder's order, and where each step ends.
    void code(uint32_t* start, uint32_t* freq, int64_t* ends) const;
};

// Decodes samples step by step: a wavefront of each band, band b b steps behind the first.
class PredictorDecoder {
public:
    // All of it is kept by the caller, who has checked the choices.
    PredictorDecoder(const PredictorKernel& kernel, const predictor::Tables& tables, const FrequencyTables& frequencies,
                     const int64_t* choices, const PredictorImage<uint8_t>& image);

    // Pop the next samples, `count` of them. False where the stack holds too little. Throws std::invalid_argument where
    // there are not as many.
    bool pop(Lanes& lanes, ptrdiff_t count);

private:
    struct Band {
        int groups;
        ptrdiff_t wave = 0, low = 0, high = 0;
        // Recent wavefronts by row, two rows of zeros before the first.
        std::vector<int16_t> pixels, devs, predictions;
        std::vector<uint8_t> misses, finals, blend;
        std::vector<uint16_t> spread;
    };
    void predict_step();
    void predict(ptrdiff_t band);
    void accept_step();
    const int64_t* accept(ptrdiff_t band, const int64_t* residuals);
    template <class F>
    void each_active(const F& work);

    const PredictorKernel& kernel_;
    const predictor::Tables tables_;
    const FrequencyTables& frequencies_;
    const int64_t* choices_;
    const PredictorImage<uint8_t> image_;
    const ptrdiff_t line_, waves_;
    std::vector<Band> bands_;
    std::vector<uint8_t> levels_;
    std::vector<int16_t> samples_;
    std::vector<int64_t> rows_, residuals_;  // of the step
    ptrdiff_t step_ = 0, done_ = 0;          // `done_` samples of the step are popped
};

}  // namespace neuralcodec
