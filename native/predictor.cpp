#include "predictor.hpp"

#include <algorithm>
#include <stdexcept>

namespace neuralcodec {

using namespace predictor;

namespace {

// Neighbours as wavefronts back and rows up: see predictor_blend.py. Columns to the right are 2 * up - back.
struct Neighbour {
    int back, up;
    constexpr int right() const { return 2 * up - back; }
};
constexpr Neighbour places[neighbours] = {{1, 0}, {2, 1}, {3, 1}, {1, 1}, {2, 0}, {4, 2}, {3, 2}, {4, 1}};
constexpr int depth = 5;   // wavefronts in reach
constexpr int border = 2;  // columns beside a row
constexpr ptrdiff_t chunk = 128;  // samples of a row that are predicted at once: their numbers fit the first cache

struct Rows {
    ptrdiff_t low, high;
};

// The rows that the wavefront x + 2 y crosses inside of the image.
Rows rows_of(ptrdiff_t wave, ptrdiff_t height, ptrdiff_t width) {
    return {std::max<ptrdiff_t>(0, (wave - width + 2) / 2), std::min(height, wave / 2 + 1)};
}

int groups_of(ptrdiff_t band) { return int(std::min<ptrdiff_t>(band, most_groups - 1)) + 1; }

// Three rows of a band with their borders, the current one and the two above.
class RowBand {
public:
    RowBand(ptrdiff_t width, ptrdiff_t band)
        : groups(groups_of(band)),
          line(width + 2 * border),
          pixels_(size_t(3 * line)),
          misses_(size_t(3 * groups * simple * line)),
          finals_(size_t(3 * line)) {}

    int16_t* pixels(ptrdiff_t y, ptrdiff_t x) { return pixels_.data() + y % 3 * line + border + x; }
    uint8_t* finals(ptrdiff_t y, ptrdiff_t x) { return finals_.data() + y % 3 * line + border + x; }
    uint8_t* misses(ptrdiff_t y, ptrdiff_t x) {
        return misses_.data() + y % 3 * groups * simple * line + border + x;
    }

    // Takes a row's samples: left of the image lies the sample above its first, right of it its last.
    void load(const uint8_t* row, ptrdiff_t column_stride, ptrdiff_t y, ptrdiff_t width) {
        int16_t* out = pixels(y, 0);
        out[-1] = out[-2] = *pixels(y + 2, 0);
        for (ptrdiff_t x = 0; x < width; x++) out[x] = row[x * column_stride];
        out[width] = out[width + 1] = out[width - 1];
    }

    const int groups;
    const ptrdiff_t line;

private:
    std::vector<int16_t> pixels_;
    std::vector<uint8_t> misses_, finals_;
};

}  // namespace

void predictor_residuals(const PredictorKernel& kernel, const Tables& tables,
                         const PredictorImage<const uint8_t>& image, const PredictorResiduals& out) {
    const ptrdiff_t height = image.height, width = image.width, count = image.bands();
    std::vector<RowBand> bands;
    for (ptrdiff_t b = 0; b < count; b++) bands.emplace_back(width, b);
    std::vector<uint32_t> counted(size_t(count * levels * symbols));  // of 32 bits, for the first caches: an image has fewer
    int16_t predictions[most_predictors * chunk], devs[most_groups][simple * chunk];
    uint8_t blend[chunk];
    uint16_t spread[chunk];
    for (ptrdiff_t y = 0; y < height; y++) {
        for (ptrdiff_t b = 0; b < count; b++) bands[size_t(b)].load(image.row(b, y), image.column_stride, y, width);
        for (ptrdiff_t x = 0; x < width; x += chunk)
            for (ptrdiff_t b = 0; b < count; b++) {
                RowBand& band = bands[size_t(b)];
                PredictorRun run{};
                run.count = std::min(chunk, width - x);
                run.groups = band.groups;
                run.stride = run.dev_stride = chunk;
                run.miss_stride = band.line;
                run.predictions = predictions, run.blend = blend, run.spread = spread;
                for (int k = 0; k < neighbours; k++) {
                    const ptrdiff_t above = y + 3 - places[k].up, across = x + places[k].right();
                    run.misses[k] = band.misses(above, across);
                    if (k >= pixel_neighbours) continue;
                    run.pixels[k] = band.pixels(above, across);
                    run.finals[k] = band.finals(above, across);
                }
                for (int g = 1; g < band.groups; g++) {
                    const ptrdiff_t before = b - band.groups + g;
                    run.devs[g - 1] = devs[before % most_groups];
                    run.before[g - 1] = bands[size_t(before)].finals(y, x);
                }
                const int16_t* pixels = band.pixels(y, x);
                const ptrdiff_t at = (b * height + y) * width + x;
                kernel.predict(run);
                kernel.miss(run, pixels, band.misses(y, x));
                kernel.blend(run, tables.weights);
                kernel.settle(run, pixels, band.finals(y, x), devs[b % most_groups]);
                kernel.level(run, tables, out.levels + at);
                uint8_t *residuals = out.residuals + at, *levels_of = out.levels + at;
                for (ptrdiff_t i = 0; i < run.count; i++) residuals[i] = uint8_t(pixels[i] - blend[i] + 128);
                uint32_t* counts = counted.data() + b * levels * symbols;
                for (ptrdiff_t i = 0, end = run.count; i < end; i++) counts[levels_of[i] * symbols + residuals[i]]++;
            }
    }
    std::copy(counted.begin(), counted.end(), out.counts);
}

void PredictorSymbols::code(uint32_t* start, uint32_t* freq, int64_t* ends) const {
    const ptrdiff_t waves = width + 2 * (height - 1);
    std::vector<int64_t> begins(size_t(waves * bands));  // of each wavefront of each band, less its first row
    int64_t at = 0;
    for (ptrdiff_t step = 0; step < steps(); step++) {
        for (ptrdiff_t b = std::max<ptrdiff_t>(0, step - waves + 1); b < std::min(bands, step + 1); b++) {
            const Rows rows = rows_of(step - b, height, width);
            begins[size_t(b * waves + step - b)] = at - rows.low;
            at += rows.high - rows.low;
        }
        ends[step] = at;
    }
    // A few rows at once: they are read along, and the symbols of a wavefront lie beside each other.
    constexpr ptrdiff_t together = 64;
    for (ptrdiff_t b = 0; b < bands; b++)
        for (ptrdiff_t top = 0; top < height; top += together) {
            const ptrdiff_t bottom = std::min(height, top + together);
            for (ptrdiff_t wave = 2 * top; wave < width + 2 * (bottom - 1); wave++) {
                const Rows rows = rows_of(wave, height, width);
                const int64_t begin = begins[size_t(b * waves + wave)];
                for (ptrdiff_t y = std::max(top, rows.low); y < std::min(bottom, rows.high); y++) {
                    const ptrdiff_t sample = (b * height + y) * width + wave - 2 * y;
                    const int64_t row = choices[b * predictor::levels + levels[sample]];
                    const Interval interval = tables.interval(row, residuals[sample]);
                    start[begin + y] = interval.start;
                    freq[begin + y] = interval.freq;
                }
            }
        }
}

PredictorDecoder::PredictorDecoder(const PredictorKernel& kernel, const Tables& tables,
                                   const FrequencyTables& frequencies, const int64_t* choices,
                                   const PredictorImage<uint8_t>& image)
    : kernel_(kernel),
      tables_(tables),
      frequencies_(frequencies),
      choices_(choices),
      image_(image),
      line_(image.height + border + 1),
      waves_(image.width + 2 * (image.height - 1)) {
    const size_t height = size_t(image.height), line = size_t(line_);
    for (ptrdiff_t b = 0; b < image.bands(); b++) {
        Band band;
        band.groups = groups_of(b);
        const size_t predictors = size_t(band.groups * simple);
        band.pixels.resize(depth * line);
        band.misses.resize(depth * predictors * line);
        band.finals.resize(depth * line);
        band.devs.resize(most_groups * simple * height);
        band.predictions.resize(predictors * height);
        band.blend.resize(height);
        band.spread.resize(height);
        bands_.push_back(std::move(band));
    }
    levels_.resize(height);
    samples_.resize(height);
    predict_step();
}

template <class F>
void PredictorDecoder::each_active(const F& work) {
    const ptrdiff_t first = std::max<ptrdiff_t>(0, step_ - waves_ + 1);
    for (ptrdiff_t b = first; b < std::min(image_.bands(), step_ + 1); b++) work(b);
}

bool PredictorDecoder::pop(Lanes& lanes, ptrdiff_t count) {
    while (count) {
        const ptrdiff_t size = ptrdiff_t(rows_.size()), high = std::min(size, done_ + count);
        if (high == done_) throw std::invalid_argument("more samples than there are");
        const TableItems items(frequencies_, rows_.data(), size);
        if (!neuralcodec::pop(lanes, items, {done_, high}, residuals_.data())) return false;
        count -= high - done_;
        done_ = high;
        if (done_ == size) accept_step();
    }
    return true;
}

void PredictorDecoder::predict_step() {
    rows_.clear();
    done_ = 0;
    each_active([&](ptrdiff_t b) { predict(b); });
    residuals_.resize(rows_.size());
}

void PredictorDecoder::accept_step() {
    const int64_t* residuals = residuals_.data();
    each_active([&](ptrdiff_t b) { residuals = accept(b, residuals); });
    step_++;
    predict_step();
}

void PredictorDecoder::predict(ptrdiff_t b) {
    Band& band = bands_[size_t(b)];
    const Rows rows = rows_of(band.wave, image_.height, image_.width);
    band.low = rows.low, band.high = rows.high;
    PredictorRun run{};
    run.count = rows.high - rows.low;
    run.groups = band.groups;
    run.stride = run.dev_stride = image_.height;
    run.miss_stride = line_;
    run.predictions = band.predictions.data(), run.blend = band.blend.data(), run.spread = band.spread.data();
    for (int k = 0; k < neighbours; k++) {
        const ptrdiff_t ring = (band.wave + depth - places[k].back) % depth, row = rows.low + border - places[k].up;
        run.misses[k] = band.misses.data() + ring * band.groups * simple * line_ + row;
        if (k >= pixel_neighbours) continue;
        run.pixels[k] = band.pixels.data() + ring * line_ + row;
        run.finals[k] = band.finals.data() + ring * line_ + row;
    }
    for (int g = 1; g < band.groups; g++) {
        const Band& before = bands_[size_t(b - band.groups + g)];
        run.devs[g - 1] = before.devs.data() + band.wave % most_groups * simple * image_.height;
        run.before[g - 1] = before.finals.data() + band.wave % depth * line_ + rows.low + border;
    }
    kernel_.predict(run);
    kernel_.blend(run, tables_.weights);
    kernel_.level(run, tables_, levels_.data());
    for (ptrdiff_t i = 0; i < run.count; i++) rows_.push_back(choices_[b * levels + levels_[size_t(i)]]);
}

const int64_t* PredictorDecoder::accept(ptrdiff_t b, const int64_t* residuals) {
    Band& band = bands_[size_t(b)];
    const ptrdiff_t wave = band.wave++, low = band.low, count = band.high - low;
    const ptrdiff_t ring = wave % depth, last = (ring + depth - 1) % depth;
    int16_t* line = band.pixels.data() + ring * line_;
    const int16_t* line_before = band.pixels.data() + last * line_;
    uint8_t* out = image_.row(b, low) + (wave - 2 * low) * image_.column_stride;
    const ptrdiff_t down = image_.row_stride - 2 * image_.column_stride;
    for (ptrdiff_t i = 0; i < count; i++) {
        const uint8_t pixel = uint8_t(band.blend[size_t(i)] + residuals[i] - 128);
        out[i * down] = pixel;
        samples_[size_t(i)] = line[low + border + i] = pixel;
    }
    // Left of the image lies the sample above the row's first, right of it its last.
    const ptrdiff_t below = wave / 2 + 1, ended = wave - image_.width;
    if (below < image_.height)
        line[below + border] = wave % 2 ? line_before[below + border] : line[below + border - 1];
    if (ended >= 0 && ended % 2 == 0 && ended / 2 < image_.height)
        line[ended / 2 + border] = line_before[ended / 2 + border];
    uint8_t* misses = band.misses.data() + ring * band.groups * simple * line_;
    uint8_t* finals = band.finals.data() + ring * line_;
    std::fill_n(misses, band.groups * simple * line_, uint8_t(0));
    std::fill_n(finals, line_, uint8_t(0));
    PredictorRun run{};
    run.count = count;
    run.groups = band.groups;
    run.stride = run.dev_stride = image_.height;
    run.miss_stride = line_;
    run.predictions = band.predictions.data(), run.blend = band.blend.data();
    kernel_.miss(run, samples_.data(), misses + low + border);
    kernel_.settle(run, samples_.data(), finals + low + border,
                   band.devs.data() + wave % most_groups * simple * image_.height);
    return residuals + count;
}

}  // namespace neuralcodec
