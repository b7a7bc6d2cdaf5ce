// convolution_amx.hpp in plain C++, to test it on machines without AMX: see NEURALCODEC_EMULATE_AMX in CMakeLists.txt.
//
// The instructions are as strict as the processor: what it would refuse throws std::logic_error.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace neuralcodec {
namespace {

struct EmulatedTile {
    int rows = 0, row_bytes = 0;  // 0: not configured
    uint8_t at[16][64] = {};      // zero beyond them
};
thread_local EmulatedTile emulated_tiles[8];

void require(bool allowed, const char* what) {
    if (!allowed) throw std::logic_error(what);
}

EmulatedTile& configured(int index) {
    require(index >= 0 && index < 8 && emulated_tiles[index].rows, "a tile that is not configured");
    return emulated_tiles[index];
}

void _tile_release() {
    for (EmulatedTile& tile : emulated_tiles) tile = {};
}

void _tile_loadconfig(const void* configuration) {
    uint8_t bytes[64];
    std::memcpy(bytes, configuration, 64);
    require(bytes[0] == 1 && std::all_of(bytes + 1, bytes + 16, [](uint8_t byte) { return byte == 0; }), "a palette");
    for (int i = 0; i < 16; i++) {
        const int rows = bytes[48 + i], row_bytes = bytes[16 + 2 * i] | bytes[17 + 2 * i] << 8;
        require(rows <= 16 && row_bytes <= 64 && !rows == !row_bytes && (i < 8 || !rows), "a tile's shape");
        if (i >= 8) continue;
        emulated_tiles[i] = {};
        emulated_tiles[i].rows = rows;
        emulated_tiles[i].row_bytes = row_bytes;
    }
}

void _tile_loadd(int index, const void* base, ptrdiff_t stride) {
    EmulatedTile& tile = configured(index);
    std::memset(tile.at, 0, sizeof(tile.at));
    for (int row = 0; row < tile.rows; row++)
        std::memcpy(tile.at[row], static_cast<const uint8_t*>(base) + row * stride, size_t(tile.row_bytes));
}

void _tile_stored(int index, void* base, ptrdiff_t stride) {
    const EmulatedTile& tile = configured(index);
    for (int row = 0; row < tile.rows; row++)
        std::memcpy(static_cast<uint8_t*>(base) + row * stride, tile.at[row], size_t(tile.row_bytes));
}

void _tile_dpbusd(int sums_index, int left_index, int right_index) {
    EmulatedTile& sums = configured(sums_index);
    const EmulatedTile &left = configured(left_index), &right = configured(right_index);
    require(sums_index != left_index && sums_index != right_index && left_index != right_index, "a tile twice");
    require(sums.rows == left.rows && sums.row_bytes == right.row_bytes && left.row_bytes == 4 * right.rows &&
                sums.row_bytes % 4 == 0,
            "tiles that do not fit each other");
    for (int row = 0; row < sums.rows; row++) {
        int32_t total[16];
        std::memcpy(total, sums.at[row], 64);
        for (int step = 0; step < right.rows; step++)
            for (int column = 0; column < sums.row_bytes / 4; column++)
                for (int byte = 0; byte < 4; byte++)
                    total[column] += left.at[row][4 * step + byte] * int8_t(right.at[step][4 * column + byte]);
        std::memcpy(sums.at[row], total, 64);
    }
}

}  // namespace
}  // namespace neuralcodec

#include "convolution_amx.hpp"
#include "kernels.hpp"

namespace neuralcodec {
namespace {

// Vectors of one lane.
struct Scalars {
    static constexpr int lanes = 1;
    using Sums = int32_t;

    static Sums load_sums(const int32_t* p) { return *p; }
    struct Rounding {
        int shift, odd, rest;
        explicit Rounding(const int32_t* p) : shift(*p), odd(shift > 0), rest((1 << shift) - 1) {}
    };
    static Sums load_skip(const uint8_t* p) { return *p; }
    static Sums add(Sums one, Sums two) { return one + two; }
    static Sums shifted(Sums sum, const Rounding& r) { return sum >> r.shift; }
    static Sums to_even(Sums value, Sums sum, const Rounding& r) { return sum & r.rest ? value : value & ~r.odd; }
    static void store_activations(uint8_t* p, Sums value) { *p = uint8_t(std::clamp(value, 0, 127)); }
    static void store_sums(int32_t* p, Sums value) { *p = value; }
};

}  // namespace

const ConvolutionKernel convolution_amx_emulated = amx_kernel<Scalars>();

}  // namespace neuralcodec
