// Protects the way in: who has no token, or the wrong one, gets no worker, and keeps nobody out who has.
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "runtime/resume/carrier.h"
#include "runtime/tls/certificate.h"
#include "runtime/tls/handshake.h"
#include "runtime/wire/control.h"
#include "runtime/wire/encoder.h"
#include "runtime/wire/record.h"
#include "server/entry/local_peers.h"
#include "server/entry/tokens.h"
#include "tests/server/live_server.h"
#include "tests/support/remote_server.h"

namespace vesper::test {
namespace {

constexpr uint32_t kNobody = 65534;

std::string OutputOf(const std::string& command) {
  std::string text;
  FILE* output = popen(command.c_str(), "re");
  char line[1024];
  while (output != nullptr && std::fgets(line, sizeof(line), output) != nullptr) text += line;
  if (output != nullptr) pclose(output);
  return text;
}

class TrustTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/vesper-trust-XXXXXX";
    folder_ = mkdtemp(pattern);
    std::string said;
    first_ = InitCredentials(folder_, &said);
    ASSERT_FALSE(first_.token.empty()) << said;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Start(std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--listen", "tls://127.0.0.1:0", "--credentials", folder_});
    server_ = std::make_unique<Server>(more);
    ASSERT_TRUE(Server::WaitFor(server_->out(), "listening on tls://127.0.0.1:", 60)) << Server::Read(server_->err());
  }
  // Of a client with that token.
  Address AddressFor(const std::string& token) {
    const std::string text = Server::Read(server_->out());
    const size_t at = text.find("tls://");
    std::string error;
    Address address = *ParseAddress(text.substr(at, text.find('\n', at) - at), &error);
    address.token = token;
    address.fingerprint = first_.fingerprint;
    return address;
  }
  Address Good() { return AddressFor(first_.token); }
  std::string NewToken(const std::string& arguments) {
    std::string text =
        OutputOf(std::string(VESPER_SERVER_BINARY) + " token --credentials " + folder_ + " " + arguments);
    return text.substr(0, text.find('\n'));
  }
  void Reload() {
    kill(server_->pid(), SIGHUP);
    ASSERT_TRUE(Server::WaitFor(server_->err(), " tokens\n"));
  }
  pid_t Doorkeeper() {
    for (const pid_t child : Children(server_->pid())) {
      if (Server::Read("/proc/" + std::to_string(child) + "/comm") == "vesper-door\n") return child;
    }
    return 0;
  }

  // In bytes, of every worker; UINT64_MAX where there is none.
  std::vector<uint64_t> DataLimits() {
    std::vector<uint64_t> found;
    for (const pid_t child : Children(server_->pid())) {
      const std::string process = "/proc/" + std::to_string(child);
      if (Server::Read(process + "/comm") != "vesper-worker\n") continue;
      std::istringstream limits(Server::Read(process + "/limits"));
      for (std::string line; std::getline(limits, line);) {
        uint64_t soft = UINT64_MAX;
        if (!line.starts_with("Max data size")) continue;
        if (!(std::istringstream(line.substr(13)) >> soft)) soft = UINT64_MAX;
        found.push_back(soft);
      }
    }
    return found;
  }

  std::string folder_;
  FirstToken first_;
  std::unique_ptr<Server> server_;
};

TEST_F(TrustTest, TheRightTokenIsServed) {
  Start();
  std::string error;
  const auto channel = Greeted(Good(), &error);
  ASSERT_NE(channel, nullptr) << error;
  EXPECT_TRUE(Lives(*channel));
  EXPECT_TRUE(Server::WaitFor(server_->err(), "session 1 is that of first"));
  EXPECT_EQ(Server::Read(server_->err()).find(first_.token), std::string::npos) << "tokens are in no log";
}

TEST_F(TrustTest, NoOtherTokenIs) {
  Start();
  const size_t workers = ChildrenOf(server_->pid());
  std::string error, almost = first_.token;
  almost[10] = almost[10] == 'A' ? 'B' : 'A';
  for (const std::string& wrong : {std::string(), std::string("x"), almost, first_.token + "A", tls::MakeToken()}) {
    EXPECT_EQ(Greeted(AddressFor(wrong), &error), nullptr);
    EXPECT_NE(error.find(wrong.empty()                    ? "a token is needed"
                         : wrong.size() > tls::kTokenText ? "the token is longer than any"
                                                          : "is not, or no longer, one of this server's"),
              std::string::npos)
        << error;
  }
  EXPECT_EQ(ChildrenOf(server_->pid()), workers);
  EXPECT_EQ(Server::Read(server_->err()).find("session 1"), std::string::npos) << "no worker for these";
  EXPECT_NE(Greeted(Good(), &error), nullptr) << error;
}

TEST_F(TrustTest, AServerWithAnotherCertificateIsNotSpokenTo) {
  Start();
  Address address = Good();
  address.fingerprint = std::string(64, '0');
  std::string error;
  EXPECT_EQ(Greeted(address, &error), nullptr);
  EXPECT_NE(error.find("is not the one that was named"), std::string::npos) << error;
}

// What the server says to somebody who claims to go on with that session; empty when it takes him for its client. `named` is what
// he says ahead of his Hello, where that is encrypted.
std::string AnswerTo(const Address& address, uint64_t named, const Resume& resume) {
  const transport::Deadline soon{std::chrono::milliseconds(5000)};
  resume::Carrier carrier;
  tls::Secrets secrets{};
  std::string error;
  if (!carrier.Accept(Dial(address), secrets, &error)) return error;
  if (address.kind == Address::Kind::kTls) {
    tls::Identity identity;
    identity.token = address.token;
    identity.fingerprint = address.fingerprint;
    identity.session = named;
    if (!tls::ConnectSecurely(carrier.socket.get(), address.host, identity, soon, &secrets, &error)) return error;
    carrier.tls = tls::Stream::Make(carrier.socket.get(), secrets, tls::End::kClient, &error);
  }
  Hello hello;
  hello.fingerprint = kRegistryFingerprint;
  hello.resume = resume;
  std::vector<uint8_t> answer;
  if (!carrier.Send(EncodeHello(hello)) || !carrier.Receive(4096, soon, &answer)) return "no answer";
  Welcome welcome;
  bool refused = false;
  return HearResumed(std::move(answer), &welcome, &refused, &error) ? "" : error;
}

TEST_F(TrustTest, ASessionGoesOnForItsOwnClientAlone) {
  const std::string other = NewToken("other");
  Start({"--resume-for", "20", "--listen", "tcp://127.0.0.1:0"});
  std::string error;
  const std::unique_ptr<Channel> channel = Connect(Good(), 2000, &error);
  ASSERT_NE(channel, nullptr) << error;
  Hello hello;
  hello.fingerprint = kRegistryFingerprint;
  hello.resumes_for = std::chrono::milliseconds(1000);
  Welcome welcome;
  ASSERT_TRUE(Greet(*channel, hello, &welcome, &error)) << error;
  EXPECT_EQ(welcome.resume_for, std::chrono::seconds(20));
  const Resume right{welcome.session, welcome.secret, 0};
  Resume wrong = right;
  wrong.secret[0] ^= 1;
  const std::string ended = "the server refused: the session has ended";
  EXPECT_EQ(AnswerTo(server_->TcpAddress(), 0, right), ended) << "it was begun with a token";
  EXPECT_EQ(AnswerTo(server_->TcpAddress(), 0, {welcome.session + 1, welcome.secret, 0}), ended);
  EXPECT_EQ(AnswerTo(AddressFor(other), welcome.session, right), ended) << "with another one";
  EXPECT_NE(AnswerTo(AddressFor("wrong"), welcome.session, right).find("the token is not"), std::string::npos);
  EXPECT_EQ(AnswerTo(Good(), welcome.session, wrong), "the server refused: it is not the session's client");
  EXPECT_EQ(AnswerTo(Good(), 0, right), "the server refused: the session that it resumes is another's");
  EXPECT_TRUE(Lives(*channel));
  EXPECT_EQ(channel->resumptions(), 0u) << "nothing of all that has touched it";
  EXPECT_EQ(AnswerTo(Good(), welcome.session, right), "") << "its own client with another connection";
}

TEST_F(TrustTest, ARevokedTokenEndsItsSessionsAndNoOthers) {
  const std::string other = NewToken("other");
  ASSERT_EQ(other.size(), tls::kTokenText);
  Start();
  std::string error;
  const auto stays = Greeted(Good(), &error), goes = Greeted(AddressFor(other), &error);
  ASSERT_NE(stays, nullptr) << error;
  ASSERT_NE(goes, nullptr) << error;
  NewToken("other --remove");
  const std::string third = NewToken("third");
  Reload();
  EXPECT_TRUE(Ends(*goes));
  EXPECT_TRUE(Lives(*stays));
  EXPECT_EQ(Greeted(AddressFor(other), &error), nullptr);
  EXPECT_NE(error.find("no longer"), std::string::npos) << error;
  EXPECT_NE(Greeted(AddressFor(third), &error), nullptr) << error;
}

TEST_F(TrustTest, AFileOfTokensThatCannotBeReadChangesNothing) {
  Start();
  std::ofstream(folder_ + "/tokens") << "first deadbeef\n";
  kill(server_->pid(), SIGHUP);
  EXPECT_TRUE(Server::WaitFor(server_->err(), "the tokens stay as they were: " + folder_ + "/tokens, line 1"));
  std::string error;
  EXPECT_NE(Greeted(Good(), &error), nullptr) << error;
}

TEST_F(TrustTest, ATokenHasItsOwnLimits) {
  const std::string small = NewToken("small --max-sessions 1");
  Start();
  std::string error;
  auto first = Greeted(AddressFor(small), &error);
  ASSERT_NE(first, nullptr) << error;
  EXPECT_EQ(Greeted(AddressFor(small), &error), nullptr);
  EXPECT_NE(error.find("the token small has as many sessions as it may (1)"), std::string::npos) << error;
  EXPECT_NE(Greeted(Good(), &error), nullptr) << error;
  first.reset();
  for (int i = 0; i < 100 && first == nullptr; ++i) {  // until its worker has ended
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    first = Greeted(AddressFor(small), &error);
  }
  EXPECT_NE(first, nullptr) << error;
}

// Questions without end, whose answers nobody reads.
TEST_F(TrustTest, ATokenBoundsWhatWaitsForItsSessions) {
  const std::string small = NewToken("small --max-queued 1");
  Start();
  wire::ByteBuffer questions;
  constexpr uint64_t kAtOnce = 2000;
  for (uint64_t i = 0; i < kAtOnce; ++i) {
    wire::EndRecord(&questions,
                    wire::BeginRecord(&questions, static_cast<uint16_t>(wire::Control::kHeartbeat), wire::kWantsReply));
  }
  const std::span<const uint8_t> part(questions.data(), questions.size());
  // How many of so many questions are taken; `reads`: each answer is read before more is asked.
  const auto ask = [&](Channel& channel, uint64_t most, bool reads) {
    Message message;
    for (uint64_t asked = 0;; asked += kAtOnce) {
      if (asked == most || channel.Send(MessageKind::kBatch, asked + 1, {&part, 1}) != ChannelStatus::kOk) return asked;
      for (uint64_t i = 0; reads && i < kAtOnce; ++i) {
        if (channel.Receive(&message, std::chrono::milliseconds(20'000)) != ChannelStatus::kOk) return asked;
      }
    }
  };
  std::string error;
  const auto greedy = Greeted(AddressFor(small), &error);
  ASSERT_NE(greedy, nullptr) << error;
  constexpr uint64_t kEndless = 20'000'000;  // much more than what is on its way when the session ends
  EXPECT_LT(ask(*greedy, kEndless, false), kEndless);
  EXPECT_TRUE(Server::WaitFor(server_->err(), "session 1 ended: the client left 1048"));
  const auto modest = Greeted(AddressFor(small), &error);
  ASSERT_NE(modest, nullptr) << error;
  EXPECT_EQ(ask(*modest, 200'000, true), 200'000u) << "who reads is not limited";
}

TEST_F(TrustTest, ATokensMemoryIsItsWorkersLimit) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers map more than any limit";
#endif
  const std::string small = NewToken("small --max-memory 3000");
  Start({"--max-memory", "4000"});
  std::string error;
  const auto channel = Greeted(AddressFor(small), &error);
  ASSERT_NE(channel, nullptr) << error;
  const std::vector<uint64_t> limits = DataLimits();
  EXPECT_EQ(std::count(limits.begin(), limits.end(), uint64_t{3000} << 20), 1) << "of its worker, and of no other";
}

TEST_F(TrustTest, AWorkersMemoryIsLimitedUnlessToldOtherwise) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers map more than any limit";
#endif
  Start();
  std::string error;
  const auto channel = Greeted(Good(), &error);
  ASSERT_NE(channel, nullptr) << error;
  const auto pages = static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
  const uint64_t machine = pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  // A spare that has just been started has none yet.
  const auto limited = [&] {
    const std::vector<uint64_t> limits = DataLimits();
    return !limits.empty() &&
           std::all_of(limits.begin(), limits.end(), [&](uint64_t each) { return each <= machine / 2; });
  };
  for (int i = 0; i < 500 && !limited(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(limited());
}

TEST_F(TrustTest, ACertificateOfTheAuthorityIsAsGoodAsAToken) {
  std::string error;
  const tls::KeyPair authority = tls::MakeKeyPair("an authority", nullptr, true, &error);
  const tls::KeyPair client = tls::MakeKeyPair("anna", &authority, false, &error);
  std::ofstream(folder_ + "/ca.pem") << authority.certificate;
  std::ofstream(folder_ + "/anna.pem") << client.certificate << client.key;
  Start({"--client-ca", folder_ + "/ca.pem"});
  EXPECT_EQ(Greeted(AddressFor(""), &error), nullptr);
  setenv("VESPER_CERTIFICATE", (folder_ + "/anna.pem").c_str(), 1);
  EXPECT_NE(Greeted(AddressFor(""), &error), nullptr) << error;
  unsetenv("VESPER_CERTIFICATE");
  EXPECT_TRUE(Server::WaitFor(server_->err(), "is that of certificate: anna"));
  EXPECT_NE(Greeted(Good(), &error), nullptr) << "tokens are as good as before: " << error;
}

TEST_F(TrustTest, ARevokedCertificateIsRefused) {
  std::string error;
  const tls::KeyPair authority = tls::MakeKeyPair("an authority", nullptr, true, &error);
  const auto write = [&](const std::string& name, const std::string& text) { std::ofstream(folder_ + name) << text; };
  std::vector<std::string> certificates;
  for (const std::string name : {"anna", "bert", "carl"}) {
    const tls::KeyPair client = tls::MakeKeyPair(name, &authority, false, &error);
    write("/" + name + ".pem", client.certificate + client.key);
    certificates.push_back(client.certificate);
  }
  const auto revoke = [&](const std::vector<std::string>& these, long seconds) {
    const std::string list = tls::MakeRevocationList(authority, these, seconds, &error);
    EXPECT_FALSE(list.empty()) << error;
    write("/crl.pem", list);
  };
  const auto comes_in = [&](const std::string& name) {
    setenv("VESPER_CERTIFICATE", (folder_ + "/" + name + ".pem").c_str(), 1);
    const bool in = Greeted(AddressFor(""), &error) != nullptr;
    unsetenv("VESPER_CERTIFICATE");
    return in;
  };
  // The door hears of it a moment after the log does. Nobody may fail more than four times in a row, or he is not listened to.
  int reloads = 0;
  const auto reload = [&] {
    ++reloads;
    kill(server_->pid(), SIGHUP);
    const auto told = [&] {
      const std::string log = Server::Read(server_->err());
      int count = 0;
      for (size_t at = 0; (at = log.find("/tokens: 1 tokens", at)) != std::string::npos; ++at) ++count;
      return count;
    };
    for (int i = 0; i < 1000 && told() < reloads; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  };
  write("/ca.pem", authority.certificate);
  revoke({certificates[0]}, 3600);
  Start({"--client-ca", folder_ + "/ca.pem", "--client-crl", folder_ + "/crl.pem"});
  EXPECT_FALSE(comes_in("anna"));
  EXPECT_NE(error.find("revoked"), std::string::npos) << error;
  EXPECT_TRUE(comes_in("bert")) << error;
  const auto begin = [&](const std::string& name) {
    setenv("VESPER_CERTIFICATE", (folder_ + "/" + name + ".pem").c_str(), 1);
    auto session = Greeted(AddressFor(""), &error);
    unsetenv("VESPER_CERTIFICATE");
    return session;
  };
  const auto bert = begin("bert"), carl = begin("carl"), by_token = Greeted(Good(), &error);
  ASSERT_TRUE(bert != nullptr && carl != nullptr && by_token != nullptr) << error;
  reload();
  EXPECT_TRUE(Lives(*bert)) << "nothing has changed";
  revoke({certificates[0], certificates[1]}, 3600);
  reload();
  EXPECT_TRUE(Ends(*bert));
  EXPECT_TRUE(Server::WaitFor(server_->err(), "is ended: the certificate: bert is revoked"));
  EXPECT_TRUE(Lives(*carl));
  EXPECT_TRUE(Lives(*by_token));
  EXPECT_FALSE(comes_in("bert"));
  EXPECT_FALSE(comes_in("anna"));
  EXPECT_TRUE(comes_in("carl")) << error;
  // A file that holds none changes nothing.
  write("/crl.pem", "nonsense");
  reload();
  EXPECT_TRUE(
      Server::WaitFor(server_->err(), "the door goes on with what it had: the revocation lists cannot be used"));
  EXPECT_TRUE(comes_in("carl")) << error;
  EXPECT_FALSE(comes_in("bert"));
  // One that is out of date says nothing of anybody any more.
  revoke({}, -60);
  reload();
  EXPECT_TRUE(Lives(*carl)) << "of a session that was begun before either";
  EXPECT_FALSE(comes_in("carl"));
  EXPECT_NE(Greeted(Good(), &error), nullptr) << "tokens have nothing to do with it: " << error;
}

TEST_F(TrustTest, RevocationListsWithoutAnAuthorityAreAMistake) {
  server_ = std::make_unique<Server>(
      std::vector<std::string>{"--listen", "tls://127.0.0.1:0", "--credentials", folder_, "--client-crl", "/dev/null"});
  EXPECT_TRUE(Server::WaitFor(server_->err(), "name their authority with --client-ca", 60));
}

TEST_F(TrustTest, AClientWithoutTlsIsToldSo) {
  Start();
  Address plain = Good();
  plain.kind = Address::Kind::kTcp;
  std::string error;
  EXPECT_EQ(Greeted(plain, &error), nullptr);
  EXPECT_NE(error.find("write tls:// instead of tcp://"), std::string::npos) << error;
}

// The door's process is nobody that sessions depend on.
TEST_F(TrustTest, TheDoorIsMendedWhileSessionsGoOn) {
  Start();
  std::string error;
  const auto session = Greeted(Good(), &error);
  ASSERT_NE(session, nullptr) << error;
  const pid_t door = Doorkeeper();
  ASSERT_GT(door, 0);
  kill(door, SIGKILL);
  EXPECT_TRUE(Server::WaitFor(server_->err(), "the door's process ended with signal 9"));
  EXPECT_TRUE(Lives(*session));
  std::unique_ptr<Channel> later;
  for (int i = 0; i < 10 && later == nullptr; ++i) later = Greeted(Good(), &error);
  EXPECT_NE(later, nullptr) << error;
}

// A socket from one of many addresses of this machine.
Descriptor DialFrom(const Address& address, uint32_t from) {
  Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(from);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) return Descriptor();
  name.sin_port = htons(static_cast<uint16_t>(address.port));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) return Descriptor();
  return fd;
}

TEST_F(TrustTest, TenThousandStrangersKeepNobodyOut) {
  Start();
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const size_t held = limit.rlim_cur > 11000 ? 10000 : limit.rlim_cur / 2;
  const pid_t door = Doorkeeper();
  const size_t workers = ChildrenOf(server_->pid());
  [[maybe_unused]] const size_t memory = PrivateBytes(server_->pid()), door_memory = PrivateBytes(door);
  const Address address = Good();
  // Silence, garbage, a hello that is cut short, one that promises more than it may, TLS without a handshake that makes sense.
  const std::vector<std::string> says = {"", std::string(300, '\xff'),
                                         std::string("\x16\x03\x01\x01\x00\x01\x00\x00\xfc", 9),
                                         std::string("\x16\x03\x01\xff\xff", 5) + std::string(500, 'x'),
                                         std::string("\x16\x03\x01\x00\x10", 5) + std::string(16, 'y')};
  std::vector<Descriptor> strangers;
  std::string error;
  for (uint32_t i = 0; i < 10000; ++i) {
    Descriptor one = DialFrom(address, 0x7f010001 + i % 200);
    ASSERT_TRUE(one.valid()) << i << ": " << strerror(errno);
    const std::string& bytes = says[i % says.size()];
    send(one.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (strangers.size() == held) strangers.erase(strangers.begin(), strangers.begin() + 1000);
    strangers.push_back(std::move(one));
    if (i % 2500 == 2499) {
      EXPECT_NE(Greeted(address, &error), nullptr) << i << ": " << error;
    }
  }
  EXPECT_LE(ChildrenOf(server_->pid()), workers + 5) << "workers for strangers";
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which keep what is freed for a while
  EXPECT_LT(PrivateBytes(server_->pid()), memory + (2u << 20));
  EXPECT_LT(PrivateBytes(door), door_memory + (16u << 20)) << "128 handshakes and 512 descriptors at most";
#endif
}

// Even where the good one and the bad ones come from the same machine.
TEST_F(TrustTest, NeighboursOfGuessersAreServed) {
  Start();
  std::string error;
  for (int i = 0; i < 12; ++i) EXPECT_EQ(Greeted(AddressFor(tls::MakeToken()), &error), nullptr);
  const Address patient = Good();
  std::unique_ptr<Channel> good = Connect(patient, 5000, &error);
  ASSERT_NE(good, nullptr) << error;
  Hello hello;
  hello.fingerprint = kRegistryFingerprint;
  Welcome welcome;
  EXPECT_TRUE(Greet(*good, hello, &welcome, &error)) << error;
}

TEST_F(TrustTest, BeyondThisMachineTcpMustBeAskedFor) {
  Server refused({"--listen", "tcp://0.0.0.0:0"});
  EXPECT_TRUE(Server::WaitFor(refused.err(), "can be reached from other machines: listen on tls://"));
  int status = 0;
  waitpid(refused.pid(), &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  Server insecure({"--listen", "tcp://0.0.0.0:0", "--insecure"});
  EXPECT_TRUE(Server::WaitFor(insecure.out(), "listening on tcp://0.0.0.0:", 60));
  EXPECT_TRUE(Server::WaitFor(insecure.err(), "INSECURE: whoever reaches tcp://0.0.0.0:"));
}

TEST_F(TrustTest, WithoutCredentialsItSaysHowToMakeThem) {
  Server none({"--listen", "tls://127.0.0.1:0", "--credentials", folder_ + "/nowhere"});
  EXPECT_TRUE(Server::WaitFor(none.err(), "`vesper-server init` makes a key, a certificate and a token", 60));
  int status = 0;
  waitpid(none.pid(), &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

TEST_F(TrustTest, KeysAreForTheirOwnerAlone) {
  for (const char* file : {"/server.key", "/tokens"}) {
    struct stat status {};
    ASSERT_EQ(stat((folder_ + file).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u) << file;
  }
  EXPECT_EQ(Server::Read(folder_ + "/tokens").find(first_.token), std::string::npos) << "only its digest is kept";
  std::string said;
  const std::string before = Server::Read(folder_ + "/server.key");
  InitCredentials(folder_, &said);
  EXPECT_EQ(Server::Read(folder_ + "/server.key"), before) << "a second init replaces nothing";
}

// What somebody else hears who connects to a Unix socket; empty when served.
std::string AsUser(uint32_t user, const std::string& path) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    std::string error;
    if (setgroups(0, nullptr) == 0 && setresgid(user, user, user) == 0 && setresuid(user, user, user) == 0) {
      const Address address{.kind = Address::Kind::kUnix, .path = path, .host = {}, .port = 0};
      if (Greeted(address, &error) != nullptr) error = "served";
    }
    [[maybe_unused]] const ssize_t written = write(ends[1], error.data(), error.size());
    _exit(0);
  }
  close(ends[1]);
  std::string said(2000, '\0');
  const ssize_t count = read(ends[0], said.data(), said.size());
  said.resize(count < 0 ? 0 : static_cast<size_t>(count));
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return said;
}

TEST_F(TrustTest, OtherUsersNeedToBeAllowed) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  Server strict;
  ASSERT_TRUE(strict.Ready());
  chmod(strict.folder().c_str(), 0755);
  EXPECT_NE(AsUser(kNobody, strict.socket()).find("Permission denied"), std::string::npos) << "its mode is 0600";
  chmod(strict.socket().c_str(), 0666);
  const std::string said = AsUser(kNobody, strict.socket());
  EXPECT_NE(said.find("user 65534 may not use this server"), std::string::npos) << said;
  for (const char* option : {"--allow-user", "--allow-group"}) {
    Server open({option, std::to_string(kNobody)});
    ASSERT_TRUE(open.Ready());
    chmod(open.folder().c_str(), 0755);
    struct stat status {};
    ASSERT_EQ(stat(open.socket().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0660u);
    EXPECT_EQ(AsUser(kNobody, open.socket()), "served") << option;
  }
}

TEST(LocalPeersTest, MachinesNeedToBeAllowed) {
  std::string error, why;
  const auto none = server::LocalPeers::Make({}, {}, {}, &error);
  ASSERT_TRUE(none) << error;
  EXPECT_FALSE(none->AllowsMachine(3, &why));
  EXPECT_EQ(why, "machine 3 may not use this server: start it with --allow-cid 3");
  const auto some = server::LocalPeers::Make({}, {}, {"3", "local"}, &error);
  ASSERT_TRUE(some) << error;
  EXPECT_TRUE(some->AllowsMachine(3, &why));
  EXPECT_TRUE(some->AllowsMachine(1, &why));
  EXPECT_FALSE(some->AllowsMachine(4, &why));
  const auto all = server::LocalPeers::Make({}, {}, {"any"}, &error);
  ASSERT_TRUE(all) << error;
  EXPECT_TRUE(all->AllowsMachine(4, &why));
  for (const char* wrong : {"", "three", "-3", "3:4"}) {
    EXPECT_FALSE(server::LocalPeers::Make({}, {}, {wrong}, &error)) << wrong;
    EXPECT_NE(error.find("--allow-cid"), std::string::npos) << error;
  }
}

TEST(TokensTest, ReadsNamesDigestsAndLimits) {
  const std::string digest = tls::DigestOf("secret");
  std::string error;
  const auto tokens = server::Tokens::Parse("# all of them\n\nanna " + digest +
                                                " sessions=3 memory=512 queued=64 gpu=7 idle=90  # hers\nbob " +
                                                tls::DigestOf("other") + "\n",
                                            &error);
  ASSERT_TRUE(tokens) << error;
  ASSERT_EQ(tokens->size(), 2u);
  EXPECT_EQ(tokens->Named("anna")->sessions, 3u);
  EXPECT_EQ(tokens->Named("anna")->memory_mib, 512u);
  EXPECT_EQ(tokens->Named("anna")->gpu_seconds, 7u);
  EXPECT_EQ(tokens->Named("anna")->idle_seconds, 90u);
  EXPECT_EQ(tokens->Named("anna")->queued_mib, 64u);
  EXPECT_EQ(tokens->Named("bob")->sessions, 0u);
  EXPECT_EQ(tokens->Find(tokens->Named("bob")->digest), tokens->Named("bob"));
  EXPECT_EQ(tokens->Find(server::TokenDigest{}), nullptr);
  EXPECT_EQ(server::Tokens::Line(*tokens->Named("anna")),
            "anna " + digest + " sessions=3 memory=512 queued=64 gpu=7 idle=90\n");
}

TEST(TokensTest, SaysWhichLineIsWrong) {
  const std::string digest = tls::DigestOf("secret");
  std::string error;
  const std::string wrong[] = {"anna",
                               "anna " + digest.substr(1),
                               "anna " + digest.substr(1) + "g",
                               "an/na " + digest,
                               std::string(41, 'a') + " " + digest,
                               "anna " + digest + " sessions=",
                               "anna " + digest + " sessions=-1",
                               "anna " + digest + " sessions=1x",
                               "anna " + digest + " colour=red",
                               "anna " + digest + "\nanna " + digest};
  for (const std::string& text : wrong) {
    EXPECT_FALSE(server::Tokens::Parse("\n" + text, &error)) << text;
    EXPECT_NE(error.find(text.find('\n') == text.npos ? "line 2: " : "line 3: "), std::string::npos) << error;
  }
}

}  // namespace
}  // namespace vesper::test
