// The loops that find, pack and place changed bytes, compiled for different processors; changes.cpp chooses.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vesper::wire {

// What each does is said in changes.h. A mask has a bit for each byte, the first in bit 0 of its first word (or byte: the
// machine is little-endian).
struct ChangeKernels {
  size_t (*find)(const uint8_t* current, uint8_t* known, size_t size, uint8_t* seen, uint64_t* mask);
  // `out` has room for as many bytes as `bytes` has. Returns how many were written.
  size_t (*pack)(const uint8_t* bytes, const uint64_t* mask, size_t size, uint8_t* out);
  // `packed` holds as many bytes as the mask has bits, and no more may be read.
  void (*place)(const uint8_t* mask, size_t extent, const uint8_t* packed, size_t packed_size, uint8_t* shared,
                uint8_t* own);
  // The same of bytes that are not packed, into one place: `bytes` has all of the extent.
  void (*copy)(const uint64_t* mask, size_t extent, const uint8_t* bytes, uint8_t* shared);
  // Set bits in `size` bytes of a mask.
  size_t (*count)(const uint8_t* mask, size_t size);
};

extern const ChangeKernels kPlainChanges;
#if defined(__x86_64__) || defined(__i386__)
extern const ChangeKernels kAvx2Changes;
extern const ChangeKernels kAvx512Changes;
#endif

}  // namespace vesper::wire
