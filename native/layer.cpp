#include "layer.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include "parallel.hpp"

namespace neuralcodec {
namespace {

constexpr int activation_max = 127, weight_max = 127, pixel_max = 128, pixel_weight_max = 64, shift_max = 16;
constexpr int64_t sum_bound = int64_t(1) << 23;

// Multiply-adds below which another thread is not worth waking, and bytes of inputs and outputs that rows worked on at
// once may take: they stay in the second-level cache for all blocks of channels.
constexpr double thread_work = 1 << 22;
constexpr ptrdiff_t cached_bytes = 256 << 10;

int up(int n, int unit) { return (n + unit - 1) / unit * unit; }

// Steps in a row of a window of `bytes` bytes: see ConvolutionKernel::part_steps.
int steps_of(int bytes, int part_steps) {
    const int steps = up(bytes, 4) / 4;
    return up(steps, equal_part(steps, part_steps));
}

// How many of `left` steps fit into a group: until the weights of a sum exceed `most`, at least one. Adds up the positive
// and the negative weights of each sum.
int group_length(const int8_t* weights, int left, int most, std::vector<int>& positive, std::vector<int>& negative) {
    const size_t count = positive.size();
    for (int length = 0; length < left; length++, weights += 2 * count) {
        for (size_t i = 0; length && i < count; i++)
            if (positive[i] + negative[i] + std::abs(int(weights[2 * i])) + std::abs(int(weights[2 * i + 1])) > most)
                return length;
        for (size_t i = 0; i < 2 * count; i++)
            (weights[i] > 0 ? positive : negative)[i / 2] += std::abs(int(weights[i]));
    }
    return left;
}

}  // namespace

int stride_of(Content content, int channels) {
    return content == Content::pixels ? channels : up(channels, channel_group);
}

Layer::Layer(const LayerSpec& spec, const Kernels& kernels)
    : name(spec.name),
      outputs(spec.outputs),
      inputs(spec.inputs - spec.positions),
      kernel(spec.kernel),
      pixel_input(spec.pixel_input),
      is_output(spec.is_output),
      kernels_(kernels.convolution),
      stride_(stride_of(pixel_input ? Content::pixels : Content::activations, inputs)),
      result_stride_(up(outputs, channel_group)),
      steps_(steps_of(kernel * stride_, kernels_.part_steps)),
      channels_(is_output ? up(outputs, kernels_.lanes) : result_stride_),
      vectors_(equal_part(channels_ / kernels_.lanes, kernels_.vectors)),
      positions_(spec.weight, outputs, inputs, spec.positions / 2, kernel, channels_) {
    check_bounds(spec);
    pack(spec);
    if (kernels_.grouped) group();
}

// The bounds of nets/spec.py. Sums stay below 2**23 with pixels as unsigned bytes, too.
void Layer::check_bounds(const LayerSpec& spec) const {
    const auto fail = [&](const char* what) { throw std::invalid_argument("layer '" + name + "': " + what); };
    const int limit = pixel_input ? pixel_weight_max : weight_max, reach = pixel_input ? 2 * pixel_max : activation_max;
    const ptrdiff_t count = ptrdiff_t(spec.inputs) * kernel * kernel;
    for (int o = 0; o < outputs; o++) {
        int64_t total = 0;
        int largest = 0;
        for (ptrdiff_t i = 0; i < count; i++) {
            const int weight = std::abs(int(spec.weight[o * count + i]));
            largest = std::max(largest, weight);
            total += weight;
        }
        if (largest > limit) fail("a weight is out of range");
        if (spec.shift[o] < 0 || spec.shift[o] > shift_max) fail("a shift is out of 0..16");
        if (total * reach + std::abs(int64_t(spec.bias[o])) >= sum_bound) fail("a sum could reach 2**23");
    }
}

void Layer::pack(const LayerSpec& spec) {
    const int lanes = kernels_.lanes, vectors = channels_ / lanes;
    weights_.assign(size_t(channels_) * kernel * steps_ * 4, 0);
    bias_.assign(size_t(channels_), 0);
    shift_.assign(size_t(channels_), 0);
    const ptrdiff_t area = ptrdiff_t(kernel) * kernel, window = ptrdiff_t(kernel) * steps_ * 4;
    const ptrdiff_t by_lane = kernels_.by_channel ? window : 4;
    std::vector<int> places(size_t(inputs * area));  // of a channel's weights, and the bytes from step to step

    int step_size = 0;
    for (int o = 0; o < outputs; o++) {
        const int vector = o / lanes, first = vector / vectors_ * vectors_;
        const int size = kernels_.by_channel ? 4 : std::min(vectors_, vectors - first) * lanes * 4;
        if (size != step_size) {
            step_size = size;
            int* place = places.data();
            for (int i = 0; i < inputs; i++)
                for (int dy = 0; dy < kernel; dy++)
                    for (int dx = 0; dx < kernel; dx++) {
                        const int at = dx * stride_ + i;
                        *place++ = (dy * steps_ + at / 4) * step_size + at % 4;
                    }
        }
        int8_t* channel = weights_.data() + first * lanes * window + (vector - first) * lanes * 4 + o % lanes * by_lane;
        const int8_t* weight = spec.weight + ptrdiff_t(o) * spec.inputs * area;
        for (size_t i = 0; i < places.size(); i++) channel[places[i]] = weight[i];
    }
    for (int o = 0; o < outputs; o++) {
        int32_t sum = 0;  // of weights: what the offset of pixels adds
        for (ptrdiff_t i = 0; i < inputs * area; i++) sum += spec.weight[o * spec.inputs * area + i];
        shift_[size_t(o)] = spec.shift[o];
        bias_[size_t(o)] = spec.bias[o] - (pixel_input ? kernels_.offset * sum : 0) + ((1 << spec.shift[o]) >> 1);
    }
}

// See ConvolutionKernel::grouped. A sum is largest where inputs are at their maximum for all positive weights and zero for
// the others, and smallest the other way. It begins so that the smallest is the smallest number of 16 bits, and a group
// is as long as the largest is one, too.
void Layer::group() {
    const int vectors = channels_ / kernels_.lanes, reach = pixel_input ? 2 * pixel_max - 1 : activation_max;
    const std::vector<int8_t> steps = std::move(weights_);
    weights_.clear();
    const int8_t* step = steps.data();
    std::vector<int> positive, negative;  // of a group, for each sum
    for (int first = 0; first < vectors; first += vectors_) {
        const size_t count = 2 * size_t(kernels_.lanes) * size_t(std::min(vectors_, vectors - first));
        for (int dy = 0; dy < kernel; dy++)
            for (int left = steps_; left > 0;) {
                positive.assign(count, 0);
                negative.assign(count, 0);
                const int length = group_length(step, std::min(left, 255), 65535 / reach, positive, negative);
                for (size_t i = 0; i < count; i++) {
                    const int start = reach * negative[i] - 32768;
                    bias_[size_t(first) * size_t(kernels_.lanes) + i / 2] -= start;
                    weights_.push_back(int8_t(start & 255));
                    weights_.push_back(int8_t(start >> 8));
                }
                weights_.insert(weights_.end(), step, step + 2 * count * size_t(length));
                groups_.push_back(uint8_t(length));
                step += 2 * count * size_t(length);
                left -= length;
            }
    }
}

void Layer::check(const FeatureMap& x, const FeatureMap* skip, Sampling at) const {
    const auto fail = [&](const std::string& what) { throw std::invalid_argument("layer '" + name + "' " + what); };
    if (x.channels != inputs)
        fail("takes " + std::to_string(inputs) + " channels, not " + std::to_string(x.channels));
    if (x.content != (pixel_input ? Content::pixels : Content::activations))
        fail(pixel_input ? "takes pixels" : "takes activations");
    if (x.stride != stride_ || x.border < kernel / 2 || x.blank != (pixel_input ? kernels_.offset : 0))
        fail("takes feature maps of its own network");
    if (x.positions.rows.channels != positions_.channels)
        fail("takes " + std::to_string(positions_.channels) + " position channels of rows, and as many of columns");
    if (at.step > 1 && positions_.channels) fail("has position channels, so it runs at every position");
    if (!skip) return;
    if (is_output) fail("is an output layer, to which nothing is added");
    if (skip->content != Content::activations || !(skip->shape == x.shape) || skip->channels != outputs ||
        skip->border != x.border)
        fail("takes a skip of its output's shape");
}

std::unique_ptr<FeatureMap> Layer::result_for(const FeatureMap& x, Sampling at) const {
    const Shape shape = at.of(x.shape);
    if (is_output) return std::make_unique<FeatureMap>(Content::sums, shape, outputs, 1, 0);
    return std::make_unique<FeatureMap>(Content::activations, shape, outputs, result_stride_, x.border);
}

void Layer::run(const FeatureMap& x, const FeatureMap* skip, Sampling at, const FeatureMap& result, int threads) const {
    const Shape& shape = result.shape;
    const int reach = kernel / 2, height = int(shape.height);
    const double work = double(shape.positions()) * channels_ * kernel * steps_ * 4;
    threads = int(std::min(double(threads), work / thread_work));
    const ptrdiff_t row_bytes = std::max<ptrdiff_t>(1, at.step * x.row() + shape.width * result_stride_);
    ptrdiff_t rows = std::max<ptrdiff_t>(1, cached_bytes / row_bytes);
    if (threads > 1) rows = std::min(rows, std::max<ptrdiff_t>(1, shape.images * height / (4 * threads)));
    const ptrdiff_t parts = (height + rows - 1) / rows;
    const auto positions = positions_.sums(x.positions, shape.images, bias_);
    std::atomic<bool> no_memory{false};
    parallel(shape.images * parts, threads, [&](ptrdiff_t task) {
        const ptrdiff_t image = task / parts, first = task % parts * rows;
        Convolution c{};
        c.input = x.bytes() + x.at(image) + (at.row - reach) * x.row() + (at.column - reach) * x.stride;
        c.input_row = x.row();
        c.next_row = at.step * x.row();
        c.next_position = at.step * x.stride;
        c.kernel = kernel;
        c.steps = steps_;
        c.weights = weights_.data();
        c.groups = groups_.empty() ? nullptr : groups_.data();
        const PositionSums* begin = positions.empty() ? nullptr : positions[size_t(image)].get();
        c.starts = begin ? begin->starts() : Starts{bias_.data(), 0, 0, {}, {}};
        c.shift = shift_.data();
        if (skip) c.skip = skip->bytes() + skip->at(image);
        c.output_position = result_stride_;
        c.width = int(shape.width);
        c.channels = channels_;
        c.vectors = vectors_;
        const int last = int(std::min<ptrdiff_t>(height, first + rows));
        if (is_output) {
            // Row by row, so that sums are still in the first cache when they become planes.
            const std::unique_ptr<int32_t[]> row(new (std::nothrow) int32_t[size_t(shape.width) * size_t(result_stride_)]);
            if (!row) {
                no_memory = true;
                return;
            }
            c.sums = row.get();
            for (int y = int(first); y < last; y++) {
                kernels_.rows(c, y, y + 1);
                kernels_.planes(row.get(), result_stride_, outputs, shape.width,
                                result.sums() + result.at(image) + y * result.row(), shape.positions());
            }
        } else {
            c.output = result.bytes() + result.at(image);
            c.output_row = result.row();
            kernels_.rows(c, int(first), last);
        }
    });
    if (no_memory) throw std::bad_alloc();
}

}  // namespace neuralcodec
