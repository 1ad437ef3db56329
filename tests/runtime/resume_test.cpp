// What a connection promises that may be resumed: whatever breaks, everything comes once and in order, or both ends learn that it is
// over; who does not know the session's secret changes nothing; what is kept is bounded.
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime/address.h"
#include "runtime/handshake.h"
#include "runtime/resume/carrier.h"
#include "runtime/resume/resumption.h"
#include "runtime/resume/sent_log.h"
#include "runtime/transport/socket_channel.h"
#include "tests/runtime/channel_pair.h"
#include "tests/support/cut_line.h"

namespace vesper::test {
namespace {

using resume::Resumption;
using resume::SentLog;
using std::chrono::milliseconds;

// --- the log --------------------------------------------------------------------------------------------------------------

uint8_t ByteAt(uint64_t place) { return static_cast<uint8_t>(place * 7 + place / 251); }

void AppendPattern(SentLog* log, size_t bytes) {
  std::vector<uint8_t> data(bytes);
  for (size_t i = 0; i < bytes; ++i) data[i] = ByteAt(log->end() + i);
  const iovec pieces[] = {{data.data(), bytes / 3}, {data.data() + bytes / 3, bytes - bytes / 3}};
  log->Append(pieces);
}

// Sends up to `most` bytes of what is pending; false when it is not what was appended.
bool SendPattern(SentLog* log, size_t most, size_t* taken) {
  std::array<iovec, 3> vectors;
  const size_t count = log->Offer(vectors);
  uint64_t at = log->sent();
  *taken = 0;
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = 0; k < vectors[i].iov_len && *taken < most; ++k, ++*taken) {
      if (static_cast<const uint8_t*>(vectors[i].iov_base)[k] != ByteAt(at++)) return false;
    }
  }
  log->Sent(*taken);
  return true;
}

TEST(SentLogTest, SaysAgainWhatWasNotConfirmed) {
  std::mt19937 random(7);
  const auto upto = [&](uint64_t most) { return std::uniform_int_distribution<uint64_t>(0, most)(random); };
  SentLog log;
  uint64_t peer = 0;  // has so much
  for (int turn = 0; turn < 3000; ++turn) {
    AppendPattern(&log, upto(100'000));
    size_t taken = 0;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(SendPattern(&log, upto(150'000), &taken)) << turn;
    peer = std::max(peer, log.begin() + upto(log.sent() - log.begin()));
    if (upto(9) == 0) {
      ASSERT_TRUE(log.GoBackTo(peer)) << turn;
      EXPECT_EQ(log.sent(), peer);
    } else {
      ASSERT_TRUE(log.Confirm(std::min(peer, log.sent()))) << turn;
    }
    EXPECT_LE(log.begin(), peer);
    EXPECT_EQ(log.size(), log.end() - log.begin());
    if (log.size() > 3'000'000) {
      while (log.pending()) ASSERT_TRUE(SendPattern(&log, SIZE_MAX, &taken));
      peer = log.end();
      ASSERT_TRUE(log.Confirm(peer));
      EXPECT_EQ(log.size(), 0u);
    }
  }
}

TEST(SentLogTest, BelievesNoPeerThatHasMoreThanWasSent) {
  SentLog log;
  AppendPattern(&log, 1000);
  EXPECT_FALSE(log.Confirm(1));
  EXPECT_FALSE(log.GoBackTo(1));
  std::array<iovec, 1> vectors;
  ASSERT_EQ(log.Offer(vectors), 1u);
  EXPECT_TRUE(log.Confirm(1000)) << "it may have come before the system call has returned";
  EXPECT_EQ(log.begin(), 0u) << "and the memory is still in use then";
  EXPECT_EQ(log.Sent(400), 400u);
  EXPECT_EQ(log.begin(), 400u);
  EXPECT_FALSE(log.Confirm(1001));
  EXPECT_FALSE(log.GoBackTo(300)) << "what was confirmed is not here any more";
  EXPECT_TRUE(log.GoBackTo(1000));
  EXPECT_FALSE(log.pending());
}

TEST(SentLogTest, CountsWhatIsSentAgainOnce) {
  SentLog log;
  AppendPattern(&log, 1000);
  std::array<iovec, 1> vectors;
  log.Offer(vectors);
  EXPECT_EQ(log.Sent(700), 700u);
  EXPECT_TRUE(log.GoBackTo(100));
  log.Offer(vectors);
  EXPECT_EQ(log.Sent(900), 300u);
}

// A process that ends closes its connections in order, and most of those that do not come again have ended.
TEST(ResumptionTest, AClosedConnectionIsWaitedForLess) {
  using Clock = resume::Resumption::Clock;
  ResumeTerms terms;
  terms.patience = std::chrono::hours(1);
  for (const bool closed : {true, false}) {
    resume::Resumption resumption(terms, 0);
    const auto before = Clock::now();
    EXPECT_TRUE(resumption.Broke(resumption.connection(), closed, "it ended"));
    const auto waits = resumption.patience_ends();
    if (closed) {
      EXPECT_LE(waits, Clock::now() + resume::Resumption::kAfterClosing);
    } else {
      EXPECT_GE(waits, before + std::chrono::hours(1));
    }
  }
  terms.patience = milliseconds(1);
  resume::Resumption resumption(terms, 0);
  EXPECT_TRUE(resumption.Broke(resumption.connection(), true, "it ended"));
  EXPECT_LT(resumption.patience_ends(), Clock::now() + resume::Resumption::kAfterClosing)
      << "no longer than the terms say";
}

// --- channels -------------------------------------------------------------------------------------------------------------

// A server of one session: whoever comes after its first client says that it is the same.
class ResumeTest : public testing::Test {
 protected:
  static constexpr uint64_t kSession = 4711;

  void SetUp() override {
    listener_ = Listener::Open({.kind = Address::Kind::kTcp, .path = {}, .host = "127.0.0.1", .port = 0}, &error_);
    ASSERT_NE(listener_, nullptr) << error_;
    line_ = CutLine::To(listener_->address().ToString(), &error_);
    ASSERT_NE(line_, nullptr) << error_;
    secret_.fill(0x5a);
  }
  void TearDown() override {
    stopping_ = true;
    if (acceptor_.joinable()) acceptor_.join();
    client_.reset();
    server_.reset();
  }
  void Begin(milliseconds client_patience = milliseconds(10'000), milliseconds server_patience = milliseconds(10'000)) {
    const auto address = ParseAddress(line_->address(), &error_);
    ASSERT_TRUE(address) << error_;
    client_ = Connect(*address, 5000, &error_);
    ASSERT_NE(client_, nullptr) << error_;
    int socket = -1;
    while (socket < 0) socket = listener_->Accept();
    server_ = MakeSocketChannel(socket);
    ASSERT_TRUE(client_->OffersResume() && server_->OffersResume());
    std::thread greeter([&] {
      Hello hello;
      EXPECT_TRUE(ReceiveHello(*server_, &hello, &error_));
      EXPECT_NE(hello.resumes_for.count(), 0);
      Welcome welcome;
      welcome.session = kSession;
      welcome.secret = secret_;
      welcome.resume_for = server_patience;
      EXPECT_TRUE(SendWelcome(*server_, welcome));
    });
    Hello hello;
    hello.resumes_for = client_patience;
    Welcome welcome;
    std::string error;
    EXPECT_TRUE(Greet(*client_, hello, &welcome, &error)) << error;
    greeter.join();
    acceptor_ = std::thread([this] { Accept(); });
  }
  void Accept() {
    while (!stopping_) {
      const int socket = listener_->Accept();
      if (socket < 0) {
        std::this_thread::sleep_for(milliseconds(1));
        continue;
      }
      std::string why;
      ++(server_->Reconnect(Descriptor(socket), {}, &why) ? resumed_ : refused_);
    }
  }
  // What the next one who comes says, having connected without the line.
  std::string SayHello(const Resume& resume, Welcome* welcome) {
    resume::Carrier carrier;
    std::string why;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto channel_address = listener_->address();
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_port = htons(static_cast<uint16_t>(channel_address.port));
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    EXPECT_TRUE(carrier.Accept(Descriptor(fd), {}, &why)) << why;
    Hello hello;
    hello.resume = resume;
    EXPECT_TRUE(carrier.Send(EncodeHello(hello)));
    std::vector<uint8_t> answer;
    if (!carrier.Receive(4096, transport::Deadline(milliseconds(5000)), &answer)) return "no answer";
    bool refused = false;
    return HearResumed(std::move(answer), welcome, &refused, &why) ? "" : why;
  }

  std::string error_;
  ResumeSecret secret_{};
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<CutLine> line_;
  std::unique_ptr<Channel> client_, server_;
  std::thread acceptor_;
  std::atomic<bool> stopping_ = false;
  std::atomic<uint64_t> resumed_ = 0, refused_ = 0;
};

// As every session has one: a thread that receives, to the end of the scope.
class Reader {
 public:
  explicit Reader(Channel* channel)
      : thread_([this, channel] {
          Message message;
          while (!over_) channel->Receive(&message, milliseconds(20));
        }) {}
  ~Reader() {
    over_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> over_ = false;
  std::thread thread_;
};

// Sends messages of random sizes, numbered from 1.
void SendMany(Channel& channel, MessageKind kind, uint64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  for (uint64_t i = 1; i <= count; ++i) {
    const double exponent = std::uniform_real_distribution(0.0, i % 50 == 0 ? 21.0 : 14.0)(random);
    const auto bytes = Pattern(i, static_cast<size_t>(std::exp2(exponent)));
    ASSERT_EQ(SendBytes(channel, kind, i, bytes), ChannelStatus::kOk) << i << ": " << channel.error();
  }
}
void ExpectMany(Channel& channel, MessageKind kind, uint64_t count) {
  Message message;
  for (uint64_t i = 1; i <= count; ++i) {
    ChannelStatus status;
    while ((status = channel.Receive(&message, milliseconds(200))) == ChannelStatus::kTimeout) {
    }
    ASSERT_EQ(status, ChannelStatus::kOk) << i << ": " << channel.error();
    ASSERT_EQ(message.kind, kind);
    ASSERT_EQ(message.sequence, i);
    ASSERT_EQ(message.payload, Pattern(i, message.payload.size())) << i;
  }
}

TEST_F(ResumeTest, WhateverBreaksEverythingComesOnceAndInOrder) {
  constexpr uint64_t kMessages = 1500;  // about 12 MB
  Begin();
  line_->CutAtRandom(20261127, 1 << 20);
  line_->Cut();
  std::thread up([&] { SendMany(*client_, MessageKind::kBatch, kMessages, 1); });
  std::thread down([&] { SendMany(*server_, MessageKind::kEvent, kMessages, 2); });
  std::promise<void> all_came;
  std::thread server([&] {
    ExpectMany(*server_, MessageKind::kBatch, kMessages);
    const Reader reader(server_.get());  // the client may still lack something
    all_came.get_future().wait();
  });
  ExpectMany(*client_, MessageKind::kEvent, kMessages);
  {
    const Reader reader(client_.get());  // the server may
    up.join();
    all_came.set_value();
    server.join();
  }
  down.join();
  EXPECT_GT(line_->cuts(), 20u);
  EXPECT_GT(client_->resumptions(), 10u);
  EXPECT_EQ(refused_ + resumed_, line_->connections() - 1) << "each came to the server";
}

// A line that forgets a connection tells nobody: the client asks for another one, and whatever was under way comes over that.
TEST_F(ResumeTest, AConnectionOverWhichNothingComesIsRenewed) {
  Begin();
  Message message;
  for (uint64_t i = 1; i <= 3; ++i) {
    line_->Forget();
    ASSERT_EQ(SendBatch(*client_, i, 3000), ChannelStatus::kOk);
    ASSERT_EQ(SendBytes(*server_, MessageKind::kEvent, i, Pattern(i, 500)), ChannelStatus::kOk);
    EXPECT_EQ(server_->Receive(&message, milliseconds(50)), ChannelStatus::kTimeout);
    EXPECT_FALSE(client_->broken());
    EXPECT_TRUE(client_->Renew(milliseconds(10'000)));
    std::thread client([&] {  // who receives sends again what was lost
      Message event;
      EXPECT_EQ(client_->Receive(&event, milliseconds(10'000)), ChannelStatus::kOk) << client_->error();
      EXPECT_EQ(event.payload, Pattern(i, 500));
    });
    EXPECT_EQ(server_->Receive(&message, milliseconds(10'000)), ChannelStatus::kOk) << server_->error();
    EXPECT_EQ(message.payload, Pattern(i, 3000));
    client.join();
    EXPECT_EQ(server_->resumptions(), i);
  }
  EXPECT_FALSE(server_->Renew(milliseconds(1000))) << "who is sought does not seek";
  line_->ForgetAll();
  EXPECT_TRUE(client_->Renew(milliseconds(300)));
  EXPECT_FALSE(client_->Renew(milliseconds(300))) << "one is sought already";
  EXPECT_EQ(client_->Receive(&message, milliseconds(10'000)), ChannelStatus::kClosed);
}

// A kernel whose program does not read answers; a machine that is gone does not, whatever was on its way to it.
TEST(SilentMachineTest, IsToldFromAProgramThatDoesNotRead) {
  tcp_info info{};
  info.tcpi_last_ack_recv = 60'000;
  EXPECT_FALSE(transport::IsSilent(info, milliseconds(20'000))) << "nothing is on its way: keepalive's affair";
  info.tcpi_probes = 1;
  EXPECT_FALSE(transport::IsSilent(info, milliseconds(20'000))) << "it is just being asked";
  info.tcpi_probes = 2;
  EXPECT_TRUE(transport::IsSilent(info, milliseconds(20'000)));
  info.tcpi_probes = 0;
  info.tcpi_retransmits = 3;
  EXPECT_TRUE(transport::IsSilent(info, milliseconds(20'000)));
  info.tcpi_last_ack_recv = 19'000;
  EXPECT_FALSE(transport::IsSilent(info, milliseconds(20'000)));
}

// The same in a network of its own, whose line is taken away. 77: there is none to be had; else how often something was wrong.
int TakeTheLineAway(bool fills) {
  if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return 77;
  const Descriptor control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto bring = [&](bool up) {
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = static_cast<short>(up ? IFF_UP : 0);
    return ioctl(control.get(), SIOCSIFFLAGS, &request) == 0;
  };
  if (!bring(true)) return 77;
  const Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), client(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(name);
  auto* address = reinterpret_cast<sockaddr*>(&name);
  if (bind(listener.get(), address, length) != 0 || listen(listener.get(), 1) != 0) return 77;
  getsockname(listener.get(), address, &length);
  if (connect(client.get(), address, length) != 0) return 77;
  const Descriptor server(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
  const auto silent = [&] {
    tcp_info info{};
    socklen_t size = sizeof(info);
    getsockopt(server.get(), IPPROTO_TCP, TCP_INFO, &info, &size);
    return transport::IsSilent(info, milliseconds(1000));
  };
  const std::vector<char> bytes(1 << 16);
  while (fills && send(server.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
  }
  int wrong = 0;
  for (int i = 0; i < 200; ++i) {  // as long as nobody reads
    wrong += silent() ? 1 : 0;
    std::this_thread::sleep_for(milliseconds(10));
  }
  if (!bring(false)) return 77;
  send(server.get(), bytes.data(), 1, MSG_NOSIGNAL);
  for (int i = 0; i < 6000 && !silent(); ++i) std::this_thread::sleep_for(milliseconds(10));
  return wrong + (silent() ? 0 : 1000);
}

TEST(SilentMachineTest, IsFoundInEarnest) {
  for (const bool fills : {false, true}) {
    const pid_t child = fork();
    if (child == 0) _exit(std::min(TakeTheLineAway(fills), 200));
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "no network of its own to be had";
    EXPECT_EQ(WEXITSTATUS(status), 0) << (fills ? "with a full window" : "with a byte on its way");
  }
}

TEST_F(ResumeTest, ManyConfirmationsKeepLittle) {
  Begin();
  const Reader reader(client_.get());
  std::thread up([&] { SendMany(*client_, MessageKind::kBatch, 6000, 3); });
  ExpectMany(*server_, MessageKind::kBatch, 6000);
  up.join();
  EXPECT_GT(server_->bytes_received(), Resumption::kMostKept) << "more than can be kept has come";
}

TEST_F(ResumeTest, WhoKnowsNoSecretChangesNothing) {
  Begin();
  Welcome welcome;
  Resume resume{kSession, secret_, 0};
  resume.secret.back() ^= 1;
  EXPECT_EQ(SayHello(resume, &welcome), "the server refused: it is not the session's client");
  EXPECT_EQ(SayHello({kSession + 1, secret_, 0}, &welcome), "the server refused: it is not the session's client");
  while (refused_ < 2) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(SendBatch(*client_, 1, 1000), ChannelStatus::kOk);
  ExpectMany(*server_, MessageKind::kBatch, 1);
  EXPECT_EQ(line_->connections(), 1u) << "nothing broke";
  EXPECT_FALSE(server_->broken());
}

TEST_F(ResumeTest, AConnectionThatIsCutInTheMidstOfComingIsFollowedByAnother) {
  Begin();
  EXPECT_EQ(SendBatch(*client_, 1, 1000), ChannelStatus::kOk);
  ExpectMany(*server_, MessageKind::kBatch, 1);
  // In the midst of the Hello, behind it, and in the midst of the Welcome.
  Hello hello;
  hello.resume = {kSession, secret_, 0};
  Welcome welcome;
  welcome.session = kSession;
  const size_t asked = EncodeHello(hello).size(), answered = EncodeWelcome(welcome).size();
  line_->CutAt(1);
  line_->Cut();
  const Reader reader(client_.get());
  for (const size_t bytes : {asked - 1, asked, asked + 1, asked + answered - 1}) {
    line_->CutAt(bytes);
    for (const uint64_t cuts = line_->cuts(); line_->cuts() < cuts + 2;) std::this_thread::sleep_for(milliseconds(1));
  }
  line_->Mend();
  EXPECT_EQ(SendBytes(*client_, MessageKind::kBatch, 1, Pattern(1, 5000)), ChannelStatus::kOk);
  ExpectMany(*server_, MessageKind::kBatch, 1);
}

TEST_F(ResumeTest, NobodyIsWaitedForForEver) {
  Begin(milliseconds(10'000), milliseconds(200));
  stopping_ = true;
  acceptor_.join();
  line_->Close();
  line_->Cut();
  Message message;
  ChannelStatus status;
  while ((status = server_->Receive(&message, milliseconds(-1))) == ChannelStatus::kTimeout) {
  }
  EXPECT_EQ(status, ChannelStatus::kClosed);
  EXPECT_NE(server_->error().find("nobody came to resume the session within 200 ms"), std::string::npos)
      << server_->error();
  EXPECT_TRUE(server_->PeerEnded());
  EXPECT_EQ(SendBatch(*server_, 1, 10), ChannelStatus::kClosed);
}

// As a server's: the thread that would find the end of the connection is the one that sends.
TEST_F(ResumeTest, WhoSendsFindsTheEndWhereNobodyReceives) {
  Begin(milliseconds(10'000), milliseconds(200));
  stopping_ = true;
  acceptor_.join();
  line_->Close();
  line_->Cut();
  while (SendBatch(*server_, 1, 100'000) == ChannelStatus::kOk) {
  }
  EXPECT_TRUE(server_->PeerEnded());
}

TEST_F(ResumeTest, AServerThatIsGoneIsNotSoughtForEver) {
  Begin(milliseconds(300));
  line_->Close();  // who comes there is cut off at once
  line_->Cut();
  // Who sends waits as well, and learns it too.
  std::thread sender([&] {
    while (SendBatch(*client_, 1, 100'000) == ChannelStatus::kOk) {
    }
  });
  Message message;
  ChannelStatus status;
  while ((status = client_->Receive(&message, milliseconds(-1))) == ChannelStatus::kTimeout) {
  }
  EXPECT_EQ(status, ChannelStatus::kClosed);
  EXPECT_NE(client_->error().find("could not be mended within 300 ms"), std::string::npos) << client_->error();
  sender.join();
}

TEST_F(ResumeTest, AServerThatRefusesIsBelievedAtOnce) {
  Begin(milliseconds(60'000));
  // Another session of that number.
  stopping_ = true;
  acceptor_.join();
  line_->Cut();
  std::thread refuser([&] {
    int socket = -1;
    while (socket < 0) socket = listener_->Accept();
    const auto channel = MakeSocketChannel(socket);
    Hello hello;
    std::string why;
    EXPECT_TRUE(ReceiveHello(*channel, &hello, &why)) << why;
    EXPECT_EQ(hello.resume.session, kSession);
    EXPECT_EQ(hello.resume.secret, secret_);
    EXPECT_TRUE(SendRefused(*channel, "the session has ended"));
  });
  Message message;
  ChannelStatus status;
  while ((status = client_->Receive(&message, milliseconds(-1))) == ChannelStatus::kTimeout) {
  }
  EXPECT_EQ(status, ChannelStatus::kClosed);
  EXPECT_NE(client_->error().find("the server refused: the session has ended"), std::string::npos) << client_->error();
  refuser.join();
}

TEST_F(ResumeTest, ClosingEndsEveryWait) {
  Begin(milliseconds(60'000), milliseconds(60'000));
  stopping_ = true;
  acceptor_.join();
  line_->Close();
  line_->Cut();
  std::thread reader([&] {
    Message message;
    while (client_->Receive(&message, milliseconds(-1)) != ChannelStatus::kClosed) {
    }
  });
  std::thread sender([&] {
    while (SendBatch(*client_, 1, 1'000'000) == ChannelStatus::kOk) {
    }
  });
  while (!client_->broken()) std::this_thread::sleep_for(milliseconds(1));
  client_->Close();
  reader.join();
  sender.join();
}

// A peer that reads everything and confirms nothing.
TEST_F(ResumeTest, WhatIsKeptIsBounded) {
  Begin();
  Welcome welcome;
  resume::Carrier thief;
  std::string why;
  stopping_ = true;
  acceptor_.join();
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  ASSERT_TRUE(thief.Accept(Descriptor(fds[0]), {}, &why)) << why;
  Hello hello;
  hello.resume = {kSession, secret_, 0};
  ASSERT_TRUE(thief.Send(EncodeHello(hello)));
  ASSERT_TRUE(server_->Reconnect(Descriptor(fds[1]), {}, &why)) << why;
  std::vector<uint8_t> answer;
  ASSERT_TRUE(thief.Receive(4096, transport::Deadline(milliseconds(5000)), &answer));
  constexpr size_t kMessage = size_t{1} << 20;
  std::atomic<bool> over = false;
  std::thread drain([&] {
    std::vector<char> bytes(1 << 16);
    while (!over) {
      if (recv(thief.socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT) <= 0) {
        std::this_thread::sleep_for(milliseconds(1));
      }
    }
  });
  std::atomic<int> sent = 0;
  std::thread sender([&] {
    while (SendBytes(*server_, MessageKind::kEvent, 1, Pattern(1, kMessage)) == ChannelStatus::kOk) ++sent;
  });
  const auto most = static_cast<int>(Resumption::kMostKept / kMessage);
  while (sent < most) std::this_thread::sleep_for(milliseconds(1));
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(sent, most) << "the next waits";
  EXPECT_FALSE(server_->SendsAtOnce(1));
  EXPECT_LE(server_->bytes_sent(), Resumption::kMostKept + kMessage);
  server_->Close();
  sender.join();
  over = true;
  drain.join();
}

TEST_F(ResumeTest, ConfirmingWhatWasNeverSentEndsTheSession) {
  Begin();
  EXPECT_EQ(SendBytes(*client_, MessageKind::kReceived, 1 << 20, {}), ChannelStatus::kOk);
  Message message;
  EXPECT_EQ(server_->Receive(&message, milliseconds(5000)), ChannelStatus::kMalformed);
  EXPECT_EQ(server_->error(), "the peer confirms what it cannot have");
}

}  // namespace
}  // namespace vesper::test
