// What the failure tests share: a server per test, this process as its client, and a look at what is left afterwards.
#pragma once

#include <gtest/gtest.h>
#include <vulkan/vulkan.h>

#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/remote_server.h"
#include "tests/support/vulkan_resources.h"

namespace vesper::test {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Everything blocked notices a death within this.
inline constexpr milliseconds kNoticed{1000};

// Waits until `done`; false when it is not in time.
bool Within(milliseconds time, const std::function<bool()>& done);

// Runs a thread whose result the test waits for, but not for ever: a hang is a failure, not a timeout of the whole test.
class Watched {
 public:
  explicit Watched(std::function<VkResult()> work);
  ~Watched();  // ends the process when the thread still runs: its failure is known by then
  // The result, or VK_RESULT_MAX_ENUM when it does not come within `time`.
  VkResult Result(milliseconds time);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

class FailureTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Starts the server, and makes this process its client. Before the first Vulkan call of the test.
  void Start(RemoteServer::Options options = {});
  RemoteServer& server() { return *server_; }
  std::string address() const;

  // Processes of the server's sessions, without the spare; in the order of their sessions.
  std::vector<pid_t> Workers();
  // The server serves on: a new instance works.
  void ExpectServing();
  bool LogSays(const std::string& text, milliseconds time = milliseconds(3000));

  // A command buffer that waits for an event that nobody sets, submitted with `fence`.
  void SubmitEndless(Context& context, VkCommandPool pool, VkEvent event, VkFence fence);

 private:
  std::unique_ptr<RemoteServer> server_;
};

// What waitpid() gave, as a shell counts it.
int StatusOf(int status);
// The rest of a forked process, which never runs for long.
[[noreturn]] void RunAsChild(const std::function<int()>& body);
// Runs `body` in a forked process; its exit status.
int InForkedChild(const std::function<int()>& body);

// Number of open descriptors of a process.
size_t DescriptorsOf(pid_t pid);
// Children of a process, living or not reaped.
std::set<pid_t> ChildrenOf(pid_t pid);
bool IsAlive(pid_t pid);  // and no zombie

}  // namespace vesper::test
