// Raw LZMA2 streams, as in xz files.
#pragma once

#include "common.hpp"

namespace web {

// What a stream unpacks to, which must be `size` bytes, and all of it.
std::vector<uint8_t> unpack_lzma2(Fields stream, size_t size);

}  // namespace web
