// What is left of a TLS handshake: with it, and the socket, a connection goes on anywhere, in another thread or process. The
// server's process that does handshakes hands it on with the socket; certificate and key stay behind.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace vesper::tls {

inline constexpr size_t kMaxSecretBytes = 48;

// Which certificate, of all: the SHA-256 of who issued it and of its number. Zeros: none.
using CertificateId = std::array<uint8_t, 32>;

// Of one connection, for both directions. Travels between processes of one server as it lies in memory.
struct Secrets {
  struct Direction {
    std::array<uint8_t, kMaxSecretBytes> secret;  // a traffic secret of RFC 8446, 7.1
    uint64_t sequence;                            // of the next record
  };
  uint16_t suite;  // as TLS numbers them; 0: there is no TLS
  Direction client;
  Direction server;
};

enum class End : uint8_t { kClient, kServer };

// The first record of a client after its handshake: who it says it is. Always of the same length, so that one knows how much
// to read before anything is known of it.
inline constexpr size_t kTokenText = 43;  // 256 bits in base64url
inline constexpr size_t kIntroductionBytes = 64;
using Introduction = std::array<uint8_t, kIntroductionBytes>;
// `token` may be empty, for clients with a certificate. `session`, unless 0, is to go on over this connection. False when the token
// is longer than any, or the session's number.
bool Introduce(const std::string& token, uint64_t session, Introduction* introduction);
// The token and the session, or false for something else.
bool ReadIntroduction(const Introduction& introduction, std::string* token, uint64_t* session);

}  // namespace vesper::tls
