#include "client/objects/update_template.h"

#include <cstring>

namespace vesper::client {

UpdateTemplateState::UpdateTemplateState(ObjectId id, const VkDescriptorUpdateTemplateCreateInfo& info)
    : ObjectState(id),
      entries(info.pDescriptorUpdateEntries, info.pDescriptorUpdateEntries + info.descriptorUpdateEntryCount),
      type(info.templateType),
      bind_point(info.pipelineBindPoint) {}

TemplateWrites::TemplateWrites(const UpdateTemplateState& update_template, VkDescriptorSet set, const void* data) {
  for (const VkDescriptorUpdateTemplateEntry& entry : update_template.entries) {
    if (entry.descriptorCount == 0) continue;
    VkWriteDescriptorSet write{};
    write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    write.dstSet = set;
    write.dstBinding = entry.dstBinding;
    write.dstArrayElement = entry.dstArrayElement;
    write.descriptorCount = entry.descriptorCount;
    write.descriptorType = entry.descriptorType;
    Fill(&write, entry, static_cast<const uint8_t*>(data) + entry.offset);
    writes_.push_back(write);
  }
}

template <typename T>
const T* TemplateWrites::Gather(const uint8_t* from, uint32_t count, size_t stride) {
  gathered_.push_back(std::make_unique<uint8_t[]>(count * sizeof(T)));
  uint8_t* to = gathered_.back().get();
  for (uint32_t i = 0; i < count; ++i) std::memcpy(to + i * sizeof(T), from + i * stride, sizeof(T));
  return reinterpret_cast<const T*>(to);
}

void TemplateWrites::Fill(VkWriteDescriptorSet* write, const VkDescriptorUpdateTemplateEntry& entry,
                          const uint8_t* data) {
  const uint32_t count = entry.descriptorCount;
  switch (entry.descriptorType) {
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER:
    case VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC:
    case VK_DESCRIPTOR_TYPE_STORAGE_BUFFER_DYNAMIC:
      write->pBufferInfo = Gather<VkDescriptorBufferInfo>(data, count, entry.stride);
      return;
    case VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER:
    case VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER:
      write->pTexelBufferView = Gather<VkBufferView>(data, count, entry.stride);
      return;
    case VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK: {  // the count is bytes, and they are contiguous
      VkWriteDescriptorSetInlineUniformBlock block{};
      block.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK;
      block.dataSize = count;
      block.pData = data;
      write->pNext = Gather<VkWriteDescriptorSetInlineUniformBlock>(reinterpret_cast<const uint8_t*>(&block), 1, 0);
      return;
    }
    case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR: {
      VkWriteDescriptorSetAccelerationStructureKHR structures{};
      structures.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_KHR;
      structures.accelerationStructureCount = count;
      structures.pAccelerationStructures = Gather<VkAccelerationStructureKHR>(data, count, entry.stride);
      write->pNext =
          Gather<VkWriteDescriptorSetAccelerationStructureKHR>(reinterpret_cast<const uint8_t*>(&structures), 1, 0);
      return;
    }
    case VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_NV: {
      VkWriteDescriptorSetAccelerationStructureNV structures{};
      structures.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_NV;
      structures.accelerationStructureCount = count;
      structures.pAccelerationStructures = Gather<VkAccelerationStructureNV>(data, count, entry.stride);
      write->pNext =
          Gather<VkWriteDescriptorSetAccelerationStructureNV>(reinterpret_cast<const uint8_t*>(&structures), 1, 0);
      return;
    }
    default:  // every other type, mutable and later ones included, is described by an image or sampler
      write->pImageInfo = Gather<VkDescriptorImageInfo>(data, count, entry.stride);
  }
}

}  // namespace vesper::client
