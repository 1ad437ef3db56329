// Descriptor update templates: they say how the application's memory is laid out, so they stay in the client, and an update
// through one becomes plain writes.
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "client/base/ids.h"

namespace vesper::client {

struct UpdateTemplateState : ObjectState {
  UpdateTemplateState(ObjectId id, const VkDescriptorUpdateTemplateCreateInfo& info);

  std::vector<VkDescriptorUpdateTemplateEntry> entries;
  VkDescriptorUpdateTemplateType type;
  VkPipelineBindPoint bind_point;
};

// The writes that an update of `set` from `data` means. They point into `data` and into this object. May throw
// std::bad_alloc.
class TemplateWrites {
 public:
  TemplateWrites(const UpdateTemplateState& update_template, VkDescriptorSet set, const void* data);
  TemplateWrites(const TemplateWrites&) = delete;
  TemplateWrites& operator=(const TemplateWrites&) = delete;

  std::span<const VkWriteDescriptorSet> writes() const { return writes_; }

 private:
  void Fill(VkWriteDescriptorSet* write, const VkDescriptorUpdateTemplateEntry& entry, const uint8_t* data);
  // `count` values from `from`, `stride` bytes apart, one after the other.
  template <typename T>
  const T* Gather(const uint8_t* from, uint32_t count, size_t stride);

  std::vector<VkWriteDescriptorSet> writes_;
  std::vector<std::unique_ptr<uint8_t[]>> gathered_;
};

}  // namespace vesper::client
