// The instruction sets that kernels are compiled for, and which of them this machine has.
#pragma once

#include <string>
#include <vector>

namespace neuralcodec {

// Slowest first; a machine has all or some of those of its architecture. `amx_emulated` is for tests: it is never among
// those available, but builds that have it give it to who asks for it by name.
enum class InstructionSet { portable, neon, avx2, avxvnni, avx512vnni, amx, amx_emulated };

// Those with kernels in this build that this machine can run, fastest first. The last is always `portable`.
const std::vector<InstructionSet>& available();

// The name of an instruction set, as in NEURALCODEC_ISA.
const char* name(InstructionSet set);

// The set with this name. Throws std::invalid_argument unless it is available, or emulated by this build.
InstructionSet named(const std::string& name);

}  // namespace neuralcodec
