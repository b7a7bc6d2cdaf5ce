// Numbers of positions that lie side by side, as planes: compiled once for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "transpose.hpp"

namespace neuralcodec {
namespace {

// Numbers (count, stride) of positions, of which the first `channels` count, as planes (channels, plane).
void planes_of(const int32_t* numbers, ptrdiff_t stride, int channels, ptrdiff_t count, int32_t* out, ptrdiff_t plane) {
    int channel = 0;
#if defined(__AVX2__)
    const ptrdiff_t squares = count / 8 * 8;
    for (; channel + 8 <= channels; channel += 8) {
        for (ptrdiff_t i = 0; i < squares; i += 8) {
            __m256 r[8];
            for (int j = 0; j < 8; j++)
                r[j] = _mm256_loadu_ps(reinterpret_cast<const float*>(numbers + (i + j) * stride + channel));
            transpose(r);
            for (int j = 0; j < 8; j++)
                _mm256_storeu_ps(reinterpret_cast<float*>(out + (channel + j) * plane + i), r[j]);
        }
        for (int j = channel; j < channel + 8; j++)
            for (ptrdiff_t i = squares; i < count; i++) out[j * plane + i] = numbers[i * stride + j];
    }
#endif
    for (; channel < channels; channel++)
        for (ptrdiff_t i = 0; i < count; i++) out[channel * plane + i] = numbers[i * stride + channel];
}

}  // namespace
}  // namespace neuralcodec
