// Listening and connecting: who may, what is in the way, what remains.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "runtime/address.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

Address UnixAddress(const std::string& path) { return {Address::Kind::kUnix, path, "", 0}; }
Address TcpAddress(const std::string& host, uint32_t port) { return {Address::Kind::kTcp, "", host, port}; }

int AcceptWithin(Listener& listener, int timeout_ms) {
  pollfd waiting{listener.fd(), POLLIN, 0};
  return poll(&waiting, 1, timeout_ms) == 1 ? listener.Accept() : -1;
}

mode_t ModeOf(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

// A bound socket file that nobody listens at, as a killed server leaves it.
void LeaveStaleSocket(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  close(fd);
}

TEST(ListenerTest, PortZeroIsReplacedByTheChosenOne) {
  std::string error;
  const auto listener = Listener::Open(TcpAddress("127.0.0.1", 0), &error);
  ASSERT_NE(listener, nullptr) << error;
  EXPECT_NE(listener->address().port, 0u);
  EXPECT_EQ(listener->Accept(), -1) << "nobody waits, and Accept() does not";
  EXPECT_NE(Connect(listener->address(), 2000, &error), nullptr) << error;
  const int fd = AcceptWithin(*listener, 2000);
  ASSERT_GE(fd, 0);
  EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(listener->fd(), F_GETFD) & FD_CLOEXEC, 0);
  close(fd);
}

// A kernel may have vsock without a way from a machine to itself: then connecting takes as long as it may.
TEST(ListenerTest, MessagesTravelBetweenMachinesOfOneHost) {
  std::string error;
  const auto listener = Listener::Open(*ParseAddress("vsock://any:0", &error), &error);
  if (listener == nullptr) GTEST_SKIP() << "no vsock here: " << error;
  EXPECT_NE(listener->address().port, 0u) << "one was chosen";
  Address local = listener->address();
  local.cid = Address::kLocalCid;
  const auto client = Connect(local, 500, &error);
  if (client == nullptr) GTEST_SKIP() << "no vsock to this machine itself: " << error;
  const auto server = MakeSocketChannel(AcceptWithin(*listener, 2000));
  ASSERT_NE(server, nullptr);
  EXPECT_STREQ(client->name(), "vsock");
  EXPECT_FALSE(client->CarriesDescriptors());
  EXPECT_FALSE(client->OffersRing());
  for (const size_t size : {size_t{1}, size_t{100000}, size_t{5} << 20}) {
    std::thread sender([&] { EXPECT_EQ(SendBatch(*client, 1, size), ChannelStatus::kOk); });
    Message message;
    EXPECT_EQ(server->Receive(&message, std::chrono::milliseconds(5000)), ChannelStatus::kOk);
    EXPECT_EQ(message.payload, Pattern(1, size));
    sender.join();
  }
  client->Close();
  Message message;
  EXPECT_EQ(server->Receive(&message, std::chrono::milliseconds(5000)), ChannelStatus::kClosed);
}

TEST(ListenerTest, APortInUseIsAnErrorThatNamesIt) {
  std::string error;
  const auto first = Listener::Open(TcpAddress("127.0.0.1", 0), &error);
  ASSERT_NE(first, nullptr) << error;
  EXPECT_EQ(Listener::Open(first->address(), &error), nullptr);
  EXPECT_EQ(error, "cannot listen on " + first->address().ToString() + ": Address already in use");
}

TEST(ListenerTest, APortCanBeUsedAgainAtOnce) {
  std::string error;
  auto listener = Listener::Open(TcpAddress("127.0.0.1", 0), &error);
  ASSERT_NE(listener, nullptr) << error;
  const Address address = listener->address();
  {
    auto client = Connect(address, 2000, &error);
    auto server = MakeSocketChannel(AcceptWithin(*listener, 2000));
    server->Close();  // leaves the server's port in TIME_WAIT
  }
  listener.reset();
  EXPECT_NE(Listener::Open(address, &error), nullptr) << error;
}

TEST(ListenerTest, ListensOnIpv6) {
  std::string error;
  const auto listener = Listener::Open(TcpAddress("::1", 0), &error);
  if (listener == nullptr) GTEST_SKIP() << "no IPv6 here: " << error;
  EXPECT_TRUE(listener->address().ToString().starts_with("tcp://[::1]:"));
  EXPECT_NE(Connect(listener->address(), 2000, &error), nullptr) << error;
}

TEST(ListenerTest, AUnixSocketIsPrivateAndRemovedAtTheEnd) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/socket";
  std::string error;
  auto listener = Listener::Open(UnixAddress(path), &error);
  ASSERT_NE(listener, nullptr) << error;
  EXPECT_EQ(ModeOf(path), 0600u);
  listener.reset();
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::symlink_status(path)));
}

TEST(ListenerTest, AForgottenListenerLeavesItsSocketFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/socket";
  std::string error;
  const auto before = OpenDescriptors();
  auto listener = Listener::Open(UnixAddress(path), &error);
  ASSERT_NE(listener, nullptr) << error;
  listener->Forget();
  EXPECT_EQ(OpenDescriptors(), before);
  listener.reset();
  EXPECT_TRUE(std::filesystem::is_socket(path));
}

TEST(ListenerTest, AStaleSocketIsReplaced) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/socket";
  LeaveStaleSocket(path);
  std::string error;
  EXPECT_EQ(Connect(UnixAddress(path), 1000, &error), nullptr);
  EXPECT_EQ(error, "cannot connect to unix:" + path + ": Connection refused");
  const auto listener = Listener::Open(UnixAddress(path), &error);
  ASSERT_NE(listener, nullptr) << error;
  EXPECT_NE(Connect(UnixAddress(path), 1000, &error), nullptr) << error;
}

TEST(ListenerTest, ASocketInUseIsLeftAlone) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/socket";
  std::string error;
  const auto first = Listener::Open(UnixAddress(path), &error);
  ASSERT_NE(first, nullptr) << error;
  EXPECT_EQ(Listener::Open(UnixAddress(path), &error), nullptr);
  EXPECT_NE(error.find("another server listens there"), std::string::npos) << error;
  EXPECT_NE(Connect(UnixAddress(path), 1000, &error), nullptr) << error;
}

TEST(ListenerTest, AFileThatIsNoSocketIsLeftAlone) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/precious";
  std::ofstream(path) << "data";
  std::string error;
  EXPECT_EQ(Listener::Open(UnixAddress(path), &error), nullptr);
  EXPECT_NE(error.find("something else than a socket"), std::string::npos) << error;
  EXPECT_EQ(std::filesystem::file_size(path), 4u);
}

TEST(ListenerTest, TheDefaultDirectoryIsMadePrivate) {
  const TemporaryDirectory directory;
  const ScopedVariable variable("XDG_RUNTIME_DIR", directory.path());
  std::string error;
  for (int i = 0; i < 2; ++i) {
    const auto listener = Listener::Open(DefaultUnixAddress(), &error);
    ASSERT_NE(listener, nullptr) << error;
    EXPECT_EQ(ModeOf(directory.path() + "/vesper"), 0700u);
    EXPECT_NE(Connect(DefaultUnixAddress(), 1000, &error), nullptr) << error;
    chmod((directory.path() + "/vesper").c_str(),
          0777);  // too open: the second time it is closed again
  }
}

TEST(ListenerTest, ADefaultDirectoryOfAnotherUserIsNotTrusted) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give directories away";
  const TemporaryDirectory directory;
  const ScopedVariable variable("XDG_RUNTIME_DIR", directory.path());
  const std::string ours = directory.path() + "/vesper";
  ASSERT_EQ(mkdir(ours.c_str(), 0700), 0);
  ASSERT_EQ(chown(ours.c_str(), 12345, 12345), 0);
  std::string error;
  EXPECT_EQ(Listener::Open(DefaultUnixAddress(), &error), nullptr);
  EXPECT_NE(error.find("belongs to another user (12345)"), std::string::npos) << error;
  LeaveStaleSocket(ours + "/server.sock");
  EXPECT_EQ(Connect(DefaultUnixAddress(), 1000, &error), nullptr);
  EXPECT_NE(error.find("belongs to another user (12345)"), std::string::npos) << error;
}

TEST(ListenerTest, ADefaultDirectoryThatIsALinkIsNotTrusted) {
  const TemporaryDirectory directory;
  const ScopedVariable variable("XDG_RUNTIME_DIR", directory.path());
  ASSERT_EQ(symlink("/tmp", (directory.path() + "/vesper").c_str()), 0);
  std::string error;
  EXPECT_EQ(Listener::Open(DefaultUnixAddress(), &error), nullptr);
  EXPECT_NE(error.find("is no directory"), std::string::npos) << error;
}

TEST(ListenerTest, RefusesUnixPathsThatDoNotFit) {
  std::string error;
  EXPECT_EQ(Listener::Open(UnixAddress("/" + std::string(200, 'x')), &error), nullptr);
  EXPECT_NE(error.find("no path that a Unix socket can have"), std::string::npos) << error;
  EXPECT_EQ(Listener::Open(UnixAddress("/does/not/exist/socket"), &error), nullptr);
  EXPECT_NE(error.find("No such file or directory"), std::string::npos) << error;
}

TEST(ConnectTest, SaysWhyNobodyAnswers) {
  std::string error;
  uint32_t port;
  {
    const auto listener = Listener::Open(TcpAddress("127.0.0.1", 0), &error);
    ASSERT_NE(listener, nullptr) << error;
    port = listener->address().port;
  }
  EXPECT_EQ(Connect(TcpAddress("127.0.0.1", port), 1000, &error), nullptr);
  EXPECT_EQ(error, "cannot connect to tcp://127.0.0.1:" + std::to_string(port) + ": Connection refused");
  EXPECT_EQ(Connect(UnixAddress("/tmp/vesper-no-such-socket"), 1000, &error), nullptr);
  EXPECT_EQ(error, "cannot connect to unix:/tmp/vesper-no-such-socket: No such file or directory");
  EXPECT_EQ(Connect(TcpAddress("no-such-host.invalid", 1), 3000, &error), nullptr);
  EXPECT_TRUE(error.starts_with("cannot look up \"no-such-host.invalid\"")) << error;
}

// "localhost" may mean ::1 first, where nobody listens.
TEST(ConnectTest, TriesEveryAddressOfAName) {
  addrinfo* known = nullptr;
  if (getaddrinfo("localhost", nullptr, nullptr, &known) != 0) {
    GTEST_SKIP() << "a bare system without /etc/hosts: localhost has no address";
  }
  freeaddrinfo(known);
  std::string error;
  const auto listener = Listener::Open(TcpAddress("127.0.0.1", 0), &error);
  ASSERT_NE(listener, nullptr) << error;
  EXPECT_NE(Connect(TcpAddress("localhost", listener->address().port), 3000, &error), nullptr) << error;
}

TEST(ConnectTest, KeepsItsTimeWhenNobodyAccepts) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/full";
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(fd, 0), 0);
  std::string error;
  const auto first = Connect(UnixAddress(path), 1000, &error);
  ASSERT_NE(first, nullptr) << error;
  const auto before = OpenDescriptors();
  EXPECT_EQ(Connect(UnixAddress(path), 100, &error), nullptr);
  EXPECT_EQ(error, "cannot connect to unix:" + path + ": Connection timed out");
  EXPECT_EQ(OpenDescriptors(), before);
  close(fd);
}

}  // namespace
}  // namespace vesper::test
