// Tables of integers that are part of the format. docs/format.md: Mixtures of logistics, Backward adaptation.
#pragma once

#include "backward.hpp"
#include "bands.hpp"
#include "mixtures.hpp"

namespace web {

struct Exact {
    Exact();

    neuralcodec::LogisticTables logistic;
    std::vector<int64_t> powers;  // 2**(16 - i / 16), i = 0 .. 256
    neuralcodec::Deviations deviations;
};

// Made when they are first used.
const Exact& exact();

}  // namespace web
