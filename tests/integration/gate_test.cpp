// One thread's compilation does not hold up another's frames. The server runs under tests/support/gate_layer, which holds
// vkCreateComputePipelines back until the test has rendered all it wants: order is asserted, not time.
#include <gtest/gtest.h>
#include <unistd.h>

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

class GateTest : public testing::Test {};

TEST_F(GateTest, FramesGoOnWhileAPipelineCompiles) {
  const char* gate = std::getenv("VESPER_TEST_GATE");
  ASSERT_NE(gate, nullptr);
  unlink(gate);
  Context gpu;
  const Buffer target = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const Buffer numbers = MakeBuffer(gpu, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  std::atomic<bool> compiled{false};
  std::thread compiler([&] {
    const Buffer* buffers[] = {&numbers};
    const Kernel kernel = MakeKernel(gpu, increment_comp, buffers);
    compiled = true;
  });
  constexpr uint32_t kFrames = 200;
  for (uint32_t frame = 1; frame <= kFrames; ++frame) {
    RunCommands(gpu, [&](VkCommandBuffer commands) {
      vkCmdFillBuffer(commands, target.handle, 0, VK_WHOLE_SIZE, frame);
      FullBarrier(commands);
    });
    ASSERT_EQ(target.As<uint32_t>()[7], frame);
  }
  EXPECT_FALSE(compiled) << "the compilation was not held back: the test proves nothing";
  std::ofstream(gate) << "open\n";
  compiler.join();
  EXPECT_TRUE(compiled);
  unlink(gate);
}

}  // namespace
}  // namespace vesper::test
