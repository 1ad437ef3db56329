// Protects: fences, timelines and idle waits are answered in the client, correctly through resets, resubmits and threads,
// without a round trip.
#include "client/objects/sync.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/client/fixture.h"

namespace vesper::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kMillisecond = 1'000'000;

class SyncTest : public ClientFixture {
 protected:
  VkFence NewFence(VkFenceCreateFlags flags = 0) {
    VkFenceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
    info.flags = flags;
    VkFence fence = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::CreateFence(device(), &info, nullptr, &fence), VK_SUCCESS);
    return fence;
  }
  VkSemaphore NewTimeline(uint64_t value) {
    VkSemaphoreTypeCreateInfo type{};
    type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
    type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
    type.initialValue = value;
    VkSemaphoreCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
    info.pNext = &type;
    VkSemaphore semaphore = VK_NULL_HANDLE;
    EXPECT_EQ(overrides::CreateSemaphore(device(), &info, nullptr, &semaphore), VK_SUCCESS);
    return semaphore;
  }
  VkResult Submit(VkFence fence) { return overrides::QueueSubmit(queue(), 0, nullptr, fence); }
  VkResult SubmitSignal(VkSemaphore semaphore, uint64_t value, VkFence fence = VK_NULL_HANDLE) {
    VkTimelineSemaphoreSubmitInfo values{};
    values.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
    values.signalSemaphoreValueCount = 1;
    values.pSignalSemaphoreValues = &value;
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.pNext = &values;
    info.signalSemaphoreCount = 1;
    info.pSignalSemaphores = &semaphore;
    return overrides::QueueSubmit(queue(), 1, &info, fence);
  }
  VkResult WaitValue(VkSemaphore semaphore, uint64_t value, uint64_t timeout) {
    VkSemaphoreWaitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.semaphoreCount = 1;
    info.pSemaphores = &semaphore;
    info.pValues = &value;
    return overrides::WaitSemaphores(device(), &info, timeout);
  }
  uint64_t ValueOf(VkSemaphore semaphore) {
    uint64_t value = ~uint64_t{0};
    EXPECT_EQ(overrides::GetSemaphoreCounterValue(device(), semaphore, &value), VK_SUCCESS);
    return value;
  }
  // Polls as a program does that never waits.
  bool BecomesSignalled(VkFence fence) {
    const auto end = Clock::now() + seconds(5);
    while (Clock::now() < end) {
      if (overrides::GetFenceStatus(device(), fence) == VK_SUCCESS) return true;
    }
    return false;
  }
};

TEST_F(SyncTest, TenThousandPollsAreNoRoundTripAndSeeTheSignal) {
  const VkFence fence = NewFence();
  ASSERT_EQ(Submit(fence), VK_SUCCESS);
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(overrides::GetFenceStatus(device(), fence), VK_NOT_READY);
  Complete(1);
  EXPECT_TRUE(BecomesSignalled(fence));
  EXPECT_EQ(round_trips(), 0u);
}

TEST_F(SyncTest, ASignalledFenceIsSignalledFromItsCreation) {
  const VkFence fence = NewFence(VK_FENCE_CREATE_SIGNALED_BIT);
  EXPECT_EQ(overrides::GetFenceStatus(device(), fence), VK_SUCCESS);
  ASSERT_EQ(overrides::ResetFences(device(), 1, &fence), VK_SUCCESS);
  EXPECT_EQ(overrides::GetFenceStatus(device(), fence), VK_NOT_READY);
}

TEST_F(SyncTest, ACompletionOfAnEarlierSubmitDoesNotSignalAReusedFence) {
  const VkFence fence = NewFence();
  for (uint64_t serial = 1; serial <= 100; ++serial) {
    ASSERT_EQ(Submit(fence), VK_SUCCESS);
    Complete(serial - 1);  // late news of the last use
    EXPECT_EQ(overrides::WaitForFences(device(), 1, &fence, VK_TRUE, 0), VK_TIMEOUT);
    Complete(serial);
    ASSERT_EQ(overrides::WaitForFences(device(), 1, &fence, VK_TRUE, UINT64_MAX), VK_SUCCESS);
    ASSERT_EQ(overrides::ResetFences(device(), 1, &fence), VK_SUCCESS);
    EXPECT_EQ(overrides::GetFenceStatus(device(), fence), VK_NOT_READY);
  }
  EXPECT_EQ(round_trips(), 0u);
}

TEST_F(SyncTest, WaitsForAnyAndForAll) {
  const VkFence fences[] = {NewFence(), NewFence()};
  ASSERT_EQ(Submit(fences[0]), VK_SUCCESS);
  ASSERT_EQ(Submit(fences[1]), VK_SUCCESS);
  EXPECT_EQ(overrides::WaitForFences(device(), 2, fences, VK_FALSE, kMillisecond), VK_TIMEOUT);
  Complete(1);
  EXPECT_EQ(overrides::WaitForFences(device(), 2, fences, VK_FALSE, UINT64_MAX), VK_SUCCESS);
  EXPECT_EQ(overrides::WaitForFences(device(), 2, fences, VK_TRUE, kMillisecond), VK_TIMEOUT);
  Complete(2);
  EXPECT_EQ(overrides::WaitForFences(device(), 2, fences, VK_TRUE, UINT64_MAX), VK_SUCCESS);
  EXPECT_EQ(round_trips(), 0u);
}

TEST_F(SyncTest, ThreadsWaitWhileOthersSubmit) {
  constexpr uint64_t kFences = 32;
  std::vector<VkFence> fences;
  for (uint64_t i = 0; i < kFences; ++i) fences.push_back(NewFence());
  std::atomic<int> woken{0};
  std::vector<std::thread> waiters;
  for (const VkFence fence : fences) {
    waiters.emplace_back([this, fence, &woken] {
      if (overrides::WaitForFences(device(), 1, &fence, VK_TRUE, UINT64_MAX) == VK_SUCCESS) ++woken;
    });
  }
  for (uint64_t i = 0; i < kFences; ++i) {
    ASSERT_EQ(Submit(fences[i]), VK_SUCCESS);
    Complete(i + 1);
  }
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(woken, static_cast<int>(kFences));
  EXPECT_EQ(round_trips(), 0u);
}

TEST_F(SyncTest, TimelinesFollowSubmitsAndHostSignals) {
  const VkSemaphore timeline = NewTimeline(5);
  EXPECT_EQ(ValueOf(timeline), 5u);
  ASSERT_EQ(SubmitSignal(timeline, 9), VK_SUCCESS);
  EXPECT_EQ(ValueOf(timeline), 5u);
  VkSemaphoreSignalInfo signal{};
  signal.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO;
  signal.semaphore = timeline;
  signal.value = 7;
  ASSERT_EQ(overrides::SignalSemaphore(device(), &signal), VK_SUCCESS);
  EXPECT_EQ(ValueOf(timeline), 7u) << "a host signal is known at once";
  EXPECT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kSignalSemaphore), 1)) << "and sent at once";
  EXPECT_EQ(WaitValue(timeline, 9, kMillisecond), VK_TIMEOUT);
  Complete(1);
  EXPECT_EQ(WaitValue(timeline, 9, UINT64_MAX), VK_SUCCESS);
  EXPECT_EQ(ValueOf(timeline), 9u);
  EXPECT_EQ(round_trips(), 0u);
}

TEST_F(SyncTest, AHostSignalWakesAnotherThreadsWait) {
  const VkSemaphore timeline = NewTimeline(0);
  std::thread waiter([&] { EXPECT_EQ(WaitValue(timeline, 1, UINT64_MAX), VK_SUCCESS); });
  std::this_thread::sleep_for(milliseconds(20));
  VkSemaphoreSignalInfo signal{};
  signal.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO;
  signal.semaphore = timeline;
  signal.value = 1;
  ASSERT_EQ(overrides::SignalSemaphore(device(), &signal), VK_SUCCESS);
  waiter.join();
}

TEST_F(SyncTest, ABatchThatSignalsATimelineIsASubmitOfItsOwn) {
  const VkSemaphore timeline = NewTimeline(0);
  const uint64_t value = 1;
  VkTimelineSemaphoreSubmitInfo values{};
  values.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
  values.signalSemaphoreValueCount = 1;
  values.pSignalSemaphoreValues = &value;
  VkSubmitInfo batches[2]{};
  batches[0].sType = batches[1].sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  batches[0].pNext = &values;
  batches[0].signalSemaphoreCount = 1;
  batches[0].pSignalSemaphores = &timeline;
  const VkFence fence = NewFence();
  ASSERT_EQ(overrides::QueueSubmit(queue(), 2, batches, fence), VK_SUCCESS);
  ASSERT_TRUE(server_.AwaitRecords(static_cast<uint16_t>(Command::kQueueSubmit), 2));
  Complete(1);
  EXPECT_EQ(WaitValue(timeline, 1, UINT64_MAX), VK_SUCCESS) << "though the second batch may wait for the host's answer";
  EXPECT_EQ(overrides::GetFenceStatus(device(), fence), VK_NOT_READY);
  Complete(2);
  EXPECT_EQ(overrides::WaitForFences(device(), 1, &fence, VK_TRUE, UINT64_MAX), VK_SUCCESS);
}

TEST_F(SyncTest, ThousandsOfUnwatchedTimelineSignalsTakeNoMemory) {
  const VkSemaphore timeline = NewTimeline(0);
  for (uint64_t i = 1; i <= 5000; ++i) {
    ASSERT_EQ(SubmitSignal(timeline, i), VK_SUCCESS);
    Complete(i);
    if (i % 500 == 0) {
      ASSERT_EQ(overrides::QueueWaitIdle(queue()), VK_SUCCESS);
    }
  }
  EXPECT_EQ(WaitValue(timeline, 5000, UINT64_MAX), VK_SUCCESS);
  EXPECT_LT(session_.states().Get<TimelineState>(timeline)->pending.capacity(), 5000u);
}

TEST_F(SyncTest, IdleWaitsCoverWhatWasSubmitted) {
  Queue* second = AddQueue();
  EXPECT_EQ(overrides::QueueWaitIdle(queue()), VK_SUCCESS);
  EXPECT_EQ(session_.statistics().waits, 0u);
  ASSERT_EQ(Submit(VK_NULL_HANDLE), VK_SUCCESS);
  ASSERT_EQ(overrides::QueueSubmit(ToHandle<VkQueue>(second), 0, nullptr, VK_NULL_HANDLE), VK_SUCCESS);
  std::thread server([&] {
    std::this_thread::sleep_for(milliseconds(20));
    Complete(1);
    std::this_thread::sleep_for(milliseconds(20));
    server_.Complete(second->header.id, 1);
  });
  EXPECT_EQ(overrides::QueueWaitIdle(queue()), VK_SUCCESS);
  EXPECT_EQ(overrides::DeviceWaitIdle(device()), VK_SUCCESS);
  EXPECT_EQ(second->completed, 1u);
  server.join();
  EXPECT_EQ(round_trips(), 0u);
}

TEST_F(SyncTest, LossEndsEveryWait) {
  const VkFence fence = NewFence();
  const VkSemaphore timeline = NewTimeline(0);
  ASSERT_EQ(Submit(fence), VK_SUCCESS);
  std::vector<std::thread> threads;
  std::atomic<int> lost{0};
  threads.emplace_back(
      [&] { lost += overrides::WaitForFences(device(), 1, &fence, VK_TRUE, UINT64_MAX) == VK_ERROR_DEVICE_LOST; });
  threads.emplace_back([&] { lost += WaitValue(timeline, 1, UINT64_MAX) == VK_ERROR_DEVICE_LOST; });
  threads.emplace_back([&] { lost += overrides::QueueWaitIdle(queue()) == VK_ERROR_DEVICE_LOST; });
  std::this_thread::sleep_for(milliseconds(20));
  server_.Hang();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lost, 3);
  EXPECT_EQ(Submit(fence), VK_ERROR_DEVICE_LOST);
  EXPECT_EQ(overrides::GetFenceStatus(device(), fence), VK_ERROR_DEVICE_LOST);
}

TEST_F(SyncTest, ALostDeviceEndsItsWaits) {
  const VkFence fence = NewFence();
  ASSERT_EQ(Submit(fence), VK_SUCCESS);
  std::thread waiter(
      [&] { EXPECT_EQ(overrides::WaitForFences(device(), 1, &fence, VK_TRUE, UINT64_MAX), VK_ERROR_DEVICE_LOST); });
  std::this_thread::sleep_for(milliseconds(20));
  const wire::DeviceLost event{device_.header.id};
  server_.SendEvent(wire::EventKind::kDeviceLost, &event, sizeof(event));
  waiter.join();
}

}  // namespace
}  // namespace vesper::client
