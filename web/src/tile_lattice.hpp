// The lattice of a colour conversion as a prior of a tile's pixels. docs/format.md: Colours, A lattice as a prior.
#pragma once

#include "level_plane.hpp"
#include "mixtures.hpp"

namespace web {

class TileLattice {
public:
    explicit TileLattice(int conversion);

    void begin_level(int height, int width) { on_ = on_.finer(height, width); }
    // Of the last band of a component, the others of which are known, until the next one; null where there is none.
    const neuralcodec::LatticePrior* prior(int level, int stage, const Component& component);
    // All of the component is known, by what `prior` gave.
    void accept(int stage, const Component& component);

private:
    static constexpr int counts = 5;  // of nearest pixels on the lattice
    void learn(const std::vector<int32_t>& on);

    const neuralcodec::Lattice& lattice_;
    LevelPlane on_;  // 1 where a pixel is on the lattice
    int64_t logs_[counts] = {148, 591, 1182, 1773, 2659}, curvatures_[counts] = {};
    // Of the component, empty where there is no prior.
    std::vector<int32_t> near_, weights_, shares_;
    neuralcodec::LatticePrior prior_ = {};
};

}  // namespace web
