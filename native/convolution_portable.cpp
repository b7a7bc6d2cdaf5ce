// Convolutions in plain C++, for processors without one of the other instruction sets.
#include "convolution_tiles.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

struct Portable : Dots<Portable> {
    static constexpr int lanes = 8, vectors = 1, positions = 2;
    struct Sums {
        int32_t at[lanes];
    };
    using Weights = const int8_t*;
    using Inputs = const uint8_t*;

    static NEURALCODEC_INLINE Sums load_sums(const int32_t* p) {
        Sums sums;
        for (int i = 0; i < lanes; i++) sums.at[i] = p[i];
        return sums;
    }
    static NEURALCODEC_INLINE Weights load_weights(const int8_t* p) { return p; }
    static NEURALCODEC_INLINE Inputs repeat(const uint8_t* p) { return p; }
    static NEURALCODEC_INLINE Sums dot(Sums sums, Inputs x, Weights w) {
        for (int i = 0; i < lanes; i++)
            for (int j = 0; j < 4; j++) sums.at[i] += x[j] * w[4 * i + j];
        return sums;
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

const ConvolutionKernel convolution_portable = convolution_kernel<Portable>(128);

}  // namespace neuralcodec
