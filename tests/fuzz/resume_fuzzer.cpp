// What a stranger may say where connections are resumed, and a peer where one is. The first byte of an input chooses: the others are
// what an end hears whose connection may be resumed (a stream, and confirmations in it), what somebody says who claims to be a
// session's client, what the client hears then, or the first bytes of a TLS handshake, as the door gets them.
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/handshake.h"
#include "runtime/resume/carrier.h"
#include "runtime/resume/resumption.h"
#include "runtime/tls/certificate.h"
#include "runtime/tls/handshake.h"
#include "runtime/transport/frame.h"

namespace vesper::test {
namespace {

using Input = std::span<const uint8_t>;

constexpr ResumeTerms kTerms{7, {1, 2, 3}, std::chrono::milliseconds(0)};

uint64_t Take(Input* input, size_t bytes) {
  uint64_t value = 0;
  const size_t here = std::min(bytes, input->size());
  std::memcpy(&value, input->data(), here);
  *input = input->subspan(here);
  return value;
}

uint8_t ByteAt(uint64_t place) { return static_cast<uint8_t>(place ^ place >> 8); }

// Steps of 4 bytes: say more, send some of it, hear a confirmation, hear somebody who goes on; at or near the places that matter.
void KeepTheBooks(Input input) {
  resume::Resumption books(kTerms, 0);
  uint64_t said = 0, sent = 0, furthest = 0, confirmed = 0;
  while (!input.empty() && said < (size_t{8} << 20)) {
    const uint64_t step = Take(&input, 1), value = Take(&input, 3);
    if (step % 4 == 0) {
      std::vector<uint8_t> bytes(value % 100'000);
      for (uint8_t& byte : bytes) byte = ByteAt(said++);
      const iovec piece{bytes.data(), bytes.size()};
      books.Append({&piece, 1});
    } else if (step % 4 == 1) {
      std::array<iovec, 3> vectors;
      const size_t count = books.Offer(vectors);
      uint64_t taken = 0;
      for (size_t i = 0; i < count; ++i) {
        for (size_t k = 0; k < vectors[i].iov_len && taken < value; ++k, ++taken) {
          if (static_cast<const uint8_t*>(vectors[i].iov_base)[k] != ByteAt(sent + taken))
            throw std::logic_error("other bytes");
        }
        furthest = std::max(furthest, sent + taken);
      }
      // Everything offered may have been sent, by a peer's lights: it hears nothing of the end of the system call.
      uint64_t offered = sent;
      for (size_t i = 0; i < count; ++i) offered += vectors[i].iov_len;
      furthest = std::max(furthest, offered);
      books.Sent(taken);
      sent += taken;
    } else if (step % 4 == 2) {
      const uint64_t place = sent + (value & 0x10'0000 ? value & 0xff : -(value & 0xffff));
      if (books.Confirmed(place)) {
        if (place > furthest) throw std::logic_error("what was never sent is confirmed");
        confirmed = std::max(confirmed, place);
      }
    } else {
      const uint64_t place = value & 0x10'0000 ? said + (value & 0xff) : sent - (value & 0xffff);
      if (books.GoOn(place)) {
        if (place > furthest || place < confirmed) throw std::logic_error("it goes on where it cannot");
        sent = confirmed = place;
      }
    }
  }
}

// Two ends, of which the input is what comes from one.
void Hear(Input input, bool client) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return;
  const Descriptor far(ends[1]);
  resume::Carrier carrier;
  std::string error;
  if (!carrier.Accept(Descriptor(ends[0]), {}, &error)) return;
  if (send(far.get(), input.data(), input.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return;
  shutdown(far.get(), SHUT_WR);
  std::vector<uint8_t> frame;
  if (!carrier.Receive(kMaxFirstHelloBytes, transport::Deadline(std::chrono::milliseconds(1000)), &frame)) return;
  if (frame.size() > input.size()) throw std::logic_error("more than was sent");
  const resume::Resumption books(kTerms, 0);
  if (client) {
    Welcome welcome;
    bool refused = false;
    if (!HearResumed(frame, &welcome, &refused, &error) && error.empty()) throw std::logic_error("no reason");
  } else if (Hello hello; HearHello(frame, &hello, &error) == Heard::kHello && books.Knows(hello.resume)) {
    if (std::memcmp(hello.resume.secret.data(), kTerms.secret.data(), kTerms.secret.size()) != 0) {
      throw std::logic_error("another secret is as good");
    }
  }
}

void ShakeHands(Input input) {
  static const auto* const pair = new tls::KeyPair([] {
    std::string error;
    return tls::MakeKeyPair("fuzz", nullptr, false, &error);
  }());
  std::string error;
  static const auto* const credentials =
      tls::ServerCredentials::Make(pair->key, pair->certificate, "", &error).release();
  int ends[2];
  if (credentials == nullptr || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return;
  const Descriptor near(ends[0]), far(ends[1]);
  tls::ServerHandshake handshake(*credentials, near.get());
  for (int turn = 0; turn < 4; ++turn) {  // in pieces, as they come
    const Input part = input.first(turn == 3 ? input.size() : input.size() / 4);
    input = input.subspan(part.size());
    if (send(far.get(), part.data(), part.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return;
    if (turn == 3) shutdown(far.get(), SHUT_WR);
    const auto progress = handshake.Go(&error);
    if (progress == tls::ServerHandshake::Progress::kDone) throw std::logic_error("nobody shook hands");
    if (progress == tls::ServerHandshake::Progress::kFailed) return;
  }
  tls::Introduction introduction{};
  std::memcpy(introduction.data(), input.data(), std::min(input.size(), introduction.size()));
  std::string token;
  uint64_t session = 0;
  if (tls::ReadIntroduction(introduction, &token, &session) && (token.size() > tls::kTokenText || session >> 48 != 0)) {
    throw std::logic_error("more than fits");
  }
}

}  // namespace
}  // namespace vesper::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> input(data + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      vesper::test::KeepTheBooks(input);
      break;
    case 1:
    case 2:
      vesper::test::Hear(input, data[0] % 4 == 2);
      break;
    case 3:
      vesper::test::ShakeHands(input);
      break;
  }
  return 0;
}
