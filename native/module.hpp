// What the parts of the Python module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "adaptation.hpp"
#include "backward.hpp"
#include "bands.hpp"
#include "lattice.hpp"
#include "memory.hpp"
#include "mixtures.hpp"
#include "predictor.hpp"

namespace neuralcodec {

namespace nb = nanobind;

// Arguments that are not converted: another dtype, number of axes or layout is a TypeError.
template <class T, int Dimensions>
using Array = nb::ndarray<const T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
template <class T, int Dimensions>
using MutableArray = nb::ndarray<T, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;

// New arrays of Python.
template <class T>
nb::object array_of(Numbers<T> values, std::initializer_list<size_t> shape) {
    T* data = values.get();
    nb::capsule owner(new Numbers<T>(std::move(values)), [](void* p) noexcept { delete static_cast<Numbers<T>*>(p); });
    return nb::cast(nb::ndarray<nb::numpy, T>(data, shape, owner));
}

template <class T>
nb::object array_of(const std::vector<T>& values) {
    auto copy = numbers<T>(values.size());
    std::copy(values.begin(), values.end(), copy.get());
    return array_of(std::move(copy), {values.size()});
}

// What is known of items (n) or (height, width), as of `LatticePrior`, with the planes first.
template <int Dimensions>
using PriorArrays = std::tuple<std::optional<std::shared_ptr<Lattice>>, Array<int32_t, Dimensions + 1>, Array<int32_t, Dimensions>,
                               MutableArray<int32_t, Dimensions>>;

// Throws std::invalid_argument for arrays of another size.
template <class Arrays>
LatticePrior prior_of(const std::optional<Arrays>& arrays, size_t count) {
    if (!arrays) return {};
    const auto& [on, known, weights, shares] = *arrays;
    const size_t planes = on ? 2 : lattice::told;
    if (known.shape(0) != planes || known.size() != planes * count || weights.size() != count || shares.size() != count)
        throw std::invalid_argument("numbers of each position");
    return {on ? on->get() : nullptr, known.data(), ptrdiff_t(count), weights.data(), shares.data(), 1};
}

using CellsArray = std::optional<Array<int32_t, 1>>;

// Throws std::invalid_argument for an array of another size, or what no cells can be.
inline std::optional<Cells> cells_of(const CellsArray& moves) {
    if (!moves) return std::nullopt;
    if (moves->size() != 257) throw std::invalid_argument("257 edges of cells");
    return Cells(moves->data());
}

// The tables of mixtures, and the kernel that works with them.
struct Logistic {
    Logistic(const MixtureKernel& kernel, const AdaptationKernel& adaptation, const BackwardKernel& backward,
             const Array<int32_t, 1>& sigmoid, const Array<int32_t, 1>& inverse_scale, const Array<int32_t, 1>& log2);

    const MixtureKernel& kernel;
    const AdaptationKernel& adaptation;
    const BackwardKernel& backward;
    const LogisticTables tables;
};

// The loops over the positions of bands, and their table.
struct BandFunctions {
    BandFunctions(const BandKernel& kernel, const Array<int64_t, 1>& table);

    const BandKernel& kernel;
    std::vector<int64_t> powers;
};

// The predictor's loops, and its tables.
struct PredictorFunctions {
    PredictorFunctions(const PredictorKernel& kernel, const Array<uint32_t, 1>& weights,
                       const Array<uint8_t, 1>& levels);

    predictor::Tables tables() const { return {weights.data(), levels.data(), ptrdiff_t(levels.size())}; }

    const PredictorKernel& kernel;
    std::vector<uint32_t> weights;
    std::vector<uint8_t> levels;
};

// Words and heads, for a call. Throws std::invalid_argument where they are not as large as that.
Lanes lanes_of(const MutableArray<uint64_t, 1>& heads, const MutableArray<uint16_t, 1>& words, ptrdiff_t size);

// Add the classes and functions of the coders, of bands and their adaptation, of the patch flow, of JPEG files, and of
// methods without networks.
void bind_coders(nb::module_& m);
void bind_bands(nb::module_& m);
void bind_backward(nb::module_& m);
void bind_flow(nb::module_& m);
void bind_jpeg(nb::module_& m);
void bind_predictor(nb::module_& m);

}  // namespace neuralcodec
