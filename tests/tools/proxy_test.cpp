// The line of `vesper bench`: bytes arrive as they were sent, not sooner and not faster than is said.
#include "tools/bench/proxy.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>

#include "tools/bench/bare_socket.h"
#include "tools/bench/random.h"
#include "tools/bench/report.h"

namespace vesper::tools::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Bytes = std::vector<uint32_t>;

double SecondsSince(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// The two ends of a connection through a line.
class Ends {
 public:
  explicit Ends(const Line& line) {
    std::string error;
    listener_ = Listener::Open({Address::Kind::kTcp, "", "127.0.0.1", 0}, &error);
    EXPECT_NE(listener_, nullptr) << error;
    proxy_.emplace(listener_->address(), line);
    client_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_port = htons(static_cast<uint16_t>(ParseAddress(proxy_->address(), &error)->port));
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(client_, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    pollfd waiting = {listener_->fd(), POLLIN, 0};
    EXPECT_EQ(poll(&waiting, 1, 10'000), 1);
    server_ = listener_->Accept();
    EXPECT_GE(server_, 0);
  }
  ~Ends() {
    Close(&client_);
    Close(&server_);
  }
  static void Close(int* fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
  }

  int client_ = -1, server_ = -1;
  std::unique_ptr<Listener> listener_;
  std::optional<Proxy> proxy_;
};

void Send(int fd, const Bytes& words) {
  const auto* bytes = reinterpret_cast<const char*>(words.data());
  const size_t size = words.size() * sizeof(uint32_t);
  for (size_t sent = 0; sent < size;) {
    pollfd ready = {fd, POLLOUT, 0};
    poll(&ready, 1, -1);
    const ssize_t count = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN) return;
    sent += count < 0 ? 0 : static_cast<size_t>(count);
  }
}

// Fewer when the other end has ended.
Bytes Receive(int fd, size_t count) {
  Bytes words(count);
  size_t got = 0;
  while (got < count * sizeof(uint32_t)) {
    pollfd ready = {fd, POLLIN, 0};
    poll(&ready, 1, -1);
    const ssize_t read =
        recv(fd, reinterpret_cast<char*>(words.data()) + got, count * sizeof(uint32_t) - got, MSG_DONTWAIT);
    if (read == 0 || (read < 0 && errno != EAGAIN)) break;
    got += read < 0 ? 0 : static_cast<size_t>(read);
  }
  words.resize(got / sizeof(uint32_t));
  return words;
}

Bytes RandomWords(size_t count) {
  Bytes words(count);
  Random().Fill(words);
  return words;
}

bool Becomes(size_t wanted, const Proxy& proxy) {
  for (int i = 0; i < 1000 && proxy.connections() != wanted; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return proxy.connections() == wanted;
}

class LinesTest : public ::testing::TestWithParam<Line> {};

TEST_P(LinesTest, BytesPassUnchangedBothWays) {
  Ends ends(GetParam());
  const Bytes there = RandomWords(1 << 18), back = RandomWords(1 << 18);
  std::thread client([&] { Send(ends.client_, there); });
  std::thread server([&] { Send(ends.server_, back); });
  Bytes came_back;
  std::thread reader([&] { came_back = Receive(ends.client_, back.size()); });
  EXPECT_EQ(Receive(ends.server_, there.size()), there);
  for (std::thread* thread : {&client, &server, &reader}) thread->join();
  EXPECT_EQ(came_back, back);
}

INSTANTIATE_TEST_SUITE_P(Proxy, LinesTest, ::testing::Values(Line{1, 0}, Line{0, 100}, Line{5, 1000}));

TEST(ProxyTest, ARoundTripTakesTheDelay) {
  Ends ends({40, 0});
  const auto begin = Clock::now();
  Send(ends.client_, {1});
  Send(ends.server_, Receive(ends.server_, 1));
  EXPECT_EQ(Receive(ends.client_, 1), Bytes{1});
  EXPECT_GE(SecondsSince(begin), 0.04);
}

TEST(ProxyTest, BytesTakeTheirTime) {
  Ends ends({0, 100});
  const size_t words = 1'250'000 / sizeof(uint32_t);  // a tenth of a second
  const auto begin = Clock::now();
  std::thread client([&] { Send(ends.client_, Bytes(words)); });
  EXPECT_EQ(Receive(ends.server_, words).size(), words);
  EXPECT_GE(SecondsSince(begin), 0.1 * 0.95);
  client.join();
}

TEST(ProxyTest, EndsWithBothEnds) {
  Ends ends({2, 100});
  EXPECT_TRUE(Becomes(1, *ends.proxy_));
  const Bytes last = RandomWords(1000);
  Send(ends.client_, last);
  shutdown(ends.client_, SHUT_WR);
  EXPECT_EQ(Receive(ends.server_, last.size() + 1), last) << "what was sent before the end, and the end";
  Send(ends.server_, last);
  EXPECT_EQ(Receive(ends.client_, last.size()), last) << "the other way is still open";
  Ends::Close(&ends.server_);
  EXPECT_TRUE(Receive(ends.client_, 1).empty());
  EXPECT_TRUE(Becomes(0, *ends.proxy_));
}

TEST(ProxyTest, WhoSendsHearsThatNobodyReads) {
  Ends ends({0, 0});
  Ends::Close(&ends.server_);
  Send(ends.client_, Bytes(1 << 22));  // ends
  EXPECT_TRUE(Becomes(0, *ends.proxy_));
}

TEST(ProxyTest, WhatWaitsForTheLineWaitsWithItsSender) {
  Ends ends({0, 8});
  const int buffer = 64 << 10;
  setsockopt(ends.client_, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
  const Bytes much(1 << 22);
  size_t taken = 0;
  for (ssize_t count = 0; count >= 0 && taken < much.size() * sizeof(uint32_t); taken += static_cast<size_t>(count)) {
    count = send(ends.client_, much.data(), size_t{64} << 10, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) break;
  }
  EXPECT_LT(taken, size_t{4} << 20);
}

// The figure that others are measured by: a line of 100 Mbit/s carries 12.5 MB/s, and no trip is shorter than its delay.
TEST(BareSocketTest, CarriesWhatTheLineDoes) {
  EXPECT_GE(MeasureBareSocket({10, 0}, true).trip_us, 10e3);
  const double megabytes = MeasureBareSocket({0, 100}, true).megabytes;
  EXPECT_GT(megabytes, 0);
  EXPECT_LT(megabytes, 12.5 * 1.5);
}

}  // namespace
}  // namespace vesper::tools::bench
