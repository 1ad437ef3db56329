// The same hash compiled for different processors; hash.cpp chooses.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vesper::client {

using HashKernel = uint64_t(const uint8_t* bytes, size_t size) noexcept;
uint64_t HashWithAvx2(const uint8_t* bytes, size_t size) noexcept;

}  // namespace vesper::client
