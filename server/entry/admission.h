// Says who a client is and what it may use. The process that met the client passes it to the supervisor, and that to the
// client's worker.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/tls/secrets.h"
#include "server/base/limits.h"

namespace vesper::server {

// Sent as it lies in memory: both ends are processes of one server.
struct Admission {
  tls::Secrets secrets{};  // of its connection; all zeros without TLS
  std::array<char, limits::kAdmissionNameBytes>
      who{};  // the name of its token, or "certificate: " and whom that names, or "guest: " and which; empty: nobody asked
  std::array<char, limits::kAdmissionNameBytes>
      program{};                     // as it calls itself, for people; under TLS it says so to its worker alone
  tls::CertificateId certificate{};  // that it came with
  // Limits of this client that are stricter than those of the server; 0: none.
  uint32_t memory_mib = 0;
  uint32_t gpu_seconds = 0;
  uint32_t idle_seconds = 0;
  uint32_t queued_mib = 0;
  uint64_t resumes = 0;  // a session that goes on over this connection; 0: it begins one
  uint32_t guest = 0;    // which of the server's it is a process of; 0: of none
  bool venus = false;    // it speaks Mesa's protocol, in which nothing can be said to it; in a guest by vesper-agent

  bool secured() const { return secrets.suite != 0; }
  std::string_view name() const {
    const std::string_view all(who.data(), who.size());
    return all.substr(0, all.find('\0'));
  }
  void set_name(std::string_view name) {
    who.fill(0);
    name.copy(who.data(), who.size() - 1);
  }
};

inline constexpr std::string_view kGuestName = "guest: ";  // which no token has: it has a space
inline constexpr std::string_view kCertificateName = "certificate: ";

}  // namespace vesper::server
