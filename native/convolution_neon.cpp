// Convolutions with NEON's dot product, of signed bytes: activations have 7 bits, and pixels are signed already.
#include <arm_neon.h>

#include <cstring>

#include "convolution_tiles.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

struct Neon : Dots<Neon> {
    static constexpr int lanes = 4, vectors = 4, positions = 6;
    using Sums = int32x4_t;
    using Weights = int8x16_t;
    using Inputs = int8x16_t;

    static NEURALCODEC_INLINE Sums load_sums(const int32_t* p) { return vld1q_s32(p); }
    static NEURALCODEC_INLINE Weights load_weights(const int8_t* p) { return vld1q_s8(p); }
    static NEURALCODEC_INLINE Inputs repeat(const uint8_t* p) {
        int32_t four;
        std::memcpy(&four, p, 4);
        return vreinterpretq_s8_s32(vdupq_n_s32(four));
    }
    static NEURALCODEC_INLINE Sums dot(Sums sums, Inputs x, Weights w) { return vdotq_s32(sums, x, w); }

    struct Rounding {
        int32x4_t left, odd, rest;  // left: by how much to shift to the left, minus the shift
        NEURALCODEC_INLINE explicit Rounding(const int32_t* p) {
            const int32x4_t one = vdupq_n_s32(1), shift = vld1q_s32(p);
            left = vnegq_s32(shift);
            odd = vminq_s32(shift, one);
            rest = vsubq_s32(vshlq_s32(one, shift), one);
        }
    };
    static NEURALCODEC_INLINE Sums load_skip(const uint8_t* p) {
        uint32_t four;
        std::memcpy(&four, p, 4);
        return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
    }
    static NEURALCODEC_INLINE Sums add(Sums one, Sums two) { return vaddq_s32(one, two); }
    static NEURALCODEC_INLINE Sums shifted(Sums sums, const Rounding& r) { return vshlq_s32(sums, r.left); }
    static NEURALCODEC_INLINE Sums to_even(Sums values, Sums sums, const Rounding& r) {
        const int32x4_t is_no_tie = vreinterpretq_s32_u32(vtstq_s32(sums, r.rest));
        return vbicq_s32(values, vbicq_s32(r.odd, is_no_tie));
    }
    static NEURALCODEC_INLINE void store_activations(uint8_t* p, Sums values) {
        const int16x4_t half = vqmovn_s32(vmaxq_s32(values, vdupq_n_s32(0)));
        const int8x8_t bytes = vqmovn_s16(vcombine_s16(half, half));  // saturates to 127
        const uint32_t four = vget_lane_u32(vreinterpret_u32_s8(bytes), 0);
        std::memcpy(p, &four, 4);
    }
    static NEURALCODEC_INLINE void store_sums(int32_t* p, Sums values) { vst1q_s32(p, values); }
};

}  // namespace

const ConvolutionKernel convolution_neon = convolution_kernel<Neon>(0, false, multiply_adds<Neon>);

}  // namespace neuralcodec
