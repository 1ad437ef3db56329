// A program that we are a guest in forks, whatever our threads are doing: its child must not hang,
// and its parent not notice.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using std::chrono::milliseconds;

// Runs `body` in a forked child, which is killed when it takes long; its exit status.
int InChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);
    _exit(body());
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class ForkTest : public testing::TestWithParam<Transport> {};

TEST_P(ForkTest, AChildThatAbandonsIsClosedAndTheParentGoesOn) {
  ChannelPair pair = MakePair(GetParam());
  const auto before = OpenDescriptors();
  EXPECT_EQ(InChild([&] {
              pair.client->AbandonAfterFork();
              Message message;
              if (SendBatch(*pair.client, 1, 1) != ChannelStatus::kClosed) return 1;
              if (pair.client->Receive(&message, milliseconds(100)) != ChannelStatus::kClosed) return 2;
              pair.client->Interrupt();
              pair.client->Close();
              if (!pair.client->error().empty()) return 3;
              pair.client.reset();
              const size_t closed = GetParam() == Transport::kLoopback ? 0 : GetParam() == Transport::kGuest ? 3 : 2;
              return OpenDescriptors().size() == before.size() - closed ? 0 : 4;
            }),
            0);
  ASSERT_EQ(SendBatch(*pair.client, 7, 7), ChannelStatus::kOk);
  Message message;
  EXPECT_EQ(pair.server->Receive(&message, milliseconds(5000)), ChannelStatus::kOk);
  EXPECT_EQ(message.sequence, 7u);
}

TEST_P(ForkTest, LocksHeldByThreadsOfTheParentDoNotMatter) {
  ChannelPair pair = MakePair(GetParam());
  std::thread sender([&] {
    while (SendBatch(*pair.client, 1, 1 << 20) == ChannelStatus::kOk) {
    }
  });
  std::thread receiver([&] {
    Message message;
    EXPECT_EQ(pair.client->Receive(&message, milliseconds(-1)), ChannelStatus::kClosed);
  });
  std::this_thread::sleep_for(milliseconds(100));  // both wait now, the sender with its lock held
  EXPECT_EQ(InChild([&] {
              pair.client->AbandonAfterFork();
              if (SendBatch(*pair.client, 1, 1) != ChannelStatus::kClosed) return 1;
              pair.client->error();
              pair.client.reset();
              return 0;
            }),
            0);
  pair.client->Close();
  sender.join();
  receiver.join();
}

INSTANTIATE_TEST_SUITE_P(Transports, ForkTest,
                         testing::Values(Transport::kTcp, Transport::kTls, Transport::kUnix, Transport::kRing,
                                         Transport::kGuest, Transport::kLoopback),
                         [](const auto& info) { return NameOf(info.param); });

}  // namespace
}  // namespace vesper::test
