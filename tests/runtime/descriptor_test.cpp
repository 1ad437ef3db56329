// File descriptors beside messages: they arrive with theirs, close-on-exec, bounded, and never leak, whatever a peer does.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

#include "runtime/address.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong(20000);  // never reached in a passing test

// Memory with a number in it, so that a test sees which one arrived.
Descriptor Numbered(uint32_t number) {
  Descriptor memory(memfd_create("vesper-test", MFD_CLOEXEC));
  EXPECT_EQ(pwrite(memory.get(), &number, sizeof(number), 0), static_cast<ssize_t>(sizeof(number)));
  return memory;
}

uint32_t NumberIn(const Descriptor& memory) {
  uint32_t number = 0;
  EXPECT_EQ(pread(memory.get(), &number, sizeof(number), 0), static_cast<ssize_t>(sizeof(number)));
  return number;
}

ChannelStatus SendNumbered(Channel& channel, MessageKind kind, uint64_t sequence, size_t size,
                           std::span<const uint32_t> numbers) {
  std::vector<Descriptor> owned;
  std::vector<int> raw;
  for (const uint32_t number : numbers) raw.push_back(owned.emplace_back(Numbered(number)).get());
  const std::vector<uint8_t> bytes = Pattern(sequence, size);
  const std::span<const uint8_t> part = bytes;
  return channel.SendWithDescriptors(kind, sequence, {&part, 1}, raw);
}

class DescriptorTest : public testing::TestWithParam<Transport> {
 protected:
  void SetUp() override { pair_ = MakePair(GetParam()); }
  Message Receive(Channel& channel) {
    Message message;
    EXPECT_EQ(channel.Receive(&message, kLong), ChannelStatus::kOk) << channel.error();
    return message;
  }
  ChannelPair pair_;
};

TEST_P(DescriptorTest, ArriveWithTheirMessageAndCloseOnExec) {
  for (uint32_t i = 1; i <= 100; ++i) {
    ASSERT_EQ(SendBatch(*pair_.server, i, i * 37), ChannelStatus::kOk);
    const std::array<uint32_t, 2> numbers = {i, i + 1000};
    const auto kind = i % 2 == 0 ? MessageKind::kReply : MessageKind::kEvent;
    ASSERT_EQ(SendNumbered(*pair_.server, kind, i, i * 91, numbers), ChannelStatus::kOk);
    if (i % 10 != 0) continue;
    for (uint32_t j = i - 9; j <= i; ++j) {
      EXPECT_TRUE(Receive(*pair_.client).descriptors.empty());
      const Message message = Receive(*pair_.client);
      EXPECT_EQ(message.sequence, j);
      EXPECT_EQ(message.payload, Pattern(j, j * 91));
      ASSERT_EQ(message.descriptors.size(), 2u);
      EXPECT_EQ(NumberIn(message.descriptors[0]), j);
      EXPECT_EQ(NumberIn(message.descriptors[1]), j + 1000);
      EXPECT_NE(fcntl(message.descriptors[0].get(), F_GETFD) & FD_CLOEXEC, 0);
    }
  }
}

// A message that needs many writes: its descriptors travel with the first and are not sent again.
TEST_P(DescriptorTest, ArriveOnceWithALargeMessage) {
  const auto before = OpenDescriptors();
  constexpr size_t kLarge = size_t{8} << 20;
  const std::array<uint32_t, 1> numbers = {7};
  std::thread sender([&] {
    EXPECT_EQ(SendNumbered(*pair_.server, MessageKind::kReply, 5, kLarge, numbers), ChannelStatus::kOk);
    EXPECT_EQ(SendBatch(*pair_.server, 6, 10), ChannelStatus::kOk);
  });
  {
    const Message message = Receive(*pair_.client);
    EXPECT_EQ(message.payload, Pattern(5, kLarge));
    ASSERT_EQ(message.descriptors.size(), 1u);
    EXPECT_EQ(NumberIn(message.descriptors[0]), 7u);
    EXPECT_TRUE(Receive(*pair_.client).descriptors.empty());
  }
  sender.join();
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_P(DescriptorTest, UnwantedOnesAreClosed) {
  const auto before = OpenDescriptors();
  const std::array<uint32_t, 4> numbers = {1, 2, 3, 4};
  for (uint64_t i = 0; i < 50; ++i) {
    ASSERT_EQ(SendNumbered(*pair_.server, MessageKind::kReply, i, 10, numbers), ChannelStatus::kOk);
    Receive(*pair_.client);
  }
  EXPECT_EQ(OpenDescriptors(), before);
  ASSERT_EQ(SendNumbered(*pair_.server, MessageKind::kReply, 9, 10, numbers), ChannelStatus::kOk);
  ASSERT_EQ(SendBatch(*pair_.server, 1, 10), ChannelStatus::kOk);
  Receive(*pair_.client);
  pair_.client.reset();  // with everything that it has not handed out
}

TEST_P(DescriptorTest, OnlyWithDataAndNotTooMany) {
  const std::array<uint32_t, kMaxDescriptors + 1> many = {};
  EXPECT_EQ(SendNumbered(*pair_.server, MessageKind::kReply, 1, 10, many), ChannelStatus::kMalformed);
  const std::array<uint32_t, 1> one = {};
  EXPECT_EQ(SendNumbered(*pair_.server, MessageKind::kGoodbye, 1, 10, one), ChannelStatus::kMalformed);
  EXPECT_EQ(SendBatch(*pair_.server, 1, 10), ChannelStatus::kOk);
  EXPECT_EQ(Receive(*pair_.client).payload, Pattern(1, 10));
}

// Without a descriptor to spare the message still comes, and says what is missing.
TEST_P(DescriptorTest, NoneToSpare) {
  const std::array<uint32_t, 1> numbers = {3};
  ASSERT_EQ(SendNumbered(*pair_.server, MessageKind::kReply, 1, 10, numbers), ChannelStatus::kOk);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = {0, before.rlim_max};
  const std::set<int> open = OpenDescriptors();
  while (open.contains(static_cast<int>(none.rlim_cur))) ++none.rlim_cur;
  ASSERT_GE(none.rlim_cur, 2u);  // poll() takes no more entries than that
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  Message message;
  const ChannelStatus status = pair_.client->Receive(&message, kLong);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(status, ChannelStatus::kOk);
  EXPECT_EQ(message.announced_descriptors, 1u);
  EXPECT_TRUE(message.descriptors.empty());
  ASSERT_EQ(SendNumbered(*pair_.server, MessageKind::kReply, 2, 10, numbers), ChannelStatus::kOk);
  EXPECT_EQ(NumberIn(Receive(*pair_.client).descriptors.at(0)), 3u);
}

INSTANTIATE_TEST_SUITE_P(Transports, DescriptorTest,
                         testing::Values(Transport::kUnix, Transport::kSocketPair, Transport::kRing),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

class NoDescriptorTest : public testing::TestWithParam<Transport> {};

TEST_P(NoDescriptorTest, RefusesAndGoesOn) {
  const ChannelPair pair = MakePair(GetParam());
  EXPECT_FALSE(pair.server->CarriesDescriptors());
  const std::array<uint32_t, 1> numbers = {1};
  EXPECT_EQ(SendNumbered(*pair.server, MessageKind::kReply, 1, 10, numbers), ChannelStatus::kMalformed);
  EXPECT_EQ(SendBatch(*pair.server, 2, 10), ChannelStatus::kOk);
  Message message;
  EXPECT_EQ(pair.client->Receive(&message, kLong), ChannelStatus::kOk);
  EXPECT_EQ(message.payload, Pattern(2, 10));
}

INSTANTIATE_TEST_SUITE_P(Transports, NoDescriptorTest,
                         testing::Values(Transport::kTcp, Transport::kTls, Transport::kGuest, Transport::kLoopback),
                         [](const auto& info) { return std::string(NameOf(info.param)); });

// Sends one byte with so many descriptors beside it, as no channel of ours does.
void SendUnannounced(int socket, size_t count, uint8_t byte) {
  std::vector<Descriptor> owned;
  std::vector<int> raw;
  for (size_t i = 0; i < count; ++i) raw.push_back(owned.emplace_back(Numbered(0)).get());
  std::vector<char> control(CMSG_SPACE(count * sizeof(int)));
  iovec data{&byte, 1};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* attached = CMSG_FIRSTHDR(&header);
  attached->cmsg_level = SOL_SOCKET;
  attached->cmsg_type = SCM_RIGHTS;
  attached->cmsg_len = CMSG_LEN(count * sizeof(int));
  std::memcpy(CMSG_DATA(attached), raw.data(), count * sizeof(int));
  ASSERT_EQ(sendmsg(socket, &header, MSG_NOSIGNAL), 1);
}

// A peer that sends descriptors piece by piece within one message keeps at most a few of ours, and loses the session.
TEST(HostileDescriptorTest, AreBoundedAndClosed) {
  const auto before = OpenDescriptors();
  {
    std::array<int, 2> sockets{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
    const Descriptor peer(sockets[0]);
    const std::unique_ptr<Channel> channel = MakeSocketChannel(sockets[1]);
    const auto at_rest = OpenDescriptors();
    for (int i = 0; i < 40; ++i) SendUnannounced(peer.get(), 200, 0);
    Message message;
    EXPECT_EQ(channel->Receive(&message, kLong), ChannelStatus::kMalformed);
    EXPECT_LE(OpenDescriptors().size(), at_rest.size() + 4 * kMaxDescriptors);
    EXPECT_EQ(channel->Receive(&message, kLong), ChannelStatus::kMalformed);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

}  // namespace
}  // namespace vesper::test
