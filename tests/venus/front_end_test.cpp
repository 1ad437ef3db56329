// The front end as a driver meets it that may be hostile: a socket, memory and rings of its own, without a session behind. What
// cannot be understood ends the connection with a sentence; what is waited for is waited for by that ring alone.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

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

namespace vesper::test {
namespace {

using namespace std::chrono_literals;
using venus::Vtest;

constexpr uint32_t kBuffer = 4096;
constexpr uint64_t kRingSize = 192 + kBuffer + 64;
constexpr uint32_t kPresent = 1;

// Words that make a stream.
class Words {
 public:
  Words& U32(uint32_t value) {
    words_.push_back(value);
    return *this;
  }
  Words& U64(uint64_t value) { return U32(static_cast<uint32_t>(value)).U32(static_cast<uint32_t>(value >> 32)); }
  Words& Command(uint32_t number, uint32_t flags = 0) { return U32(number).U32(flags); }
  const std::vector<uint32_t>& all() const { return words_; }

 private:
  std::vector<uint32_t> words_;
};

struct Memory {
  explicit Memory(int fd, size_t its_size)
      : size(its_size), data(static_cast<uint8_t*>(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0))) {
    close(fd);
  }
  ~Memory() { munmap(data, size); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::atomic<uint32_t>& word(size_t offset) { return *reinterpret_cast<std::atomic<uint32_t>*>(data + offset); }

  uint32_t number = 0;
  size_t size;
  uint8_t* data;
};

class FrontEnd : public testing::Test {
 protected:
  FrontEnd() {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    socket_ = ends[0];
    channel_ = std::make_unique<venus::VenusChannel>(ends[1], venus::VenusChannel::Options{1 << 16, size_t{1} << 24});
  }
  ~FrontEnd() override {
    if (socket_ >= 0) close(socket_);
  }

  void Say(Vtest command, const std::vector<uint32_t>& words) {
    std::vector<uint32_t> all{static_cast<uint32_t>(words.size()), static_cast<uint32_t>(command)};
    all.insert(all.end(), words.begin(), words.end());
    ASSERT_EQ(write(socket_, all.data(), all.size() * 4), static_cast<ssize_t>(all.size() * 4));
  }
  std::vector<uint32_t> Hear() {
    uint32_t head[2] = {};
    EXPECT_EQ(recv(socket_, head, sizeof(head), MSG_WAITALL), static_cast<ssize_t>(sizeof(head)));
    std::vector<uint32_t> words(head[0]);
    if (head[0] != 0) recv(socket_, words.data(), words.size() * 4, MSG_WAITALL);
    return words;
  }
  int HearFile() {
    char byte;
    iovec part{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    EXPECT_EQ(recvmsg(socket_, &header, MSG_CMSG_CLOEXEC), 1);
    int file = -1;
    if (const cmsghdr* first = CMSG_FIRSTHDR(&header)) std::memcpy(&file, CMSG_DATA(first), sizeof(file));
    return file;
  }
  // Commands by the socket.
  void Submit(const Words& stream) {
    std::vector<uint32_t> words{1, 0, 7, static_cast<uint32_t>(stream.all().size()), 0, 0, 0};
    words.insert(words.end(), stream.all().begin(), stream.all().end());
    Say(Vtest::kSubmit, words);
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
    const char name[] = "a test";
    const uint32_t head[] = {sizeof(name), static_cast<uint32_t>(Vtest::kCreateRenderer)};
    ASSERT_EQ(write(socket_, head, sizeof(head)), static_cast<ssize_t>(sizeof(head)));
    ASSERT_EQ(write(socket_, name, sizeof(name)), static_cast<ssize_t>(sizeof(name)));
    EXPECT_EQ(Look(), ChannelStatus::kTimeout);
    EXPECT_EQ(hellos_, 1);
  }
  std::unique_ptr<Memory> MakeMemory(uint64_t size, uint64_t of = 0) {
    Say(Vtest::kCreateBlob, {2, 1, static_cast<uint32_t>(size), static_cast<uint32_t>(size >> 32),
                             static_cast<uint32_t>(of), static_cast<uint32_t>(of >> 32)});
    EXPECT_EQ(Look(), ChannelStatus::kTimeout);
    const std::vector<uint32_t> answer = Hear();
    auto memory = std::make_unique<Memory>(HearFile(), size);
    memory->number = answer.empty() ? 0 : answer[0];
    return memory;
  }
  static Words RingOf(uint64_t key, uint32_t resource, uint64_t buffer_size = kBuffer, uint64_t tail = 64) {
    Words words;
    words.Command(venus::kCreateRingMESA).U64(key).U64(kPresent).U32(venus::RingCreateInfoMESA::kType).U64(0);
    words.U32(0).U32(resource).U64(0).U64(kRingSize).U64(1000000).U64(0).U64(tail).U64(128).U64(192);
    return words.U64(buffer_size).U64(192 + kBuffer).U64(4);
  }
  std::unique_ptr<Memory> MakeRing(uint64_t key) {
    auto memory = MakeMemory(kRingSize);
    Submit(RingOf(key, memory->number));
    EXPECT_EQ(Look(), ChannelStatus::kTimeout);
    return memory;
  }
  static void Put(Memory* ring, const Words& words) {
    const uint32_t tail = ring->word(64).load();
    for (size_t i = 0; i < words.all().size(); ++i) {
      std::memcpy(ring->data + 192 + (tail + 4 * i) % kBuffer, &words.all()[i], 4);
    }
    ring->word(64).store(tail + static_cast<uint32_t>(4 * words.all().size()));
  }
  std::string Ends() {
    EXPECT_EQ(Look(), ChannelStatus::kMalformed);
    return channel_->error();
  }
  void Reply(const wire::EnumerateInstanceVersionArgs& v) {
    wire::ByteBuffer out;
    const wire::ReplyHeader header{};
    out.Append(&header, sizeof(header));
    wire::Encoder encoder(&out);
    wire::EncodeReply(encoder, v);
    const std::span<const uint8_t> part(out.data(), out.size());
    ASSERT_FALSE(asked_.empty());
    EXPECT_EQ(channel_->Send(MessageKind::kReply, asked_.back(), {&part, 1}), ChannelStatus::kOk);
  }

  int socket_ = -1;
  std::unique_ptr<venus::VenusChannel> channel_;
  int hellos_ = 0;
  std::vector<Command> records_;
  std::vector<uint64_t> asked_;
};

TEST_F(FrontEnd, SaysWhatTheDriverAsks) {
  Greet();
  Say(Vtest::kPing, {});
  Say(Vtest::kProtocolVersion, {3});
  Say(Vtest::kGetParam, {1});
  Say(Vtest::kGetCapset, {4, 0});
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  EXPECT_TRUE(Hear().empty());
  EXPECT_EQ(Hear(), (std::vector<uint32_t>{3}));
  EXPECT_EQ(Hear(), (std::vector<uint32_t>{1, 64}));
  const std::vector<uint32_t> capset = Hear();
  ASSERT_EQ(capset.size(), 41u);
  EXPECT_EQ(capset[1], 1u);       // the format of the wire
  EXPECT_EQ(capset[6] & 1u, 1u);  // the mask is one
}

TEST_F(FrontEnd, TheHeadFollowsWhatIsDoneAndAReplyIsThereBefore) {
  Greet();
  auto replies = MakeMemory(4096);
  auto ring = MakeRing(7);
  Put(ring.get(), Words().Command(venus::kSetReplyCommandStreamMESA).U64(1).U32(replies->number).U64(64).U64(512));
  Put(ring.get(), Words().Command(0x89, 1).U64(1));
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
  Put(ring.get(), Words()
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
  Put(waiting.get(), Words().Command(venus::kWaitVirtqueueSeqnoMESA).U64(5).Command(0x89).U64(1));
  Put(other.get(), Words().Command(0x89).U64(1));
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  EXPECT_EQ(records_.size(), 1u);
  EXPECT_EQ(other->word(0).load(), other->word(64).load());
  EXPECT_EQ(waiting->word(0).load(), 0u);
  // The socket waits for the other ring's head, which is there, and then says what the first one waits for.
  Submit(Words()
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
  Put(ring.get(), Words().Command(venus::kWaitVirtqueueSeqnoMESA).U64(UINT64_MAX));
  Submit(Words().Command(venus::kWaitRingSeqnoMESA).U64(7).U64(1000));
  EXPECT_EQ(Look(), ChannelStatus::kTimeout);
  close(socket_);
  socket_ = -1;
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
  Put(ring.get(), Words().Command(0x89).U64(1));
  Submit(Words().Command(venus::kNotifyRingMESA).U64(7).U32(0).U32(0));
  session.join();
  EXPECT_TRUE(got);
}

TEST_F(FrontEnd, WhatIsNoProtocolEndsTheConnection) {
  Greet();
  auto ring = MakeRing(7);
  Put(ring.get(), Words().Command(9999));
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
    const auto before = std::move(channel_);
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    close(socket_);
    socket_ = ends[0];
    hellos_ = 0;
    channel_ = std::make_unique<venus::VenusChannel>(ends[1], venus::VenusChannel::Options{1 << 16, size_t{1} << 24});
    Greet();
    auto memory = MakeMemory(kRingSize);
    Submit(RingOf(7, memory->number, size, tail));
    EXPECT_NE(Ends().find("layout"), std::string::npos) << size << " " << tail;
  }
}

TEST_F(FrontEnd, StreamsAndRepliesMustLieInTheirResources) {
  Greet();
  auto memory = MakeMemory(4096);
  auto ring = MakeRing(7);
  Put(ring.get(),
      Words().Command(venus::kSetReplyCommandStreamMESA).U64(1).U32(memory->number).U64(4000).U64(UINT64_MAX - 3999));
  EXPECT_NE(Ends().find("beyond"), std::string::npos);
}

TEST_F(FrontEnd, AReplyLongerThanItsPlaceEndsTheConnection) {
  Greet();
  auto memory = MakeMemory(4096);
  auto ring = MakeRing(7);
  Put(ring.get(), Words().Command(venus::kSetReplyCommandStreamMESA).U64(1).U32(memory->number).U64(0).U64(8));
  Put(ring.get(), Words().Command(0x89, 1).U64(1));
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

TEST_F(FrontEnd, ALongMessageIsRefusedBeforeItCame) {
  const uint32_t head[] = {0x7fffffff, static_cast<uint32_t>(Vtest::kSubmit)};
  ASSERT_EQ(write(socket_, head, sizeof(head)), static_cast<ssize_t>(sizeof(head)));
  EXPECT_NE(Ends().find("bytes on the socket"), std::string::npos);
}

}  // namespace
}  // namespace vesper::test
