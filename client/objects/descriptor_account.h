// An exact account of what descriptor pools hold, so that vkAllocateDescriptorSets need not wait where success is certain.
// Pools and layouts are the application's to synchronise, as Vulkan says: no lock here.
//
// What fits is granted, whatever was freed before. Vulkan (VkDescriptorPoolCreateInfo): "If a descriptor pool has not had any
// descriptor sets freed since it was created or most recently reset then fragmentation must not cause an allocation failure",
// nor "if all sets allocated from the pool since it was created or most recently reset use the same number of descriptors (of
// each type) and the requested allocation also uses that same number". In the remaining case a driver may refuse what fits;
// the server then takes the sets from a pool of its own that the client never sees (server/device/descriptor_pools.h), of
// which the first sentence holds.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "client/base/ids.h"

namespace vesper::client {

// Descriptors that draw on the same part of a pool.
struct DescriptorKind {
  VkDescriptorType type = VK_DESCRIPTOR_TYPE_SAMPLER;
  uint32_t among = 0;  // of mutable ones: the types that they may have, a bit each
  bool operator==(const DescriptorKind&) const = default;
};

// What one set takes: descriptors (bytes, for inline uniform blocks) by kind; a few entries at most.
struct SetCost {
  struct Part {
    DescriptorKind kind;
    uint64_t count;
  };
  void Add(const DescriptorKind& kind, uint64_t count);

  std::vector<Part> parts;
  uint32_t inline_blocks = 0;  // bindings that are inline uniform blocks
  bool known = true;           // the client knows the cost of every type in it
};
using SharedCost = std::shared_ptr<const SetCost>;

struct DescriptorSetLayoutState : ObjectState {
  DescriptorSetLayoutState(ObjectId id, const VkDescriptorSetLayoutCreateInfo& info);
  // With `variable` descriptors in the last binding, where that has a variable count.
  SharedCost Cost(uint32_t variable) const;

  SharedCost fixed;
  bool has_variable = false;
  DescriptorKind variable_kind;
};

// What each set of an allocation takes. May throw std::bad_alloc.
std::vector<SharedCost> CostsOf(const States& states, const VkDescriptorSetAllocateInfo& info);

struct DescriptorPoolState : ObjectState {
  DescriptorPoolState(ObjectId id, const VkDescriptorPoolCreateInfo& info);

  // Whether the sets all fit, which proves that allocating them succeeds.
  bool Holds(std::span<const SharedCost> costs);
  // Enters the sets. False when memory is exhausted; then nothing was entered.
  bool Enter(std::span<const SharedCost> costs, std::span<const uint64_t> ids) noexcept;
  // A set was freed, or not made.
  void Leave(ObjectId set) noexcept;
  // The pool was reset. `ended` is called with each set that ended with that.
  template <typename Ended>
  void Clear(Ended ended) noexcept {
    for (const auto& [set, cost] : sets) ended(set);
    sets.clear();
    for (Part& part : parts) part.used = 0;
    used_sets = used_inline_blocks = unknown_sets = 0;
  }

  struct Part {
    DescriptorKind kind;
    uint64_t capacity;
    uint64_t used;
  };
  bool known = true;  // every type in it
  uint64_t max_sets = 0;
  uint64_t max_inline_blocks = 0;
  std::vector<Part> parts;
  uint64_t used_sets = 0;
  uint64_t used_inline_blocks = 0;
  uint64_t unknown_sets = 0;                      // whose cost is not known
  std::unordered_map<ObjectId, SharedCost> sets;  // the live ones: their ids end with the pool

 private:
  // What descriptors of that kind are taken from; nullptr when there is no such part, or more than one.
  Part* PartFor(const DescriptorKind& kind);
  bool Fits(const SetCost& cost);
  void Take(const SetCost& cost);
  void GiveBack(const SetCost& cost);
};

}  // namespace vesper::client
