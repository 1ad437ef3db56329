// Clients that are killed, stopped, forked or never served: the server and the other clients do not care, and a forked
// child can do nothing wrong.
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include "shaders/mix_comp.h"
#include "tests/integration/failure.h"
#include "tests/support/vulkan_pipelines.h"

namespace vesper::test {
namespace {

// A client process that says when it is ready: forked before this process uses Vulkan, killed at the end.
class ClientProcess {
 public:
  // `body` gets what writes one number to the test.
  using Say = std::function<void(long)>;
  explicit ClientProcess(const std::function<int(const Say&)>& body) {
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error("no pipe");
    pid_ = fork();
    if (pid_ == 0) {
      const Say say = [&](long number) {
        if (write(ends[1], &number, sizeof(number)) != sizeof(number)) _exit(98);
      };
      RunAsChild([&] { return body(say); });
    }
    close(ends[1]);
    ready_ = ends[0];
  }
  ~ClientProcess() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    Wait();
    close(ready_);
  }
  pid_t pid() const { return pid_; }
  // What it says, -1 when it has ended.
  long Hear() {
    long number = 0;
    return read(ready_, &number, sizeof(number)) == sizeof(number) ? number : -1;
  }
  // Its exit status, as a shell counts it.
  int Wait() {
    if (pid_ > 0) waitpid(std::exchange(pid_, 0), &status_, 0);
    return StatusOf(status_);
  }

 private:
  pid_t pid_ = 0;
  int ready_ = -1;
  int status_ = -1;
};

size_t OpenSockets() {
  size_t sockets = 0;
  for (int fd = 0; fd < 256; ++fd) {
    char target[64] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    if (readlink(link.c_str(), target, sizeof(target) - 1) > 0 && std::string(target).starts_with("socket:")) ++sockets;
  }
  return sockets;
}

void WorkForEver(Context& context) {
  const Buffer buffer = MakeBuffer(context, 1 << 20, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  for (uint32_t i = 0;; ++i) {
    buffer.As<uint32_t>()[i % 1000] = i;
    RunCommands(context, [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle, 4096, 4096, i); });
  }
}

class ClientEndTest : public FailureTest {};

TEST_P(ClientEndTest, AKilledClientLeavesNothing) {
  Start();
  const size_t spares = 2;
  for (int round = 0; round < 3; ++round) {
    ClientProcess child([&](const ClientProcess::Say& say) {
      Context context;
      std::thread worker([&] { WorkForEver(context); });
      std::this_thread::sleep_for(milliseconds(100));
      say(1);
      worker.join();
      return 0;
    });
    ASSERT_EQ(child.Hear(), 1);
    ASSERT_EQ(Workers().size(), 1u);
    kill(child.pid(), SIGKILL);
    EXPECT_EQ(child.Wait(), 128 + SIGKILL);
    EXPECT_TRUE(Within(milliseconds(5000), [&] { return Workers().empty(); }));
  }
  EXPECT_TRUE(LogSays("ended: the connection"));
  EXPECT_TRUE(Within(milliseconds(3000), [&] { return ChildrenOf(server().pid()).size() <= spares; }));
  ExpectServing();
}

// Drivers compile on threads of their own once the work begins; the worker ends in the midst of that.
void SubmitManyShaders(Context& context, uint32_t seed) {
  const Buffer buffer = MakeBuffer(context, 4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, Placement::kHost);
  const Buffer* buffers[] = {&buffer, &buffer};
  std::vector<Kernel> kernels;
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t scale = 8 * seed + i;
    const VkSpecializationMapEntry entry = {0, 0, sizeof(scale)};
    const VkSpecializationInfo constants = {1, &entry, sizeof(scale), &scale};
    kernels.push_back(MakeKernel(context, mix_comp, buffers, 2 * sizeof(uint32_t), &constants));
  }
  RunCommands(context, [&](VkCommandBuffer commands) {
    constexpr uint32_t kPush[] = {1, 64};
    for (const Kernel& kernel : kernels) {
      kernel.Bind(commands);
      vkCmdPushConstants(commands, kernel.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(kPush), kPush);
      vkCmdDispatch(commands, 1, 1, 1);
    }
  });
}

TEST_P(ClientEndTest, AWorkerEndsWhileItsDriverWorks) {
  constexpr uint32_t kRounds = 16;
  Start();
  for (uint32_t round = 0; round < kRounds; ++round) {
    ClientProcess child([&](const ClientProcess::Say& say) {
      Context context;
      std::thread worker([&] {
        for (uint32_t i = 0;; ++i) SubmitManyShaders(context, kRounds * i + round);
      });
      say(1);
      worker.join();
      return 0;
    });
    ASSERT_EQ(child.Hear(), 1);
    std::this_thread::sleep_for(milliseconds(20 + 3 * round));
    kill(child.pid(), SIGKILL);
    child.Wait();
  }
  const auto count = [&](const std::string& text) {
    const std::string said = server().Output();
    size_t found = 0;
    for (size_t at = said.find(text); at != std::string::npos; at = said.find(text, at + 1)) ++found;
    return found;
  };
  EXPECT_TRUE(Within(milliseconds(20000), [&] { return count(" ended with ") == kRounds; }));
  EXPECT_EQ(count("ended with exit status 0"), kRounds) << server().Output();
}

// The child holds the socket and runs none of our handlers: only the process itself tells that the client is gone.
TEST_P(ClientEndTest, AKilledClientWithASilentChildIsNoticed) {
  if (std::string(GetParam()) != "unix") GTEST_SKIP() << "no process to watch";
  Start();
  ClientProcess child([&](const ClientProcess::Say& say) {
    Context context;
    // Not fork(): that would run handlers, which close the socket.
    const long silent = syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (silent != 0) say(silent);
    alarm(20);
    while (true) pause();
    return 0;
  });
  const auto silent = static_cast<pid_t>(child.Hear());
  ASSERT_GT(silent, 0);
  ASSERT_EQ(Workers().size(), 1u);
  kill(child.pid(), SIGKILL);
  child.Wait();
  EXPECT_TRUE(Within(milliseconds(5000), [&] { return Workers().empty(); }));
  EXPECT_TRUE(IsAlive(silent)) << "it was to outlive its parent";
  kill(silent, SIGKILL);
}

// A client in a debugger, or sent to the background.
TEST_P(ClientEndTest, AStoppedClientKeepsItsSession) {
  setenv("VESPER_GRACE", "1", 1);
  Start();
  ClientProcess child([&](const ClientProcess::Say& say) {
    Context context;
    say(1);
    std::this_thread::sleep_for(milliseconds(200));
    const Buffer buffer = MakeBuffer(context, 4096, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
    for (uint32_t i = 0; i < 100; ++i) {
      RunCommands(context, [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle, 0, 4096, i); });
      if (buffer.As<uint32_t>()[7] != i) return 1;
      std::this_thread::sleep_for(milliseconds(5));
    }
    return 0;
  });
  ASSERT_EQ(child.Hear(), 1);
  std::this_thread::sleep_for(milliseconds(250));
  kill(child.pid(), SIGSTOP);
  std::this_thread::sleep_for(milliseconds(2500));  // beyond the grace period
  kill(child.pid(), SIGCONT);
  EXPECT_EQ(child.Wait(), 0);
}

TEST_P(ClientEndTest, AForkedChildsSessionIsLostAndAFreshInstanceWorks) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer knows no threads after a fork of several";
#endif
  setenv("VESPER_MEMORY", "memcmp", 1);  // a child has zeros in place of shared memory
  Start();
  Context context;
  const Buffer buffer = MakeBuffer(context, 65536, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
  const Owned<VkFence> fence = MakeFence(context);
  const Owned<VkCommandPool> pool = MakeCommandPool(context);
  buffer.As<uint32_t>()[5] = 55;
  EXPECT_EQ(InForkedChild([&] {
              if (OpenSockets() != 0) return 1;
              if (vkDeviceWaitIdle(context.device()) != VK_ERROR_DEVICE_LOST) return 2;
              if (vkWaitForFences(context.device(), 1, fence.address(), VK_TRUE, UINT64_MAX) != VK_ERROR_DEVICE_LOST)
                return 3;
              if (vkGetFenceStatus(context.device(), fence) != VK_ERROR_DEVICE_LOST) return 4;
              if (vkQueueSubmit(context.queue(), 0, nullptr, VK_NULL_HANDLE) != VK_ERROR_DEVICE_LOST) return 5;
              if (buffer.As<uint32_t>()[5] != 55) return 6;  // what the parent mapped can be read
              Context fresh;
              RunCommands(fresh, [](VkCommandBuffer) {});
              fresh.Close();
              context.Close();  // destroys what is inherited
              return 0;
            }),
            0);
  RunCommands(context,
              [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle, 0, VK_WHOLE_SIZE, 77); });
  EXPECT_EQ(buffer.As<uint32_t>()[5], 77u);
}

// Whatever locks threads of the parent hold at the moment of the fork, the child does not wait for them.
TEST_P(ClientEndTest, AChildIsForkedWhileThreadsWork) {
  Start();
  Context context;
  std::atomic<bool> done = false;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      const Buffer buffer = MakeBuffer(context, 65536, VK_BUFFER_USAGE_TRANSFER_DST_BIT, Placement::kHost);
      for (uint32_t i = 0; !done; ++i) {
        buffer.As<uint32_t>()[i % 100 + 4000] = i;
        RunCommands(context, [&](VkCommandBuffer commands) { vkCmdFillBuffer(commands, buffer.handle, 0, 4096, i); });
        EXPECT_EQ(buffer.As<uint32_t>()[1000], i);
      }
    });
  }
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(InForkedChild([&] {
                if (vkQueueSubmit(context.queue(), 0, nullptr, VK_NULL_HANDLE) != VK_ERROR_DEVICE_LOST) return 1;
                VkFence fence = VK_NULL_HANDLE;
                VkFenceCreateInfo info = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
                if (vkCreateFence(context.device(), &info, nullptr, &fence) == VK_SUCCESS) {
                  vkDestroyFence(context.device(), fence, nullptr);
                }
                return 0;
              }),
              0);
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

// exit() runs destructors and handlers of libraries, in a child whose session belongs to its parent.
TEST_P(ClientEndTest, AForkedChildMayExit) {
  Start();
  Context context;
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    std::exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(StatusOf(status), 0);
  RunCommands(context, [](VkCommandBuffer) {});
  EXPECT_EQ(Workers().size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Transports, ClientEndTest, testing::Values("unix", "tcp"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace vesper::test
