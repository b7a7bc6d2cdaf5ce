// Convolutions with WebAssembly's vectors of 128 bits: i32x4.dot_i16x8_s on bytes that are widened.
#include <wasm_simd128.h>

#include "convolution_tiles.hpp"
#include "model.hpp"

namespace neuralcodec {
namespace {

struct Simd128 : Dots<Simd128> {
    static constexpr int lanes = 4, vectors = 2, positions = 3;
    // Of each channel two sums, of the first and of the last two bytes of steps: (0, 0, 1, 1) and (2, 2, 3, 3).
    struct Sums {
        v128_t low, high;
    };
    using Weights = Sums;
    using Inputs = v128_t;
    using Values = v128_t;

    static NEURALCODEC_INLINE Sums load_sums(const int32_t* p) {
        const v128_t sums = wasm_v128_load(p), zero = wasm_i32x4_const_splat(0);
        return {wasm_i32x4_shuffle(sums, zero, 0, 4, 1, 5), wasm_i32x4_shuffle(sums, zero, 2, 6, 3, 7)};
    }
    static NEURALCODEC_INLINE Weights load_weights(const int8_t* p) {
        return {wasm_i16x8_load8x8(p), wasm_i16x8_load8x8(p + 8)};
    }
    static NEURALCODEC_INLINE Inputs repeat(const uint8_t* p) {
        return wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(p));
    }
    static NEURALCODEC_INLINE Sums dot(Sums sums, Inputs x, Weights w) {
        const v128_t both = wasm_i64x2_shuffle(x, x, 0, 0);
        return {wasm_i32x4_add(sums.low, wasm_i32x4_dot_i16x8(both, w.low)),
                wasm_i32x4_add(sums.high, wasm_i32x4_dot_i16x8(both, w.high))};
    }
    static NEURALCODEC_INLINE v128_t whole(const Sums& sums) {
        return wasm_i32x4_add(wasm_i32x4_shuffle(sums.low, sums.high, 0, 2, 4, 6),
                              wasm_i32x4_shuffle(sums.low, sums.high, 1, 3, 5, 7));
    }

    struct Rounding {
        const int32_t* shift;
        explicit Rounding(const int32_t* p) : shift(p) {}
    };
    // WebAssembly shifts all lanes of a vector by the same number, so these go one by one. There are few of them.
    static NEURALCODEC_INLINE Values shifted(const Sums& sums, const Rounding& r) {
        int32_t each[4];
        wasm_v128_store(each, whole(sums));
        for (int i = 0; i < lanes; i++) each[i] >>= r.shift[i];
        return wasm_v128_load(each);
    }
    static NEURALCODEC_INLINE Values load_skip(const uint8_t* p) {
        return wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p)));
    }
    static NEURALCODEC_INLINE Values add(Values one, Values two) { return wasm_i32x4_add(one, two); }
    static NEURALCODEC_INLINE Values to_even(Values values, const Sums& sums, const Rounding& r) {
        int32_t each[4], ties[4];
        wasm_v128_store(each, whole(sums));
        for (int i = 0; i < lanes; i++) ties[i] = r.shift[i] > 0 && !(each[i] & ((1 << r.shift[i]) - 1));
        return wasm_v128_andnot(values, wasm_v128_load(ties));
    }
    static NEURALCODEC_INLINE void store_activations(uint8_t* p, Values sums) {
        const v128_t words = wasm_i16x8_narrow_i32x4(sums, sums);
        const v128_t bytes = wasm_i8x16_narrow_i16x8(wasm_i16x8_max(words, wasm_i16x8_const_splat(0)), words);  // to 127
        wasm_v128_store32_lane(p, bytes, 0);
    }
    static NEURALCODEC_INLINE void store_sums(int32_t* p, Values values) { wasm_v128_store(p, values); }
};

}  // namespace

const ConvolutionKernel convolution_simd128 = convolution_kernel<Simd128>(0);

}  // namespace neuralcodec
