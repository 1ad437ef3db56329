// What TLS costs a channel on this machine: round trips of small messages, and large ones one way, over TCP without and with it.
//   channel_bench [ROUND-TRIPS] [MEBIBYTES]
#include <poll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "runtime/address.h"
#include "runtime/tls/certificate.h"
#include "runtime/tls/handshake.h"

namespace {

using namespace vesper;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kForever{-1};

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "channel_bench: %s\n", why.c_str());
  std::exit(1);
}

std::unique_ptr<Channel> Accept(Listener* listener, const tls::ServerCredentials* credentials) {
  pollfd entry{listener->fd(), POLLIN, 0};
  poll(&entry, 1, -1);
  const int socket = listener->Accept();
  if (credentials == nullptr) return MakeSocketChannel(socket);
  tls::ServerHandshake handshake(*credentials, socket);
  std::string error;
  for (;;) {
    const auto progress = handshake.Go(&error);
    if (progress == tls::ServerHandshake::Progress::kFailed) Fail(error);
    if (progress == tls::ServerHandshake::Progress::kDone) break;
    entry.fd = socket;
    poll(&entry, 1, -1);
  }
  return MakeTlsChannel(socket, handshake.secrets(), tls::End::kServer, &error);
}

ChannelPair MakePair(bool secure, double* milliseconds) {
  std::string error;
  const tls::KeyPair pair = tls::MakeKeyPair("localhost", nullptr, false, &error);
  const auto credentials = secure ? tls::ServerCredentials::Make(pair.key, pair.certificate, {}, &error) : nullptr;
  const auto listener = Listener::Open(*ParseAddress("tcp://127.0.0.1:0", &error), &error);
  if (listener == nullptr) Fail(error);
  Address address = listener->address();
  if (secure) {
    address.kind = Address::Kind::kTls;
    address.fingerprint = tls::ServerCredentials::FingerprintOf(pair.certificate, &error);
  }
  ChannelPair made;
  const auto begun = Clock::now();
  std::thread server([&] { made.server = Accept(listener.get(), credentials.get()); });
  made.client = Connect(address, 5000, &error);
  server.join();
  if (made.client == nullptr || made.server == nullptr) Fail(error);
  *milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
  return made;
}

void Send(Channel& channel, const std::vector<uint8_t>& bytes) {
  const std::span<const uint8_t> part(bytes);
  if (channel.Send(MessageKind::kBatch, 1, {&part, 1}) != ChannelStatus::kOk) Fail(channel.error());
}

double RoundTripMicroseconds(ChannelPair& pair, int rounds) {
  const std::vector<uint8_t> small(200);
  std::thread server([&] {
    Message message;
    for (int i = 0; i < rounds; ++i) {
      if (pair.server->Receive(&message, kForever) != ChannelStatus::kOk) Fail(pair.server->error());
      Send(*pair.server, small);
    }
  });
  Message message;
  const auto begun = Clock::now();
  for (int i = 0; i < rounds; ++i) {
    Send(*pair.client, small);
    if (pair.client->Receive(&message, kForever) != ChannelStatus::kOk) Fail(pair.client->error());
  }
  const double all = std::chrono::duration<double, std::micro>(Clock::now() - begun).count();
  server.join();
  return all / rounds;
}

double MebibytesPerSecond(ChannelPair& pair, int mebibytes) {
  std::thread server([&] {
    Message message;
    for (int i = 0; i < mebibytes; ++i) {
      if (pair.server->Receive(&message, kForever) != ChannelStatus::kOk) Fail(pair.server->error());
    }
  });
  const std::vector<uint8_t> large(size_t{1} << 20);
  const auto begun = Clock::now();
  for (int i = 0; i < mebibytes; ++i) Send(*pair.client, large);
  server.join();
  return mebibytes / std::chrono::duration<double>(Clock::now() - begun).count();
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 20000;
  const int mebibytes = argc > 2 ? std::atoi(argv[2]) : 2000;
  for (const bool secure : {false, true, true}) {  // the first with TLS also opens OpenSSL
    double connected = 0;
    ChannelPair pair = MakePair(secure, &connected);
    const double trip = RoundTripMicroseconds(pair, rounds);
    std::printf("%s: connected in %.2f ms, %.2f us a round trip, %.0f MiB/s\n", secure ? "TLS" : "TCP", connected, trip,
                MebibytesPerSecond(pair, mebibytes));
  }
}
