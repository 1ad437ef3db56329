// How many system calls messages cost: counted by standing in for the C library's functions, which
// the channel calls.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

#include "tests/runtime/channel_pair.h"

namespace {

struct Calls {
  int sendmsg = 0, recvmsg = 0, poll = 0;
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

int poll(pollfd* entries, nfds_t count, int timeout) {
  static const auto next = Next<int (*)(pollfd*, nfds_t, int)>("poll");
  ++calls.poll;
  return next(entries, count, timeout);
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

INSTANTIATE_TEST_SUITE_P(Transports, SyscallTest, testing::Values(Transport::kTcp, Transport::kUnix),
                         [](const auto& info) { return NameOf(info.param); });

}  // namespace
}  // namespace vesper::test
