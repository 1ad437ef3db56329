// What a ring channel promises beyond tests/runtime/channel_test.cpp: what it costs, who is woken, numbers, messages beside the
// ring, and a peer that dies or stores anything into the shared page.
#include "runtime/transport/ring_channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <random>
#include <thread>

#include "runtime/address.h"
#include "runtime/handshake.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using std::chrono::milliseconds;
using transport::RingChannel;
using transport::RingEnd;
using transport::RingMemory;
using transport::RingPage;

constexpr milliseconds kLong(20000);  // never reached in a passing test

// A doorbell that is no futex, and counts.
class CountingDoorbell final : public transport::Doorbell {
 public:
  void Sleep(std::atomic<uint32_t>* word, uint32_t seen, std::chrono::nanoseconds time) override {
    std::unique_lock lock(mutex_);
    ++sleepers_;
    changed_.notify_all();
    changed_.wait_for(lock, time, [&] { return *word != seen && !held_; });
    --sleepers_;
  }
  void Ring(std::atomic<uint32_t>*) override {
    const std::lock_guard lock(mutex_);
    ++rings_;
    changed_.notify_all();
  }
  void AwaitSleeper(int count = 1) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this, count] { return sleepers_ >= count; });
  }
  // Keeps whoever was woken from noticing.
  void Hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  int rings() {
    const std::lock_guard lock(mutex_);
    return rings_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int sleepers_ = 0, rings_ = 0;
  bool held_ = false;
};

// Both ends over memory that is the test's, as a guest and its host would have it.
class RingChannelTest : public testing::Test {
 protected:
  void SetUp() override {
    memory_.resize(transport::kRingLayout.end() + alignof(RingPage));
    uint8_t* begin =
        memory_.data() + (alignof(RingPage) - reinterpret_cast<uintptr_t>(memory_.data()) % alignof(RingPage));
    const std::span<uint8_t> shared(begin, transport::kRingLayout.end());
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    // What MakeSocketChannel() makes of a Unix socket is a RingChannel that has no ring yet.
    client_.reset(static_cast<RingChannel*>(MakeSocketChannel(ends[0]).release()));
    server_.reset(static_cast<RingChannel*>(MakeSocketChannel(ends[1]).release()));
    client_->Begin(RingMemory::Over(shared, transport::kRingLayout), RingEnd::kClient, &doorbell_);
    server_->Begin(RingMemory::Over(shared, transport::kRingLayout), RingEnd::kServer, &doorbell_);
    page_ = reinterpret_cast<RingPage*>(begin);
  }
  Message Receive(Channel& channel) {
    Message message;
    EXPECT_EQ(channel.Receive(&message, kLong), ChannelStatus::kOk) << channel.error();
    return message;
  }
  static std::vector<uint64_t> Words(const Message& message) {
    std::vector<uint64_t> words(message.payload.size() / sizeof(uint64_t));
    if (!words.empty()) std::memcpy(words.data(), message.payload.data(), message.payload.size());
    return words;
  }

  std::vector<uint8_t> memory_;
  CountingDoorbell doorbell_;
  RingPage* page_ = nullptr;
  std::unique_ptr<RingChannel> client_, server_;
};

TEST_F(RingChannelTest, NobodyIsWokenWhoIsAwake) {
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_EQ(SendBatch(*client_, i, 200), ChannelStatus::kOk);
    EXPECT_EQ(Receive(*server_).sequence, i);
    ASSERT_EQ(SendBytes(*server_, MessageKind::kReply, i, {1, 2, 3}), ChannelStatus::kOk);
    EXPECT_EQ(Receive(*client_).sequence, i);
  }
  EXPECT_EQ(doorbell_.rings(), 0);
  for (const RingChannel* end : {client_.get(), server_.get()}) {
    EXPECT_EQ(end->counts().wakes, 0u);
    EXPECT_EQ(end->counts().sleeps, 0u);
    EXPECT_EQ(end->counts().beside, 0u);
    EXPECT_EQ(end->counts().copies, 1000u);
  }
}

TEST_F(RingChannelTest, ASleeperIsWokenOnceForAllThatComes) {
  std::thread receiver([this] {
    for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(Receive(*server_).sequence, i);
  });
  doorbell_.AwaitSleeper();
  doorbell_.Hold(true);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_EQ(SendBatch(*client_, i, 200), ChannelStatus::kOk);
  EXPECT_EQ(doorbell_.rings(), 1);
  EXPECT_EQ(client_->counts().wakes, 1u);
  doorbell_.Hold(false);
  receiver.join();
}

TEST_F(RingChannelTest, WhatIsEncodedInPlaceIsNotCopied) {
  for (uint64_t i = 1; i <= 300; ++i) {
    const std::span<uint8_t> room = client_->Reserve(32 << 10);
    ASSERT_EQ(room.size(), size_t{32} << 10);
    EXPECT_TRUE(client_->Reserve(1).empty()) << "one at a time";
    EXPECT_FALSE(client_->SendsAtOnce(1));
    EXPECT_EQ(SendBatch(*client_, 1, 1), ChannelStatus::kMalformed) << "while a message is being encoded";
    const std::vector<uint8_t> bytes = Pattern(i, i * 100);
    std::copy(bytes.begin(), bytes.end(), room.begin());
    ASSERT_EQ(client_->Commit(MessageKind::kBatch, i, bytes.size()), ChannelStatus::kOk);
    const Message message = Receive(*server_);
    EXPECT_EQ(message.sequence, i);
    EXPECT_EQ(message.payload, bytes);
  }
  EXPECT_EQ(client_->counts().copies, 0u);
}

TEST_F(RingChannelTest, WhatIsReservedCanBeGivenBack) {
  EXPECT_EQ(client_->Commit(MessageKind::kBatch, 1, 1), ChannelStatus::kMalformed) << "nothing was reserved";
  ASSERT_FALSE(client_->Reserve(100).empty());
  EXPECT_EQ(client_->Commit(MessageKind::kBatch, 1, 101), ChannelStatus::kMalformed) << "more than was reserved";
  ASSERT_FALSE(client_->Reserve(100).empty());
  EXPECT_EQ(client_->Commit(MessageKind::kBatch, 1, 0), ChannelStatus::kOk);
  EXPECT_EQ(SendBatch(*client_, 10, 1), ChannelStatus::kOk);
  EXPECT_EQ(Receive(*server_).sequence, 10u);
}

TEST_F(RingChannelTest, NothingIsReservedInAFullRing) {
  while (client_->SendsAtOnce(32 << 10)) ASSERT_EQ(SendBatch(*client_, 1, 32 << 10), ChannelStatus::kOk);
  EXPECT_TRUE(client_->Reserve(32 << 10).empty());
  EXPECT_TRUE(client_->Reserve(size_t{1} << 40).empty());
  Receive(*server_);
  Receive(*server_);
  EXPECT_FALSE(client_->Reserve(32 << 10).empty());
}

TEST_F(RingChannelTest, LargeMessagesKeepTheirPlaceAmongSmallOnes) {
  std::thread sender([this] {
    for (uint64_t i = 0; i < 60; ++i) {
      ASSERT_EQ(SendBatch(*client_, i, i % 3 == 0 ? size_t{600} << 10 : 50 * i), ChannelStatus::kOk);
    }
  });
  for (uint64_t i = 0; i < 60; ++i) {
    const Message message = Receive(*server_);
    ASSERT_EQ(message.sequence, i);
    ASSERT_TRUE(message.payload == Pattern(i, message.payload.size()));
  }
  sender.join();
  EXPECT_EQ(client_->counts().beside, 20u);
}

TEST_F(RingChannelTest, NumbersComeWithoutAMessageAndAtTheirHighest) {
  EXPECT_FALSE(client_->Raise(5, 1)) << "a client raises nothing";
  for (uint64_t i = 1; i <= 100; ++i) ASSERT_TRUE(server_->Raise(5, i));
  ASSERT_TRUE(server_->Raise(6, 1));
  const Message message = Receive(*client_);
  EXPECT_EQ(message.kind, MessageKind::kNumbers);
  EXPECT_EQ(Words(message), (std::vector<uint64_t>{5, 100, 6, 1}));
  Message none;
  EXPECT_EQ(client_->Receive(&none, milliseconds(0)), ChannelStatus::kTimeout);
  ASSERT_TRUE(server_->Raise(6, 2));
  EXPECT_EQ(Words(Receive(*client_)), (std::vector<uint64_t>{6, 2}));
  EXPECT_EQ(doorbell_.rings(), 0);
  for (uint64_t key = 7; key < 7 + RingPage::kNumbers - 2; ++key) EXPECT_TRUE(server_->Raise(key, 1));
  EXPECT_FALSE(server_->Raise(1000, 1)) << "the page is full";
  EXPECT_TRUE(server_->Raise(7, 2));
}

TEST_F(RingChannelTest, ANumberComesAfterTheMessagesBeforeIt) {
  ASSERT_EQ(SendBytes(*server_, MessageKind::kEvent, 1, {1}), ChannelStatus::kOk);
  EXPECT_FALSE(server_->Raise(5, 1)) << "a message is on its way: the number is to follow it as one";
  EXPECT_EQ(Receive(*client_).sequence, 1u);
  const std::vector<uint8_t> large(size_t{300} << 10);  // beside the ring
  std::thread sender([&] { EXPECT_EQ(SendBytes(*server_, MessageKind::kEvent, 2, large), ChannelStatus::kOk); });
  while (server_->counts().beside == 0) std::this_thread::yield();
  EXPECT_FALSE(server_->Raise(5, 1));
  EXPECT_EQ(Receive(*client_).sequence, 2u);
  sender.join();
  EXPECT_TRUE(server_->Raise(5, 1));
  EXPECT_EQ(SendBytes(*server_, MessageKind::kEvent, 3, {1}), ChannelStatus::kOk);
  EXPECT_EQ(Receive(*client_).kind, MessageKind::kNumbers);
  EXPECT_EQ(Receive(*client_).sequence, 3u);
}

// Who has a reply knows what had completed when it was given.
TEST_F(RingChannelTest, ANumberComesBeforeTheMessagesAfterIt) {
  constexpr uint64_t kRounds = 50000;
  std::thread sender([this] {
    for (uint64_t i = 1; i <= kRounds; ++i) {
      if (!server_->Raise(5, i)) {
        EXPECT_EQ(SendBytes(*server_, MessageKind::kEvent, i, {1}), ChannelStatus::kOk);
      }
      EXPECT_EQ(SendBytes(*server_, MessageKind::kReply, i, {1}), ChannelStatus::kOk);
    }
  });
  uint64_t reached = 0, overtaken = 0;
  for (uint64_t replies = 0; replies < kRounds;) {
    const Message message = Receive(*client_);
    if (message.kind != MessageKind::kReply) {
      const uint64_t value = message.kind == MessageKind::kNumbers ? Words(message)[1] : message.sequence;
      if (value <= reached) ++overtaken;
      reached = value;
    } else {
      EXPECT_EQ(message.sequence, ++replies);
      if (message.sequence > reached) ++overtaken;
    }
  }
  sender.join();
  EXPECT_EQ(overtaken, 0u);
}

TEST_F(RingChannelTest, ANumberWakesASleeper) {
  std::thread receiver([this] { EXPECT_EQ(Words(Receive(*client_)), (std::vector<uint64_t>{5, 1})); });
  doorbell_.AwaitSleeper();
  EXPECT_TRUE(server_->Raise(5, 1));
  receiver.join();
  EXPECT_EQ(server_->counts().wakes, 1u);
}

TEST_F(RingChannelTest, WhoRaisesANumberForASleeperExpectsItsAnswer) {
  for (const bool expects : {false, true}) {
    server_->ExpectAnswers(expects);
    const int before = doorbell_.rings();
    std::thread server([this] { EXPECT_EQ(Receive(*server_).sequence, 9u); });
    doorbell_.AwaitSleeper();
    std::thread client([this, expects] {
      EXPECT_EQ(Words(Receive(*client_)), (std::vector<uint64_t>{5, expects ? 2u : 1u}));
    });
    doorbell_.AwaitSleeper(2);
    EXPECT_TRUE(server_->Raise(5, expects ? 2 : 1));
    client.join();
    EXPECT_EQ(doorbell_.rings() - before, expects ? 2 : 1);
    ASSERT_EQ(SendBatch(*client_, 9, 200), ChannelStatus::kOk);
    server.join();
  }
}

// As a process that is killed: its descriptors close, and it stores nothing more.
TEST_F(RingChannelTest, APeerThatDiesWakesEveryone) {
  std::thread receiver([this] {
    Message message;
    EXPECT_EQ(client_->Receive(&message, milliseconds(-1)), ChannelStatus::kClosed);
  });
  std::thread sender([this] {
    while (SendBatch(*client_, 1, 10000) == ChannelStatus::kOk) {
    }
  });
  while (client_->counts().sleeps < 2) std::this_thread::yield();
  server_->AbandonAfterFork();
  receiver.join();
  sender.join();
  EXPECT_EQ(client_->error(), "the peer closed the connection");
  EXPECT_EQ(SendBatch(*client_, 1, 1), ChannelStatus::kClosed);
}

TEST_F(RingChannelTest, WhatIsInTheRingIsNotDelivered) {
  ASSERT_EQ(SendBatch(*client_, 1, 5000), ChannelStatus::kOk);
  EXPECT_LE(client_->bytes_delivered(), client_->bytes_sent() - 5000);
  Receive(*server_);
  EXPECT_EQ(client_->bytes_delivered(), client_->bytes_sent());
}

// As a worker that crashes: its last words are bytes on the socket.
TEST(RingEndTest, WhatADyingPeerSaysOnTheSocketIsHeard) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const int raw = dup(ends[0]);
  auto server = MakeSocketChannel(ends[0]);
  const auto client = MakeSocketChannel(ends[1]);
  std::thread offering([&] { EXPECT_TRUE(server->OfferRing()); });
  ASSERT_TRUE(client->TakeRing());
  offering.join();
  ASSERT_EQ(SendBytes(*server, MessageKind::kEvent, 1, {1}), ChannelStatus::kOk);
  const std::vector<uint8_t> words = EncodeNotice(MessageKind::kGoodbye, "it crashed");
  ASSERT_EQ(write(raw, words.data(), words.size()), static_cast<ssize_t>(words.size()));
  close(raw);
  server->AbandonAfterFork();  // stores nothing more
  Message message;
  ASSERT_EQ(client->Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.kind, MessageKind::kEvent);
  ASSERT_EQ(client->Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.kind, MessageKind::kGoodbye);
  EXPECT_EQ(message.payload, Bytes("it crashed"));
  EXPECT_EQ(client->Receive(&message, kLong), ChannelStatus::kClosed);
}

TEST_F(RingChannelTest, GarbageInTheRingEndsItWithAReason) {
  uint8_t* const ring = reinterpret_cast<uint8_t*>(page_) + transport::kRingLayout.commands;
  std::memset(ring, 0xff, 64);
  page_->commands.tail = 64;
  Message message;
  EXPECT_EQ(server_->Receive(&message, kLong), ChannelStatus::kMalformed);
  EXPECT_EQ(server_->error(), "what the peer stored into the ring is no message");
}

// Every word of the page changes under both ends all the time; they need not understand each other, but must not crash, leave
// the ring, or be kept from closing.
TEST_F(RingChannelTest, AnythingMayBeStoredIntoThePage) {
  std::atomic<bool> stop = false;
  const auto use = [&](RingChannel& channel) {
    for (int i = 0; !stop && i < 2000; ++i) {
      if (channel.SendsAtOnce(300)) SendBatch(channel, 1, 300);
      channel.Raise(static_cast<uint64_t>(i % 70) + 1, static_cast<uint64_t>(i));
      Message message;
      channel.Receive(&message, milliseconds(0));
      const std::span<uint8_t> room = channel.Reserve(1000);
      if (!room.empty()) std::memset(room.data(), 0, room.size());
      if (!room.empty()) channel.Commit(MessageKind::kBatch, 1, 500);
    }
  };
  std::thread hostile([&] {
    std::mt19937_64 random(3);
    auto* words = reinterpret_cast<std::atomic<uint32_t>*>(page_);
    while (!stop) {
      const size_t at = random() % (sizeof(RingPage) / sizeof(uint32_t));
      words[at].store(random() % 2 == 0 ? static_cast<uint32_t>(random()) : static_cast<uint32_t>(random() % 64 * 16));
    }
  });
  std::thread a([&] { use(*client_); }), b([&] { use(*server_); });
  a.join();
  b.join();
  std::thread waiting([&] {
    Message message;
    while (client_->Receive(&message, milliseconds(-1)) == ChannelStatus::kOk) {
    }
  });
  client_->Close();
  waiting.join();
  stop = true;
  hostile.join();
}

}  // namespace
}  // namespace vesper::test
