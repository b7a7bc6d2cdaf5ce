// Linear systems of backward adaptation, and the vectors that they are solved in: compiled once for each instruction set.
//
// Floats are rounded one by one, to nearest, in one order: SIMD runs across blocks. Numbers so small that a processor may take
// them for zero change nothing: pivots are at least half a ridge, 2048 or more, so that nothing is amplified by more than
// the size of a sum, below 2**27, and results are rounded to 1/4096.
#pragma once

#include <cstring>

#include "backward.hpp"
#include "macros.hpp"
#include "transpose.hpp"
#if defined(_MSC_VER) && !defined(__clang__)
#pragma fp_contract(off)  // here and in all that follows
#endif

namespace neuralcodec {
namespace {

using namespace backward;

// Numbers beside each other.
#if defined(__GNUC__)
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float Sixteen __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t EightInts __attribute__((vector_size(32), aligned(4), may_alias));
NEURALCODEC_INLINE void convert(const Eight& x, EightInts& y) { y = __builtin_convertvector(x, EightInts); }
#else
template <class T, int n>
struct Vector {
    T at[n];
    template <class Operation>
    Vector with(const Vector& b, const Operation& operation) const {
        Vector c;
        for (int i = 0; i < n; i++) c.at[i] = operation(at[i], b.at[i]);
        return c;
    }
    Vector operator+(const Vector& b) const { return with(b, [](T x, T y) { return x + y; }); }
    Vector operator-(const Vector& b) const { return with(b, [](T x, T y) { return x - y; }); }
    Vector operator*(const Vector& b) const { return with(b, [](T x, T y) { return x * y; }); }
    Vector operator*(T b) const { return with(*this, [b](T x, T) { return x * b; }); }
    Vector operator>>(int by) const { return with(*this, [by](T x, T) { return x >> by; }); }
};
using Eight = Vector<float, 8>;
using Sixteen = Vector<float, 16>;
using EightInts = Vector<int32_t, 8>;
NEURALCODEC_INLINE void convert(const Eight& x, EightInts& y) {
    for (int i = 0; i < 8; i++) y.at[i] = int32_t(x.at[i]);
}
#endif

// No templates: those would lose the alignment.
NEURALCODEC_INLINE Eight& eight(float* p) { return *reinterpret_cast<Eight*>(p); }
NEURALCODEC_INLINE const Eight& eight(const float* p) { return *reinterpret_cast<const Eight*>(p); }
NEURALCODEC_INLINE EightInts& eight(int32_t* p) { return *reinterpret_cast<EightInts*>(p); }
NEURALCODEC_INLINE const EightInts& eight(const int32_t* p) { return *reinterpret_cast<const EightInts*>(p); }

// Systems that are solved beside each other: where there are few, wide vectors would be half empty, and take longer.
struct Narrow {
    static constexpr int lanes = 8;
    using Floats = Eight;
    static NEURALCODEC_INLINE Floats& floats(float* p) { return *reinterpret_cast<Eight*>(p); }
};
#if defined(__AVX512F__)
struct Wide {
    static constexpr int lanes = 16;
    using Floats = Sixteen;
    static NEURALCODEC_INLINE Floats& floats(float* p) { return *reinterpret_cast<Sixteen*>(p); }
};
#else
using Wide = Narrow;
#endif

// A number of magnitude at most 2**22, rounded to nearest even.
NEURALCODEC_INLINE int32_t rounded(float x) {
    constexpr float shift = 12582912.0f;  // 1.5 * 2**23: floats beside it are integers
    return int32_t((x + shift) - shift);
}

constexpr int coefficient_bits = 12;

// Reduces some numbers of a row by the rows above, from the first on.
template <class Vectors, int count, class Rows>
NEURALCODEC_INLINE void reduce(int rows, float* numbers, float (*factor)[Vectors::lanes], const Rows& row) {
    typename Vectors::Floats x[count];
    NEURALCODEC_UNROLL
    for (int i = 0; i < count; i++) x[i] = Vectors::floats(numbers + i * Vectors::lanes);
    for (int a = 0; a < rows; a++) {
        const typename Vectors::Floats f = Vectors::floats(factor[a]);
        float* from = row(a);
        NEURALCODEC_UNROLL
        for (int i = 0; i < count; i++) x[i] = x[i] - f * Vectors::floats(from + i * Vectors::lanes);
    }
    NEURALCODEC_UNROLL
    for (int i = 0; i < count; i++) Vectors::floats(numbers + i * Vectors::lanes) = x[i];
}

// u: products (pairs, lanes) as in AdaptedHalf, rows of multiples of 8; found (n, lanes).
template <class Vectors>
void solve(int n, const int* rows, float* u, float least, float ridge, int32_t* found) {
    constexpr int lanes = Vectors::lanes;
    const auto floats = [](float* p) -> typename Vectors::Floats& { return Vectors::floats(p); };
    alignas(64) float inverse[most_features][lanes], factor[most_features][lanes], right[most_features][lanes];
    const auto of = [&](int a, int c) { return u + (rows[a] + c - a) * lanes; };
    for (int c = 0; c < n; c++) {
        float* diagonal = of(c, c);
        for (int i = 0; i < lanes; i++) diagonal[i] = diagonal[i] * (1 + 1.0f / 512) + ridge;
        for (int a = 0; a < c; a++) floats(factor[a]) = floats(of(a, c)) * floats(inverse[a]);
        // What lies behind the end of the row changes, too: it is of no use.
        int k = c;
        for (; k + 4 <= n; k += 8) reduce<Vectors, 8>(c, of(c, k), factor, [&](int a) { return of(a, k); });
        if (k <= n) reduce<Vectors, 4>(c, of(c, k), factor, [&](int a) { return of(a, k); });
        for (int i = 0; i < lanes; i++) inverse[c][i] = 1 / (diagonal[i] > least ? diagonal[i] : least);
        std::memcpy(right[c], of(c, n), sizeof(right[c]));
    }
    for (int a = n - 1; a >= 0; a--) {
        const typename Vectors::Floats x = floats(right[a]) * floats(inverse[a]);
        for (int c = 0; c < a; c++) floats(right[c]) = floats(right[c]) - floats(of(c, a)) * x;
        floats(right[a]) = x;
        for (int i = 0; i < lanes; i++) {
            constexpr float top = 32767;
            float y = right[a][i] * (1 << coefficient_bits);
            y = y < top ? y : top;
            found[a * lanes + i] = rounded(y > -top ? y : -top);
        }
    }
}

// Sums (lanes, pairs) as floats (pairs, lanes).
template <int lanes>
NEURALCODEC_INLINE void transposed(const int32_t* sums, int pairs, float* out) {
    for (int p = 0; p < pairs; p += 8)
        for (int i = 0; i < lanes; i += 8) {
            const int32_t* from = sums + i * pairs + p;
            float* to = out + p * lanes + i;
#if defined(__AVX2__)
            __m256 r[8];
            for (int j = 0; j < 8; j++)
                r[j] = _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + j * pairs)));
            transpose(r);
            for (int j = 0; j < 8; j++) _mm256_storeu_ps(to + j * lanes, r[j]);
#else
            for (int j = 0; j < 8; j++)
                for (int k = 0; k < 8; k++) to[k * lanes + j] = float(from[j * pairs + k]);
#endif
        }
}

}  // namespace
}  // namespace neuralcodec
