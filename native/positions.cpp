#include "positions.hpp"

#include <algorithm>
#include <cstring>

namespace neuralcodec {
namespace {

// Of the rows, or the columns, of a window those that are inside of the image.
struct Inside {
    int first, last;
    Inside(const Fold& fold, int place)
        : first(std::max(0, fold.reach - fold.position(place))),
          last(std::min(2 * fold.reach + 1, fold.count + fold.reach - fold.position(place))) {}
    bool operator!=(const Inside& other) const { return first != other.first || last != other.last; }
};

// Adds those of `parts` (rows or columns of a window, count) that are inside.
void add(const Inside& inside, const int32_t* parts, int count, int32_t* sums) {
    for (int n = inside.first; n < inside.last; n++)
        for (int i = 0; i < count; i++) sums[i] += parts[n * count + i];
}

bool is_zero(const AxisInputs& inputs, ptrdiff_t image) {
    const int8_t* values = inputs.image(image);
    return std::all_of(values, values + inputs.size(), [](int8_t value) { return value == 0; });
}

bool alike(const AxisInputs& inputs, ptrdiff_t one, ptrdiff_t other) {
    return std::equal(inputs.image(one), inputs.image(one) + inputs.size(), inputs.image(other));
}

}  // namespace

int AxisInputs::period(ptrdiff_t index) const {
    const int8_t* values = image(index);
    int period = 1;
    const auto repeats = [&] {
        for (int channel = 0; channel < channels; channel++) {
            const int8_t* along = values + ptrdiff_t(channel) * count;
            if (!std::equal(along + period, along + count, along)) return false;
        }
        return true;
    };
    while (period < count && !repeats()) period++;
    return period;
}

PositionWeights::PositionWeights(const int8_t* weight, int outputs, int first, int channels_, int kernel, int padded)
    : channels(channels_), kernel_(kernel), outputs_(padded) {
    const ptrdiff_t area = ptrdiff_t(kernel) * kernel, size = channels * area;
    rows_.assign(size_t(size) * size_t(padded), 0);
    columns_ = rows_;
    for (int o = 0; o < outputs; o++) {
        const int8_t* of_rows = weight + o * (first * area + 2 * size) + first * area;
        for (ptrdiff_t channel = 0; channel < channels; channel++)
            for (int dy = 0; dy < kernel; dy++)
                for (int dx = 0; dx < kernel; dx++) {
                    const ptrdiff_t at = channel * area + dy * kernel + dx, turned = channel * area + dx * kernel + dy;
                    rows_[size_t(at * padded + o)] = of_rows[at];
                    columns_[size_t(turned * padded + o)] = of_rows[size + at];
                }
    }
}

std::vector<std::shared_ptr<const PositionSums>> PositionWeights::sums(const PositionInputs& inputs, ptrdiff_t images,
                                                                       const std::vector<int32_t>& bias) const {
    std::vector<std::shared_ptr<const PositionSums>> found;
    for (ptrdiff_t image = 0; channels && image < images; image++) {
        if (is_zero(inputs.rows, image) && is_zero(inputs.columns, image))
            found.emplace_back();
        else if (image && alike(inputs.rows, image, image - 1) && alike(inputs.columns, image, image - 1))
            found.push_back(found.back());
        else
            found.push_back(std::make_shared<const PositionSums>(sums_of(inputs, image, bias)));
    }
    return found;
}

// What the channels of one axis add at its places: (places, across the axis, outputs).
std::vector<int32_t> PositionWeights::parts(const std::vector<int16_t>& weights, const int8_t* inputs,
                                            const Fold& fold) const {
    const size_t size = size_t(kernel_) * size_t(outputs_);
    std::vector<int32_t> sums(size_t(fold.places) * size);
    for (int place = 0; place < fold.places; place++) {
        int32_t* out = sums.data() + size_t(place) * size;
        if (place >= fold.reach + fold.period && place < fold.places - fold.reach) {
            std::copy_n(out - size_t(fold.period) * size, size, out);
            continue;
        }
        const Inside inside(fold, place);
        for (int along = inside.first; along < inside.last; along++)
            for (int channel = 0; channel < channels; channel++) {
                const int at = fold.position(place) + along - fold.reach;
                const int16_t value = inputs[ptrdiff_t(channel) * fold.count + at];
                const int16_t* weight = weights.data() + size_t(channel * kernel_ + along) * size;
                if (!value) continue;  // as most are
                for (size_t i = 0; i < size; i++) out[i] += value * weight[i];
            }
    }
    return sums;
}

PositionSums PositionWeights::sums_of(const PositionInputs& inputs, ptrdiff_t image,
                                      const std::vector<int32_t>& bias) const {
    const int reach = kernel_ / 2;
    const Fold rows = Fold::of(inputs.rows.count, reach, inputs.rows.period(image), 1);
    const Fold columns = Fold::of(inputs.columns.count, reach, inputs.columns.period(image), longest_run);
    const std::vector<int32_t> of_rows = parts(rows_, inputs.rows.image(image), rows);
    const std::vector<int32_t> of_columns = parts(columns_, inputs.columns.image(image), columns);
    const size_t size = size_t(outputs_), window = size_t(kernel_) * size, row = size_t(columns.places) * size;
    PositionSums result{rows, columns, outputs_, std::vector<int32_t>(size_t(rows.places) * row)};
    std::vector<int32_t> along(row), inside(size);  // what columns add in a row, with the bias, and what the row adds
    for (int y = 0; y < rows.places; y++) {
        const Inside of_window(rows, y);
        if (!y || of_window != Inside(rows, y - 1))
            for (int x = 0; x < columns.places; x++) {
                int32_t* sums = std::copy_n(bias.data(), size, along.data() + size_t(x) * size) - size;
                add(of_window, of_columns.data() + size_t(x) * window, outputs_, sums);
            }
        for (int x = 0; x < columns.places; x++) {
            if (const Inside in_row(columns, x); !x || in_row != Inside(columns, x - 1)) {
                std::fill(inside.begin(), inside.end(), 0);
                add(in_row, of_rows.data() + size_t(y) * window, outputs_, inside.data());
            }
            const int32_t* before = along.data() + size_t(x) * size;
            int32_t* sums = result.sums.data() + size_t(y) * row + size_t(x) * size;
            for (size_t i = 0; i < size; i++) sums[i] = before[i] + inside[i];
        }
    }
    return result;
}

}  // namespace neuralcodec
