// What a small submit and the wait for it cost while much memory is mapped that the GPU might write: none, one storage buffer of
// 64 MiB, and 300 of 64 KiB. The submit fills 4 KiB of another mapped buffer. Run it on the driver and through Vesper.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

constexpr VkDeviceSize kWritten = 4096;
constexpr VkBufferUsageFlags kUsage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

void Round(benchmark::State& state, Context& gpu, size_t count, VkDeviceSize size) {
  std::vector<Buffer> others;
  for (size_t i = 0; i < count; ++i) others.push_back(MakeBuffer(gpu, size, kUsage, Placement::kHost));
  for (const Buffer& other : others) {
    for (VkDeviceSize at = 0; at < size; at += 4096) other.As<uint8_t>()[at] = 1;
  }
  const Buffer written = MakeBuffer(gpu, kWritten, kUsage, Placement::kHost);
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu);
  const VkCommandBuffer commands = AllocateCommands(gpu, pool);
  const Owned<VkFence> fence = MakeFence(gpu);
  const VkFence waited = fence;
  uint32_t value = 0;
  for (auto round : state) {
    static_cast<void>(round);
    BeginCommands(commands);
    vkCmdFillBuffer(commands, written.handle, 0, kWritten, ++value);
    FullBarrier(commands);
    VK_CHECK(vkEndCommandBuffer(commands));
    Submit(gpu, commands, fence);
    WaitFor(gpu, fence);
    VK_CHECK(vkResetFences(gpu.device(), 1, &waited));
    for (const uint32_t word : written.As<uint32_t>()) {
      if (word != value) return state.SkipWithError("what was written is not there");
    }
  }
}

void RegisterAll(Context& gpu) {
  const auto add = [&gpu](const char* name, size_t count, VkDeviceSize size) {
    benchmark::RegisterBenchmark(name, Round, std::ref(gpu), count, size)->UseRealTime()->Unit(benchmark::kMicrosecond);
  };
  add("nothing_else", 0, 0);
  add("one_of_64m", 1, VkDeviceSize{64} << 20);
  add("300_of_64k", 300, 64 * 1024);
}

}  // namespace
}  // namespace vesper::test

int main(int argc, char** argv) {
  vesper::test::Context gpu;
  vesper::test::RegisterAll(gpu);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
