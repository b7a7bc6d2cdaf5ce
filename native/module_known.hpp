// Known components of a level as arrays, for the parts of the Python module that read what lies near.
#pragma once

#include <stdexcept>
#include <vector>

#include "bands.hpp"
#include "module.hpp"

namespace neuralcodec {

using Component = Array<int32_t, 4>;

// Components (images, bands, height, width), and a table (taps, 2, 3) of the component, row and column of each tap's samples.
struct KnownSamples {
    KnownSamples(const std::vector<Component>& known, const Array<int32_t, 3>& table) {
        if (known.empty() || known.size() > bands::most_known) throw std::invalid_argument("1..3 components are known");
        images = known[0].shape(0), height = known[0].shape(2), width = known[0].shape(3);
        for (const Component& plane : known) {
            for (size_t axis = 0; axis < 4; axis++)
                if (plane.shape(axis) != (axis == 1 ? size_t(bands::bands) : known[0].shape(axis)))
                    throw std::invalid_argument("components are of one shape, with three bands");
            planes.push_back(plane.data());
        }
        if (table.shape(0) != bands::taps || table.shape(1) != 2 || table.shape(2) != 3)
            throw std::invalid_argument("a table of another shape");
        for (int t = 0; t < bands::taps; t++)
            for (int i = 0; i < 2; i++) {
                TapSample& sample = samples[t][i] = {table(t, i, 0), table(t, i, 1), table(t, i, 2)};
                if (sample.component < 0 || sample.component >= int(known.size()) || sample.down < -2 ||
                    sample.down > 2 || sample.right < -2 || sample.right > 2)
                    throw std::invalid_argument("a tap is out of reach");
            }
    }

    // Of all positions, or so many of them: of every so many rows, and of the first columns.
    BandTaps taps() const { return taps(images * height, width); }
    BandTaps taps(size_t rows, size_t columns, size_t every = 1) const {
        if (every < 1 || (rows && ((rows - 1) > (images * height - 1) / every || !images || !height)) || columns > width)
            throw std::invalid_argument("positions of another shape");
        return {planes.data(), ptrdiff_t(height), ptrdiff_t(width), ptrdiff_t(bands::bands * height * width), samples,
                ptrdiff_t(every), ptrdiff_t(columns)};
    }

    size_t images, height, width;
    std::vector<const int32_t*> planes;
    TapSample samples[bands::taps][2];
};

}  // namespace neuralcodec
