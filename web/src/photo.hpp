// Tiles of the photo flow. docs/format.md: Photo flow.
#pragma once

#include <functional>

#include "model.hpp"

namespace web {

struct TileShape {
    int height, width, bands;
    int segment_height, segment_width;  // of the segment's tiles, of which this one may be the rest
    int size;                           // bytes of a sample, 1 or 2
};

// Every 2**level-th pixel of a tile, whose checksum is right: stored samples (height, width, bands), little-endian.
struct Pixels {
    int level, height, width;
    std::vector<uint8_t> samples;
};

// Decodes a tile down to `level`, which must have a checksum unless it is 0. Each coarser level that has one is told on the way.
Pixels photo_tile(const Model& model, Fields payload, const TileShape& shape, int level,
                  const std::function<void(const Pixels&)>& told);

}  // namespace web
