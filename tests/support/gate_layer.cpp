// A Vulkan layer for the server's side of tests: vkCreateComputePipelines and vkCreateQueryPool
// wait until the file $VESPER_TEST_GATE exists, as a driver that takes as long as the test wants.
// Gives up after a minute, so that no test can hang. Pipelines that are not to be optimized are refused.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/support/layer.h"

namespace vesper::test::layer {
namespace {

void PassTheGate() {
  const char* gate = std::getenv("VESPER_TEST_GATE");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (gate != nullptr && access(gate, F_OK) != 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

VKAPI_ATTR VkResult VKAPI_CALL CreateComputePipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                                      const VkComputePipelineCreateInfo* infos,
                                                      const VkAllocationCallbacks* allocator, VkPipeline* pipelines) {
  PassTheGate();
  for (uint32_t i = 0; i < count; ++i) {  // as a driver that does not like what it gets
    if ((infos[i].flags & VK_PIPELINE_CREATE_DISABLE_OPTIMIZATION_BIT) == 0) continue;
    std::fill_n(pipelines, count, nullptr);
    return VK_ERROR_UNKNOWN;
  }
  return NextOfDevice<PFN_vkCreateComputePipelines>(device, "vkCreateComputePipelines")(device, cache, count, infos,
                                                                                        allocator, pipelines);
}

VKAPI_ATTR VkResult VKAPI_CALL CreateQueryPool(VkDevice device, const VkQueryPoolCreateInfo* info,
                                               const VkAllocationCallbacks* allocator, VkQueryPool* pool) {
  PassTheGate();
  return NextOfDevice<PFN_vkCreateQueryPool>(device, "vkCreateQueryPool")(device, info, allocator, pool);
}

}  // namespace

std::span<const Named> OwnFunctions() {
  static const std::array all = {Name("vkCreateComputePipelines", CreateComputePipelines),
                                 Name("vkCreateQueryPool", CreateQueryPool)};
  return all;
}

}  // namespace vesper::test::layer

VESPER_TEST_LAYER
