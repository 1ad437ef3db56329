// Small device memory that is allocated ahead, so that a program which allocates alike again and again need not wait: what it
// takes exists already. Spare memory is given back before an allocation fails, so that no program gets less, or another code,
// than without it. Memory that is shared with the server is not kept: which allocations are shared depends on the resources
// that there are by then. What asks for it and hands it out is client/overrides/spare_memory.h.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "client/connection/connection.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"

namespace vesper::client {

// What allocations have in common that may stand for each other.
struct MemoryShape {
  uint64_t size = 0;
  uint32_t type = 0;
  bool has_flags = false;
  VkMemoryAllocateFlags flags = 0;
  uint32_t device_mask = 0;
  bool operator==(const MemoryShape&) const = default;
};

struct SpareMemory {
  struct Spare {
    ObjectId id = kNullObject;
    std::shared_ptr<LaterReply> asked;
  };
  struct Kind {
    MemoryShape shape;
    uint32_t allocated = 0;     // so often
    uint32_t wanted = 0;        // spares
    std::vector<Spare> spares;  // first to come first; no deque, which may throw when it is moved
  };
  Mutex mutex;                                       // taken before the lane
  std::vector<Kind> kinds VESPER_GUARDED_BY(mutex);  // what was allocated last comes last
  uint64_t bytes VESPER_GUARDED_BY(mutex) = 0;       // of all spares
};

}  // namespace vesper::client
