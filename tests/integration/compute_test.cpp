// Dispatches verified against the CPU: storage buffers, push and specialization constants, indirect
// dispatch, buffer views, buffer device addresses, storage and sampled images.
#include <algorithm>

#include "shaders/address_comp.h"
#include "shaders/increment_comp.h"
#include "shaders/mix_comp.h"
#include "shaders/sample_comp.h"
#include "shaders/texel_comp.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

struct MixPush {
  uint32_t bias;
  uint32_t count;
};

class ComputeTest : public GpuTest {};

uint32_t Mixed(uint32_t value, uint32_t scale, uint32_t bias, uint32_t i) { return value * value * scale + bias + i; }

TEST_F(ComputeTest, DispatchMatchesCpu) {
  constexpr uint32_t kCount = 100'000;
  const Buffer source = MakeBuffer(gpu(), kCount * 4, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer target = MakeBuffer(gpu(), kCount * 4, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::ranges::copy(Counting(kCount, 2246822519u), source.As<uint32_t>().begin());

  const uint32_t scale = 1'000'003;
  const VkSpecializationMapEntry entry = {0, 0, 4};
  const VkSpecializationInfo constants = {1, &entry, 4, &scale};
  const Buffer* buffers[] = {&source, &target};
  const Kernel kernel = MakeKernel(gpu(), mix_comp, buffers, sizeof(MixPush), &constants);
  const MixPush push = {77, kCount};
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    kernel.Bind(commands);
    vkCmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof push, &push);
    vkCmdDispatch(commands, (kCount + 63) / 64, 1, 1);
  });
  for (uint32_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(target.As<uint32_t>()[i], Mixed(source.As<uint32_t>()[i], scale, 77, i)) << i;
  }
}

// The same shader with other constants gives another pipeline; without any, the shader's default
// holds.
TEST_F(ComputeTest, SpecializationConstants) {
  const Buffer source = MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer target = MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::ranges::copy(Counting(64), source.As<uint32_t>().begin());
  const Buffer* buffers[] = {&source, &target};
  for (const uint32_t scale : {0u, 1u, 9u}) {
    const uint32_t data[] = {0xffffffff, scale};  // the constant lies at offset 4
    const VkSpecializationMapEntry entry = {0, 4, 4};
    const VkSpecializationInfo constants = {1, &entry, sizeof data, data};
    const Kernel kernel = MakeKernel(gpu(), mix_comp, buffers, sizeof(MixPush), scale == 1 ? nullptr : &constants);
    const MixPush push = {0, 64};
    RunCommands(gpu(), [&](VkCommandBuffer commands) {
      kernel.Bind(commands);
      vkCmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof push, &push);
      vkCmdDispatch(commands, 1, 1, 1);
    });
    for (uint32_t i = 0; i < 64; ++i) ASSERT_EQ(target.As<uint32_t>()[i], Mixed(i, scale, 0, i));
  }
}

TEST_F(ComputeTest, IndirectAndBaseDispatch) {
  const Buffer data = MakeBuffer(gpu(), 1024, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer sizes = MakeBuffer(gpu(), 64, VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT, Placement::kHost);
  std::ranges::fill(data.As<uint32_t>(), 0u);
  std::ranges::copy(std::vector<uint32_t>{9, 9, 9, 9, 2, 1, 1}, sizes.As<uint32_t>().begin());
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    kernel.Bind(commands);
    vkCmdDispatchIndirect(commands, sizes.handle, 16);  // 128 of 256
    FullBarrier(commands);
    vkCmdDispatchBase(commands, 0, 0, 0, 1, 1, 1);  // the first 64
  });
  for (uint32_t i = 0; i < 256; ++i) {
    ASSERT_EQ(data.As<uint32_t>()[i], (i < 128 ? 1u : 0u) + (i < 64 ? 1u : 0u)) << i;
  }
}

// One recording, submitted again and again; each submit sees the one before.
TEST_F(ComputeTest, ResubmittedCommandBuffer) {
  const Buffer data =
      MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  std::ranges::fill(data.As<uint32_t>(), 1000u);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
  BeginCommands(commands);
  FullBarrier(commands);
  kernel.Bind(commands);
  vkCmdDispatch(commands, 1, 1, 1);
  FullBarrier(commands);
  VK_CHECK(vkEndCommandBuffer(commands));
  const Owned<VkFence> fence = MakeFence(gpu());
  for (uint32_t round = 1; round <= 50; ++round) {
    Submit(gpu(), commands, fence);
    WaitFor(gpu(), fence);
    VK_CHECK(vkResetFences(device(), 1, fence.address()));
    ASSERT_EQ(data.As<uint32_t>()[0], 1000 + round);
    ASSERT_EQ(data.As<uint32_t>()[63], 1000 + round);
  }
  // A reset buffer takes a new recording.
  VK_CHECK(vkResetCommandBuffer(commands, 0));
  BeginCommands(commands);
  vkCmdFillBuffer(commands, data.handle, 0, VK_WHOLE_SIZE, 77);
  FullBarrier(commands);
  VK_CHECK(vkEndCommandBuffer(commands));
  Submit(gpu(), commands, fence);
  WaitFor(gpu(), fence);
  EXPECT_EQ(data.As<uint32_t>()[63], 77u);
}

TEST_F(ComputeTest, BufferViews) {
  constexpr uint32_t kCount = 1000;
  const Buffer source = MakeBuffer(gpu(), kCount * 4, VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT, Placement::kHost);
  const Buffer target = MakeBuffer(gpu(), kCount * 4, VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT, Placement::kHost);
  std::ranges::copy(Counting(kCount, 3), source.As<uint32_t>().begin());
  const VkDescriptorSetLayoutBinding bindings[] = {
      Binding(0, VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT),
      Binding(1, VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, VK_SHADER_STAGE_COMPUTE_BIT)};
  const auto set_layout = MakeSetLayout(gpu(), bindings);
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const auto pipeline = MakeComputePipeline(gpu(), layout, texel_comp);
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, 1},
                                        {VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, 1}};
  const auto pool = MakeDescriptorPool(gpu(), 1, sizes);
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  Owned<VkBufferView> views[2];
  VkWriteDescriptorSet writes[2] = {};
  for (uint32_t i = 0; i < 2; ++i) {
    VkBufferViewCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
    info.buffer = i == 0 ? source.handle : target.handle;
    info.format = VK_FORMAT_R32_UINT;
    info.range = VK_WHOLE_SIZE;
    views[i] = Create<VkBufferView>(device(), vkCreateBufferView, vkDestroyBufferView, info);
    writes[i] = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    writes[i].dstSet = set;
    writes[i].dstBinding = i;
    writes[i].descriptorCount = 1;
    writes[i].descriptorType = bindings[i].descriptorType;
    writes[i].pTexelBufferView = views[i].address();
  }
  vkUpdateDescriptorSets(device(), 2, writes, 0, nullptr);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, nullptr);
    vkCmdDispatch(commands, (kCount + 63) / 64, 1, 1);
  });
  for (uint32_t i = 0; i < kCount; ++i) ASSERT_EQ(target.As<uint32_t>()[i], i * 3 + 7);
}

TEST_F(ComputeTest, BufferDeviceAddress) {
  if (gpu().features().v12.bufferDeviceAddress == VK_FALSE) GTEST_SKIP() << "not offered";
  constexpr VkBufferUsageFlags kUsage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  const Buffer source = MakeBuffer(gpu(), 4096, kUsage, Placement::kHost);
  const Buffer target = MakeBuffer(gpu(), 4096, kUsage, Placement::kHost);
  std::ranges::copy(Counting(1024, 65537), source.As<uint32_t>().begin());
  VkDeviceAddress addresses[2];
  for (int i = 0; i < 2; ++i) {
    VkBufferDeviceAddressInfo info = {VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO};
    info.buffer = i == 0 ? source.handle : target.handle;
    addresses[i] = vkGetBufferDeviceAddress(device(), &info);
    ASSERT_NE(addresses[i], 0u);
    EXPECT_EQ(vkGetBufferDeviceAddress(device(), &info), addresses[i]);
  }
  struct {
    VkDeviceAddress source, target;
    uint32_t count, unused;
  } push = {addresses[0], addresses[1] + 16, 1000, 0};
  const Kernel kernel = MakeKernel(gpu(), address_comp, {}, sizeof push);
  std::ranges::fill(target.As<uint32_t>(), 0u);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.pipeline);
    vkCmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof push, &push);
    vkCmdDispatch(commands, 16, 1, 1);
  });
  for (uint32_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(target.As<uint32_t>()[i + 4], i * 65537 ^ 0x5a5a5a5au) << i;
  }
  EXPECT_EQ(target.As<uint32_t>()[3], 0u);
  EXPECT_EQ(target.As<uint32_t>()[1004], 0u);
}

TEST_F(ComputeTest, SampledAndStorageImages) {
  const Image source =
      MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 32, 32, VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT);
  const Image target =
      MakeImage(gpu(), VK_FORMAT_R8G8B8A8_UNORM, 32, 32, VK_IMAGE_USAGE_STORAGE_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT);
  std::vector<uint8_t> texels(32 * 32 * 4);
  for (size_t i = 0; i < texels.size(); ++i) texels[i] = static_cast<uint8_t>(i * 13 + i / 128);
  WriteTexels(gpu(), source, texels, VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);

  const VkDescriptorSetLayoutBinding bindings[] = {
      Binding(0, VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, VK_SHADER_STAGE_COMPUTE_BIT),
      Binding(1, VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, VK_SHADER_STAGE_COMPUTE_BIT)};
  const auto set_layout = MakeSetLayout(gpu(), bindings);
  const auto layout = MakePipelineLayout(gpu(), {set_layout.address(), 1});
  const auto pipeline = MakeComputePipeline(gpu(), layout, sample_comp);
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, 1},
                                        {VK_DESCRIPTOR_TYPE_STORAGE_IMAGE, 1}};
  const auto pool = MakeDescriptorPool(gpu(), 1, sizes);
  const VkDescriptorSet set = AllocateSet(gpu(), pool, set_layout);
  const auto sampler = MakeSampler(gpu(), VK_FILTER_NEAREST);
  WriteImageDescriptor(gpu(), set, 0, bindings[0].descriptorType, source, sampler,
                       VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL);
  WriteImageDescriptor(gpu(), set, 1, bindings[1].descriptorType, target, VK_NULL_HANDLE, VK_IMAGE_LAYOUT_GENERAL);
  RunCommands(gpu(), [&](VkCommandBuffer commands) {
    ChangeLayout(commands, target, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_GENERAL);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &set, 0, nullptr);
    vkCmdDispatch(commands, 4, 4, 1);
    ChangeLayout(commands, target, VK_IMAGE_LAYOUT_GENERAL, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
  });
  const std::vector<uint8_t> result = ReadTexels(gpu(), target, 4);
  for (size_t y = 0; y < 32; ++y) {
    for (size_t x = 0; x < 32 * 4; ++x) {
      const size_t mirrored = (31 - x / 4) * 4 + x % 4;
      ASSERT_EQ(result[y * 128 + x], texels[y * 128 + mirrored]) << x / 4 << ',' << y;
    }
  }
}

}  // namespace
}  // namespace vesper::test
