// Tiles of the photo flow. docs/format.md: Photo flow.
#pragma once

#include <functional>

#include "direct.hpp"
#include "model.hpp"
#include "pyramid.hpp"

namespace web {

// Codes of the first row and column in their JPEG blocks.
struct BlockPhase {
    int rows = 0, columns = 0;

    BlockPhase() = default;
    explicit BlockPhase(Fields& fields);
    // Of the part that begins so many rows and columns further on.
    BlockPhase moved(int down, int right) const;
};

// What is led into the features that a level takes over.
using Led = std::function<Map(int level, const Map& features)>;

// Planes from a stream, by a model's pyramid.
struct PhotoFlow {
    const Model& model;
    const ImageShape shape;
    const Range& range;
    const BlockPhase phase;
    Stream& stream;
    const int lattice = 0;  // the conversion whose lattice is a prior
    const neuralcodec::Cells* cells = nullptr;  // of each band; or null

    // Down to level `stop`. Planes of coarser levels are told on the way.
    Component decode(int stop, const std::function<void(int, const Component&)>& told, const Led& led = nullptr);

private:
    class State;
};

struct TileShape {
    int height, width, bands;
    int segment_height, segment_width;  // of the segment's tiles, of which this one may be the rest
    int size;                           // bytes of a sample, 1 or 2
    std::vector<neuralcodec::Cells> cells;  // of each band in coding order, or none
};

// Cells of bands in coding order, from what a segment tells: 255 edges of each band, or none.
std::vector<neuralcodec::Cells> cells_of(const int8_t* told, size_t size, int bands);

// Every 2**level-th pixel of a tile, whose checksum is right: stored samples (height, width, bands), little-endian.
struct Pixels {
    int level, height, width;
    std::vector<uint8_t> samples;
};

// Decodes a tile down to `level`, which must have a checksum unless it is 0. Each coarser level that has one is told on the way.
Pixels photo_tile(const Model& model, Fields payload, const TileShape& shape, int level,
                  const std::function<void(const Pixels&)>& told);

}  // namespace web
