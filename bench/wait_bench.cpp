// What a submit and the wait for it cost: nothing, little and much work, with a fence and with a timeline semaphore. A plain
// Vulkan program: run it on the driver and through Vesper and compare. VULKAN_TEST_DEVICE is the index of the device.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>

#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

enum class Waiting { kFence, kTimeline };

void SubmitAndWaitByFence(Context& gpu, const VkSubmitInfo& submit, VkFence fence) {
  VK_CHECK(vkQueueSubmit(gpu.queue(), 1, &submit, fence));
  WaitFor(gpu, fence);
  VK_CHECK(vkResetFences(gpu.device(), 1, &fence));
}

void SubmitAndWaitByTimeline(Context& gpu, VkSubmitInfo submit, VkSemaphore timeline, uint64_t value) {
  VkTimelineSemaphoreSubmitInfo values = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  values.signalSemaphoreValueCount = 1;
  values.pSignalSemaphoreValues = &value;
  submit.pNext = &values;
  submit.signalSemaphoreCount = 1;
  submit.pSignalSemaphores = &timeline;
  VK_CHECK(vkQueueSubmit(gpu.queue(), 1, &submit, VK_NULL_HANDLE));
  VkSemaphoreWaitInfo wait = {VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  wait.semaphoreCount = 1;
  wait.pSemaphores = &timeline;
  wait.pValues = &value;
  VK_CHECK(vkWaitSemaphores(gpu.device(), &wait, kWaitNanoseconds));
}

// `fills` times a fill of `size` bytes.
void Round(benchmark::State& state, Context& gpu, Waiting waiting, VkDeviceSize size, int fills) {
  const Buffer buffer = MakeBuffer(gpu, size, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kDevice);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu);
  const VkCommandBuffer commands = AllocateCommands(gpu, pool);
  BeginCommands(commands);
  for (int i = 0; i < fills; ++i) vkCmdFillBuffer(commands, buffer.handle, 0, size, static_cast<uint32_t>(i));
  VK_CHECK(vkEndCommandBuffer(commands));
  VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = fills == 0 ? 0 : 1;
  submit.pCommandBuffers = &commands;

  const Owned<VkFence> fence = MakeFence(gpu);
  const Owned<VkSemaphore> timeline = MakeTimeline(gpu);
  uint64_t value = 0;
  for (auto round : state) {
    static_cast<void>(round);
    if (waiting == Waiting::kFence) {
      SubmitAndWaitByFence(gpu, submit, fence);
    } else {
      SubmitAndWaitByTimeline(gpu, submit, timeline, ++value);
    }
  }
}

void RegisterAll(Context& gpu) {
  constexpr VkDeviceSize kMuch = VkDeviceSize{256} << 20;
  const auto add = [&gpu](const char* name, auto... arguments) {
    benchmark::RegisterBenchmark(name, Round, std::ref(gpu), arguments...)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  };
  add("nothing/fence", Waiting::kFence, 4096, 0);
  add("nothing/timeline", Waiting::kTimeline, 4096, 0);
  add("fill_4k/fence", Waiting::kFence, 4096, 1);
  add("fill_4k/timeline", Waiting::kTimeline, 4096, 1);
  add("fill_2560m/fence", Waiting::kFence, kMuch, 10);
  add("fill_2560m/timeline", Waiting::kTimeline, kMuch, 10);
}

}  // namespace
}  // namespace vesper::test

int main(int argc, char** argv) {
  vesper::test::Context gpu;  // one: a driver may not give a process many instances
  vesper::test::RegisterAll(gpu);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
