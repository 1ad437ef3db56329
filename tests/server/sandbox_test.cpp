// What a worker that somebody has taken over can still reach: each attempt runs in a process of its own that has been
// confined as a worker is.
#include "server/sandbox/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "server/sandbox/groups.h"

namespace vesper::server {
namespace {

constexpr uint32_t kUser = 61184;
constexpr int kCannotEnter = 100;

enum Outcome : int { kDenied = 0, kAllowed = 1 };

// The exit status of a confined process that makes `attempt`, which says whether it was allowed.
int Confined(Sandbox sandbox, const std::function<bool()>& attempt) {
  const pid_t child = fork();
  if (child == 0) {
    std::string error;
    const uint32_t user = geteuid() == 0 ? kUser : 0;
    if (!EnterSandbox(sandbox, user, -1, &error) || !SealSandbox(sandbox, &error)) _exit(kCannotEnter);
    _exit(attempt() ? kAllowed : kDenied);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Opens(const char* path, int flags) { return open(path, flags | O_CLOEXEC, 0600) >= 0; }

bool Connects(int family) {
  const int fd = socket(family, SOCK_STREAM, 0);
  if (fd < 0) return false;
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(1);
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // Nobody listens there: with a network, the answer is a refusal.
  return family == AF_UNIX || connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)) == 0 ||
         errno == ECONNREFUSED;
}

// A socket with a name without a file, at which it listens, as CUDA has one; -1 where it may not.
int Listens(sockaddr_un* name, socklen_t* size) {
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  *name = {};
  name->sun_family = AF_UNIX;
  *size = sizeof(sa_family_t);  // the kernel finds a name
  const bool works = fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(name), *size) == 0 && listen(fd, 1) == 0;
  *size = sizeof(*name);
  return works && getsockname(fd, reinterpret_cast<sockaddr*>(name), size) == 0 ? fd : -1;
}

bool ConnectsToItself() {
  sockaddr_un name;
  socklen_t size = 0;
  if (Listens(&name, &size) < 0) return false;
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  return fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&name), size) == 0;
}

struct Attempt {
  const char* name;
  bool (*make)();
};

const Attempt kAttempts[] = {
    {"WriteAFile", [] { return Opens("/tmp/vesper_sandbox_test", O_WRONLY | O_CREAT); }},
    {"WriteToUsr", [] { return Opens("/usr/vesper_sandbox_test", O_WRONLY | O_CREAT); }},
    {"ConnectOverTheNetwork", [] { return Connects(AF_INET); }},
    {"ASocketThatSendsUnconnected", [] { return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0; }},
    {"ConnectToALocalSocket", [] { return ConnectsToItself(); }},
    {"TraceAnother", [] { return ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr) == 0; }},
    {"KillAnother", [] { return kill(getppid(), 0) == 0; }},
    {"StartAProcess", [] { return fork() >= 0; }},
    {"RunAProgram", [] { return execl("/bin/true", "true", nullptr) != -1; }},
    {"Mount", [] { return mount("none", "/mnt", "tmpfs", 0, nullptr) == 0; }},
    {"BecomeRoot", [] { return setuid(0) == 0; }},
};

class Confinement : public testing::Test {
 protected:
  void SetUp() override {
    if (!SandboxWorks()) GTEST_SKIP() << "a build with sanitizers";
    if (Confined(Sandbox::kStrict, [] { return false; }) == kCannotEnter) GTEST_SKIP() << "this kernel has no Landlock";
  }
};

class Attempts : public Confinement, public testing::WithParamInterface<Attempt> {};

TEST_P(Attempts, IsDenied) { EXPECT_EQ(Confined(Sandbox::kStrict, GetParam().make), kDenied); }

INSTANTIATE_TEST_SUITE_P(Sandbox, Attempts, testing::ValuesIn(kAttempts),
                         [](const auto& param_info) { return param_info.param.name; });

TEST_F(Confinement, WhatAWorkerNeedsIsAllowed) {
  EXPECT_EQ(Confined(Sandbox::kStrict, [] { return Opens("/usr", O_RDONLY | O_DIRECTORY); }), kAllowed);
  EXPECT_EQ(Confined(Sandbox::kStrict, [] { return Opens("/dev/null", O_RDWR); }), kAllowed);
}

// NVIDIA's ray tracing starts CUDA, which is refused without a socket of its own.
TEST_F(Confinement, AWorkerMayHaveTheSocketThatCudaWants) {
  for (const Sandbox sandbox : {Sandbox::kDriver, Sandbox::kStrict}) {
    EXPECT_EQ(Confined(sandbox,
                       [] {
                         sockaddr_un name;
                         socklen_t size = 0;
                         return Listens(&name, &size) >= 0;
                       }),
              kAllowed);
  }
}

TEST_F(Confinement, NothingOfTheUsersCanBeRead) {
  EXPECT_EQ(Confined(Sandbox::kStrict, [] { return Opens("/etc/passwd", O_RDONLY); }), kDenied);
  EXPECT_EQ(Confined(Sandbox::kStrict, [] { return Opens("/tmp", O_RDONLY | O_DIRECTORY); }), kDenied);
}

// Control groups, with a folder in place of the kernel's.
class GroupsTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/vesper-groups-XXXXXX";
    folder_ = mkdtemp(pattern);
    Put("cgroup.subtree_control", "");
    for (const char* each : {"supervisor", "worker-3"}) {
      std::filesystem::create_directory(folder_ + "/" + each);
      for (const char* file : {"cgroup.procs", "memory.max", "memory.oom.group", "pids.max"}) {
        Put(std::string(each) + "/" + file, "");
      }
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void Put(const std::string& name, const std::string& text) { std::ofstream(folder_ + "/" + name) << text; }
  std::string Get(const std::string& name) {
    std::ifstream file(folder_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string folder_;
};

TEST_F(GroupsTest, EachWorkerGetsItsOwn) {
  Put("cgroup.controllers", "cpuset pids\n");
  Groups groups;
  std::string error;
  ASSERT_TRUE(groups.Begin(folder_, 5000, &error)) << error;
  EXPECT_EQ(Get("supervisor/cgroup.procs"), std::to_string(getpid())) << "no process may be beside groups";
  EXPECT_EQ(Get("cgroup.subtree_control"), "+pids");
  groups.Enter(3, 4711);
  EXPECT_EQ(Get("worker-3/cgroup.procs"), "4711");
  EXPECT_EQ(Get("worker-3/memory.max"), "5000");
  EXPECT_EQ(Get("worker-3/memory.oom.group"), "1");
  EXPECT_EQ(Get("worker-3/pids.max"), "1024");
  groups.Enter(3, -1);
  EXPECT_EQ(Get("worker-3/cgroup.procs"), "4711") << "nobody was started";
}

TEST_F(GroupsTest, WithoutControllersThereAreNone) {
  Put("cgroup.controllers", "cpuset\n");
  Groups groups;
  std::string error;
  EXPECT_FALSE(groups.Begin(folder_, 0, &error));
  EXPECT_NE(error, "");
  EXPECT_FALSE(groups.used());
  groups.Enter(3, 4711);
  EXPECT_EQ(Get("worker-3/cgroup.procs"), "");
}

TEST(Sandboxes, GoBothWays) {
  for (const Sandbox sandbox : {Sandbox::kOff, Sandbox::kDriver, Sandbox::kStrict}) {
    EXPECT_EQ(SandboxOf(NameOf(sandbox)), sandbox);
  }
  EXPECT_EQ(SandboxOf("none"), std::nullopt);
}

}  // namespace
}  // namespace vesper::server
