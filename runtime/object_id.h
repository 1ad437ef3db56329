// The 64-bit names that objects have on the wire. The client mints them, so that a create need not wait for the server;
// the server resolves them in its handle table. An id is never used for a second object.
#pragma once

#include <cstdint>

namespace vesper {

// Which kind of Vulkan handle; the enumerators are generated (generated/vk/commands.h), 0 is none.
enum class HandleType : uint8_t;

// Bits 0..31: slot of the tables on both sides (0 is never used); bits 32..55: generation of the slot (1..2^24-1);
// bits 56..63: the handle type, as numbered by generated/vk/commands.h.
using ObjectId = uint64_t;

inline constexpr ObjectId kNullObject = 0;
inline constexpr uint32_t kMaxGeneration = (1u << 24) - 1;

constexpr ObjectId MakeObjectId(HandleType type, uint32_t generation, uint32_t slot) {
  return static_cast<uint64_t>(type) << 56 | static_cast<uint64_t>(generation) << 32 | slot;
}
constexpr uint32_t SlotOf(ObjectId id) { return static_cast<uint32_t>(id); }
constexpr uint32_t GenerationOf(ObjectId id) { return static_cast<uint32_t>(id >> 32) & kMaxGeneration; }
constexpr HandleType TypeOf(ObjectId id) { return static_cast<HandleType>(id >> 56); }

// How every dispatchable handle of the client begins: the loader's word, then the id.
struct DispatchableHeader {
  uintptr_t loader_data;
  ObjectId id;
};

}  // namespace vesper
