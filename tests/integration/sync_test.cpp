// Fences, semaphores of both kinds, events: who waits is woken, who polls sees it, and order holds
// between submits.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "shaders/increment_comp.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

class SyncTest : public GpuTest {
 protected:
  Owned<VkSemaphore> MakeSemaphore(VkSemaphoreType type, uint64_t value = 0) {
    VkSemaphoreTypeCreateInfo kind = {VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
    kind.semaphoreType = type;
    kind.initialValue = value;
    VkSemaphoreCreateInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
    info.pNext = &kind;
    return Create<VkSemaphore>(device(), vkCreateSemaphore, vkDestroySemaphore, info);
  }
  VkResult WaitSemaphore(VkSemaphore semaphore, uint64_t value, uint64_t timeout) {
    VkSemaphoreWaitInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
    info.semaphoreCount = 1;
    info.pSemaphores = &semaphore;
    info.pValues = &value;
    return vkWaitSemaphores(device(), &info, timeout);
  }
  void Signal(VkSemaphore semaphore, uint64_t value) {
    VkSemaphoreSignalInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
    info.semaphore = semaphore;
    info.value = value;
    VK_CHECK(vkSignalSemaphore(device(), &info));
  }
  uint64_t Value(VkSemaphore semaphore) {
    uint64_t value = 0;
    VK_CHECK(vkGetSemaphoreCounterValue(device(), semaphore, &value));
    return value;
  }
  // Recorded once: adds one to `data`.
  VkCommandBuffer RecordIncrement(VkCommandPool pool, const Kernel& kernel) {
    const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
    BeginCommands(commands, VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT);
    FullBarrier(commands);
    kernel.Bind(commands);
    vkCmdDispatch(commands, 1, 1, 1);
    FullBarrier(commands);
    VK_CHECK(vkEndCommandBuffer(commands));
    return commands;
  }
};

TEST_F(SyncTest, FencePolledUntilSignalled) {
  const Buffer data = MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::ranges::fill(data.As<uint32_t>(), 0u);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = RecordIncrement(pool, kernel);
  const Owned<VkFence> fence = MakeFence(gpu(), VK_FENCE_CREATE_SIGNALED_BIT);
  EXPECT_EQ(vkGetFenceStatus(device(), fence), VK_SUCCESS);
  VK_CHECK(vkResetFences(device(), 1, fence.address()));
  EXPECT_EQ(vkGetFenceStatus(device(), fence), VK_NOT_READY);
  EXPECT_EQ(vkWaitForFences(device(), 1, fence.address(), VK_TRUE, 0), VK_TIMEOUT);
  EXPECT_EQ(vkWaitForFences(device(), 1, fence.address(), VK_TRUE, 2'000'000), VK_TIMEOUT);
  Submit(gpu(), commands, fence);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (vkGetFenceStatus(device(), fence) == VK_NOT_READY) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  EXPECT_EQ(vkGetFenceStatus(device(), fence), VK_SUCCESS);
  EXPECT_EQ(data.As<uint32_t>()[5], 1u);  // whoever sees the fence sees the memory
  EXPECT_EQ(vkWaitForFences(device(), 1, fence.address(), VK_TRUE, 0), VK_SUCCESS);
}

TEST_F(SyncTest, WaitForAnyAndAllFences) {
  const Owned<VkFence> done = MakeFence(gpu(), VK_FENCE_CREATE_SIGNALED_BIT);
  const Owned<VkFence> never = MakeFence(gpu());
  const VkFence both[] = {never, done};
  EXPECT_EQ(vkWaitForFences(device(), 2, both, VK_FALSE, kWaitNanoseconds), VK_SUCCESS);
  EXPECT_EQ(vkWaitForFences(device(), 2, both, VK_TRUE, 1'000'000), VK_TIMEOUT);
  // An empty submit signals too.
  VK_CHECK(vkQueueSubmit(gpu().queue(), 0, nullptr, never));
  EXPECT_EQ(vkWaitForFences(device(), 2, both, VK_TRUE, kWaitNanoseconds), VK_SUCCESS);
}

TEST_F(SyncTest, IdleWaitsCoverSubmits) {
  const Buffer data = MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::ranges::fill(data.As<uint32_t>(), 0u);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = RecordIncrement(pool, kernel);
  for (uint32_t i = 1; i <= 10; ++i) {
    Submit(gpu(), commands, VK_NULL_HANDLE);
    VK_CHECK(i % 2 == 0 ? vkQueueWaitIdle(gpu().queue()) : vkDeviceWaitIdle(device()));
    ASSERT_EQ(data.As<uint32_t>()[0], i);
  }
}

TEST_F(SyncTest, BinarySemaphoresChainSubmits) {
  constexpr uint32_t kLinks = 32;
  const Buffer data = MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::ranges::fill(data.As<uint32_t>(), 0u);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = RecordIncrement(pool, kernel);
  std::vector<Owned<VkSemaphore>> semaphores;
  for (uint32_t i = 0; i < kLinks; ++i) {
    semaphores.push_back(MakeSemaphore(VK_SEMAPHORE_TYPE_BINARY));
  }
  const Owned<VkFence> fence = MakeFence(gpu());
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  for (uint32_t i = 0; i <= kLinks; ++i) {
    VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands;
    if (i > 0) {
      info.waitSemaphoreCount = 1;
      info.pWaitSemaphores = semaphores[i - 1].address();
      info.pWaitDstStageMask = &stage;
    }
    if (i < kLinks) {
      info.signalSemaphoreCount = 1;
      info.pSignalSemaphores = semaphores[i].address();
    }
    VK_CHECK(vkQueueSubmit(gpu().queue(), 1, &info, i == kLinks ? fence.get() : VK_NULL_HANDLE));
  }
  WaitFor(gpu(), fence);
  EXPECT_EQ(data.As<uint32_t>()[0], kLinks + 1);
}

TEST_F(SyncTest, TimelineFromTheHost) {
  const auto timeline = MakeSemaphore(VK_SEMAPHORE_TYPE_TIMELINE, 5);
  EXPECT_EQ(Value(timeline), 5u);
  EXPECT_EQ(WaitSemaphore(timeline, 5, 0), VK_SUCCESS);
  EXPECT_EQ(WaitSemaphore(timeline, 6, 1'000'000), VK_TIMEOUT);
  std::thread signaller([&] { Signal(timeline, 7); });
  EXPECT_EQ(WaitSemaphore(timeline, 6, kWaitNanoseconds), VK_SUCCESS);
  signaller.join();
  EXPECT_EQ(Value(timeline), 7u);
}

// Submits that wait for values nobody has signalled yet; another thread releases them. A driver
// that executed a wait inline, or let a host signal queue behind a submit, would hang here.
TEST_F(SyncTest, TenThousandWaitsBeforeSignals) {
  constexpr uint64_t kSubmits = 10'000;
  const auto released = MakeSemaphore(VK_SEMAPHORE_TYPE_TIMELINE);
  const auto finished = MakeSemaphore(VK_SEMAPHORE_TYPE_TIMELINE);
  std::atomic<uint64_t> submitted = 0;
  std::thread signaller([&] {
    for (uint64_t value = 1; value <= kSubmits; ++value) {
      while (submitted.load() < value) std::this_thread::yield();
      Signal(released, value);
    }
  });
  const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  for (uint64_t value = 1; value <= kSubmits; ++value) {
    VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
    values.waitSemaphoreValueCount = 1;
    values.pWaitSemaphoreValues = &value;
    values.signalSemaphoreValueCount = 1;
    values.pSignalSemaphoreValues = &value;
    VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
    info.pNext = &values;
    info.waitSemaphoreCount = 1;
    info.pWaitSemaphores = released.address();
    info.pWaitDstStageMask = &stage;
    info.signalSemaphoreCount = 1;
    info.pSignalSemaphores = finished.address();
    const VkResult result = vkQueueSubmit(gpu().queue(), 1, &info, VK_NULL_HANDLE);
    submitted.store(result == VK_SUCCESS ? value : kSubmits);
    EXPECT_EQ(result, VK_SUCCESS);
    if (result != VK_SUCCESS) break;
  }
  EXPECT_EQ(WaitSemaphore(finished, kSubmits, kWaitNanoseconds), VK_SUCCESS);
  signaller.join();
  EXPECT_EQ(Value(finished), kSubmits);
}

TEST_F(SyncTest, Submit2AndBarriers2) {
  const Buffer data =
      MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
  BeginCommands(commands);
  vkCmdFillBuffer(commands, data.handle, 0, VK_WHOLE_SIZE, 41);
  VkBufferMemoryBarrier2 barrier = {VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER_2};
  barrier.srcStageMask = VK_PIPELINE_STAGE_2_CLEAR_BIT;
  barrier.srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT;
  barrier.dstStageMask = VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT;
  barrier.dstAccessMask = VK_ACCESS_2_SHADER_STORAGE_READ_BIT | VK_ACCESS_2_SHADER_STORAGE_WRITE_BIT;
  barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  barrier.buffer = data.handle;
  barrier.size = VK_WHOLE_SIZE;
  VkDependencyInfo dependency = {VK_STRUCTURE_TYPE_DEPENDENCY_INFO};
  dependency.bufferMemoryBarrierCount = 1;
  dependency.pBufferMemoryBarriers = &barrier;
  vkCmdPipelineBarrier2(commands, &dependency);
  kernel.Bind(commands);
  vkCmdDispatch(commands, 1, 1, 1);
  FullBarrier(commands);
  VK_CHECK(vkEndCommandBuffer(commands));

  const auto timeline = MakeSemaphore(VK_SEMAPHORE_TYPE_TIMELINE);
  VkCommandBufferSubmitInfo submitted = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO};
  submitted.commandBuffer = commands;
  VkSemaphoreSubmitInfo signal = {VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO};
  signal.semaphore = timeline;
  signal.value = 3;
  signal.stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT;
  VkSubmitInfo2 info = {VK_STRUCTURE_TYPE_SUBMIT_INFO_2};
  info.commandBufferInfoCount = 1;
  info.pCommandBufferInfos = &submitted;
  info.signalSemaphoreInfoCount = 1;
  info.pSignalSemaphoreInfos = &signal;
  VK_CHECK(vkQueueSubmit2(gpu().queue(), 1, &info, VK_NULL_HANDLE));
  ASSERT_EQ(WaitSemaphore(timeline, 3, kWaitNanoseconds), VK_SUCCESS);
  EXPECT_EQ(data.As<uint32_t>()[0], 42u);
  VK_CHECK(vkQueueWaitIdle(gpu().queue()));
}

TEST_F(SyncTest, EventsFromHostAndDevice) {
  VkEventCreateInfo info = {VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  const auto event = Create<VkEvent>(device(), vkCreateEvent, vkDestroyEvent, info);
  EXPECT_EQ(vkGetEventStatus(device(), event), VK_EVENT_RESET);
  VK_CHECK(vkSetEvent(device(), event));
  EXPECT_EQ(vkGetEventStatus(device(), event), VK_EVENT_SET);
  VK_CHECK(vkResetEvent(device(), event));
  EXPECT_EQ(vkGetEventStatus(device(), event), VK_EVENT_RESET);
  RunCommands(gpu(),
              [&](VkCommandBuffer commands) { vkCmdSetEvent(commands, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT); });
  EXPECT_EQ(vkGetEventStatus(device(), event), VK_EVENT_SET);
  RunCommands(gpu(),
              [&](VkCommandBuffer commands) { vkCmdResetEvent(commands, event, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT); });
  EXPECT_EQ(vkGetEventStatus(device(), event), VK_EVENT_RESET);
}

// A queue stands still at an event until the host sets it; memory uploads and the set must not
// queue behind the submit.
TEST_F(SyncTest, QueueWaitsForHostEvent) {
  const Buffer a = MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
  const Buffer b = MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  std::ranges::copy(Counting(64, 3), a.As<uint32_t>().begin());
  std::ranges::fill(b.As<uint32_t>(), 0u);
  VkEventCreateInfo info = {VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
  const auto event = Create<VkEvent>(device(), vkCreateEvent, vkDestroyEvent, info);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
  BeginCommands(commands);
  vkCmdWaitEvents(commands, 1, event.address(), VK_PIPELINE_STAGE_HOST_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0,
                  nullptr, 0, nullptr, 0, nullptr);
  const VkBufferCopy whole = {0, 0, 256};
  vkCmdCopyBuffer(commands, a.handle, b.handle, 1, &whole);
  FullBarrier(commands);
  VK_CHECK(vkEndCommandBuffer(commands));
  const Owned<VkFence> fence = MakeFence(gpu());
  Submit(gpu(), commands, fence);
  EXPECT_EQ(vkWaitForFences(device(), 1, fence.address(), VK_TRUE, 50'000'000), VK_TIMEOUT);
  VK_CHECK(vkSetEvent(device(), event));
  WaitFor(gpu(), fence);
  EXPECT_TRUE(std::ranges::equal(b.As<uint32_t>(), Counting(64, 3)));
}

}  // namespace
}  // namespace vesper::test
