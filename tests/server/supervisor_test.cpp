// Protects the supervisor: it serves on whatever one client does, leaves nothing behind and says
// what happened.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
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
#include "runtime/descriptor.h"
#include "runtime/handshake.h"
#include "tests/server/live_server.h"

namespace vesper {
namespace {

namespace fs = std::filesystem;
using namespace test;

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

// A listening socket of our own, as systemd has it.
Descriptor Listening(const sockaddr* name, socklen_t size) {
  Descriptor fd(socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(bind(fd.get(), name, size), 0) << strerror(errno);
  EXPECT_EQ(listen(fd.get(), 8), 0);
  return fd;
}

TEST(SupervisorTest, ServesOnSocketsThatSystemdHasOpened) {
  char pattern[] = "/tmp/vesper-test-XXXXXX";
  const std::string folder = mkdtemp(pattern);
  sockaddr_un path{};
  path.sun_family = AF_UNIX;
  strncpy(path.sun_path, (folder + "/passed.sock").c_str(), sizeof(path.sun_path) - 1);
  sockaddr_in loopback{};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const Descriptor first = Listening(reinterpret_cast<const sockaddr*>(&path), sizeof(path));
  const Descriptor second = Listening(reinterpret_cast<const sockaddr*>(&loopback), sizeof(loopback));
  socklen_t size = sizeof(loopback);
  getsockname(second.get(), reinterpret_cast<sockaddr*>(&loopback), &size);
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    // Above those that they become.
    const int one = fcntl(first.get(), F_DUPFD, 10), two = fcntl(second.get(), F_DUPFD, 10);
    dup2(one, 3);
    dup2(two, 4);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "here:tcp", 1);
    const int err = open((folder + "/err").c_str(), O_CREAT | O_WRONLY, 0600);
    dup2(err, 1);
    dup2(err, 2);
    execl(VESPER_SERVER_BINARY, "vesper-server", "--admin", "none", nullptr);
    _exit(127);
  }
  std::string error;
  // Both wait in the sockets' queues until the server is there.
  EXPECT_TRUE(Server::WaitFor(folder + "/err", "listening on tcp://127.0.0.1:")) << Server::Read(folder + "/err");
  const auto one = Greeted({.kind = Address::Kind::kUnix, .path = path.sun_path, .host = {}, .port = 0}, &error);
  EXPECT_NE(one, nullptr) << error;
  const auto two =
      Greeted({.kind = Address::Kind::kTcp, .path = {}, .host = "127.0.0.1", .port = ntohs(loopback.sin_port)}, &error);
  EXPECT_NE(two, nullptr) << error;
  EXPECT_EQ(Server::Read(folder + "/err").find("server.sock"), std::string::npos) << "none of its own beside them";
  kill(pid, SIGTERM);
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(fs::exists(path.sun_path)) << "the file is systemd's";
  fs::remove_all(folder);
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
    name.sin_port = htons(static_cast<uint16_t>(address.port));
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    close(fd);
  }
  const auto silent = Connect(address, 2000, &error);
  ASSERT_NE(silent, nullptr) << error;
  EXPECT_TRUE(Server::WaitFor(server.err(), "1 peer is refused: "));
  EXPECT_TRUE(Server::WaitFor(server.err(), "refused: no Hello came in time")) << "it is not waited for long";
  EXPECT_EQ(Server::Read(server.err()).find("session 2"), std::string::npos) << "no worker for these";
  EXPECT_TRUE(Lives(*good));
  EXPECT_NE(Greeted(server.TcpAddress(), &error), nullptr) << error;
}

TEST(SupervisorTest, MoreClientsThanAllowedWaitAndAreToldSo) {
  Server server({"--max-clients", "1", "--max-wait", "5"});
  ASSERT_TRUE(server.Ready());
  std::string error;
  auto first = Greeted(server.UnixAddress(), &error);
  ASSERT_NE(first, nullptr) << error;
  EXPECT_EQ(Greeted(server.UnixAddress(), &error), nullptr);
  EXPECT_NE(error.find("--max-clients"), std::string::npos) << error;
  first.reset();
  EXPECT_TRUE(Server::WaitFor(server.err(), "ended with exit status 0"));
  EXPECT_NE(Greeted(server.UnixAddress(), &error), nullptr) << error;
}

// A client's limit is one of silence: it waits for longer when it hears that its turn will come.
TEST(SupervisorTest, AClientWaitsForAFreePlace) {
  Server server({"--max-clients", "1"});
  ASSERT_TRUE(server.Ready());
  std::string error;
  auto first = Greeted(server.UnixAddress(), &error);
  ASSERT_NE(first, nullptr) << error;
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(6500));
    first.reset();
  });
  EXPECT_NE(Greeted(server.TcpAddress(), &error), nullptr) << error;
  ends.join();
}

// What a socket of a stranger costs, and whom it keeps out.
TEST(SupervisorTest, SilentAndGarbagePeersKeepNobodyOut) {
  Server server;
  ASSERT_TRUE(server.Ready());
  const size_t before = ChildrenOf(server.pid());
  [[maybe_unused]] const size_t memory = PrivateBytes(server.pid());
  const Address address = server.TcpAddress();
  std::vector<Descriptor> peers;
  const std::string half("\0\0\0\0\x40\0\0\0half", 12);
  const std::string huge("\0\0\0\0\0\0\0\x03", 8);
  for (int i = 0; i < 900; ++i) {
    peers.push_back(Dial(address));
    ASSERT_TRUE(peers.back().valid()) << i;
    const std::string& bytes = i % 3 == 0 ? half : i % 3 == 1 ? huge : std::string();
    send(peers.back().get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    std::string error;
    if (i % 300 == 299) {
      EXPECT_NE(Greeted(address, &error), nullptr) << error;
    }
  }
  EXPECT_LE(ChildrenOf(server.pid()), before + 3) << "workers for peers that said nothing";
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which keep what is freed for a while
  EXPECT_LT(PrivateBytes(server.pid()), memory + 900 * 4096);
#endif
}

TEST(SupervisorTest, ASessionWithoutADeviceTakesNoPlaceOfOneThatWantsOne) {
  Server server({"--max-sessions", "1"});
  ASSERT_TRUE(server.Ready());
  std::string error;
  std::vector<std::unique_ptr<Channel>> idle;
  for (int i = 0; i < 3; ++i) {
    idle.push_back(Greeted(server.UnixAddress(), &error));
    ASSERT_NE(idle.back(), nullptr) << error;
  }
}

// The worker that cannot serve says why, instead of a connection that breaks.
TEST(SupervisorTest, WithoutThreadsClientsAreToldWhy) {
  for (const bool unix_socket : {true, false}) {
    Server server({"--sandbox", "off", "--spares", "1"});  // confined workers are not ours to limit
    ASSERT_TRUE(server.Ready());
    ASSERT_TRUE(WaitForChildren(server.pid(), 1));
    const pid_t worker = Children(server.pid()).front();
    // It has loaded its driver and waits for a client once it maps no more than before.
    size_t mapped = 0;
    for (int still = 0; still < 20;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      still = BytesMapped(worker) == mapped ? still + 1 : 0;
      mapped = BytesMapped(worker);
    }
    // So little address space is left that no thread gets its stack of 8 MiB, but small allocations succeed: sanitizers
    // end the process themselves when theirs fail.
    const rlimit little{mapped + (4u << 20), mapped + (4u << 20)};
    ASSERT_EQ(prlimit(worker, RLIMIT_AS, &little, nullptr), 0);
    std::string error;
    EXPECT_EQ(Greeted(unix_socket ? server.UnixAddress() : server.TcpAddress(), &error), nullptr);
    EXPECT_NE(error.find("the server refused: the worker gives up: "), std::string::npos) << error;
  }
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
