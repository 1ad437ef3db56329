#include "client/objects/descriptor_account.h"

#include <algorithm>
#include <utility>

#include "runtime/vk/chain.h"

namespace vesper::client {
namespace {

// Types that cost one descriptor (or byte) of their own kind. A mutable descriptor's cost is the driver's secret.
bool IsKnown(VkDescriptorType type) {
  return (type >= VK_DESCRIPTOR_TYPE_SAMPLER && type <= VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT) ||
         type == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK || type == VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR;
}

struct Need {
  uint64_t sets = 0;
  uint64_t inline_blocks = 0;
  DescriptorCounts counts;
  bool known = true;
};

Need NeedOf(const States& states, const VkDescriptorSetAllocateInfo& info) {
  const auto* variable = FindInChain<VkDescriptorSetVariableDescriptorCountAllocateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_VARIABLE_DESCRIPTOR_COUNT_ALLOCATE_INFO);
  Need need;
  need.sets = info.descriptorSetCount;
  for (uint32_t i = 0; i < info.descriptorSetCount; ++i) {
    const auto* layout = states.Get<DescriptorSetLayoutState>(info.pSetLayouts[i]);
    if (layout == nullptr || !layout->known) {
      need.known = false;
      continue;
    }
    const bool has_count = variable != nullptr && i < variable->descriptorSetCount;
    need.counts.Add(layout->Counts(has_count ? variable->pDescriptorCounts[i] : 0));
    need.inline_blocks += layout->inline_blocks;
  }
  return need;
}

}  // namespace

void DescriptorCounts::Add(VkDescriptorType type, uint64_t count) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [type](const Entry& e) { return e.type == type; });
  if (found == entries_.end()) {
    entries_.push_back({type, count});
  } else {
    found->count += count;
  }
}

void DescriptorCounts::Add(const DescriptorCounts& other) {
  for (const Entry& entry : other.entries_) Add(entry.type, entry.count);
}

uint64_t DescriptorCounts::Of(VkDescriptorType type) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [type](const Entry& e) { return e.type == type; });
  return found == entries_.end() ? 0 : found->count;
}

bool DescriptorCounts::Fits(const DescriptorCounts& used, const DescriptorCounts& capacity) const {
  return std::all_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return entry.count + used.Of(entry.type) <= capacity.Of(entry.type); });
}

DescriptorSetLayoutState::DescriptorSetLayoutState(ObjectId id, const VkDescriptorSetLayoutCreateInfo& info)
    : ObjectState(id) {
  const auto* flags = FindInChain<VkDescriptorSetLayoutBindingFlagsCreateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_BINDING_FLAGS_CREATE_INFO);
  for (uint32_t i = 0; i < info.bindingCount; ++i) {
    const VkDescriptorSetLayoutBinding& binding = info.pBindings[i];
    known = known && IsKnown(binding.descriptorType);
    if (binding.descriptorType == VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK) ++inline_blocks;
    const bool is_variable = flags != nullptr && i < flags->bindingCount &&
                             (flags->pBindingFlags[i] & VK_DESCRIPTOR_BINDING_VARIABLE_DESCRIPTOR_COUNT_BIT) != 0;
    if (is_variable) {
      has_variable = true;
      variable_type = binding.descriptorType;
    } else if (binding.descriptorCount != 0) {
      fixed.Add(binding.descriptorType, binding.descriptorCount);
    }
  }
}

DescriptorCounts DescriptorSetLayoutState::Counts(uint32_t variable) const {
  DescriptorCounts counts = fixed;
  if (has_variable && variable != 0) counts.Add(variable_type, variable);
  return counts;
}

DescriptorPoolState::DescriptorPoolState(ObjectId id, const VkDescriptorPoolCreateInfo& info)
    : ObjectState(id), max_sets(info.maxSets) {
  exact = (info.flags & VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT) == 0;
  for (uint32_t i = 0; i < info.poolSizeCount; ++i) {
    exact = exact && IsKnown(info.pPoolSizes[i].type);
    capacity.Add(info.pPoolSizes[i].type, info.pPoolSizes[i].descriptorCount);
  }
  const auto* blocks = FindInChain<VkDescriptorPoolInlineUniformBlockCreateInfo>(
      info.pNext, VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO);
  if (blocks != nullptr) max_inline_blocks = blocks->maxInlineUniformBlockBindings;
}

bool DescriptorPoolState::CertainlyHolds(const States& states, const VkDescriptorSetAllocateInfo& info) const {
  if (!exact) return false;
  const Need need = NeedOf(states, info);
  return need.known && used_sets + need.sets <= max_sets &&
         used_inline_blocks + need.inline_blocks <= max_inline_blocks && need.counts.Fits(used, capacity);
}

void DescriptorPoolState::Enter(const States& states, const VkDescriptorSetAllocateInfo& info,
                                std::span<const uint64_t> ids) {
  const Need need = NeedOf(states, info);
  DescriptorCounts sum = used;
  sum.Add(need.counts);
  sets.reserve(sets.size() + ids.size());
  sets.insert(ids.begin(), ids.end());
  used = std::move(sum);
  used_sets += need.sets;
  used_inline_blocks += need.inline_blocks;
  exact = exact && need.known;
}

std::unordered_set<ObjectId> DescriptorPoolState::Clear() {
  used = {};
  used_sets = used_inline_blocks = 0;
  return std::exchange(sets, {});
}

}  // namespace vesper::client
