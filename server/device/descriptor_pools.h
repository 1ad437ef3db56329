// What stands behind a client's descriptor pools. A client allocates without waiting what fits into a pool by its account
// (client/objects/descriptor_account.h), but a driver may refuse what fits once sets of different sizes were freed
// (fragmentation). Such sets come from a further pool of the same capacity, made when it is first needed, which the client
// never sees: freeing, resetting and destroying the client's pool reach it.
#pragma once

#include <vulkan/vulkan.h>

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "generated/vk/dispatch_table.h"
#include "runtime/mutex.h"

namespace vesper::server {

// Owned by the device. Any thread; what names one pool is ordered by the session, as Vulkan wants it, so that the lock guards
// the map and no driver call. A further pool holds at least one set, but for one of a pool: their number is bounded by that of
// a session's objects.
class DescriptorPools {
 public:
  // `table` outlives it.
  explicit DescriptorPools(const vk::DispatchTable* table) : table_(table) {}
  DescriptorPools(const DescriptorPools&) = delete;
  DescriptorPools& operator=(const DescriptorPools&) = delete;

  // The driver made the pool.
  void Note(VkDescriptorPool handle, const VkDescriptorPoolCreateInfo& info);
  // `fits`: the client counts on success, since the sets fit into what the pool was made for.
  VkResult Allocate(VkDevice device, const VkDescriptorSetAllocateInfo& info, bool fits, VkDescriptorSet* sets);
  VkResult Free(VkDevice device, VkDescriptorPool handle, uint32_t count, const VkDescriptorSet* sets);
  VkResult Reset(VkDevice device, VkDescriptorPool handle, VkDescriptorPoolResetFlags flags);
  void Destroy(VkDevice device, VkDescriptorPool handle);

 private:
  struct Further {
    VkDescriptorPool handle;
    size_t sets;  // that live in it
  };
  // A pool of the client's: what it was made for, and where sets are that it had no room for.
  struct Pool {
    VkDescriptorPoolCreateFlags flags = 0;
    uint32_t max_sets = 0;
    uint32_t inline_blocks = 0;
    std::vector<VkDescriptorPoolSize> sizes;
    std::vector<std::vector<VkDescriptorType>> mutable_types;
    bool copied = true;  // all that is in its chain is kept here
    std::vector<Further> further;
    std::unordered_map<VkDescriptorSet, VkDescriptorPool> elsewhere;
  };

  Pool* Find(VkDescriptorPool pool);
  VkResult AllocateFurther(VkDevice device, Pool* pool, const VkDescriptorSetAllocateInfo& info, VkDescriptorSet* sets);
  VkDescriptorPool MakeFurther(VkDevice device, const Pool& pool);
  void LeaveFurther(VkDevice device, Pool* pool, VkDescriptorPool from);
  void DestroyFurther(VkDevice device, Pool* pool);

  const vk::DispatchTable* const table_;
  Mutex mutex_;
  std::unordered_map<VkDescriptorPool, Pool> pools_ VESPER_GUARDED_BY(mutex_);  // what is in one: see above
};

}  // namespace vesper::server
