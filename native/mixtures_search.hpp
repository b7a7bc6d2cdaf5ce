// Search in mixtures of logistics, compiled once for each instruction set.
//
// A block of items is prepared, which compilers vectorise; then each item's symbol is searched from a first guess, by
// pairs of edges: usually one or two of them, where a bisection takes eight edges. All that decides is integers.
#pragma once

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "mixtures_shape.hpp"
#include "mixtures_weighed.hpp"

namespace neuralcodec {
namespace {

using namespace logistic;

constexpr int block_items = 64;
constexpr int32_t distant = 1 << 30;  // centres beyond are as good as there
constexpr char wrong_weights[] = "weights of a mixture do not add up to 2**16";

// Mixtures of K parts; K = 0: of any number.
template <int K>
struct Block {
    static constexpr int rows = K ? K : most_parts;
    int32_t centre[rows][block_items];  // 1/64 of a value, less half a value
    int32_t inverse[rows][block_items];  // log-scales before `invert`
    int32_t weight[rows][block_items];
    int32_t shift[block_items], count[block_items], guess[block_items];
    const int32_t* map_of;  // of the first item
};

template <int K>
int parts_of(const MixtureParameters& p) {
    return K ? K : p.parts;
}

// Items from .. count - 1 of a block whose first is `first`.
template <int K>
void prepare(Block<K>& b, const MixtureParameters& p, ptrdiff_t first, int from, int count) {
    const int parts = parts_of<K>(p);
    int32_t least[block_items];
    uint32_t sum[block_items], wrong = 0;
    for (int i = from; i < count; i++) least[i] = largest_scale, sum[i] = 0;
    for (int k = 0; k < parts; k++) {
        const int32_t *weights = p.weights + k * p.count + first, *centres = p.centres + k * p.count + first,
                      *scales = p.scales + k * p.count + first;
        for (int i = from; i < count; i++) {
            const int32_t centre = centres[i] < -distant ? -distant : centres[i] > distant ? distant : centres[i];
            b.centre[k][i] = centre + (1 << (centre_bits - 1));
        }
        for (int i = from; i < count; i++) {
            const int32_t scale = scales[i] < least_scale     ? least_scale
                                  : scales[i] > largest_scale ? largest_scale
                                                              : scales[i];
            b.inverse[k][i] = scale;
            least[i] = std::min(least[i], scale);
        }
        for (int i = from; i < count; i++) {
            const uint32_t weight = uint32_t(weights[i]);
            wrong |= uint32_t(weight > 1 << weight_bits);
            b.weight[k][i] = weights[i];
            sum[i] += weight;
        }
    }
    for (int i = from; i < count; i++) wrong |= sum[i] ^ (1 << weight_bits);
    if (wrong) throw std::invalid_argument(wrong_weights);
    for (int i = from; i < count; i++) {
        b.shift[i] = p.whole ? 0 : std::max((least[i] >> scale_bits) - 3, 0);
        b.count[i] = count_of(p.last, p.clipped, b.shift[i]);
    }
}

// From log-scales to inverse scales; and first guesses, at the mixtures' mean and mean scale.
template <int K>
void guess(Block<K>& b, const MixtureParameters& p, const uint64_t* heads, int from, int count) {
    const int parts = parts_of<K>(p);
    const float *scales = p.tables.scale.data() - least_scale, *logit = p.tables.logit.data();
    for (int i = from; i < count; i++) {
        float mean = 0, scale = 0;
        for (int k = 0; k < parts; k++) {
            mean += float(b.weight[k][i]) * float(b.centre[k][i]);
            scale += float(b.weight[k][i]) * scales[b.inverse[k][i]];
        }
        float at = (mean * (1.0f / 64) + scale * logit[(heads[i] & (total - 1)) >> (total_bits - 10)]) / 65536;
        at = at < 0 ? 0 : at > float(p.last) ? float(p.last) : at;
        const int32_t symbol = ((int32_t(at) - p.clipped) >> b.shift[i]) + p.clipped;
        b.guess[i] = std::min(symbol, b.count[i] - 1);
    }
}

template <int K>
void invert(Block<K>& b, const MixtureParameters& p, int from, int count) {
    const int32_t* inverse = p.tables.inverse_scale.data() - least_scale;
    for (int k = 0; k < parts_of<K>(p); k++)
        for (int i = from; i < count; i++) b.inverse[k][i] = inverse[b.inverse[k][i]];
}

NEURALCODEC_INLINE int32_t calibrated(const int32_t* map, int32_t below) {
    const int32_t low = map[below >> bin_bits], high = map[(below >> bin_bits) + 1];
    return low + int32_t(int64_t(high - low) * (below & ((1 << bin_bits) - 1)) >> bin_bits);
}

// The lower edge of a symbol's interval, 0 .. count.
template <int K>
NEURALCODEC_INLINE int32_t edge(const Block<K>& b, const MixtureParameters& p, int i, int32_t symbol) {
    int32_t position = first_of(symbol, p.last, p.clipped, b.shift[i]) * (1 << centre_bits);
    if (p.cells) position += p.cells[symbol];
    const int32_t* sigmoid = p.tables.sigmoid.data();
    int64_t below = 0;
    for (int k = 0; k < parts_of<K>(p); k++) {
        const int64_t step = int64_t(position - b.centre[k][i]) * b.inverse[k][i] >> inverse_bits;
        const int64_t z = step < -reach ? -reach : step > reach ? reach : step;
        below += int64_t(b.weight[k][i]) * sigmoid[z + reach];
    }
    below >>= weight_bits;
    if (p.maps) below = calibrated(p.maps + b.map_of[i], int32_t(below));
    const int32_t inner = int32_t(below * (total - b.count[i]) >> total_bits) + symbol;
    return symbol <= 0 ? 0 : symbol >= b.count[i] ? total : inner;
}

// Where a search is: the symbol lies in low .. high - 1, and `symbol` is looked at next.
struct Bracket {
    int32_t low, high, symbol;
};

// Finds the symbol whose interval holds `slot`, by steps from a guess, and by halves after some tries.
template <int K>
NEURALCODEC_INLINE void search(const Block<K>& b, const MixtureParameters& p, int i, int32_t slot, Bracket at, int tries,
                               const Found& found, ptrdiff_t to) {
    for (;; tries--) {
        const int32_t start = edge(b, p, i, at.symbol), end = edge(b, p, i, at.symbol + 1);
        int32_t next;
        if (slot < start) {
            at.high = at.symbol;
            next = at.symbol - 1 - int32_t(float(start - slot) / float(end - start));
        } else if (slot >= end) {
            at.low = at.symbol + 1;
            next = at.symbol + 1 + int32_t(float(slot - end) / float(end - start));
        } else {
            found.symbol[to] = at.symbol;
            found.start[to] = uint32_t(start);
            found.freq[to] = uint32_t(end - start);
            return;
        }
        at.symbol = tries <= 0 || next < at.low || next >= at.high ? (at.low + at.high) >> 1 : next;
    }
}

constexpr int most_tries = 3;

// Finishes the searches of items i .. i + lanes - 1 that are open after two tries, one by one.
template <int lanes, int K>
void search_open(const Block<K>& b, const MixtureParameters& p, const uint64_t* heads, int i, unsigned open,
                 const int32_t* lows, const int32_t* highs, const int32_t* symbols, const Found& found, ptrdiff_t at) {
    for (int lane = 0; lane < lanes; lane++)
        if (open >> lane & 1)
            search(b, p, i + lane, int32_t(heads[i + lane] & (total - 1)), {lows[lane], highs[lane], symbols[lane]},
                   most_tries - 2, found, at + i + lane);
}

// One item after the other.
struct Scalar {
    static void shifts(const MixtureParameters& p, ptrdiff_t first, ptrdiff_t count, int32_t* shift) {
        for (ptrdiff_t i = 0; i < count; i++) shift[i] = largest_scale;
        for (int k = 0; k < p.parts; k++) {
            const int32_t* scales = p.scales + k * p.count + first;
            for (ptrdiff_t i = 0; i < count; i++) shift[i] = std::min(shift[i], scales[i]);
        }
        for (ptrdiff_t i = 0; i < count; i++) shift[i] = p.whole ? 0 : shift_of(shift[i]);
    }

    // From parameters to what `intervals` needs; with `heads`, which may be null, to what `find` needs.
    template <int K>
    static void prepare(Block<K>& b, const MixtureParameters& p, const uint64_t* heads, ptrdiff_t first, int from,
                        int count) {
        neuralcodec::prepare(b, p, first, from, count);
        if (heads) guess(b, p, heads, from, count);
        invert(b, p, from, count);
    }

    template <int K>
    static void find(const Block<K>& b, const MixtureParameters& p, const uint64_t* heads, int first, int count,
                     const Found& found, ptrdiff_t at) {
        for (int i = first; i < count; i++)
            search(b, p, i, int32_t(heads[i] & (total - 1)), {0, b.count[i], b.guess[i]}, most_tries, found, at + i);
    }

    // Edges of an item's values from `low` on.
    template <int K>
    static void edges_from(const Block<K>& b, const MixtureParameters& p, int i, int32_t low,
                           int32_t (&edges)[window_edges]) {
        for (int k = 0; k < window_edges; k++) edges[k] = edge(b, p, i, low + k);
    }

    template <int K>
    static void intervals(const Block<K>& b, const MixtureParameters& p, const int32_t* symbols, int first, int count,
                          uint32_t* start, uint32_t* freq) {
        for (int i = first; i < count; i++) {
            const int32_t begin = edge(b, p, i, symbols[i]), end = edge(b, p, i, symbols[i] + 1);
            start[i] = uint32_t(begin);
            freq[i] = uint32_t(end - begin);
        }
    }
};

// The edges of an item's window as a lattice weighs them, and where it begins.
template <class Set, int K>
int32_t weighed(const Block<K>& b, const MixtureParameters& p, int i, ptrdiff_t item, int32_t (&edges)[window_edges]) {
    int64_t sum = 0;
    for (int k = 0; k < parts_of<K>(p); k++) sum += int64_t(b.weight[k][i]) * b.centre[k][i];
    const int32_t low = window_low(sum, weight_bits + centre_bits);
    Set::edges_from(b, p, i, low, edges);
    weigh(*p.prior, item, low, edges);
    return low;
}

template <class Set, int K>
void find_weighed(const Block<K>& b, const MixtureParameters& p, const uint64_t* heads, ptrdiff_t first, int count,
                  const Found& found, ptrdiff_t at) {
    for (int i = 0; i < count; i++) {
        int32_t edges[window_edges];
        const int32_t slot = int32_t(heads[i] & (total - 1)), low = weighed<Set>(b, p, i, first + i, edges);
        const int32_t end = low + lattice::window;
        if (slot < edges[0]) {
            search(b, p, i, slot, {0, low, std::min(b.guess[i], low - 1)}, most_tries, found, at + i);
        } else if (slot >= edges[lattice::window]) {
            search(b, p, i, slot, {end, b.count[i], std::max(b.guess[i], end)}, most_tries, found, at + i);
        } else {
            int k = 0;
            for (int j = 1; j < lattice::window; j++) k += edges[j] <= slot;
            found.symbol[at + i] = low + k;
            found.start[at + i] = uint32_t(edges[k]);
            found.freq[at + i] = uint32_t(edges[k + 1] - edges[k]);
        }
    }
}

template <class Set, int K>
void intervals_weighed(const Block<K>& b, const MixtureParameters& p, const int32_t* symbols, ptrdiff_t first, int count,
                       uint32_t* start, uint32_t* freq) {
    for (int i = 0; i < count; i++) {
        int32_t edges[window_edges];
        const int32_t k = symbols[i] - weighed<Set>(b, p, i, first + i, edges);
        const bool inside = k >= 0 && k < lattice::window;
        const int32_t begin = inside ? edges[k] : edge(b, p, i, symbols[i]);
        const int32_t end = inside ? edges[k + 1] : edge(b, p, i, symbols[i] + 1);
        start[i] = uint32_t(begin);
        freq[i] = uint32_t(end - begin);
    }
}

template <class Set, int K>
void find_parts(const MixtureParameters& p, const uint64_t* heads, ptrdiff_t first, ptrdiff_t count,
                const Found& found) {
    Block<K> b;
    for (ptrdiff_t at = 0; at < count; at += block_items) {
        const int items = int(std::min<ptrdiff_t>(block_items, count - at));
        b.map_of = p.maps ? p.map_of + first + at : nullptr;
        Set::prepare(b, p, heads + at, first + at, 0, items);
        if (p.prior)
            find_weighed<Set>(b, p, heads + at, first + at, items, found, at);
        else
            Set::find(b, p, heads + at, 0, items, found, at);
    }
}

template <class Set, int K>
void intervals_parts(const MixtureParameters& p, const int32_t* symbols, ptrdiff_t first, ptrdiff_t count,
                     uint32_t* start, uint32_t* freq) {
    Block<K> b;
    for (ptrdiff_t at = 0; at < count; at += block_items) {
        const int items = int(std::min<ptrdiff_t>(block_items, count - at));
        b.map_of = p.maps ? p.map_of + first + at : nullptr;
        Set::prepare(b, p, nullptr, first + at, 0, items);
        if (p.prior)
            intervals_weighed<Set>(b, p, symbols + at, first + at, items, start + at, freq + at);
        else
            Set::intervals(b, p, symbols + at, 0, items, start + at, freq + at);
    }
}

// Code lengths from frequencies, which floats hold exactly: an interval has at least one slot.
inline void lengths_of(const uint32_t* freq, const int32_t* log2, int count, int32_t* out) {
    for (int i = 0; i < count; i++) {
        const float exact = float(int32_t(freq[i]));
        int32_t parts;
        std::memcpy(&parts, &exact, 4);
        out[i] += (total_bits + 127 - (parts >> 23)) * 65536 - log2[parts >> 11 & 4095];
    }
}

template <class Set, int K>
void costs_parts(const MixtureParameters& p, const int64_t* values, int32_t* out) {
    Block<K> b;
    int32_t symbols[block_items];
    uint32_t start[block_items], freq[block_items];
    for (ptrdiff_t at = 0; at < p.count; at += block_items) {
        const int items = int(std::min<ptrdiff_t>(block_items, p.count - at));
        b.map_of = p.maps ? p.map_of + at : nullptr;
        Set::prepare(b, p, nullptr, at, 0, items);
        bool wrong = false;
        for (int i = 0; i < items; i++) {
            const bool outside = uint64_t(values[at + i]) > uint64_t(p.last);
            wrong |= outside;
            const int32_t value = outside ? 0 : int32_t(values[at + i]);
            const int32_t symbol = ((value - p.clipped) >> b.shift[i]) + p.clipped;
            const bool above = p.clipped && value == p.last, below = p.clipped && symbol == 0;
            symbols[i] = above ? b.count[i] - 1 : symbol;
            out[at + i] = above || below ? 0 : b.shift[i] * 65536;
        }
        if (wrong) throw std::invalid_argument("a value is out of range");
        Set::intervals(b, p, symbols, 0, items, start, freq);
        lengths_of(freq, p.tables.log2.data(), items, out + at);
    }
}

template <class Set>
void find(const MixtureParameters& p, const uint64_t* heads, ptrdiff_t first, ptrdiff_t count, const Found& found) {
    const auto work = p.parts == 4   ? find_parts<Set, 4>
                      : p.parts == 2 ? find_parts<Set, 2>
                      : p.parts == 1 ? find_parts<Set, 1>
                                     : find_parts<Set, 0>;
    work(p, heads, first, count, found);
}

template <class Set>
void intervals(const MixtureParameters& p, const int32_t* symbols, ptrdiff_t first, ptrdiff_t count, uint32_t* start,
               uint32_t* freq) {
    const auto work = p.parts == 4   ? intervals_parts<Set, 4>
                      : p.parts == 2 ? intervals_parts<Set, 2>
                      : p.parts == 1 ? intervals_parts<Set, 1>
                                     : intervals_parts<Set, 0>;
    work(p, symbols, first, count, start, freq);
}

template <class Set>
void costs(const MixtureParameters& p, const int64_t* values, int32_t* out) {
    const auto work = p.parts == 4   ? costs_parts<Set, 4>
                      : p.parts == 2 ? costs_parts<Set, 2>
                      : p.parts == 1 ? costs_parts<Set, 1>
                                     : costs_parts<Set, 0>;
    work(p, values, out);
}

template <class Set>
constexpr MixtureKernel mixture_kernel() {
    return {find<Set>, intervals<Set>, costs<Set>, Set::shifts};
}

}  // namespace
}  // namespace neuralcodec
