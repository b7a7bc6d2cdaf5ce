// Searches in mixtures on as many items as a vector has numbers: both edges of a guess, twice; searches that are open then
// are finished one by one. For any instruction set: a translation unit defines the vector operations of its set as a class,
// in an anonymous namespace, and takes `Vectors` of it for `mixture_kernel`.
//
// A class `Isa` has
//     lanes                         numbers in a vector
//     Eight                         the class of vectors of eight
//     Ints, Floats, Mask            vectors of int32 and of floats (lanes each), and what says yes or no of each
//     load(p), store(p, ints), all(number)
//     slots(heads)                  the lower 32 bits of numbers of 64
//     add, subtract, least, largest, both, either            of two vectors of int32; the last two bit by bit
//     shift_left(ints, by), shift_right(ints, by)            each by its own, the sign kept
//     unsigned_right<by>(ints)
//     odd(ints)                     each odd number where the even one before it is
//     multiply(a, b)                products of even numbers, 64 bits each; multiply_unsigned, add_wide as they say
//     wide_right<by>(products)      64 bits each
//     joined<bit>(even, odd)        32 bits of each product, from `bit` on
//     above(a, b), first_not(a, b), bits(mask)               masks: a > b; b where not a; a bit for each number
//     select(mask, yes, no)
//     to_floats, to_ints, floats(number), add, multiply, divide, reciprocal, least, largest      of floats
//     look_up(table, ints)
#pragma once

#include <iterator>

#include "mixtures_search.hpp"

namespace neuralcodec {
namespace {

template <class Isa>
struct Vectors {
    static constexpr int lanes = Isa::lanes;
    using Ints = typename Isa::Ints;
    using Floats = typename Isa::Floats;
    using Mask = typename Isa::Mask;

    template <class T>
    static NEURALCODEC_INLINE T clamped(T value, T low, T high) {
        return Isa::least(Isa::largest(value, low), high);
    }

    // Distances at which z is beyond the sigmoid's reach, by at most a few percent and some steps: products with `inverse`
    // stay below 2**36, and need not be clamped in 64 bits. No distance is as large as the largest of them.
    static NEURALCODEC_INLINE Ints span_of(Ints inverse) {
        const Floats steps = Isa::floats(1.01f * float(reach) * float(1 << inverse_bits));
        const Floats span = Isa::multiply(steps, Isa::reciprocal(Isa::to_floats(inverse)));
        return Isa::add(Isa::to_ints(Isa::least(span, Isa::floats(2147483008.0f))), Isa::all(2));
    }

    static NEURALCODEC_INLINE Ints shift_of(const MixtureParameters& p, Ints least) {
        if (p.whole) return Isa::all(0);
        return Isa::largest(Isa::subtract(Isa::shift_right(least, Isa::all(scale_bits)), Isa::all(3)), Isa::all(0));
    }

    static void shifts(const MixtureParameters& p, ptrdiff_t first, ptrdiff_t count, int32_t* shift) {
        ptrdiff_t i = 0;
        for (; i + lanes <= count; i += lanes) {
            Ints least = Isa::all(largest_scale);
            for (int k = 0; k < p.parts; k++)
                least = clamped(Isa::load(p.scales + k * p.count + first + i), Isa::all(least_scale), least);
            Isa::store(shift + i, shift_of(p, least));
        }
        Scalar::shifts(p, first + i, count - i, shift + i);
    }

    template <int K>
    static void prepare(Block<K>& b, const MixtureParameters& p, const uint64_t* heads, ptrdiff_t first, int from,
                        int count) {
        Ints wrong = Isa::all(0);
        for (; from + lanes <= count; from += lanes)
            wrong = Isa::either(wrong, prepare_lanes(b, p, heads, first + from, from));
        const Ints none = Isa::all(0);
        if (Isa::bits(Isa::above(wrong, none)) || Isa::bits(Isa::above(none, wrong)))
            throw std::invalid_argument(wrong_weights);
        if (from < count) Scalar::prepare(b, p, heads, first, from, count);
    }

    // Returns what is zero where weights add up.
    template <int K>
    static NEURALCODEC_INLINE Ints prepare_lanes(Block<K>& b, const MixtureParameters& p, const uint64_t* heads,
                                                 ptrdiff_t item, int i) {
        Ints least = Isa::all(largest_scale), sum = Isa::all(0), wrong = sum;
        Floats mean = Isa::floats(0), scale = mean;
        for (int k = 0; k < parts_of<K>(p); k++) {
            const ptrdiff_t at = k * p.count + item;
            const Ints weight = Isa::load(p.weights + at);
            const Ints centre = Isa::add(clamped(Isa::load(p.centres + at), Isa::all(-distant), Isa::all(distant)),
                                         Isa::all(1 << (centre_bits - 1)));
            const Ints log_scale =
                clamped(Isa::load(p.scales + at), Isa::all(least_scale), Isa::all(largest_scale));
            const Ints inverse = Isa::look_up(p.tables.inverse_scale.data() - least_scale, log_scale);
            Isa::store(b.centre[k] + i, centre);
            Isa::store(b.inverse[k] + i, inverse);
            Isa::store(b.weight[k] + i, weight);
            least = Isa::least(least, log_scale);
            sum = Isa::add(sum, weight);
            wrong = Isa::either(wrong, Isa::template unsigned_right<weight_bits + 1>(weight));
            if (!heads) continue;
            const Floats share = Isa::to_floats(weight);
            mean = Isa::add(mean, Isa::multiply(share, Isa::to_floats(centre)));
            scale = Isa::add(scale, Isa::multiply(share, Isa::reciprocal(Isa::to_floats(inverse))));
        }
        const Ints shift = shift_of(p, least);
        const Ints symbols = Isa::add(Isa::shift_right(Isa::all(p.clipped ? p.last - 2 : p.last), shift),
                                      Isa::all(p.clipped ? 3 : 1));
        Isa::store(b.shift + i, shift);
        Isa::store(b.count + i, symbols);
        if (heads) {
            const Ints slot = Isa::both(Isa::slots(heads + i), Isa::all(total - 1));
            const Floats logit =
                Isa::look_up(p.tables.logit.data(), Isa::template unsigned_right<total_bits - 10>(slot));
            constexpr float one = 1 << (inverse_bits + 10 - centre_bits);  // the inverse scale of scale 1
            const Floats spread = Isa::multiply(Isa::multiply(scale, Isa::floats(one)), logit);
            Floats at = Isa::add(Isa::multiply(mean, Isa::floats(1.0f / (1 << centre_bits))), spread);
            at = clamped(Isa::multiply(at, Isa::floats(1.0f / (1 << weight_bits))), Isa::floats(0),
                         Isa::floats(float(p.last)));
            const Ints clip = Isa::all(p.clipped);
            const Ints symbol = Isa::add(Isa::shift_right(Isa::subtract(Isa::to_ints(at), clip), shift), clip);
            Isa::store(b.guess + i, Isa::least(symbol, Isa::subtract(symbols, Isa::all(1))));
        }
        return Isa::either(wrong, Isa::subtract(sum, Isa::all(1 << weight_bits)));
    }

    struct Interval {
        Ints start, end;
    };

    // As `edge`, of items from i on: both edges of symbols.
    template <int K>
    static NEURALCODEC_INLINE Interval edges(const Block<K>& b, const MixtureParameters& p, int i, Ints symbols) {
        const Ints zero = Isa::all(0), count = Isa::load(b.count + i);
        const Ints symbol[2] = {symbols, Isa::add(symbols, Isa::all(1))};
        Ints position[2], even[2] = {zero, zero}, odd[2] = {zero, zero}, edge[2];
        NEURALCODEC_UNROLL
        for (int e = 0; e < 2; e++) {
            position[e] = position_of(p, symbol[e], Isa::load(b.shift + i));
            if (p.cells) position[e] = Isa::add(position[e], Isa::look_up(p.cells, symbol[e]));
        }
        for (int k = 0; k < parts_of<K>(p); k++) {
            const Ints centre = Isa::load(b.centre[k] + i), inverse = Isa::load(b.inverse[k] + i);
            const Ints weight = Isa::load(b.weight[k] + i), span = span_of(inverse), back = Isa::subtract(zero, span);
            const Ints odd_inverse = Isa::odd(inverse), odd_weight = Isa::odd(weight);
            NEURALCODEC_UNROLL
            for (int e = 0; e < 2; e++) {
                const Ints distance = clamped(Isa::subtract(position[e], centre), back, span);
                add_share(p, distance, inverse, odd_inverse, weight, odd_weight, even[e], odd[e]);
            }
        }
        NEURALCODEC_UNROLL
        for (int e = 0; e < 2; e++) {
            Ints below = Isa::template joined<weight_bits>(even[e], odd[e]);
            if (p.maps) below = calibrated(p.maps, Isa::load(b.map_of + i), below);
            edge[e] = edge_of(below, symbol[e], count);
        }
        return {edge[0], edge[1]};
    }

    // Adds a part's share of what lies below, of even and of odd numbers: inverse scales and weights are of these, too.
    static NEURALCODEC_INLINE void add_share(const MixtureParameters& p, Ints distance, Ints inverse, Ints odd_inverse,
                                             Ints weight, Ints odd_weight, Ints& even, Ints& odd) {
        const Ints z = Isa::template joined<inverse_bits>(Isa::multiply(distance, inverse),
                                                          Isa::multiply(Isa::odd(distance), odd_inverse));
        const Ints share = Isa::look_up(p.tables.sigmoid.data() + reach, clamped(z, Isa::all(-reach), Isa::all(reach)));
        even = Isa::add_wide(even, Isa::multiply_unsigned(share, weight));
        odd = Isa::add_wide(odd, Isa::multiply_unsigned(Isa::odd(share), odd_weight));
    }

    // The lower edge of a symbol's interval, of so many.
    static NEURALCODEC_INLINE Ints edge_of(Ints below, Ints symbol, Ints count) {
        const Ints spread = Isa::subtract(Isa::all(total), count), zero = Isa::all(0);
        const Ints inner = Isa::template joined<total_bits>(Isa::multiply_unsigned(below, spread),
                                                            Isa::multiply_unsigned(Isa::odd(below), Isa::odd(spread)));
        const Ints edge = Isa::select(Isa::above(symbol, zero), Isa::add(inner, symbol), zero);
        return Isa::select(Isa::above(count, symbol), edge, Isa::all(total));
    }

    static NEURALCODEC_INLINE Ints calibrated(const int32_t* maps, Ints of, Ints below) {
        const Ints at = Isa::add(of, Isa::template unsigned_right<bin_bits>(below));
        const Ints low = Isa::look_up(maps, at), width = Isa::subtract(Isa::look_up(maps + 1, at), low);
        const Ints inside = Isa::both(below, Isa::all((1 << bin_bits) - 1));
        return Isa::add(low, Isa::template joined<bin_bits>(Isa::multiply_unsigned(width, inside),
                                                            Isa::multiply_unsigned(Isa::odd(width), Isa::odd(inside))));
    }

    static NEURALCODEC_INLINE Ints position_of(const MixtureParameters& p, Ints symbol, Ints shift) {
        Ints value = Isa::shift_left(p.clipped ? Isa::subtract(symbol, Isa::all(1)) : symbol, shift);
        if (p.clipped) value = clamped(Isa::add(value, Isa::all(1)), Isa::all(0), Isa::all(p.last));
        return Isa::shift_left(value, Isa::all(centre_bits));
    }

    // Of one item: as many edges as `Isa::Eight` has numbers.
    template <int K>
    static void edges_from(const Block<K>& b, const MixtureParameters& p, int i, int32_t low,
                           int32_t (&edges)[window_edges]) {
        if constexpr (lanes != window_edges) {
            Vectors<typename Isa::Eight>::edges_from(b, p, i, low, edges);
        } else {
            static constexpr int32_t steps[] = {0, 1, 2, 3, 4, 5, 6, 7};
            static_assert(window_edges == std::size(steps));
            const Ints zero = Isa::all(0), value = Isa::add(Isa::all(low), Isa::load(steps));
            Ints position = Isa::shift_left(value, Isa::all(centre_bits));
            if (p.cells) position = Isa::add(position, Isa::look_up(p.cells, value));
            Ints even = zero, odd = zero;
            for (int k = 0; k < parts_of<K>(p); k++) {
                const Ints inverse = Isa::all(b.inverse[k][i]), weight = Isa::all(b.weight[k][i]), span = span_of(inverse);
                const Ints distance = Isa::subtract(position, Isa::all(b.centre[k][i]));
                add_share(p, clamped(distance, Isa::subtract(zero, span), span), inverse, inverse, weight, weight, even, odd);
            }
            Ints below = Isa::template joined<weight_bits>(even, odd);
            if (p.maps) below = calibrated(p.maps, Isa::all(b.map_of[i]), below);
            Isa::store(edges, edge_of(below, value, Isa::all(b.count[i])));
        }
    }

    template <int K>
    static void find(const Block<K>& b, const MixtureParameters& p, const uint64_t* heads, int first, int count,
                     const Found& found, ptrdiff_t at) {
        for (; first + lanes <= count; first += lanes) find_lanes(b, p, heads, first, found, at);
        Scalar::find(b, p, heads, first, count, found, at);
    }

    template <int K>
    static NEURALCODEC_INLINE void find_lanes(const Block<K>& b, const MixtureParameters& p, const uint64_t* heads,
                                              int i, const Found& found, ptrdiff_t at) {
        const Ints one = Isa::all(1), slot = Isa::both(Isa::slots(heads + i), Isa::all(total - 1));
        Ints low = Isa::all(0), high = Isa::load(b.count + i), symbol = Isa::load(b.guess + i);
        Ints begin = low, end = low, result = low;
        Mask open = Isa::above(high, low);  // of all: there are symbols
        for (int tries = 0; tries < 2; tries++) {
            const Ints after = Isa::add(symbol, one);
            const Interval edge = edges(b, p, i, symbol);
            const Mask below = Isa::above(edge.start, slot), inside = Isa::above(edge.end, slot);
            const Mask hit = Isa::first_not(below, inside);  // of none that was found before, or of the same symbol
            result = Isa::select(hit, symbol, result);
            begin = Isa::select(hit, edge.start, begin);
            end = Isa::select(hit, edge.end, end);
            open = Isa::first_not(hit, open);
            if (!Isa::bits(open)) break;
            low = Isa::select(inside, low, after);
            high = Isa::select(below, symbol, high);
            const Floats width = Isa::to_floats(Isa::subtract(edge.end, edge.start));
            const Ints miss =
                Isa::select(below, Isa::subtract(edge.start, slot), Isa::subtract(slot, edge.end));
            const Ints step = Isa::to_ints(Isa::divide(Isa::to_floats(miss), width));
            const Ints next = Isa::select(below, Isa::subtract(Isa::subtract(symbol, one), step),
                                          Isa::add(after, step));
            // The middle, where the step leads out of what is known.
            const Ints middle = Isa::template unsigned_right<1>(Isa::add(low, high));
            symbol = Isa::select(Isa::above(low, next), middle, Isa::select(Isa::above(high, next), next, middle));
        }
        Isa::store(found.symbol + at + i, result);
        Isa::store(found.start + at + i, begin);
        Isa::store(found.freq + at + i, Isa::subtract(end, begin));
        if (!Isa::bits(open)) return;
        int32_t lows[lanes], highs[lanes], symbols[lanes];
        Isa::store(lows, low);
        Isa::store(highs, high);
        Isa::store(symbols, symbol);
        search_open<lanes>(b, p, heads, i, Isa::bits(open), lows, highs, symbols, found, at);
    }

    template <int K>
    static void intervals(const Block<K>& b, const MixtureParameters& p, const int32_t* symbols, int first, int count,
                          uint32_t* start, uint32_t* freq) {
        int i = first;
        for (; i + lanes <= count; i += lanes) {
            const Interval edge = edges(b, p, i, Isa::load(symbols + i));
            Isa::store(start + i, edge.start);
            Isa::store(freq + i, Isa::subtract(edge.end, edge.start));
        }
        Scalar::intervals(b, p, symbols, i, count, start, freq);
    }
};

}  // namespace
}  // namespace neuralcodec
