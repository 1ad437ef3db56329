// A socket channel whose peer is not one of ours: cut streams, garbage, slowness.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "runtime/address.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong(20000);

class StreamTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    channel_ = MakeSocketChannel(ends[0]);
    ASSERT_NE(channel_, nullptr);
    peer_ = ends[1];
  }
  void TearDown() override { EndPeer(); }

  void EndPeer() {
    if (peer_ >= 0) close(peer_);
    peer_ = -1;
  }
  void Write(const std::vector<uint8_t>& bytes) {
    ASSERT_EQ(send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // The bytes of a batch as another channel sends them.
  static std::vector<uint8_t> BatchOnTheWire(size_t size) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const auto channel = MakeSocketChannel(ends[0]);
    EXPECT_EQ(SendBatch(*channel, 3, size), ChannelStatus::kOk);
    std::vector<uint8_t> bytes(channel->bytes_sent());
    EXPECT_EQ(recv(ends[1], bytes.data(), bytes.size(), MSG_WAITALL), static_cast<ssize_t>(bytes.size()));
    close(ends[1]);
    return bytes;
  }

  std::unique_ptr<Channel> channel_;
  int peer_ = -1;
};

TEST_F(StreamTest, AStreamThatEndsWithinAMessageIsClosedAndSaysSo) {
  const auto bytes = BatchOnTheWire(100);
  for (size_t length : {size_t{1}, size_t{8}, size_t{47}, size_t{60}, bytes.size() - 1}) {
    SetUp();
    Write({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)});
    EndPeer();
    Message message;
    EXPECT_EQ(channel_->Receive(&message, kLong), ChannelStatus::kClosed);
    EXPECT_EQ(channel_->error(), "the connection ended in the middle of a message");
  }
}

TEST_F(StreamTest, AStreamThatEndsBetweenMessagesIsClosed) {
  Write(BatchOnTheWire(100));
  EndPeer();
  Message message;
  EXPECT_EQ(channel_->Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(channel_->Receive(&message, kLong), ChannelStatus::kClosed);
  EXPECT_EQ(channel_->error(), "the peer closed the connection");
}

TEST_F(StreamTest, GarbageIsMalformedAndTheChannelCanStillSayWhy) {
  const std::vector<std::vector<uint8_t>> garbage = {Bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
                                                     Bytes("SSH-2.0-OpenSSH_9.2p1\r\n"),
                                                     {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01},
                                                     std::vector<uint8_t>(4096, 0),
                                                     std::vector<uint8_t>(4096, 0xff)};
  for (const auto& bytes : garbage) {
    SetUp();
    Write(bytes);
    Message message;
    EXPECT_EQ(channel_->Receive(&message, kLong), ChannelStatus::kMalformed);
    EXPECT_EQ(channel_->Receive(&message, kLong), ChannelStatus::kMalformed);
    EXPECT_FALSE(channel_->error().empty());
    EXPECT_EQ(SendBytes(*channel_, MessageKind::kGoodbye, 0, Bytes("no")), ChannelStatus::kOk);
    EndPeer();
  }
}

TEST_F(StreamTest, ASlowPeerIsWaitedFor) {
  const auto bytes = BatchOnTheWire(200);
  std::thread writer([&] {
    for (const uint8_t byte : bytes) {
      Write({byte});
      if (byte % 16 == 0) std::this_thread::sleep_for(milliseconds(1));
    }
  });
  Message message;
  ChannelStatus status = ChannelStatus::kTimeout;
  while (status == ChannelStatus::kTimeout) status = channel_->Receive(&message, milliseconds(1));
  writer.join();
  EXPECT_EQ(status, ChannelStatus::kOk);
  EXPECT_EQ(message.payload, Pattern(3, 200));
}

// Lengths are only claims: memory grows with what arrives.
TEST_F(StreamTest, AClaimedLengthCostsNothing) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers account memory differently";
#endif
  const auto resident = [] {
    long pages = 0, ignored = 0;
    FILE* file = fopen("/proc/self/statm", "r");
    EXPECT_EQ(fscanf(file, "%ld %ld", &ignored, &pages), 2);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
  };
  auto bytes = BatchOnTheWire(1000);
  const uint64_t data = uint64_t{300} << 20;
  const uint32_t words = 5 + static_cast<uint32_t>(data / 8);
  const uint64_t list = data << 35 | uint64_t{2} << 32 | 1;
  std::memcpy(&bytes[4], &words, 4);
  std::memcpy(&bytes[40], &list, 8);
  const long before = resident();
  Write(bytes);
  Message message;
  EXPECT_EQ(channel_->Receive(&message, milliseconds(50)), ChannelStatus::kTimeout);
  EXPECT_LT(resident() - before, 4 << 20);
}

}  // namespace
}  // namespace vesper::test
