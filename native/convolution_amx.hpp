// Convolutions by tile registers (AMX): tdpbusd adds the products of 16 x 64 unsigned by 64 x 16 signed bytes to 16 x 16
// sums. A translation unit includes the intrinsics, or what emulates them, before this file.
//
// A tile of inputs is a run of neighbouring positions of a row, as far apart as they are in memory, by a part of a row of
// their windows; a tile of weights is that part of the packed weights of one vector of channels. So both are loaded
// from where they are. Two runs by two vectors are multiplied at once: four tiles are loaded for four multiplications.
//
// A run has at most 16 positions and a part at most 16 steps. Both are as few and as equal as they can be, since
// all tiles of a call have one shape; where the last run of a row would leave the row, it overlaps the one before. If
// a multiplication takes as long for any depth, these shares of them are products of a layer of 96 channels:
//
//     3x3      72 steps in a row of a window, 5 parts of 15: 15 multiplications for 13.5 (90 %)
//     1x1      24 steps, 2 parts of 12: 2 for 1.5 (75 %)
//     pixels   12 channels: 9 steps: 3 for 1.7 (56 %); 6 channels: 5 steps: 3 for 0.8 (28 %)
//
// A multiplication of full tiles takes 16 cycles, in which two loads a cycle bring twice the rows of a tile. The sums of
// two runs are rounded by vectors while the tiles of the next two are being multiplied.
#pragma once

#include <algorithm>

#include "convolution_tiles.hpp"

namespace neuralcodec {
namespace {

constexpr int tile_positions = 16, tile_steps = 16, tile_channels = 16;
static_assert(tile_positions <= longest_run, "runs that are looked for");

// Where a run of positions begins: its first window, and what its sums begin with.
struct Run {
    const uint8_t* window;
    const int32_t* start;
};

// What ldtilecfg reads: tiles 0 to 3 hold sums, 4 and 5 inputs, 6 and 7 weights.
class TileConfiguration {
public:
    TileConfiguration(int positions, int steps) {
        for (volatile uint8_t& byte : bytes_) byte = 0;
        bytes_[0] = 1;  // the palette: eight tiles of at most 16 rows of 64 bytes
        for (int tile = 0; tile < 4; tile++) set(tile, positions, 4 * tile_channels);
        for (int tile = 4; tile < 6; tile++) set(tile, positions, 4 * steps);
        for (int tile = 6; tile < 8; tile++) set(tile, steps, 4 * tile_channels);
    }
    const void* data() const { return const_cast<const uint8_t*>(bytes_); }

private:
    void set(int tile, int rows, int row_bytes) {
        bytes_[16 + 2 * tile] = uint8_t(row_bytes);
        bytes_[48 + tile] = uint8_t(rows);
    }
    alignas(64) volatile uint8_t bytes_[64];  // volatile: GCC believes that ldtilecfg reads 8 bytes
};

// Tiles 0 and 1 are the sums of the first run, for two vectors of channels; 2 and 3 those of the second.
template <bool two_runs, bool two_vectors>
NEURALCODEC_INLINE void multiply(const Convolution& c, const int8_t* weights, int channel, Run first, Run second,
                                 int part_steps) {
    constexpr ptrdiff_t step_bytes = 4 * tile_channels * (two_vectors ? 2 : 1);
    const ptrdiff_t position = c.next_position, part_bytes = part_steps * step_bytes;
    const ptrdiff_t start_bytes = c.starts.position * ptrdiff_t(sizeof(int32_t));  // 0: each row the same
    first.start += channel, second.start += channel;
    _tile_loadd(0, first.start, start_bytes);
    if constexpr (two_vectors) _tile_loadd(1, first.start + tile_channels, start_bytes);
    if constexpr (two_runs) _tile_loadd(2, second.start, start_bytes);
    if constexpr (two_runs && two_vectors) _tile_loadd(3, second.start + tile_channels, start_bytes);
    for (int row = 0; row < c.kernel; row++, first.window += c.input_row, second.window += c.input_row)
        for (int step = 0; step < c.steps; step += part_steps, weights += part_bytes) {
            _tile_loadd(6, weights, step_bytes);
            _tile_loadd(4, first.window + 4 * step, position);
            _tile_dpbusd(0, 4, 6);
            if constexpr (two_vectors) {
                _tile_loadd(7, weights + 4 * tile_channels, step_bytes);
                _tile_dpbusd(1, 4, 7);
            }
            if constexpr (two_runs) {
                _tile_loadd(5, second.window + 4 * step, position);
                _tile_dpbusd(2, 5, 6);
            }
            if constexpr (two_runs && two_vectors) _tile_dpbusd(3, 5, 7);
        }
}

// Sums that wait to be finished: of tiles 0 to 3.
struct Pending {
    int runs, vectors, channel;
    ptrdiff_t out[2];  // offsets of the first position of each run
    alignas(64) int32_t sums[4][tile_positions][tile_channels];

    void store() {
        _tile_stored(0, sums[0], 4 * tile_channels);
        if (vectors == 2) _tile_stored(1, sums[1], 4 * tile_channels);
        if (runs == 2) _tile_stored(2, sums[2], 4 * tile_channels);
        if (runs == 2 && vectors == 2) _tile_stored(3, sums[3], 4 * tile_channels);
    }
};

// `Vectors` are those of a class that convolution_tiles.hpp describes, of any number of lanes.
template <class Vectors, Finish how>
void finish_runs(const Convolution& c, const Pending& pending, int positions) {
    for (int tile = 0; tile < 4; tile++) {
        const int run = tile / 2, vector = tile % 2;
        if (run >= pending.runs || vector >= pending.vectors) continue;
        for (int lane = 0; lane < tile_channels; lane += Vectors::lanes) {
            const int channel = pending.channel + vector * tile_channels + lane;
            const typename Vectors::Rounding rounding(c.shift + channel);
            for (int p = 0; p < positions; p++)
                finish<Vectors, how>(c, Vectors::load_sums(&pending.sums[tile][p][lane]),
                                     pending.out[run] + p * c.output_position + channel, rounding);
        }
    }
}

template <class Vectors>
void finish_runs(const Convolution& c, const Pending& pending, int positions) {
    if (c.sums)
        finish_runs<Vectors, Finish::sums>(c, pending, positions);
    else if (c.skip)
        finish_runs<Vectors, Finish::skip>(c, pending, positions);
    else
        finish_runs<Vectors, Finish::plain>(c, pending, positions);
}

// See ConvolutionKernel::rows.
template <class Vectors>
void amx_rows(const Convolution& c, int first, int last) {
    if (c.width < 1) return;
    const int positions = equal_part(c.width, tile_positions), steps = equal_part(c.steps, tile_steps);
    const int runs_of_row = (c.width + positions - 1) / positions, runs = (last - first) * runs_of_row;
    const TileConfiguration configuration(positions, steps);
    _tile_loadconfig(configuration.data());
    Pending pending;
    pending.runs = 0;
    const int8_t* weights = c.weights;
    for (int channel = 0; channel < c.channels; channel += 2 * tile_channels) {
        const int vectors = std::min(2, (c.channels - channel) / tile_channels);
        for (int run = 0; run < runs; run += 2) {
            const int count = std::min(2, runs - run);
            Run begin[2];
            ptrdiff_t out[2];
            for (int i = 0; i < 2; i++) {
                const int at = run + std::min(i, count - 1), y = first + at / runs_of_row;
                const int x = std::min(at % runs_of_row * positions, c.width - positions);
                begin[i] = {c.input + y * c.next_row + x * c.next_position, c.starts.at(y, x, positions)};
                out[i] = y * c.output_row + x * c.output_position;
            }
            if (count == 2 && vectors == 2)
                multiply<true, true>(c, weights, channel, begin[0], begin[1], steps);
            else if (count == 2)
                multiply<true, false>(c, weights, channel, begin[0], begin[1], steps);
            else if (vectors == 2)
                multiply<false, true>(c, weights, channel, begin[0], begin[1], steps);
            else
                multiply<false, false>(c, weights, channel, begin[0], begin[1], steps);
            finish_runs<Vectors>(c, pending, positions);  // those before, since multiplications take their time
            pending.runs = count;
            pending.vectors = vectors;
            pending.channel = channel;
            std::copy(out, out + 2, pending.out);
            pending.store();
        }
        weights += ptrdiff_t(4) * tile_channels * vectors * c.kernel * c.steps;
    }
    _tile_release();
    finish_runs<Vectors>(c, pending, positions);
}

// See ConvolutionKernel::multiply_adds.
int64_t amx_multiply_adds(int64_t count) {
    const TileConfiguration configuration(tile_positions, tile_steps);
    _tile_loadconfig(configuration.data());  // all tiles are zero
    for (int64_t n = 0; n < count; n++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_release();
    return count * 4 * tile_positions * tile_channels * 4 * tile_steps;
}

template <class Vectors>
constexpr ConvolutionKernel amx_kernel() {
    return {tile_channels, 2, 128, false, false, amx_rows<Vectors>, planes_of, amx_multiply_adds, tile_steps};
}

}  // namespace
}  // namespace neuralcodec
