// Convolutions in plain C++, for processors without one of the other instruction sets.
#include "convolution_tiles.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

// Plain loops over local arrays, of which compilers make vectors.
struct Portable {
    static constexpr int lanes = 8, vectors = 1, positions = 4;
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
        const int8_t* weights = block.weights;
        int32_t total[P][lanes];
        for (int p = 0; p < P; p++)
            for (int i = 0; i < lanes; i++) total[p][i] = sums[p][0].at[i];
        for (int row = 0; row < c.kernel; row++, window += c.input_row)
            for (int byte = 0; byte < 4 * c.steps; byte++, weights += lanes) {
                int16_t w[lanes];
                for (int i = 0; i < lanes; i++) w[i] = weights[i];
                for (int p = 0; p < P; p++) {
                    const int16_t x = window[p * c.input_position + byte];
                    for (int i = 0; i < lanes; i++) total[p][i] += int32_t(x) * int32_t(w[i]);
                }
            }
        for (int p = 0; p < P; p++)
            for (int i = 0; i < lanes; i++) sums[p][0].at[i] = total[p][i];
    }

    struct Rounding {
        const int32_t* shift;
        explicit Rounding(const int32_t* p) : shift(p) {}
    };
    static NEURALCODEC_INLINE Sums add_skip(Sums sums, const uint8_t* skip, const Rounding& r) {
        for (int i = 0; i < lanes; i++) sums.at[i] += skip[i] << r.shift[i];
        return sums;
    }
    static NEURALCODEC_INLINE Sums requantise(Sums sums, const Rounding& r) {
        for (int i = 0; i < lanes; i++) {
            // Right shifts of negative numbers are arithmetic on every compiler, and in the standard from C++20 on.
            const int shift = r.shift[i], odd = shift > 0, half = ((1 << shift) >> 1) - odd;
            sums.at[i] = (sums.at[i] + half + (sums.at[i] >> shift & odd)) >> shift;
        }
        return sums;
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
