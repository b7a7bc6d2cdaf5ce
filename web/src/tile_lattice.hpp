// The lattice of a colour conversion as a prior of a tile's pixels. docs/format.md: Colours, A lattice as a prior.
#pragma once

#include "level_plane.hpp"
#include "mixtures.hpp"

namespace web {

class TileLattice {
public:
    explicit TileLattice(int conversion);

    void begin_level(int height, int width);
    // Of a band of a component, those before which are known, until the next component; null where there is none.
    const neuralcodec::LatticePrior* prior(int level, int stage, int band, const Component& component);
    // All of the component is known, by what `prior` gave.
    void accept(int stage, const Component& component);

private:
    static constexpr int counts = 5;  // of nearest pixels on the lattice

    // What is learned for a band, and its prior in the component.
    struct Band {
        int64_t logs[counts] = {148, 591, 1182, 1773, 2659}, curvatures[counts] = {};
        std::vector<int32_t> weights, shares;
        neuralcodec::LatticePrior prior = {};
    };
    void learn(Band& band, const std::vector<int32_t>& likely) const;

    const neuralcodec::Lattice& lattice_;
    LevelPlane on_, differences_;  // 1 where a pixel is on the lattice; R - G
    Band red_, blue_;
    // Of the component, empty where there is no prior: how many of the nearest pixels are on the lattice, likely values of R.
    std::vector<int32_t> near_, reds_;
};

}  // namespace web
