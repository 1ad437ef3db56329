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
#include <vector>

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
  void Shut() const { unlink(gate_); }
  // A timestamp that was written and can be read. The driver makes the pool behind the gate.
  static Owned<VkQueryPool> MakeTimestamp(Context& gpu) {
    const VkQueryPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO, .queryType = VK_QUERY_TYPE_TIMESTAMP, .queryCount = 1};
    Owned<VkQueryPool> pool = Create<VkQueryPool>(gpu.device(), vkCreateQueryPool, vkDestroyQueryPool, info);
    RunCommands(gpu, [&](VkCommandBuffer commands) { WriteTimestamp(commands, pool); });
    return pool;
  }
  static void WriteTimestamp(VkCommandBuffer commands, VkQueryPool pool) {
    vkCmdResetQueryPool(commands, pool, 0, 1);
    vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, 0);
  }
  // 0: not available.
  static uint64_t ReadTimestamp(Context& gpu, VkQueryPool pool) {
    uint64_t result[2] = {};
    const VkResult read = vkGetQueryPoolResults(gpu.device(), pool, 0, 1, sizeof result, result, sizeof result,
                                                VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WITH_AVAILABILITY_BIT);
    EXPECT_TRUE(read == VK_SUCCESS || read == VK_NOT_READY) << read;
    return result[1] == 0 ? 0 : result[0];
  }

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

// What is recorded behind a pipeline that is still compiled waits as the bytes that it came in: neither its number nor the
// objects that it names many times hold up others or end the session.
TEST_F(GateTest, MuchRecordedBehindAPipelineHoldsUpNobody) {
  constexpr uint32_t kDispatches = 200'000;
  Context gpu;
  const Buffer target = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const Buffer numbers = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::fill(numbers.As<uint32_t>().begin(), numbers.As<uint32_t>().end(), 41u);
  RenderFrame(gpu, target, kFrames + 1);
  const Buffer* buffers[] = {&numbers};
  const Kernel kernel = MakeKernel(gpu, increment_comp, buffers);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu);
  const VkCommandBuffer commands = AllocateCommands(gpu, pool);
  BeginCommands(commands);
  kernel.Bind(commands);
  for (uint32_t i = 0; i < kDispatches; ++i) vkCmdDispatch(commands, 0, 1, 1);
  vkCmdDispatch(commands, 16, 1, 1);
  FullBarrier(commands);
  ASSERT_EQ(vkEndCommandBuffer(commands), VK_SUCCESS);
  const Owned<VkFence> fence = MakeFence(gpu);
  for (uint32_t frame = 1; frame <= kFrames; ++frame) RenderFrame(gpu, target, frame);
  Submit(gpu, commands, fence);
  EXPECT_EQ(vkGetFenceStatus(gpu.device(), fence), VK_NOT_READY);
  Open();
  WaitFor(gpu, fence);
  EXPECT_EQ(numbers.As<uint32_t>()[5], 42u);
}

// Results are there while more pipelines are compiled than the server has threads for.
TEST_F(GateTest, QueriesAreReadWhilePipelinesCompile) {
  Open();
  Context gpu;
  const Owned<VkQueryPool> queries = MakeTimestamp(gpu);
  const Buffer numbers = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer* buffers[] = {&numbers};
  const Kernel kernel = MakeKernel(gpu, increment_comp, buffers);
  Shut();
  std::vector<Owned<VkPipeline>> pipelines;
  for (int i = 0; i < 20; ++i) pipelines.push_back(MakeComputePipeline(gpu, kernel.layout, increment_comp));
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu);
  const VkCommandBuffer commands = AllocateCommands(gpu, pool);
  BeginCommands(commands);
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipelines.front());
  ASSERT_EQ(vkEndCommandBuffer(commands), VK_SUCCESS);
  const Owned<VkFence> fence = MakeFence(gpu);
  Submit(gpu, commands, fence);
  for (int i = 0; i < 20; ++i) EXPECT_NE(ReadTimestamp(gpu, queries), 0u);
  EXPECT_EQ(vkGetFenceStatus(gpu.device(), fence), VK_NOT_READY) << "nothing was held back: the test proves nothing";
  Open();
  WaitFor(gpu, fence);
}

// A submit that has not reached the driver, since a pipeline that it uses is being made, is not overtaken by those who ask
// what it wrote.
TEST_F(GateTest, AQueryIsReadAfterTheSubmitBeforeIt) {
  Open();
  Context gpu;
  const Owned<VkQueryPool> queries = MakeTimestamp(gpu);
  const uint64_t before = ReadTimestamp(gpu, queries);
  ASSERT_NE(before, 0u);
  const Buffer numbers = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer* buffers[] = {&numbers};
  Shut();
  const Kernel kernel = MakeKernel(gpu, increment_comp, buffers);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu), other = MakeCommandPool(gpu);
  const VkCommandBuffer commands = AllocateCommands(gpu, pool), timed = AllocateCommands(gpu, other);
  BeginCommands(timed);
  WriteTimestamp(timed, queries);
  ASSERT_EQ(vkEndCommandBuffer(timed), VK_SUCCESS);
  BeginCommands(commands);
  kernel.Bind(commands);
  ASSERT_EQ(vkEndCommandBuffer(commands), VK_SUCCESS);
  Submit(gpu, commands, VK_NULL_HANDLE);
  Submit(gpu, timed, VK_NULL_HANDLE);  // behind the other, on its queue
  uint64_t seen = before;
  std::thread reader([&] { seen = ReadTimestamp(gpu, queries); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // for the question to be on its way
  Open();
  reader.join();
  EXPECT_NE(seen, before) << "read ahead of the submit that resets it";
  ASSERT_EQ(vkDeviceWaitIdle(gpu.device()), VK_SUCCESS);
  EXPECT_GT(ReadTimestamp(gpu, queries), before);
}

// A pipeline that the driver refuses: a program hears of it before it submits what uses it, and nothing else suffers.
TEST_F(GateTest, ARefusedPipelineIsToldBeforeItIsSubmitted) {
  Open();
  Context gpu;
  const Buffer target = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  RenderFrame(gpu, target, 1);
  const Owned<VkShaderModule> module = MakeShader(gpu, increment_comp);
  const Owned<VkPipelineLayout> layout = MakePipelineLayout(gpu, {});
  VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.flags = VK_PIPELINE_CREATE_DISABLE_OPTIMIZATION_BIT;
  info.layout = layout;
  info.stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = module,
                .pName = "main"};
  VkPipeline pipeline = VK_NULL_HANDLE, again = VK_NULL_HANDLE;
  VkResult result = vkCreateComputePipelines(gpu.device(), VK_NULL_HANDLE, 1, &info, nullptr, &pipeline);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu);
  // The refusal comes when the driver has compiled, for which nobody waits: then the next command buffer is refused.
  for (int i = 0; i < 1000 && result == VK_SUCCESS; ++i) {
    const VkCommandBuffer commands = AllocateCommands(gpu, pool);
    BeginCommands(commands);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdDispatch(commands, 1, 1, 1);
    ASSERT_EQ(vkDeviceWaitIdle(gpu.device()), VK_SUCCESS);
    result = vkEndCommandBuffer(commands);
  }
  EXPECT_EQ(result, VK_ERROR_UNKNOWN);
  EXPECT_EQ(vkCreateComputePipelines(gpu.device(), VK_NULL_HANDLE, 1, &info, nullptr, &again), VK_ERROR_UNKNOWN);
  EXPECT_EQ(again, VkPipeline{VK_NULL_HANDLE});
  RenderFrame(gpu, target, 2);
  vkDestroyPipeline(gpu.device(), pipeline, nullptr);
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
