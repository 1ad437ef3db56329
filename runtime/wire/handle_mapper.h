// How handles become ids on the wire and ids become handles, seen from the codec. The server implements it with its
// session's handle table, the client needs it only for dispatchable handles, tests implement it with a permutation.
#pragma once

#include <cstdint>

#include "runtime/object_id.h"

namespace vesper::wire {

// What the registry and policy say of the place where an id stands.
enum class HandleUse : uint8_t {
  kRequired,  // a stale id makes the command inert
  kOptional,  // VK_NULL_HANDLE is valid; a stale id makes the command inert
  kIgnorable  // a valid program may leave garbage here: an unknown id becomes VK_NULL_HANDLE
};

// What a struct or command needs to be taken; other numbers are the registry's (generated/vk/extensions.h).
inline constexpr uint16_t kNeedsNothing = 0;
inline constexpr uint16_t kNotOffered = 1;  // it is of extensions that nobody can enable

// A handle as 64 bits: the pointer of a dispatchable one, the value of another. Implementations say whether they may be
// called from several threads.
class HandleMapper {
 public:
  virtual ~HandleMapper() = default;
  virtual ObjectId ToWire(HandleType type, uint64_t handle) const = 0;
  // Returns false when no client library could have minted `id`: the message is malformed.
  virtual bool FromWire(HandleType type, ObjectId id, HandleUse use, uint64_t* handle) = 0;
  // The ids of the objects that the command being decoded makes; the array lives as long as the command. Returns false
  // when no client library could have minted them.
  virtual bool NewIds(HandleType, const ObjectId* /*ids*/, uint32_t /*count*/) { return true; }
  // Whether the peer has enabled what a struct needs.
  virtual bool IsEnabled(uint16_t /*needs*/) const { return true; }
};

}  // namespace vesper::wire
