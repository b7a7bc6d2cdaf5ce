// What JavaScript calls. Pointers are into the instance's memory; results live until the next call.
#include <cstdlib>
#include <cstring>
#include <exception>
#include <typeinfo>

#include "bitswap.hpp"
#include "direct.hpp"
#include "exact.hpp"
#include "knots.hpp"
#include "model.hpp"
#include "patch.hpp"
#include "photo.hpp"

#define EXPORT(name) extern "C" __attribute__((export_name(#name)))
#define IMPORT(name) extern "C" __attribute__((import_module("neuralcodec"), import_name(#name)))

IMPORT(fail) [[noreturn]] void js_fail(const char* message, size_t size);
IMPORT(told) void js_told(int level, const uint8_t* samples, int height, int width);

namespace web {

using namespace neuralcodec;

// The portable kernels of native/, whose loops compilers make vectors of, but for convolutions. Nothing is encoded.
const Kernels kernels{InstructionSet::portable, convolution_simd128, mixtures_portable, bands_portable,
                      predictor_portable,       backward_portable,   {}};

void fail(const char* message) { js_fail(message, std::strlen(message)); }

uint32_t crc32(const uint8_t* data, size_t size, uint32_t before) {
    static const auto table = [] {
        std::array<uint32_t, 256> numbers{};
        for (uint32_t i = 0; i < 256; i++) {
            numbers[i] = i;
            for (int bit = 0; bit < 8; bit++) numbers[i] = numbers[i] >> 1 ^ (numbers[i] & 1 ? 0xedb88320 : 0);
        }
        return numbers;
    }();
    uint32_t crc = ~before;
    for (size_t i = 0; i < size; i++) crc = crc >> 8 ^ table[(crc ^ data[i]) & 255];
    return ~crc;
}

namespace {

Model model;
std::vector<uint8_t> result;

const uint8_t* kept(std::vector<uint8_t>&& samples) {
    result = std::move(samples);
    return result.data();
}

}  // namespace

EXPORT(allocate) void* allocate(size_t size) { return std::malloc(size); }
EXPORT(release) void release(void* memory) { std::free(memory); }

EXPORT(crc32) uint32_t crc32_of(const uint8_t* data, size_t size, uint32_t before) { return crc32(data, size, before); }

// Tables that a model's id covers: S, inverse, and 2**(16 - d / 16), as int64.
EXPORT(tables) const uint8_t* tables() {
    const Exact& e = exact();
    std::vector<int64_t> all(e.logistic.sigmoid.begin(), e.logistic.sigmoid.end());
    all.insert(all.end(), e.logistic.inverse_scale.begin(), e.logistic.inverse_scale.end());
    all.insert(all.end(), e.powers.begin(), e.powers.end());
    const auto* bytes = reinterpret_cast<const uint8_t*>(all.data());
    return kept({bytes, bytes + 8 * all.size()});
}

// The instance's model; `blocks` (nets, 3).
EXPORT(model_begin)
void model_begin(int mixtures, bool self_ensemble, bool backward_adaptation, int nets, const int32_t* blocks) {
    model = Model{};
    model.mixtures = mixtures, model.self_ensemble = self_ensemble, model.backward_adaptation = backward_adaptation;
    check(mixtures > 0 && mixtures <= 16 && nets > 0 && nets <= 8, "the model is damaged");
    for (int net = 0; net < nets; net++, blocks += 3) model.blocks.push_back({blocks[0], blocks[1], blocks[2]});
}

// What it has besides if it is of the patch flow; `lattice` (2, 2).
EXPORT(model_patch) void model_patch(int frac, const int32_t* lattice) {
    check(frac >= knots::least_frac && frac <= knots::largest_frac, "the model is damaged");
    model.frac = frac, model.lattice.assign(lattice, lattice + 4);
    for (int number : model.lattice) check(number >= 0 && number < 4, "the model is damaged");
}

// The same of Bit-Swap.
EXPORT(model_bitswap) void model_bitswap(int depth, int layers, const int32_t* latents) {
    check(depth >= 0 && depth <= 64 && layers >= 1 && layers <= 16, "the model is damaged");
    model.depth = depth, model.latents.assign(latents, latents + layers);
    for (int channels : model.latents) check(channels >= 1 && channels <= 1024, "the model is damaged");
}

EXPORT(model_layer)
void model_layer(const char* name, size_t size, int outputs, int inputs, int kernel, const int8_t* weight, const int32_t* bias,
                 const int32_t* shift, int positions) {
    model.add({name, size}, {outputs, inputs, kernel, kernel}, weight, bias, shift, positions);
}

EXPORT(photo_tile)
const uint8_t* photo_tile_of(const uint8_t* payload, size_t size, const int8_t* cells, size_t cells_size, int height,
                             int width, int bands, int segment_height, int segment_width, int sample_size, int level) {
    const TileShape shape{height, width, bands, segment_height, segment_width, sample_size, cells_of(cells, cells_size, bands)};
    Pixels pixels = photo_tile(model, {payload, size}, shape, level,
                               [](const Pixels& p) { js_told(p.level, p.samples.data(), p.height, p.width); });
    return kept(std::move(pixels.samples));
}

EXPORT(patch) const uint8_t* patch_of(const uint8_t* payload, size_t size, int height, int width, int bands) {
    return kept(decode_patch(model, {payload, size}, {height, width, bands}));
}

EXPORT(bitswap)
const uint8_t* bitswap_of(const uint8_t* payload, size_t size, const int8_t* cells, size_t cells_size, int height, int width,
                          int bands) {
    return kept(decode_bitswap(model, {payload, size}, {height, width, bands}, cells_of(cells, cells_size, bands)));
}

EXPORT(raw) const uint8_t* raw_of(const uint8_t* payload, size_t size, int height, int width, int bands, int sample_size) {
    return kept(decode_raw({payload, size}, {height, width, bands}, sample_size));
}

EXPORT(filtered)
const uint8_t* filtered_of(const uint8_t* body, size_t size, int height, int width, int bands, int sample_size) {
    return kept(decode_filtered({body, size}, {height, width, bands}, sample_size));
}

EXPORT(predictor) const uint8_t* predictor_of(const uint8_t* body, size_t size, int height, int width, int bands) {
    return kept(decode_predictor({body, size}, {height, width, bands}));
}

EXPORT(jpeg)
const uint8_t* jpeg_of(const uint8_t* body, size_t size, const uint8_t* weights, size_t weights_size, int height, int width,
                       int bands) {
    return kept(decode_jpeg({body, size}, {height, width, bands}, {weights, weights_size}));
}

}  // namespace web

// Kernels throw std::invalid_argument where what they are given cannot be: it becomes an exception of JavaScript.
extern "C" {
void* __cxa_allocate_exception(size_t size) { return std::malloc(size); }
void __cxa_free_exception(void* memory) { std::free(memory); }
[[noreturn]] void __cxa_throw(void* thrown, std::type_info*, void (*)(void*)) {
    web::fail(static_cast<const std::exception*>(thrown)->what());
}
}
