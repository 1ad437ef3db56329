// What every channel promises (runtime/channel.h), over every transport.
#include "runtime/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>

#include "runtime/wire/limits.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong(20000);  // never reached in a passing test

class ChannelTest : public testing::TestWithParam<Transport> {
 protected:
  void SetUp() override {
    pair_ = MakePair(GetParam());
    ASSERT_NE(pair_.client, nullptr);
    ASSERT_NE(pair_.server, nullptr);
  }
  Channel& client() { return *pair_.client; }
  Channel& server() { return *pair_.server; }

  // Sends batches from the client until nothing more goes through: the returned thread is then
  // inside Send().
  std::thread BlockClientSender(std::atomic<int>* result) {
    std::thread sender([this, result] {
      ChannelStatus status = ChannelStatus::kOk;
      for (uint64_t i = 1; status == ChannelStatus::kOk; ++i) status = SendBatch(client(), i, 1 << 20);
      result->store(static_cast<int>(status));
    });
    uint64_t before = 0;
    for (int still = 0; still < 5;) {  // looks: one alone may be a slow machine's
      std::this_thread::sleep_for(milliseconds(50));
      const uint64_t now = client().bytes_sent();
      still = now != 0 && now == before ? still + 1 : 0;
      before = now;
    }
    return sender;
  }

  ChannelPair pair_;
};

TEST_P(ChannelTest, CarriesEveryKindInOrderBothWays) {
  for (Channel* from : {pair_.client.get(), pair_.server.get()}) {
    Channel& to = from == pair_.client.get() ? server() : client();
    const std::vector<std::pair<MessageKind, std::vector<uint8_t>>> messages = {
        {MessageKind::kHello, HandshakePayload(MessageKind::kHello)},
        {MessageKind::kWelcome, HandshakePayload(MessageKind::kWelcome)},
        {MessageKind::kBatch, Pattern(3, 1000)},
        {MessageKind::kReply, Pattern(4, 8)},
        {MessageKind::kEvent, Pattern(5, 33)},
        {MessageKind::kRefused, Bytes("no")},
        {MessageKind::kGoodbye, Bytes("")},
        {MessageKind::kGoodbye, Bytes(std::string("well\0then", 9))},
        {MessageKind::kBatch, {}}};
    for (const auto& [kind, bytes] : messages) {
      ASSERT_EQ(SendBytes(*from, kind, 0x8000'0000'0000'0001, bytes), ChannelStatus::kOk);
    }
    for (const auto& [kind, bytes] : messages) {
      Message message;
      ASSERT_EQ(to.Receive(&message, kLong), ChannelStatus::kOk) << to.error();
      EXPECT_EQ(message.kind, kind);
      EXPECT_EQ(message.payload, bytes);
      const bool numbered = kind == MessageKind::kBatch || kind == MessageKind::kReply || kind == MessageKind::kEvent;
      EXPECT_EQ(message.sequence, numbered ? 0x8000'0000'0000'0001 : 0);
    }
  }
  EXPECT_EQ(client().error(), "");
  EXPECT_EQ(server().error(), "");
}

TEST_P(ChannelTest, JoinsPartsOfAnyNumberAndSize) {
  std::vector<uint8_t> expected;
  std::vector<std::vector<uint8_t>> pieces;
  for (size_t i = 0; i < 1000; ++i) pieces.push_back(Pattern(i, i % 19));
  std::vector<std::span<const uint8_t>> parts(pieces.begin(), pieces.end());
  for (const auto& piece : pieces) expected.insert(expected.end(), piece.begin(), piece.end());
  ASSERT_EQ(client().Send(MessageKind::kBatch, 1, parts), ChannelStatus::kOk);
  ASSERT_EQ(client().Send(MessageKind::kBatch, 2, {}), ChannelStatus::kOk);
  Message message;
  ASSERT_EQ(server().Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.payload, expected);
  ASSERT_EQ(server().Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.sequence, 2u);
  EXPECT_TRUE(message.payload.empty());
}

TEST_P(ChannelTest, PadsEverySizeAroundTheBuffers) {
  std::vector<size_t> sizes;
  for (size_t i = 0; i < 70; ++i) sizes.push_back(i);
  for (size_t i = 0; i < 120; ++i) sizes.push_back((64 << 10) - 60 + i);
  std::thread sender([&] {
    for (const size_t size : sizes) ASSERT_EQ(SendBatch(client(), size, size), ChannelStatus::kOk);
  });
  for (const size_t size : sizes) {
    Message message;
    ASSERT_EQ(server().Receive(&message, kLong), ChannelStatus::kOk) << server().error();
    ASSERT_EQ(message.payload, Pattern(size, size)) << size;
  }
  sender.join();
  EXPECT_EQ(client().bytes_sent(), server().bytes_received());
}

TEST_P(ChannelTest, CarriesALargePayload) {
  constexpr size_t kSize = size_t{64} << 20;
  std::thread sender([this] { EXPECT_EQ(SendBatch(client(), 9, kSize), ChannelStatus::kOk); });
  Message message;
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kOk);
  sender.join();
  EXPECT_TRUE(message.payload == Pattern(9, kSize));
  EXPECT_GE(client().bytes_sent(), kSize);
}

// Neither end may stop reading because its own writing waits: that would be a deadlock.
TEST_P(ChannelTest, BothDirectionsFilledAtOnce) {
  constexpr uint64_t kMessages = 128;
  const std::vector<uint8_t> payload = Pattern(1, size_t{2} << 20);
  std::atomic<int> wrong = 0;
  const auto send = [&](Channel& channel) {
    for (uint64_t i = 0; i < kMessages; ++i) {
      if (SendBytes(channel, MessageKind::kBatch, i, payload) != ChannelStatus::kOk) ++wrong;
    }
  };
  const auto receive = [&](Channel& channel) {
    Message message;
    for (uint64_t i = 0; i < kMessages; ++i) {
      if (channel.Receive(&message, kLong) != ChannelStatus::kOk || message.sequence != i ||
          message.payload != payload) {
        ++wrong;
      }
    }
  };
  std::thread a(send, std::ref(client())), b(send, std::ref(server()));
  std::this_thread::sleep_for(milliseconds(50));  // both are full now
  std::thread c(receive, std::ref(client())), d(receive, std::ref(server()));
  for (std::thread* thread : {&a, &b, &c, &d}) thread->join();
  EXPECT_EQ(wrong, 0);
}

TEST_P(ChannelTest, SendersOfSeveralThreadsDoNotMix) {
  constexpr uint64_t kThreads = 6, kMessages = 400;
  std::vector<std::thread> senders;
  for (uint64_t t = 0; t < kThreads; ++t) {
    senders.emplace_back([this, t] {
      for (uint64_t i = 0; i < kMessages; ++i) {
        ASSERT_EQ(SendBatch(client(), t << 32 | i, 1 + (i * 977) % 9000), ChannelStatus::kOk);
      }
    });
  }
  std::array<uint64_t, kThreads> next{};
  for (uint64_t i = 0; i < kThreads * kMessages; ++i) {
    Message message;
    ASSERT_EQ(server().Receive(&message, kLong), ChannelStatus::kOk) << server().error();
    ASSERT_LT(message.sequence >> 32, kThreads);
    ASSERT_EQ(static_cast<uint32_t>(message.sequence), next[message.sequence >> 32]++);
    ASSERT_EQ(message.payload, Pattern(message.sequence, message.payload.size()));
  }
  for (auto& sender : senders) sender.join();
}

TEST_P(ChannelTest, ReceiveTimesOutAndThenStillReceives) {
  Message message;
  EXPECT_EQ(server().Receive(&message, milliseconds(0)), ChannelStatus::kTimeout);
  const auto start = steady_clock::now();
  EXPECT_EQ(server().Receive(&message, milliseconds(30)), ChannelStatus::kTimeout);
  EXPECT_GE(steady_clock::now() - start, milliseconds(30));
  ASSERT_EQ(SendBatch(client(), 5, 100), ChannelStatus::kOk);
  ChannelStatus status = ChannelStatus::kTimeout;
  for (int i = 0; i < 1000 && status == ChannelStatus::kTimeout; ++i) {
    status = server().Receive(&message, milliseconds(0));
    if (status == ChannelStatus::kTimeout) std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(status, ChannelStatus::kOk);
  EXPECT_EQ(message.sequence, 5u);
  EXPECT_EQ(server().error(), "");
}

TEST_P(ChannelTest, InterruptEndsOneReceiveAndLosesNothing) {
  Message message;
  server().Interrupt();
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kTimeout);
  server().Interrupt();
  server().Interrupt();  // the same one: nobody received in between
  ASSERT_EQ(SendBatch(client(), 1, 10), ChannelStatus::kOk);
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kTimeout);
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.payload, Pattern(1, 10));

  for (int i = 0; i < 20; ++i) {
    std::thread interrupter([this, i] {
      if (i % 2 == 0) std::this_thread::sleep_for(milliseconds(2));
      server().Interrupt();
    });
    EXPECT_EQ(server().Receive(&message, milliseconds(-1)), ChannelStatus::kTimeout);
    interrupter.join();
  }
  EXPECT_EQ(server().Receive(&message, milliseconds(5)), ChannelStatus::kTimeout);
}

TEST_P(ChannelTest, CloseWakesAReceiver) {
  std::thread closer([this] {
    std::this_thread::sleep_for(milliseconds(20));
    server().Close();
  });
  Message message;
  EXPECT_EQ(server().Receive(&message, milliseconds(-1)), ChannelStatus::kClosed);
  closer.join();
  server().Close();
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kClosed);
  EXPECT_EQ(SendBatch(server(), 1, 1), ChannelStatus::kClosed);
  EXPECT_EQ(server().error(), "") << "an orderly end is no error";
}

TEST_P(ChannelTest, ASenderWaitsForAPeerThatNeverReadsUntilClose) {
  std::atomic<int> result = -1, second = -1;
  std::thread sender = BlockClientSender(&result);
  std::thread other([&] { second = static_cast<int>(SendBatch(client(), 1, 1)); });
  std::this_thread::sleep_for(milliseconds(50));
  EXPECT_EQ(result, -1);
  EXPECT_EQ(second, -1);
  client().Close();
  sender.join();
  other.join();
  EXPECT_EQ(result, static_cast<int>(ChannelStatus::kClosed));
  EXPECT_EQ(second, static_cast<int>(ChannelStatus::kClosed));
}

TEST_P(ChannelTest, ABlockedSenderDoesNotHinderReceiving) {
  std::atomic<int> result = -1;
  std::thread sender = BlockClientSender(&result);
  ASSERT_EQ(SendBatch(server(), 77, 5000), ChannelStatus::kOk);
  Message message;
  EXPECT_EQ(client().Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.sequence, 77u);
  EXPECT_EQ(result, -1);
  client().Close();
  sender.join();
}

// Who must not wait sends only what goes at once: until the peer reads, that ends.
TEST_P(ChannelTest, WhatIsSentAtOnceNeverWaits) {
  ChannelPair pair = MakePair(GetParam());
  constexpr size_t kBytes = 32 * 1024;
  uint64_t sent = 0;
  while (pair.client->SendsAtOnce(kBytes)) ASSERT_EQ(SendBatch(*pair.client, ++sent, kBytes), ChannelStatus::kOk);
  EXPECT_GE(sent, 1u);
  const uint64_t stuck = pair.client->bytes_delivered();
  EXPECT_LT(stuck, pair.client->bytes_sent());
  Message message;
  for (uint64_t i = 1; i <= sent; ++i)
    ASSERT_EQ(pair.server->Receive(&message, milliseconds(5000)), ChannelStatus::kOk);
  while (pair.client->bytes_delivered() < pair.client->bytes_sent()) std::this_thread::yield();
  EXPECT_TRUE(pair.client->SendsAtOnce(kBytes));
}

// Whatever the line was found to carry before: bounds follow that, the kernel's more slowly than ours. Small messages, as answers
// are, come closest to a bound; who sends them may be who has to read what would end the wait.
TEST_P(ChannelTest, WhatIsSentAtOnceNeverWaitsWhateverTheLineCarries) {
  constexpr size_t kLarge = 64 * 1024, kSmall = 40;
  for (const int microseconds : {100, 350, 450, 600, 1500, 4000}) {
    ChannelPair pair = MakePair(GetParam());
    constexpr uint64_t kMany = 40;
    std::thread reader([&] {
      Message message;
      for (uint64_t i = 0; i < kMany; ++i) {
        ASSERT_EQ(pair.server->Receive(&message, kLong), ChannelStatus::kOk);
        std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
      }
    });
    for (uint64_t i = 1; i <= kMany; ++i) EXPECT_EQ(SendBatch(*pair.client, i, kLarge), ChannelStatus::kOk);
    reader.join();
    std::atomic<bool> stuck = true;
    std::thread sender([&] {
      for (uint64_t i = 1; i < 1'000'000 && pair.client->SendsAtOnce(kSmall); ++i) SendBatch(*pair.client, i, kSmall);
      stuck = false;
    });
    for (int waited = 0; stuck && waited < 1000; ++waited) std::this_thread::sleep_for(milliseconds(10));
    EXPECT_FALSE(stuck) << "after " << pair.client->line_rate() << " bytes a second";
    if (stuck) pair.client->Close();
    sender.join();
  }
}

TEST_P(ChannelTest, ThePeersCloseWakesABlockedSender) {
  std::atomic<int> result = -1;
  std::thread sender = BlockClientSender(&result);
  server().Close();
  sender.join();
  EXPECT_EQ(result, static_cast<int>(ChannelStatus::kClosed));
  EXPECT_NE(client().error(), "");
  EXPECT_EQ(SendBatch(client(), 1, 1), ChannelStatus::kClosed);
}

TEST_P(ChannelTest, ThePeersDestructionWakesABlockedSenderAndReceiver) {
  std::atomic<int> result = -1;
  std::thread sender = BlockClientSender(&result);
  std::thread receiver([this] {
    Message message;
    EXPECT_EQ(client().Receive(&message, milliseconds(-1)), ChannelStatus::kClosed);
  });
  std::this_thread::sleep_for(milliseconds(20));
  pair_.server.reset();
  sender.join();
  receiver.join();
  EXPECT_EQ(result, static_cast<int>(ChannelStatus::kClosed));
}

TEST_P(ChannelTest, WhatWasSentBeforeTheEndIsStillReceived) {
  ASSERT_EQ(SendBatch(client(), 1, 3000), ChannelStatus::kOk);
  ASSERT_EQ(SendBytes(client(), MessageKind::kGoodbye, 0, Bytes("done")), ChannelStatus::kOk);
  pair_.client.reset();
  Message message;
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.payload, Pattern(1, 3000));
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.payload, Bytes("done"));
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kClosed);
  EXPECT_EQ(server().Receive(&message, kLong), ChannelStatus::kClosed);
  EXPECT_EQ(server().error(), "the peer closed the connection");
  EXPECT_EQ(SendBatch(server(), 1, 1), ChannelStatus::kClosed) << "at once, the end is known";
}

// SIGPIPE is left at its default here, which would kill the test.
TEST_P(ChannelTest, SendingToADeadPeerRaisesNoSignal) {
  struct sigaction before, after;
  ASSERT_EQ(sigaction(SIGPIPE, nullptr, &before), 0);
  ASSERT_EQ(before.sa_handler, SIG_DFL);
  pair_.server.reset();
  ChannelStatus status = ChannelStatus::kOk;
  for (int i = 0; i < 1000 && status == ChannelStatus::kOk; ++i) {
    status = SendBatch(client(), 1, 100);
    if (status == ChannelStatus::kOk) std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_EQ(status, ChannelStatus::kClosed);
  EXPECT_NE(client().error(), "");
  ASSERT_EQ(sigaction(SIGPIPE, nullptr, &after), 0);
  EXPECT_EQ(after.sa_handler, before.sa_handler);
}

TEST_P(ChannelTest, RefusesToSendWhatNobodyWouldReceive) {
  const std::vector<uint8_t> megabyte(1 << 20);
  std::vector<std::span<const uint8_t>> parts(wire::kMaxMessageBytes >> 20, megabyte);
  const uint8_t one_more = 1;
  const uint64_t before = client().bytes_sent();
  parts.push_back({&one_more, 1});
  EXPECT_EQ(client().Send(MessageKind::kBatch, 1, parts), ChannelStatus::kMalformed);
  EXPECT_EQ(SendBytes(client(), MessageKind::kHello, 0, Bytes("no frame")), ChannelStatus::kMalformed);
  EXPECT_EQ(SendBytes(client(), MessageKind::kHello, 0, HandshakePayload(MessageKind::kWelcome)),
            ChannelStatus::kMalformed);
  EXPECT_EQ(client().bytes_sent(), before);
  EXPECT_NE(client().error(), "");
  EXPECT_EQ(SendBatch(client(), 1, 1), ChannelStatus::kOk) << "the channel is as it was";
}

TEST_P(ChannelTest, LeaksNoDescriptorAndHandsNoneToChildren) {
  pair_ = {};
  const auto before = OpenDescriptors();
  for (int i = 0; i < 50; ++i) {
    ChannelPair pair = MakePair(GetParam());
    for (const int fd : OpenDescriptors()) {
      if (before.contains(fd)) continue;
      EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << fd;
    }
    if (i % 2 == 0) pair.client->Close();
    if (i % 3 == 0) pair.server->AbandonAfterFork();
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_P(ChannelTest, KnowsThePeerOfAUnixSocket) {
  const bool unix_socket =
      GetParam() == Transport::kUnix || GetParam() == Transport::kSocketPair || GetParam() == Transport::kRing;
  EXPECT_EQ(server().peer_pid(), unix_socket ? getpid() : 0);
}

INSTANTIATE_TEST_SUITE_P(Transports, ChannelTest,
                         testing::Values(Transport::kTcp, Transport::kTls, Transport::kUnix, Transport::kSocketPair,
                                         Transport::kRing, Transport::kGuest, Transport::kLoopback),
                         [](const auto& info) { return NameOf(info.param); });

}  // namespace
}  // namespace vesper::test
