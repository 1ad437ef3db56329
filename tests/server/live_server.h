// The real vesper-server as a process, for tests of what it does with clients and strangers.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "generated/vk/commands.h"
#include "runtime/address.h"
#include "runtime/descriptor.h"
#include "runtime/handshake.h"

extern char** environ;

namespace vesper::test {

using Clock = std::chrono::steady_clock;

// A vesper-server of its own folder, ended when the test ends.
class Server {
 public:
  explicit Server(std::vector<std::string> arguments = {}) {
    char pattern[] = "/tmp/vesper-test-XXXXXX";
    folder_ = mkdtemp(pattern);
    arguments.insert(arguments.begin(), {VESPER_SERVER_BINARY, "--listen", "unix:" + socket(), "--listen",
                                         "tcp://127.0.0.1:0", "--log-level", "debug"});
    if (std::find(arguments.begin(), arguments.end(), "--admin") == arguments.end()) {
      arguments.insert(arguments.end(), {"--admin", "none"});  // the default one may be in use
    }
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, out().c_str(), O_CREAT | O_WRONLY, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err().c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600);
    posix_spawn(&pid_, VESPER_SERVER_BINARY, &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Server() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (testing::Test::HasFailure()) std::fprintf(stderr, "%s", Read(err()).c_str());
    std::filesystem::remove_all(folder_);
  }

  const std::string& folder() const { return folder_; }
  std::string socket() const { return folder_ + "/server.sock"; }
  std::string out() const { return folder_ + "/out"; }
  std::string err() const { return folder_ + "/err"; }
  pid_t pid() const { return pid_; }

  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  // Waits until the file says so.
  static bool WaitFor(const std::string& path, const std::string& text, int seconds = 20) {
    const auto deadline = Clock::now() + std::chrono::seconds(seconds);
    while (Read(path).find(text) == std::string::npos) {
      if (Clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
  }
  bool Ready() { return WaitFor(out(), "listening on tcp://127.0.0.1:"); }
  Address TcpAddress() {
    const std::string text = Read(out());
    const size_t at = text.find("tcp://");
    std::string error;
    return *ParseAddress(text.substr(at, text.find('\n', at) - at), &error);
  }
  Address UnixAddress() { return {.kind = Address::Kind::kUnix, .path = socket(), .host = {}, .port = 0}; }

  // Sends the signal and waits for the end; the exit status as of waitpid.
  int End(int signal) {
    kill(pid_, signal);
    int status = -1;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return status;
  }

 private:
  std::string folder_;
  pid_t pid_ = 0;
};

inline std::unique_ptr<Channel> Greeted(const Address& address, std::string* error) {
  std::unique_ptr<Channel> channel = Connect(address, 2000, error);
  if (channel == nullptr) return nullptr;
  Hello hello;
  hello.fingerprint = kRegistryFingerprint;
  hello.program = "supervisor_test";
  Welcome welcome;
  if (!Greet(*channel, hello, &welcome, error)) return nullptr;
  return channel;
}

inline bool Ends(Channel& channel) {
  Message message;
  const auto deadline = Clock::now() + std::chrono::seconds(5);
  while (Clock::now() < deadline) {
    const ChannelStatus status = channel.Receive(&message, std::chrono::milliseconds(1000));
    if (status == ChannelStatus::kClosed || status == ChannelStatus::kMalformed) return true;
  }
  return false;
}

inline bool Lives(Channel& channel) {
  Message message;
  return channel.Receive(&message, std::chrono::milliseconds(50)) == ChannelStatus::kTimeout;
}

inline Descriptor Dial(const Address& address) {
  Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(address.port));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) return Descriptor();
  return fd;
}

inline std::vector<pid_t> Children(pid_t parent) {
  std::ifstream file("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children");
  std::vector<pid_t> children;
  for (pid_t child; file >> child;) children.push_back(child);
  return children;
}
inline size_t ChildrenOf(pid_t parent) { return Children(parent).size(); }

inline bool WaitForChildren(pid_t parent, size_t count) {
  for (int i = 0; i < 1000 && ChildrenOf(parent) != count; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return ChildrenOf(parent) == count;
}

// A number of /proc/PID/FILE in KiB, as bytes.
inline size_t BytesIn(pid_t pid, const char* file, const std::string& name) {
  std::ifstream text("/proc/" + std::to_string(pid) + "/" + file);
  for (std::string word; text >> word;) {
    size_t kibibytes = 0;
    if (word == name && text >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}
inline size_t PrivateBytes(pid_t pid) { return BytesIn(pid, "smaps_rollup", "Private_Dirty:"); }
inline size_t BytesMapped(pid_t pid) { return BytesIn(pid, "status", "VmSize:"); }

}  // namespace vesper::test
