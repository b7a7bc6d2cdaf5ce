// Register tiles of a convolution, for any instruction set: a translation unit defines the vector operations of its set
// as a class and instantiates `rows` with it. Such a class must be in an anonymous namespace, so that the linker never
// takes code that was compiled for one set for another.
//
// A class `Isa` has
//     lanes, vectors, positions   output channels in a vector; the largest register tile
//     Sums, Weights, Inputs       vectors of int32 (lanes), of int8 (lanes x 4), of 4 bytes repeated
//     load_sums(p), load_weights(p), repeat(p)
//     dot(sums, inputs, weights)  sums + the products, four for each lane
//     accumulate(c, block, window, sums)             sums + the products of a window; `Dots` does it by `dot`
//     load_skip(p)                a vector of activations, widened to values
//     add(one, two)               of values
//     Rounding(shift)             what a vector of shifts needs: `odd` is 1, or 0 where the shift is 0, and `rest` the bits
//                                 that are shifted out
//     shifted(sums, rounding)                        sums >> shift
//     to_even(values, sums, rounding)                values, even where those bits are zero and the shift is not
//     store_activations(p, values)                   clamped to 0..127
//     store_sums(p, values)
#pragma once

#include "convolution.hpp"
#include "macros.hpp"
#include "planes.hpp"

namespace neuralcodec {

// Some output channels, with the weights that follow from the first of them on.
struct Block {
    const int8_t* weights;
    const uint8_t* groups;
    int channel;
};

template <class Isa>
struct Dots {
    template <int P, int V, class Sums>
    static NEURALCODEC_INLINE void accumulate(const Convolution& c, const Block& block, const uint8_t* window,
                                              Sums (&sums)[P][V]) {
        const int8_t* weights = block.weights;
        const ptrdiff_t position = c.next_position;
        for (int row = 0; row < c.kernel; row++, window += c.input_row) {
            const uint8_t* inputs = window;
            for (int step = 0; step < c.steps; step++, inputs += 4, weights += 4 * Isa::lanes * V) {
                typename Isa::Weights w[V];
                NEURALCODEC_UNROLL
                for (int v = 0; v < V; v++) w[v] = Isa::load_weights(weights + 4 * Isa::lanes * v);
                NEURALCODEC_UNROLL
                for (int p = 0; p < P; p++) {
                    const typename Isa::Inputs x = Isa::repeat(inputs + p * position);
                    NEURALCODEC_UNROLL
                    for (int v = 0; v < V; v++) sums[p][v] = Isa::dot(sums[p][v], x, w[v]);
                }
            }
        }
        NEURALCODEC_UNROLL
        for (int p = 0; p < P; p++) {
            NEURALCODEC_UNROLL
            for (int v = 0; v < V; v++) NEURALCODEC_SETTLE(sums[p][v]);
        }
    }
};

enum class Finish { plain, skip, sums };

// Rounds a vector of sums half to even, with the skip, and stores it. `at` is its offset in the output. Sums begin with half
// of a unit of the result more than the bias, so the shift rounds to the nearest, and ties are where nothing is shifted out.
template <class Isa, Finish how>
NEURALCODEC_INLINE void finish(const Convolution& c, typename Isa::Sums sums, ptrdiff_t at,
                               const typename Isa::Rounding& rounding) {
    auto values = Isa::shifted(sums, rounding);
    if constexpr (how == Finish::skip) values = Isa::add(values, Isa::load_skip(c.skip + at));
    values = Isa::to_even(values, sums, rounding);
    if constexpr (how == Finish::sums)
        Isa::store_sums(c.sums + at, values);
    else
        Isa::store_activations(c.output + at, values);
}

// The same of a tile. `out` is the offset of its first position.
template <class Isa, Finish how, int P, int V>
NEURALCODEC_INLINE void finish(const Convolution& c, const typename Isa::Sums (&sums)[P][V], ptrdiff_t out, int channel) {
    NEURALCODEC_UNROLL
    for (int v = 0; v < V; v++) {
        const typename Isa::Rounding rounding(c.shift + channel + v * Isa::lanes);
        NEURALCODEC_UNROLL
        for (int p = 0; p < P; p++)
            finish<Isa, how>(c, sums[p][v], out + p * c.output_position + channel + v * Isa::lanes, rounding);
    }
}

// The sums of P neighbouring positions by V vectors of channels, finished and stored. They begin with `start`.
template <class Isa, int P, int V>
NEURALCODEC_NOINLINE void tile(const Convolution& c, const Block& block, const uint8_t* window, const int32_t* start,
                               ptrdiff_t out) {
    const int channel = block.channel;
    typename Isa::Sums sums[P][V];
    if (c.starts.position) {  // a branch, since copies take less time than loads
        NEURALCODEC_UNROLL
        for (int p = 0; p < P; p++) {
            NEURALCODEC_UNROLL
            for (int v = 0; v < V; v++)
                sums[p][v] = Isa::load_sums(start + p * c.starts.position + channel + v * Isa::lanes);
        }
    } else {
        NEURALCODEC_UNROLL
        for (int v = 0; v < V; v++) {
            const auto bias = Isa::load_sums(start + channel + v * Isa::lanes);
            NEURALCODEC_UNROLL
            for (int p = 0; p < P; p++) sums[p][v] = bias;
        }
    }
    Isa::template accumulate<P, V>(c, block, window, sums);
    if (c.sums)
        finish<Isa, Finish::sums>(c, sums, out, channel);
    else if (c.skip)
        finish<Isa, Finish::skip>(c, sums, out, channel);
    else
        finish<Isa, Finish::plain>(c, sums, out, channel);
}

using Tile = void (*)(const Convolution&, const Block&, const uint8_t*, const int32_t*, ptrdiff_t);

// Tiles of V vectors by 1..P positions.
template <class Isa, int V, int P>
struct Tiles {
    static void fill(Tile* table) {
        table[P] = tile<Isa, P, V>;
        Tiles<Isa, V, P - 1>::fill(table);
    }
};

template <class Isa, int V>
struct Tiles<Isa, V, 0> {
    static void fill(Tile*) {}
};

// Rows of a block of `vectors` <= V vectors. Positions of a row are shared out evenly among tiles: 9 positions are 5 and
// 4, not 8 and a slow one.
template <class Isa, int V>
void block_rows(const Convolution& c, const Block& block, int vectors, int first, int last) {
    static_assert(Isa::positions <= longest_run, "runs that are looked for");
    if (vectors < V) return block_rows<Isa, (V > 1 ? V - 1 : 1)>(c, block, vectors, first, last);
    Tile table[Isa::positions + 1];
    Tiles<Isa, V, Isa::positions>::fill(table);
    const int count = (c.width + Isa::positions - 1) / Isa::positions;
    for (int y = first; y < last; y++) {
        int x = 0;
        for (int i = 0; i < count; i++) {
            const int positions = (c.width - x + count - i - 1) / (count - i);
            table[positions](c, block, c.input + y * c.next_row + x * c.next_position,
                             c.starts.at(y, x, positions), y * c.output_row + x * c.output_position);
            x += positions;
        }
    }
}

// See ConvolutionKernel::rows. Blocks are the outer loop: the weights of one stay in the first-level cache.
template <class Isa>
void rows(const Convolution& c, int first, int last) {
    const int width = Isa::lanes * c.vectors;
    const int window = c.kernel * c.steps;
    Block block{c.weights, c.groups, 0};
    for (; block.channel < c.channels; block.channel += width) {
        const int left = (c.channels - block.channel) / Isa::lanes;
        block_rows<Isa, Isa::vectors>(c, block, left < c.vectors ? left : c.vectors, first, last);
        block.weights += 4 * ptrdiff_t(width) * window;
        for (int steps = block.groups ? window : 0; steps > 0; steps -= *block.groups++) block.weights += 4 * width;
    }
}

// See ConvolutionKernel::multiply_adds. For sets whose `dot` is one instruction, which no compiler moves out of the loop.
template <class Isa>
int64_t multiply_adds(int64_t count) {
    constexpr int chains = 12;  // more than an instruction takes cycles, times those that begin in each
    const uint8_t inputs[4] = {};
    const int8_t weights[4 * Isa::lanes] = {};
    int32_t stored[Isa::lanes] = {};
    const auto x = Isa::repeat(inputs);
    const auto w = Isa::load_weights(weights);
    typename Isa::Sums sums[chains];
    NEURALCODEC_UNROLL
    for (int i = 0; i < chains; i++) {
        stored[0] = i;  // else they are all one
        sums[i] = Isa::load_sums(stored);
    }
    for (int64_t n = 0; n < count; n++) {
        NEURALCODEC_UNROLL
        for (int i = 0; i < chains; i++) sums[i] = Isa::dot(sums[i], x, w);
    }
    NEURALCODEC_UNROLL
    for (int i = 0; i < chains; i++) NEURALCODEC_SETTLE(sums[i]);
    int64_t total = count * chains * Isa::lanes * 4;
    NEURALCODEC_UNROLL
    for (int i = 0; i < chains; i++) {
        Isa::store_sums(stored, sums[i]);
        total += stored[0] - i;  // 0, but no compiler knows
    }
    return total;
}

template <class Isa>
constexpr ConvolutionKernel convolution_kernel(int offset, bool grouped = false,
                                               int64_t (*multiply_adds)(int64_t) = nullptr, bool by_channel = false) {
    return {Isa::lanes, Isa::vectors, offset, grouped, by_channel, rows<Isa>, planes_of, multiply_adds, 1};
}

}  // namespace neuralcodec
