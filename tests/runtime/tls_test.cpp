// What a TLS connection promises beyond what every channel does: who is at the other end, and that nobody changed anything.
#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "runtime/address.h"
#include "runtime/tls/certificate.h"
#include "runtime/tls/handshake.h"
#include "runtime/tls/stream.h"
#include "tests/runtime/channel_pair.h"

namespace vesper::test {
namespace {

using tls::End;
using tls::ServerHandshake;
using tls::Stream;

constexpr std::chrono::milliseconds kLong(10000);

transport::Deadline Soon() { return transport::Deadline(kLong); }

// A server with a key of its own at one end of a socket pair, for one handshake.
class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_), 0);
    pair_ = tls::MakeKeyPair("gpu.example", nullptr, false, &error_);
    UseServer(pair_, "");
    identity_.fingerprint = tls::ServerCredentials::FingerprintOf(pair_.certificate, &error_);
    identity_.token = tls::MakeToken();
  }
  void TearDown() override {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  void UseServer(const tls::KeyPair& pair, const std::string& authority) {
    credentials_ = tls::ServerCredentials::Make(pair.key, pair.certificate, authority, &error_);
    ASSERT_NE(credentials_, nullptr) << error_;
  }

  ServerHandshake::Progress Serve(ServerHandshake* handshake, std::string* error) {
    for (;;) {
      const auto progress = handshake->Go(error);
      if (progress != ServerHandshake::Progress::kWaits) {
        if (progress == ServerHandshake::Progress::kFailed) shutdown(ends_[1], SHUT_RDWR);
        return progress;
      }
      pollfd entry{ends_[1], POLLIN, 0};
      if (poll(&entry, 1, static_cast<int>(kLong.count())) != 1) return progress;
      poll(nullptr, 0, 1);
    }
  }
  // Both ends at once; whether the client is content. What the server thinks is in served_ and server_error_.
  bool Shake() {
    ServerHandshake handshake(*credentials_, ends_[1]);
    std::thread server([&] { served_ = Serve(&handshake, &server_error_); });
    const bool content = tls::ConnectSecurely(ends_[0], "gpu.example", identity_, Soon(), &client_secrets_, &error_);
    if (!content) shutdown(ends_[0], SHUT_RDWR);
    server.join();
    server_secrets_ = handshake.secrets();
    token_ = handshake.token();
    session_ = handshake.session();
    client_name_ = handshake.client();
    return content;
  }
  std::unique_ptr<Stream> StreamOf(End end) {
    const bool client = end == End::kClient;
    return Stream::Make(ends_[client ? 0 : 1], client ? client_secrets_ : server_secrets_, end, &error_);
  }
  std::string WriteFile(const std::string& name, const std::string& text) {
    const std::string path = directory_.path() + "/" + name;
    std::ofstream(path) << text;
    return path;
  }

  int ends_[2] = {-1, -1};
  TemporaryDirectory directory_;
  tls::KeyPair pair_;
  std::unique_ptr<tls::ServerCredentials> credentials_;
  tls::Identity identity_;
  tls::Secrets client_secrets_{}, server_secrets_{};
  ServerHandshake::Progress served_ = ServerHandshake::Progress::kWaits;
  std::string error_, server_error_, token_, client_name_;
  uint64_t session_ = 0;
};

ssize_t SendText(Stream& stream, const std::string& text) {
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  return stream.Send({&piece, 1});
}

// What is there, at most `most` bytes; what Receive() returned when there is nothing.
std::string ReceiveText(Stream& stream, size_t most, ssize_t* count) {
  std::string text(most, '\0');
  const iovec piece{text.data(), text.size()};
  *count = stream.Receive({&piece, 1});
  text.resize(*count < 0 ? 0 : static_cast<size_t>(*count));
  return text;
}

TEST_F(TlsTest, TheServerLearnsTheToken) {
  ASSERT_TRUE(Shake()) << error_;
  EXPECT_EQ(served_, ServerHandshake::Progress::kDone) << server_error_;
  EXPECT_EQ(token_, identity_.token);
  EXPECT_EQ(token_.size(), tls::kTokenText);
  EXPECT_EQ(client_name_, "");
}

TEST_F(TlsTest, TheServerLearnsWhichSessionIsToGoOn) {
  identity_.session = 0x0123456789ab;
  ASSERT_TRUE(Shake()) << error_;
  EXPECT_EQ(token_, identity_.token);
  EXPECT_EQ(session_, identity_.session);
  tls::Introduction introduction;
  EXPECT_FALSE(tls::Introduce(identity_.token, uint64_t{1} << 48, &introduction));
  EXPECT_FALSE(tls::Introduce(identity_.token + "x", 0, &introduction));
  ASSERT_TRUE(tls::Introduce("", 7, &introduction));  // of a client with a certificate
  ASSERT_TRUE(tls::ReadIntroduction(introduction, &token_, &session_));
  EXPECT_EQ(token_, "");
  EXPECT_EQ(session_, 7u);
}

TEST_F(TlsTest, AnotherServerLearnsNothing) {
  UseServer(tls::MakeKeyPair("gpu.example", nullptr, false, &error_), "");
  EXPECT_FALSE(Shake());
  EXPECT_NE(error_.find("is not the one that was named"), std::string::npos) << error_;
  EXPECT_NE(error_.find(identity_.fingerprint), std::string::npos) << error_;
  EXPECT_EQ(token_, "");
}

TEST_F(TlsTest, ANonsensicalFingerprintIsNone) {
  for (const std::string text : {"abc", "SHA256:", "zz", "SHA1:00"}) EXPECT_EQ(tls::ReadFingerprint(text), "") << text;
  const std::string digits = identity_.fingerprint.substr(7);
  std::string colons;
  for (size_t i = 0; i < digits.size(); i += 2) colons += (i == 0 ? "" : ":") + digits.substr(i, 2);
  for (const std::string& text : {digits, "sha256:" + digits, "SHA256:" + colons, colons}) {
    EXPECT_EQ(tls::ReadFingerprint(text), identity_.fingerprint) << text;
  }
  identity_.fingerprint = "00";
  EXPECT_FALSE(Shake());
  EXPECT_NE(error_.find("is no fingerprint"), std::string::npos) << error_;
}

TEST_F(TlsTest, AnAuthorityVouchesForTheServersName) {
  const tls::KeyPair authority = tls::MakeKeyPair("an authority", nullptr, true, &error_);
  identity_.fingerprint.clear();
  identity_.authority_file = WriteFile("ca.pem", authority.certificate);
  EXPECT_FALSE(Shake()) << "the server's certificate is its own";
  EXPECT_NE(error_.find("not to be trusted"), std::string::npos) << error_;
  TearDown();
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_), 0);
  UseServer(tls::MakeKeyPair("other.example", &authority, false, &error_), "");
  EXPECT_FALSE(Shake()) << "it is another host's";
  TearDown();
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_), 0);
  UseServer(tls::MakeKeyPair("gpu.example", &authority, false, &error_), "");
  EXPECT_TRUE(Shake()) << error_;
}

TEST_F(TlsTest, AClientMayHaveACertificateInsteadOfAToken) {
  const tls::KeyPair authority = tls::MakeKeyPair("an authority", nullptr, true, &error_);
  const tls::KeyPair client = tls::MakeKeyPair("anna", &authority, false, &error_);
  UseServer(pair_, authority.certificate);
  identity_.token.clear();
  identity_.certificate_file = WriteFile("client.pem", client.certificate);
  identity_.key_file = WriteFile("client.key", client.key);
  ASSERT_TRUE(Shake()) << error_;
  EXPECT_EQ(served_, ServerHandshake::Progress::kDone) << server_error_;
  EXPECT_EQ(client_name_, "anna");
}

TEST_F(TlsTest, ACertificateOfAnotherAuthorityIsRefused) {
  const tls::KeyPair authority = tls::MakeKeyPair("an authority", nullptr, true, &error_);
  const tls::KeyPair other = tls::MakeKeyPair("an authority", nullptr, true, &error_);
  const tls::KeyPair client = tls::MakeKeyPair("anna", &other, false, &error_);
  UseServer(pair_, authority.certificate);
  identity_.certificate_file = WriteFile("client.pem", client.certificate);
  identity_.key_file = WriteFile("client.key", client.key);
  Shake();  // the client may be content: the server's answer comes later
  EXPECT_EQ(served_, ServerHandshake::Progress::kFailed);
  EXPECT_EQ(client_name_, "");
}

TEST_F(TlsTest, OlderVersionsAreRefused) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  SSL* client = SSL_new(context);
  ServerHandshake handshake(*credentials_, ends_[1]);
  std::thread server([&] { served_ = Serve(&handshake, &server_error_); });
  SSL_set_fd(client, ends_[0]);
  int result;
  while ((result = SSL_connect(client)) != 1 && SSL_get_error(client, result) == SSL_ERROR_WANT_READ)
    poll(nullptr, 0, 1);
  EXPECT_NE(result, 1);
  server.join();
  EXPECT_EQ(served_, ServerHandshake::Progress::kFailed);
  EXPECT_NE(server_error_.find("unsupported protocol"), std::string::npos) << server_error_;
  SSL_free(client);
  SSL_CTX_free(context);
}

TEST_F(TlsTest, ATruncatedHandshakeFails) {
  ASSERT_TRUE(Shake()) << error_;
  TearDown();
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_), 0);
  ServerHandshake handshake(*credentials_, ends_[1]);
  const unsigned char part[] = {22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3};
  ASSERT_EQ(send(ends_[0], part, sizeof(part), 0), static_cast<ssize_t>(sizeof(part)));
  EXPECT_EQ(handshake.Go(&server_error_), ServerHandshake::Progress::kWaits);
  shutdown(ends_[0], SHUT_WR);
  EXPECT_EQ(handshake.Go(&server_error_), ServerHandshake::Progress::kFailed);
}

// OpenSSL itself at the other end, beyond the handshake: what we write by hand is what it reads, and the reverse.
TEST_F(TlsTest, OpenSslUnderstandsTheRecords) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  for (const char* suite : {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    TearDown();
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_), 0);
    SSL_CTX_set_ciphersuites(context, suite);
    SSL* client = SSL_new(context);
    SSL_set_fd(client, ends_[0]);
    ServerHandshake handshake(*credentials_, ends_[1]);
    std::thread server([&] { served_ = Serve(&handshake, &server_error_); });
    int result;
    while ((result = SSL_connect(client)) != 1 && SSL_get_error(client, result) == SSL_ERROR_WANT_READ) {
      poll(nullptr, 0, 1);
    }
    ASSERT_EQ(result, 1);
    tls::Introduction introduction;
    tls::Introduce(identity_.token, 0, &introduction);
    ASSERT_EQ(SSL_write(client, introduction.data(), static_cast<int>(introduction.size())), 64);
    server.join();
    ASSERT_EQ(served_, ServerHandshake::Progress::kDone) << server_error_;
    server_secrets_ = handshake.secrets();
    const auto stream = StreamOf(End::kServer);
    ASSERT_NE(stream, nullptr) << error_;
    stream->set_records_of_a_key(3);  // keys change on the way
    const std::string text(5000, 'v');
    for (int i = 0; i < 20; ++i) {
      ASSERT_EQ(SendText(*stream, text), 5000);
      std::string got(6000, '\0');
      ASSERT_EQ(SSL_read(client, got.data(), 6000), 5000) << suite << " " << i;
      EXPECT_EQ(got.substr(0, 5000), text);
      if (i % 5 == 2) {
        ASSERT_EQ(SSL_key_update(client, SSL_KEY_UPDATE_REQUESTED), 1);
      }
      ASSERT_EQ(SSL_write(client, text.data(), 5000), 5000);
      ssize_t count = 0;
      EXPECT_EQ(ReceiveText(*stream, 6000, &count), text) << suite << " " << i << " " << stream->error();
    }
    SSL_shutdown(client);
    ssize_t count = -1;
    ReceiveText(*stream, 10, &count);
    EXPECT_EQ(count, 0) << "close_notify is an end";
    SSL_free(client);
  }
  SSL_CTX_free(context);
}

TEST_F(TlsTest, AChangedByteEndsTheConnection) {
  ASSERT_TRUE(Shake()) << error_;
  const auto client = StreamOf(End::kClient);
  ASSERT_EQ(SendText(*client, "draw"), 4);
  std::string record(100, '\0');
  record.resize(static_cast<size_t>(recv(ends_[1], record.data(), record.size(), 0)));
  for (size_t i = 0; i < record.size(); ++i) {
    if (i == 3 || i == 4) continue;  // the length: the end would be waited for
    std::string changed = record;
    changed[i] ^= 1;
    const auto server = StreamOf(End::kServer);
    ASSERT_EQ(send(ends_[0], changed.data(), changed.size(), 0), static_cast<ssize_t>(changed.size()));
    ssize_t count = 0;
    EXPECT_EQ(ReceiveText(*server, 100, &count), "");
    if (i == 1 || i == 2) {
      EXPECT_TRUE(count < 0) << "it is authenticated, too";
      continue;
    }
    EXPECT_EQ(count, -1) << i;
    EXPECT_EQ(errno, EPROTO) << i;
  }
  const auto server = StreamOf(End::kServer);
  ssize_t count = 0;
  for (const bool again : {false, true}) {
    ASSERT_EQ(send(ends_[0], record.data(), record.size(), 0), static_cast<ssize_t>(record.size()));
    EXPECT_EQ(ReceiveText(*server, 100, &count), again ? "" : "draw") << "a record is not taken twice";
  }
}

TEST_F(TlsTest, GarbageInsteadOfRecordsEndsTheConnection) {
  ASSERT_TRUE(Shake()) << error_;
  std::string too_long("\x17\x03\x03\xff\xff", 5);
  too_long.resize(70000, 'x');
  const std::vector<std::string> inputs = {std::string(64, '\0'), too_long, std::string("\x17\x03\x03\x00\x00", 5),
                                           std::string("\x15\x03\x03\x00\x02\x02\x28", 7)};
  for (const std::string& input : inputs) {
    TearDown();
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends_), 0);
    const auto server = StreamOf(End::kServer);
    send(ends_[0], input.data(), input.size(), MSG_DONTWAIT);
    ssize_t count = 0;
    ReceiveText(*server, 100, &count);
    EXPECT_EQ(count, -1);
    EXPECT_EQ(errno, EPROTO);
    EXPECT_NE(server->error(), "");
  }
}

TEST_F(TlsTest, RecordsAreTakenInAnyPieces) {
  ASSERT_TRUE(Shake()) << error_;
  const auto client = StreamOf(End::kClient), server = StreamOf(End::kServer);
  std::string text;
  for (size_t i = 0; i < 100000; ++i) text += static_cast<char>(i * 7 + i / 251);
  std::string got;
  for (size_t done = 0, step = 1; got.size() < text.size(); step = step * 5 % 40009 + 1) {
    if (done < text.size() || client->unsent()) {
      const ssize_t sent = SendText(*client, text.substr(done, step));
      if (sent > 0) done += static_cast<size_t>(sent);
    }
    ssize_t count = 0;
    got += ReceiveText(*server, step * 3 % 20011 + 1, &count);
  }
  EXPECT_TRUE(got == text);
}

}  // namespace
}  // namespace vesper::test
