// From coefficients to pixels as libjpeg does it. See jpeg/transform.py and layout.py, which define it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neuralcodec {

// A plane of samples, row by row.
struct Samples {
    const uint8_t* data;
    ptrdiff_t rows, columns, stride;
};

// The part of an enlarged plane that lies under an image.
struct Enlargement {
    int vertical, horizontal;  // factors, 1 or 2
    bool fancy;
    ptrdiff_t top, left, height, width;
};

// Samples (8 * rows, 8 * columns) of quantised coefficients (64, rows * columns) and their steps (64); products are below
// 2**15 in magnitude, else samples may be any.
void jpeg_samples(const int64_t* coefficients, const int64_t* steps, ptrdiff_t rows, ptrdiff_t columns, uint8_t* out);

// As transform.upsample and a crop to (height, width), which lies inside.
void jpeg_enlarge(const Samples& plane, const Enlargement& to, uint8_t* out);

// RGB (count, 3) of samples (count) each.
void jpeg_rgb(const uint8_t* luma, const uint8_t* cb, const uint8_t* cr, ptrdiff_t count, uint8_t* out);

}  // namespace neuralcodec
