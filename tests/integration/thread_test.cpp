// Many threads on one device: recording without a lock, submitting under one, creating and
// destroying at the same time.
#include <algorithm>
#include <atomic>
#include <thread>

#include "shaders/increment_comp.h"
#include "tests/integration/gpu_test.h"

namespace vesper::test {
namespace {

class ThreadTest : public GpuTest {
 protected:
  // Runs `work(index)` on each of `count` threads; an exception in one fails the test.
  static void InParallel(uint32_t count, const std::function<void(uint32_t)>& work) {
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < count; ++i) {
      threads.emplace_back([&work, i] {
        try {
          work(i);
        } catch (const std::exception& error) {
          ADD_FAILURE() << "thread " << i << ": " << error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
};

TEST_F(ThreadTest, RecordingAndSubmission) {
  constexpr uint32_t kThreads = 8, kRounds = 25, kDispatches = 10;
  InParallel(kThreads, [&](uint32_t) {
    const Buffer data = MakeBuffer(gpu(), 256, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
    std::ranges::fill(data.As<uint32_t>(), 0u);
    const Buffer* buffers[] = {&data};
    const Kernel kernel = MakeKernel(gpu(), increment_comp, buffers);
    for (uint32_t round = 1; round <= kRounds; ++round) {
      RunCommands(gpu(), [&](VkCommandBuffer commands) {
        kernel.Bind(commands);
        for (uint32_t i = 0; i < kDispatches; ++i) {
          vkCmdDispatch(commands, 1, 1, 1);
          FullBarrier(commands);
        }
      });
      ASSERT_EQ(data.As<uint32_t>()[round % 64], round * kDispatches);
    }
  });
}

// Secondary command buffers recorded by threads of their own, executed by one primary.
TEST_F(ThreadTest, SecondariesRecordedInParallel) {
  constexpr uint32_t kThreads = 8;
  const Buffer data = MakeBuffer(gpu(), kThreads * 1024, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  std::vector<Owned<VkCommandPool>> pools(kThreads);
  std::vector<VkCommandBuffer> secondaries(kThreads);
  InParallel(kThreads, [&](uint32_t i) {
    pools[i] = MakeCommandPool(gpu());
    secondaries[i] = AllocateCommands(gpu(), pools[i], VK_COMMAND_BUFFER_LEVEL_SECONDARY);
    VkCommandBufferInheritanceInfo inheritance = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_INHERITANCE_INFO};
    VkCommandBufferBeginInfo begin = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.pInheritanceInfo = &inheritance;
    VK_CHECK(vkBeginCommandBuffer(secondaries[i], &begin));
    for (uint32_t word = 0; word < 256; ++word) {
      vkCmdFillBuffer(secondaries[i], data.handle, i * 1024 + word * 4, 4, i * 1000 + word);
    }
    VK_CHECK(vkEndCommandBuffer(secondaries[i]));
  });
  RunCommands(gpu(), [&](VkCommandBuffer commands) { vkCmdExecuteCommands(commands, kThreads, secondaries.data()); });
  for (uint32_t i = 0; i < kThreads * 256; ++i) {
    ASSERT_EQ(data.As<uint32_t>()[i], i / 256 * 1000 + i % 256);
  }
}

TEST_F(ThreadTest, ObjectsComeAndGo) {
  std::atomic<uint64_t> made = 0;
  InParallel(8, [&](uint32_t thread) {
    for (uint32_t i = 0; i < 200; ++i) {
      const Buffer buffer = MakeBuffer(gpu(), 256 + thread * 16, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
      const Owned<VkFence> fence = MakeFence(gpu());
      const auto sampler = MakeSampler(gpu(), VK_FILTER_LINEAR);
      buffer.As<uint32_t>()[0] = i;
      made += 3;
    }
  });
  EXPECT_EQ(made.load(), 8u * 200 * 3);
}

// One thread waits without limit while the others go on working; then it is released.
TEST_F(ThreadTest, WaitingBlocksNobodyElse) {
  VkSemaphoreTypeCreateInfo kind = {VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO};
  kind.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
  VkSemaphoreCreateInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
  info.pNext = &kind;
  const auto timeline = Create<VkSemaphore>(device(), vkCreateSemaphore, vkDestroySemaphore, info);
  std::atomic<bool> released = false;
  std::thread waiter([&] {
    const uint64_t value = 1;
    VkSemaphoreWaitInfo wait = {VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
    wait.semaphoreCount = 1;
    wait.pSemaphores = timeline.address();
    wait.pValues = &value;
    EXPECT_EQ(vkWaitSemaphores(device(), &wait, UINT64_MAX), VK_SUCCESS);
    EXPECT_TRUE(released.load());
  });
  for (uint32_t i = 0; i < 50; ++i) {
    const Buffer data = MakeBuffer(gpu(), 64, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    RunCommands(gpu(), [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, data.handle, 0, VK_WHOLE_SIZE, i); });
    EXPECT_EQ(data.As<uint32_t>()[15], i);
  }
  released = true;
  VkSemaphoreSignalInfo signal = {VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO};
  signal.semaphore = timeline;
  signal.value = 1;
  EXPECT_EQ(vkSignalSemaphore(device(), &signal), VK_SUCCESS);
  waiter.join();
}

// Instances of their own in parallel, as a program with several libraries that use Vulkan has.
TEST_F(ThreadTest, InstancesInParallel) {
  InParallel(4, [&](uint32_t thread) {
    Context context;
    const Buffer data = MakeBuffer(context, 64, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    RunCommands(context, [&](VkCommandBuffer commands) {
      vkCmdFillBuffer(commands, data.handle, 0, VK_WHOLE_SIZE, thread + 100);
    });
    EXPECT_EQ(data.As<uint32_t>()[0], thread + 100);
  });
}

}  // namespace
}  // namespace vesper::test
