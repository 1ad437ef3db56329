// The process that meets strangers on the network. It does their TLS handshakes, checks their tokens, and passes the socket and
// keys of those that may come in to the supervisor. It alone has the server's private key, and it is confined: a stranger that
// takes it over reaches neither the supervisor nor workers.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/descriptor.h"
#include "server/base/limits.h"
#include "server/entry/admission.h"
#include "server/entry/passing.h"

namespace vesper::server {

// What the supervisor tells it. All but kOpen come with a descriptor: of a file, which is read from its beginning, or a socket.
enum class DoorOrder : uint8_t {
  kKey,
  kCertificate,
  kClientAuthority,
  kRevocations,
  kTokens,
  kHeld,  // ids of the certificates that sessions were begun with, one after the other: those that are revoked are reported
  kListener,
  kOpen,
  kDrain
};

struct DoorReport {
  enum class Kind : uint8_t {
    kReady,     // it lets strangers in; the text is the fingerprint of the certificate
    kFailed,    // it cannot; the text says why
    kAdmitted,  // `admission` came in; its socket comes along
    kTokens,    // the new tokens or revocation lists are not in force; the text says why
    kRefused,   // `refused` more were refused
    kRevoked,   // a certificate of kHeld, which is that of `admission`
  };
  Kind kind = Kind::kReady;
  std::array<char, limits::kDoorTextBytes> text{};
  Admission admission;
  uint64_t refused = 0;
};

// Runs the process with its end of the line to the supervisor, confined by that sandbox and as that user, unless it is 0. Returns
// the process's exit code.
int RunDoorkeeper(int line, const std::string& sandbox, uint32_t user);

}  // namespace vesper::server
