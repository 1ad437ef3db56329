// Changed bytes of mapped memory, as both sides find them against their twin and put them where they belong. A piece of memory
// is compared in vectors to a bit for each byte, so that any pattern of changes costs the same. Used by the trackers of the
// client and the server's scan; memory_runs.h says how changes travel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/wire/change_kernels.h"

namespace vesper::wire {

inline constexpr size_t kLine = 64;  // bytes that one word of a mask stands for

constexpr size_t LinesOf(size_t size) { return (size + kLine - 1) / kLine; }

// A piece of a memory object: which of its bytes changed, and what they are now. Bytes whose bit is not set mean nothing.
struct Changes {
  uint64_t offset = 0;  // of the piece, in the memory object
  std::span<const uint8_t> bytes;
  const uint64_t* mask = nullptr;  // LinesOf(bytes.size()) words; bits beyond the bytes are not set
};

// All that this processor has, the fastest first.
std::span<const ChangeKernels* const> ChangeKernelsHere() noexcept;
inline const ChangeKernels& BestChangeKernels() noexcept { return *ChangeKernelsHere().front(); }

// Compares `size` bytes of memory that others may be writing with what is known of it: sets `mask` and returns how many bytes
// differ. Of each line that differs `seen` and `known` get the bytes, each read once, so that what was compared is what is sent
// and is known then.
inline size_t FindChanges(const uint8_t* current, uint8_t* known, size_t size, uint8_t* seen, uint64_t* mask) {
  return BestChangeKernels().find(current, known, size, seen, mask);
}

}  // namespace vesper::wire
