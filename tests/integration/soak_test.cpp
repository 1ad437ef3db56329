// Hours in minutes: eight clients at once, one of them killed over and over. No result is wrong, and the server ends as it
// began. Runs with `ctest -C soak`; VESPER_SOAK_SECONDS says for how long (300).
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <random>

#include "tests/integration/failure.h"
#include "tests/integration/soak_work.h"

namespace vesper::test {
namespace {

constexpr int kClients = 8;

std::chrono::seconds Duration() {
  const char* text = std::getenv("VESPER_SOAK_SECONDS");
  return std::chrono::seconds(text == nullptr ? 300 : std::max(1, std::atoi(text)));
}

// Resident memory in KiB.
size_t ResidentOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmRSS:")) return std::strtoul(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

// 0 at the end of its time; 1 after a wrong result or an error.
int RunClient(unsigned seed, Clock::time_point until) {
  std::mt19937 random(seed);
  try {
    while (Clock::now() < until) WorkOnce(&random);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "client %u: %s\n", seed, error.what());
    return 1;
  }
}

pid_t StartClient(unsigned seed, Clock::time_point until) {
  const pid_t pid = fork();
  if (pid == 0) _exit(RunClient(seed, until));
  return pid;
}

class SoakTest : public FailureTest {};

TEST_P(SoakTest, TheServerEndsAsItBegan) {
  Start();
  const pid_t supervisor = server().pid();
  // What the first clients bring into memory stays.
  const pid_t first = StartClient(1000, Clock::now() + std::chrono::seconds(1));
  int status = -1;
  ASSERT_EQ(waitpid(first, &status, 0), first);
  ASSERT_EQ(status, 0);
  ASSERT_TRUE(Within(milliseconds(15000), [&] { return Workers().empty() && ChildrenOf(supervisor).size() == 1; }));
  const size_t memory = ResidentOf(supervisor);
  const size_t descriptors = DescriptorsOf(supervisor);

  const auto until = Clock::now() + Duration();
  std::vector<pid_t> clients;
  for (unsigned i = 0; i < kClients; ++i) clients.push_back(StartClient(i, until));
  std::mt19937 random(7);
  unsigned killed = 0;
  while (Clock::now() + std::chrono::seconds(1) < until) {
    std::this_thread::sleep_for(milliseconds(100 + random() % 900));
    kill(clients[0], SIGKILL);
    waitpid(clients[0], &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it ended by itself with " << status;
    clients[0] = StartClient(10'000 + ++killed, until);
  }
  for (const pid_t client : clients) {
    waitpid(client, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_TRUE(Within(milliseconds(15000), [&] { return Workers().empty() && ChildrenOf(supervisor).size() == 1; }));
  EXPECT_LE(DescriptorsOf(supervisor), descriptors);
  EXPECT_LE(ResidentOf(supervisor), memory + 1024) << "KiB, of " << memory;
  std::printf("%u clients killed; supervisor: %zu KiB and %zu descriptors before, %zu and %zu after\n", killed, memory,
              descriptors, ResidentOf(supervisor), DescriptorsOf(supervisor));
}

INSTANTIATE_TEST_SUITE_P(Transports, SoakTest, testing::Values("unix", "tcp", "tls"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace vesper::test
