// RGB of the planes that an integer colour conversion makes it from. docs/format.md: Colours.
#pragma once

#include <functional>
#include <memory>

#include "direct.hpp"
#include "stream.hpp"

namespace web {

constexpr int conversions = 6, chromas = 511;

// A conversion's L of y, r and b of chroma -255 .. 255, and the parts of g.
struct Conversion {
    explicit Conversion(int number);

    int32_t unit, luma[256];
    int32_t red[chromas], blue[chromas], green_cb[chromas], green_cr[chromas];
};

// By number, from 1 on. Made when it is first used.
const Conversion& conversion(int number);

class Colours {
public:
    Colours() = default;
    // Reads the fields of a tile or a chain; `lattices`: one may be a prior.
    Colours(Fields& fields, bool lattices);

    explicit operator bool() const { return conversion_; }
    // The conversion whose lattice is a prior, or 0.
    int lattice() const { return lattice_; }
    // Whether colours are neither converted nor on such a lattice.
    bool is_plain() const { return !conversion_ && !lattice_; }

    // Converts every 2**level-th pixel, (height, width, 3), of an image of so many rows and columns, in place.
    void to_rgb(uint8_t* pixels, int rows, int columns, int level);

private:
    struct Exception {
        uint32_t number;  // of the pixel, among those of its class
        uint8_t moves[3];
    };
    void read_exceptions();
    void add_exceptions(uint8_t* pixels, int rows, int columns, int level);

    int conversion_ = 0, lattice_ = 0;
    uint64_t counts_[2] = {};
    std::unique_ptr<Stream> stream_;
    std::vector<Exception> exceptions_[2];
};

// Samples (height, width, 1 or 3) of a chain, which begins with its colours: `decode` gives those of its planes, told those
// colours; `lattices`: that of a conversion may be a prior. docs/format.md: Chains.
std::vector<uint8_t> decode_chain(Fields payload, const ImageShape& shape, bool lattices,
                                  const std::function<std::vector<uint8_t>(Fields, const Colours&)>& decode);

}  // namespace web
