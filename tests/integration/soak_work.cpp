#include "tests/integration/soak_work.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "shaders/increment_comp.h"
#include "tests/support/vulkan_pipelines.h"

namespace vesper::test {

void WorkOnce(std::mt19937* random) {
  Context context;
  const size_t words = 1024 + (*random)() % 65536;
  const Buffer data = MakeBuffer(
      context, words * 4, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT, Placement::kHost);
  const Buffer copy = MakeBuffer(context, words * 4, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const Buffer* buffers[] = {&data};
  const Kernel kernel = MakeKernel(context, increment_comp, buffers);
  std::vector<uint32_t> expected(words);
  for (uint32_t& word : expected) word = static_cast<uint32_t>((*random)());
  std::copy(expected.begin(), expected.end(), data.As<uint32_t>().begin());
  for (uint32_t round = 0; round < 10; ++round) {
    RunCommands(context, [&](VkCommandBuffer commands) {
      kernel.Bind(commands);
      vkCmdDispatch(commands, 1, 1, 1);  // adds one to the first 64
      FullBarrier(commands);
      const VkBufferCopy region = {0, 0, words * 4};
      vkCmdCopyBuffer(commands, data.handle, copy.handle, 1, &region);
    });
    for (size_t i = 0; i < 64; ++i) ++expected[i];
    const auto result = copy.As<uint32_t>();
    if (!std::equal(expected.begin(), expected.end(), result.begin())) throw std::logic_error("a wrong result");
    const size_t at = 64 + (*random)() % (words - 64);
    expected[at] = data.As<uint32_t>()[at] = round;
  }
}

}  // namespace vesper::test
