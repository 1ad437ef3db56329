// Protects the supervisor: it serves on whatever one client does, leaves nothing behind and says
// what happened.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "generated/vk/commands.h"
#include "runtime/address.h"
#include "runtime/handshake.h"

extern char** environ;

namespace vesper {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// A vesper-server of its own folder, ended when the test ends.
class Server {
 public:
  explicit Server(std::vector<std::string> arguments = {}) {
    char pattern[] = "/tmp/vesper-test-XXXXXX";
    folder_ = mkdtemp(pattern);
    arguments.insert(arguments.begin(), {VESPER_SERVER_BINARY, "--listen", "unix:" + socket(), "--listen",
                                         "tcp://127.0.0.1:0", "--log-level", "debug"});
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
    fs::remove_all(folder_);
  }

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

std::unique_ptr<Channel> Greeted(const Address& address, std::string* error) {
  std::unique_ptr<Channel> channel = Connect(address, 2000, error);
  if (channel == nullptr) return nullptr;
  Hello hello;
  hello.fingerprint = kRegistryFingerprint;
  hello.program = "supervisor_test";
  Welcome welcome;
  if (!Greet(*channel, hello, &welcome, error)) return nullptr;
  return channel;
}

bool Ends(Channel& channel) {
  Message message;
  const auto deadline = Clock::now() + std::chrono::seconds(5);
  while (Clock::now() < deadline) {
    const ChannelStatus status = channel.Receive(&message, std::chrono::milliseconds(1000));
    if (status == ChannelStatus::kClosed || status == ChannelStatus::kMalformed) return true;
  }
  return false;
}

bool Lives(Channel& channel) {
  Message message;
  return channel.Receive(&message, std::chrono::milliseconds(50)) == ChannelStatus::kTimeout;
}

// The worker's process id of session `number`, from the log.
pid_t WorkerOf(const Server& server, int number) {
  const std::string mark = "session " + std::to_string(number) + ": worker ";
  if (!Server::WaitFor(server.err(), mark)) return 0;
  const std::string log = Server::Read(server.err());
  return static_cast<pid_t>(std::atoi(log.c_str() + log.find(mark) + mark.size()));
}

TEST(SupervisorTest, SaysWhatItOffersBeforeItListens) {
  Server server;
  ASSERT_TRUE(server.Ready());
  const std::string out = Server::Read(server.out());
  EXPECT_NE(out.find("GPU 0: "), std::string::npos) << out;
  EXPECT_NE(out.find("driver: "), std::string::npos);
  EXPECT_NE(out.find("API version: 1."), std::string::npos);
  EXPECT_NE(out.find("device extensions: "), std::string::npos);
  EXPECT_LT(out.find("GPU 0: "), out.find("listening on unix:"));
}

TEST(SupervisorTest, ServesOverBothTransportsAndEndsCleanly) {
  Server server;
  ASSERT_TRUE(server.Ready());
  std::string error;
  const auto first = Greeted(server.UnixAddress(), &error);
  ASSERT_NE(first, nullptr) << error;
  const auto second = Greeted(server.TcpAddress(), &error);
  ASSERT_NE(second, nullptr) << error;
  const int status = server.End(SIGTERM);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_FALSE(fs::exists(server.socket()));
  EXPECT_TRUE(Ends(*first));
  EXPECT_TRUE(Ends(*second));
}

TEST(SupervisorTest, AKilledWorkerEndsItsSessionOnly) {
  Server server;
  ASSERT_TRUE(server.Ready());
  std::string error;
  const auto first = Greeted(server.UnixAddress(), &error);
  const auto second = Greeted(server.UnixAddress(), &error);
  ASSERT_NE(second, nullptr) << error;
  const pid_t worker = WorkerOf(server, 1);
  ASSERT_GT(worker, 1);
  ASSERT_EQ(getpgid(worker), getpgid(server.pid())) << "workers stay in the supervisor's process group";
  kill(worker, SIGKILL);
  EXPECT_TRUE(Ends(*first));
  EXPECT_TRUE(Server::WaitFor(server.err(), "ended with signal 9"));
  EXPECT_TRUE(Lives(*second));
  EXPECT_NE(Greeted(server.UnixAddress(), &error), nullptr) << error;
}

TEST(SupervisorTest, WorkersDieWithAKilledSupervisor) {
  Server server;
  ASSERT_TRUE(server.Ready());
  std::string error;
  const auto channel = Greeted(server.UnixAddress(), &error);
  ASSERT_NE(channel, nullptr) << error;
  server.End(SIGKILL);
  EXPECT_TRUE(Ends(*channel));
}

TEST(SupervisorTest, GarbageAndSilenceHurtNobodyElse) {
  Server server;
  ASSERT_TRUE(server.Ready());
  std::string error;
  const auto good = Greeted(server.UnixAddress(), &error);
  ASSERT_NE(good, nullptr) << error;
  const Address address = server.TcpAddress();
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\nHost: gpu\r\n\r\n"), std::string(100'000, '\xff')}) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(address.port);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    close(fd);
  }
  const auto silent = Connect(address, 2000, &error);
  ASSERT_NE(silent, nullptr) << error;
  EXPECT_TRUE(Server::WaitFor(server.err(), "session 2 did not begin"));
  EXPECT_TRUE(Server::WaitFor(server.err(), "session 3 did not begin"));
  EXPECT_TRUE(Server::WaitFor(server.err(), "session 4 did not begin")) << "the silent one is not waited for long";
  EXPECT_TRUE(Lives(*good));
  EXPECT_NE(Greeted(server.TcpAddress(), &error), nullptr) << error;
}

TEST(SupervisorTest, MoreClientsThanAllowedAreToldSo) {
  Server server({"--max-sessions", "1"});
  ASSERT_TRUE(server.Ready());
  std::string error;
  auto first = Greeted(server.UnixAddress(), &error);
  ASSERT_NE(first, nullptr) << error;
  EXPECT_EQ(Greeted(server.UnixAddress(), &error), nullptr);
  EXPECT_NE(error.find("--max-sessions"), std::string::npos) << error;
  first.reset();
  EXPECT_TRUE(Server::WaitFor(server.err(), "ended with exit status 0"));
  EXPECT_NE(Greeted(server.UnixAddress(), &error), nullptr) << error;
}

TEST(SupervisorTest, AStaleSocketIsReplacedAndAUsedOneIsNot) {
  Server server;
  ASSERT_TRUE(server.Ready());
  const std::string path = server.socket();
  const std::string stale = path + ".stale";
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  stale.copy(name.sun_path, sizeof(name.sun_path) - 1);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
  close(fd);
  Server replacing({"--listen", "unix:" + stale});
  EXPECT_TRUE(Server::WaitFor(replacing.out(), "listening on unix:" + stale));
  Server refused({"--listen", "unix:" + path});
  EXPECT_TRUE(Server::WaitFor(refused.err(), "cannot listen on unix:" + path));
}

TEST(SupervisorTest, AnotherRegistryIsAskedForItsNames) {
  Server server;
  ASSERT_TRUE(server.Ready());
  std::string error;
  const auto channel = Connect(server.UnixAddress(), 2000, &error);
  ASSERT_NE(channel, nullptr) << error;
  Hello hello;
  hello.fingerprint = kRegistryFingerprint + 1;
  Welcome welcome;
  ASSERT_TRUE(Greet(*channel, hello, &welcome, &error)) << error;
  EXPECT_TRUE(welcome.names_wanted);
  hello.commands = {"vkCreateInstance", "vkFromTheFuture"};
  hello.handle_types = {"", "VkInstance"};
  ASSERT_TRUE(Greet(*channel, hello, &welcome, &error)) << error;
  EXPECT_FALSE(welcome.names_wanted);
  EXPECT_GT(welcome.commands.size(), 400u);
  EXPECT_TRUE(Lives(*channel));
}

}  // namespace
}  // namespace vesper
