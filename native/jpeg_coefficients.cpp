#include "jpeg_coefficients.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace neuralcodec {

using namespace jpeg;

namespace {

// Frequencies in the order in which they are coded, and the place of each.
struct Zigzag {
    std::array<int, frequencies> order, rank;
    Zigzag() {
        int at = 0;
        for (int sum = 0; sum < 15; sum++)
            for (int step = std::max(0, sum - 7); step <= std::min(sum, 7); step++) {
                const int u = sum % 2 ? step : sum - step;
                order[at] = 8 * u + sum - u;
                rank[order[at]] = at;
                at++;
            }
    }
};
const Zigzag zigzag;

constexpr int size_bits = 8, edge_bits = 12, value_bits = 4, ratio_bits = 14;

// Ends of the classes of expected sizes: 2**(i / 4 + 8), rounded, for i = 1 .. 59.
constexpr int64_t class_ends[] = {
    304,    362,    431,    512,    609,    724,    861,     1024,    1218,    1448,    1722,    2048,
    2435,   2896,   3444,   4096,   4871,   5793,   6889,    8192,    9742,    11585,   13777,   16384,
    19484,  23170,  27554,  32768,  38968,  46341,  55109,   65536,   77936,   92682,   110218,  131072,
    155872, 185364, 220436, 262144, 311744, 370728, 440872,  524288,  623487,  741455,  881744,  1048576,
    1246974, 1482910, 1763488, 2097152, 2493948, 2965821, 3526975, 4194304, 4987896, 5931642, 7053950};

// The class of an expected size: how many of the ends are not above it.
int class_of(int64_t size) {
    if (size < class_ends[0]) return 0;
    if (size >= class_ends[58]) return 59;
    int octave = 8;
    for (int step = 8; step; step /= 2) octave += size >> (octave + step) ? step : 0;
    const int64_t* end = class_ends + 4 * (octave - 8);
    return 4 * (octave - 8) + (size >= end[0]) + (size >= end[1]) + (size >= end[2]);
}

// Rounded down, for |a| <= 2**37 and 1 <= b <= 2**15: a quotient that is no integer is further from the next one than it
// is rounded.
int64_t floor_divide(int64_t a, int32_t b) {
    const double quotient = double(a) / double(b);
    const int64_t whole = int64_t(quotient);
    return whole - (double(whole) > quotient);
}

int32_t end_of_block(int along) { return along ? 256 : 181; }

int octave(uint32_t number) {
    int bits = -1;
    for (; number; number >>= 1) bits++;
    return bits;
}

}  // namespace

void JpegStep::add(ptrdiff_t i, ptrdiff_t j, int64_t size, int64_t value, int32_t step) {
    const int64_t ratio = floor_divide(size * (1 << (ratio_bits - size_bits)), step);
    const int level = class_of(ratio);
    const int64_t limit = int64_t(largest / step) << value_bits;
    const int64_t wanted = floor_divide(value >> (edge_bits - value_bits), step);
    const int32_t expected = int32_t(std::min(std::max(wanted, -limit), limit));
    const int32_t centre = (expected + (1 << (value_bits - 1))) >> value_bits;
    const int32_t fraction = expected - centre * (1 << value_bits);
    const int shift = level < bins ? 0 : (level - bins) / 4 + 1;
    const int part = shift ? 0 : (std::abs(fraction) + 1) / 2;
    const uint8_t table = uint8_t((level - 4 * shift) * fractions + part);
    items_.push_back({int32_t(i * component_.columns_ + j), int32_t(component_.place(i, j)), centre, table, uint8_t(shift),
                      fraction < 0 && !shift});
}

void JpegStep::find(const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) const {
    const uint64_t mask = (uint64_t(1) << bits) - 1;
    for (ptrdiff_t i = 0; i < count; i++) tables_.tables().find(uint32_t(heads[i] & mask), items_[first + i].table, i, found);
}

bool JpegStep::code(Symbols& out) const {
    const JpegComponent::Known known = component_.known(frequency_);
    out.start.reserve(items_.size());
    out.freq.reserve(items_.size());
    for (const Item& item : items_) {
        const int64_t value = known.quantised[item.block];
        if (!known.put(item, value)) return false;
        int32_t rest = int32_t(value) - item.centre;
        rest = (item.mirrored ? -rest : rest) + ((1 << item.shift) >> 1);
        const int32_t whole = rest >> item.shift, over = std::abs(whole) - table_reach + 1;
        const int symbol = std::min(std::max(whole + table_reach, 0), table_symbols - 1);
        const Interval interval = tables_.tables().interval(item.table, symbol);
        tables_.add(item.table, symbol);
        out.start.push_back(interval.start);
        out.freq.push_back(interval.freq);
        if (item.shift) {
            out.low.push_back(uint32_t(rest & ((1 << item.shift) - 1)));
            out.low_radix.push_back(uint32_t(1) << item.shift);
        }
        if (over > 0) {
            const int length = octave(uint32_t(over));
            out.bits.push_back(uint32_t(length));
            out.beyond.push_back(uint32_t(over) - (uint32_t(1) << length));
            out.beyond_radix.push_back(uint32_t(1) << length);
        }
    }
    tables_.learn();
    return true;
}

std::vector<uint32_t> JpegStep::radix() const {
    std::vector<uint32_t> found;
    for (const Item& item : items_)
        if (item.shift) found.push_back(uint32_t(1) << item.shift);
    return found;
}

bool JpegStep::accept(Numbers symbols, Numbers low, Numbers bits, Numbers beyond) const {
    if (symbols.count != items_.size()) throw std::invalid_argument("a symbol for each coefficient");
    const auto next = [](Numbers& numbers, int64_t most) {
        if (!numbers.count) throw std::invalid_argument("too few digits");
        const int64_t number = *numbers.data++;
        numbers.count--;
        if (number < 0 || number > most) throw std::invalid_argument("a symbol or a digit is out of range");
        return number;
    };
    const JpegComponent::Known known = component_.known(frequency_);
    for (const Item& item : items_) {
        const int64_t symbol = next(symbols, table_symbols - 1);
        tables_.add(item.table, symbol);
        int64_t rest = symbol - table_reach;
        if (rest == table_reach || rest == -table_reach) {
            const int64_t length = next(bits, 15), over = next(beyond, largest) + (int64_t(1) << length) - 1;
            rest += rest < 0 ? -over : over;
        }
        rest = rest * (1 << item.shift) - ((1 << item.shift) >> 1);
        if (item.shift) rest += next(low, (1 << item.shift) - 1);
        if (!known.put(item, (item.mirrored ? -rest : rest) + item.centre)) return false;
    }
    tables_.learn();
    return true;
}

JpegComponent::JpegComponent(AdaptiveTables& tables, ptrdiff_t rows, ptrdiff_t columns, const int64_t* steps,
                             int16_t* coefficients)
    : tables_(tables),
      rows_(rows),
      columns_(columns),
      line_(columns + 2),
      coefficients_(coefficients),
      sizes_(frequencies, Sizes(size_t((rows + 2) * line_))),
      dc_(size_t((rows + 2) * line_)) {
    for (int f = 0; f < frequencies; f++) {
        if (steps[f] < 1 || steps[f] > largest) throw std::invalid_argument("a step is out of range");
        steps_[f] = int32_t(steps[f]);
    }
    for (auto& end : ends_) end.assign(8, Plane(size_t((rows + 2) * line_)));
    means_.push_back({0, 0});
    ptrdiff_t distance = 1;
    while (2 * distance < std::max(rows, columns)) distance *= 2;
    for (; distance; distance /= 2) {
        if (distance < rows && distance < columns) means_.push_back({distance, 1});
        if (distance < rows || distance < columns) means_.push_back({distance, 2});
    }
}

JpegComponent::Known JpegComponent::known(int frequency) {
    const int u = frequency / 8, v = frequency % 8;
    return {coefficients_ + frequency * rows_ * columns_,
            sizes_[frequency].data(),
            frequency ? nullptr : dc_.data(),
            ends_[0][u].data(),
            ends_[1][u].data(),
            ends_[2][v].data(),
            ends_[3][v].data(),
            steps_[frequency],
            end_of_block(v),
            end_of_block(u),
            v % 2 ? -1 : 1,
            u % 2 ? -1 : 1};
}

bool JpegComponent::Known::put(const JpegStep::Item& item, int64_t value) const {
    if (value >= largest || value <= -largest) return false;
    const int64_t dequantised = value * step;
    if (dequantised >= largest || dequantised <= -largest) return false;
    const int32_t amount = int32_t(dequantised), beside = amount * across >> 8, below = amount * down >> 8;
    quantised[item.block] = int16_t(value);
    sizes[item.place] = int16_t(std::abs(amount));
    if (dc) dc[item.place] = amount;
    left[item.place] += beside;
    right[item.place] += right_sign * beside;
    top[item.place] += below;
    bottom[item.place] += bottom_sign * below;
    return true;
}

JpegStep JpegComponent::mean(size_t index, Weights weights) {
    JpegStep step(tables_, *this, 0);
    if (index >= means_.size()) throw std::invalid_argument("there is no such step");
    const ptrdiff_t distance = means_[index].distance;
    if (!distance) {
        step.add(0, 0, weights.sizes[0] * 8 * 128, 0, steps_[0]);
        return step;
    }
    const bool diagonal = means_[index].kind == 1;
    static constexpr int neighbours[2][4][2] = {{{0, -1}, {0, 1}, {-1, 0}, {1, 0}}, {{-1, -1}, {1, 1}, {-1, 1}, {1, -1}}};
    for (ptrdiff_t i = 0; i < rows_; i += distance)
        for (ptrdiff_t j = 0; j < columns_; j += distance) {
            const bool odd_row = i / distance % 2, odd_column = j / distance % 2;
            if (diagonal ? !(odd_row && odd_column) : odd_row == odd_column) continue;
            int64_t four[4] = {}, sum = 0, known = 0;
            bool inside[4];
            for (int n = 0; n < 4; n++) {
                const ptrdiff_t row = i + neighbours[diagonal][n][0] * distance;
                const ptrdiff_t column = j + neighbours[diagonal][n][1] * distance;
                inside[n] = row >= 0 && row < rows_ && column >= 0 && column < columns_;
                if (inside[n]) four[n] = dc_[place(row, column)];
                sum += four[n];
                known += inside[n];
            }
            const int64_t mean = floor_divide(sum, int32_t(known));
            int64_t most = 0;
            for (int n = 0; n < 4; n++) {
                if (!inside[n]) four[n] = mean;
                most = std::max(most, std::abs(four[n] - mean));
            }
            const int64_t one = four[0] + four[1], two = four[2] + four[3];
            const int64_t first = std::abs(four[0] - four[1]), second = std::abs(four[2] - four[3]);
            const int64_t* w = weights.sizes;
            step.add(i, j,
                     w[0] * steps_[0] + w[1] * (first + second) + w[2] * std::abs(one - two) + w[3] * most,
                     weights.edges[0] * (one + two) + weights.edges[1] * (first < second ? one : two), steps_[0]);
        }
    return step;
}

void JpegComponent::bend() {
    if (!bends_across_.empty()) return;
    for (ptrdiff_t i = 0; i < rows_; i++)
        for (ptrdiff_t j = 0; j < columns_; j++) {
            const auto dc = [&](ptrdiff_t row, ptrdiff_t column) {
                return dc_[place(std::min(std::max<ptrdiff_t>(row, 0), rows_ - 1),
                                 std::min(std::max<ptrdiff_t>(column, 0), columns_ - 1))];
            };
            bends_across_.push_back(std::abs(2 * dc(i, j) - dc(i, j - 1) - dc(i, j + 1)));
            bends_down_.push_back(std::abs(2 * dc(i, j) - dc(i - 1, j) - dc(i + 1, j)));
        }
}

// Sizes near a coefficient, each with the weight of its feature.
std::vector<JpegComponent::Tap> JpegComponent::taps(int frequency, int part, const int64_t* weights) const {
    std::vector<Tap> found;
    const int u = frequency / 8, v = frequency % 8, rank = zigzag.rank[frequency];
    const auto near = [&](int feature, int i, int j, std::initializer_list<ptrdiff_t> offsets) {
        if (i < 0 || i > 7 || j < 0 || j > 7) return;
        const int other = zigzag.rank[8 * i + j];
        if (other < 1 || other >= rank) return;
        for (ptrdiff_t offset : offsets) found.push_back({sizes_[8 * i + j].data(), offset, weights[feature]});
    };
    const std::initializer_list<ptrdiff_t> crossed = {-1, 1, -line_, line_};
    const std::initializer_list<ptrdiff_t> diagonal = {-line_ - 1, -line_ + 1, line_ - 1, line_ + 1};
    near(1, u - 1, v, {0});
    near(2, u, v - 1, {0});
    near(3, u - 1, v - 1, {0});
    near(4, u - 2, v, {0});
    near(4, u, v - 2, {0});
    near(5, u + 1, v - 1, {0});
    near(5, u - 1, v + 1, {0});
    for (int before = std::max(1, rank - 6); before < rank; before++)
        near(6, zigzag.order[before] / 8, zigzag.order[before] % 8, {0});
    if (part) {
        const int16_t* own = sizes_[frequency].data();
        for (ptrdiff_t offset : {ptrdiff_t(-1), ptrdiff_t(1)}) found.push_back({own, offset, weights[7]});
        for (ptrdiff_t offset : {-line_, line_}) found.push_back({own, offset, weights[8]});
    }
    near(9, u - 1, v, crossed);
    near(10, u, v - 1, crossed);
    if (v && u + v > 1)
        near(11, u, v - 1, diagonal);
    else
        near(11, u - 1, v, diagonal);
    return found;
}

// Add the sizes of this component's coefficients to a row of sums of another, which may be coarser.
void JpegComponent::add_sizes(int frequency, ptrdiff_t i, const JpegComponent& of, int32_t weight,
                              int32_t* sums) const {
    const int16_t* plane = sizes_[frequency].data();
    if (rows_ == of.rows_ && columns_ == of.columns_) {
        for (ptrdiff_t j = 0; j < columns_; j++) sums[j] += weight * plane[place(i, j)];
        return;
    }
    const int down = rows_ == of.rows_ ? 1 : 2, across = columns_ == of.columns_ ? 1 : 2, bits = down * across / 2;
    const int16_t* upper = down * i < rows_ ? plane + place(down * i, 0) : plane;  // else the border
    const int16_t* lower = down == 2 && 2 * i + 1 < rows_ ? plane + place(2 * i + 1, 0) : plane;
    for (ptrdiff_t j = 0; j < std::min(of.columns_, (columns_ + across - 1) / across); j++) {
        int32_t sum = upper[across * j] + lower[across * j];
        if (across == 2) sum += upper[2 * j + 1] + lower[2 * j + 1];
        sums[j] += weight * (sum >> bits);
    }
}

JpegStep JpegComponent::step(int frequency, int part, const std::vector<const JpegComponent*>& others,
                             Weights weights) {
    if (frequency < 1 || frequency >= frequencies || part < 0 || part > 1 || others.size() > 2)
        throw std::invalid_argument("there is no such step");
    const std::vector<Tap> near = taps(frequency, part, weights.sizes);
    bend();
    const int u = frequency / 8, v = frequency % 8;
    const int32_t *left = ends_[0][u].data(), *right = ends_[1][u].data();
    const int32_t *top = ends_[2][v].data(), *bottom = ends_[3][v].data();
    JpegStep step(tables_, *this, frequency);
    step.items_.reserve(size_t(rows_ * columns_ / 2 + 1));
    std::vector<int32_t> sums(static_cast<size_t>(columns_));
    for (ptrdiff_t i = 0; i < rows_; i++) {
        std::fill(sums.begin(), sums.end(), 0);
        for (const Tap& tap : near) {
            const int16_t *sizes = tap.plane + place(i, 0) + tap.offset, weight = int16_t(tap.weight);
            for (ptrdiff_t j = 0; j < columns_; j++) sums[size_t(j)] += weight * sizes[j];
        }
        for (size_t n = 0; n < others.size(); n++)
            others[n]->add_sizes(frequency, i, *this, int32_t(weights.sizes[12 + n]), sums.data());
        for (ptrdiff_t j = (i + part) % 2; j < columns_; j += 2) {
            const ptrdiff_t at = place(i, j), block = i * columns_ + j;
            // What the block lacks at its edges.
            const int64_t lacks[edges] = {j ? right[at - 1] - left[at] : 0,
                                          j + 1 < columns_ ? left[at + 1] - right[at] : 0,
                                          i ? bottom[at - line_] - top[at] : 0,
                                          i + 1 < rows_ ? top[at + line_] - bottom[at] : 0};
            int64_t size = sums[size_t(j)] + weights.sizes[0] * steps_[frequency], value = 0;
            size += weights.sizes[14] * (std::abs(lacks[0]) + std::abs(lacks[1]));
            size += weights.sizes[15] * (std::abs(lacks[2]) + std::abs(lacks[3]));
            size += weights.sizes[16] * bends_across_[size_t(block)] + weights.sizes[17] * bends_down_[size_t(block)];
            for (int n = 0; n < edges; n++) value += weights.edges[n] * lacks[n];
            step.add(i, j, size, value, steps_[frequency]);
        }
    }
    return step;
}

}  // namespace neuralcodec
