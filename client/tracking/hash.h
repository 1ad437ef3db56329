// XXH3 of a block, by the widest instructions that this processor has.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vesper::client {

uint64_t HashBytes(const uint8_t* bytes, size_t size) noexcept;

}  // namespace vesper::client
