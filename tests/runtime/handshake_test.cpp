// The first messages of a session: accepted, refused, wrong, absent.
#include "runtime/handshake.h"

#include <gtest/gtest.h>

#include <thread>

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
                         testing::Values(Transport::kTcp, Transport::kUnix, Transport::kLoopback),
                         [](const auto& info) { return NameOf(info.param); });

TEST(SilenceTest, ASilentClientIsGivenUp) {
  ChannelPair pair = MakeLoopback();
  Hello hello;
  std::string error;
  EXPECT_FALSE(ReceiveHello(*pair.server, &hello, &error));
  EXPECT_EQ(error, "the client did not say anything within 5000 ms");
}

}  // namespace
}  // namespace vesper::test
