// The first messages of a session: accepted, refused, wrong, absent.
#include "runtime/handshake.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "runtime/address.h"
#include "runtime/sealed_file.h"
#include "runtime/transport/ring_memory.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class HandshakeTest : public testing::TestWithParam<Transport> {
 protected:
  void SetUp() override {
    pair_ = MakePair(GetParam());
    hello_.fingerprint = 0x1234567890abcdef;
    hello_.page_size = 4096;
    hello_.pid = 42;
    hello_.program = "vkcube";
    hello_.validation = true;
  }
  Channel& client() { return *pair_.client; }
  Channel& server() { return *pair_.server; }

  // Greets while the server has already answered with `answer`.
  std::string ErrorAfter(MessageKind kind, const std::vector<uint8_t>& answer) {
    EXPECT_EQ(SendBytes(server(), kind, 0, answer), ChannelStatus::kOk);
    Welcome welcome;
    std::string error;
    EXPECT_FALSE(Greet(client(), hello_, &welcome, &error));
    return error;
  }

  ChannelPair pair_;
  Hello hello_;
};

TEST_P(HandshakeTest, HelloAndWelcomeArriveWhole) {
  std::thread server_thread([this] {
    Hello hello;
    std::string error;
    ASSERT_TRUE(ReceiveHello(server(), &hello, &error)) << error;
    EXPECT_EQ(hello.protocol, kProtocolVersion);
    EXPECT_EQ(hello.fingerprint, 0x1234567890abcdef);
    EXPECT_EQ(hello.page_size, 4096u);
    EXPECT_EQ(hello.pid, 42u);
    EXPECT_EQ(hello.program, "vkcube");
    EXPECT_TRUE(hello.validation);
    EXPECT_TRUE(hello.commands.empty());
    Welcome welcome;
    welcome.fingerprint = 99;
    welcome.session = 0xffffffffffffffff;
    welcome.validation = true;
    EXPECT_TRUE(SendWelcome(server(), welcome));
  });
  Welcome welcome;
  std::string error;
  EXPECT_TRUE(Greet(client(), hello_, &welcome, &error)) << error;
  server_thread.join();
  EXPECT_EQ(welcome.protocol, kProtocolVersion);
  EXPECT_EQ(welcome.fingerprint, 99u);
  EXPECT_EQ(welcome.session, 0xffffffffffffffff);
  EXPECT_TRUE(welcome.validation);
  EXPECT_FALSE(welcome.names_wanted);
}

TEST_P(HandshakeTest, NamesAreExchangedInASecondRound) {
  std::vector<std::string> commands, types = {"", "VkInstance", "VkBuffer"};
  for (int i = 0; i < 900; ++i) commands.push_back("vkACommandOfSomeLengthNumber" + std::to_string(i));
  std::thread server_thread([&] {
    Hello hello;
    std::string error;
    ASSERT_TRUE(ReceiveHello(server(), &hello, &error)) << error;
    Welcome welcome;
    welcome.names_wanted = true;
    ASSERT_TRUE(SendWelcome(server(), welcome));
    ASSERT_TRUE(ReceiveHello(server(), &hello, &error)) << error;
    EXPECT_EQ(hello.commands, commands);
    EXPECT_EQ(hello.handle_types, types);
    welcome = {};
    welcome.commands = {"vkCreateBuffer"};
    welcome.handle_types = types;
    ASSERT_TRUE(SendWelcome(server(), welcome));
  });
  Welcome welcome;
  std::string error;
  ASSERT_TRUE(Greet(client(), hello_, &welcome, &error)) << error;
  EXPECT_TRUE(welcome.names_wanted);
  hello_.commands = commands;
  hello_.handle_types = types;
  ASSERT_TRUE(Greet(client(), hello_, &welcome, &error)) << error;
  server_thread.join();
  EXPECT_FALSE(welcome.names_wanted);
  EXPECT_EQ(welcome.commands, std::vector<std::string>{"vkCreateBuffer"});
  EXPECT_EQ(welcome.handle_types, types);
}

TEST_P(HandshakeTest, ARefusalIsToldEvenWhenTheServerClosesAtOnce) {
  ASSERT_TRUE(SendRefused(server(), "too many sessions"));
  pair_.server.reset();
  Welcome welcome;
  std::string error;
  EXPECT_FALSE(Greet(client(), hello_, &welcome, &error));
  EXPECT_EQ(error, "the server refused: too many sessions");
}

TEST_P(HandshakeTest, TextOfThePeerCannotForgeLogLines) {
  EXPECT_EQ(ErrorAfter(MessageKind::kRefused, Bytes("a\nERROR\x1b[31m")), "the server refused: a?ERROR?[31m");
}

TEST_P(HandshakeTest, AnotherServerVersionIsNamed) {
  std::thread server_thread([this] {
    Hello hello;
    std::string error;
    ASSERT_TRUE(ReceiveHello(server(), &hello, &error)) << error;
    Welcome welcome;
    welcome.protocol = 77;
    ASSERT_TRUE(SendWelcome(server(), welcome));
  });
  Welcome welcome;
  std::string error;
  EXPECT_FALSE(Greet(client(), hello_, &welcome, &error));
  server_thread.join();
  EXPECT_NE(error.find("version " + std::to_string(kProtocolVersion)), std::string::npos) << error;
  EXPECT_NE(error.find("version 77"), std::string::npos) << error;
}

TEST_P(HandshakeTest, AnotherClientVersionIsRefusedAndBothSidesKnowWhy) {
  std::string server_error, client_error;
  std::thread server_thread([&] {
    Hello hello;
    EXPECT_FALSE(ReceiveHello(server(), &hello, &server_error));
  });
  hello_.protocol = 88;
  Welcome welcome;
  EXPECT_FALSE(Greet(client(), hello_, &welcome, &client_error));
  server_thread.join();
  EXPECT_NE(server_error.find("version 88"), std::string::npos) << server_error;
  EXPECT_NE(server_error.find("the server version " + std::to_string(kProtocolVersion)), std::string::npos);
  EXPECT_EQ(client_error, "the server refused: " + server_error);
}

TEST_P(HandshakeTest, AFirstMessageThatIsNoHelloIsRefused) {
  ASSERT_EQ(SendBatch(client(), 1, 100), ChannelStatus::kOk);
  Hello hello;
  std::string error;
  EXPECT_FALSE(ReceiveHello(server(), &hello, &error));
  EXPECT_EQ(error, "the client's first message is no Hello");
  Message message;
  ASSERT_EQ(client().Receive(&message, milliseconds(5000)), ChannelStatus::kOk);
  EXPECT_EQ(message.kind, MessageKind::kRefused);
  EXPECT_EQ(message.payload, Bytes(error));
}

TEST_P(HandshakeTest, AnAnswerThatIsNoAnswerIsAnError) {
  EXPECT_EQ(ErrorAfter(MessageKind::kEvent, Pattern(1, 50)),
            "the server answered something that is no part of a handshake");
}

TEST_P(HandshakeTest, AGoodbyeIsTold) {
  EXPECT_EQ(ErrorAfter(MessageKind::kGoodbye, Bytes("shutting down")), "the server said goodbye: shutting down");
}

TEST_P(HandshakeTest, TooManyNamesAreRefused) {
  hello_.commands.assign(70000, "x");
  std::string server_error, client_error;
  std::thread server_thread([&] {
    Hello hello;
    EXPECT_FALSE(ReceiveHello(server(), &hello, &server_error));
  });
  Welcome welcome;
  EXPECT_FALSE(Greet(client(), hello_, &welcome, &client_error));
  server_thread.join();
  EXPECT_NE(client_error.find("more or longer names than the limit"), std::string::npos) << client_error;
}

TEST_P(HandshakeTest, AClosedServerIsTold) {
  server().Close();
  Welcome welcome;
  std::string error;
  EXPECT_FALSE(Greet(client(), hello_, &welcome, &error));
  EXPECT_FALSE(error.empty());
}

TEST_P(HandshakeTest, ASilentServerCostsFiveSeconds) {
  client().Interrupt();  // meant for somebody else
  Welcome welcome;
  std::string error;
  const auto start = steady_clock::now();
  EXPECT_FALSE(Greet(client(), hello_, &welcome, &error));
  EXPECT_GE(steady_clock::now() - start, milliseconds(4990));
  EXPECT_EQ(error, "the server did not say anything within 5000 ms");
}

INSTANTIATE_TEST_SUITE_P(Transports, HandshakeTest,
                         testing::Values(Transport::kTcp, Transport::kTls, Transport::kUnix, Transport::kLoopback),
                         [](const auto& info) { return NameOf(info.param); });

// What both ends carry their messages with after a handshake in which the client wants a ring as VESPER_TRANSPORT says.
std::pair<std::string, std::string> AgreedNames(Transport transport, bool server_willing) {
  ChannelPair pair = MakePair(transport);
  std::thread server([&] {
    Hello hello;
    std::string error;
    ASSERT_TRUE(ReceiveHello(*pair.server, &hello, &error)) << error;
    Welcome welcome;
    welcome.ring = server_willing && hello.ring && pair.server->OffersRing();
    EXPECT_TRUE(SendWelcome(*pair.server, welcome));
  });
  Hello hello;
  hello.ring = WantsRing(*pair.client);
  Welcome welcome;
  std::string error;
  EXPECT_TRUE(Greet(*pair.client, hello, &welcome, &error)) << error;
  server.join();
  EXPECT_EQ(SendBatch(*pair.client, 3, 3), ChannelStatus::kOk);
  Message message;
  EXPECT_EQ(pair.server->Receive(&message, milliseconds(5000)), ChannelStatus::kOk);
  EXPECT_EQ(message.sequence, 3u);
  return {pair.client->name(), pair.server->name()};
}

TEST(RingHandshakeTest, ARingWhereBothEndsWantOne) {
  using Names = std::pair<std::string, std::string>;
  EXPECT_EQ(AgreedNames(Transport::kUnix, true), Names("ring", "ring"));
  EXPECT_EQ(AgreedNames(Transport::kUnix, false), Names("unix socket", "unix socket"));
  EXPECT_EQ(AgreedNames(Transport::kTcp, true), Names("tcp", "tcp"));
  EXPECT_EQ(AgreedNames(Transport::kLoopback, true), Names("loopback", "loopback"));
  const ScopedVariable socket("VESPER_TRANSPORT", "socket");
  EXPECT_EQ(AgreedNames(Transport::kUnix, true), Names("unix socket", "unix socket"));
}

TEST(RingHandshakeTest, AForcedRingIsMissed) {
  const ChannelPair tcp = MakePair(Transport::kTcp), ring = MakePair(Transport::kRing);
  EXPECT_EQ(UnmetTransport(*tcp.client), "");
  const ScopedVariable forced("VESPER_TRANSPORT", "ring");
  EXPECT_EQ(UnmetTransport(*tcp.client), "VESPER_TRANSPORT=ring, but there is no ring on this tcp");
  EXPECT_EQ(UnmetTransport(*ring.client), "");
  const ScopedVariable unknown("VESPER_TRANSPORT", "pigeon");
  EXPECT_EQ(UnmetTransport(*tcp.client), "VESPER_TRANSPORT is \"pigeon\": ring and socket are known");
}

// A client that cannot map the memory says so, and both go on over the socket.
TEST(RingHandshakeTest, MemoryThatCannotBeMappedIsNoEnd) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const auto server = MakeSocketChannel(ends[0]), client = MakeSocketChannel(ends[1]);
  std::thread offering([&] { EXPECT_TRUE(server->OfferRing()); });
  Message offer;
  ASSERT_EQ(client->Receive(&offer, milliseconds(5000)), ChannelStatus::kOk);
  EXPECT_EQ(offer.descriptors.size(), 1u);
  EXPECT_EQ(SendBytes(*client, MessageKind::kBatch, 0, {0}), ChannelStatus::kOk);
  offering.join();
  EXPECT_STREQ(server->name(), "unix socket");
  EXPECT_EQ(SendBatch(*client, 3, 3), ChannelStatus::kOk);
  EXPECT_EQ(server->Receive(&offer, milliseconds(5000)), ChannelStatus::kOk);
}

// As a relay does that knows nothing of descriptors.
void PumpBytes(int from, int to) {
  std::array<char, 4096> bytes;
  for (ssize_t count; (count = read(from, bytes.data(), bytes.size())) > 0;) {
    if (write(to, bytes.data(), static_cast<size_t>(count)) != count) break;
  }
  shutdown(to, SHUT_WR);
}

TEST(RingHandshakeTest, ALineThatLosesDescriptorsIsNoEnd) {
  int near[2], far[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, near), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far), 0);
  std::thread there([&] { PumpBytes(near[1], far[1]); }), back([&] { PumpBytes(far[1], near[1]); });
  {
    const auto client = MakeSocketChannel(near[0]), server = MakeSocketChannel(far[0]);
    std::thread offering([&] { EXPECT_TRUE(server->OfferRing()) << server->error(); });
    EXPECT_TRUE(client->TakeRing()) << client->error();
    offering.join();
    EXPECT_STREQ(server->name(), "unix socket");
    EXPECT_STREQ(client->name(), "unix socket");
    Message message;
    EXPECT_EQ(SendBatch(*client, 3, 3), ChannelStatus::kOk);
    EXPECT_EQ(server->Receive(&message, milliseconds(5000)), ChannelStatus::kOk);
    EXPECT_TRUE(message.descriptors.empty());
  }
  there.join();
  back.join();
  for (const int fd : {near[1], far[1]}) close(fd);
}

// What a hostile server offers: memory that could shrink, too small, or with a layout that leaves it.
TEST(RingHandshakeTest, AClientMapsNothingThatItCannotTrust) {
  const transport::RingLayout sound = transport::kRingLayout;
  transport::RingLayout beyond = sound;
  beyond.replies = uint64_t{1} << 39;
  transport::RingLayout overlapping = sound;
  overlapping.replies = sound.commands + 4096;
  const Descriptor sealed = MakeSealedFile("vesper-test", sound.end());
  const Descriptor open(memfd_create("vesper-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(open.get(), static_cast<off_t>(sound.end())), 0);
  const std::pair<int, transport::RingLayout> offers[] = {
      {open.get(), sound}, {sealed.get(), beyond}, {sealed.get(), overlapping}, {STDERR_FILENO, sound}};
  for (const auto& [fd, layout] : offers) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const auto server = MakeSocketChannel(ends[0]), client = MakeSocketChannel(ends[1]);
    const std::span<const uint8_t> part(reinterpret_cast<const uint8_t*>(&layout), sizeof(layout));
    ASSERT_EQ(server->SendWithDescriptors(MessageKind::kEvent, 0, {&part, 1}, {&fd, 1}), ChannelStatus::kOk);
    EXPECT_TRUE(client->TakeRing());
    EXPECT_STREQ(client->name(), "unix socket");
    Message answer;
    ASSERT_EQ(server->Receive(&answer, milliseconds(5000)), ChannelStatus::kOk);
    EXPECT_EQ(answer.payload, std::vector<uint8_t>{0});
  }
}

TEST(SilenceTest, ASilentClientIsGivenUp) {
  ChannelPair pair = MakeLoopback();
  Hello hello;
  std::string error;
  EXPECT_FALSE(ReceiveHello(*pair.server, &hello, &error));
  EXPECT_EQ(error, "the client did not say anything within 5000 ms");
}

}  // namespace
}  // namespace vesper::test
