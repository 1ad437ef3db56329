#include "client/objects/descriptor_account.h"

#include <algorithm>
#include <new>
#include <utility>

#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

// A mutable descriptor of which nothing else is said may have any type.
constexpr uint32_t kAny = UINT32_MAX;

// Types that cost one descriptor (or byte) of their own kind.
bool IsKnown(VkDescriptorType type) {
  return (type >= VK_DESCRIPTOR_TYPE_SAMPLER && type <= VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT) ||
         type == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK || type == VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR ||
         type == VK_DESCRIPTOR_TYPE_MUTABLE_EXT;
}

// The bit of a type that mutable descriptors may have; 0 for types that the client does not know.
uint32_t BitOf(VkDescriptorType type) {
  constexpr uint32_t kAccelerationStructure = 1u << (VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT + 1);
  if (type >= VK_DESCRIPTOR_TYPE_SAMPLER && type <= VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT) return 1u << type;
  return type == VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR ? kAccelerationStructure : 0;
}

const VkMutableDescriptorTypeCreateInfoEXT* MutableTypes(const void* chain) {
  return FindInChain<VkMutableDescriptorTypeCreateInfoEXT>(chain,
                                                           VK_STRUCTURE_TYPE_MUTABLE_DESCRIPTOR_TYPE_CREATE_INFO_EXT);
}

// The kind of the `at`-th binding or pool size; false when the client does not know it.
bool FindKind(VkDescriptorType type, const VkMutableDescriptorTypeCreateInfoEXT* lists, uint32_t at,
              DescriptorKind* kind) {
  *kind = {type, 0};
  if (type != VK_DESCRIPTOR_TYPE_MUTABLE_EXT) return IsKnown(type);
  const bool listed = lists != nullptr && at < lists->mutableDescriptorTypeListCount &&
                      lists->pMutableDescriptorTypeLists[at].descriptorTypeCount != 0;
  kind->among = listed ? 0 : kAny;
  for (uint32_t i = 0; listed && i < lists->pMutableDescriptorTypeLists[at].descriptorTypeCount; ++i) {
    const uint32_t bit = BitOf(lists->pMutableDescriptorTypeLists[at].pDescriptorTypes[i]);
    if (bit == 0) return false;
    kind->among |= bit;
  }
  return true;
}

}  // namespace

void SetCost::Add(const DescriptorKind& kind, uint64_t count) {
  const auto same = std::find_if(parts.begin(), parts.end(), [&](const Part& part) { return part.kind == kind; });
  if (same == parts.end()) {
    parts.push_back({kind, count});
  } else {
    same->count += count;
  }
}

DescriptorSetLayoutState::DescriptorSetLayoutState(ObjectId id, const VkDescriptorSetLayoutCreateInfo& info)
    : ObjectState(id) {
  const auto* flags = FindInChain<VkDescriptorSetLayoutBindingFlagsCreateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO);
  const auto* lists = MutableTypes(info.pNext);
  SetCost cost;
  for (uint32_t i = 0; i < info.bindingCount; ++i) {
    const VkDescriptorSetLayoutBinding& binding = info.pBindings[i];
    DescriptorKind kind;
    cost.known = FindKind(binding.descriptorType, lists, i, &kind) && cost.known;
    if (binding.descriptorType == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK) ++cost.inline_blocks;
    const bool is_variable = flags != nullptr && i < flags->bindingCount &&
                             (flags->pBindingFlags[i] & VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT) != 0;
    if (is_variable) {
      has_variable = true;
      variable_kind = kind;
    } else if (binding.descriptorCount != 0) {
      cost.Add(kind, binding.descriptorCount);
    }
  }
  fixed = std::make_shared<const SetCost>(std::move(cost));
}

SharedCost DescriptorSetLayoutState::Cost(uint32_t variable) const {
  if (!has_variable || variable == 0) return fixed;
  SetCost cost = *fixed;
  cost.Add(variable_kind, variable);
  return std::make_shared<const SetCost>(std::move(cost));
}

std::vector<SharedCost> CostsOf(const States& states, const VkDescriptorSetAllocateInfo& info) {
  const auto* variable = FindInChain<VkDescriptorSetVariableDescriptorCountAllocateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_ALLOCATE_INFO);
  std::vector<SharedCost> costs(info.descriptorSetCount);
  for (uint32_t i = 0; i < info.descriptorSetCount; ++i) {
    const auto* layout = states.Get<DescriptorSetLayoutState>(info.pSetLayouts[i]);
    if (layout != nullptr) {
      const bool has_count = variable != nullptr && i < variable->descriptorSetCount;
      costs[i] = layout->Cost(has_count ? variable->pDescriptorCounts[i] : 0);
    } else {
      SetCost unknown;
      unknown.known = false;
      costs[i] = std::make_shared<const SetCost>(std::move(unknown));
    }
  }
  return costs;
}

DescriptorPoolState::DescriptorPoolState(ObjectId id, const VkDescriptorPoolCreateInfo& info)
    : ObjectState(id), max_sets(info.maxSets) {
  const auto* lists = MutableTypes(info.pNext);
  for (uint32_t i = 0; i < info.poolSizeCount; ++i) {
    const VkDescriptorPoolSize& size = info.pPoolSizes[i];
    DescriptorKind kind;
    known = FindKind(size.type, lists, i, &kind) && known;
    const auto same = std::find_if(parts.begin(), parts.end(), [&](const Part& part) { return part.kind == kind; });
    if (same == parts.end()) {
      parts.push_back({kind, size.descriptorCount, 0});
    } else {
      same->capacity += size.descriptorCount;
    }
  }
  for (const VkBaseInStructure& member : ChainOf(info.pNext)) {
    if (member.sType == VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO) {
      max_inline_blocks = As<VkDescriptorPoolInlineUniformBlockCreateInfo>(member).maxInlineUniformBlockBindings;
    } else if (member.sType != VK_STRUCTURE_TYPE_MUTABLE_DESCRIPTOR_TYPE_CREATE_INFO_EXT) {
      known = false;  // what it changes is not known
    }
  }
}

// Mutable descriptors come from the part whose types include theirs. A pool's lists are equal or have nothing in common.
DescriptorPoolState::Part* DescriptorPoolState::PartFor(const DescriptorKind& kind) {
  Part* found = nullptr;
  for (Part& part : parts) {
    if (part.kind.type != kind.type || (part.kind.among & kind.among) != kind.among) continue;
    if (found != nullptr) return nullptr;
    found = &part;
  }
  return found;
}

bool DescriptorPoolState::Fits(const SetCost& cost) {
  if (!cost.known || used_sets + 1 > max_sets) return false;
  if (used_inline_blocks + cost.inline_blocks > max_inline_blocks) return false;
  // A cost's kinds may share a part of the pool: what fits is taken at once, and the caller gives it back.
  Take(cost);
  const bool fits = std::all_of(cost.parts.begin(), cost.parts.end(), [this](const SetCost::Part& needed) {
    const Part* part = PartFor(needed.kind);
    return part != nullptr && part->used <= part->capacity;
  });
  if (!fits) GiveBack(cost);
  return fits;
}

void DescriptorPoolState::Take(const SetCost& cost) {
  for (const SetCost::Part& needed : cost.parts) {
    if (Part* part = PartFor(needed.kind)) part->used += needed.count;
  }
  used_inline_blocks += cost.inline_blocks;
  unknown_sets += cost.known ? 0 : 1;
  ++used_sets;
}

void DescriptorPoolState::GiveBack(const SetCost& cost) {
  for (const SetCost::Part& needed : cost.parts) {
    if (Part* part = PartFor(needed.kind)) part->used -= needed.count;
  }
  used_inline_blocks -= cost.inline_blocks;
  unknown_sets -= cost.known ? 0 : 1;
  --used_sets;
}

bool DescriptorPoolState::Holds(std::span<const SharedCost> costs) {
  size_t taken = 0;
  while (taken < costs.size() && known && unknown_sets == 0 && Fits(*costs[taken])) ++taken;
  for (size_t i = 0; i < taken; ++i) GiveBack(*costs[i]);
  return taken == costs.size();
}

bool DescriptorPoolState::Enter(std::span<const SharedCost> costs, std::span<const uint64_t> ids) noexcept {
  for (size_t i = 0; i < costs.size(); ++i) {
    try {
      if (sets.emplace(ids[i], costs[i]).second) Take(*costs[i]);
    } catch (const std::bad_alloc&) {
      for (size_t entered = 0; entered < i; ++entered) Leave(ids[entered]);
      return false;
    }
  }
  return true;
}

void DescriptorPoolState::Leave(ObjectId set) noexcept {
  const auto found = sets.find(set);
  if (found == sets.end()) return;
  GiveBack(*found->second);
  sets.erase(found);
}

}  // namespace vesper::client
