// Protects that a session's reader never waits for a client that does not read, and that order
// holds all the same.
#include "server/channel/outbox.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "runtime/wire/record.h"
#include "tests/server/recording_channel.h"

namespace vesper::server {
namespace {

constexpr std::chrono::milliseconds kPatience{5000};

std::vector<uint8_t> Bytes(size_t size) { return std::vector<uint8_t>(size, 7); }

TEST(OutboxTest, SendsInOrderWhicheverThreadDoesIt) {
  RecordingChannel channel;
  Outbox outbox(&channel);
  for (uint64_t i = 0; i < 300; ++i) {
    channel.set_at_once(i % 3 != 0);
    ASSERT_TRUE(outbox.Send(MessageKind::kReply, i, Bytes(i % 50)));
  }
  outbox.Flush(kPatience);
  const std::vector<SentMessage> sent = channel.sent();
  ASSERT_EQ(sent.size(), 300u);
  for (uint64_t i = 0; i < 300; ++i) {
    EXPECT_EQ(sent[i].sequence, i);
    EXPECT_EQ(sent[i].payload.size(), i % 50);
  }
}

// Two switches of threads for each reply would be most of what a round trip costs.
TEST(OutboxTest, WhatIsSentAtOnceWakesNobody) {
  RecordingChannel channel;
  channel.set_at_once(true);
  Outbox outbox(&channel);
  for (uint64_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(outbox.Send(MessageKind::kReply, i, Bytes(50)));
    std::this_thread::yield();
  }
  EXPECT_EQ(channel.sent().size(), 300u);
  EXPECT_LT(outbox.looks(), 30u);
}

TEST(OutboxTest, DoesNotWaitForAPeerThatDoesNotRead) {
  RecordingChannel channel;
  channel.set_open(false);
  Outbox outbox(&channel, 10'000);
  for (uint64_t i = 0; i < 9; ++i) ASSERT_TRUE(outbox.Send(MessageKind::kEvent, i, Bytes(1000)));
  EXPECT_TRUE(channel.sent().empty());
  channel.set_open(true);
  outbox.Flush(kPatience);
  EXPECT_EQ(channel.sent().size(), 9u);
  EXPECT_EQ(outbox.queued_bytes(), 0u);
}

// Large events are taken away without a copy, between others in their order, and their buffers come back.
TEST(OutboxTest, TakesBuffersAway) {
  RecordingChannel channel;
  Outbox outbox(&channel);
  for (uint8_t i = 0; i < 100; ++i) {
    wire::ByteBuffer event;
    if (i % 2 == 0) {
      std::memset(event.Append(70'000), i, 70'000);
    } else {
      event.Append(&i, 1);
    }
    const uint8_t* const place = event.data();
    ASSERT_TRUE(outbox.SendBuffer(&event));
    EXPECT_EQ(event.data() == place, i % 2 != 0);
    outbox.AwaitRoom();
  }
  outbox.Flush(kPatience);
  const std::vector<SentMessage> sent = channel.sent();
  ASSERT_EQ(sent.size(), 100u);
  for (uint8_t i = 0; i < 100; ++i) EXPECT_EQ(sent[i].payload, std::vector<uint8_t>(i % 2 == 0 ? 70'000 : 1, i));
}

TEST(OutboxTest, WhoLooksForMoreWaitsUnlessTheReaderIsInAHurry) {
  RecordingChannel channel;
  channel.set_open(false);
  Outbox outbox(&channel);
  wire::ByteBuffer event;
  for (size_t size = 0; size <= limits::kMaxAhead; size += 100'000) {
    event.clear();
    std::memset(event.Append(100'000), 1, 100'000);
    ASSERT_TRUE(outbox.SendBuffer(&event));
  }
  outbox.BeginHurry();
  outbox.AwaitRoom();
  EXPECT_GT(outbox.queued_bytes(), limits::kMaxAhead) << "it did not wait";
  outbox.EndHurry();
  channel.set_open(true);
  outbox.AwaitRoom();
  EXPECT_LE(outbox.queued_bytes(), limits::kMaxAhead);
  outbox.Flush(kPatience);
}

TEST(OutboxTest, EndsTheSessionBeyondItsBound) {
  RecordingChannel channel;
  channel.set_open(false);
  Outbox outbox(&channel, 10'000);
  uint64_t taken = 0;
  while (taken < 100 && outbox.Send(MessageKind::kEvent, taken, Bytes(1000))) ++taken;
  EXPECT_EQ(taken, 10u);
  EXPECT_TRUE(channel.closed());
  EXPECT_NE(outbox.error().find("unread"), std::string::npos);
  EXPECT_FALSE(outbox.Send(MessageKind::kReply, 1, Bytes(1)));
}

// Messages for debug callbacks: many of them must not end the session.
// A number that overtook a message would tell of a completion before the memory that it covers.
TEST(OutboxTest, NumbersOvertakeNothing) {
  RecordingChannel channel;
  Outbox outbox(&channel);
  EXPECT_TRUE(outbox.Raise(1, 1));
  channel.set_open(false);
  ASSERT_TRUE(outbox.Send(MessageKind::kEvent, 1, Bytes(10)));
  EXPECT_FALSE(outbox.Raise(1, 2)) << "a message waits";
  channel.set_open(true);
  outbox.Flush(kPatience);
  EXPECT_TRUE(outbox.Raise(1, 2));
}

TEST(OutboxTest, LeavesOutWhatMayBeLeftOut) {
  RecordingChannel channel;
  channel.set_open(false);
  Outbox outbox(&channel, 10'000);
  size_t taken = 0;
  for (int i = 0; i < 100; ++i) taken += outbox.SendIfRoom(Bytes(1000), 3000) ? 1 : 0;
  EXPECT_GE(taken, 3u);
  EXPECT_LE(taken, 4u) << "one may be on its way already";
  EXPECT_TRUE(outbox.error().empty());
  EXPECT_TRUE(outbox.Send(MessageKind::kReply, 1, Bytes(1000))) << "the rest is not concerned";
  channel.set_open(true);
  outbox.Flush(kPatience);
  EXPECT_EQ(channel.sent().size(), taken + 1);
  EXPECT_EQ(outbox.queued_bytes(), 0u);
  EXPECT_TRUE(outbox.SendIfRoom(Bytes(1000), 3000));
}

TEST(OutboxTest, EndsWhileThePeerDoesNotRead) {
  RecordingChannel channel;
  channel.set_open(false);
  Outbox outbox(&channel);
  outbox.Send(MessageKind::kEvent, 1, Bytes(10));
}

TEST(OutboxTest, SaysThatItLivesWhileOneMessageTakesLong) {
  RecordingChannel channel;
  Outbox outbox(&channel);
  const auto wait = [&](size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (channel.sent().size() < count && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return channel.sent().size();
  };
  for (int i = 0; i < 100; ++i) const Working brief(&outbox);
  std::this_thread::sleep_for(3 * limits::kAliveInterval);
  EXPECT_EQ(channel.sent().size(), 0u);
  {
    const Working working(&outbox);
    EXPECT_GE(wait(2), 2u);
  }
  std::this_thread::sleep_for(limits::kAliveInterval);
  const size_t said = channel.sent().size();
  std::this_thread::sleep_for(3 * limits::kAliveInterval);
  EXPECT_EQ(channel.sent().size(), said);
  {
    const Working working(&outbox);  // after a pause, too
    EXPECT_GT(wait(said + 1), said);
  }
  for (const SentMessage& message : channel.sent()) {
    EXPECT_EQ(message.kind, MessageKind::kEvent);
    EXPECT_EQ(message.payload.size(), sizeof(wire::RecordHeader));
  }
}

}  // namespace
}  // namespace vesper::server
