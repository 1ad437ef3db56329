// Changes of memory as plain stretches of bytes, for tests to compare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/wire/memory_runs.h"

namespace vesper {

// Calls visit(offset, bytes) for each stretch without gaps; stretches are apart.
template <typename Visit>
void ForEachStretch(const wire::Changes& changes, Visit visit) {
  const size_t size = changes.bytes.size();
  const auto changed = [&](size_t at) {
    return at < size && (changes.mask[at / wire::kLine] >> (at % wire::kLine) & 1) != 0;
  };
  for (size_t at = 0; at < size; ++at) {
    const size_t begin = at;
    while (changed(at)) ++at;
    if (at != begin) visit(changes.offset + begin, changes.bytes.subspan(begin, at - begin));
  }
}

// A run of `bytes`, which are to outlive it.
inline wire::Run RunOf(uint64_t offset, std::span<const uint8_t> bytes) {
  return {offset, static_cast<uint32_t>(bytes.size()), nullptr, bytes};
}

}  // namespace vesper
