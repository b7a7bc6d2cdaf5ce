// Row filters of samples, 0 nothing, 1 left, 2 above, 3 left + above - upper left. See methods/filtered.py, which defines them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neuralcodec {

struct FilterShape {
    ptrdiff_t height, width, bands;
};

// Rows less their prediction by the filter that gives the smallest sum of magnitudes, the first of them, and which it was.
template <class T>
void filter_rows(const T* samples, FilterShape shape, T* rows, uint8_t* filters);

// Undoes filters 0..3, one for each row, in place.
template <class T>
void unfilter_rows(T* rows, FilterShape shape, const uint8_t* filters);

}  // namespace neuralcodec
