// The Python module: arguments are checked here, so that no kernel sees a wrong type, shape or layout.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "instruction_sets.hpp"

namespace nb = nanobind;
using namespace neuralcodec;

NB_MODULE(_native, m) {
    m.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (InstructionSet set : available()) names.emplace_back(name(set));
        return names;
    });
}
