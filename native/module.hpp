// What the parts of the Python module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/unique_ptr.h>

#include <memory>

#include "mixtures.hpp"

namespace neuralcodec {

namespace nb = nanobind;

// Arguments that are not converted: another dtype, number of axes or layout is a TypeError.
template <class T, int Dimensions>
using Array = nb::ndarray<const T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
template <class T, int Dimensions>
using MutableArray = nb::ndarray<T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;

// The tables of mixtures, and the kernel that works with them.
struct Logistic {
    Logistic(const MixtureKernel& kernel, const Array<int32_t, 1>& sigmoid, const Array<int32_t, 1>& inverse_scale,
             const Array<int32_t, 1>& log2);

    const MixtureKernel& kernel;
    const LogisticTables tables;
};

// Adds the classes and functions of the coders.
void bind_coders(nb::module_& m);

}  // namespace neuralcodec
