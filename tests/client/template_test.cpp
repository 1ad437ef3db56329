// Protects: an update through a template is exactly the plain writes that it stands for.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>

#include "client/objects/update_template.h"

namespace vesper::client {
namespace {

// As an application lays out its data: descriptors between other members, with a stride.
struct Data {
  uint32_t unrelated;
  struct Slot {
    VkDescriptorBufferInfo buffer;
    uint64_t more;
  } buffers[3];
  VkDescriptorImageInfo image;
  VkBufferView views[2];
  uint8_t block[20];
  VkAccelerationStructureKHR structure;
};

template <typename H>
H Handle(uint64_t id) {
  H handle;
  std::memcpy(&handle, &id, sizeof(handle));
  return handle;
}

TEST(UpdateTemplate, BecomesPlainWrites) {
  Data data{};
  for (uint64_t i = 0; i < 3; ++i) data.buffers[i].buffer = {Handle<VkBuffer>(100 + i), i, 16 * i};
  data.image = {Handle<VkSampler>(1), Handle<VkImageView>(2), VK_IMAGE_LAYOUT_GENERAL};
  data.views[0] = Handle<VkBufferView>(7);
  data.views[1] = Handle<VkBufferView>(8);
  std::memcpy(data.block, "twenty bytes of data", 20);
  data.structure = Handle<VkAccelerationStructureKHR>(55);

  const VkDescriptorUpdateTemplateEntry entries[] = {
      {0, 4, 3, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, offsetof(Data, buffers), sizeof(Data::Slot)},
      {1, 0, 1, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, offsetof(Data, image), 0},
      {2, 0, 2, VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, offsetof(Data, views), sizeof(VkBufferView)},
      {3, 8, 20, VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, offsetof(Data, block), 0},
      {4, 0, 1, VK_DESCRIPTOR_TYPE_ACCELERATION_STRUCTURE_KHR, offsetof(Data, structure), 8},
      {5, 0, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 0, 0},
  };
  VkDescriptorUpdateTemplateCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO;
  info.descriptorUpdateEntryCount = 6;
  info.pDescriptorUpdateEntries = entries;
  const UpdateTemplateState state(1, info);
  const TemplateWrites expanded(state, Handle<VkDescriptorSet>(9), &data);
  const auto writes = expanded.writes();

  ASSERT_EQ(writes.size(), 5u) << "an entry of nothing writes nothing";
  for (const VkWriteDescriptorSet& write : writes) EXPECT_EQ(write.dstSet, Handle<VkDescriptorSet>(9));
  EXPECT_EQ(writes[0].dstArrayElement, 4u);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(writes[0].pBufferInfo[i].buffer, Handle<VkBuffer>(100 + i));
    EXPECT_EQ(writes[0].pBufferInfo[i].range, 16 * i);
  }
  EXPECT_EQ(writes[1].pImageInfo[0].imageView, Handle<VkImageView>(2));
  EXPECT_EQ(writes[2].pTexelBufferView[1], Handle<VkBufferView>(8));
  EXPECT_EQ(writes[3].descriptorCount, 20u);
  EXPECT_EQ(writes[3].dstArrayElement, 8u);
  const auto* block = static_cast<const VkWriteDescriptorSetInlineUniformBlock*>(writes[3].pNext);
  ASSERT_EQ(block->sType, VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK);
  EXPECT_EQ(block->dataSize, 20u);
  EXPECT_EQ(std::memcmp(block->pData, "twenty bytes of data", 20), 0);
  const auto* structures = static_cast<const VkWriteDescriptorSetAccelerationStructureKHR*>(writes[4].pNext);
  ASSERT_EQ(structures->sType, VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_ACCELERATION_STRUCTURE_KHR);
  EXPECT_EQ(structures->pAccelerationStructures[0], Handle<VkAccelerationStructureKHR>(55));
}

}  // namespace
}  // namespace vesper::client
