// How coded numbers 0 .. top are related to samples. docs/format.md: Samples of 16 bits.
#pragma once

#include "bands.hpp"
#include "stream.hpp"

namespace web {

struct Range {
    neuralcodec::BandMapping mapping;  // of samples of 8 bits none
    int low = 0;
    std::vector<uint16_t> table;  // of the samples that occur; empty if all do

    Range() = default;
    // Reads the dynamic-range mapping of samples of 16 bits.
    explicit Range(Fields& fields);

    bool is_deep() const { return mapping.is_mapped(); }
    int top() const { return is_deep() ? mapping.top : 255; }
    int sample(int index) const { return table.empty() ? low + index : table[size_t(index)]; }
};

}  // namespace web
