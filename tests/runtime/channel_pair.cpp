#include "tests/runtime/channel_pair.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "runtime/address.h"
#include "runtime/tls/certificate.h"
#include "runtime/tls/handshake.h"
#include "runtime/transport/vesper.capnp.h"

namespace vesper::test {
namespace {

ChannelPair PairOver(const Address& address) {
  std::string error;
  const auto listener = Listener::Open(address, &error);
  EXPECT_NE(listener, nullptr) << error;
  if (listener == nullptr) return {};
  auto client = Connect(listener->address(), 5000, &error);
  EXPECT_NE(client, nullptr) << error;
  pollfd waiting{listener->fd(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 5000), 1);
  return {std::move(client), MakeSocketChannel(listener->Accept())};
}

// The server's end of a connection that somebody begins; nullptr when it fails.
std::unique_ptr<Channel> AcceptSecurely(const Listener& listener, const tls::ServerCredentials& credentials) {
  pollfd waiting{listener.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 5000), 1);
  const int socket = const_cast<Listener&>(listener).Accept();
  tls::ServerHandshake handshake(credentials, socket);
  std::string error;
  tls::ServerHandshake::Progress progress;
  while ((progress = handshake.Go(&error)) == tls::ServerHandshake::Progress::kWaits) {
    pollfd entry{socket, POLLIN, 0};
    EXPECT_EQ(poll(&entry, 1, 5000), 1);
    poll(nullptr, 0, 1);  // for the rest of what has begun to come
  }
  if (progress == tls::ServerHandshake::Progress::kDone) {
    return MakeTlsChannel(socket, handshake.secrets(), tls::End::kServer, &error);
  }
  ADD_FAILURE() << error;
  close(socket);
  return nullptr;
}

ChannelPair TlsPair() {
  std::string error;
  const tls::KeyPair pair = tls::MakeKeyPair("localhost", nullptr, false, &error);
  const auto credentials = tls::ServerCredentials::Make(pair.key, pair.certificate, {}, &error);
  const auto listener = Listener::Open(*ParseAddress("tcp://127.0.0.1:0", &error), &error);
  EXPECT_NE(credentials, nullptr) << error;
  EXPECT_NE(listener, nullptr) << error;
  if (credentials == nullptr || listener == nullptr) return {};
  Address address = listener->address();
  address.kind = Address::Kind::kTls;
  address.fingerprint = tls::ServerCredentials::FingerprintOf(pair.certificate, &error);
  ChannelPair made;
  std::thread server([&] { made.server = AcceptSecurely(*listener, *credentials); });
  made.client = Connect(address, 5000, &error);
  EXPECT_NE(made.client, nullptr) << error;
  server.join();
  return made;
}

}  // namespace

const char* NameOf(Transport transport) {
  switch (transport) {
    case Transport::kTcp:
      return "Tcp";
    case Transport::kTls:
      return "Tls";
    case Transport::kUnix:
      return "Unix";
    case Transport::kSocketPair:
      return "SocketPair";
    case Transport::kRing:
      return "Ring";
    case Transport::kGuest:
      return "Guest";
    case Transport::kLoopback:
      return "Loopback";
  }
  return "";
}

ChannelPair MakePair(Transport transport) {
  std::string error;
  switch (transport) {
    case Transport::kTcp:
      return PairOver(*ParseAddress("tcp://127.0.0.1:0", &error));
    case Transport::kTls:
      return TlsPair();
    case Transport::kUnix: {
      const TemporaryDirectory directory;
      return PairOver(*ParseAddress("unix:" + directory.path() + "/socket", &error));
    }
    case Transport::kSocketPair: {
      int ends[2];
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
      return {MakeSocketChannel(ends[0]), MakeSocketChannel(ends[1])};
    }
    case Transport::kRing: {
      ChannelPair pair = MakePair(Transport::kSocketPair);
      std::thread server([&pair] { EXPECT_TRUE(pair.server->OfferRing()); });
      EXPECT_TRUE(pair.client->TakeRing());
      server.join();
      EXPECT_STREQ(pair.client->name(), "ring");
      EXPECT_STREQ(pair.server->name(), "ring");
      return pair;
    }
    case Transport::kGuest: {
      const TestArea area(8 * Area::kUnit);
      int ends[2];
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
      ChannelPair pair{MakeGuestChannel(ends[0], Area::OfGuest(area.Open(), Area::kUnit, area.label(), &error)),
                       MakeGuestChannel(ends[1], Area::OfHost(area.Open()))};
      std::thread server([&pair] { EXPECT_TRUE(pair.server->OfferRing()); });
      EXPECT_TRUE(pair.client->TakeRing());
      server.join();
      EXPECT_STREQ(pair.client->name(), "ring");
      return pair;
    }
    case Transport::kLoopback:
      return MakeLoopback();
  }
  return {};
}

TestArea::TestArea(uint64_t bytes) : file_(memfd_create("vesper-test", MFD_CLOEXEC)) {
  EXPECT_EQ(ftruncate(file_.get(), static_cast<off_t>(bytes + Area::kUnit)), 0);
  label_.bytes = bytes;
  label_.id.fill(42);
  EXPECT_TRUE(WriteLabel(file_, label_));
}

Descriptor TestArea::Open() const {
  return Descriptor(open(("/proc/self/fd/" + std::to_string(file_.get())).c_str(), O_RDWR | O_CLOEXEC));
}

TemporaryDirectory::TemporaryDirectory() {
  char path[] = "/tmp/vesper-test-XXXXXX";
  EXPECT_NE(mkdtemp(path), nullptr);
  path_ = path;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ScopedVariable::ScopedVariable(const char* name, const std::string& value) : name_(name) {
  const char* before = std::getenv(name);
  was_set_ = before != nullptr;
  if (was_set_) before_ = before;
  setenv(name, value.c_str(), 1);
}

ScopedVariable::~ScopedVariable() {
  if (was_set_) {
    setenv(name_, before_.c_str(), 1);
  } else {
    unsetenv(name_);
  }
}

std::set<int> OpenDescriptors() {
  std::set<int> result;
  // The iterator's own descriptor is gone by the time the names are looked at again.
  std::vector<int> seen;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    seen.push_back(std::stoi(entry.path().filename()));
  }
  for (const int fd : seen) {
    if (std::filesystem::exists(std::filesystem::symlink_status("/proc/self/fd/" + std::to_string(fd)))) {
      result.insert(fd);
    }
  }
  return result;
}

ChannelStatus SendBytes(Channel& channel, MessageKind kind, uint64_t sequence, const std::vector<uint8_t>& bytes) {
  const std::span<const uint8_t> part(bytes);
  return channel.Send(kind, sequence, {&part, 1});
}

ChannelStatus SendBatch(Channel& channel, uint64_t sequence, size_t size) {
  return SendBytes(channel, MessageKind::kBatch, sequence, Pattern(sequence, size));
}

std::vector<uint8_t> Pattern(uint64_t sequence, size_t size) {
  std::vector<uint8_t> bytes(size);
  uint64_t state = sequence * 0x9e3779b97f4a7c15 + size;
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    state = state * 6364136223846793005 + 1442695040888963407;
    std::memcpy(&bytes[i], &state, 8);
  }
  for (; i < size; ++i) bytes[i] = static_cast<uint8_t>(state >> (8 * (i % 8)));
  return bytes;
}

std::vector<uint8_t> HandshakePayload(MessageKind kind) {
  capnp::MallocMessageBuilder builder;
  auto message = builder.initRoot<transport::schema::Message>();
  if (kind == MessageKind::kHello) {
    message.initHello().setProgram("a test");
  } else {
    message.initWelcome().setSession(7);
  }
  const auto words = capnp::messageToFlatArray(builder);
  const auto bytes = words.asBytes();
  return {bytes.begin(), bytes.end()};
}

std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

}  // namespace vesper::test
