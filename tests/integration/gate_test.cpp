// One thread's compilation does not hold up another's frames. The server runs under
// tests/support/gate_layer, which holds vkCreateComputePipelines and vkCreateQueryPool back until
// the test has rendered all it wants: order is asserted, not time.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "shaders/increment_comp.h"
#include "tests/support/vulkan_context.h"
#include "tests/support/vulkan_pipelines.h"
#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

class GateTest : public testing::Test {
 protected:
  GateTest() : gate_(std::getenv("VESPER_TEST_GATE")) { unlink(gate_); }
  ~GateTest() override { unlink(gate_); }
  void Open() const { std::ofstream(gate_) << "open\n"; }

  const char* const gate_;
};

// A frame of its own pool, verified.
void RenderFrame(Context& gpu, const Buffer& target, uint32_t frame) {
  RunCommands(gpu, [&](VkCommandBuffer commands) {
    vkCmdFillBuffer(commands, target.handle, 0, VK_WHOLE_SIZE, frame);
    FullBarrier(commands);
  });
  ASSERT_EQ(target.As<uint32_t>()[7], frame);
}

constexpr uint32_t kFrames = 200;

// A thread that compiles aside gets its pipeline when it is there, as from a local driver.
TEST_F(GateTest, FramesGoOnWhileAPipelineCompiles) {
  Context gpu;
  const Buffer target = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const Buffer numbers = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  RenderFrame(gpu, target, kFrames + 1);
  std::atomic<bool> compiled{false};
  std::thread compiler([&] {
    const Buffer* buffers[] = {&numbers};
    const Kernel kernel = MakeKernel(gpu, increment_comp, buffers);
    compiled = true;
  });
  for (uint32_t frame = 1; frame <= kFrames; ++frame) RenderFrame(gpu, target, frame);
  EXPECT_FALSE(compiled) << "the compilation was not held back: the test proves nothing";
  Open();
  compiler.join();
  EXPECT_TRUE(compiled);
}

// The thread that renders does not wait for its own pipelines, nor does anything but what uses
// them: not the frames of other pools, not creations, not destructions.
TEST_F(GateTest, OnlyWhatUsesAPipelineWaitsForIt) {
  Context gpu;
  const Buffer target = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const Buffer numbers = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::fill(numbers.As<uint32_t>().begin(), numbers.As<uint32_t>().end(), 41u);
  const Buffer* buffers[] = {&numbers};
  const Kernel kernel = MakeKernel(gpu, increment_comp, buffers);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu);
  const VkCommandBuffer commands = AllocateCommands(gpu, pool);
  const VkCommandBuffer dropped = AllocateCommands(gpu, pool);
  BeginCommands(dropped);
  kernel.Bind(dropped);
  ASSERT_EQ(vkEndCommandBuffer(dropped), VK_SUCCESS);
  vkFreeCommandBuffers(gpu.device(), pool, 1, &dropped);
  BeginCommands(commands);
  kernel.Bind(commands);
  vkCmdDispatch(commands, 16, 1, 1);
  FullBarrier(commands);
  ASSERT_EQ(vkEndCommandBuffer(commands), VK_SUCCESS);
  for (uint32_t frame = 1; frame <= kFrames; ++frame) RenderFrame(gpu, target, frame);
  { const Kernel unused = MakeKernel(gpu, increment_comp, buffers); }  // made and destroyed while it compiles
  const Owned<VkFence> fence = MakeFence(gpu);
  Submit(gpu, commands, fence);
  const VkCommandBuffer next = AllocateCommands(gpu, pool);
  BeginCommands(next);
  ASSERT_EQ(vkEndCommandBuffer(next), VK_SUCCESS);
  Submit(gpu, next, VK_NULL_HANDLE);  // behind the other, on its queue
  EXPECT_EQ(vkGetFenceStatus(gpu.device(), fence), VK_NOT_READY);
  EXPECT_EQ(numbers.As<uint32_t>()[5], 41u);
  Open();
  WaitFor(gpu, fence);
  EXPECT_EQ(numbers.As<uint32_t>()[5], 42u);
  ASSERT_EQ(vkDeviceWaitIdle(gpu.device()), VK_SUCCESS);
}

// What was created with a cache is in its data, though the creations have not ended when the data
// is asked for; what is created later, by other threads, does not wait for that.
TEST_F(GateTest, ACachesDataComesAfterItsPipelines) {
  Context gpu;
  const Buffer numbers = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer* buffers[] = {&numbers};
  const VkPipelineCacheCreateInfo info{.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  const Kernel kernel = MakeKernel(gpu, increment_comp, buffers);
  VkPipelineCache cache = VK_NULL_HANDLE, merged = VK_NULL_HANDLE;
  ASSERT_EQ(vkCreatePipelineCache(gpu.device(), &info, nullptr, &cache), VK_SUCCESS);
  ASSERT_EQ(vkCreatePipelineCache(gpu.device(), &info, nullptr, &merged), VK_SUCCESS);
  const auto create = [&] { return MakeComputePipeline(gpu, kernel.layout, increment_comp, nullptr, cache); };
  const Owned<VkPipeline> first = create();
  std::atomic<int> ended{0};
  const auto ask = [&] {
    size_t bytes = 0;
    EXPECT_EQ(vkGetPipelineCacheData(gpu.device(), cache, &bytes, nullptr), VK_SUCCESS);
    EXPECT_GE(bytes, sizeof(VkPipelineCacheHeaderVersionOne));
    ++ended;
  };
  const auto merge = [&] {
    EXPECT_EQ(vkMergePipelineCaches(gpu.device(), merged, 1, &cache), VK_SUCCESS);
    ++ended;
  };
  std::thread threads[] = {std::thread(ask), std::thread(ask), std::thread(merge)};
  const Buffer target = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  for (uint32_t frame = 1; frame <= kFrames; ++frame) RenderFrame(gpu, target, frame);
  const Owned<VkPipeline> second = create();
  EXPECT_EQ(ended, 0);
  Open();
  for (std::thread& thread : threads) thread.join();
  vkDestroyPipelineCache(gpu.device(), cache, nullptr);
  vkDestroyPipelineCache(gpu.device(), merged, nullptr);
}

// One call in which the driver spends several grace periods: the server reads nothing meanwhile,
// but it lives.
TEST_F(GateTest, ADriverThatTakesItsTimeIsNoLoss) {
  setenv("VESPER_GRACE", "1", 1);
  Context gpu;
  const Buffer target = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const VkQueryPoolCreateInfo info = {
      .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, .queryType = VK_QUERY_TYPE_TIMESTAMP, .queryCount = 4};
  VkQueryPool pool = VK_NULL_HANDLE;
  ASSERT_EQ(vkCreateQueryPool(gpu.device(), &info, nullptr, &pool), VK_SUCCESS);
  std::atomic<bool> rendered{false};
  std::thread renderer([&] {
    RenderFrame(gpu, target, 1);
    rendered = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(3500));
  EXPECT_FALSE(rendered) << "the driver was not held back: the test proves nothing";
  Open();
  renderer.join();
  EXPECT_EQ(vkDeviceWaitIdle(gpu.device()), VK_SUCCESS);
  vkDestroyQueryPool(gpu.device(), pool, nullptr);
  unsetenv("VESPER_GRACE");
}

}  // namespace
}  // namespace vesper::test
