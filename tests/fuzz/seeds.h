// Objects that the fuzzed server knows from the start, so that a single record reaches the driver. Recorded sessions use
// the slots below.
#pragma once

#include <algorithm>

#include "generated/vk/commands.h"
#include "runtime/object_id.h"

namespace vesper::test {

inline constexpr uint32_t kSeedsPerType = 8;
inline constexpr uint32_t kFirstSeedSlot = 512;
// The client's fuzzer: records from here on are events, by their kind.
inline constexpr uint16_t kFirstEvent = 0xff00;

inline constexpr uint32_t kFirstNewSlot = 1024;  // of objects that seeds make

constexpr ObjectId SeedId(HandleType type, uint32_t index) {
  return MakeObjectId(type, 1, kFirstSeedSlot + static_cast<uint32_t>(type) * kSeedsPerType + index % kSeedsPerType);
}

}  // namespace vesper::test
