// An exact account of what descriptor pools hold, so that vkAllocateDescriptorSets need not wait where success is certain.
// Pools and layouts are the application's to synchronise, as Vulkan says: no lock here.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

#include "client/base/ids.h"

namespace vesper::client {

// Descriptors (bytes, for inline uniform blocks) by type; a few entries at most.
class DescriptorCounts {
 public:
  void Add(VkDescriptorType type, uint64_t count);
  void Add(const DescriptorCounts& other);
  uint64_t Of(VkDescriptorType type) const;
  // Whether each type's count here, added to that of `used`, stays within `capacity`.
  bool Fits(const DescriptorCounts& used, const DescriptorCounts& capacity) const;

 private:
  struct Entry {
    VkDescriptorType type;
    uint64_t count;
  };
  std::vector<Entry> entries_;
};

// What one set of a layout takes.
struct DescriptorSetLayoutState : ObjectState {
  DescriptorSetLayoutState(ObjectId id, const VkDescriptorSetLayoutCreateInfo& info);
  // With `variable` descriptors in the last binding, where that has a variable count.
  DescriptorCounts Counts(uint32_t variable) const;

  DescriptorCounts fixed;
  uint32_t inline_blocks = 0;  // bindings that are inline uniform blocks
  bool has_variable = false;
  VkDescriptorType variable_type = VK_DESCRIPTOR_TYPE_SAMPLER;
  bool known = true;  // the client knows the cost of every type in it
};

struct DescriptorPoolState : ObjectState {
  DescriptorPoolState(ObjectId id, const VkDescriptorPoolCreateInfo& info);

  // Whether allocating one set for each of `layouts` cannot fail.
  bool CertainlyHolds(const States& states, const VkDescriptorSetAllocateInfo& info) const;
  // Enters the sets of an allocation that succeeded. May throw std::bad_alloc, having entered nothing.
  void Enter(const States& states, const VkDescriptorSetAllocateInfo& info, std::span<const uint64_t> ids);
  // The pool was reset. Returns the sets that ended with that.
  std::unordered_set<ObjectId> Clear();

  bool exact = true;  // sets are never freed one by one and every type is known
  uint64_t max_sets = 0;
  uint64_t max_inline_blocks = 0;
  DescriptorCounts capacity;
  uint64_t used_sets = 0;
  uint64_t used_inline_blocks = 0;
  DescriptorCounts used;
  std::unordered_set<ObjectId> sets;  // the live ones: their ids end with the pool
};

}  // namespace vesper::client
