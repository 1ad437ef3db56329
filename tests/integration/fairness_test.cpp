// How a server's time is shared between clients at once: how often each comes to its result, printed. Runs with `ctest -C soak`;
// VESPER_SOAK_SECONDS says for how long each time (10).
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "tests/integration/failure.h"
#include "tests/support/vulkan_pipelines.h"

namespace vesper::test {
namespace {

std::chrono::seconds Duration() {
  const char* text = std::getenv("VESPER_SOAK_SECONDS");
  return std::chrono::seconds(text == nullptr ? 10 : std::max(1, std::atoi(text)));
}

// Submits of so many copies of 1 MiB each, one after the other; how many ended by then.
uint32_t Rounds(uint32_t copies, Clock::time_point until) {
  Context context;
  constexpr VkDeviceSize kBytes = 1 << 20;
  const VkBufferUsageFlags usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  const Buffer from = MakeBuffer(context, kBytes, usage, Placement::kDevice);
  const Buffer to = MakeBuffer(context, kBytes, usage, Placement::kDevice);
  const VkBufferCopy all = {0, 0, kBytes};
  uint32_t rounds = 0;
  for (; Clock::now() < until; ++rounds) {
    RunCommands(context, [&](VkCommandBuffer commands) {
      for (uint32_t i = 0; i < copies; ++i) {
        vkCmdCopyBuffer(commands, from.handle, to.handle, 1, &all);
        FullBarrier(commands);
      }
    });
  }
  return rounds;
}

// What clients with so many copies in each submit come to beside each other.
std::vector<uint32_t> AtOnce(const std::vector<uint32_t>& copies) {
  const auto until = Clock::now() + Duration();
  std::vector<std::pair<pid_t, int>> clients;
  for (const uint32_t each : copies) {
    int ends[2];
    if (pipe(ends) != 0) return {};
    const pid_t pid = fork();
    if (pid == 0) {
      const uint32_t rounds = Rounds(each, until);
      _exit(write(ends[1], &rounds, sizeof(rounds)) == sizeof(rounds) ? 0 : 1);
    }
    close(ends[1]);
    clients.emplace_back(pid, ends[0]);
  }
  std::vector<uint32_t> came;
  for (const auto& [pid, end] : clients) {
    uint32_t rounds = 0;
    if (read(end, &rounds, sizeof(rounds)) != sizeof(rounds)) rounds = 0;
    close(end);
    waitpid(pid, nullptr, 0);
    came.push_back(rounds);
  }
  return came;
}

class FairnessTest : public FailureTest {};

TEST_P(FairnessTest, NobodyIsLeftBehind) {
  Start();
  const std::vector<uint32_t> equal = AtOnce({4, 4, 4, 4});
  ASSERT_EQ(equal.size(), 4u);
  const auto least = std::min_element(equal.begin(), equal.end());
  std::printf("four equal clients: %u %u %u %u submits\n", equal[0], equal[1], equal[2], equal[3]);
  EXPECT_GT(*least, 0u);
  const std::vector<uint32_t> alone = AtOnce({4}), beside = AtOnce({4, 400, 400, 400});
  ASSERT_EQ(beside.size(), 4u);
  std::printf("a client alone: %u submits; beside three whose submits are a hundred times as long: %u (%u %u %u)\n",
              alone[0], beside[0], beside[1], beside[2], beside[3]);
  EXPECT_GT(beside[0], 0u) << "its submits wait behind those of others";
}

INSTANTIATE_TEST_SUITE_P(Transports, FairnessTest, testing::Values("unix", "tcp"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vesper::test
