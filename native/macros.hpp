// What compilers call differently.
#pragma once

// NEURALCODEC_UNROLL stands before a loop over the registers of a tile: unless it is unrolled, they live in memory.
#if defined(__clang__)
#define NEURALCODEC_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define NEURALCODEC_UNROLL _Pragma("GCC unroll 32")
#else
#define NEURALCODEC_UNROLL
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#define NEURALCODEC_INLINE __forceinline
#define NEURALCODEC_NOINLINE __declspec(noinline)
#else
#define NEURALCODEC_INLINE inline __attribute__((always_inline))
#define NEURALCODEC_NOINLINE __attribute__((noinline))
#endif

// NEURALCODEC_SETTLE(vector) ends the live range of a register behind a loop: GCC spills inside of the loop what it would
// have to spill behind it.
#if defined(__GNUC__) && defined(__AVX512F__)
#define NEURALCODEC_SETTLE(vector) __asm__ volatile("" : "+v"(vector))
#elif defined(__GNUC__) && defined(__x86_64__)
#define NEURALCODEC_SETTLE(vector) __asm__ volatile("" : "+x"(vector))
#elif defined(__GNUC__) && defined(__aarch64__)
#define NEURALCODEC_SETTLE(vector) __asm__ volatile("" : "+w"(vector))
#else
#define NEURALCODEC_SETTLE(vector) (void)(vector)
#endif
