// Descriptors: the bindings that a set's layout has, and ranges of the buffers that they name.
#include <algorithm>

#include "server/checks/checks.h"

namespace vesper::server::checks {
namespace {

constexpr const char* kPlace = "dstBinding dstArrayElement descriptorCount";

// How many descriptors of `binding` there are in a set with so many in a variable last one.
uint32_t CountOf(const KnownBindings& layout, const KnownBindings::Binding& binding, uint32_t variable_count) {
  const bool own = layout.variable && &binding == &layout.bindings.back();
  return own ? variable_count : binding.count;
}

// `count` descriptors from an element of a binding on; those beyond its end are of the bindings that follow.
void CheckPlace(Checker& c, const char* members, const KnownBindings& layout, uint32_t variable_count, uint32_t number,
                uint32_t element, uint64_t count, const VkDescriptorType* type) {
  auto binding = std::lower_bound(layout.bindings.begin(), layout.bindings.end(), number,
                                  [](const auto& each, uint32_t wanted) { return each.number < wanted; });
  if (binding == layout.bindings.end() || binding->number != number) return c.Fail(members);
  uint64_t first = element;
  while (count > 0) {
    if (binding == layout.bindings.end()) return c.Fail(members);
    if (type != nullptr && binding->type != *type && binding->type != VK_DESCRIPTOR_TYPE_MUTABLE_EXT) {
      return c.Fail("descriptorType", "not that of the layout");
    }
    const uint64_t there = CountOf(layout, *binding, variable_count);
    if (first > there) return c.Fail(members);
    count -= std::min(count, there - first);
    first = 0;
    ++binding;
  }
}

void CheckBuffers(Checker& c, const VkWriteDescriptorSet& write) {
  if (write.pBufferInfo == nullptr) return c.Fail("pBufferInfo", "absent");
  for (uint32_t i = 0; i < write.descriptorCount; ++i) {
    const VkDescriptorBufferInfo& info = write.pBufferInfo[i];
    if (info.buffer == VK_NULL_HANDLE) continue;
    c.Bytes("offset range", info.offset, info.range, c.Of(HandleType::kBuffer, info.buffer).size);
  }
}

// What the type reads is there and lies within its buffers.
void CheckContents(Checker& c, const VkWriteDescriptorSet& write) {
  if (write.descriptorCount == 0) return;
  switch (write.descriptorType) {
    case VK_DESCRIPTOR_TYPE_SAMPLER:
    case VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER:
    case VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE:
    case VK_DESCRIPTOR_TYPE_STORAGE_IMAGE:
    case VK_DESCRIPTOR_TYPE_INPUT_ATTACHMENT:
      if (write.pImageInfo == nullptr) c.Fail("pImageInfo", "absent");
      break;
    case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
      if (write.pTexelBufferView == nullptr) c.Fail("pTexelBufferView", "absent");
      break;
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
      CheckBuffers(c, write);
      break;
    default:  // in the chain
      break;
  }
}

const DescriptorSetFacts* SetOf(const Checker& c, VkDescriptorSet set) {
  const auto* facts = c.Find<DescriptorSetFacts>(HandleType::kDescriptorSet, set);
  return facts == nullptr || facts->layout == nullptr ? nullptr : facts;
}

void CheckCopy(Checker& c, const VkCopyDescriptorSet& copy) {
  if (const auto* source = SetOf(c, copy.srcSet)) {
    CheckPlace(c, "srcBinding srcArrayElement descriptorCount", *source->layout, source->variable_count,
               copy.srcBinding, copy.srcArrayElement, copy.descriptorCount, nullptr);
  }
  if (const auto* target = SetOf(c, copy.dstSet)) {
    CheckPlace(c, kPlace, *target->layout, target->variable_count, copy.dstBinding, copy.dstArrayElement,
               copy.descriptorCount, nullptr);
  }
}

}  // namespace

void Updates(Checker& c, const wire::UpdateDescriptorSetsArgs& v) {
  for (uint32_t i = 0; i < v.descriptorWriteCount && !c.failed(); ++i) {
    const VkWriteDescriptorSet& write = v.pDescriptorWrites[i];
    if (write.dstSet == VK_NULL_HANDLE) return c.LeaveOut("a descriptor set does not exist");
    if (const auto* set = SetOf(c, write.dstSet)) {
      CheckPlace(c, kPlace, *set->layout, set->variable_count, write.dstBinding, write.dstArrayElement,
                 write.descriptorCount, &write.descriptorType);
    }
    CheckContents(c, write);
  }
  for (uint32_t i = 0; i < v.descriptorCopyCount && !c.failed(); ++i) CheckCopy(c, v.pDescriptorCopies[i]);
}

void Pushes(Checker& c, const wire::CmdPushDescriptorSetKHRArgs& v) {
  const auto* layout = c.Find<PipelineLayoutFacts>(HandleType::kPipelineLayout, v.layout);
  if (layout == nullptr) return;
  if (v.set >= layout->sets.size()) return c.Fail("set");
  for (uint32_t i = 0; i < v.descriptorWriteCount && !c.failed(); ++i) {
    const VkWriteDescriptorSet& write = v.pDescriptorWrites[i];
    if (layout->sets[v.set] != nullptr) {
      CheckPlace(c, kPlace, *layout->sets[v.set], 0, write.dstBinding, write.dstArrayElement, write.descriptorCount,
                 &write.descriptorType);
    }
    CheckContents(c, write);
  }
}

// A driver reads as many dynamic offsets as the sets have dynamic descriptors.
void BindsSets(Checker& c, const wire::CmdBindDescriptorSetsArgs& v) {
  uint64_t offsets = 0;
  for (uint32_t i = 0; i < v.descriptorSetCount && v.pDescriptorSets != nullptr; ++i) {
    if (const auto* set = SetOf(c, v.pDescriptorSets[i])) offsets += set->layout->dynamic_offsets;
  }
  c.Span("dynamicOffsetCount", 0, offsets, v.dynamicOffsetCount);
}

}  // namespace vesper::server::checks
