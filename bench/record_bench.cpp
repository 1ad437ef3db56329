// What recording costs the program, and until the server has recorded as well; and what a question costs. A plain Vulkan
// program: run it on the driver and through Vesper and compare. VULKAN_TEST_DEVICE is the index of the device.
#include <benchmark/benchmark.h>

#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

constexpr int kCommands = 10000;

// 10,000 buffer barriers. `drained`: an empty submit and the wait for it end each round, so that all that was recorded has been.
void Record(benchmark::State& state, Context& gpu, bool drained) {
  const Buffer buffer = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kDevice);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu);
  const VkCommandBuffer commands = AllocateCommands(gpu, pool);
  const Owned<VkFence> fence = MakeFence(gpu);
  VkBufferMemoryBarrier barrier = {VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER};
  barrier.buffer = buffer.handle;
  barrier.size = VK_WHOLE_SIZE;
  barrier.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT;
  barrier.srcQueueFamilyIndex = barrier.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  for (auto round : state) {
    static_cast<void>(round);
    BeginCommands(commands);
    for (int i = 0; i < kCommands; ++i) {
      vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 0, nullptr, 1,
                           &barrier, 0, nullptr);
    }
    VK_CHECK(vkEndCommandBuffer(commands));
    if (!drained) state.PauseTiming();
    VK_CHECK(vkQueueSubmit(gpu.queue(), 0, nullptr, fence));
    WaitFor(gpu, fence);
    VK_CHECK(vkResetFences(gpu.device(), 1, fence.address()));
    if (!drained) state.ResumeTiming();
  }
  state.counters["ns_per_command"] =
      benchmark::Counter(kCommands * 1e-9, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

// The results of a query that has ended, which the program asks for again and again.
void Question(benchmark::State& state, Context& gpu) {
  VkQueryPoolCreateInfo info = {VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_OCCLUSION;
  info.queryCount = 1;
  const auto queries = Create<VkQueryPool>(gpu.device(), vkCreateQueryPool, vkDestroyQueryPool, info);
  RunCommands(gpu, [&](VkCommandBuffer commands) {
    vkCmdResetQueryPool(commands, queries, 0, 1);
    vkCmdBeginQuery(commands, queries, 0, 0);
    vkCmdEndQuery(commands, queries, 0);
  });
  for (auto round : state) {
    static_cast<void>(round);
    uint64_t result = 0;
    VK_CHECK(vkGetQueryPoolResults(gpu.device(), queries, 0, 1, sizeof(result), &result, sizeof(result),
                                   VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
  }
}

}  // namespace
}  // namespace vesper::test

int main(int argc, char** argv) {
  vesper::test::Context gpu;  // one: a driver may not give a process many instances
  const auto add = [&gpu](const char* name, auto function, auto... arguments) {
    benchmark::RegisterBenchmark(name, function, std::ref(gpu), arguments...)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  };
  add("record_10k_barriers/program", vesper::test::Record, false);
  add("record_10k_barriers/drained", vesper::test::Record, true);
  add("question/query_results", vesper::test::Question);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
