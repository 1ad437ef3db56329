// The front end as a driver meets it that may be hostile: a socket, memory and rings of its own, without a session behind. What
// cannot be understood ends the connection with a sentence; what is waited for is waited for by that ring alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "generated/venus/structs.h"
#include "generated/wire/all.h"
#include "runtime/handshake.h"
#include "runtime/wire/record.h"
#include "server/venus/venus_channel.h"
#include "tests/venus/fake_driver.h"
#include "tests/venus/samples.h"
#include "tests/wire/random.h"

namespace vesper::test {
namespace {

using namespace std::chrono_literals;

class FrontEnd : public testing::Test {
 protected:
  FrontEnd() { Connect(); }
  void Connect() {
    hellos_ = 0;
    channel_ = std::make_unique<venus::VenusChannel>(driver_.Connect(),
                                                     venus::VenusChannel::Options{1 << 16, size_t{1} << 24});
  }

  // What a session's thread does: takes what there is until there is nothing.
  ChannelStatus Look() {
    ChannelStatus status;
    for (int i = 0; i < 64; ++i) {  // the socket is looked at now and then
      Message message;
      status = channel_->Receive(&message, 0ms);
      if (status == ChannelStatus::kOk) {
        Keep(message);
      } else if (status != ChannelStatus::kTimeout) {
        return status;
      }
    }
    return status;
  }
  void Keep(const Message& message) {
    if (message.kind == MessageKind::kHello) {
      ++hellos_;
      return;
    }
    std::span<const uint8_t> bytes = message.payload;
    wire::RecordHeader header;
    std::span<const uint8_t> body;
    while (wire::NextRecord(&bytes, &header, &body)) {
      records_.push_back(static_cast<Command>(header.command));
      if ((header.flags & wire::kWantsReply) != 0) asked_.push_back(message.sequence);
    }
  }

  void Greet() {
    driver_.SayName();
    EXPECT_EQ(Look(), ChannelStatus::kTimeout);
    EXPECT_EQ(hellos_, 1);
  }
  std::unique_ptr<Memory> MakeMemory(uint64_t size, uint64_t of = 0) {
    driver_.Say(Vtest::kCreateBlob, {2, 1, static_cast<uint32_t>(size), static_cast<uint32_t>(size >> 32),
                                     static_cast<uint32_t>(of), static_cast<uint32_t>(of >> 32)});
    EXPECT_EQ(Look(), ChannelStatus::kTimeout);
    const std::vector<uint32_t> answer = driver_.Hear();
    auto memory = std::make_unique<Memory>(driver_.HearFile(), size);
    memory->number = answer.empty() ? 0 : answer[0];
    return memory;
  }
  std::unique_ptr<Memory> MakeRing(uint64_t key) {
    auto memory = MakeMemory(kRingSize);
    driver_.Submit(driver_.RingOf(key, memory->number));
    EXPECT_EQ(Look(), ChannelStatus::kTimeout);
    return memory;
  }
  std::string Ends() {
    EXPECT_EQ(Look(), ChannelStatus::kMalformed);
    return channel_->error();
  }
  template <typename Args>
  void Reply(const Args& v) {
    wire::ByteBuffer out;
    const wire::ReplyHeader header{};
    out.Append(&header, sizeof(header));
    wire::Encoder encoder(&out);
    wire::EncodeReply(encoder, v);
    const std::span<const uint8_t> part(out.data(), out.size());
    ASSERT_FALSE(asked_.empty());
    EXPECT_EQ(channel_->Send(MessageKind::kReply, asked_.back(), {&part, 1}), ChannelStatus::kOk);
  }

  FakeDriver driver_;
  std::unique_ptr<venus::VenusChannel> channel_;
  int hellos_ = 0;
  std::vector<Command> records_;
  std::vector<uint64_t> asked_;
  std::unique_ptr<Memory> ring_;
};

TEST_F(FrontEnd, SaysWhatTheDriverAsks) {
  Greet();
  driver_.Say(Vtest::kPing, {});
  driver_.Say(Vtest::kProtocolVersion, {3});
  driver_.Say(Vtest::kGetParam, {1});
  driver_.Say(Vtest::kGetCapset, {4, 0});
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  EXPECT_TRUE(driver_.Hear().empty());
  EXPECT_EQ(driver_.Hear(), (std::vector<uint32_t>{3}));
  EXPECT_EQ(driver_.Hear(), (std::vector<uint32_t>{1, 64}));
  const std::vector<uint32_t> capset = driver_.Hear();
  ASSERT_EQ(capset.size(), 41u);
  EXPECT_EQ(capset[1], 1u);       // the format of the wire
  EXPECT_EQ(capset[6] & 1u, 1u);  // the mask is one
}

TEST_F(FrontEnd, TheHeadFollowsWhatIsDoneAndAReplyIsThereBefore) {
  Greet();
  auto replies = MakeMemory(4096);
  auto ring = MakeRing(7);
  driver_.Put(ring.get(),
              Words().Command(venus::kSetReplyCommandStreamMESA).U64(1).U32(replies->number).U64(64).U64(512));
  driver_.Put(ring.get(), Words().Command(0x89, 1).U64(1));
  const uint32_t before = ring->word(64).load() - 16;
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  EXPECT_EQ(records_, std::vector<Command>{Command::kEnumerateInstanceVersion});
  EXPECT_EQ(ring->word(0).load(), before);  // not past what is not answered
  uint32_t version = 77;
  wire::EnumerateInstanceVersionArgs v{};
  v.pApiVersion = &version;
  Reply(v);
  EXPECT_EQ(ring->word(0).load(), ring->word(64).load());
  uint32_t answer[5];
  std::memcpy(answer, replies->data + 64, sizeof(answer));
  EXPECT_EQ(answer[0], 0x89u);
  EXPECT_EQ(answer[4], 77u);
}

TEST_F(FrontEnd, StreamsWithinStreamsComeInOrderAndTheHeadWaitsForThem) {
  Greet();
  auto memory = MakeMemory(4096);
  auto ring = MakeRing(7);
  const Words inner = Words().Command(0x89, 0).U64(1);
  std::memcpy(memory->data + 100, inner.all().data(), inner.all().size() * 4);
  driver_.Put(ring.get(), Words()
                              .Command(venus::kExecuteCommandStreamsMESA)
                              .U32(1)
                              .U64(1)
                              .U32(memory->number)
                              .U64(100)
                              .U64(16)
                              .U64(0)
                              .U32(0)
                              .U64(0)
                              .U32(0));
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  EXPECT_EQ(records_.size(), 1u);
  EXPECT_EQ(ring->word(0).load(), ring->word(64).load());
}

TEST_F(FrontEnd, ARingThatWaitsDoesNotStopAnother) {
  Greet();
  auto waiting = MakeRing(7);
  auto other = MakeRing(8);
  driver_.Put(waiting.get(), Words().Command(venus::kWaitVirtqueueSeqnoMESA).U64(5).Command(0x89).U64(1));
  driver_.Put(other.get(), Words().Command(0x89).U64(1));
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  EXPECT_EQ(records_.size(), 1u);
  EXPECT_EQ(other->word(0).load(), other->word(64).load());
  EXPECT_EQ(waiting->word(0).load(), 0u);
  // The socket waits for the other ring's head, which is there, and then says what the first one waits for.
  driver_.Submit(Words()
                     .Command(venus::kWaitRingSeqnoMESA)
                     .U64(8)
                     .U64(other->word(64).load())
                     .Command(venus::kSubmitVirtqueueSeqnoMESA)
                     .U64(7)
                     .U64(5));
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  EXPECT_EQ(records_.size(), 2u);
  EXPECT_EQ(waiting->word(0).load(), waiting->word(64).load());
}

TEST_F(FrontEnd, AWaitForWhatNeverComesEndsWithTheConnection) {
  Greet();
  auto ring = MakeRing(7);
  driver_.Put(ring.get(), Words().Command(venus::kWaitVirtqueueSeqnoMESA).U64(UINT64_MAX));
  driver_.Submit(Words().Command(venus::kWaitRingSeqnoMESA).U64(7).U64(1000));
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  driver_.Disconnect();
  Message message;
  EXPECT_EQ(channel_->Receive(&message, 5s), ChannelStatus::kClosed);
}

TEST_F(FrontEnd, RingsAreAliveWhateverTheSessionDoes) {
  Greet();
  auto ring = MakeRing(7);
  ring->word(128).store(0);
  // Nobody calls Receive(): the session's thread is in the driver.
  for (int i = 0; i < 400 && (ring->word(128).load() & venus::kRingAlive) == 0; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(ring->word(128).load() & venus::kRingAlive, venus::kRingAlive);
}

TEST_F(FrontEnd, AnIdleRingWakesByANotification) {
  Greet();
  auto ring = MakeRing(7);
  std::atomic<bool> got = false;
  std::thread session([&] {
    Message message;
    got = channel_->Receive(&message, 20s) == ChannelStatus::kOk;
  });
  for (int i = 0; i < 2000 && (ring->word(128).load() & venus::kRingIdle) == 0; ++i) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(ring->word(128).load() & venus::kRingIdle, venus::kRingIdle);
  driver_.Put(ring.get(), Words().Command(0x89).U64(1));
  driver_.Submit(Words().Command(venus::kNotifyRingMESA).U64(7).U32(0).U32(0));
  session.join();
  EXPECT_TRUE(got);
}

// lavapipe leaves a barrier out that nothing stands before, behind which the driver writes that a submit has ended.
TEST_F(FrontEnd, OnACpuCommandBuffersBeginWithSomething) {
  const auto number = [](Command command) {
    const auto found = std::find_if(venus::kCommands.begin(), venus::kCommands.end(),
                                    [&](const auto* table) { return table != nullptr && table->command == command; });
    return (*found)->number;
  };
  for (const auto type : {VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, VK_PHYSICAL_DEVICE_TYPE_CPU}) {
    Connect();
    Greet();
    records_.clear();
    auto replies = MakeMemory(8192);
    auto ring = MakeRing(7);
    driver_.Put(ring.get(),
                Words().Command(venus::kSetReplyCommandStreamMESA).U64(1).U32(replies->number).U64(0).U64(8192));
    driver_.Put(ring.get(), Words()
                                .Command(number(Command::kGetPhysicalDeviceProperties2), 1)
                                .U64(0)
                                .U64(1)
                                .U32(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2)
                                .U64(0));
    EXPECT_EQ(Look(), ChannelStatus::kTimeout);
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.properties.deviceType = type;
    wire::GetPhysicalDeviceProperties2Args v{};
    v.pProperties = &properties;
    Reply(v);
    driver_.Put(ring.get(), Words()
                                .Command(number(Command::kBeginCommandBuffer))
                                .U64(0)
                                .U64(1)
                                .U32(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO)
                                .U64(0)
                                .U32(0)
                                .U64(0));
    EXPECT_EQ(Look(), ChannelStatus::kTimeout) << channel_->error();
    std::vector<Command> expected{Command::kGetPhysicalDeviceProperties2, Command::kBeginCommandBuffer};
    if (type == VK_PHYSICAL_DEVICE_TYPE_CPU) expected.push_back(Command::kCmdSetLineWidth);
    EXPECT_EQ(records_, expected);
  }
}

// The socket says nothing of it any more.
TEST_F(FrontEnd, NobodySleepsOverWhatHasBeenReceived) {
  Greet();
  for (int i = 0; i < 3; ++i) driver_.Submit(Words().Command(0x89).U64(1));
  Message message;
  EXPECT_EQ(channel_->Receive(&message, 20s), ChannelStatus::kOk);
  const uint64_t sleeps = channel_->sleeps();
  for (int i = 0; i < 2; ++i) {
    std::this_thread::sleep_for(10ms);  // the session takes its time
    EXPECT_EQ(channel_->Receive(&message, 20s), ChannelStatus::kOk);
  }
  EXPECT_EQ(channel_->sleeps(), sleeps);
}

TEST_F(FrontEnd, WhatIsNoProtocolEndsTheConnection) {
  Greet();
  auto ring = MakeRing(7);
  driver_.Put(ring.get(), Words().Command(9999));
  EXPECT_NE(Ends().find("9999"), std::string::npos);
  EXPECT_EQ(ring->word(128).load() & venus::kRingFatal, venus::kRingFatal);
}

TEST_F(FrontEnd, ATailBeyondTheEndIsRefused) {
  Greet();
  auto ring = MakeRing(7);
  ring->word(64).store(kBuffer + 4);
  EXPECT_NE(Ends().find("tail"), std::string::npos);
}

TEST_F(FrontEnd, ARingMustLieInItsResource) {
  for (const auto& [size, tail] : {std::pair<uint64_t, uint64_t>{kBuffer + 4, 64},
                                   {uint64_t{1} << 40, 64},
                                   {kBuffer, UINT64_MAX - 2},
                                   {kBuffer, kRingSize},
                                   {kBuffer, 65}}) {
    Connect();
    Greet();
    auto memory = MakeMemory(kRingSize);
    driver_.Submit(driver_.RingOf(7, memory->number, size, tail));
    EXPECT_NE(Ends().find("layout"), std::string::npos) << size << " " << tail;
  }
}

TEST_F(FrontEnd, StreamsAndRepliesMustLieInTheirResources) {
  Greet();
  auto memory = MakeMemory(4096);
  auto ring = MakeRing(7);
  driver_.Put(
      ring.get(),
      Words().Command(venus::kSetReplyCommandStreamMESA).U64(1).U32(memory->number).U64(4000).U64(UINT64_MAX - 3999));
  EXPECT_NE(Ends().find("beyond"), std::string::npos);
}

TEST_F(FrontEnd, AReplyLongerThanItsPlaceEndsTheConnection) {
  Greet();
  auto memory = MakeMemory(4096);
  auto ring = MakeRing(7);
  driver_.Put(ring.get(), Words().Command(venus::kSetReplyCommandStreamMESA).U64(1).U32(memory->number).U64(0).U64(8));
  driver_.Put(ring.get(), Words().Command(0x89, 1).U64(1));
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  uint32_t version = 0;
  wire::EnumerateInstanceVersionArgs v{};
  v.pApiVersion = &version;
  Reply(v);
  EXPECT_NE(Ends().find("no room"), std::string::npos);
}

// Of a memory that could not be shared the driver gets pages all the same: it has no way of hearing no.
TEST_F(FrontEnd, MemoryThatIsNotSharedIsMappedAllTheSame) {
  Greet();
  auto memory = MakeMemory(8192, 1234);
  ASSERT_NE(memory->data, MAP_FAILED);
  memory->data[8191] = 1;
}

// Whatever lies in a ring, the session gets records or the connection ends; sanitizers see the rest.
TEST_F(FrontEnd, ChangedBytesOfRealStreamsAreErrorsAtMost) {
  const std::vector<Sample> samples = Samples();
  ASSERT_GT(samples.size(), 100u);
  Random random(3);
  size_t ended = 0;
  for (int i = 0; i < 400; ++i) {
    if (!channel_->error().empty() || i == 0) {
      ended += i != 0;
      Connect();
      Greet();
      ring_ = MakeRing(7);
    }
    std::vector<uint8_t> bytes = samples[random.Below(samples.size())].request;
    bytes.resize(std::min<size_t>(bytes.size(), kBuffer));
    for (int change = 0; change < 3; ++change) bytes[random.Below(bytes.size())] = static_cast<uint8_t>(random.Next());
    std::vector<uint32_t> words((bytes.size() + 3) / 4);
    std::memcpy(words.data(), bytes.data(), bytes.size());
    Words stream;
    for (const uint32_t word : words) stream.U32(word);
    driver_.Put(ring_.get(), stream);
    const ChannelStatus status = Look();
    EXPECT_TRUE(status == ChannelStatus::kTimeout || status == ChannelStatus::kMalformed);
    if (!asked_.empty()) {
      const wire::ReplyHeader refused{wire::ReplyKind::kRefused, 0};
      const std::span<const uint8_t> part(reinterpret_cast<const uint8_t*>(&refused), sizeof(refused));
      channel_->Send(MessageKind::kReply, asked_.back(), {&part, 1});
    }
  }
  EXPECT_GT(ended, 20u);
}

TEST_F(FrontEnd, ALongMessageIsRefusedBeforeItCame) {
  const uint32_t head[] = {0x7fffffff, static_cast<uint32_t>(Vtest::kSubmit)};
  driver_.Write(head, sizeof(head));
  EXPECT_NE(Ends().find("bytes on the socket"), std::string::npos);
}

}  // namespace
}  // namespace vesper::test
