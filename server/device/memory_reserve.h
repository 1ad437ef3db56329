// Memory that is kept so that a client may allocate without asking (docs/memory.md, "Allocate"). Of each heap it is one allocation of
// the driver's, which nobody uses: when the driver has no memory left for an allocation that a client counts on, it makes way.
#pragma once

#include <vulkan/vulkan.h>

#include <array>
#include <cstdint>

#include "generated/vk/dispatch_table.h"
#include "runtime/mutex.h"
#include "runtime/object_id.h"
#include "runtime/wire/control.h"

namespace vesper::server {

class Events;

// Owned by the device; outlives the driver's device. Any thread, in the order of the session's commands.
class MemoryReserve {
 public:
  struct Parts {
    const vk::DispatchTable* table = nullptr;  // these outlive it
    VkDevice device = VK_NULL_HANDLE;
    ObjectId id = kNullObject;
    const VkPhysicalDeviceMemoryProperties* memory = nullptr;
    Events* events = nullptr;
  };
  explicit MemoryReserve(const Parts& parts) : parts_(parts) {}
  MemoryReserve(const MemoryReserve&) = delete;
  MemoryReserve& operator=(const MemoryReserve&) = delete;

  // What a client asks for; it is told what there is. A type that the device has not is ignored.
  void Keep(const wire::MemoryCreditRequest& request);
  // An allocation that the client did not wait for, of a type that the device has.
  VkResult Allocate(const VkMemoryAllocateInfo& info, VkDeviceMemory* memory);
  // Memory was freed: what made way before is there again.
  void Freed();
  // Bytes of that heap which the driver counts and the client did not take.
  uint64_t Kept(uint32_t heap);
  // Before the driver's device is destroyed.
  void Drop();

 private:
  struct Heap {
    VkDeviceMemory memory = VK_NULL_HANDLE;
    uint32_t type = 0;
    uint32_t request = 0;
    uint64_t bytes = 0;   // of `memory`
    uint64_t wanted = 0;  // bytes
    uint64_t taken = 0;
    uint64_t told = 0;    // of these
    uint64_t untold = 0;  // bytes of the others
  };
  void Resize(Heap* heap, uint64_t bytes) const VESPER_REQUIRES(mutex_);
  void Tell(uint32_t index) VESPER_REQUIRES(mutex_);

  const Parts parts_;
  Mutex mutex_;  // held while the driver is called: what makes way must not be taken by somebody else's share
  std::array<Heap, VK_MAX_MEMORY_HEAPS> heaps_ VESPER_GUARDED_BY(mutex_);
};

}  // namespace vesper::server
