// The helpers under the field's names do what they say, in order with everything else.
#include "vesper/compute/one_shot.h"

#include "compute/tests/compute_test.h"
#include "shaders/increment_comp.h"

namespace vesper::compute {
namespace {

TEST(OneShotTest, RecordsAndRuns) {
  Buffer buffer(TestDevice(), 16);
  const uint32_t words[4] = {1, 2, 3, 4};
  CopyHostToBuffer(words, buffer, sizeof words);
  ExecuteSingleTimeCommands(TestDevice(),
                            [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle(), 4, 4, 99); });
  uint32_t result[3];
  CopyBufferToHost(buffer, result, sizeof result, 4);
  EXPECT_EQ(result[0], 99u);
  EXPECT_EQ(result[1], 3u);
  EXPECT_EQ(result[2], 4u);
  ExpectError(ErrorCode::BufferTooSmall, [&] { CopyHostToBuffer(words, buffer, 16, 1); });
}

// Everything by hand but the helpers: layout, set, pipeline's own kernel, command buffer.
TEST(OneShotTest, RunsACallersCommandBuffer) {
  const Device& device = TestDevice();
  const VkDevice handle = device.handle();
  const Kernel kernel(device, increment_comp);
  Buffer buffer(device, 32);
  const uint32_t words[8] = {4, 1, 1, 0, 10, 20, 30, 40};
  CopyHostToBuffer(words, buffer, sizeof words);

  const DescriptorLayout layout = CreateDescriptorLayout(device, 1);
  const DescriptorSets sets = AllocateDescriptorSets(layout, 3);
  const DescriptorUpdate update{0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffer};
  UpdateDescriptorSet(device, sets[2], std::span(&update, 1));

  const VkDescriptorSetLayout set_layout = layout.handle();
  VkPipelineLayoutCreateInfo layout_info{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  layout_info.setLayoutCount = 1;
  layout_info.pSetLayouts = &set_layout;
  VkPipelineLayout pipeline_layout = VK_NULL_HANDLE;
  ASSERT_EQ(vkCreatePipelineLayout(handle, &layout_info, nullptr, &pipeline_layout), VK_SUCCESS);
  VkCommandPoolCreateInfo pool_info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool_info.queueFamilyIndex = device.compute_family();
  VkCommandPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vkCreateCommandPool(handle, &pool_info, nullptr, &pool), VK_SUCCESS);
  VkCommandBufferAllocateInfo allocate{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  allocate.commandPool = pool;
  allocate.commandBufferCount = 1;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  ASSERT_EQ(vkAllocateCommandBuffers(handle, &allocate, &commands), VK_SUCCESS);
  const VkCommandBufferBeginInfo begin{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  ASSERT_EQ(vkBeginCommandBuffer(commands, &begin), VK_SUCCESS);
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.pipeline());
  const VkDescriptorSet set = sets[2];
  vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline_layout, 0, 1, &set, 0, nullptr);
  vkCmdDispatch(commands, 1, 1, 1);
  ASSERT_EQ(vkEndCommandBuffer(commands), VK_SUCCESS);

  kernel.Launch({buffer}, Grid::Threads(4));
  ExecuteCommandBuffer(device, commands);
  kernel.Launch({buffer}, Grid::Threads(4));
  uint32_t result[4];
  CopyBufferToHost(buffer, result, sizeof result, 16);
  for (uint32_t i = 0; i < 4; ++i) EXPECT_EQ(result[i], words[4 + i] + 3);
  vkDestroyCommandPool(handle, pool, nullptr);
  vkDestroyPipelineLayout(handle, pipeline_layout, nullptr);
}

}  // namespace
}  // namespace vesper::compute
