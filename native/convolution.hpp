// Exact convolutions: what a kernel is given, and what it is.
//
// Feature maps are NHWC with a border of zeros, so no kernel pads. Weights are packed for a kernel once, as
//
//     [block of vectors][row of the window][step of 4 bytes][vector of the block][lane][4]
//
// where a row of a window, all its channels, is one run of bytes, padded with weights of zero to whole steps, and to equal
// parts where an instruction takes several steps. A register tile holds the sums of some positions by a block of output
// channels until they are finished.
#pragma once

#include <cstddef>
#include <cstdint>

namespace neuralcodec {

// Channels are stored in multiples of this many, a multiple of the lanes of every instruction set.
constexpr int channel_group = 16;

// Neighbours that a register tile has at most, of any instruction set.
constexpr int longest_run = 16;

// Positions along an axis of an image, folded: windows reach `reach` positions to each side, and their inputs repeat
// themselves after `period`. So windows in which runs of neighbours lie are found among a few `places`, in order.
struct Fold {
    int count, places, reach, period;

    // Such that runs of at most `run` are found.
    static Fold of(int count, int reach, int period, int run) {
        const int enough = 2 * reach + period + run - 1;
        return {count, count < enough ? count : enough + (count - enough) % period, reach, period};
    }

    // The place of the first of `run` neighbours, positions `at` and those behind it.
    int place(int at, int run) const {
        if (at < reach) return at;
        if (at + run > count - reach) return places - (count - at);
        return reach + (at - reach) % period;
    }

    // A position that has the window of a place.
    int position(int place) const { return place < reach + period ? place : count - (places - place); }
};

// What sums begin with at each position, for all channels.
struct Starts {
    const int32_t* first;
    ptrdiff_t row, position;  // from a place to the next; 0: all positions are alike
    Fold rows, columns;

    // Of the first of `run` neighbours in row y.
    const int32_t* at(int y, int x, int run) const {
        return position ? first + rows.place(y, 1) * row + columns.place(x, run) * position : first;
    }
};

// A layer on one image. Strides are in elements.
struct Convolution {
    const uint8_t* input;  // the window of the first position
    ptrdiff_t input_row;   // from a row of a window to the next
    ptrdiff_t next_row, next_position;  // from a window to the one below, and to the one beside it
    int kernel;  // side of the window
    int steps;   // of 4 bytes in a row of the window
    const int8_t* weights;
    const uint8_t* groups;  // how many steps each has, see ConvolutionKernel::grouped; or null
    Starts starts;
    const int32_t* shift;
    const uint8_t* skip;  // of the first position, in the output's layout, or null
    uint8_t* output;      // of the first position; null for an output layer
    int32_t* sums;        // the same of an output layer, whose rows may all be one
    ptrdiff_t output_row, output_position;
    int width;
    int channels;  // a multiple of the kernel's lanes
    int vectors;   // in a block; the last one may have fewer
};

struct ConvolutionKernel {
    int lanes;    // output channels in a vector
    int vectors;  // in a block at most
    int offset;   // added to pixels: 128 where the instructions multiply unsigned by signed bytes
    // Whether products are first summed in 16 bits, two sums for each channel: of the first and of the last two bytes of
    // steps. Then the steps of each row of a window are cut into groups, as long as none of a block's sums can leave 16
    // bits whatever the inputs. What a sum begins with is chosen for that, and subtracted from the bias; it stands before
    // a group's weights, [vector of the block][lane][2] of 16 bits, which is as much as a step takes.
    bool grouped;
    bool by_channel;  // whether weights are packed as [lane][row][step][4], in blocks of one vector
    // Computes rows first <= y < last.
    void (*rows)(const Convolution&, int first, int last);
    // Numbers (count, stride) of positions, of which the first `channels` count, as planes (channels, plane).
    void (*planes)(const int32_t* numbers, ptrdiff_t stride, int channels, ptrdiff_t count, int32_t* out, ptrdiff_t plane);
    // Steps of multiply-adds in registers alone, to measure the core's peak; returns how many multiply-adds. Null where
    // there is no instruction for them.
    int64_t (*multiply_adds)(int64_t steps);
    // Steps that an instruction takes at most. Rows of windows are cut into as few equal parts as they then need.
    int part_steps;
};

// The size of the parts if `size` is cut into as few as it takes of at most `most`, all of one size.
constexpr int equal_part(int size, int most) {
    const int parts = (size + most - 1) / most;
    return (size + parts - 1) / parts;
}

}  // namespace neuralcodec
