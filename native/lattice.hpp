// The lattice of a colour conversion, and what it makes likely. See flow/lattice.py, which defines it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace neuralcodec {

namespace lattice {

constexpr int window = 7;     // values that are weighed
constexpr int32_t one = 256;  // the weight of likely ones
constexpr int told = 4;       // likely values, where there is no lattice
constexpr int chromas = 511;

}  // namespace lattice

// Which of all colours a conversion makes of some planes: see colour/conversions.py. 2 MB.
class Lattice {
public:
    // Tables of luma (256) and of chromas -255 .. 255 (511 each). Throws std::invalid_argument for numbers of 2**30 or more.
    Lattice(const int32_t* luma, const int32_t* red, const int32_t* blue, const int32_t* green_cb, const int32_t* green_cr,
            int32_t unit);

    // Of samples that are not 0 .. 255 the lowest 8 bits are looked at.
    //
    // A bit for each of the blue samples low .. low + window - 1 that makes a colour of the lattice; low at most 256 - window.
    unsigned on(int32_t red, int32_t green, int32_t low) const {
        const uint64_t* row = bits_.data() + place(red, green);
        const int word = low >> 6, bit = low & 63;
        uint64_t found = row[word] >> bit;
        if (bit > 64 - lattice::window) found |= row[word + 1] << (64 - bit);
        return unsigned(found & ((1u << lattice::window) - 1));
    }

    bool covers(int32_t red, int32_t green, int32_t blue) const {
        return bits_[place(red, green) + size_t(blue >> 6 & 3)] >> (blue & 63) & 1;
    }

private:
    static size_t place(int32_t red, int32_t green) { return (size_t(red & 255) << 8 | size_t(green & 255)) * 4; }

    std::vector<uint64_t> bits_;  // by red, green and blue
};

// What is known of items before they are coded, see flow/lattice.py: number i of an item is at i * stride.
struct LatticePrior {
    const Lattice* lattice;  // on which likely values are, with the samples of two bands before; or null
    const int32_t* known;    // these, green and red, or else four likely values: so many planes
    ptrdiff_t plane;         // from a plane to the next
    const int32_t* weights;  // of other values; limited to 1 .. 256
    int32_t* shares;         // to be filled in with how likely those were in all, in 1/65536
    ptrdiff_t stride;

    // A bit for each of the values low .. low + window - 1 that is likely.
    unsigned likely(ptrdiff_t at, int32_t low) const {
        if (lattice) return lattice->on(known[plane + at], known[at], low);
        unsigned found = 0;
        for (int i = 0; i < lattice::told; i++) {
            const uint32_t k = uint32_t(known[i * plane + at]) - uint32_t(low);
            found |= k < uint32_t(lattice::window) ? 1u << k : 0;
        }
        return found;
    }
};

}  // namespace neuralcodec
