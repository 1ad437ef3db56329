// How many system calls messages cost: counted by standing in for the C library's functions, which
// the channel calls.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdarg>
#include <thread>

#include "tests/runtime/channel_pair.h"

namespace {

struct Calls {
  int sendmsg = 0, recvmsg = 0, poll = 0, other = 0;  // futexes
};
thread_local Calls calls;

template <typename Function>
Function Next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto next = Next<ssize_t (*)(int, const msghdr*, int)>("sendmsg");
  ++calls.sendmsg;
  return next(fd, message, flags);
}

ssize_t recvmsg(int fd, msghdr* message, int flags) {
  static const auto next = Next<ssize_t (*)(int, msghdr*, int)>("recvmsg");
  ++calls.recvmsg;
  return next(fd, message, flags);
}

ssize_t send(int fd, const void* bytes, size_t size, int flags) {
  static const auto next = Next<ssize_t (*)(int, const void*, size_t, int)>("send");
  ++calls.sendmsg;
  return next(fd, bytes, size, flags);
}

ssize_t recv(int fd, void* bytes, size_t size, int flags) {
  static const auto next = Next<ssize_t (*)(int, void*, size_t, int)>("recv");
  ++calls.recvmsg;
  return next(fd, bytes, size, flags);
}

int poll(pollfd* entries, nfds_t count, int timeout) {
  static const auto next = Next<int (*)(pollfd*, nfds_t, int)>("poll");
  ++calls.poll;
  return next(entries, count, timeout);
}

long syscall(long number, ...) {
  static const auto next = Next<long (*)(long, ...)>("syscall");
  ++calls.other;
  va_list list;
  va_start(list, number);
  std::array<long, 6> arguments;
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

}  // extern "C"

namespace vesper::test {
namespace {

constexpr std::chrono::milliseconds kLong(20000);

class SyscallTest : public testing::TestWithParam<Transport> {};

TEST_P(SyscallTest, ARoundTripIsOneSendOnePollAndOneReceivePerSide) {
  constexpr int kRounds = 200;
  ChannelPair pair = MakePair(GetParam());
  std::thread server([&] {
    Message message;
    calls = {};
    for (uint64_t i = 0; i < kRounds; ++i) {
      ASSERT_EQ(pair.server->Receive(&message, kLong), ChannelStatus::kOk);
      ASSERT_EQ(SendBytes(*pair.server, MessageKind::kReply, i, {1, 2, 3}), ChannelStatus::kOk);
    }
    EXPECT_EQ(calls.sendmsg, kRounds);
    EXPECT_LE(calls.recvmsg, kRounds);
    EXPECT_LE(calls.poll, kRounds);
  });
  Message message;
  calls = {};
  for (uint64_t i = 0; i < kRounds; ++i) {
    ASSERT_EQ(SendBatch(*pair.client, i, 200), ChannelStatus::kOk);
    ASSERT_EQ(pair.client->Receive(&message, kLong), ChannelStatus::kOk);
  }
  EXPECT_EQ(calls.sendmsg, kRounds);
  EXPECT_LE(calls.recvmsg, kRounds);
  EXPECT_LE(calls.poll, kRounds);
  server.join();
}

// Both ends awake: the messages are there when they are asked for. Who asks without waiting looks at the socket five times a
// second.
TEST(RingSyscallTest, ARoundTripIsNoSystemCallWhileNobodySleeps) {
  ChannelPair pair = MakePair(Transport::kRing);
  Message message;
  const auto begin = std::chrono::steady_clock::now();
  calls = {};
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(SendBatch(*pair.client, i, 200), ChannelStatus::kOk);
    ASSERT_EQ(pair.server->Receive(&message, kLong), ChannelStatus::kOk);
    ASSERT_TRUE(pair.server->Raise(1, i + 1));
    ASSERT_EQ(SendBytes(*pair.server, MessageKind::kReply, i, {1, 2, 3}), ChannelStatus::kOk);
    ASSERT_EQ(pair.client->Receive(&message, kLong), ChannelStatus::kOk);
    ASSERT_EQ(pair.client->Receive(&message, kLong), ChannelStatus::kOk);
    ASSERT_EQ(pair.client->Receive(&message, std::chrono::milliseconds(0)), ChannelStatus::kTimeout);
  }
  EXPECT_EQ(calls.sendmsg, 0);
  EXPECT_EQ(calls.recvmsg, 0);
  EXPECT_LE(calls.poll, 2 * (1 + (std::chrono::steady_clock::now() - begin) / std::chrono::milliseconds(200)));
  EXPECT_EQ(calls.other, 0);
}

TEST_P(SyscallTest, WaitingMessagesComeWithOneReceive) {
  ChannelPair pair = MakePair(GetParam());
  for (uint64_t i = 0; i < 100; ++i) ASSERT_EQ(SendBatch(*pair.client, i, 64), ChannelStatus::kOk);
  while (pair.client->bytes_sent() == 0) {
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  Message message;
  calls = {};
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(pair.server->Receive(&message, kLong), ChannelStatus::kOk);
    ASSERT_EQ(message.sequence, i);
  }
  EXPECT_LE(calls.recvmsg, 2);
  EXPECT_LE(calls.poll, 2);
}

INSTANTIATE_TEST_SUITE_P(Transports, SyscallTest, testing::Values(Transport::kTcp, Transport::kTls, Transport::kUnix),
                         [](const auto& info) { return NameOf(info.param); });

}  // namespace
}  // namespace vesper::test
