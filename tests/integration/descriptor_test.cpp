// Descriptors however they are written: plain writes, copies, update templates, push descriptors,
// inline uniform blocks, immutable samplers; pools until they are exhausted.
#include <algorithm>
#include <cstring>

#include "shaders/block_comp.h"
#include "shaders/mix_comp.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

class DescriptorTest : public GpuTest {
 protected:
  static constexpr uint32_t kCount = 64;

  // Two storage buffers and a set layout and pipeline of mix.comp for them.
  void MakeMix(VkDescriptorSetLayoutCreateFlags flags) {
    for (Buffer* buffer : {&source_, &target_}) {
      *buffer = MakeBuffer(gpu(), kCount * 4, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
      std::ranges::fill(buffer->As<uint32_t>(), 0u);
    }
    std::ranges::copy(Counting(kCount, 11), source_.As<uint32_t>().begin());
    const VkDescriptorSetLayoutBinding bindings[] = {
        Binding(0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT),
        Binding(1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT)};
    set_layout_ = MakeSetLayout(gpu(), bindings, flags);
    const VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 8};
    layout_ = MakePipelineLayout(gpu(), {set_layout_.address(), 1}, {&range, 1});
    pipeline_ = MakeComputePipeline(gpu(), layout_, mix_comp);
  }
  // Runs mix.comp; `bind` gives it its descriptors.
  void RunMix(const std::function<void(VkCommandBuffer)>& bind) {
    const uint32_t push[] = {5, kCount};
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_);
      bind(commands);
      vkCmdPushConstants(commands, layout_, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof push, push);
      vkCmdDispatch(commands, 1, 1, 1);
    });
  }
  void BindSet(VkCommandBuffer commands, VkDescriptorSet set) {
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 1, &set, 0, nullptr);
  }
  void ExpectMixed() {
    for (uint32_t i = 0; i < kCount; ++i) {
      ASSERT_EQ(target_.As<uint32_t>()[i], i * 11 * i * 11 + 5 + i) << i;
    }
  }
  Owned<VkDescriptorPool> StoragePool(uint32_t sets, uint32_t descriptors, VkDescriptorPoolCreateFlags flags = 0) {
    const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, descriptors};
    return MakeDescriptorPool(gpu(), sets, {&size, 1}, flags);
  }

  Buffer source_, target_;
  Owned<VkDescriptorSetLayout> set_layout_;
  Owned<VkPipelineLayout> layout_;
  Owned<VkPipeline> pipeline_;

  void TearDown() override {
    pipeline_.Reset();
    layout_.Reset();
    set_layout_.Reset();
    source_ = {};
    target_ = {};
    GpuTest::TearDown();
  }
};

// What the template's data looks like: the entries sit at odd places, with a stride.
struct TemplateData {
  uint32_t unused[4];
  struct {
    VkDescriptorBufferInfo buffer;
    uint64_t unused;
  } entries[2];
};

VkDescriptorUpdateTemplateEntry TemplateEntry() {
  VkDescriptorUpdateTemplateEntry entry = {};
  entry.dstBinding = 0;
  entry.descriptorCount = 2;  // runs on into binding 1
  entry.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  entry.offset = offsetof(TemplateData, entries);
  entry.stride = sizeof(TemplateData::entries[0]);
  return entry;
}

TEST_F(DescriptorTest, UpdateTemplate) {
  MakeMix(0);
  const auto pool = StoragePool(1, 2);
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout_);
  const VkDescriptorUpdateTemplateEntry entry = TemplateEntry();
  VkDescriptorUpdateTemplateCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
  info.descriptorUpdateEntryCount = 1;
  info.pDescriptorUpdateEntries = &entry;
  info.templateType = VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_DESCRIPTOR_SET;
  info.descriptorSetLayout = set_layout_;
  const auto update = Create<VkDescriptorUpdateTemplate>(device(), vkCreateDescriptorUpdateTemplate,
                                                         vkDestroyDescriptorUpdateTemplate, info);
  TemplateData data = {};
  data.entries[0].buffer = {source_.handle, 0, VK_WHOLE_SIZE};
  data.entries[1].buffer = {target_.handle, 0, VK_WHOLE_SIZE};
  vkUpdateDescriptorSetWithTemplate(device(), set, update, &data);
  std::memset(&data, 0xff, sizeof data);
  RunMix([&](VkCommandBuffer commands) { BindSet(commands, set); });
  ExpectMixed();
}

TEST_F(DescriptorTest, CopiedDescriptors) {
  MakeMix(0);
  const auto pool = StoragePool(2, 4);
  const VkDescriptorSet first = AllocateSet(gpu(), pool, set_layout_);
  const VkDescriptorSet second = AllocateSet(gpu(), pool, set_layout_);
  WriteBufferDescriptor(gpu(), first, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, source_);
  WriteBufferDescriptor(gpu(), first, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, target_);
  VkCopyDescriptorSet copy = {VK_STRUCTURE_TYPE_COPY_DESCRIPTOR_SET};
  copy.srcSet = first;
  copy.dstSet = second;
  copy.descriptorCount = 2;
  vkUpdateDescriptorSets(device(), 0, nullptr, 1, &copy);
  RunMix([&](VkCommandBuffer commands) { BindSet(commands, second); });
  ExpectMixed();
}

TEST_F(DescriptorTest, PushDescriptors) {
  if (!OpenWith({VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME}, nullptr)) GTEST_SKIP() << "not offered";
  MakeMix(VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT_KHR);
  const auto push = gpu().DeviceFunction<PFN_vkCmdPushDescriptorSetKHR>("vkCmdPushDescriptorSetKHR");
  RunMix([&](VkCommandBuffer commands) {
    const VkDescriptorBufferInfo buffers[] = {{source_.handle, 0, VK_WHOLE_SIZE}, {target_.handle, 0, VK_WHOLE_SIZE}};
    VkWriteDescriptorSet writes[2] = {};
    for (uint32_t i = 0; i < 2; ++i) {
      writes[i] = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
      writes[i].dstBinding = i;
      writes[i].descriptorCount = 1;
      writes[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
      writes[i].pBufferInfo = &buffers[i];
    }
    push(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout_, 0, 2, writes);
  });
  ExpectMixed();
}

TEST_F(DescriptorTest, PushDescriptorsWithTemplate) {
  if (!OpenWith({VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME}, nullptr)) GTEST_SKIP() << "not offered";
  MakeMix(VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT_KHR);
  VkDescriptorUpdateTemplateEntry entries[] = {TemplateEntry(), TemplateEntry()};
  for (uint32_t i = 0; i < 2; ++i) {
    entries[i].dstBinding = i;
    entries[i].descriptorCount = 1;
    entries[i].offset += i * entries[i].stride;
  }
  VkDescriptorUpdateTemplateCreateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_UPDATE_TEMPLATE_CREATE_INFO};
  info.descriptorUpdateEntryCount = 2;
  info.pDescriptorUpdateEntries = entries;
  info.templateType = VK_DESCRIPTOR_UPDATE_TEMPLATE_TYPE_PUSH_DESCRIPTORS_KHR;
  info.pipelineBindPoint = VK_PIPELINE_BIND_POINT_COMPUTE;
  info.pipelineLayout = layout_;
  const auto update = Create<VkDescriptorUpdateTemplate>(device(), vkCreateDescriptorUpdateTemplate,
                                                         vkDestroyDescriptorUpdateTemplate, info);
  const auto push =
      gpu().DeviceFunction<PFN_vkCmdPushDescriptorSetWithTemplateKHR>("vkCmdPushDescriptorSetWithTemplateKHR");
  RunMix([&](VkCommandBuffer commands) {
    TemplateData data = {};
    data.entries[0].buffer = {source_.handle, 0, VK_WHOLE_SIZE};
    data.entries[1].buffer = {target_.handle, 0, VK_WHOLE_SIZE};
    push(commands, update, layout_, 0, &data);
  });
  ExpectMixed();
}

TEST_F(DescriptorTest, DynamicOffsets) {
  const VkDeviceSize step = std::max<VkDeviceSize>(gpu().properties().limits.minUniformBufferOffsetAlignment, 64);
  const Buffer blocks = MakeBuffer(gpu(), step * 4, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT, Placement::kHost);
  const Buffer target = MakeBuffer(gpu(), 64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  for (uint32_t block = 0; block < 4; ++block) {
    for (uint32_t i = 0; i < 16; ++i) {
      blocks.As<uint32_t>()[block * step / 4 + i] = block * 100 + i;
    }
  }
  const VkDescriptorSetLayoutBinding bindings[] = {
      Binding(0, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, VK_SHADER_STAGE_COMPUTE_BIT),
      Binding(1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT)};
  const auto set_layout = MakeSetLayout(gpu(), bindings);
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const auto pipeline = MakeComputePipeline(gpu(), layout, block_comp);
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, 1},
                                        {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1}};
  const auto pool = MakeDescriptorPool(gpu(), 1, sizes);
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  const VkDescriptorBufferInfo block = {blocks.handle, 0, 64};
  VkWriteDescriptorSet write = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
  write.dstSet = set;
  write.descriptorCount = 1;
  write.descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC;
  write.pBufferInfo = &block;
  vkUpdateDescriptorSets(device(), 1, &write, 0, nullptr);
  WriteBufferDescriptor(gpu(), set, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, target);
  for (uint32_t chosen = 0; chosen < 4; ++chosen) {
    const auto offset = static_cast<uint32_t>(chosen * step);
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
      vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 1, &offset);
      vkCmdDispatch(commands, 1, 1, 1);
    });
    for (uint32_t i = 0; i < 16; ++i) {
      ASSERT_EQ(target.As<uint32_t>()[i], (chosen * 100 + i) * 3);
    }
  }
}

// descriptorCount counts bytes and the data hangs in the chain.
TEST_F(DescriptorTest, InlineUniformBlock) {
  if (gpu().features().v13.inlineUniformBlock == VK_FALSE) GTEST_SKIP() << "not offered";
  const Buffer target = MakeBuffer(gpu(), 64, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const VkDescriptorSetLayoutBinding bindings[] = {
      Binding(0, VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, VK_SHADER_STAGE_COMPUTE_BIT, 64),
      Binding(1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT)};
  const auto set_layout = MakeSetLayout(gpu(), bindings);
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const auto pipeline = MakeComputePipeline(gpu(), layout, block_comp);
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK, 64},
                                        {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1}};
  VkDescriptorPoolInlineUniformBlockCreateInfo inline_blocks = {
      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_INLINE_UNIFORM_BLOCK_CREATE_INFO};
  inline_blocks.maxInlineUniformBlockBindings = 1;
  const auto pool = MakeDescriptorPool(gpu(), 1, sizes, 0, &inline_blocks);
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  WriteBufferDescriptor(gpu(), set, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, target);
  const std::vector<uint32_t> words = Counting(16, 1001);
  // In two pieces: bytes 0..47 and 48..63.
  for (uint32_t first : {0u, 12u}) {
    VkWriteDescriptorSetInlineUniformBlock block = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET_INLINE_UNIFORM_BLOCK};
    block.dataSize = first == 0 ? 48 : 16;
    block.pData = &words[first];
    VkWriteDescriptorSet write = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    write.pNext = &block;
    write.dstSet = set;
    write.dstArrayElement = first * 4;
    write.descriptorCount = block.dataSize;
    write.descriptorType = VK_DESCRIPTOR_TYPE_INLINE_UNIFORM_BLOCK;
    vkUpdateDescriptorSets(device(), 1, &write, 0, nullptr);
  }
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, nullptr);
    vkCmdDispatch(commands, 1, 1, 1);
  });
  for (uint32_t i = 0; i < 16; ++i) ASSERT_EQ(target.As<uint32_t>()[i], i * 3003);
}

// Exhaustion is a normal answer that programs build on: they reset the pool, or make another, and
// go on.
TEST_F(DescriptorTest, PoolUntilOutOfMemoryResetRepeated) {
  MakeMix(0);
  const auto pool = StoragePool(100, 200);
  for (int round = 0; round < 5; ++round) {
    VkDescriptorSetAllocateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
    info.descriptorPool = pool;
    info.descriptorSetCount = 1;
    info.pSetLayouts = set_layout_.address();
    std::vector<VkDescriptorSet> sets;
    VkResult result = VK_SUCCESS;
    while (sets.size() < 10'000) {
      VkDescriptorSet set = VK_NULL_HANDLE;
      result = vkAllocateDescriptorSets(device(), &info, &set);
      if (result != VK_SUCCESS) break;
      sets.push_back(set);
    }
    // A driver may have room for more than was promised; what it may not do is fail earlier or
    // otherwise.
    EXPECT_GE(sets.size(), 100u);
    if (sets.size() < 10'000) {
      EXPECT_EQ(result, VK_ERROR_OUT_OF_POOL_MEMORY);
    }
    std::ranges::sort(sets);
    EXPECT_EQ(std::ranges::adjacent_find(sets), sets.end()) << "a set was given twice";
    VK_CHECK(vkResetDescriptorPool(device(), pool, 0));
  }
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout_);
  WriteBufferDescriptor(gpu(), set, 0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, source_);
  WriteBufferDescriptor(gpu(), set, 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, target_);
  RunMix([&](VkCommandBuffer commands) { BindSet(commands, set); });
  ExpectMixed();
}

TEST_F(DescriptorTest, SetsAllocatedTogetherAndFreed) {
  MakeMix(0);
  const auto pool = StoragePool(8, 16, VK_DESCRIPTOR_POOL_CREATE_FREE_DESCRIPTOR_SET_BIT);
  const std::vector<VkDescriptorSetLayout> layouts(8, set_layout_);
  VkDescriptorSetAllocateInfo info = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  info.descriptorPool = pool;
  info.descriptorSetCount = 8;
  info.pSetLayouts = layouts.data();
  for (int round = 0; round < 20; ++round) {
    std::vector<VkDescriptorSet> sets(8);
    VK_CHECK(vkAllocateDescriptorSets(device(), &info, sets.data()));
    sets[3] = VK_NULL_HANDLE;  // null handles are skipped; the third goes with the pool's reset
    VK_CHECK(vkFreeDescriptorSets(device(), pool, 8, sets.data()));
    VK_CHECK(vkResetDescriptorPool(device(), pool, 0));
  }
}

// The sampler of a write beside an immutable one is ignored: a valid program leaves garbage there.
TEST_F(DescriptorTest, ImmutableSamplerIgnoresTheWrittenOne) {
  const auto sampler = MakeSampler(gpu(), VK_FILTER_NEAREST);
  VkDescriptorSetLayoutBinding binding =
      Binding(0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, VK_SHADER_STAGE_COMPUTE_BIT);
  binding.pImmutableSamplers = sampler.address();
  const auto set_layout = MakeSetLayout(gpu(), {&binding, 1});
  const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1};
  const auto pool = MakeDescriptorPool(gpu(), 1, {&size, 1});
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  const Image image = MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 4, 4, VK_IMAGE_USAGE_SAMPLED_BIT);
  VkSampler garbage = VK_NULL_HANDLE;
  const uint64_t bits = 0x1234567812345678;
  std::memcpy(&garbage, &bits, sizeof garbage);
  WriteImageDescriptor(gpu(), set, 0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, image,
                       ValidationWanted() ? VkSampler{VK_NULL_HANDLE} : garbage,
                       VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
}

}  // namespace
}  // namespace vesper::test
