#include "instruction_sets.hpp"

#include <cstdint>
#include <stdexcept>

#if defined(__x86_64__) || defined(_M_X64)
#define NEURALCODEC_ON_X86
#if defined(_MSC_VER) && !defined(__clang__)
#define NEURALCODEC_MSVC
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__linux__) && defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__APPLE__) && defined(__aarch64__)
#include <sys/sysctl.h>
#elif defined(_WIN32) && defined(_M_ARM64)
#include <windows.h>
#endif

namespace neuralcodec {
namespace {

#if defined(NEURALCODEC_ON_X86)

struct Registers {
    uint32_t a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
    Registers r;
#if defined(NEURALCODEC_MSVC)
    int values[4];
    __cpuidex(values, static_cast<int>(leaf), static_cast<int>(subleaf));
    r = {uint32_t(values[0]), uint32_t(values[1]), uint32_t(values[2]), uint32_t(values[3])};
#else
    __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
#endif
    return r;
}

// Registers that the operating system saves when it switches threads (XCR0).
uint64_t saved_registers() {
#if defined(NEURALCODEC_MSVC)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t(high) << 32 | low;
#endif
}

bool bit(uint32_t word, int index) { return word >> index & 1; }

// Whether this process may use tiles. Linux wants to be asked, once for all threads and for forked children.
bool may_use_tiles() {
#if defined(__linux__)
    constexpr long request = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, request, tile_data) == 0;
#elif defined(_WIN32)
    return true;
#else
    return false;
#endif
}

bool has(InstructionSet set) {
    if (set == InstructionSet::portable) return true;
    const uint32_t leaves = cpuid(0, 0).a;
    if (leaves < 7 || !bit(cpuid(1, 0).c, 27)) return false;  // OSXSAVE
    const uint64_t saved = saved_registers();
    const Registers seven = cpuid(7, 0);
    const bool avx2 = (saved & 0x06) == 0x06 && bit(seven.b, 5);
    const bool avx512 = (saved & 0xe6) == 0xe6 && bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 30) &&
                        bit(seven.b, 31);  // F, DQ, BW, VL
    switch (set) {
        case InstructionSet::avx2:
            return avx2;
        case InstructionSet::avxvnni:
            return avx2 && seven.a >= 1 && bit(cpuid(7, 1).a, 4);
        case InstructionSet::avx512vnni:
            return avx2 && avx512 && bit(seven.c, 11);
        case InstructionSet::amx: {  // TILE and INT8, tiles that are saved, and eight of them of 16 rows
            if (!has(InstructionSet::avx512vnni) || !bit(seven.d, 24) || !bit(seven.d, 25)) return false;
            if ((saved & 0x60000) != 0x60000 || leaves < 0x1d) return false;
            const Registers palette = cpuid(0x1d, 1);
            return palette.b >> 16 >= 8 && (palette.c & 0xffff) >= 16 && may_use_tiles();
        }
        default:
            return false;
    }
}

#else

bool has(InstructionSet set) {
    if (set == InstructionSet::portable) return true;
    if (set != InstructionSet::neon) return false;
#if defined(__linux__) && defined(__aarch64__)
    constexpr unsigned long dot_product = 1ul << 20;  // HWCAP_ASIMDDP
    return getauxval(AT_HWCAP) & dot_product;
#elif defined(__APPLE__) && defined(__aarch64__)
    int found = 0;
    size_t size = sizeof(found);
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &found, &size, nullptr, 0) == 0 && found;
#elif defined(_WIN32) && defined(_M_ARM64)
    return IsProcessorFeaturePresent(43);  // PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE
#else
    return false;
#endif
}

#endif

// Sets with kernels in this build, fastest first.
constexpr InstructionSet built[] = {
#if defined(NEURALCODEC_AMX)
    InstructionSet::amx,
#endif
#if defined(NEURALCODEC_AVX512VNNI)
    InstructionSet::avx512vnni,
#endif
#if defined(NEURALCODEC_AVXVNNI)
    InstructionSet::avxvnni,
#endif
#if defined(NEURALCODEC_AVX2)
    InstructionSet::avx2,
#endif
#if defined(NEURALCODEC_NEON)
    InstructionSet::neon,
#endif
    InstructionSet::portable,
};

}  // namespace

const std::vector<InstructionSet>& available() {
    static const std::vector<InstructionSet> sets = [] {
        std::vector<InstructionSet> found;
        for (InstructionSet set : built)
            if (has(set)) found.push_back(set);
        return found;
    }();
    return sets;
}

const char* name(InstructionSet set) {
    switch (set) {
        case InstructionSet::portable:
            return "portable";
        case InstructionSet::neon:
            return "neon";
        case InstructionSet::avx2:
            return "avx2";
        case InstructionSet::avxvnni:
            return "avxvnni";
        case InstructionSet::avx512vnni:
            return "avx512vnni";
        case InstructionSet::amx:
            return "amx";
        case InstructionSet::amx_emulated:
            return "amx-emulated";
    }
    return "";
}

InstructionSet named(const std::string& wanted) {
    for (InstructionSet set : available())
        if (wanted == name(set)) return set;
#if defined(NEURALCODEC_EMULATE_AMX)
    if (wanted == name(InstructionSet::amx_emulated)) return InstructionSet::amx_emulated;
#endif
    throw std::invalid_argument("this machine has no instruction set '" + wanted + "'");
}

}  // namespace neuralcodec
