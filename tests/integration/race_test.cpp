// Completions racing with everything that programs do meanwhile: waits without limit, resets, new submits, destruction.
#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

class RaceTest : public GpuTest {
 protected:
  void Fill(const Buffer& buffer, uint32_t value) {
    RunCommands(gpu(),
                [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, value); });
  }
};

// One thread waits for a fence that nobody has submitted yet, while others record, submit, map and signal.
TEST_F(RaceTest, AWaitWithoutLimitHindersNobody) {
  const Owned<VkFence> last = MakeFence(gpu());
  std::atomic<bool> submitted = false;
  std::thread waiter([&] {
    EXPECT_EQ(vkWaitForFences(device(), 1, last.address(), VK_TRUE, UINT64_MAX), VK_SUCCESS);
    EXPECT_TRUE(submitted.load());
  });
  std::vector<std::thread> workers;
  for (uint32_t t = 0; t < 4; ++t) {
    workers.emplace_back([this, t] {
      const Buffer buffer = MakeBuffer(gpu(), 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
      const VkEventCreateInfo info = {VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
      const auto event = Create<VkEvent>(device(), vkCreateEvent, vkDestroyEvent, info);
      for (uint32_t i = 1; i <= 30; ++i) {
        Fill(buffer, t * 1000 + i);
        ASSERT_EQ(buffer.As<uint32_t>()[i], t * 1000 + i);
        VK_CHECK(vkSetEvent(device(), event));
        ASSERT_EQ(vkGetEventStatus(device(), event), VK_EVENT_SET);
        VK_CHECK(vkResetEvent(device(), event));
        ASSERT_EQ(vkGetEventStatus(device(), event), VK_EVENT_RESET);
        void* data = nullptr;
        const Buffer other = MakeBuffer(gpu(), 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
        vkUnmapMemory(device(), other.memory);
        VK_CHECK(vkMapMemory(device(), other.memory, 0, VK_WHOLE_SIZE, 0, &data));
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  submitted = true;
  {
    const std::lock_guard lock(gpu().queue_mutex());
    VK_CHECK(vkQueueSubmit(gpu().queue(), 0, nullptr, last));
  }
  waiter.join();
}

// The same fence and command buffer over and over: a signal always means the submit that was made last.
TEST_F(RaceTest, AFenceResetAndSubmittedAgainIsNeverEarly) {
  const Buffer source = MakeBuffer(gpu(), 1 << 16, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
  const Buffer target = MakeBuffer(gpu(), 1 << 16, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const auto pool = MakeCommandPool(gpu());
  const VkCommandBuffer commands = AllocateCommands(gpu(), pool);
  BeginCommands(commands);
  const VkBufferCopy region = {0, 0, 1 << 16};
  vkCmdCopyBuffer(commands, source.handle, target.handle, 1, &region);
  FullBarrier(commands);
  VK_CHECK(vkEndCommandBuffer(commands));
  const Owned<VkFence> fence = MakeFence(gpu());
  for (uint32_t i = 1; i <= 300; ++i) {
    std::ranges::fill(source.As<uint32_t>(), i);
    Submit(gpu(), commands, fence);
    if (i % 2 == 0) {
      while (vkGetFenceStatus(device(), fence) == VK_NOT_READY) {
      }
    } else {
      WaitFor(gpu(), fence);
    }
    ASSERT_EQ(target.As<uint32_t>()[i], i);
    ASSERT_EQ(target.As<uint32_t>()[16383], i);
    VK_CHECK(vkResetFences(device(), 1, fence.address()));
    ASSERT_EQ(vkGetFenceStatus(device(), fence), VK_NOT_READY);
  }
}

// Objects are destroyed as soon as Vulkan allows it, while news of their completion may still be on its way.
TEST_F(RaceTest, WhatCompletesIsDestroyedAtOnce) {
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([this] {
      for (uint32_t i = 0; i < 40; ++i) {
        const Buffer buffer = MakeBuffer(gpu(), 1024, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
        auto pool = std::make_unique<Owned<VkCommandPool>>(MakeCommandPool(gpu()));
        const VkCommandBuffer commands = AllocateCommands(gpu(), *pool);
        BeginCommands(commands);
        vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, i);
        VK_CHECK(vkEndCommandBuffer(commands));
        Owned<VkFence> first = MakeFence(gpu());
        Owned<VkFence> second = MakeFence(gpu());
        {
          const std::lock_guard lock(gpu().queue_mutex());
          VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
          info.commandBufferCount = 1;
          info.pCommandBuffers = &commands;
          VK_CHECK(vkQueueSubmit(gpu().queue(), 1, &info, first));
          VK_CHECK(vkQueueSubmit(gpu().queue(), 0, nullptr, second));
        }
        WaitFor(gpu(), second);  // the first has completed as well, though nobody has asked for it
        first.Reset();
        second.Reset();
        pool.reset();
        ASSERT_EQ(buffer.As<uint32_t>()[9], i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Devices that end right after their last work.
TEST_F(RaceTest, ADeviceEndsWithItsLastCompletion) {
  for (uint32_t i = 0; i < 10; ++i) {
    Context context;
    const Owned<VkFence> fence = MakeFence(context);
    VK_CHECK(vkQueueSubmit(context.queue(), 0, nullptr, fence));
    VK_CHECK(vkDeviceWaitIdle(context.device()));
  }
}

// Several threads poll one fence while it is signalled; none sees it go back.
TEST_F(RaceTest, ManyPollOneFence) {
  for (int round = 0; round < 10; ++round) {
    const Owned<VkFence> fence = MakeFence(gpu());
    std::atomic<bool> go = false;
    std::vector<std::thread> pollers;
    for (int t = 0; t < 4; ++t) {
      pollers.emplace_back([&] {
        while (!go) std::this_thread::yield();
        while (vkGetFenceStatus(device(), fence) == VK_NOT_READY) {
        }
        for (int i = 0; i < 100; ++i) EXPECT_EQ(vkGetFenceStatus(device(), fence), VK_SUCCESS);
      });
    }
    go = true;
    {
      const std::lock_guard lock(gpu().queue_mutex());
      VK_CHECK(vkQueueSubmit(gpu().queue(), 0, nullptr, fence));
    }
    for (std::thread& poller : pollers) poller.join();
  }
}

}  // namespace
}  // namespace vesper::test
