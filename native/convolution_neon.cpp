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
        int32x4_t shift, odd, half;  // 1, or 0 where the shift is 0; 2**(shift-1) - 1, or 0 where it is 0
        NEURALCODEC_INLINE explicit Rounding(const int32_t* p) {
            const int32x4_t one = vdupq_n_s32(1);
            shift = vld1q_s32(p);
            odd = vminq_s32(shift, one);
            half = vsubq_s32(vshrq_n_s32(vshlq_s32(one, shift), 1), odd);
        }
    };
    static NEURALCODEC_INLINE Sums add_skip(Sums sums, const uint8_t* skip, const Rounding& r) {
        uint32_t four;
        std::memcpy(&four, skip, 4);
        const uint16x8_t wide = vmovl_u8(vcreate_u8(four));
        return vaddq_s32(sums, vshlq_s32(vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide))), r.shift));
    }
    static NEURALCODEC_INLINE Sums requantise(Sums sums, const Rounding& r) {
        const int32x4_t down = vnegq_s32(r.shift);
        const int32x4_t up = vandq_s32(vshlq_s32(sums, down), r.odd);
        return vshlq_s32(vaddq_s32(vaddq_s32(sums, r.half), up), down);
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
