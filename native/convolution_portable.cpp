// Convolutions in plain C++, for processors without one of the other instruction sets.
#include "convolution_tiles.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

// Four channels at a time, whose sums are dot products of numbers of 16 bits: a loop in which compilers see the instruction
// that adds two products in 32 bits (pmaddwd, smlal).
struct Portable {
    static constexpr int lanes = 4, vectors = 1, positions = 8;
    static constexpr int part = 512;  // of a row of the window, whose weights are widened at once
    struct Sums {
        int32_t at[lanes];
    };

    static NEURALCODEC_INLINE Sums load_sums(const int32_t* p) {
        Sums sums;
        for (int i = 0; i < lanes; i++) sums.at[i] = p[i];
        return sums;
    }

    template <int P, int V>
    static NEURALCODEC_INLINE void accumulate(const Convolution& c, const Block& block, const uint8_t* window,
                                              Sums (&sums)[P][V]) {
        static_assert(V == 1, "a block is one vector");
        const ptrdiff_t row_size = 4 * ptrdiff_t(c.steps), channel_size = row_size * c.kernel;
        const int8_t* weights = block.weights;
        for (int row = 0; row < c.kernel; row++, window += c.input_row, weights += row_size)
            for (ptrdiff_t at = 0; at < row_size; at += part) {
                const int count = int(row_size - at < part ? row_size - at : part);
                int16_t wide[lanes][part];
                for (int lane = 0; lane < lanes; lane++)
                    for (int i = 0; i < count; i++) wide[lane][i] = weights[lane * channel_size + at + i];
                for (int p = 0; p < P; p++)
                    add_products(window + p * c.next_position + at, wide, count, sums[p][0].at);
            }
    }

    static NEURALCODEC_NOINLINE void add_products(const uint8_t* x, const int16_t (&weights)[lanes][part], int count,
                                                  int32_t* sums) {
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (int i = 0; i < count; i++) {
            const int16_t value = x[i];
            a += int32_t(value) * weights[0][i];
            b += int32_t(value) * weights[1][i];
            c += int32_t(value) * weights[2][i];
            d += int32_t(value) * weights[3][i];
        }
        sums[0] += a, sums[1] += b, sums[2] += c, sums[3] += d;
    }

    struct Rounding {
        const int32_t* shift;
        explicit Rounding(const int32_t* p) : shift(p) {}
    };
    static NEURALCODEC_INLINE Sums load_skip(const uint8_t* p) {
        Sums skip;
        for (int i = 0; i < lanes; i++) skip.at[i] = p[i];
        return skip;
    }
    static NEURALCODEC_INLINE Sums add(Sums one, const Sums& two) {
        for (int i = 0; i < lanes; i++) one.at[i] += two.at[i];
        return one;
    }
    static NEURALCODEC_INLINE Sums shifted(Sums sums, const Rounding& r) {
        // Right shifts of negative numbers are arithmetic on every compiler, and in the standard from C++20 on.
        for (int i = 0; i < lanes; i++) sums.at[i] >>= r.shift[i];
        return sums;
    }
    static NEURALCODEC_INLINE Sums to_even(Sums values, const Sums& sums, const Rounding& r) {
        for (int i = 0; i < lanes; i++) {
            const int shift = r.shift[i], is_tie = shift > 0 && !(sums.at[i] & ((1 << shift) - 1));
            values.at[i] &= ~is_tie;
        }
        return values;
    }
    static NEURALCODEC_INLINE void store_activations(uint8_t* p, const Sums& values) {
        for (int i = 0; i < lanes; i++)
            p[i] = uint8_t(values.at[i] < 0 ? 0 : values.at[i] > 127 ? 127 : values.at[i]);
    }
    static NEURALCODEC_INLINE void store_sums(int32_t* p, const Sums& values) {
        for (int i = 0; i < lanes; i++) p[i] = values.at[i];
    }
};

}  // namespace

const ConvolutionKernel convolution_portable = convolution_kernel<Portable>(128, false, nullptr, true);

}  // namespace neuralcodec
