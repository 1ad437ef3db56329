#include "tests/integration/failure.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>

namespace vesper::test {

namespace fs = std::filesystem;

bool Within(milliseconds time, const std::function<bool()>& done) {
  const auto deadline = Clock::now() + time;
  while (!done()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

struct Watched::Shared {
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  VkResult result = VK_RESULT_MAX_ENUM;
};

Watched::Watched(std::function<VkResult()> work) : shared_(std::make_shared<Shared>()) {
  thread_ = std::thread([shared = shared_, work = std::move(work)] {
    const VkResult result = work();
    const std::lock_guard lock(shared->mutex);
    shared->result = result;
    shared->done = true;
    shared->ended.notify_all();
  });
}

Watched::~Watched() {
  {
    std::unique_lock lock(shared_->mutex);
    if (!shared_->ended.wait_for(lock, std::chrono::seconds(20), [this] { return shared_->done; })) {
      std::fprintf(stderr, "a call of Vulkan hangs\n");
      std::_Exit(1);
    }
  }
  thread_.join();
}

VkResult Watched::Result(milliseconds time) {
  std::unique_lock lock(shared_->mutex);
  shared_->ended.wait_for(lock, time, [this] { return shared_->done; });
  return shared_->result;
}

void FailureTest::SetUp() {
  setenv("VESPER_LOG", "info", 1);
  if (std::string(GetParam()) == "vsock" && !HasVsockLoopback()) {
    GTEST_SKIP() << "no vsock from this machine to itself; scripts/guest --vsock has one";
  }
}

void FailureTest::TearDown() {
  if (server_ == nullptr) return;
  const pid_t supervisor = server_->pid();
  if (supervisor > 0) {
    EXPECT_TRUE(Within(milliseconds(15000), [&] { return Workers().empty(); })) << "workers of ended sessions are left";
    EXPECT_EQ(server_->Stop(), 0);
  }
  if (HasFailure()) std::fprintf(stderr, "---- the server:\n%s", server_->Output().c_str());
}

void FailureTest::Start(RemoteServer::Options options) {
  auto& arguments = options.arguments;
  arguments.insert(arguments.end(), {"--log-level", "debug"});
  // A client that is killed is waited for as well.
  if (std::find(arguments.begin(), arguments.end(), "--resume-for") == arguments.end()) {
    arguments.insert(arguments.end(), {"--resume-for", "1"});
  }
  options.tls = std::string(GetParam()) == "tls";
  options.vsock = std::string(GetParam()) == "vsock";
  std::string error;
  server_ = RemoteServer::Start(options, &error);
  ASSERT_NE(server_, nullptr) << error;
  for (const auto& [name, value] : server_->ClientEnvironment(address())) setenv(name.c_str(), value.c_str(), 1);
}

std::string FailureTest::address() const {
  const std::string transport = GetParam();
  if (server_ == nullptr) return {};
  if (transport == "tls") return server_->tls_address();
  if (transport == "vsock") return server_->vsock_address();
  return transport == "unix" ? server_->unix_address() : server_->tcp_address();
}

std::vector<pid_t> FailureTest::Workers() {
  std::istringstream log(server_->Output());
  std::vector<pid_t> workers;
  for (std::string line; std::getline(log, line);) {  // "… session 7: worker 4711"
    const size_t at = line.find("session ");
    pid_t pid = 0;
    int end = 0;
    if (at == std::string::npos || std::sscanf(line.c_str() + at, "session %*d: worker %d%n", &pid, &end) != 1)
      continue;
    if (line[at + static_cast<size_t>(end)] == '\0' && IsAlive(pid)) workers.push_back(pid);
  }
  return workers;
}

void FailureTest::ExpectServing() {
  Context context;
  const Owned<VkFence> fence = MakeFence(context, VK_FENCE_CREATE_SIGNALED_BIT);
  EXPECT_EQ(vkGetFenceStatus(context.device(), fence), VK_SUCCESS);
}

bool FailureTest::LogSays(const std::string& text, milliseconds time) {
  return Within(time, [&] { return server_->Output().find(text) != std::string::npos; });
}

void FailureTest::SubmitEndless(Context& context, VkCommandPool pool, VkEvent event, VkFence fence) {
  const VkCommandBuffer commands = AllocateCommands(context, pool);
  BeginCommands(commands);
  vkCmdWaitEvents(commands, 1, &event, VK_PIPELINE_STAGE_HOST_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, nullptr, 0,
                  nullptr, 0, nullptr);
  VK_CHECK(vkEndCommandBuffer(commands));
  Submit(context, commands, fence);
}

int StatusOf(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

void RunAsChild(const std::function<int()>& body) {
  alarm(30);
  int status = 99;
  try {
    status = body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child: %s\n", error.what());
  }
  _exit(status);
}

int InForkedChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) RunAsChild(body);
  int status = -1;
  waitpid(child, &status, 0);
  return StatusOf(status);
}

size_t DescriptorsOf(pid_t pid) {
  std::error_code gone;
  const fs::directory_iterator entries("/proc/" + std::to_string(pid) + "/fd", gone);
  return gone ? 0 : static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

std::set<pid_t> ChildrenOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
  std::set<pid_t> children;
  for (pid_t child; file >> child;) children.insert(child);
  return children;
}

bool IsAlive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(')');
  return name_end != std::string::npos && name_end + 2 < text.size() && text[name_end + 2] != 'Z';
}

}  // namespace vesper::test
