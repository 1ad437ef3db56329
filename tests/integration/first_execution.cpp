// The first real work on a GPU, step by step and said aloud: a pattern goes from mapped host memory
// to device memory by a recorded, submitted and awaited copy, and comes back. The exit status says
// whether every step held.
#include <cstdio>
#include <exception>
#include <memory>
#include <vector>

#include "tests/support/vulkan_context.h"
#include "tests/support/vulkan_resources.h"

namespace vesper::test {
namespace {

constexpr VkDeviceSize kBytes = 1 << 20;

class Steps {
 public:
  void Done(const char* what) {
    std::printf("%2d. %s\n", ++number_, what);
    std::fflush(stdout);
  }

 private:
  int number_ = 0;
};

uint32_t Pattern(size_t i) { return static_cast<uint32_t>(i) * 2654435761u ^ 0xc0ffee; }

// Copies `from` to `to` on the GPU and waits for it.
void CopyAndWait(Context& gpu, const Buffer& from, const Buffer& to, Steps& steps) {
  const Owned<VkCommandPool> pool = MakeCommandPool(gpu);
  const VkCommandBuffer commands = AllocateCommands(gpu, pool);
  BeginCommands(commands, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
  const VkBufferCopy whole = {0, 0, kBytes};
  vkCmdCopyBuffer(commands, from.handle, to.handle, 1, &whole);
  FullBarrier(commands);
  VK_CHECK(vkEndCommandBuffer(commands));
  steps.Done("copy recorded");
  const Owned<VkFence> fence = MakeFence(gpu);
  if (vkGetFenceStatus(gpu.device(), fence) != VK_NOT_READY) {
    throw std::runtime_error("a new fence is signalled");
  }
  Submit(gpu, commands, fence);
  steps.Done("submitted with a fence");
  WaitFor(gpu, fence);
  if (vkGetFenceStatus(gpu.device(), fence) != VK_SUCCESS) {
    throw std::runtime_error("the fence was waited for but is not signalled");
  }
  steps.Done("waited; the fence is signalled");
}

size_t CountWrong(const Buffer& buffer) {
  size_t wrong = 0;
  const auto words = buffer.As<uint32_t>();
  for (size_t i = 0; i < words.size(); ++i) wrong += words[i] != Pattern(i) ? 1 : 0;
  return wrong;
}

int RunSteps() {
  Steps steps;
  ContextOptions options;
  options.application_name = "first_execution";
  Context gpu(options);
  std::printf("GPU: %s (Vulkan %u.%u.%u)\n", gpu.properties().deviceName,
              VK_API_VERSION_MAJOR(gpu.properties().apiVersion), VK_API_VERSION_MINOR(gpu.properties().apiVersion),
              VK_API_VERSION_PATCH(gpu.properties().apiVersion));
  steps.Done("instance, device and queue made");
  {
    const Buffer staging = MakeBuffer(gpu, kBytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
    for (size_t i = 0; i < kBytes / 4; ++i) staging.As<uint32_t>()[i] = Pattern(i);
    steps.Done("host-visible staging buffer mapped and filled with a pattern");
    const Buffer local = MakeBuffer(gpu, kBytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                                    Placement::kDevice);
    const Buffer back = MakeBuffer(gpu, kBytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    steps.Done("device-local buffer and read-back buffer made");
    CopyAndWait(gpu, staging, local, steps);
    CopyAndWait(gpu, local, back, steps);
    const size_t wrong = CountWrong(back);
    if (wrong != 0) throw std::runtime_error(std::to_string(wrong) + " words came back wrong");
    steps.Done("read back: every byte as written");
  }
  const uint32_t messages = gpu.Close();
  steps.Done("everything destroyed");
  if (ValidationWanted()) std::printf("validation messages: %u\n", messages);
  if (messages != 0) throw std::runtime_error("the validation layer complained");
  return 0;
}

}  // namespace
}  // namespace vesper::test

int main() {
  try {
    const int status = vesper::test::RunSteps();
    std::printf("PASS\n");
    return status;
  } catch (const std::exception& error) {
    std::printf("FAIL: %s\n", error.what());
    return 1;
  }
}
