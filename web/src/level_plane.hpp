// Numbers of a tile's known samples at a level, for what is decoded after them.
#pragma once

#include "pyramid.hpp"

namespace web {

// With a border; 0 where there are none.
class LevelPlane {
public:
    LevelPlane() = default;
    LevelPlane(int height, int width)
        : height_(height), width_(width), numbers_(size_t(height + 2) * size_t(width + 2)) {}

    // Those of the next finer level, as far as they are known.
    LevelPlane finer(int height, int width) const {
        LevelPlane out(height, width);
        for (int y = 0; y < height_; y++)
            for (int x = 0; x < width_; x++) out.numbers_[out.place(2 * y, 2 * x)] = numbers_[place(y, x)];
        return out;
    }

    // Of the component of a stage, (height, width), moved so many rows down and columns right.
    std::vector<int32_t> of(int stage, int height, int width, int down = 0, int right = 0) const {
        std::vector<int32_t> found;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                found.push_back(numbers_[place(2 * y + offsets[stage + 1][0] + down, 2 * x + offsets[stage + 1][1] + right)]);
        return found;
    }

    // Of the four nearest known samples: (4, height, width). docs/format.md: Backward adaptation.
    std::vector<int32_t> nearest(int stage, int height, int width) const {
        static constexpr int places[3][4][2] = {{{-1, -1}, {-1, 1}, {1, -1}, {1, 1}},
                                                {{0, -1}, {0, 1}, {-1, 0}, {1, 0}},
                                                {{-1, 0}, {1, 0}, {0, -1}, {0, 1}}};
        std::vector<int32_t> found;
        for (const auto& place : places[stage]) {
            const std::vector<int32_t> part = of(stage, height, width, place[0], place[1]);
            found.insert(found.end(), part.begin(), part.end());
        }
        return found;
    }

    void put(int stage, int height, int width, const int32_t* numbers) {
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                numbers_[place(2 * y + offsets[stage + 1][0], 2 * x + offsets[stage + 1][1])] = *numbers++;
    }

private:
    size_t place(int y, int x) const { return size_t(y + 1) * size_t(width_ + 2) + size_t(x + 1); }

    int height_ = 0, width_ = 0;
    std::vector<int32_t> numbers_;
};

}  // namespace web
